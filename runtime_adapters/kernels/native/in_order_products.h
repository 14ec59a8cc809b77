// The products of one weight after another with vectors of pixels, on cores that issue in order.
// Part of kernels.cpp, on aarch64 only.
#pragma once
#include "in_order.h"
#include "vectors.h"

namespace elsa {
namespace {

constexpr int kLoaded = 4;  // vectors of pixels that are loaded when their products begin

inline const VecAnywhere& vector_at(const float* p) { return *reinterpret_cast<const VecAnywhere*>(p); }

// Where the pixels of the coming entries lie. The column, its distance and the pixels are three loads that wait for one
// another, so each is made an entry before the next one: during the products of entry i, the pixels of i + 1, the
// distance of i + 2, the column of i + 3.
struct Coming {
  const float* x;
  const int32_t* offset;  // (columns)
  const float* now;       // pixels of entry i
  const float* next;      // of entry i + 1
  uint32_t column;        // of entry i + 2

  Coming(const float* from, const int32_t* offsets, uint32_t first, uint32_t second, uint32_t third)
      : x(from), offset(offsets), now(from + offsets[first]), next(from + offsets[second]), column(third) {}

  inline __attribute__((always_inline)) void load_first(Vec (&pixels)[kLoaded]) const {
#pragma GCC unroll 8
    for (int n = 0; n < kLoaded; ++n) load_here(pixels[n], vector_at(now + n * kLanes));
  }
};

template <int R, int N>
inline __attribute__((always_inline)) void copy(const Vec (&from)[R][N], Vec (&to)[R][N]) {
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 64
    for (int n = 0; n < N; ++n) to[r][n] = from[r][n];
}

// sum[r][n] += w[r] * pixels of entry i; one row takes lane kLane of w. `after` is the column of entry i + 3.
template <int R, int N, int kLane>
inline __attribute__((always_inline)) void step(Coming& c, uint32_t after, Vec w, Vec (&pixels)[kLoaded],
                                                Vec (&sum)[R][N]) {
  static_assert(N % kLoaded == 0 && (R == 1 || R == 4));
  int32_t distance = c.offset[c.column];
  settle(distance);
  const float* later = nullptr;
#pragma GCC unroll 64
  for (int n = 0; n < N; ++n) {
    Vec& p = pixels[n % kLoaded];
    multiply_here<kLane>(sum[0][n], p, w);
    if constexpr (R == 4) {
      multiply_here<1>(sum[1][n], p, w);
      multiply_here<2>(sum[2][n], p, w);
      multiply_here<3>(sum[3][n], p, w);
    }
    load_here(p, vector_at(n + kLoaded < N ? c.now + (n + kLoaded) * kLanes : c.next + (n + kLoaded - N) * kLanes));
    if (n == 1) settle(after);
    if (n == 2) {
      later = c.x + distance;
      settle(later);
    }
  }
  c.now = c.next, c.next = later, c.column = after;
}

}  // namespace
}  // namespace elsa
