// Calls of recurrent layers, in float32 and in 8 bits: two directions, a batch, lengths and initial states.
#pragma once
#include "cases8.h"

namespace cases {

struct Recurrent {
  int64_t gates, units;
  bool linear_before_reset = false;  // of 3 gates, a GRU's
};

constexpr int64_t kSteps = 5, kBatch = 3, kDirections = 2;

inline Case recurrent(const char* name, const Recurrent& r) {
  Case c{name, {}, {}, floats({kSteps, kBatch, kDirections * r.gates * r.units})};
  c.info.integers = {
      {"units", r.units}, {"directions", kDirections}, {"backward", 0}, {"linear_before_reset", r.linear_before_reset}};
  return c;
}

// Initial states, initial cells where there are some, and lengths.
inline void states(Case& c, const Recurrent& r) {
  const std::vector<int64_t> dims{kDirections, kBatch, r.units};
  c.constants.push_back(floats(dims));
  c.constants.push_back(r.gates == 4 ? floats(dims) : OrtValue{});
  c.constants.push_back(OrtValue::of(kOrtInt32, {kBatch}, std::vector<int32_t>{kSteps, 0, kSteps - 2}));
}

inline Case cells(const char* name, const Recurrent& r, Form form) {
  Case c = recurrent(name, r);
  const int64_t rows = kDirections * r.gates * r.units;
  c.info.integers["activation"] = static_cast<int64_t>(elsa::Activation::kNone);
  c.info.reals = {{"low", 0.0f}, {"high", 0.0f}};
  c.constants.push_back(floats({kLevels, 2, rows}));
  states(c, r);
  for (int64_t level = 0; level < kLevels; ++level)
    c.constants.push_back(
        segment(static_cast<uint32_t>(rows), static_cast<uint32_t>(r.units), form.block_rows, form.value_type, 16));
  wire(c, 2);
  return c;
}

inline Case cells8(const char* name, const Recurrent& r, uint32_t block_rows) {
  Case c = recurrent(name, r);
  const int64_t rows = kDirections * r.gates * r.units;
  c.constants = {finish((rows + 3) / 4 * 4), points(), steps()};
  states(c, r);
  for (int64_t level = 0; level < kLevels; ++level)
    c.constants.push_back(quads(static_cast<uint32_t>(rows), static_cast<uint32_t>((r.units + 3) / 4), block_rows));
  wire(c, 2);
  return c;
}

}  // namespace cases
