// Copies that split rows or pick single values.
// Part of kernels.cpp, which is compiled once an instruction set: nothing else includes it.
#pragma once
#include "vectors.h"

namespace elsa {
namespace {

void gather(const float* from, const int32_t* index, int64_t count, float* to) {
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= count; i += 16) {
    const __m512i at = _mm512_loadu_si512(index + i);
    const __mmask16 keep = _mm512_movepi32_mask(at) ^ 0xFFFF;
    _mm512_storeu_ps(to + i, _mm512_mask_i32gather_ps(_mm512_setzero_ps(), keep, at, from, 4));
  }
#elif defined(__AVX2__)
  for (; i + 8 <= count; i += 8) {
    const __m256i at = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index + i));
    const __m256 keep = _mm256_castsi256_ps(_mm256_xor_si256(at, _mm256_set1_epi32(-1)));  // its sign bit decides
    _mm256_storeu_ps(to + i, _mm256_mask_i32gather_ps(_mm256_setzero_ps(), from, at, keep, 4));
  }
#endif
  for (; i < count; ++i) to[i] = index[i] < 0 ? 0.0f : from[index[i]];
}

#if ELSA_LANES == 16
#define ELSA_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ELSA_ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif ELSA_LANES == 8
#define ELSA_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ELSA_ODD 1, 3, 5, 7, 9, 11, 13, 15
#else
#define ELSA_EVEN 0, 2, 4, 6
#define ELSA_ODD 1, 3, 5, 7
#endif

void split(const float* from, int64_t count, float* even, float* odd) {
  int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    const Vec a = load(from + i), b = load(from + i + kLanes);
    store(even + i / 2, __builtin_shufflevector(a, b, ELSA_EVEN));
    store(odd + i / 2, __builtin_shufflevector(a, b, ELSA_ODD));
  }
#if defined(__AVX512F__)
  if (i < count) {
    const int64_t left = count - i;
    const __mmask16 low = static_cast<__mmask16>(left >= 16 ? 0xFFFF : (1u << left) - 1);
    const __mmask16 high = static_cast<__mmask16>(left > 16 ? (1u << (left - 16)) - 1 : 0);
    const Vec a = reinterpret_cast<Vec>(_mm512_maskz_loadu_ps(low, from + i)),
              b = reinterpret_cast<Vec>(_mm512_maskz_loadu_ps(high, from + i + 16));
    const __mmask16 evens = static_cast<__mmask16>((1u << ((left + 1) / 2)) - 1),
                    odds = static_cast<__mmask16>((1u << (left / 2)) - 1);
    _mm512_mask_storeu_ps(even + i / 2, evens, reinterpret_cast<__m512>(__builtin_shufflevector(a, b, ELSA_EVEN)));
    _mm512_mask_storeu_ps(odd + i / 2, odds, reinterpret_cast<__m512>(__builtin_shufflevector(a, b, ELSA_ODD)));
  }
#else
  for (; i + 2 <= count; i += 2) {
    even[i / 2] = from[i];
    odd[i / 2] = from[i + 1];
  }
  if (i < count) even[i / 2] = from[i];
#endif
}

}  // namespace
}  // namespace elsa
