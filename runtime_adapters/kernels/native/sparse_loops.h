// Tiles of the output of a sparse convolution.
// Part of kernels.cpp, which is compiled once an instruction set: nothing else includes it.
#pragma once
#include "sparse_products.h"
#include "vectors.h"

namespace elsa {
namespace {

// R output rows share each load of N vectors of x.
template <int R, int N, typename Value>
void sparse_rows(const SparseTile& t) {
  for (int32_t g = t.group_begin; g < t.group_end; ++g) {
    Vec sum[R][N];
    const int64_t row = static_cast<int64_t>(g) * R;
    // Where nothing is carried there is no such memory, and no pointer into it either.
    const bool carried = !t.first || !t.last;
    float* partial = carried ? t.partial + (row - t.partial_row) * t.partial_stride : nullptr;
    if (t.last && t.far) {
      for (int r = 0; r < R; ++r)
        if (row + r < t.row_count) {
          float* y = t.y + (row + r - t.y_row) * t.y_stride;
#pragma GCC unroll 64
          for (int n = 0; n < N; n += kSteps) __builtin_prefetch(y + n * kLanes, 1);
        }
    }
    if (t.first) {
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 64
        for (int n = 0; n < N; ++n) sum[r][n] = Vec{};
    } else {
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 64
        for (int n = 0; n < N; ++n) sum[r][n] = load(partial + r * t.partial_stride + n * kLanes);
    }
    for (int32_t k = 0; k < t.runs; ++k) {
      const Run& run = t.run[k];
      const Entries<Value> entries{run.index, static_cast<const Value*>(run.value), run.pointer[g], run.pointer[g + 1]};
      add_products(entries, t.x, t.offset, sum);
    }
    if (!t.last) {
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 64
        for (int n = 0; n < N; ++n) store(partial + r * t.partial_stride + n * kLanes, sum[r][n]);
      continue;
    }
    for (int r = 0; r < R; ++r) {
      if (R > 1 && row + r >= t.row_count) break;
      const int64_t at = (row + r - t.y_row) * t.y_stride;
      const float* residual = t.finish.residual ? t.finish.residual + at : nullptr;
      finish_vectors<N>(sum[r], t.finish.scale[row + r], t.finish.bias[row + r], t.y + at, residual, t.finish.mask,
                        t.finish);
    }
  }
}

template <int R, typename Value, int N>
void sparse_lines(int lines, const SparseTile& t) {
  if constexpr (N > 0) {
    if (lines == N) return sparse_rows<R, N * kSteps, Value>(t);
    sparse_lines<R, Value, N - 1>(lines, t);
  }
}

// Registers: R * N sums, R values and one or two of pixels: 32 on AVX-512 and aarch64, 16 otherwise.
#if defined(__AVX512F__)
constexpr int kMax1 = 14, kMax4 = 6;
#elif defined(__aarch64__)
constexpr int kMax1 = 6, kMax4 = 1;  // 24 and 16 vectors of 4
#elif defined(__AVX2__)
constexpr int kMax1 = 6, kMax4 = 1;  // 12 and 8 vectors of 8
#else
constexpr int kMax1 = 3, kMax4 = 1;
#endif

template <typename Value>
void sparse_of(BlockRows rows, int lines, const SparseTile& t) {
  rows == BlockRows::kFour ? sparse_lines<4, Value, kMax4>(lines, t) : sparse_lines<1, Value, kMax1>(lines, t);
}

void sparse(BlockRows rows, ValueType type, int lines, const SparseTile& t) {
  type == ValueType::kInt8 ? sparse_of<int8_t>(rows, lines, t) : sparse_of<float>(rows, lines, t);
}

}  // namespace
}  // namespace elsa
