// Float16MaxPool: the largest of each window, over planes of half floats.
#pragma once
#include "unit.h"
#include "window.h"

namespace elsa {

class Float16MaxPool {
 public:
  static constexpr const char* kName = "Float16MaxPool";
  static constexpr OrtElementType kOutput = kOrtFloat16;
  static constexpr ort::InputKind kInputs[] = {{kOrtFloat16, kOrtRequired}};
  explicit Float16MaxPool(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  Window window_;
  int64_t channels_;
  std::vector<int64_t> offsets_;  // (taps)
  std::vector<int32_t> mask_;
};

}  // namespace elsa
