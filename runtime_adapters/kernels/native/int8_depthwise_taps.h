// sum[j] (pixel j of each 16 bytes, a channel a lane) += x[tap] * w[tap] over the taps of a quad of channels.
// Part of kernels8.cpp. What a processor multiplies at once decides which taps go together, see TapForm.
#pragma once
#include "int8_vectors.h"

namespace elsa {
namespace {

// Four taps of a channel side by side are what a multiplication of quads takes.
inline __attribute__((always_inline)) void add_four(const uint8_t* const (&x)[4], int64_t at, const Any& w,
                                                    Int (&sum)[4]) {
  Int taps[4];
  turn(load(x[0] + at), load(x[1] + at), load(x[2] + at), load(x[3] + at), taps);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) sum[j] = dot4_any(sum[j], taps[j], w);
}

struct Fours {
  const Depthwise8& t;

  void add(int64_t at, Int (&sum)[4]) const {
    for (int32_t g = 0; g < t.groups; ++g) {
      const int32_t* o = t.offset + 4 * g;
      const uint8_t* const x[4] = {t.x + o[0], t.x + o[1], t.x + o[2], t.x + o[3]};
      add_four(x, at, Any(repeat4(t.weight + 16 * g)), sum);
    }
  }
};

// Nine taps: what they need stays in registers.
struct ThreeFours {
  const uint8_t* x[3][4];
  Any w[3];

  explicit ThreeFours(const Depthwise8& t)
      : w{Any(repeat4(t.weight)), Any(repeat4(t.weight + 16)), Any(repeat4(t.weight + 32))} {
    for (int i = 0; i < 12; ++i) x[i / 4][i % 4] = t.x + t.offset[i];
  }
  inline __attribute__((always_inline)) void add(int64_t at, Int (&sum)[4]) const {
#pragma GCC unroll 4
    for (int g = 0; g < 3; ++g) add_four(x[g], at, w[g], sum);
  }
};

template <typename Call>
inline void with_fours(const Depthwise8& t, Call call) {
  t.groups == 3 ? call(ThreeFours(t)) : call(Fours{t});
}

#if !defined(__aarch64__)

constexpr TapForm kTapForm = TapForm::kFours;

template <typename Call>
inline void with_taps(const Depthwise8& t, Call call) {
  with_fours(t, call);
}

#elif defined(__ARM_FEATURE_DOTPROD)

constexpr TapForm kTapForm = TapForm::kThreeRows;

// The pixels stay where they are and the weights move: pixel j needs positions j, j + 1, j + 2 of a row, so its weights
// stand j bytes further. What they lose at the end of the four falls to the positions behind it.
struct ThreeRows {
  const uint8_t* x[3];
  Int w[3][4], w_behind[3][2];
  uint8x16_t here, behind;

  explicit ThreeRows(const Depthwise8& t) {
    typedef uint32_t Bits __attribute__((vector_size(16)));
    for (int g = 0; g < 3; ++g) {
      x[g] = t.x + t.offset[g];
      const Bits row = reinterpret_cast<Bits>(load(t.weight + 16 * g));
      for (int j = 0; j < 4; ++j) w[g][j] = reinterpret_cast<Int>(row << (8 * j));
      for (int j = 2; j < 4; ++j) w_behind[g][j - 2] = reinterpret_cast<Int>(row >> (8 * (4 - j)));
    }
    alignas(16) static constexpr uint8_t kHere[] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    // Positions 4 and 5, read from position 2 on: no tap reaches further, so nothing else may be read.
    alignas(16) static constexpr uint8_t kBehind[] = {8,  12, 255, 255, 9,  13, 255, 255,
                                                      10, 14, 255, 255, 11, 15, 255, 255};
    here = vld1q_u8(kHere), behind = vld1q_u8(kBehind);
  }
  inline __attribute__((always_inline)) void add(int64_t at, Int (&sum)[4]) const {
    // 4 pixels with their 4 channels become 4 channels with their pixels.
    const auto turned = [](const uint8_t* from, uint8x16_t order) {
      return reinterpret_cast<Int>(vreinterpretq_s32_u8(vqtbl1q_u8(vld1q_u8(from), order)));
    };
#pragma GCC unroll 4
    for (int g = 0; g < 3; ++g) {
      const Int first = turned(x[g] + at, here), rest = turned(x[g] + 8 + at, behind);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) sum[j] = dot4(sum[j], first, w[g][j]);
      sum[2] = dot4(sum[2], rest, w_behind[g][0]), sum[3] = dot4(sum[3], rest, w_behind[g][1]);
    }
  }
};

template <typename Call>
inline void with_taps(const Depthwise8& t, Call call) {
  t.form == TapForm::kThreeRows ? call(ThreeRows(t)) : with_fours(t, call);
}

#else

constexpr TapForm kTapForm = TapForm::kPairs;

// A tap's weights for 4 pixels.
inline int8x16_t repeated(const int8_t* weight) {
  int32_t codes;
  __builtin_memcpy(&codes, weight, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(codes));
}

// Two products of at most 128 * 127 fit 16 bits, so pairs of taps are added there before they are widened.
inline __attribute__((always_inline)) void add_pair(const uint8_t* first, const uint8_t* second, int8x16_t v,
                                                    int8x16_t w, Int (&sum)[4]) {
  const int8x16_t a = vreinterpretq_s8_u8(vld1q_u8(first)), b = vreinterpretq_s8_u8(vld1q_u8(second));
  const int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(a), vget_low_s8(v)), vget_low_s8(b), vget_low_s8(w));
  const int16x8_t high = vmlal_high_s8(vmull_high_s8(a, v), b, w);
  const auto wide = [](Int s) { return reinterpret_cast<int32x4_t>(s); };
  sum[0] = reinterpret_cast<Int>(vaddw_s16(wide(sum[0]), vget_low_s16(low)));
  sum[1] = reinterpret_cast<Int>(vaddw_high_s16(wide(sum[1]), low));
  sum[2] = reinterpret_cast<Int>(vaddw_s16(wide(sum[2]), vget_low_s16(high)));
  sum[3] = reinterpret_cast<Int>(vaddw_high_s16(wide(sum[3]), high));
}

struct Pairs {
  const Depthwise8& t;

  void add(int64_t at, Int (&sum)[4]) const {
    for (int32_t g = 0; g < t.groups; ++g)
      add_pair(t.x + at + t.offset[2 * g], t.x + at + t.offset[2 * g + 1], repeated(t.weight + 8 * g),
               repeated(t.weight + 8 * g + 4), sum);
  }
};

// Nine taps: what they need stays in registers.
struct FivePairs {
  const uint8_t* x[10];
  int8x16_t w[10];

  explicit FivePairs(const Depthwise8& t) {
    for (int i = 0; i < 10; ++i) x[i] = t.x + t.offset[i], w[i] = repeated(t.weight + 4 * i);
  }
  inline __attribute__((always_inline)) void add(int64_t at, Int (&sum)[4]) const {
#pragma GCC unroll 5
    for (int i = 0; i < 10; i += 2) add_pair(x[i] + at, x[i + 1] + at, w[i], w[i + 1], sum);
  }
};

template <typename Call>
inline void with_taps(const Depthwise8& t, Call call) {
  t.groups == 5 ? call(FivePairs(t)) : call(Pairs{t});
}

#endif

}  // namespace
}  // namespace elsa
