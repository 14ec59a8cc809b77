// NestedMatMul: y = act(x W^T * scale + bias) with nested sparse W, for one row of x or many.
#pragma once
#include "finish.h"
#include "weights.h"

namespace elsa {

class NestedMatMul {
 public:
  static constexpr const char* kName = "NestedMatMul";
  static constexpr ort::InputKind kInputs[] = {
      {kOrtFloat, kOrtRequired},  // (..., columns)
      {kOrtInt64, kOrtRequired},  // level
      {kOrtFloat, kOrtRequired},  // (levels, 2, rows)
      {kOrtUint8, kOrtVariadic},  // segments, one a level
  };
  explicit NestedMatMul(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  void few(const ort::Context& context, const float* x, int64_t count, int64_t level, float* y) const;
  void many(const ort::Context& context, const float* x, int64_t count, int64_t level, float* y) const;

  int64_t columns_, rows_;
  NestedWeights weights_;
  Finish finish_;
};

}  // namespace elsa
