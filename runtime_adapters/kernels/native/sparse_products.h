// sum[r][n] += w[r] * x[n] for each entry of a row group: the innermost loop of a sparse convolution.
// Part of kernels.cpp, which is compiled once an instruction set: nothing else includes it.
#pragma once
#include "vectors.h"
#if defined(__aarch64__)
#include "in_order_products.h"
#endif

namespace elsa {
namespace {

// The entries of one row group in one run.
template <typename Value>
struct Entries {
  const uint16_t* index;  // (end) columns
  const Value* value;     // (end, R)
  uint32_t begin, end;
};

#if !defined(__aarch64__)

template <int R, int N, typename Value>
inline void add_products(const Entries<Value>& e, const float* x, const int32_t* offset, Vec (&sum)[R][N]) {
  for (uint32_t i = e.begin; i < e.end; ++i) {
    const float* from = x + offset[e.index[i]];
    Vec w[R];
    for (int r = 0; r < R; ++r) w[r] = all(value_at(e.value, static_cast<int64_t>(i) * R + r));
#pragma GCC unroll 64
    for (int n = 0; n < N; ++n) {
      const Vec pixels = load(from + n * kLanes);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sum[r][n] += w[r] * pixels;
    }
  }
}

#else

template <typename Value>
struct FloatWeights {
  const Value* value;
  Vec four(int64_t k) const { return elsa::four(value + k); }
  Vec all(int64_t k) const { return elsa::all(value_at(value, k)); }
};

template <int R, int N, typename Value>
inline void add_products(const Entries<Value>& e, const float* x, const int32_t* offset, Vec (&sum)[R][N]) {
  add_in_order<Fmla>(e.index, e.begin, e.end, 1, FloatWeights<Value>{e.value}, x, offset, sum);
}

#endif

}  // namespace
}  // namespace elsa
