// NestedConv: direct sparse convolution over planes.
#pragma once
#include "finish.h"
#include "sparse_conv.h"

namespace elsa {

class NestedConv {
 public:
  static constexpr const char* kName = "NestedConv";
  static constexpr ort::InputKind kInputs[] = {
      {kOrtFloat, kOrtRequired},  // planes (batch, in channels, 1, stride)
      {kOrtInt64, kOrtRequired},  // level
      {kOrtFloat, kOrtRequired},  // (levels, 2, out channels)
      {kOrtFloat, kOrtOptional},  // residual, planes like the output
      {kOrtUint8, kOrtVariadic},  // segments, one a level
  };
  explicit NestedConv(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  SparseConv conv_;
  Finish finish_;
};

}  // namespace elsa
