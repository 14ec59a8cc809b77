// An operator as ONNX Runtime wants it, of a kernel class with: kName, kInputs, Kernel(Info), compute(Context), and kOutput
// and kOutputs where it has other outputs than one of floats.
#pragma once
#include <iterator>
#include <type_traits>

#include "ort.h"

namespace elsa::ort {

// A kernel's kOutput where it has one; floats otherwise.
template <typename Kernel, typename = void>
struct OutputOf {
  static constexpr OrtElementType kType = kOrtFloat;
};
template <typename Kernel>
struct OutputOf<Kernel, std::void_t<decltype(Kernel::kOutput)>> {
  static constexpr OrtElementType kType = Kernel::kOutput;
};

// How many outputs it has: more than one may each be left out.
template <typename Kernel, typename = void>
struct OutputsOf {
  static constexpr size_t kCount = 1;
};
template <typename Kernel>
struct OutputsOf<Kernel, std::void_t<decltype(Kernel::kOutputs)>> {
  static constexpr size_t kCount = Kernel::kOutputs;
};

template <typename Kernel>
struct Operator : OrtCustomOp {
  struct Instance {
    const OrtApi* api;
    Kernel kernel;
  };

  // The border itself: nothing that `body` throws goes further than this. Memory may be what is missing, so the last
  // resort needs none.
  template <typename Body>
  static OrtStatus* guarded(const OrtApi* api, Body&& body) noexcept {
    try {
      body();
      return nullptr;
    } catch (const std::exception& error) {
      try {
        return CreateStatus(api, kOrtInvalidArgument, text(Kernel::kName, ": ", error.what()).c_str());
      } catch (...) {
        return CreateStatus(api, kOrtFail, Kernel::kName);
      }
    } catch (...) {
      return CreateStatus(api, kOrtFail, Kernel::kName);
    }
  }

  Operator() : OrtCustomOp{} {
    version = kOrtApiVersion;
    GetName = [](const OrtCustomOp*) { return Kernel::kName; };
    GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return "CPUExecutionProvider"; };
    GetInputTypeCount = [](const OrtCustomOp*) { return std::size(Kernel::kInputs); };
    GetInputType = [](const OrtCustomOp*, size_t i) { return Kernel::kInputs[i].type; };
    GetInputCharacteristic = [](const OrtCustomOp*, size_t i) { return Kernel::kInputs[i].characteristic; };
    GetOutputTypeCount = [](const OrtCustomOp*) { return OutputsOf<Kernel>::kCount; };
    GetOutputType = [](const OrtCustomOp*, size_t) { return OutputOf<Kernel>::kType; };
    GetOutputCharacteristic = [](const OrtCustomOp*, size_t) {
      return OutputsOf<Kernel>::kCount > 1 ? kOrtOptional : kOrtRequired;
    };
    GetInputMemoryType = [](const OrtCustomOp*, size_t) { return 0; };
    GetVariadicInputMinArity = [](const OrtCustomOp*) { return 1; };
    GetVariadicInputHomogeneity = [](const OrtCustomOp*) { return 1; };
    GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 1; };
    GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 1; };
    GetStartVersion = [](const OrtCustomOp*) { return 1; };
    GetEndVersion = [](const OrtCustomOp*) { return 0x7fffffff; };
    CreateKernelV2 = [](const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
      return guarded(api, [&] { *kernel = new Instance{api, Kernel(Info(api, info))}; });
    };
    KernelComputeV2 = [](void* instance, OrtKernelContext* context) {
      auto* self = static_cast<Instance*>(instance);
      return guarded(self->api, [&] { self->kernel.compute(Context(self->api, context)); });
    };
    KernelDestroy = [](void* instance) { delete static_cast<Instance*>(instance); };
  }
};

}  // namespace elsa::ort
