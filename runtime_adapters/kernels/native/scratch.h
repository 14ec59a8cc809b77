// Memory that a thread keeps between calls: grows to the largest need once, so a call allocates nothing.
#pragma once
#include <cstdlib>
#include <new>

namespace elsa {

class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::free(data_); }

  // The same of another type.
  template <typename Unit>
  Unit* of(size_t count) {
    return reinterpret_cast<Unit*>(floats((count * sizeof(Unit) + sizeof(float) - 1) / sizeof(float)));
  }

  // At least `count` floats, aligned to 64 bytes, with unspecified contents.
  float* floats(size_t count) {
    if (count > count_) {
      std::free(data_);
      data_ = nullptr;
      count_ = 0;
      const size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
      data_ = static_cast<float*>(std::aligned_alloc(64, bytes));
      if (data_ == nullptr) throw std::bad_alloc();
      count_ = count;
    }
    return data_;
  }

 private:
  float* data_ = nullptr;
  size_t count_ = 0;
};

}  // namespace elsa
