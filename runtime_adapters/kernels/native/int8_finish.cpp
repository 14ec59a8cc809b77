// Every number is checked once: within these bounds no instruction set rounds or saturates differently from another.
#include "int8_finish.h"

#include <cmath>

namespace elsa {
namespace {

uint8_t code(float value, const char* what) {
  require(value >= 0 && value <= 255 && value == std::floor(value),
          [&] { return text(what, " must be a whole number from 0 to 255"); });
  return static_cast<uint8_t>(value);
}

}  // namespace

Activation activation8_of(const ort::Info& info) {
  const auto activation =
      static_cast<Activation>(info.integer("activation", 0, static_cast<int64_t>(Activation::kSilu)));
  require(activation != Activation::kClip, "bounds of an 8-bit operator are codes, not an activation");
  return activation;
}

Finish8Tables::Finish8Tables(const ort::Info& info, size_t table_input, size_t points_input, int64_t quads,
                             Activation activation) {
  const ort::Tensor table = info.constant(table_input, kOrtFloat, "the table of multipliers and biases");
  const ort::Tensor points = info.constant(points_input, kOrtFloat, "the table of codes");
  const int64_t rows = 4 * quads;
  require(table.dims.size() == 3 && table.dims[0] >= 1 && table.dims[1] == 2 && table.dims[2] == rows,
          "the table of multipliers and biases must be (levels, 2, rows padded to a multiple of 4)");
  require(points.dims.size() == 2 && points.dims[0] == table.dims[0] && points.dims[1] == 6,
          "the table of codes must be (levels, 6)");
  for (int64_t level = 0; level < table.dims[0]; ++level) {
    Finish8 f;
    f.scale = table.floats() + level * 2 * rows;
    f.bias = f.scale + rows;
    // Whatever the sums are, nothing overflows a float.
    for (int64_t r = 0; r < rows; ++r)
      require(std::fabs(f.scale[r]) <= 65536.0f && std::fabs(f.bias[r]) <= 268435456.0f,
              "a multiplier or bias is out of range");
    const float* p = points.floats() + level * 6;
    input_zero_.push_back(code(p[0], "the input's code of 0"));
    f.zero = code(p[1], "the output's code of 0");
    f.low = code(p[2], "the least code"), f.high = code(p[3], "the largest code");
    require(f.low <= f.high, "the least code is above the largest");
    f.share = p[4];
    require(f.share >= 0 && f.share <= 65536.0f, "the residual's share is out of range");
    f.activation = activation;
    f.inverse = p[5];
    require(f.inverse > 0 && f.inverse <= 1e12f, "1 over the output's step is out of range");
    levels_.push_back(f);
  }
}

Steps8::Steps8(const ort::Info& info, size_t input) {
  const ort::Tensor t = info.constant(input, kOrtFloat, "the table of steps");
  require(t.dims.size() == 2 && t.dims[0] >= 1 && t.dims[1] == 2, "the table of steps must be (levels, 2)");
  numbers_ = t.floats();
  levels_ = t.dims[0];
  for (int64_t level = 0; level < levels_; ++level) {
    require(step(level) > 0 && std::isfinite(step(level)) && std::isfinite(1.0f / step(level)),
            "a step must be above 0");
    code(zero(level), "the code of 0");
  }
}

const uint8_t* residual8_of(const ort::Context& context, size_t index, const ort::Dims& dims) {
  if (!context.has_input(index)) return nullptr;
  const ort::Tensor t = context.input(index, kOrtUint8, "the residual");
  require(t.dims == dims, "the residual must have the shape of the output");
  return static_cast<const uint8_t*>(t.data);
}

}  // namespace elsa
