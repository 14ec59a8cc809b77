// Vectors of floats from and to half floats. Part of vectors.h.
//
// Where the processor cannot convert, bits are moved: numbers below 2^-14 have fixed steps of 2^-24, those from 65520 on
// are infinite, NaN stays NaN, and ties go to the even one, as everywhere.
#pragma once
#include "kernels.h"
#include "vector_types.h"

namespace elsa {
namespace {

typedef uint16_t HalfBits __attribute__((vector_size(kLanes * 2)));
typedef uint16_t HalfBitsAnywhere __attribute__((vector_size(kLanes * 2), aligned(2), may_alias));

inline HalfBits load_bits(const Half* p) { return *reinterpret_cast<const HalfBitsAnywhere*>(p); }

#if defined(__aarch64__)

inline Vec widened(HalfBits bits) { return reinterpret_cast<Vec>(vcvt_f32_f16(reinterpret_cast<float16x4_t>(bits))); }
inline HalfBits narrowed(Vec v) { return reinterpret_cast<HalfBits>(vcvt_f16_f32(reinterpret_cast<float32x4_t>(v))); }

#elif defined(__F16C__) && ELSA_LANES == 8

inline Vec widened(HalfBits bits) { return reinterpret_cast<Vec>(_mm256_cvtph_ps(reinterpret_cast<__m128i>(bits))); }
inline HalfBits narrowed(Vec v) {
  return reinterpret_cast<HalfBits>(_mm256_cvtps_ph(reinterpret_cast<__m256>(v), _MM_FROUND_TO_NEAREST_INT));
}

#else

constexpr int32_t kSign = INT32_MIN, kInfinity = 0x7F800000;
constexpr float kHalfStep = 1.0f / (1 << 24);  // between halves below 2^-14
constexpr int kMantissa = 13;                  // bits that a float has more
constexpr int32_t kRebias = (127 - 15) << 23;

inline Vec widened(HalfBits bits) {
  const Int half = __builtin_convertvector(bits, Int), magnitude = half & 0x7FFF;
  const Int small = reinterpret_cast<Int>(__builtin_convertvector(magnitude, Vec) * kHalfStep);
  const Int large = (magnitude << kMantissa) + kRebias;
  Int v = magnitude < 0x0400 ? small : large;
  v = magnitude >= 0x7C00 ? large | kInfinity : v;
  return reinterpret_cast<Vec>(v | (half & 0x8000) << 16);
}

inline HalfBits narrowed(Vec v) {
  const Int bits = reinterpret_cast<Int>(v), magnitude = bits & INT32_MAX;
  const Int even = (magnitude >> kMantissa) & 1;
  const Int normal = (magnitude + ((1 << (kMantissa - 1)) - 1) + even - kRebias) >> kMantissa;
  // Added to 0.5, whose last place is one step, a number is rounded to steps.
  const Int small = reinterpret_cast<Int>(reinterpret_cast<Vec>(magnitude) + 0.5f) - (126 << 23);
  Int half = magnitude < (113 << 23) ? small : normal;
  half = half > 0x7C00 ? Int{} + 0x7C00 : half;
  half = magnitude > kInfinity ? Int{} + 0x7E00 : half;
  return __builtin_convertvector(half | ((bits & kSign) >> 16 & 0x8000), HalfBits);
}

#endif

inline Vec load(const Half* p) { return widened(load_bits(p)); }
inline void store(Half* p, Vec v) { *reinterpret_cast<HalfBitsAnywhere*>(p) = narrowed(v); }
// What v would be as half floats.
inline Vec rounded(Vec v) { return widened(narrowed(v)); }

}  // namespace
}  // namespace elsa
