// The products of one weight after another with vectors of pixels, on cores that issue in order.
// Part of kernels.cpp, on aarch64 only.
#pragma once
#include "in_order.h"
#include "vectors.h"

namespace elsa {
namespace {

typedef Coming<float> ComingFloats;

// sum += pixels * w[kLane]
template <int kLane>
inline __attribute__((always_inline)) void multiply_here(Vec& sum, Vec pixels, Vec w) {
  asm volatile("fmla %0.4s, %1.4s, %2.s[%3]" : "+w"(sum) : "w"(pixels), "w"(w), "i"(kLane));
}

template <int R, int N>
inline __attribute__((always_inline)) void copy(const Vec (&from)[R][N], Vec (&to)[R][N]) {
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 64
    for (int n = 0; n < N; ++n) to[r][n] = from[r][n];
}

// sum[r][n] += w[r] * pixels of entry i; one row takes lane kLane of w. `after` is the column of entry i + 3.
template <int R, int N, int kLane>
inline __attribute__((always_inline)) void step(ComingFloats& coming, uint32_t after, Vec w, Vec (&pixels)[kLoaded],
                                                Vec (&sum)[R][N]) {
  static_assert(N % kLoaded == 0 && (R == 1 || R == 4));
  coming.begin();
#pragma GCC unroll 64
  for (int n = 0; n < N; ++n) {
    Vec& p = pixels[n % kLoaded];
    multiply_here<kLane>(sum[0][n], p, w);
    if constexpr (R == 4) {
      multiply_here<1>(sum[1][n], p, w);
      multiply_here<2>(sum[2][n], p, w);
      multiply_here<3>(sum[3][n], p, w);
    }
    coming.after_vector<N>(n, after, p);
  }
  coming.end(after);
}

}  // namespace
}  // namespace elsa
