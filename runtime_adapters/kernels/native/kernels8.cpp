// The table of 8-bit inner loops. Compiled once an instruction set, without fused multiply-adds: all must agree in every
// bit. -DELSA_TABLE8=name -DELSA_NAME="name" -DELSA_LANES=4|8|16
#include <cstring>

#include "int8.h"
#include "int8_band_loops.h"
#include "int8_depthwise_loops.h"
#include "int8_loops.h"
#include "recurrent_loops.h"

namespace elsa {
namespace {

// The last values of an odd count go through a full vector on the stack.
void finish(const int32_t* sums, int64_t count, const Finish8& f, uint8_t* y) {
  constexpr int kStep = 4 * kLanes;
  const Bounds bounds(f);
  alignas(64) int32_t near[kStep];
  alignas(64) float scale[kStep], bias[kStep];
  alignas(64) uint8_t made[kStep];
  for (int64_t i = 0; i < count; i += kStep) {
    const int64_t here = count - i < kStep ? count - i : kStep;
    if (here < kStep) {
      std::memset(near, 0, sizeof near), std::memset(scale, 0, sizeof scale), std::memset(bias, 0, sizeof bias);
    }
    std::memcpy(near, sums + i, static_cast<size_t>(here) * 4);
    std::memcpy(scale, f.scale + i, static_cast<size_t>(here) * 4);
    std::memcpy(bias, f.bias + i, static_cast<size_t>(here) * 4);
    Float t[4];
    // Lane j of vector r is value 4 j + r: that is what pack4 puts side by side.
    for (int r = 0; r < 4; ++r)
      for (int j = 0; j < kLanes; ++j) {
        const float product = static_cast<float>(near[4 * j + r]) * scale[4 * j + r];
        t[r][j] = product + bias[4 * j + r];
      }
    store_codes(made, bounds.of(pack4(t[0], t[1], t[2], t[3])));
    std::memcpy(y + i, made, static_cast<size_t>(here));
  }
}

void to_floats(const int32_t* sums, int64_t count, const float* scale, const float* bias, float low, float high,
               float* y) {
  for (int64_t i = 0; i < count; ++i) {
    const float product = static_cast<float>(sums[i]) * scale[i];
    const float v = product + bias[i];
    y[i] = v < low ? low : v > high ? high : v;
  }
}

inline Float bounded_code(Float x, float inverse, float zero) {
  Float t = x * inverse + zero;
  t = t > 0.0f ? t : all(0.0f);  // NaN too
  return t < 255.0f ? t : all(255.0f);
}

void quantize(const float* const* channel, int64_t count, float inverse, float zero, uint8_t* to) {
  const auto code = [&](const float* from) { return bounded_code(load_floats(from), inverse, zero); };
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    store_codes(to + i * 4,
                pack4(code(channel[0] + i), code(channel[1] + i), code(channel[2] + i), code(channel[3] + i)));
  if (i == count) return;
  alignas(64) float near[4][kLanes] = {};
  alignas(64) uint8_t made[kBytes];
  for (int c = 0; c < 4; ++c) std::memcpy(near[c], channel[c] + i, static_cast<size_t>(count - i) * 4);
  store_codes(made, pack4(code(near[0]), code(near[1]), code(near[2]), code(near[3])));
  std::memcpy(to + i * 4, made, static_cast<size_t>(count - i) * 4);
}

void codes(const float* from, int64_t count, float inverse, float zero, uint8_t* to) {
  constexpr int kStep = 4 * kLanes;
  const auto next = [&](const float* x) {
    Float t[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) t[r] = bounded_code(every_fourth_four(x + 4 * r), inverse, zero);
    return pack_pixels(t);
  };
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) store_codes(to + i, next(from + i));
  if (i == count) return;
  alignas(64) float near[kStep] = {};
  alignas(64) uint8_t made[kBytes];
  std::memcpy(near, from + i, static_cast<size_t>(count - i) * 4);
  store_codes(made, next(near));
  std::memcpy(to + i, made, static_cast<size_t>(count - i));
}

void dequantize(const uint8_t* from, int64_t count, float step, float zero, float* const* channel) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Int v = load_codes(from + i * 4);
    for (int c = 0; c < 4; ++c)
      if (channel[c]) store_floats(channel[c] + i, (to_float((v >> (8 * c)) & 0xFF) - zero) * step);
  }
  for (; i < count; ++i)
    for (int c = 0; c < 4; ++c)
      if (channel[c]) channel[c][i] = (static_cast<float>(turn_sign(from[i * 4 + c])) - zero) * step;
}

void maximum(const uint8_t* from, int64_t bytes, uint8_t* to) {
  int64_t i = 0;
  for (; i + kBytes <= bytes; i += kBytes) store_codes(to + i, byte_max(load_codes(to + i), load_codes(from + i)));
  for (; i < bytes; ++i) to[i] = turn_sign(from[i]) > turn_sign(to[i]) ? from[i] : to[i];
}

void add_up(const uint8_t* from, int64_t count, int64_t* sums) {
  Int sum[4] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Int v = load_codes(from + i * 4);
    for (int c = 0; c < 4; ++c) sum[c] += (v >> (8 * c)) & 0xFF;
  }
  for (int c = 0; c < 4; ++c) sums[c] += add_lanes(sum[c]);
  for (; i < count; ++i)
    for (int c = 0; c < 4; ++c) sums[c] += turn_sign(from[i * 4 + c]);
}

}  // namespace

extern const Kernels8 ELSA_TABLE8;
const Kernels8 ELSA_TABLE8 = {ELSA_NAME, kLanes, kMax1,  kTapForm,  ELSA_SIGNED_PIXELS, tile,  tile_sums,
                              depthwise, bands,  finish, to_floats, quantize,           codes, dequantize,
                              maximum,   add_up, lstm,   gru,       gru_reset};

}  // namespace elsa
