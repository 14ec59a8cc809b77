// A depthwise convolution in 8 bits. Part of kernels8.cpp.
#pragma once
#include "int8_depthwise_taps.h"
#include "int8_loops.h"

namespace elsa {
namespace {

// Sums of 4 pixels, each with its 4 channels in the lanes of 16 bytes, to codes.
template <bool kResidual, bool kActivated>
struct FinishPixels {
  const Finish8& f;
  Float scale, bias, share;
  Int zero;
  Bounds bounds;

  explicit FinishPixels(const Finish8& finish)
      : f(finish),
        scale(reinterpret_cast<Float>(repeat4(finish.scale))),
        bias(reinterpret_cast<Float>(repeat4(finish.bias))),
        share(all(finish.share)),
        zero(bytes(finish.zero)),
        bounds(finish) {}

  Int codes(const Int (&sum)[4], int64_t n) const {
    Float v[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) v[j] = to_float(sum[j]) * scale + bias;
    if constexpr (kResidual) {
      // A pixel's 4 bytes to the 4 lanes that its sums lie in.
      alignas(64) uint8_t near[kBytes];
      store(near, load_codes(f.residual + n * kBytes));
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        Int other;
        for (int i = 0; i < kLanes; ++i) other[i] = near[(i / 4) * 16 + j * 4 + i % 4];
        v[j] = v[j] + to_float(other) * share;
      }
    }
    if constexpr (kActivated) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) v[j] = activated(v[j], f);
    }
    const Int packed = bounds.of(pack_pixels(v));
    return f.mask ? chosen(load(f.mask + n * kLanes), packed, zero) : packed;
  }
};

template <typename Finish, typename Taps>
void sum_planes(const Depthwise8& t, const Taps& taps) {
  const Int start = repeat4(t.start);
  const Finish finish(t.finish);
  for (int64_t n = 0; n < t.lines * kSteps; ++n) {
    Int sum[4] = {start, start, start, start};
    taps.add(n * kBytes, sum);
    store_codes(t.y + n * kBytes, finish.codes(sum, n));
  }
}

void depthwise(const Depthwise8& t) {
  const bool plain = t.finish.activation == Activation::kNone;
  with_taps(t, [&](const auto& taps) {
    if (t.finish.residual)
      plain ? sum_planes<FinishPixels<true, false>>(t, taps) : sum_planes<FinishPixels<true, true>>(t, taps);
    else
      plain ? sum_planes<FinishPixels<false, false>>(t, taps) : sum_planes<FinishPixels<false, true>>(t, taps);
  });
}

}  // namespace
}  // namespace elsa
