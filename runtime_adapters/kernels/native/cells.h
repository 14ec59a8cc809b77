// NestedLstm and NestedGru: recurrent layers whose product with the state has nested sparse weights.
//
//   gates = from_input + R_k h * scale_k + bias_k        R_k: weights that are active at level k
//
// from_input is what a NestedMatMul or any other product made for all steps at once.
#pragma once
#include "finish.h"
#include "recurrent.h"
#include "weights.h"

namespace elsa {

// What both have in common.
class NestedCell {
 public:
  static constexpr size_t kOutputs = 3;
  static constexpr ort::InputKind kInputs[] = {
      {kOrtFloat, kOrtRequired},  // (steps, batch, directions * gates * units)
      {kOrtInt64, kOrtRequired},  // level
      {kOrtFloat, kOrtRequired},  // (levels, 2, directions * gates * units)
      {kOrtFloat, kOrtOptional},  // initial states
      {kOrtFloat, kOrtOptional},  // initial cells
      {kOrtInt32, kOrtOptional},  // lengths
      {kOrtUint8, kOrtVariadic},  // segments, one a level
  };

 protected:
  NestedCell(const ort::Info& info, int64_t gates, bool has_cell)
      : recurrence_(info, gates, has_cell, 3),
        weights_(info, 6, recurrence_.rows(), recurrence_.units(), recurrence_.rows()),
        finish_(info, 2, recurrence_.rows()) {}

  // sums[row] for gates [first, last) of a direction: the product with h, scale and bias. `sums` has room for the rows of all
  // directions; rows before `first` may change, where a block of 4 has some of both.
  void product(int64_t level, int64_t direction, int64_t first, int64_t last, const float* h, float* sums) const;
  // A thread's memory for the sums of all rows.
  float* sums() const;

  Recurrence recurrence_;
  NestedWeights weights_;
  Finish finish_;
};

class NestedLstm : NestedCell {
 public:
  static constexpr const char* kName = "NestedLstm";
  using NestedCell::kInputs, NestedCell::kOutputs;
  explicit NestedLstm(const ort::Info& info) : NestedCell(info, 4, true) {}
  void compute(const ort::Context& context) const;
};

class NestedGru : NestedCell {
 public:
  static constexpr const char* kName = "NestedGru";
  using NestedCell::kInputs, NestedCell::kOutputs;
  explicit NestedGru(const ort::Info& info)
      : NestedCell(info, 3, false), resets_sums_(info.integer("linear_before_reset", 0, 1)) {}
  void compute(const ort::Context& context) const;

 private:
  bool resets_sums_;
};

}  // namespace elsa
