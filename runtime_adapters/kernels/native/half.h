// The inner loops over half floats, as a table of functions. Weights and pixels are halves, scales and biases float32.
//
// Processors without arithmetic of halves have a slow form of the same loops, to build and to prove with, or none:
//
//   aarch64 with asimdhp   "fp16": sums of 8 halves, one rounding a product
//   aarch64 without        none: twice the work of float32 would gain nothing
//   x86-64                 "avx2", "base": floats, rounded to halves after each product
#pragma once
#include "kernels.h"

namespace elsa {

struct HalfTable : PlaneTable<Half> {
  bool fast;  // the processor has the arithmetic
  void (*narrow)(const float* from, int64_t count, Half* to);
  void (*widen)(const Half* from, int64_t count, float* to);
  // to[i] = max(to[i], from[i]); NaN stays
  void (*maximum)(const Half* from, int64_t count, Half* to);
};

// Throws Error where this processor has no loops over halves.
const HalfTable& halves();

}  // namespace elsa
