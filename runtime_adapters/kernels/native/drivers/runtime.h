// A stand-in for ONNX Runtime, small enough that ThreadSanitizer sees all of it: values, attributes, and a ParallelFor on
// threads of its own. ONNX Runtime hands work to its pool in ways that the sanitizer does not see and reports as races.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "../ort.h"

struct OrtStatus {
  std::string text;
};

struct OrtValue {
  OrtElementType type = kOrtFloat;
  std::vector<int64_t> dims;
  std::vector<uint64_t> memory;  // of 8 bytes, so that every type is aligned

  template <typename T>
  static OrtValue of(OrtElementType type, std::vector<int64_t> dims, const std::vector<T>& numbers) {
    OrtValue v{type, std::move(dims), std::vector<uint64_t>(numbers.size() * sizeof(T) / 8 + 1)};
    std::memcpy(v.memory.data(), numbers.data(), numbers.size() * sizeof(T));
    return v;
  }
};

struct OrtTensorTypeAndShapeInfo {
  const OrtValue* value;
};

struct OrtKernelInfo {
  std::map<std::string, int64_t> integers;
  std::map<std::string, float> reals;
  std::vector<OrtValue*> inputs;  // null where an input is not a constant
};

struct OrtKernelContext {
  static constexpr size_t kMostOutputs = 3;
  std::vector<const OrtValue*> inputs;  // null where an optional input is absent
  std::array<OrtValue, kMostOutputs> outputs;
};

namespace stand_in {

constexpr size_t kThreads = 3;  // beside the caller

inline OrtStatus* create_status(OrtErrorCode, const char* text) { return new OrtStatus{text}; }
inline const char* message(const OrtStatus* status) { return status->text.c_str(); }
inline void release_status(OrtStatus* status) { delete status; }

inline OrtStatus* data(OrtValue* value, void** to) { return *to = value->memory.data(), nullptr; }
inline OrtStatus* shape_info(const OrtValue* value, OrtTensorTypeAndShapeInfo** to) {
  return *to = new OrtTensorTypeAndShapeInfo{value}, nullptr;
}
inline void release_info(OrtTensorTypeAndShapeInfo* info) { delete info; }
inline OrtStatus* element_type(const OrtTensorTypeAndShapeInfo* info, OrtElementType* to) {
  return *to = info->value->type, nullptr;
}
inline OrtStatus* rank(const OrtTensorTypeAndShapeInfo* info, size_t* to) {
  return *to = info->value->dims.size(), nullptr;
}
inline OrtStatus* dimensions(const OrtTensorTypeAndShapeInfo* info, int64_t* to, size_t count) {
  std::copy_n(info->value->dims.begin(), count, to);
  return nullptr;
}

template <typename Number>
OrtStatus* attribute(const std::map<std::string, Number>& attributes, const char* name, Number* to) {
  const auto found = attributes.find(name);
  if (found == attributes.end()) return new OrtStatus{std::string("no attribute ") + name};
  *to = found->second;
  return nullptr;
}
inline OrtStatus* integer(const OrtKernelInfo* info, const char* name, int64_t* to) {
  return attribute(info->integers, name, to);
}
inline OrtStatus* real(const OrtKernelInfo* info, const char* name, float* to) {
  return attribute(info->reals, name, to);
}
inline OrtStatus* input_count(const OrtKernelInfo* info, size_t* to) { return *to = info->inputs.size(), nullptr; }
inline OrtStatus* constant(const OrtKernelInfo* info, size_t index, int* is_constant, const OrtValue** to) {
  *to = info->inputs[index];
  *is_constant = *to != nullptr;
  return nullptr;
}

inline OrtStatus* input(const OrtKernelContext* context, size_t index, const OrtValue** to) {
  *to = index < context->inputs.size() ? context->inputs[index] : nullptr;
  return nullptr;
}
inline OrtStatus* output(OrtKernelContext* context, size_t index, const int64_t* dims, size_t count, OrtValue** to) {
  size_t floats = 1;
  for (size_t i = 0; i < count; ++i) floats *= static_cast<size_t>(dims[i]);
  // Memory is kept between calls, as in a session that has planned it.
  OrtValue& value = context->outputs.at(index);
  value.type = kOrtFloat;
  value.dims.assign(dims, dims + count);
  value.memory.resize(floats / 2 + 1);
  *to = &value;
  return nullptr;
}

// Tasks are taken in any order. The counter orders nothing (relaxed), so tasks that touch the same memory are a race.
inline OrtStatus* parallel_for(const OrtKernelContext*, void (*step)(void*, size_t), size_t total, size_t,
                               void* shared) {
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < total;) step(shared, i);
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  return nullptr;
}

inline const OrtApi* api() {
  static const std::array<void*, 512> table = [] {
    using namespace elsa::ort;
    std::array<void*, 512> t{};
    const auto set = [&t](auto entry, typename decltype(entry)::Function function) {
      t[entry.kPlace] = reinterpret_cast<void*>(function);
    };
    set(CreateStatus, create_status), set(GetErrorMessage, message), set(ReleaseStatus, release_status);
    set(GetTensorMutableData, data), set(GetTensorElementType, element_type);
    set(GetTensorTypeAndShape, shape_info), set(ReleaseTensorTypeAndShapeInfo, release_info);
    set(GetDimensionsCount, rank), set(GetDimensions, dimensions);
    set(KernelInfoGetAttributeInt64, integer), set(KernelInfoGetAttributeFloat, real);
    set(KernelInfoGetInputCount, input_count), set(KernelInfoGetConstantInputTensor, constant);
    set(KernelContextGetInput, input), set(KernelContextGetOutput, output);
    set(KernelContextParallelFor, parallel_for);
    return t;
  }();
  return reinterpret_cast<const OrtApi*>(table.data());
}

}  // namespace stand_in
