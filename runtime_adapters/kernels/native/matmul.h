// NestedMatMul: y = act(x W^T * scale + bias) with nested sparse W, for one row of x or many. x and y are floats; with
// weights of half floats, many rows are multiplied in half floats, few in float32.
#pragma once
#include "finish.h"
#include "weights.h"

namespace elsa {

template <typename Unit>
class NestedMatMul {
 public:
  static constexpr const char* kName = UnitOf<Unit>::name("NestedMatMul", "Float16MatMul");
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
  void many(const ort::Context& context, const Unit* x, int64_t count, int64_t level, Unit* y) const;

  int64_t columns_, rows_;
  NestedWeights weights_;
  Finish<Unit> finish_;
};

}  // namespace elsa
