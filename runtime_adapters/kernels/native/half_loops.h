// Tiles of sparse and depthwise convolutions in half floats. Part of kernels16.cpp.
//
//   y = half(act(scale * (sum over passes of float32(sum in halves over the entries of one pass)) + bias + residual))
//
// A sum in halves is as long as a row has entries in one block of columns, which the exporter bounds; what is carried
// from pass to pass, and all that follows, is float32.
#pragma once
#include "half_products.h"

namespace elsa {
namespace {

constexpr int kHalfSteps = kLine / kHalves;      // vectors of halves a line
constexpr int kVecsOfHalves = kHalves / kLanes;  // vectors of floats that a vector of halves fills

// One line of sums as floats.
inline void widen_line(const Halves* sum, Vec (&line)[kSteps]) {
#pragma GCC unroll 8
  for (int n = 0; n < kSteps; ++n) line[n] = widened_part(sum[n / kVecsOfHalves], n % kVecsOfHalves);
}

template <int R, int N>
void sparse_rows(const SparseTileOf<Half>& t) {
  for (int32_t g = t.group_begin; g < t.group_end; ++g) {
    const int64_t row = static_cast<int64_t>(g) * R;
    // Where nothing is carried there is no such memory, and no pointer into it either.
    const bool carried = !t.first || !t.last;
    float* partial = carried ? t.partial + (row - t.partial_row) * t.partial_stride : nullptr;
    Halves sum[R][N] = {};
    for (int32_t k = 0; k < t.runs; ++k) {
      const Run& run = t.run[k];
      const Entries<Half> entries{run.index, static_cast<const Half*>(run.value), run.pointer[g], run.pointer[g + 1]};
      add_products(entries, t.x, t.offset, sum);
    }
    for (int r = 0; r < R; ++r) {
      if (R > 1 && t.last && row + r >= t.row_count) break;
      for (int n = 0; n < N; n += kHalfSteps) {
        Vec line[kSteps];
        widen_line(sum[r] + n, line);
        const int64_t at = n * kHalves;
        if (!t.first)
          for (int i = 0; i < kSteps; ++i) line[i] += load(partial + r * t.partial_stride + at + i * kLanes);
        if (!t.last) {
          for (int i = 0; i < kSteps; ++i) store(partial + r * t.partial_stride + at + i * kLanes, line[i]);
          continue;
        }
        const int64_t to = (row + r - t.y_row) * t.y_stride + at;
        finish_vectors<kSteps>(line, t.finish.scale[row + r], t.finish.bias[row + r], t.y + to,
                               t.finish.residual ? t.finish.residual + to : nullptr,
                               t.finish.mask ? t.finish.mask + at : nullptr, t.finish);
      }
    }
  }
}

template <int R, int Lines>
void sparse_lines(int lines, const SparseTileOf<Half>& t) {
  if constexpr (Lines > 0) {
    if (lines == Lines) return sparse_rows<R, Lines * kHalfSteps>(t);
    sparse_lines<R, Lines - 1>(lines, t);
  }
}

#if defined(__aarch64__)
constexpr int kMost1 = 12, kMost4 = 2;  // 24 and 16 vectors of 8
#else
constexpr int kMost1 = 6, kMost4 = 2;
#endif

void sparse_halves(BlockRows rows, ValueType, int lines, const SparseTileOf<Half>& t) {
  rows == BlockRows::kFour ? sparse_lines<4, kMost4>(lines, t) : sparse_lines<1, kMost1>(lines, t);
}

template <int Lines>
void depthwise_lines(const DepthwiseTileOf<Half>& t, int64_t line) {
  Halves sum[1][Lines * kHalfSteps] = {};
  add_taps(t, t.x + line * kLine, sum);
  for (int l = 0; l < Lines; ++l) {
    Vec sums[kSteps];
    widen_line(sum[0] + l * kHalfSteps, sums);
    const int64_t at = (line + l) * kLine;
    finish_vectors<kSteps>(sums, *t.finish.scale, *t.finish.bias, t.y + at,
                           t.finish.residual ? t.finish.residual + at : nullptr,
                           t.finish.mask ? t.finish.mask + at : nullptr, t.finish);
  }
}

template <int Lines>
void depthwise_some(int64_t lines, const DepthwiseTileOf<Half>& t, int64_t line) {
  if constexpr (Lines > 0) {
    if (lines == Lines) return depthwise_lines<Lines>(t, line);
    depthwise_some<Lines - 1>(lines, t, line);
  }
}

// Even parts, 16 vectors at most: they share each weight.
void depthwise_halves(const DepthwiseTileOf<Half>& t) {
  constexpr int64_t kLines = 16 / kHalfSteps;
  const int64_t parts = (t.lines + kLines - 1) / kLines;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t line = t.lines * part / parts, end = t.lines * (part + 1) / parts;
    depthwise_some<kLines>(end - line, t, line);
  }
}

}  // namespace
}  // namespace elsa
