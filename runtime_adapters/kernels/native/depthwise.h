// Depthwise convolution over planes: one small dense kernel a channel, and the operator that is only that.
#pragma once
#include "finish.h"
#include "window.h"

namespace elsa {

// What operators that contain a depthwise convolution share.
class DenseDepthwise {
 public:
  // `weights` is the input (levels or 1, channels, taps); `prefix` goes before the names of the window's attributes.
  DenseDepthwise(const ort::Info& info, size_t weights, int64_t channels, int64_t levels, const std::string& prefix);

  // Memory of this thread that `channel` copies planes into for strides, with its zeros; null where it copies nothing.
  float* phases() const;
  // One whole channel, from its plane to its plane; scale and bias of `finish` start at channel 0, its residual at
  // position 0 of `to`.
  void channel(const KernelTable& table, int64_t level, int64_t c, const float* plane, float* phases, const Epilogue& finish,
               float* to) const;

  const Window window;
  const int64_t channels;

 private:
  ort::Tensor weight_;
  std::vector<int32_t> offsets_;  // (taps)
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
  int64_t channels_;
  Finish finish_;
  DenseDepthwise conv_;
};

}  // namespace elsa
