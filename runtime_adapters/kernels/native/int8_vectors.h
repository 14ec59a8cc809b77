// Vectors of pixels, and the few instructions that differ by processor. Part of kernels8.cpp, compiled once a set of them.
//
//   dot4(sum, x, w)      sum += x0 * w0 + x1 * w1 + x2 * w2 + x3 * w3 in each lane; pairs are safe: |w0| + |w1| <= 128
//   dot4_any(sum, x, w)  the same for any codes but -128
//
// Without VNNI x86 multiplies pairs into 16 bits that saturate, which safe pairs never reach: 255 * 128 < 32768.
#pragma once
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <cstddef>

#include "int8.h"

namespace elsa {
namespace {

constexpr int kLanes = ELSA_LANES;  // pixels
constexpr int kBytes = 4 * kLanes;
constexpr int kSteps = 16 / kLanes;  // vectors a line

typedef int32_t Int __attribute__((vector_size(kBytes)));
typedef int32_t IntAnywhere __attribute__((vector_size(kBytes), aligned(1), may_alias));
typedef int16_t Half __attribute__((vector_size(kBytes)));
typedef uint8_t Byte __attribute__((vector_size(kBytes)));
typedef float Float __attribute__((vector_size(kBytes)));
typedef float FloatAnywhere __attribute__((vector_size(kBytes), aligned(1), may_alias));

inline Int load(const void* p) { return *static_cast<const IntAnywhere*>(p); }
inline void store(void* p, Int v) { *static_cast<IntAnywhere*>(p) = v; }
inline Float load_floats(const float* p) { return *reinterpret_cast<const FloatAnywhere*>(p); }
inline void store_floats(float* p, Float v) { *reinterpret_cast<FloatAnywhere*>(p) = v; }
inline Int all(int32_t v) { return v - Int{}; }
inline Float all(float v) { return v - Float{}; }
inline Int bytes(uint8_t v) { return all(static_cast<int32_t>(v * 0x01010101u)); }
inline Float to_float(Int v) { return __builtin_convertvector(v, Float); }
inline Int byte_max(Int a, Int b) {
  const Byte x = reinterpret_cast<Byte>(a), y = reinterpret_cast<Byte>(b);
  return reinterpret_cast<Int>(x > y ? x : y);
}
inline Int byte_min(Int a, Int b) {
  const Byte x = reinterpret_cast<Byte>(a), y = reinterpret_cast<Byte>(b);
  return reinterpret_cast<Int>(x < y ? x : y);
}

// ---- products ----

// Weights taken apart into 16 bits: exact for all codes, twice the instructions.
struct Apart {
  Half even, odd;
  explicit Apart(Int w) : even(reinterpret_cast<Half>(w) << 8 >> 8), odd(reinterpret_cast<Half>(w) >> 8) {}
};

#if defined(__x86_64__)
inline Int add_pairs(Half a, Half b) {
#if ELSA_LANES == 16
  return reinterpret_cast<Int>(_mm512_madd_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif ELSA_LANES == 8
  return reinterpret_cast<Int>(_mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return reinterpret_cast<Int>(_mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#endif
}
inline Int dot4_apart(Int sum, Int x, const Apart& w) {
  typedef uint16_t Word __attribute__((vector_size(kBytes)));
  const Half even = reinterpret_cast<Half>(x & 0x00FF00FF),
             odd = reinterpret_cast<Half>(reinterpret_cast<Word>(x) >> 8);
  return sum + add_pairs(even, w.even) + add_pairs(odd, w.odd);
}
#endif

#if defined(__AVX512VNNI__) && ELSA_LANES == 16
typedef Int Safe;
typedef Int Any;
inline Int dot4(Int sum, Int x, Int w) {
  return reinterpret_cast<Int>(
      _mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(w)));
}
inline Int dot4_any(Int sum, Int x, Int w) { return dot4(sum, x, w); }
#elif defined(__AVXVNNI__) && ELSA_LANES == 8
typedef Int Safe;
typedef Int Any;
inline Int dot4(Int sum, Int x, Int w) {
  return reinterpret_cast<Int>(_mm256_dpbusd_avx_epi32(reinterpret_cast<__m256i>(sum), reinterpret_cast<__m256i>(x),
                                                       reinterpret_cast<__m256i>(w)));
}
inline Int dot4_any(Int sum, Int x, Int w) { return dot4(sum, x, w); }
#elif defined(__AVX2__)
typedef Int Safe;
typedef Apart Any;
inline Int dot4(Int sum, Int x, Int w) {
#if ELSA_LANES == 16
  const auto pairs = _mm512_maddubs_epi16(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(w));
#else
  const auto pairs = _mm256_maddubs_epi16(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(w));
#endif
  return sum + add_pairs(reinterpret_cast<Half>(pairs), 1 - Half{});
}
inline Int dot4_any(Int sum, Int x, const Apart& w) { return dot4_apart(sum, x, w); }
#elif defined(__x86_64__)
typedef Apart Safe;
typedef Apart Any;
inline Int dot4(Int sum, Int x, const Apart& w) { return dot4_apart(sum, x, w); }
inline Int dot4_any(Int sum, Int x, const Apart& w) { return dot4_apart(sum, x, w); }
#elif defined(__aarch64__)
typedef Int Safe;
typedef Int Any;
#define ELSA_SIGNED_PIXELS true
inline Int dot4(Int sum, Int x, Int w) {
  const int8x16_t pixels = vreinterpretq_s8_s32(reinterpret_cast<int32x4_t>(x));
  const int8x16_t weights = vreinterpretq_s8_s32(reinterpret_cast<int32x4_t>(w));
#if defined(__ARM_FEATURE_DOTPROD)
  return reinterpret_cast<Int>(vdotq_s32(reinterpret_cast<int32x4_t>(sum), pixels, weights));
#else
  // Two products of at most 128 * 127 fit 16 bits.
  const int16x8_t low = vmull_s8(vget_low_s8(pixels), vget_low_s8(weights)), high = vmull_high_s8(pixels, weights);
  return reinterpret_cast<Int>(vpadalq_s16(reinterpret_cast<int32x4_t>(sum), vpaddq_s16(low, high)));
#endif
}
inline Int dot4_any(Int sum, Int x, Int w) { return dot4(sum, x, w); }
#else
#error "no 8-bit loops for this processor"
#endif
#ifndef ELSA_SIGNED_PIXELS
#define ELSA_SIGNED_PIXELS false
#endif

// Codes as memory has them, and back: the same step.
inline Int turn_sign(Int codes) { return ELSA_SIGNED_PIXELS ? codes ^ bytes(0x80) : codes; }
inline uint8_t turn_sign(uint8_t code) { return ELSA_SIGNED_PIXELS ? code ^ 0x80 : code; }
inline Int load_codes(const void* p) { return turn_sign(load(p)); }
inline void store_codes(void* p, Int codes) { store(p, turn_sign(codes)); }

// ---- floats to codes ----

constexpr float kBeyond = 1e9f;        // x86 makes a negative integer of what is too large for one
constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer, ties to even

#if defined(__aarch64__)
// 16 numbers to bytes in their order, rounded to even and saturated to 0 .. 255.
inline uint8x16_t narrow(Float a, Float b, Float c, Float d) {
  const auto half = [](Float v) { return vqmovn_s32(vcvtnq_s32_f32(reinterpret_cast<float32x4_t>(v))); };
  return vcombine_u8(vqmovun_s16(vcombine_s16(half(a), half(b))), vqmovun_s16(vcombine_s16(half(c), half(d))));
}
#endif

// Lane p of the result holds the bytes t0[p], t1[p], t2[p], t3[p]: rounded to even and saturated to 0 .. 255.
inline Int pack4(Float t0, Float t1, Float t2, Float t3) {
#if defined(__AVX2__) && ELSA_LANES == 8
  const auto whole = [](Float t) {
    return _mm256_cvtps_epi32(_mm256_min_ps(reinterpret_cast<__m256>(t), _mm256_set1_ps(kBeyond)));
  };
  const __m256i rows =
      _mm256_packus_epi16(_mm256_packs_epi32(whole(t0), whole(t1)), _mm256_packs_epi32(whole(t2), whole(t3)));
  const __m256i turn = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  return reinterpret_cast<Int>(_mm256_shuffle_epi8(rows, turn));
#elif defined(__AVX512BW__) && ELSA_LANES == 16
  const auto whole = [](Float t) {
    return _mm512_cvtps_epi32(_mm512_min_ps(reinterpret_cast<__m512>(t), _mm512_set1_ps(kBeyond)));
  };
  const __m512i rows =
      _mm512_packus_epi16(_mm512_packs_epi32(whole(t0), whole(t1)), _mm512_packs_epi32(whole(t2), whole(t3)));
  const __m512i turn = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  return reinterpret_cast<Int>(_mm512_shuffle_epi8(rows, turn));
#elif defined(__aarch64__)
  alignas(16) constexpr uint8_t kTurn[] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
  return reinterpret_cast<Int>(vreinterpretq_s32_u8(vqtbl1q_u8(narrow(t0, t1, t2, t3), vld1q_u8(kTurn))));
#else
  const auto whole = [](Float t) {
    t = t > 0.0f ? t : all(0.0f);
    t = t < 255.0f ? t : all(255.0f);
    return reinterpret_cast<Int>(t + kShift) & 0xFF;
  };
  return whole(t0) | whole(t1) << 8 | whole(t2) << 16 | whole(t3) << 24;
#endif
}

// exp by 2^n * p(r), r in [-ln2/2, ln2/2], as in vectors.h but without fused multiply-adds: reference.py has the same steps.
// In two parts, p(r) - 1 and 2^n, for what needs exp less 1 near 0.
struct Exponential {
  Float less_one, power;
};
inline Exponential exponential_apart(Float x) {
  x = x > -87.0f ? x : all(-87.0f);
  x = x < 88.0f ? x : all(88.0f);
  const Float shifted = x * 1.44269504f + kShift;
  const Float n = shifted - kShift;
  const Float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  Float p = all(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  return {p * r, reinterpret_cast<Float>((reinterpret_cast<Int>(shifted) + (127 - 0x4B400000)) << 23)};
}
inline Float exponential(Float x) {
  const Exponential e = exponential_apart(x);
  return (e.less_one + 1.0f) * e.power;
}

// Numbers to what is rounded to codes.
inline Float activated(Float v, const Finish8& f) {
  if (f.activation == Activation::kHardSwish) {
    Float gate = v * (1.0f / 6.0f) + 0.5f;
    gate = gate > 0.0f ? gate : all(0.0f);
    v = v * (gate < 1.0f ? gate : all(1.0f));
  } else {
    v = v / (exponential(-v) + 1.0f);
  }
  return v * f.inverse + static_cast<float>(f.zero);
}

// Each 16 bytes of the four results hold one byte of a, b, c and d for 4 channels: lane = channel, result j = pixel j.
inline void turn(Int a, Int b, Int c, Int d, Int* out) {
#if defined(__x86_64__) && ELSA_LANES == 16
#define ELSA_OP(name, x, y) \
  reinterpret_cast<Int>(_mm512_##name(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(y)))
#elif defined(__x86_64__) && ELSA_LANES == 8
#define ELSA_OP(name, x, y) \
  reinterpret_cast<Int>(_mm256_##name(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(y)))
#elif defined(__x86_64__)
#define ELSA_OP(name, x, y) \
  reinterpret_cast<Int>(_mm_##name(reinterpret_cast<__m128i>(x), reinterpret_cast<__m128i>(y)))
#endif
#if defined(__x86_64__)
  const Int ab0 = ELSA_OP(unpacklo_epi8, a, b), ab1 = ELSA_OP(unpackhi_epi8, a, b);
  const Int cd0 = ELSA_OP(unpacklo_epi8, c, d), cd1 = ELSA_OP(unpackhi_epi8, c, d);
  out[0] = ELSA_OP(unpacklo_epi16, ab0, cd0), out[1] = ELSA_OP(unpackhi_epi16, ab0, cd0);
  out[2] = ELSA_OP(unpacklo_epi16, ab1, cd1), out[3] = ELSA_OP(unpackhi_epi16, ab1, cd1);
#else
  const auto b8 = [](Int v) { return vreinterpretq_u8_s32(reinterpret_cast<int32x4_t>(v)); };
  const auto w16 = [](uint8x16_t v) { return vreinterpretq_u16_u8(v); };
  const auto back = [](uint16x8_t v) { return reinterpret_cast<Int>(vreinterpretq_s32_u16(v)); };
  const uint16x8_t ab0 = w16(vzip1q_u8(b8(a), b8(b))), ab1 = w16(vzip2q_u8(b8(a), b8(b)));
  const uint16x8_t cd0 = w16(vzip1q_u8(b8(c), b8(d))), cd1 = w16(vzip2q_u8(b8(c), b8(d)));
  out[0] = back(vzip1q_u16(ab0, cd0)), out[1] = back(vzip2q_u16(ab0, cd0));
  out[2] = back(vzip1q_u16(ab1, cd1)), out[3] = back(vzip2q_u16(ab1, cd1));
#endif
}

// The other way: 4 pixels, each with its 4 channels in the lanes of 16 bytes, rounded and saturated to bytes in order.
inline Int pack_pixels(const Float* t) {
#if defined(__AVX2__) && ELSA_LANES == 8
  const auto whole = [](Float v) {
    return _mm256_cvtps_epi32(_mm256_min_ps(reinterpret_cast<__m256>(v), _mm256_set1_ps(kBeyond)));
  };
  return reinterpret_cast<Int>(
      _mm256_packus_epi16(_mm256_packs_epi32(whole(t[0]), whole(t[1])), _mm256_packs_epi32(whole(t[2]), whole(t[3]))));
#elif defined(__AVX512BW__) && ELSA_LANES == 16
  const auto whole = [](Float v) {
    return _mm512_cvtps_epi32(_mm512_min_ps(reinterpret_cast<__m512>(v), _mm512_set1_ps(kBeyond)));
  };
  return reinterpret_cast<Int>(
      _mm512_packus_epi16(_mm512_packs_epi32(whole(t[0]), whole(t[1])), _mm512_packs_epi32(whole(t[2]), whole(t[3]))));
#elif defined(__x86_64__)
  const auto whole = [](Float v) {
    return _mm_cvtps_epi32(_mm_min_ps(reinterpret_cast<__m128>(v), _mm_set1_ps(kBeyond)));
  };
  return reinterpret_cast<Int>(
      _mm_packus_epi16(_mm_packs_epi32(whole(t[0]), whole(t[1])), _mm_packs_epi32(whole(t[2]), whole(t[3]))));
#else
  return reinterpret_cast<Int>(vreinterpretq_s32_u8(narrow(t[0], t[1], t[2], t[3])));
#endif
}

// The fours of what `pack_pixels` puts in order: 4 numbers of every 16, from p on.
inline Float every_fourth_four(const float* p) {
#if ELSA_LANES == 16
  __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(p));
  v = _mm512_insertf32x4(v, _mm_loadu_ps(p + 16), 1);
  v = _mm512_insertf32x4(v, _mm_loadu_ps(p + 32), 2);
  return reinterpret_cast<Float>(_mm512_insertf32x4(v, _mm_loadu_ps(p + 48), 3));
#elif ELSA_LANES == 8
  return reinterpret_cast<Float>(
      _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + 16), 1));
#else
  return load_floats(p);
#endif
}

// One of each 16 bytes' worth: 4 numbers, repeated over the vector.
inline Int repeat4(const void* p) {
#if ELSA_LANES == 16
  return reinterpret_cast<Int>(_mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(p))));
#elif ELSA_LANES == 8
  return reinterpret_cast<Int>(_mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(p))));
#else
  return load(p);
#endif
}

inline int32_t quad_at(const uint8_t* x, uint16_t column) {
  int32_t quad;
  // The index of an address may be scaled by 4 for nothing, but only one of its own width.
  __builtin_memcpy(&quad, x + static_cast<size_t>(column) * 4, 4);
  return quad;
}

// Quads of x at kLanes columns. Eight loads are five times as fast as a gather of eight on some processors, and never
// much slower.
inline Int pick(const uint8_t* x, const uint16_t* c) {
#if ELSA_LANES == 16
  const __m512i columns = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(c)));
  return reinterpret_cast<Int>(_mm512_i32gather_epi32(columns, x, 4));
#elif ELSA_LANES == 8
  const auto at = [&](int i) { return quad_at(x, c[i]); };
  return Int{at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)};
#elif defined(__aarch64__)
  // One load brings four columns, and pairs are put together outside of vector registers: loads are what this waits for.
  uint64_t columns;
  __builtin_memcpy(&columns, c, sizeof columns);
  const auto at = [&](int i) -> uint64_t {
    return static_cast<uint32_t>(quad_at(x, static_cast<uint16_t>(columns >> 16 * i)));
  };
  return reinterpret_cast<Int>(vcombine_s32(vcreate_s32(at(0) | at(1) << 32), vcreate_s32(at(2) | at(3) << 32)));
#else
  const auto at = [&](int i) { return quad_at(x, c[i]); };
  return Int{at(0), at(1), at(2), at(3)};
#endif
}

// A vector with one value in its first lane, zeros behind it.
inline Int first_lane(int32_t value) {
  Int v{};
  v[0] = value;
  return v;
}

// Each value in four lanes.
inline Int fours(const int32_t* value) {
#if ELSA_LANES == 16
  const __m512i spread = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
  return reinterpret_cast<Int>(_mm512_permutexvar_epi32(
      spread, _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(value)))));
#elif ELSA_LANES == 8
  return reinterpret_cast<Int>(
      _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi32(value[0])), _mm_set1_epi32(value[1]), 1));
#else
  return all(value[0]);
#endif
}

inline int32_t add_lanes(Int v) {
  int32_t total = 0;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) total += v[i];
  return total;
}

}  // namespace
}  // namespace elsa
