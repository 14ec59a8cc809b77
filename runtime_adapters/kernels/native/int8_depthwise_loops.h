// A depthwise convolution in 8 bits: four taps of a channel side by side are what a multiplication of quads takes.
// Part of kernels8.cpp.
#pragma once
#include "int8_loops.h"

namespace elsa {
namespace {

void depthwise(const Depthwise8& t) {
  const Float scale = reinterpret_cast<Float>(repeat4(t.finish.scale)),
              bias = reinterpret_cast<Float>(repeat4(t.finish.bias));
  const Float share = all(t.finish.share);
  const Int start = repeat4(t.start), zero = bytes(t.finish.zero);
  for (int64_t n = 0; n < t.lines * kSteps; ++n) {
    const uint8_t* x = t.x + n * kBytes;
    Int sum[4] = {start, start, start, start};
    for (int32_t q = 0; q < t.tap_quads; ++q) {
      const int32_t* at = t.offset + 4 * q;
      const Any w(repeat4(t.weight + 16 * q));
      Int taps[4];
      turn(load(x + at[0]), load(x + at[1]), load(x + at[2]), load(x + at[3]), taps);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) sum[j] = dot4_any(sum[j], taps[j], w);
    }
    Float v[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) v[j] = to_float(sum[j]) * scale + bias;
    if (t.finish.residual) {
      // A pixel's 4 bytes to the 4 lanes that its sums lie in.
      alignas(64) uint8_t near[kBytes];
      store(near, load_codes(t.finish.residual + n * kBytes));
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        Int other;
        for (int i = 0; i < kLanes; ++i) other[i] = near[(i / 4) * 16 + j * 4 + i % 4];
        v[j] = v[j] + to_float(other) * share;
      }
    }
    if (t.finish.activation != Activation::kNone) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) v[j] = activated(v[j], t.finish);
    }
    Int packed = bounded(pack_pixels(v), t.finish);
    if (t.finish.mask) {
      const Int keep = load(t.finish.mask + n * kLanes);
      packed = (packed & keep) | (zero & ~keep);
    }
    store_codes(t.y + n * kBytes, packed);
  }
}

}  // namespace
}  // namespace elsa
