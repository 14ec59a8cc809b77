// Recurrent layers of any cell and any kind of weights: each step is a product with the state, then the gates.
//
//   gates = from_input + R_k h * scale_k + bias_k        R_k: weights that are active at level k
//
// from_input is what a product with a matrix made for all steps at once. A kind of weights (state_products.h) has: kLstm and
// kGru, kInputs, StateProduct(info, gates, has_cell), start(context), and product(level, direction, first, last, h, sums).
#pragma once
#include "int8.h"
#include "recurrent.h"
#include "scratch.h"

namespace elsa {

template <typename StateProduct>
class Lstm : StateProduct {
 public:
  static constexpr const char* kName = StateProduct::kLstm;
  static constexpr size_t kOutputs = 3;
  using StateProduct::kInputs;

  explicit Lstm(const ort::Info& info) : StateProduct(info, 4, true) {}

  void compute(const ort::Context& context) const {
    const int64_t level = this->start(context);
    const Recurrence& layer = this->recurrence_;
    static thread_local Scratch scratch;
    layer.run(context, [&](int64_t direction, const float* from_input, float* h, float* c) {
      float* sums = scratch.floats(static_cast<size_t>(layer.rows()));
      this->product(level, direction, 0, 4, h, sums);
      kernels8().lstm({layer.units(), from_input, sums + direction * layer.gate_rows(), h, c});
    });
  }
};

template <typename StateProduct>
class Gru : StateProduct {
 public:
  static constexpr const char* kName = StateProduct::kGru;
  static constexpr size_t kOutputs = 3;
  using StateProduct::kInputs;

  explicit Gru(const ort::Info& info)
      : StateProduct(info, 3, false), resets_sums_(info.integer("linear_before_reset", 0, 1)) {}

  void compute(const ort::Context& context) const {
    const int64_t level = this->start(context);
    const Recurrence& layer = this->recurrence_;
    static thread_local Scratch scratch, reset_scratch;
    layer.run(context, [&](int64_t direction, const float* from_input, float* h, float*) {
      float* sums = scratch.floats(static_cast<size_t>(layer.rows()));
      const CellStep step{layer.units(), from_input, sums + direction * layer.gate_rows(), h, nullptr};
      this->product(level, direction, 0, resets_sums_ ? 3 : 2, h, sums);
      if (!resets_sums_) {
        float* reset = reset_scratch.floats(static_cast<size_t>(layer.units()));
        kernels8().gru_reset(step, reset);
        this->product(level, direction, 2, 3, reset, sums);
      }
      kernels8().gru(step, resets_sums_);
    });
  }

 private:
  bool resets_sums_;
};

}  // namespace elsa
