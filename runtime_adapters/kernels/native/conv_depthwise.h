// NestedConvDepthwise: a sparse convolution and the depthwise convolution that alone reads it, a few channels at a time,
// so that what lies between them never leaves the near caches.
#pragma once
#include "depthwise.h"
#include "finish.h"
#include "sparse_conv.h"

namespace elsa {

template <typename Unit>
class NestedConvDepthwise {
 public:
  static constexpr const char* kName = UnitOf<Unit>::name("NestedConvDepthwise", "Float16ConvDepthwise");
  static constexpr OrtElementType kOutput = UnitOf<Unit>::kType;
  static constexpr ort::InputKind kInputs[] = {
      {kOutput, kOrtRequired},    // planes (batch, in channels, 1, stride)
      {kOrtInt64, kOrtRequired},  // level
      {kOrtFloat, kOrtRequired},  // of the convolution: (levels, 2, out channels)
      {kOrtFloat, kOrtRequired},  // of the depthwise convolution: (levels, 2, out channels)
      {kOutput, kOrtRequired},    // depthwise weights (levels or 1, out channels, taps)
      {kOrtUint8, kOrtVariadic},  // segments, one a level
  };
  explicit NestedConvDepthwise(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  SparseConv<Unit> conv_;
  Finish<Unit> finish_;
  Finish<Unit> depthwise_finish_;
  DenseDepthwise<Unit> depthwise_;
};

}  // namespace elsa
