// ONNX Runtime's table of functions as C++: errors become exceptions inside, and statuses again at the border.
#pragma once
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "ort_abi.h"

namespace elsa::ort {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] inline void fail(const std::string& text) { throw Error(text); }
inline void require(bool holds, const std::string& text) {
  if (!holds) fail(text);
}

inline void check(const OrtApi* api, OrtStatus* status) {
  if (status == nullptr) return;
  std::string text = call<const char*(const OrtStatus*)>(api, kGetErrorMessage, static_cast<const OrtStatus*>(status));
  call<void(OrtStatus*)>(api, kReleaseStatus, status);
  fail(text);
}

struct Tensor {
  void* data = nullptr;
  int type = 0;
  std::vector<int64_t> dims;

  int64_t count() const {
    int64_t n = 1;
    for (int64_t d : dims) n *= d;
    return n;
  }
  const float* floats() const { return static_cast<const float*>(data); }
};

inline Tensor describe(const OrtApi* api, const OrtValue* value) {
  Tensor t;
  OrtTensorTypeAndShapeInfo* info = nullptr;
  check(api, call<OrtStatus*(const OrtValue*, OrtTensorTypeAndShapeInfo**)>(api, kGetTensorTypeAndShape, value, &info));
  using Info = const OrtTensorTypeAndShapeInfo*;
  size_t rank = 0;
  OrtStatus* status = call<OrtStatus*(Info, int*)>(api, kGetTensorElementType, static_cast<Info>(info), &t.type);
  if (!status) status = call<OrtStatus*(Info, size_t*)>(api, kGetDimensionsCount, static_cast<Info>(info), &rank);
  t.dims.resize(rank);
  if (!status)
    status =
        call<OrtStatus*(Info, int64_t*, size_t)>(api, kGetDimensions, static_cast<Info>(info), t.dims.data(), rank);
  call<void(OrtTensorTypeAndShapeInfo*)>(api, kReleaseTensorTypeAndShapeInfo, info);
  check(api, status);
  check(api, call<OrtStatus*(OrtValue*, void**)>(api, kGetTensorMutableData, const_cast<OrtValue*>(value), &t.data));
  return t;
}

// What a kernel may ask when it is made.
class Info {
 public:
  Info(const OrtApi* api, const OrtKernelInfo* info) : api_(api), info_(info) {}

  int64_t integer(const char* name) const {
    int64_t value = 0;
    check(api_, call<OrtStatus*(const OrtKernelInfo*, const char*, int64_t*)>(api_, kKernelInfoGetAttributeInt64, info_,
                                                                              name, &value));
    return value;
  }
  int64_t integer(const char* name, int64_t low, int64_t high) const {
    const int64_t value = integer(name);
    require(low <= value && value <= high, std::string("attribute ") + name + " is " + std::to_string(value) +
                                               ", expected " + std::to_string(low) + " to " + std::to_string(high));
    return value;
  }
  float real(const char* name) const {
    float value = 0;
    check(api_, call<OrtStatus*(const OrtKernelInfo*, const char*, float*)>(api_, kKernelInfoGetAttributeFloat, info_,
                                                                            name, &value));
    return value;
  }
  size_t inputs() const {
    size_t count = 0;
    check(api_, call<OrtStatus*(const OrtKernelInfo*, size_t*)>(api_, kKernelInfoGetInputCount, info_, &count));
    return count;
  }
  // An initializer; its memory stays where it is for the life of the session.
  Tensor constant(size_t index, int type, const char* what) const {
    int is_constant = 0;
    const OrtValue* value = nullptr;
    check(api_, call<OrtStatus*(const OrtKernelInfo*, size_t, int*, const OrtValue**)>(
                    api_, kKernelInfoGetConstantInputTensor, info_, index, &is_constant, &value));
    require(is_constant && value, std::string(what) + " must be an initializer of the graph");
    Tensor t = describe(api_, value);
    require(t.type == type, std::string(what) + " has a wrong element type");
    return t;
  }

 private:
  const OrtApi* api_;
  const OrtKernelInfo* info_;
};

// What a kernel may ask while it computes.
class Context {
 public:
  Context(const OrtApi* api, OrtKernelContext* context) : api_(api), context_(context) {}

  bool has_input(size_t index) const { return value(index) != nullptr; }
  Tensor input(size_t index, int type, const char* what) const {
    const OrtValue* v = value(index);
    require(v != nullptr, std::string(what) + " is missing");
    Tensor t = describe(api_, v);
    require(t.type == type, std::string(what) + " has a wrong element type");
    return t;
  }
  // The level: an int64 scalar, from 0 to count - 1.
  int64_t level(size_t index, int64_t count) const {
    Tensor t = input(index, kOrtInt64, "level");
    require(t.count() == 1, "level must be one number");
    int64_t level = 0;
    std::memcpy(&level, t.data, sizeof level);
    require(0 <= level && level < count, "level " + std::to_string(level) +
                                             " does not exist here, expected 0 (sparsest) to " +
                                             std::to_string(count - 1));
    return level;
  }
  float* output(const std::vector<int64_t>& dims) const {
    OrtValue* v = nullptr;
    void* data = nullptr;
    check(api_, call<OrtStatus*(OrtKernelContext*, size_t, const int64_t*, size_t, OrtValue**)>(
                    api_, kKernelContextGetOutput, context_, size_t{0}, dims.data(), dims.size(), &v));
    check(api_, call<OrtStatus*(OrtValue*, void**)>(api_, kGetTensorMutableData, v, &data));
    return static_cast<float*>(data);
  }
  // body(i) for i in 0 .. count - 1 on the session's threads.
  template <typename Body>
  void parallel(int64_t count, Body&& body) const {
    if (count == 1) return body(int64_t{0});
    struct Shared {
      Body& body;
    } shared{body};
    auto step = +[](void* data, size_t i) { static_cast<Shared*>(data)->body(static_cast<int64_t>(i)); };
    check(api_, call<OrtStatus*(const OrtKernelContext*, void (*)(void*, size_t), size_t, size_t, void*)>(
                    api_, kKernelContextParallelFor, static_cast<const OrtKernelContext*>(context_), step,
                    static_cast<size_t>(count), size_t{0}, static_cast<void*>(&shared)));
  }

 private:
  const OrtValue* value(size_t index) const {
    const OrtValue* v = nullptr;
    check(api_, call<OrtStatus*(const OrtKernelContext*, size_t, const OrtValue**)>(
                    api_, kKernelContextGetInput, static_cast<const OrtKernelContext*>(context_), index, &v));
    return v;
  }
  const OrtApi* api_;
  OrtKernelContext* context_;
};

// Makes an OrtCustomOp of a kernel class with: kName, kInputs (characteristics and types), Kernel(Info), compute(Context).
struct InputKind {
  OrtElementType type;
  OrtCharacteristic characteristic;
};

template <typename Kernel>
struct Operator : OrtCustomOp {
  struct Instance {
    const OrtApi* api;
    Kernel kernel;
  };

  template <typename Body>
  static OrtStatus* guarded(const OrtApi* api, Body&& body) noexcept {
    try {
      body();
      return nullptr;
    } catch (const std::exception& error) {
      const std::string text = std::string(Kernel::kName) + ": " + error.what();
      return call<OrtStatus*(int, const char*)>(api, kCreateStatus, static_cast<int>(kOrtInvalidArgument),
                                                text.c_str());
    }
  }

  Operator() : OrtCustomOp{} {
    version = kOrtApiVersion;
    GetName = [](const OrtCustomOp*) { return Kernel::kName; };
    GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return "CPUExecutionProvider"; };
    GetInputTypeCount = [](const OrtCustomOp*) { return std::size(Kernel::kInputs); };
    GetInputType = [](const OrtCustomOp*, size_t i) { return Kernel::kInputs[i].type; };
    GetInputCharacteristic = [](const OrtCustomOp*, size_t i) { return Kernel::kInputs[i].characteristic; };
    GetOutputTypeCount = [](const OrtCustomOp*) { return size_t{1}; };
    GetOutputType = [](const OrtCustomOp*, size_t) { return kOrtFloat; };
    GetOutputCharacteristic = [](const OrtCustomOp*, size_t) { return kOrtRequired; };
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
