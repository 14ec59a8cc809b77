// What networks do to planes of quads between convolutions beside maxima and means: gates, and larger images.
#pragma once
#include "int8_planes.h"

namespace elsa {

// y = code of (value of x * gate), a gate for each channel of each image: what squeeze-and-excite multiplies with.
class Int8Gate {
 public:
  static constexpr const char* kName = "Int8Gate";
  static constexpr OrtElementType kOutput = kOrtUint8;
  static constexpr ort::InputKind kInputs[] = {
      {kOrtUint8, kOrtRequired},  // planes
      {kOrtInt64, kOrtRequired},  // level
      {kOrtFloat, kOrtRequired},  // (levels, 2) steps of x
      {kOrtFloat, kOrtRequired},  // (batch, channels, 1, 1) gates
      {kOrtFloat, kOrtRequired},  // (levels, 2) steps of y
  };
  explicit Int8Gate(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  PlaneLayout layout_;
  int64_t channels_;
  Steps8 from_, to_;
};

// Each pixel `scale_h` times `scale_w` times: the nearest one of a smaller image.
class Int8Upsample {
 public:
  static constexpr const char* kName = "Int8Upsample";
  static constexpr OrtElementType kOutput = kOrtUint8;
  static constexpr ort::InputKind kInputs[] = {
      {kOrtUint8, kOrtRequired}, {kOrtInt64, kOrtRequired}, {kOrtFloat, kOrtRequired}};
  explicit Int8Upsample(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  PlaneLayout in_, out_;
  int64_t scale_h_, scale_w_, quads_;
  Steps8 steps_;
};

}  // namespace elsa
