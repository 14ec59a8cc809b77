// Products of bands of weights with one vector in 8 bits. Part of kernels8.cpp.
#pragma once
#include "int8_loops.h"

namespace elsa {
namespace {

// Weights are read once and in order, but from far: bytes ahead at which they are asked for.
constexpr int64_t kAhead = 1024;

// Quads of x for one entry: a column for each lane, or one for 4 lanes.
template <int kWidth>
inline Int picked(const uint8_t* x, const uint16_t* column) {
  if constexpr (kWidth == kLanes) {
    return pick(x, column);
  } else {
    int32_t near[4] = {};
    for (int b = 0; b < kWidth; ++b) near[b] = quad_at(x, column[b]);
    return fours(near);
  }
}

// kWidth rows or blocks side by side. Two sums, because a sum waits for the one before.
template <int kWidth>
void multiply_bands(const Bands& bands, int32_t begin, int32_t end, const uint8_t* x, int32_t* sums) {
  constexpr int kHeight = kLanes / kWidth;
  for (int32_t band = begin; band < end; ++band) {
    const uint16_t* column = bands.column + static_cast<size_t>(bands.pointer[band]) * kWidth;
    const int32_t* value = static_cast<const int32_t*>(bands.value) + static_cast<size_t>(bands.pointer[band]) * kLanes;
    uint32_t left = bands.pointer[band + 1] - bands.pointer[band];
    Int even{}, odd{};
    for (; left >= 2; left -= 2, column += 2 * kWidth, value += 2 * kLanes) {
      __builtin_prefetch(reinterpret_cast<const char*>(value) + kAhead);
      even = dot4(even, picked<kWidth>(x, column), Safe(load(value)));
      odd = dot4(odd, picked<kWidth>(x, column + kWidth), Safe(load(value + kLanes)));
    }
    if (left > 0) even = dot4(even, picked<kWidth>(x, column), Safe(load(value)));
    alignas(64) int32_t total[kLanes];
    store(total, even + odd);
    const int32_t* row = bands.row + static_cast<size_t>(band) * kWidth;
    for (int i = 0; i < kLanes; ++i) sums[row[i / kHeight] + i % kHeight] += total[i];
  }
}

void bands(BlockRows rows, const Bands& bands, int32_t begin, int32_t end, const uint8_t* x, int32_t* sums) {
  const auto multiply = rows == BlockRows::kFour ? multiply_bands<kLanes / 4> : multiply_bands<kLanes>;
  multiply(bands, begin, end, x, sums);
}

}  // namespace
}  // namespace elsa
