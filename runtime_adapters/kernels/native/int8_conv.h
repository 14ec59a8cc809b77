// Int8Conv: direct sparse convolution over planes of quads. A grouped convolution is a sparse one: columns name quads of
// the whole input.
#pragma once
#include "int8_finish.h"
#include "int8_weights.h"
#include "window.h"

namespace elsa {

class Int8Conv {
 public:
  static constexpr const char* kName = "Int8Conv";
  static constexpr OrtElementType kOutput = kOrtUint8;
  static constexpr ort::InputKind kInputs[] = {
      {kOrtUint8, kOrtRequired},  // planes (batch, quads, stride, 4)
      {kOrtInt64, kOrtRequired},  // level
      {kOrtFloat, kOrtRequired},  // (levels, 2, out channels padded)
      {kOrtFloat, kOrtRequired},  // (levels, 6)
      {kOrtUint8, kOrtOptional},  // residual, planes like the output
      {kOrtUint8, kOrtVariadic},  // segments, one a level
  };
  explicit Int8Conv(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  int64_t quad_stride() const;

  Window window_;
  int64_t in_quads_, out_channels_;
  Weights8 weights_;
  Finish8Tables finish_;
  std::vector<int32_t> offsets_;  // (columns) bytes
  std::vector<int32_t> mask_;
};

}  // namespace elsa
