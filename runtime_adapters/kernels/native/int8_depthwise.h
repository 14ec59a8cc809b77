// Int8Depthwise: dense depthwise convolution over planes of quads.
#pragma once
#include "int8_finish.h"
#include "int8_taps.h"
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
  Window window_;
  int64_t quads_;
  Finish8Tables finish_;
  TapGroups taps_;
  int64_t weight_levels_;        // 1 where all levels have the same weights
  const int8_t* weights_;        // (weight levels, quads, groups, codes) in the order of the loop
  std::vector<int8_t> ordered_;  // them, where the file has another order
  std::vector<int32_t> starts_;  // (weight levels, 4 * quads)
  std::vector<int32_t> mask_;
};

}  // namespace elsa
