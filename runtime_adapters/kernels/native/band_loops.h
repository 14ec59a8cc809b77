// Products of bands of weights with one vector of floats. Part of kernels.cpp.
#pragma once
#include "vectors.h"

namespace elsa {
namespace {

// Numbers of x for one entry: a column for each lane, or one for 4 lanes.
template <int kWidth>
inline Vec picked(const float* x, const uint16_t* column) {
#if defined(__AVX512F__)
  if constexpr (kWidth == 4) {
    const __m512i spread = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    const __m128 near = _mm_setr_ps(x[column[0]], x[column[1]], x[column[2]], x[column[3]]);
    return reinterpret_cast<Vec>(_mm512_permutexvar_ps(spread, _mm512_castps128_ps512(near)));
  }
  const __m512i columns = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(column)));
  return reinterpret_cast<Vec>(_mm512_i32gather_ps(columns, x, 4));
#elif defined(__AVX2__)
  if constexpr (kWidth == 2) {
    const __m256 first = _mm256_broadcast_ss(x + column[0]), second = _mm256_broadcast_ss(x + column[1]);
    return reinterpret_cast<Vec>(_mm256_blend_ps(first, second, 0xF0));
  }
  return Vec{x[column[0]], x[column[1]], x[column[2]], x[column[3]],
             x[column[4]], x[column[5]], x[column[6]], x[column[7]]};
#elif defined(__aarch64__)
  if constexpr (kWidth == 1) return all(x[column[0]]);
  // One load brings four columns, and pairs are put together outside of vector registers: loads are what this waits for.
  uint64_t columns;
  std::memcpy(&columns, column, sizeof columns);
  const auto at = [&](int i) {
    uint32_t bits;
    std::memcpy(&bits, x + static_cast<uint16_t>(columns >> 16 * i), sizeof bits);
    return static_cast<uint64_t>(bits);
  };
  return reinterpret_cast<Vec>(vcombine_f32(vcreate_f32(at(0) | at(1) << 32), vcreate_f32(at(2) | at(3) << 32)));
#else
  if constexpr (kWidth == 1) return all(x[column[0]]);
  return Vec{x[column[0]], x[column[1]], x[column[2]], x[column[3]]};
#endif
}

// kWidth rows or blocks side by side. Two sums, because a sum waits for the one before.
template <int kWidth>
void multiply_bands(const Bands& bands, int32_t begin, int32_t end, const float* x, float* y) {
  constexpr int kHeight = kLanes / kWidth;
  for (int32_t band = begin; band < end; ++band) {
    const uint16_t* column = bands.column + static_cast<size_t>(bands.pointer[band]) * kWidth;
    const float* value = static_cast<const float*>(bands.value) + static_cast<size_t>(bands.pointer[band]) * kLanes;
    uint32_t left = bands.pointer[band + 1] - bands.pointer[band];
    Vec even{}, odd{};
    for (; left >= 2; left -= 2, column += 2 * kWidth, value += 2 * kLanes) {
      even += load(value) * picked<kWidth>(x, column);
      odd += load(value + kLanes) * picked<kWidth>(x, column + kWidth);
    }
    if (left > 0) even += load(value) * picked<kWidth>(x, column);
    alignas(64) float total[kLanes];
    store(total, even + odd);
    const int32_t* row = bands.row + static_cast<size_t>(band) * kWidth;
    for (int i = 0; i < kLanes; ++i) y[row[i / kHeight] + i % kHeight] += total[i];
  }
}

void bands(BlockRows rows, const Bands& bands, int32_t begin, int32_t end, const float* x, float* y) {
  const auto multiply = rows == BlockRows::kFour ? multiply_bands<kLanes / 4> : multiply_bands<kLanes>;
  multiply(bands, begin, end, x, y);
}

}  // namespace
}  // namespace elsa
