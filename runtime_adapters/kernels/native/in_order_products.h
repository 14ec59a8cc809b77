// The products of one weight after another with vectors of pixels, on cores that issue in order.
// Part of kernels.cpp and kernels8.cpp, on aarch64 only.
#pragma once
#include "in_order.h"

namespace elsa {
namespace {

// sum += pixels * w[kLane], of float32
struct Fmla {
  template <int kLane, typename Vector>
  static inline __attribute__((always_inline)) void here(Vector& sum, Vector pixels, Vector w) {
    asm volatile("fmla %0.4s, %1.4s, %2.s[%3]" : "+w"(sum) : "w"(pixels), "w"(w), "i"(kLane));
  }
};

// sum += dot of four pixels' quads with the quad w[kLane]
struct Sdot {
  template <int kLane, typename Vector>
  static inline __attribute__((always_inline)) void here(Vector& sum, Vector pixels, Vector w) {
    asm volatile("sdot %0.4s, %1.16b, %2.4b[%3]" : "+w"(sum) : "w"(pixels), "w"(w), "i"(kLane));
  }
};

template <typename Vector, int R, int N>
inline __attribute__((always_inline)) void copy(const Vector (&from)[R][N], Vector (&to)[R][N]) {
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 64
    for (int n = 0; n < N; ++n) to[r][n] = from[r][n];
}

// The products of one entry: one row takes lane kLane of w, four rows take all. `after` is the column of the third entry
// from here.
template <typename Product, int kLane, typename Unit, typename Vector, int R, int N>
inline __attribute__((always_inline)) void step(Coming<Unit>& coming, uint32_t after, Vector w,
                                                Vector (&pixels)[kLoaded<N>], Vector (&sum)[R][N]) {
  static_assert(N % kLoaded<N> == 0 && (R == 1 || R == 4));
  coming.begin();
#pragma GCC unroll 64
  for (int n = 0; n < N; ++n) {
    Vector& p = pixels[n % kLoaded<N>];
    Product::template here<kLane>(sum[0][n], p, w);
    if constexpr (R == 4) {
      Product::template here<1>(sum[1][n], p, w);
      Product::template here<2>(sum[2][n], p, w);
      Product::template here<3>(sum[3][n], p, w);
    }
    coming.template after_vector<N>(n, after, p);
  }
  coming.end(after);
}

// The products of the entries first, first + stride, ... below end. weights.four(k) is the vector of the weights from k
// on, R of them an entry, and weights.all(k) has weight k in all lanes.
template <typename Product, typename Weights, typename Unit, typename Vector, int R, int N>
inline __attribute__((always_inline)) void add_in_order(const uint16_t* index, uint32_t first, uint32_t end,
                                                        uint32_t stride, Weights weights, const Unit* x,
                                                        const int32_t* offset, Vector (&sums)[R][N]) {
  if (first >= end) return;
  const uint32_t last = end - 1 - (end - 1 - first) % stride;  // behind it there is nothing: it is read again
  const auto column = [&](uint32_t i) -> uint32_t { return index[i < last ? i : last]; };
  uint32_t i = first;
  Coming<Unit> coming(x, offset, column(i), column(i + stride), column(i + 2 * stride));
  Vector sum[R][N];  // in registers, which an array that others point to would not be
  copy(sums, sum);
  Vector pixels[kLoaded<N>];
  coming.load_first(pixels);
  if constexpr (R == 4) {
    const auto block = [&](int64_t at) { return weights.four(4 * at); };
    Vector w = block(i);
    for (; i + 4 < end; i += 2) {
      const Vector odd = block(i + 1);
      step<Product, 0>(coming, index[i + 3], w, pixels, sum);
      w = block(i + 2);
      step<Product, 0>(coming, index[i + 4], odd, pixels, sum);
    }
    for (; i < end; ++i) step<Product, 0>(coming, column(i + 3), block(i), pixels, sum);
  } else {
    // Four entries side by side share the load of their weights and that of the columns that come in.
    if (stride == 1) {
      for (; i + 7 <= end; i += 4) {
        const Vector w = weights.four(i);
        uint64_t columns;
        __builtin_memcpy(&columns, index + i + 3, sizeof columns);
        step<Product, 0>(coming, columns & 0xFFFF, w, pixels, sum);
        step<Product, 1>(coming, columns >> 16 & 0xFFFF, w, pixels, sum);
        step<Product, 2>(coming, columns >> 32 & 0xFFFF, w, pixels, sum);
        step<Product, 3>(coming, columns >> 48, w, pixels, sum);
      }
    }
    for (; i < end; i += stride) step<Product, 0>(coming, column(i + 3 * stride), weights.all(i), pixels, sum);
  }
  copy(sum, sums);
}

// The products of all taps of a depthwise convolution. Each tap loads its pixels again: shifting those of the tap before
// in registers takes the ports of the products.
template <typename Product, typename Weights, typename Unit, typename Vector, int N>
inline __attribute__((always_inline)) void add_taps_in_order(int32_t taps, Weights weights, const Unit* x,
                                                             const int32_t* offset, Vector (&sums)[1][N]) {
  const uint32_t last = static_cast<uint32_t>(taps) - 1;
  const auto tap = [&](uint32_t k) { return k < last ? k : last; };
  Coming<Unit> coming(x, offset, 0, tap(1), tap(2));
  Vector sum[1][N];
  copy(sums, sum);
  Vector pixels[kLoaded<N>];
  coming.load_first(pixels);
  for (uint32_t k = 0; k <= last; ++k) step<Product, 0>(coming, tap(k + 3), weights.all(k), pixels, sum);
  copy(sum, sums);
}

}  // namespace
}  // namespace elsa
