// Channels of a depthwise convolution.
// Part of kernels.cpp, which is compiled once an instruction set: nothing else includes it.
#pragma once
#include "sparse_products.h"
#include "vectors.h"

namespace elsa {
namespace {

#if !defined(__aarch64__)

template <int N>
inline void add_taps(const DepthwiseTile& t, const float* x, Vec (&sum)[1][N]) {
  for (int32_t k = 0; k < t.taps; ++k) {
    const Vec w = all(t.weight[k]);
    const float* shifted = x + t.offset[k];
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) sum[0][n] += w * load(shifted + n * kLanes);
  }
}

#else

template <int N>
inline void add_taps(const DepthwiseTile& t, const float* x, Vec (&sum)[1][N]) {
  add_taps_in_order<Fmla>(t.taps, FloatWeights<float>{t.weight}, x, t.offset, sum);
}

#endif

// One channel: y[p] = sum over taps of weight * x[p + offset]. Four lines at a time share each weight.
template <int N>
void depthwise_lines(const DepthwiseTile& t, int64_t line) {
  Vec sum[1][N];
#pragma GCC unroll 16
  for (int n = 0; n < N; ++n) sum[0][n] = Vec{};
  const float* x = t.x + line * kLine;
#pragma GCC unroll 16
  for (int n = 0; n < N; n += kSteps) __builtin_prefetch(t.y + line * kLine + n * kLanes, 1);
  add_taps<N>(t, x, sum);
  const int64_t at = line * kLine;
  finish_vectors<N>(sum[0], *t.finish.scale, *t.finish.bias, t.y + at,
                    t.finish.residual ? t.finish.residual + at : nullptr, t.finish.mask ? t.finish.mask + at : nullptr,
                    t.finish);
}

template <int Lines>
void depthwise_some(int64_t lines, const DepthwiseTile& t, int64_t line) {
  if constexpr (Lines > 0) {
    if (lines == Lines) return depthwise_lines<Lines * kSteps>(t, line);
    depthwise_some<Lines - 1>(lines, t, line);
  }
}

void depthwise_any(const DepthwiseTile& t) {
  // Even parts: a last part of one line would wait for each of its additions.
  constexpr int64_t kLines = kLanes == 16 ? 8 : kRegisters == 32 || kLanes == 8 ? 4 : 2;
  const int64_t parts = (t.lines + kLines - 1) / kLines;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t line = t.lines * part / parts, end = t.lines * (part + 1) / parts;
    depthwise_some<kLines>(end - line, t, line);
  }
}

#if defined(__AVX512F__)

// Side x side taps: each row of taps loads its pixels once and shifts them in registers. A load that crosses a cache
// line takes the time of two, a shift that of a multiply-add.
template <int Side, int N>
inline void depthwise_run(const DepthwiseTile& t, int64_t line, Vec* pixels, const __m512i* shift, __mmask16 beyond) {
  Vec sum[N];
  for (int n = 0; n < N; ++n) sum[n] = Vec{};
  float* y = t.y + line * kLine;
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) __builtin_prefetch(y + n * 16, 1);
#pragma GCC unroll 8
  for (int row = 0; row < Side; ++row) {
    const float* x = t.x + t.offset[row * Side] + line * kLine;
    const float* weight = t.weight + row * Side;
    Vec now = pixels[row];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      // Behind the last line only what shifts bring in may be read.
      const Vec next = n + 1 < N ? load(x + (n + 1) * 16) : load_first(x + N * 16, beyond);
      sum[n] += all(weight[0]) * now;
#pragma GCC unroll 8
      for (int k = 1; k < Side; ++k) sum[n] += all(weight[k]) * pick(now, shift[k], next);
      now = next;
    }
    pixels[row] = now;
  }
  const float* residual = t.finish.residual ? t.finish.residual + line * kLine : nullptr;
  finish_vectors<N>(sum, *t.finish.scale, *t.finish.bias, y, residual,
                    t.finish.mask ? t.finish.mask + line * kLine : nullptr, t.finish);
}

template <int Side>
void depthwise_square(const DepthwiseTile& t) {
  constexpr int kLines = Side == 3 ? 4 : 2;
  __m512i shift[Side];
  for (int k = 0; k < Side; ++k) shift[k] = _mm512_add_epi32(from_zero_by(1), _mm512_set1_epi32(k * t.step));
  const __mmask16 shifted_in = first_lanes((Side - 1) * t.step);
  Vec pixels[Side];
  for (int row = 0; row < Side; ++row) pixels[row] = load(t.x + t.offset[row * Side]);
  int64_t line = 0;
  for (; line + kLines <= t.lines; line += kLines)
    depthwise_run<Side, kLines>(t, line, pixels, shift, line + kLines < t.lines ? 0xFFFF : shifted_in);
  for (; line < t.lines; ++line)
    depthwise_run<Side, 1>(t, line, pixels, shift, line + 1 < t.lines ? 0xFFFF : shifted_in);
}

// Columns 0, 2, 4 ... of two vectors, and 1, 3, 5 ...: each pair of taps in a row needs one pair of loads.
template <int Side>
void strided_square(const StridedTile& t) {
  const __m512i even = from_zero_by(2), odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  for (int64_t row = 0; row < t.rows; ++row) {
    for (int64_t column = 0; column < t.y_pitch; column += 16) {
      const int64_t count = t.width - column;  // of outputs; what lies behind them is zero
      float* y = t.y + row * t.y_pitch + column;
      Vec sum{};
      if (count > 0) {
        const __mmask16 low = first_lanes(2 * count), high = first_lanes(2 * count - 16);
        const float* x = t.x + row * t.x_step + 2 * column;
#pragma GCC unroll 8
        for (int tap = 0; tap < Side; ++tap, x += t.x_pitch) {
#pragma GCC unroll 8
          for (int k = 0; k < Side; k += 2) {
            const __mmask16 one_low = k + 1 < Side ? low : first_lanes(2 * count - 1),
                            one_high = k + 1 < Side ? high : first_lanes(2 * count - 17);
            const Vec a = load_first(x + k, one_low), b = load_first(x + k + 16, one_high);
            sum += all(t.weight[tap * Side + k]) * pick(a, even, b);
            if (k + 1 < Side) sum += all(t.weight[tap * Side + k + 1]) * pick(a, odd, b);
          }
        }
        sum = sum * all(*t.finish.scale) + all(*t.finish.bias);
        if (t.finish.residual) sum += load_first(t.finish.residual + row * t.y_pitch + column, first_lanes(count));
        activate<1>(&sum, t.finish);
      }
      const __m512 kept = _mm512_maskz_mov_ps(first_lanes(count), reinterpret_cast<__m512>(sum));
      _mm512_mask_storeu_ps(y, first_lanes(t.y_pitch - column), kept);
    }
  }
}

void depthwise(const DepthwiseTile& t) {
  if (t.side == 3 && t.step <= 7) return depthwise_square<3>(t);
  if (t.side == 5 && t.step <= 3) return depthwise_square<5>(t);
  depthwise_any(t);
}

void strided(const StridedTile& t) {
  if (t.side == 3) return strided_square<3>(t);
  if (t.side == 5) return strided_square<5>(t);
  strided_square<7>(t);
}

#else

void depthwise(const DepthwiseTile& t) { depthwise_any(t); }
constexpr void (*strided)(const StridedTile&) = nullptr;

#endif

}  // namespace
}  // namespace elsa
