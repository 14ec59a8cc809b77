// The innermost loop of a sparse convolution in 8 bits: sum[r][n] += dot(quads of pixels, w[r]) for each entry.
// Part of kernels8.cpp.
#pragma once
#include "int8_vectors.h"
#if defined(__aarch64__)
#include "in_order_products.h"
#endif

namespace elsa {
namespace {

// The entries of one row group in one run: first, first + step, ... below end.
struct Entries8 {
  const uint16_t* index;
  const int32_t* value;  // R quads an entry
  uint32_t first, end, step;
};

template <int R, int N>
inline void add_products_plainly(const Entries8& e, const uint8_t* x, const int32_t* offset, Int (&sum)[R][N]) {
  for (uint32_t i = e.first; i < e.end; i += e.step) {
    const uint8_t* from = x + offset[e.index[i]];
    if constexpr (R == 1) {
      const Safe w(all(e.value[i]));
#pragma GCC unroll 64
      for (int n = 0; n < N; ++n) sum[0][n] = dot4(sum[0][n], load(from + n * kBytes), w);
    } else {
      Int pixels[N];
#pragma GCC unroll 64
      for (int n = 0; n < N; ++n) pixels[n] = load(from + n * kBytes);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const Safe w(all(e.value[static_cast<int64_t>(i) * R + r]));
#pragma GCC unroll 64
        for (int n = 0; n < N; ++n) sum[r][n] = dot4(sum[r][n], pixels[n], w);
      }
    }
  }
}

#if !defined(__aarch64__)

template <int R, int N>
inline void add_products(const Entries8& e, const uint8_t* x, const int32_t* offset, Int (&sum)[R][N]) {
  add_products_plainly(e, x, offset, sum);
}

#else

#if defined(__ARM_FEATURE_DOTPROD)

struct QuadWeights {
  const int32_t* value;
  Int four(int64_t k) const { return load(value + k); }
  Int all(int64_t k) const { return elsa::all(value[k]); }
};

template <int R, int N>
inline void add_products(const Entries8& e, const uint8_t* x, const int32_t* offset, Int (&sum)[R][N]) {
  add_in_order<Sdot>(e.index, e.first, e.end, e.step, QuadWeights{e.value}, x, offset, sum);
}

#else

// Without `sdot` a dot is four instructions: products of the low and the high half of the bytes, pairs of them added,
// pairs of those added to the sum. Those of vector n + 1 begin while those of vector n end.
struct Products {
  int16x8_t low, high;
};

inline __attribute__((always_inline)) void begin_here(Products& p, Int pixels, Int w) {
  asm volatile("smull %0.8h, %1.8b, %2.8b" : "=w"(p.low) : "w"(pixels), "w"(w));
  asm volatile("smull2 %0.8h, %1.16b, %2.16b" : "=w"(p.high) : "w"(pixels), "w"(w));
}
inline __attribute__((always_inline)) void pair_here(Products& p) {
  asm volatile("addp %0.8h, %0.8h, %1.8h" : "+w"(p.low) : "w"(p.high));
}
inline __attribute__((always_inline)) void end_here(Int& sum, const Products& p) {
  asm volatile("sadalp %0.4s, %1.8h" : "+w"(sum) : "w"(p.low));
}

// A weight in all lanes, from any address.
inline __attribute__((always_inline)) void load_all_here(Int& to, const int32_t* p) {
  asm volatile("ld1r {%0.4s}, %1" : "=w"(to) : "Q"(*p));
}

// One entry of one row, its weights in all lanes of w. The first products of the next entry, whose weights are at `next`,
// begin here.
template <int N>
inline __attribute__((always_inline)) void step(Coming<uint8_t>& coming, uint32_t after, const int32_t* next, Int& w,
                                                Int (&pixels)[kLoaded<N>], Products (&made)[2], Int (&sum)[1][N]) {
  static_assert(N % kLoaded<N> == 0);
  coming.begin();
#pragma GCC unroll 64
  for (int n = 0; n < N; ++n) {
    pair_here(made[n % 2]);
    begin_here(made[(n + 1) % 2], pixels[(n + 1) % kLoaded<N>], w);
    if (n + 2 == N) load_all_here(w, next);
    coming.after_vector<N>(n, after, pixels[n % kLoaded<N>]);
    end_here(sum[0][n], made[n % 2]);
  }
  coming.end(after);
}

// A pixel of four rows is loaded once for 16 instructions: a compiler mixes those better than by hand.
template <int N>
inline void add_products(const Entries8& e, const uint8_t* x, const int32_t* offset, Int (&sum)[4][N]) {
  add_products_plainly(e, x, offset, sum);
}

template <int N>
inline void add_products(const Entries8& e, const uint8_t* x, const int32_t* offset, Int (&sums)[1][N]) {
  if (e.first >= e.end) return;
  const uint32_t last = e.end - 1 - (e.end - 1 - e.first) % e.step;  // behind it there is nothing: it is read again
  const auto at = [&](uint32_t i) { return i < last ? i : last; };
  uint32_t i = e.first;
  Coming<uint8_t> coming(x, offset, e.index[i], e.index[at(i + e.step)], e.index[at(i + 2 * e.step)]);
  Int sum[1][N];
  copy(sums, sum);
  Int pixels[kLoaded<N>], w;
  coming.load_first(pixels);
  load_all_here(w, e.value + i);
  Products made[2];
  begin_here(made[0], pixels[0], w);
  for (; i < e.end; i += e.step)
    step(coming, e.index[at(i + 3 * e.step)], e.value + at(i + e.step), w, pixels, made, sum);
  copy(sum, sums);
}

#endif
#endif

}  // namespace
}  // namespace elsa
