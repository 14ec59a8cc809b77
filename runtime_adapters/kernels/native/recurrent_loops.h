// One step of a recurrent cell after its sums: gates, and the state that they make. Part of kernels8.cpp, whose float
// arithmetic is the same on every processor, so that cells with 8-bit weights agree in every bit.
#pragma once
#include <cstring>

#include "int8_vectors.h"

namespace elsa {
namespace {

// exponential takes NaN for its least number; here it stays NaN, as in a dense network.
inline Float kept_nan(Float x, Float y) { return x == x ? y : x; }
inline Float sigmoid(Float x) { return kept_nan(x, 1.0f / (exponential(-x) + 1.0f)); }
// (exp(2 x) - 1) / (exp(2 x) + 1), whose numerator loses nothing near 0: a few 1e-7 of the result off at most, however
// small it is.
inline Float hyperbolic_tangent(Float x) {
  const Exponential e = exponential_apart(x + x);
  const Float less_one = e.less_one * e.power + (e.power - 1.0f);
  return kept_nan(x, less_one / (less_one + 2.0f));
}

// The next vector of `left` values, zeros where there are no more.
inline Float some(const float* from, int64_t left) {
  if (left >= kLanes) return load_floats(from);
  alignas(64) float near[kLanes] = {};
  std::memcpy(near, from, static_cast<size_t>(left) * sizeof(float));
  return load_floats(near);
}
inline void put_some(float* to, int64_t left, Float v) {
  if (left >= kLanes) return store_floats(to, v);
  alignas(64) float near[kLanes];
  store_floats(near, v);
  std::memcpy(to, near, static_cast<size_t>(left) * sizeof(float));
}

// Gates lie in the order of ONNX: input, output, forget, cell.
void lstm(const CellStep& s) {
  const int64_t units = s.units;
  for (int64_t i = 0; i < units; i += kLanes) {
    const int64_t left = units - i;
    const auto sum = [&](int64_t gate) {
      return some(s.from_input + gate * units + i, left) + some(s.from_state + gate * units + i, left);
    };
    const Float added = sigmoid(sum(0)) * hyperbolic_tangent(sum(3));
    const Float c = sigmoid(sum(2)) * some(s.c + i, left) + added;
    put_some(s.c + i, left, c);
    put_some(s.h + i, left, sigmoid(sum(1)) * hyperbolic_tangent(c));
  }
}

// Gates lie in the order of ONNX: update, reset, hidden.
void gru(const CellStep& s, bool resets_sums) {
  const int64_t units = s.units;
  for (int64_t i = 0; i < units; i += kLanes) {
    const int64_t left = units - i;
    const auto input = [&](int64_t gate) { return some(s.from_input + gate * units + i, left); };
    const auto state = [&](int64_t gate) { return some(s.from_state + gate * units + i, left); };
    const Float update = sigmoid(input(0) + state(0));
    Float hidden = state(2);
    if (resets_sums) hidden = sigmoid(input(1) + state(1)) * hidden;
    hidden = hyperbolic_tangent(input(2) + hidden);
    const Float kept = update * some(s.h + i, left);
    put_some(s.h + i, left, (1.0f - update) * hidden + kept);
  }
}

void gru_reset(const CellStep& s, float* to) {
  const int64_t units = s.units;
  for (int64_t i = 0; i < units; i += kLanes) {
    const int64_t left = units - i;
    const Float reset = sigmoid(some(s.from_input + units + i, left) + some(s.from_state + units + i, left));
    put_some(to + i, left, reset * some(s.h + i, left));
  }
}

}  // namespace
}  // namespace elsa
