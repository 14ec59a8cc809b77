// ONNX Runtime's table of functions as C++: errors become exceptions inside; operator.h makes statuses of them again.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <initializer_list>

#include "error.h"
#include "ort_abi.h"

namespace elsa::ort {

inline void check(const OrtApi* api, OrtStatus* status) {
  if (status == nullptr) return;
  const std::string sentence = GetErrorMessage(api, status);
  ReleaseStatus(api, status);
  fail(sentence);
}

// The dimensions of a tensor, in place: a call of a kernel allocates nothing for them. Those beyond the rank are neither
// set nor copied, which would cost more than all the others.
class Dims {
 public:
  static constexpr size_t kMost = 8;

  Dims() = default;
  Dims(std::initializer_list<int64_t> dims) { copy(dims.begin(), dims.size()); }
  Dims(const Dims& other) { copy(other.dims_, other.rank_); }
  Dims& operator=(const Dims& other) {
    copy(other.dims_, other.rank_);
    return *this;
  }

  // Sets the rank and returns where the dimensions go.
  int64_t* resized(size_t rank) {
    require(rank <= kMost,
            [&] { return text("a tensor has ", rank, " dimensions, at most ", kMost, " are supported"); });
    rank_ = rank;
    return dims_;
  }
  size_t size() const { return rank_; }
  const int64_t* data() const { return dims_; }
  int64_t operator[](size_t i) const { return dims_[i]; }
  int64_t& back() { return dims_[rank_ - 1]; }
  int64_t back() const { return dims_[rank_ - 1]; }
  bool operator==(const Dims& other) const {
    return std::equal(dims_, dims_ + rank_, other.dims_, other.dims_ + other.rank_);
  }
  int64_t count() const {
    int64_t n = 1;
    for (size_t i = 0; i < rank_; ++i) n *= dims_[i];
    return n;
  }

 private:
  void copy(const int64_t* from, size_t rank) {
    int64_t* to = resized(rank);
    for (size_t i = 0; i < rank; ++i) to[i] = from[i];
  }

  int64_t dims_[kMost];
  size_t rank_ = 0;
};

struct Tensor {
  void* data = nullptr;
  OrtElementType type = kOrtFloat;
  Dims dims;

  int64_t count() const { return dims.count(); }
  const float* floats() const { return static_cast<const float*>(data); }
};

inline Tensor describe(const OrtApi* api, const OrtValue* value) {
  struct Described {
    const OrtApi* api;
    OrtTensorTypeAndShapeInfo* shape = nullptr;
    ~Described() {
      if (shape) ReleaseTensorTypeAndShapeInfo(api, shape);
    }
  } described{api};
  check(api, GetTensorTypeAndShape(api, value, &described.shape));
  Tensor t;
  size_t rank = 0;
  check(api, GetTensorElementType(api, described.shape, &t.type));
  check(api, GetDimensionsCount(api, described.shape, &rank));
  check(api, GetDimensions(api, described.shape, t.dims.resized(rank), rank));
  check(api, GetTensorMutableData(api, const_cast<OrtValue*>(value), &t.data));
  return t;
}

inline void require_type(const Tensor& t, OrtElementType type, const char* what) {
  require(t.type == type, [&] { return text(what, " has a wrong element type"); });
}

// What a kernel may ask when it is made.
class Info {
 public:
  Info(const OrtApi* api, const OrtKernelInfo* info) : api_(api), info_(info) {}

  int64_t integer(const char* name) const {
    int64_t value = 0;
    check(api_, KernelInfoGetAttributeInt64(api_, info_, name, &value));
    return value;
  }
  int64_t integer(const char* name, int64_t low, int64_t high) const {
    const int64_t value = integer(name);
    require(low <= value && value <= high,
            [&] { return text("attribute ", name, " is ", value, ", expected ", low, " to ", high); });
    return value;
  }
  float real(const char* name) const {
    float value = 0;
    check(api_, KernelInfoGetAttributeFloat(api_, info_, name, &value));
    return value;
  }
  size_t inputs() const {
    size_t count = 0;
    check(api_, KernelInfoGetInputCount(api_, info_, &count));
    return count;
  }
  // An initializer; its memory stays where it is for the life of the session.
  Tensor constant(size_t index, OrtElementType type, const char* what) const {
    int is_constant = 0;
    const OrtValue* value = nullptr;
    check(api_, KernelInfoGetConstantInputTensor(api_, info_, index, &is_constant, &value));
    require(is_constant && value, [&] { return text(what, " must be an initializer of the graph"); });
    const Tensor t = describe(api_, value);
    require_type(t, type, what);
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
  Tensor input(size_t index, OrtElementType type, const char* what) const {
    const OrtValue* v = value(index);
    require(v != nullptr, [&] { return text(what, " is missing"); });
    const Tensor t = describe(api_, v);
    require_type(t, type, what);
    return t;
  }
  // The level: an int64 scalar, from 0 to count - 1.
  int64_t level(size_t index, int64_t count) const {
    const Tensor t = input(index, kOrtInt64, "level");
    require(t.count() == 1, "level must be one number");
    int64_t level = 0;
    std::memcpy(&level, t.data, sizeof level);
    require(0 <= level && level < count,
            [&] { return text("level ", level, " does not exist here, expected 0 (sparsest) to ", count - 1); });
    return level;
  }
  float* output(const Dims& dims) const { return static_cast<float*>(raw_output(dims)); }
  // Of the kernel's own output type.
  void* raw_output(const Dims& dims) const {
    OrtValue* v = nullptr;
    void* data = nullptr;
    check(api_, KernelContextGetOutput(api_, context_, 0, dims.data(), dims.size(), &v));
    check(api_, GetTensorMutableData(api_, v, &data));
    return data;
  }
  // One of several outputs; null where nobody reads it.
  float* output(size_t index, const Dims& dims) const {
    OrtValue* v = nullptr;
    void* data = nullptr;
    check(api_, KernelContextGetOutput(api_, context_, index, dims.data(), dims.size(), &v));
    if (v != nullptr) check(api_, GetTensorMutableData(api_, v, &data));
    return static_cast<float*>(data);
  }
  // body(i) for i in 0 .. count - 1 on the session's threads. Between a body and this function lies C, which an exception
  // must not cross: the first one is kept and thrown again here, and bodies that have not begun are left out.
  template <typename Body>
  void parallel(int64_t count, Body&& body) const {
    if (count == 1) return body(int64_t{0});
    struct Shared {
      Body& body;
      std::atomic<bool> failed{false};
      std::exception_ptr first{};
    } shared{body};
    const auto step = +[](void* data, size_t i) noexcept {
      auto* s = static_cast<Shared*>(data);
      if (s->failed.load(std::memory_order_relaxed)) return;
      try {
        s->body(static_cast<int64_t>(i));
      } catch (...) {
        if (!s->failed.exchange(true)) s->first = std::current_exception();
      }
    };
    check(api_, KernelContextParallelFor(api_, context_, step, static_cast<size_t>(count), 0, &shared));
    if (shared.first) std::rethrow_exception(shared.first);
  }

 private:
  const OrtValue* value(size_t index) const {
    const OrtValue* v = nullptr;
    check(api_, KernelContextGetInput(api_, context_, index, &v));
    return v;
  }
  const OrtApi* api_;
  OrtKernelContext* context_;
};

// One input of an operator: its type, and whether it must be there.
struct InputKind {
  OrtElementType type;
  OrtCharacteristic characteristic;
};

}  // namespace elsa::ort
