// Compiler vectors of one instruction set, and what happens to a finished sum.
// Part of kernels.cpp, which is compiled once an instruction set: nothing else includes it.
#pragma once
#include <cstring>

#include "half_vectors.h"
#include "kernels.h"
#include "layout.h"
#include "vector_types.h"

namespace elsa {
namespace {

inline Vec all(float v) { return v - Vec{}; }  // not v + 0, which changes -0 and so is not free
inline Vec zero_unless(Vec v, Int mask) { return reinterpret_cast<Vec>(reinterpret_cast<Int>(v) & mask); }

// NaN passes through, as it does in a dense network: comparisons with it are false, and x86 then takes the second.
inline Vec clip(Vec v, Vec low, Vec high) {
#if defined(__AVX512F__)
  const __m512 raised = _mm512_max_ps(reinterpret_cast<__m512>(low), reinterpret_cast<__m512>(v));
  return reinterpret_cast<Vec>(_mm512_min_ps(reinterpret_cast<__m512>(high), raised));
#else
  v = v < low ? low : v;
  return v > high ? high : v;
#endif
}

// exp by 2^n * p(r), r in [-ln2/2, ln2/2]: Taylor to r^7, relative error below 4e-7 in float.
inline Vec exponential(Vec x) {
  x = clip(x, all(-87.0f), all(88.0f));
  const Vec scaled = x * 1.44269504f;
  const Vec shifted = scaled + 12582912.0f;  // 1.5 * 2^23: rounds to the nearest integer
  const Vec n = shifted - 12582912.0f;
  Vec r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Vec p = all(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Int power = (reinterpret_cast<Int>(shifted) + (127 - 0x4B400000)) << 23;
  return p * reinterpret_cast<Vec>(power);
}

// One choice for all vectors: the inner loops stay free of it.
template <int N, typename Unit>
inline void activate(Vec* v, const EpilogueOf<Unit>& e) {
  if (e.activation == Activation::kClip) {
    const Vec low = all(e.low), high = all(e.high);
#pragma GCC unroll 64
    for (int n = 0; n < N; ++n) v[n] = clip(v[n], low, high);
  } else if (e.activation == Activation::kHardSwish) {
#pragma GCC unroll 64
    for (int n = 0; n < N; ++n) v[n] = v[n] * clip(v[n] * (1.0f / 6.0f) + 0.5f, all(0.0f), all(1.0f));
  } else if (e.activation == Activation::kSilu) {
    for (int n = 0; n < N; ++n) v[n] = v[n] / (1.0f + exponential(-v[n]));
  }
}

// y = act(sum * scale + bias + residual) under the mask, for N vectors from y on.
template <int N, typename Unit>
inline void finish_vectors(Vec* sum, float scale, float bias, Unit* y, const Unit* residual, const int32_t* mask,
                           const EpilogueOf<Unit>& e) {
  const Vec s = all(scale), b = all(bias);
#pragma GCC unroll 64
  for (int n = 0; n < N; ++n) sum[n] = sum[n] * s + b;
  if (residual) {
#pragma GCC unroll 64
    for (int n = 0; n < N; ++n) sum[n] += load(residual + n * kLanes);
  }
  activate<N>(sum, e);
  if (mask) {
#pragma GCC unroll 64
    for (int n = 0; n < N; ++n) sum[n] = zero_unless(sum[n], load_int(mask + n * kLanes));
  }
#pragma GCC unroll 64
  for (int n = 0; n < N; ++n) store(y + n * kLanes, sum[n]);
}

// Weight i, of float32, of float16 or of 8-bit codes.
inline float value_at(const float* v, int64_t i) { return v[i]; }
inline float value_at(const int8_t* v, int64_t i) { return static_cast<float>(v[i]); }
inline float value_at(const Half* v, int64_t i) { return widened(HalfBits{v[i].bits})[0]; }

typedef float Four __attribute__((vector_size(16)));

// Four weights from v on: those of a block of 4 rows, say.
inline Four four(const float* v) {
  Four values;
  std::memcpy(&values, v, 16);
  return values;
}
inline Four four(const int8_t* v) {
  int32_t codes;
  std::memcpy(&codes, v, 4);
#if defined(__AVX2__)  // compilers take the codes apart one by one
  return reinterpret_cast<Four>(_mm_cvtepi32_ps(_mm_cvtepi8_epi32(_mm_cvtsi32_si128(codes))));
#elif defined(__aarch64__)
  const int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(codes));
  return reinterpret_cast<Four>(vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes)))));
#else
  typedef int8_t Codes __attribute__((vector_size(4)));
  return __builtin_convertvector(reinterpret_cast<Codes>(codes), Four);
#endif
}
inline Four four(const Half* v) {
#if ELSA_LANES == 4
  return load(v);
#elif defined(__F16C__)
  return reinterpret_cast<Four>(_mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(v))));
#else
  return Four{value_at(v, 0), value_at(v, 1), value_at(v, 2), value_at(v, 3)};
#endif
}

#if defined(__AVX512F__)

inline __mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xFFFF : count <= 0 ? 0 : (1u << count) - 1);
}
inline Vec load_first(const float* p, __mmask16 lanes) {
  return reinterpret_cast<Vec>(_mm512_maskz_loadu_ps(lanes, p));
}
inline Vec pick(Vec a, __m512i index, Vec b) {
  return reinterpret_cast<Vec>(_mm512_permutex2var_ps(reinterpret_cast<__m512>(a), index, reinterpret_cast<__m512>(b)));
}
inline __m512i from_zero_by(int step) {
  return _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                            _mm512_set1_epi32(step));
}

#endif

}  // namespace
}  // namespace elsa
