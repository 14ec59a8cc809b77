// Tiles of a sparse convolution in 8 bits. Part of kernels8.cpp.
#pragma once
#include "int8_products.h"

namespace elsa {
namespace {

// Registers hold R * N sums beside weights and pixels: 32 on AVX-512 and aarch64, 16 otherwise.
#if ELSA_LANES == 16
constexpr int kMax1 = 12, kMax4 = 6;  // lines
#elif defined(__aarch64__)
constexpr int kMax1 = 5, kMax4 = 1;
#elif defined(__AVX2__)
constexpr int kMax1 = 6, kMax4 = 1;
#else
constexpr int kMax1 = 2, kMax4 = 1;
#endif

constexpr int kWidest = kMax1 * 16;  // positions

// R rows over N vectors; sums[r] are `kWidest` apart. `group` counts groups of R rows. One of 8 rows side by side finds
// its entries 8 apart.
template <int R, int N>
inline void multiply(const Sweep& sweep, int32_t group, const uint8_t* x, const int32_t* offset, const int32_t* start,
                     int32_t* sums) {
  const bool beside = R == 1 && sweep.block_rows == 8;
  const uint32_t first = beside ? static_cast<uint32_t>(group) % 8 : 0, step = beside ? 8 : 1;
  if (beside) group /= 8;
  Int sum[R][N];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 64
    for (int n = 0; n < N; ++n) sum[r][n] = start ? all(start[r]) : load(sums + r * kWidest + n * kLanes);
  for (int32_t k = 0; k < sweep.runs; ++k) {
    const Run& run = sweep.run[k];
    const Entries8 entries{run.index, static_cast<const int32_t*>(run.value), run.pointer[group] + first,
                           run.pointer[group + 1], step};
    add_products(entries, x, offset, sum);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 64
    for (int n = 0; n < N; ++n) store(sums + r * kWidest + n * kLanes, sum[r][n]);
}

template <int R, int L>
inline void multiply_lines(int lines, const Sweep& sweep, int32_t group, const uint8_t* x, const int32_t* offset,
                           const int32_t* start, int32_t* sums) {
  if constexpr (L > 0) {
    if (lines == L) return multiply<R, L * kSteps>(sweep, group, x, offset, start, sums);
    multiply_lines<R, L - 1>(lines, sweep, group, x, offset, start, sums);
  }
}

// Lowest and highest code of an output.
struct Bounds {
  Int low, high;
  explicit Bounds(const Finish8& f) : low(bytes(f.low)), high(bytes(f.high)) {}
  Int of(Int v) const { return byte_min(byte_max(v, low), high); }
};

inline Int chosen(Int keep, Int v, Int otherwise) { return (v & keep) | (otherwise & ~keep); }

// Four rows of sums to pixels.
template <bool kResidual, bool kActivated>
inline void finish_quad(const int32_t* sums, int32_t lines, const float* scale, const float* bias,
                        const uint8_t* residual, uint8_t* y, const Finish8& f) {
  Float s[4], b[4];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) s[r] = all(scale[r]), b[r] = all(bias[r]);
  const Float share = all(f.share);
  const Int zero = bytes(f.zero);
  const Bounds bounds(f);
  for (int n = 0; n < lines * kSteps; ++n) {
    Float t[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) t[r] = to_float(load(sums + r * kWidest + n * kLanes)) * s[r] + b[r];
    if constexpr (kResidual) {
      const Int other = load_codes(residual + n * kBytes);
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) t[r] = t[r] + to_float((other >> (8 * r)) & 0xFF) * share;
    }
    if constexpr (kActivated) {
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) t[r] = activated(t[r], f);
    }
    Int v = bounds.of(pack4(t[0], t[1], t[2], t[3]));
    if (f.mask) v = chosen(load(f.mask + n * kLanes), v, zero);
    store_codes(y + n * kBytes, v);
  }
}

// Four rows of sums over all lines of a tile.
inline void sum_quad(const Tile8& t, int32_t q, int32_t* sums) {
  const int32_t rows = t.row_count - 4 * q < 4 ? t.row_count - 4 * q : 4;
  for (int32_t k = 0; k < t.sweeps; ++k) {
    const Sweep& sweep = t.sweep[k];
    const int32_t* start = k == 0 ? t.start + 4 * q : nullptr;
    if (sweep.block_rows == 4) {
      for (int32_t line = 0; line < t.lines; line += kMax4) {
        const int32_t here = t.lines - line < kMax4 ? t.lines - line : kMax4;
        multiply_lines<4, kMax4>(here, sweep, q, t.x + line * 64, t.offset, start, sums + line * 16);
      }
    } else {
      for (int32_t r = 0; r < rows; ++r)
        multiply_lines<1, kMax1>(t.lines, sweep, 4 * q + r, t.x, t.offset, start ? start + r : nullptr,
                                 sums + r * kWidest);
      for (int32_t r = rows; r < 4; ++r)
        for (int32_t n = 0; start && n < t.lines * kSteps; ++n) store(sums + r * kWidest + n * kLanes, Int{});
    }
  }
}

void tile(const Tile8& t) {
  alignas(64) int32_t sums[4 * kWidest];
  for (int32_t q = t.quad_begin; q < t.quad_end; ++q) {
    uint8_t* y = t.y + (q - t.quad_begin) * t.y_stride;
    for (int32_t n = 0; n < t.lines; ++n) __builtin_prefetch(y + n * 64, 1);
    sum_quad(t, q, sums);
    const float *scale = t.finish.scale + 4 * q, *bias = t.finish.bias + 4 * q;
    const uint8_t* residual = t.finish.residual ? t.finish.residual + (q - t.quad_begin) * t.y_stride : nullptr;
    const bool plain = t.finish.activation == Activation::kNone;
    const auto finish = residual ? (plain ? finish_quad<true, false> : finish_quad<true, true>)
                                 : (plain ? finish_quad<false, false> : finish_quad<false, true>);
    finish(sums, t.lines, scale, bias, residual, y, t.finish);
  }
}

void tile_sums(const Tile8& t, int32_t* sums) {
  for (int32_t q = t.quad_begin; q < t.quad_end; ++q) sum_quad(t, q, sums + (q - t.quad_begin) * 4 * kWidest);
}

}  // namespace
}  // namespace elsa
