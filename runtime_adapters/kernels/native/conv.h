// NestedConv: direct sparse convolution over planes.
#pragma once
#include "finish.h"
#include "sparse_conv.h"

namespace elsa {

template <typename Unit>
class NestedConv {
 public:
  static constexpr const char* kName = UnitOf<Unit>::name("NestedConv", "Float16Conv");
  static constexpr OrtElementType kOutput = UnitOf<Unit>::kType;
  static constexpr ort::InputKind kInputs[] = {
      {kOutput, kOrtRequired},    // planes (batch, in channels, 1, stride)
      {kOrtInt64, kOrtRequired},  // level
      {kOrtFloat, kOrtRequired},  // (levels, 2, out channels)
      {kOutput, kOrtOptional},    // residual, planes like the output
      {kOrtUint8, kOrtVariadic},  // segments, one a level
  };
  explicit NestedConv(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  SparseConv<Unit> conv_;
  Finish<Unit> finish_;
};

}  // namespace elsa
