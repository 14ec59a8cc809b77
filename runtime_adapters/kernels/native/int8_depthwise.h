// Int8Depthwise: dense depthwise convolution over planes of quads.
#pragma once
#include "int8_finish.h"
#include "window.h"

namespace elsa {

class Int8Depthwise {
 public:
  static constexpr const char* kName = "Int8Depthwise";
  static constexpr OrtElementType kOutput = kOrtUint8;
  static constexpr ort::InputKind kInputs[] = {
      {kOrtUint8, kOrtRequired},  // planes (batch, quads, stride, 4)
      {kOrtInt64, kOrtRequired},  // level
      {kOrtFloat, kOrtRequired},  // (levels, 2, channels padded)
      {kOrtFloat, kOrtRequired},  // (levels, 6)
      {kOrtUint8, kOrtOptional},  // residual
      {kOrtUint8, kOrtRequired},  // codes (levels or 1, quads, tap quads, 4 channels, 4 taps), signed
  };
  explicit Int8Depthwise(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  const int8_t* weight(int64_t level, int64_t quad) const;

  Window window_;
  int64_t quads_, tap_quads_;
  Finish8Tables finish_;
  ort::Tensor weight_;
  std::vector<int32_t> offsets_;  // (taps padded) bytes
  std::vector<int32_t> starts_;   // (levels or 1, 4 * quads)
  std::vector<int32_t> mask_;
};

}  // namespace elsa
