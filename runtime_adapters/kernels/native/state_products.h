// The product of a recurrent layer with its state, in the two kinds of weights that it may have; see cells.h.
#pragma once
#include "bands.h"
#include "finish.h"
#include "int8_finish.h"
#include "int8_weights.h"
#include "recurrent.h"
#include "weights.h"

namespace elsa {

// Both: sums[row] for gates [first, last) of a direction; `sums` has room for the rows of all directions.

class FloatStateProduct {
 public:
  static constexpr const char *kLstm = "NestedLstm", *kGru = "NestedGru";
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
  FloatStateProduct(const ort::Info& info, int64_t gates, bool has_cell);
  int64_t start(const ort::Context& context) const;
  void product(int64_t level, int64_t direction, int64_t first, int64_t last, const float* h, float* sums) const;

  Recurrence recurrence_;

 private:
  int64_t share_;  // rows whose product can be had alone
  NestedWeights weights_;
  BandedWeights banded_;
  Finish<float> finish_;
};

// The state is coded again at each step; sums are exact integers until they become floats.
class Int8StateProduct {
 public:
  static constexpr const char *kLstm = "Int8Lstm", *kGru = "Int8Gru";
  static constexpr ort::InputKind kInputs[] = {
      {kOrtFloat, kOrtRequired},  // (steps, batch, directions * gates * units)
      {kOrtInt64, kOrtRequired},  // level
      {kOrtFloat, kOrtRequired},  // (levels, 2, directions * gates * units, padded)
      {kOrtFloat, kOrtRequired},  // (levels, 6); of these the state's code of 0 is read
      {kOrtFloat, kOrtRequired},  // (levels, 2) the state's steps
      {kOrtFloat, kOrtOptional},  // initial states
      {kOrtFloat, kOrtOptional},  // initial cells
      {kOrtInt32, kOrtOptional},  // lengths
      {kOrtUint8, kOrtVariadic},  // segments of quads, one a level
  };

 protected:
  Int8StateProduct(const ort::Info& info, int64_t gates, bool has_cell);
  int64_t start(const ort::Context& context) const;
  void product(int64_t level, int64_t direction, int64_t first, int64_t last, const float* h, float* sums) const;

  Recurrence recurrence_;

 private:
  int64_t quads_, share_;
  Weights8 weights_;
  BandedWeights banded_;
  Finish8Tables finish_;
  Steps8 steps_;
};

}  // namespace elsa
