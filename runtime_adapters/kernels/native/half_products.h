// sum[r][n] += w[r] * x[n] in half floats, for each entry of a row group. Part of kernels16.cpp.
//
// On aarch64 the processor multiplies 8 halves at a time, in the order of in_order.h. Elsewhere this is a form to check
// with and never to be fast: floats that are rounded to halves after each product, which may differ from one rounding by
// the last place where a sum lies next to the middle of two halves.
#pragma once
#include "sparse_products.h"
#include "vectors.h"

namespace elsa {
namespace {

#if defined(__aarch64__)

typedef float16x8_t Halves;  // sums or pixels
constexpr int kHalves = 8;   // of a vector

// The lower and the upper half of the lanes.
inline Vec widened_part(Halves v, int part) {
  return reinterpret_cast<Vec>(vcvt_f32_f16(part == 0 ? vget_low_f16(v) : vget_high_f16(v)));
}

struct __attribute__((packed, may_alias)) Eight {
  char bytes[8];
};

struct HalfWeights {
  const Half* value;
  // In the lower lanes; a compiler would take more than one instruction to say so.
  Halves four(int64_t k) const {
    Halves weights;
    asm("ldr %d0, %1" : "=w"(weights) : "m"(*reinterpret_cast<const Eight*>(value + k)));
    return weights;
  }
  Halves all(int64_t k) const { return vreinterpretq_f16_u16(vdupq_n_u16(value[k].bits)); }
};

// sum += pixels * w[kLane], of halves; a lane of halves must be in one of the first 16 registers
struct FmlaHalf {
  template <int kLane>
  static inline __attribute__((always_inline)) void here(Halves& sum, Halves pixels, Halves w) {
    asm volatile("fmla %0.8h, %1.8h, %2.h[%3]" : "+w"(sum) : "w"(pixels), "x"(w), "i"(kLane));
  }
};

template <int R, int N>
inline void add_products(const Entries<Half>& e, const Half* x, const int32_t* offset, Halves (&sum)[R][N]) {
  add_in_order<FmlaHalf>(e.index, e.begin, e.end, 1, HalfWeights{e.value}, x, offset, sum);
}

// Of taps, whose weights lie apart from those of other channels.
template <int N>
inline void add_taps(const DepthwiseTileOf<Half>& t, const Half* x, Halves (&sums)[1][N]) {
  add_taps_in_order<FmlaHalf>(t.taps, HalfWeights{t.weight}, x, t.offset, sums);
}

#else

typedef Vec Halves;  // floats that are halves
constexpr int kHalves = kLanes;

inline Vec widened_part(Halves v, int) { return v; }

template <int R, int N>
inline void add_products(const Entries<Half>& e, const Half* x, const int32_t* offset, Halves (&sum)[R][N]) {
  for (uint32_t i = e.begin; i < e.end; ++i) {
    const Half* from = x + offset[e.index[i]];
    for (int r = 0; r < R; ++r) {
      const Vec w = all(value_at(e.value, static_cast<int64_t>(i) * R + r));
      for (int n = 0; n < N; ++n) sum[r][n] = rounded(sum[r][n] + w * load(from + n * kLanes));
    }
  }
}

template <int N>
inline void add_taps(const DepthwiseTileOf<Half>& t, const Half* x, Halves (&sum)[1][N]) {
  for (int32_t k = 0; k < t.taps; ++k) {
    const Vec w = all(value_at(t.weight, k));
    for (int n = 0; n < N; ++n) sum[0][n] = rounded(sum[0][n] + w * load(x + t.offset[k] + n * kLanes));
  }
}

#endif

}  // namespace
}  // namespace elsa
