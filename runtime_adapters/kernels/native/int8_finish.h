// What follows a sum of codes, as inputs of a node: multipliers and biases a row, and the points of a level.
#pragma once
#include <vector>

#include "int8.h"
#include "ort.h"

namespace elsa {

// `table` is (levels, 2, rows padded to quads): scale, bias. `points` is (levels, 6): the input's and the output's code
// of 0, the least and the largest code to write, the residual's step over the output's, and 1 over the output's step. Where
// there is an activation, scale, bias and the residual's step are those of numbers, not of codes.
class Finish8Tables {
 public:
  Finish8Tables(const ort::Info& info, size_t table_input, size_t points_input, int64_t quads,
                Activation activation = Activation::kNone);

  int64_t levels() const { return static_cast<int64_t>(levels_.size()); }
  const Finish8& at(int64_t level) const { return levels_[static_cast<size_t>(level)]; }
  uint8_t input_zero(int64_t level) const { return input_zero_[static_cast<size_t>(level)]; }

 private:
  std::vector<Finish8> levels_;
  std::vector<uint8_t> input_zero_;
};

// The attribute `activation`: none, HardSwish or SiLU.
Activation activation8_of(const ort::Info& info);

// (levels, 2): the step of a value's codes, and the code of 0.
class Steps8 {
 public:
  Steps8(const ort::Info& info, size_t input);
  int64_t levels() const { return levels_; }
  float step(int64_t level) const { return numbers_[2 * level]; }
  float zero(int64_t level) const { return numbers_[2 * level + 1]; }
  uint8_t zero_code(int64_t level) const { return static_cast<uint8_t>(zero(level)); }

 private:
  const float* numbers_;
  int64_t levels_;
};

// The optional input that is added before rounding, of the shape of the output; null where it is absent.
const uint8_t* residual8_of(const ort::Context& context, size_t index, const ort::Dims& dims);

}  // namespace elsa
