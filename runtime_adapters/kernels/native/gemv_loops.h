// Products of sparse weights with one vector.
// Part of kernels.cpp, which is compiled once an instruction set: nothing else includes it.
#pragma once
#include "vectors.h"

namespace elsa {
namespace {

// One product with a vector reads each weight once, so it waits for memory: weights are asked for this far ahead.
constexpr int64_t kAhead = 512;

template <typename Value>
inline void ask_ahead(const Run& run, int64_t entry, int64_t values) {
  __builtin_prefetch(static_cast<const Value*>(run.value) + values + kAhead);
  __builtin_prefetch(run.index + entry + kAhead);
}

// Rows of 1: gather where there is one, else four sums to hide the latency of the additions.
template <typename Value>
void gemv_rows1(const Run* runs, int32_t count, const float* x, int32_t begin, int32_t end, float* y) {
  for (int32_t g = begin; g < end; ++g) {
#if defined(__AVX512F__)
    __m512 sum0 = _mm512_setzero_ps(), sum1 = _mm512_setzero_ps();
#else
    float a = 0, b = 0, c = 0, d = 0;
#endif
    for (int32_t k = 0; k < count; ++k) {
      const Run& run = runs[k];
      const Value* value = static_cast<const Value*>(run.value);
      int64_t i = run.pointer[g];
      const int64_t stop = run.pointer[g + 1];
#if defined(__AVX512F__)
      auto step = [&](int64_t at, __m512 sum, __mmask16 keep) {
        const __m512i column = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(keep, run.index + at));
        __m512 w;
        if constexpr (sizeof(Value) == 4) {
          w = _mm512_maskz_loadu_ps(keep, value + at);
        } else {
          w = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(keep, value + at)));
        }
        return _mm512_mask3_fmadd_ps(w, _mm512_mask_i32gather_ps(_mm512_setzero_ps(), keep, column, x, 4), sum, keep);
      };
      for (; i + 32 <= stop; i += 32) {
        ask_ahead<Value>(run, i, i);
        if (sizeof(Value) == 4) __builtin_prefetch(value + i + 16 + kAhead);
        sum0 = step(i, sum0, 0xFFFF);
        sum1 = step(i + 16, sum1, 0xFFFF);
      }
      if (i < stop) ask_ahead<Value>(run, i, i);
      if (i + 16 <= stop) {
        sum0 = step(i, sum0, 0xFFFF);
        i += 16;
      }
      if (i < stop) sum1 = step(i, sum1, first_lanes(stop - i));
#else
      for (; i + 4 <= stop; i += 4) {
        a += value_at(value, i) * x[run.index[i]];
        b += value_at(value, i + 1) * x[run.index[i + 1]];
        c += value_at(value, i + 2) * x[run.index[i + 2]];
        d += value_at(value, i + 3) * x[run.index[i + 3]];
      }
      for (; i < stop; ++i) a += value_at(value, i) * x[run.index[i]];
#endif
    }
#if defined(__AVX512F__)
    y[g] += _mm512_reduce_add_ps(_mm512_add_ps(sum0, sum1));
#else
    y[g] += (a + b) + (c + d);
#endif
  }
}

// Blocks of 4 rows: one column feeds four sums, no gather needed.
template <typename Value>
void gemv_rows4(const Run* runs, int32_t count, const float* x, int32_t begin, int32_t end, int32_t row_count,
                float* y) {
  for (int32_t g = begin; g < end; ++g) {
    Four a{}, b{}, c{}, d{};
    for (int32_t k = 0; k < count; ++k) {
      const Run& run = runs[k];
      const Value* value = static_cast<const Value*>(run.value);
      int64_t i = run.pointer[g];
      const int64_t stop = run.pointer[g + 1];
      for (; i + 4 <= stop; i += 4) {
        ask_ahead<Value>(run, i, 4 * i);
        a += four(value + 4 * i) * x[run.index[i]];
        b += four(value + 4 * (i + 1)) * x[run.index[i + 1]];
        c += four(value + 4 * (i + 2)) * x[run.index[i + 2]];
        d += four(value + 4 * (i + 3)) * x[run.index[i + 3]];
      }
      for (; i < stop; ++i) a += four(value + 4 * i) * x[run.index[i]];
    }
    a = (a + b) + (c + d);
    for (int32_t r = 0; r < 4 && g * 4 + r < row_count; ++r) y[g * 4 + r] += a[r];
  }
}

template <typename Value>
void gemv_of(BlockRows rows, const Run* run, int32_t runs, const float* x, int32_t begin, int32_t end,
             int32_t row_count, float* y) {
  rows == BlockRows::kFour ? gemv_rows4<Value>(run, runs, x, begin, end, row_count, y)
                           : gemv_rows1<Value>(run, runs, x, begin, end, y);
}

}  // namespace
}  // namespace elsa
