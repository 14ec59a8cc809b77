// What recurrent layers have in common, whatever their cells: steps of sequences in one direction or both.
//
//   for each direction, for each sequence:  h = initial;  for each step: h = cell(from_input[step], h)
//
// What the input adds to the gates is there before, for all steps at once, as (steps, batch, directions * gates * units):
// it is a product with a matrix. Rows of weights and tables are ordered (direction, gate, unit). Outputs are those of
// ONNX: all states (steps, directions, batch, units), the last ones (directions, batch, units), the last cells.
#pragma once
#include <algorithm>
#include <cstring>

#include "ort.h"
#include "scratch.h"

namespace elsa {

class Recurrence {
 public:
  // Inputs from `first` on: initial states, initial cells (unused without `has_cell`), lengths of the sequences; each may be
  // left out.
  static constexpr size_t kStates = 0, kCells = 1, kLengths = 2;

  Recurrence(const ort::Info& info, int64_t gates, bool has_cell, size_t first)
      : units_(info.integer("units", 1, 1 << 20)),
        directions_(info.integer("directions", 1, 2)),
        backward_(info.integer("backward", 0, 1)),
        gates_(gates),
        has_cell_(has_cell),
        first_(first) {}

  int64_t units() const { return units_; }
  int64_t gate_rows() const { return gates_ * units_; }       // of one direction
  int64_t rows() const { return directions_ * gate_rows(); }  // of all

  // step(direction, from_input, h, c) for every step, those of one sequence in order, sequences on all threads.
  template <typename Step>
  void run(const ort::Context& context, Step&& step) const {
    const ort::Tensor x = context.input(0, kOrtFloat, "what the input adds");
    require(x.dims.size() == 3 && x.dims[2] == rows(),
            [&] { return text("what the input adds must be (steps, batch, ", rows(), ")"); });
    const int64_t steps = x.dims[0], batch = x.dims[1];
    const ort::Dims ends{directions_, batch, units_};
    const float* first_h = state(context, kStates, ends, "the initial states");
    const float* first_c = has_cell_ ? state(context, kCells, ends, "the initial cells") : nullptr;
    const int32_t* lengths = lengths_of(context, steps, batch);
    float* y = context.output(0, {steps, directions_, batch, units_});
    float* last_h = context.output(1, ends);
    float* last_c = has_cell_ ? context.output(2, ends) : nullptr;
    if (batch == 0) return;

    static thread_local Scratch scratch;
    context.parallel(directions_ * batch, [&](int64_t task) {
      const int64_t d = task / batch, n = task % batch, at = task * units_;
      const auto bytes = static_cast<size_t>(units_) * sizeof(float);
      float* h = scratch.floats(static_cast<size_t>(2 * units_));
      float* c = h + units_;
      copy_or_zero(first_h, at, h, bytes), copy_or_zero(first_c, at, c, bytes);
      const int64_t length = lengths ? lengths[n] : steps;
      const bool back = backward_ || d == 1;
      for (int64_t k = 0; k < length; ++k) {
        const int64_t t = back ? length - 1 - k : k;
        step(d, x.floats() + (t * batch + n) * rows() + d * gate_rows(), h, c);
        if (y) std::memcpy(y + ((t * directions_ + d) * batch + n) * units_, h, bytes);
      }
      for (int64_t t = length; y && t < steps; ++t)
        std::memset(y + ((t * directions_ + d) * batch + n) * units_, 0, bytes);
      if (last_h) std::memcpy(last_h + at, h, bytes);
      if (last_c) std::memcpy(last_c + at, c, bytes);
    });
  }

 private:
  static void copy_or_zero(const float* from, int64_t at, float* to, size_t bytes) {
    from ? std::memcpy(to, from + at, bytes) : std::memset(to, 0, bytes);
  }

  const float* state(const ort::Context& context, size_t which, const ort::Dims& dims, const char* what) const {
    if (!context.has_input(first_ + which)) return nullptr;
    const ort::Tensor t = context.input(first_ + which, kOrtFloat, what);
    require(t.dims == dims, [&] { return text(what, " must be (directions, batch, units)"); });
    return t.floats();
  }

  const int32_t* lengths_of(const ort::Context& context, int64_t steps, int64_t batch) const {
    if (!context.has_input(first_ + kLengths)) return nullptr;
    const ort::Tensor t = context.input(first_ + kLengths, kOrtInt32, "the lengths of the sequences");
    require(t.dims == ort::Dims{batch}, "there must be a length for each sequence");
    const auto* lengths = static_cast<const int32_t*>(t.data);
    for (int64_t n = 0; n < batch; ++n)
      require(0 <= lengths[n] && lengths[n] <= steps,
              [&] { return text("a sequence of ", lengths[n], " steps, expected 0 to ", steps); });
    return lengths;
  }

  int64_t units_, directions_;
  bool backward_;
  int64_t gates_;
  bool has_cell_;
  size_t first_;
};

}  // namespace elsa
