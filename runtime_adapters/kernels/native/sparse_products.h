// sum[r][n] += w[r] * x[n] for each entry of a row group: the innermost loop of a sparse convolution.
// Part of kernels.cpp, which is compiled once an instruction set: nothing else includes it.
#pragma once
#include <cstring>

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

template <int R, int N, typename Value>
inline void add_products(const Entries<Value>& e, const float* x, const int32_t* offset, Vec (&sums)[R][N]) {
  if (e.begin == e.end) return;
  const uint32_t last = e.end - 1;  // behind it there is nothing: its pixels are loaded again
  const auto column = [&](uint32_t i) -> uint32_t { return e.index[i < last ? i : last]; };
  uint32_t i = e.begin;
  ComingFloats coming(x, offset, column(i), column(i + 1), column(i + 2));
  Vec sum[R][N];  // in registers, which an array that others point to would not be
  copy(sums, sum);
  Vec pixels[kLoaded];
  coming.load_first(pixels);
  if constexpr (R == 4) {
    const auto weights = [&](uint32_t at) { return four(e.value + 4 * static_cast<int64_t>(at)); };
    Vec w = weights(i);
    for (; i + 4 < e.end; i += 2) {
      const Vec odd = weights(i + 1);
      step<4, N, 0>(coming, e.index[i + 3], w, pixels, sum);
      w = weights(i + 2);
      step<4, N, 0>(coming, e.index[i + 4], odd, pixels, sum);
    }
    for (; i < e.end; ++i) step<4, N, 0>(coming, column(i + 3), weights(i), pixels, sum);
  } else {
    // Four entries share the load of their weights and that of the columns that come in.
    for (; i + 7 <= e.end; i += 4) {
      const Vec w = four(e.value + i);
      uint64_t columns;
      std::memcpy(&columns, e.index + i + 3, sizeof columns);
      step<1, N, 0>(coming, columns & 0xFFFF, w, pixels, sum);
      step<1, N, 1>(coming, columns >> 16 & 0xFFFF, w, pixels, sum);
      step<1, N, 2>(coming, columns >> 32 & 0xFFFF, w, pixels, sum);
      step<1, N, 3>(coming, columns >> 48, w, pixels, sum);
    }
    for (; i < e.end; ++i) step<1, N, 0>(coming, column(i + 3), all(value_at(e.value, i)), pixels, sum);
  }
  copy(sum, sums);
}

#endif

}  // namespace
}  // namespace elsa
