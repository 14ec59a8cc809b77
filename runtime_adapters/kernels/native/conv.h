// NestedConv: direct sparse convolution over planes. NestedDepthwise: one small dense kernel a channel.
#pragma once
#include "finish.h"
#include "weights.h"
#include "window.h"

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
  Window window_;
  int64_t in_channels_, out_channels_, groups_;
  NestedWeights weights_;
  Finish finish_;
  std::vector<int32_t> offsets_;  // (columns)
  std::vector<int32_t> mask_;
};

class NestedDepthwise {
 public:
  static constexpr const char* kName = "NestedDepthwise";
  static constexpr ort::InputKind kInputs[] = {
      {kOrtFloat, kOrtRequired},  // planes (batch, channels, 1, stride)
      {kOrtInt64, kOrtRequired},  // level
      {kOrtFloat, kOrtRequired},  // (levels, 2, channels)
      {kOrtFloat, kOrtOptional},  // residual
      {kOrtFloat, kOrtRequired},  // weights (levels or 1, channels, taps)
  };
  explicit NestedDepthwise(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  Window window_;
  int64_t channels_;
  Finish finish_;
  ort::Tensor weight_;
  std::vector<int32_t> offsets_;
  std::vector<int32_t> mask_;
};

}  // namespace elsa
