// Loops over half floats against plain ones: one rounding a product, in order.
#pragma once
#include <algorithm>

#include "../error.h"
#include "../half.h"
#include "loop_cases.h"

namespace loops {

inline double half_value(Half h) {
  const int exponent = h.bits >> 10 & 31, fraction = h.bits & 1023;
  const double v = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return h.bits & 0x8000 ? -v : v;
}
// The nearest half, as a number.
inline double half_of(double v) {
  if (v == 0) return v;
  const double step = std::ldexp(1.0, std::max(std::ilogb(v), -14) - 10);
  return std::nearbyint(v / step) * step;
}
// A normal half below 2 or a little more.
inline Half some_half() { return {static_cast<uint16_t>(number(0, 1) << 15 | number(5, 15) << 10 | number(0, 1023))}; }
// Where halves are made of floats there are two roundings, so a sum may be beside the right one at each step.
inline double allowed(const HalfTable& table, double magnitude, size_t steps) {
  return table.fast ? 0 : std::ldexp(magnitude, -11) * static_cast<double>(steps);
}

inline int compare_half_sparse(const HalfTable& table) {
  int tiles = 0;
  for (const BlockRows rows : {BlockRows::kOne, BlockRows::kFour})
    for (int lines = 1; lines <= table.max_lines(rows); ++lines)
      for (int repeat = 0; repeat < 20; ++repeat, ++tiles) {
        SparseCase<Half, Half> c(rows, lines, some_half, some_half);
        std::vector<Half> residual(c.size);
        fill(residual, some_half);
        c.tile.finish.residual = residual.data();
        table.sparse(rows, ValueType::kFloat16, lines, c.tile);
        for (int64_t row = 0; row < c.rows(); ++row)
          for (int64_t p = 0; p < c.positions; ++p) {
            const size_t at = static_cast<size_t>(row * c.positions + p);
            double sum = 0, magnitude = 0;
            size_t steps = 0;
            c.products(row, p, [&](Half value, Half pixel) {
              const double product = half_value(value) * half_value(pixel);
              sum = half_of(sum + product), magnitude += std::fabs(product), ++steps;
            });
            double slack = allowed(table, magnitude, steps);
            if (!c.tile.first) sum += c.before[at];
            double found = c.partial[at];
            if (c.tile.last) {
              const double scale = c.scale[row], inputs = half_value(residual[at]) + c.bias[row];
              slack = slack * std::fabs(scale) + 1e-6 * (magnitude * std::fabs(scale) + std::fabs(inputs));
              sum = sum * scale + inputs;
              slack += std::ldexp(std::fabs(sum), -11) + std::ldexp(1.0, -25);
              found = half_value(c.y[at]);
            }
            if (!(std::fabs(sum - found) <= slack))
              fail("sparse in halves", static_cast<int64_t>(rows), lines, row, sum, found);
          }
      }
  return tiles;
}

inline int compare_half_depthwise(const HalfTable& table) {
  int tiles = 0;
  for (int side = 1; side <= 7; ++side)
    for (int64_t lines = 1; lines <= 11; ++lines, ++tiles) {
      DepthwiseCase<Half> c(side, lines, some_half);
      table.depthwise(c.tile);
      for (size_t p = 0; p < c.y.size(); ++p) {
        double sum = 0, magnitude = 0;
        c.products(p, [&](Half weight, Half pixel) {
          const double product = half_value(weight) * half_value(pixel);
          sum = half_of(sum + product), magnitude += std::fabs(product);
        });
        const double scale = c.scale, bias = c.bias;
        const double slack = allowed(table, magnitude, c.weight.size()) * std::fabs(scale) +
                             1e-6 * (magnitude * std::fabs(scale) + std::fabs(bias));
        sum = sum * scale + bias;
        const double found = half_value(c.y[p]);
        if (!(std::fabs(sum - found) <= slack + std::ldexp(std::fabs(sum), -11) + std::ldexp(1.0, -25)))
          fail("depthwise in halves", side, lines, static_cast<int64_t>(p), sum, found);
      }
    }
  return tiles;
}

inline int compare_half_gemv(const HalfTable& table) {
  int tiles = 0;
  for (const BlockRows rows : {BlockRows::kOne, BlockRows::kFour})
    for (int repeat = 0; repeat < 20; ++repeat, ++tiles) {
      const int64_t high = rows == BlockRows::kFour ? 4 : 1, groups = number(1, 6);
      const auto s = segment<Half>(groups, kColumns, high, false, some_half);
      const Run run = s.run();
      Fenced<float> x(kColumns);
      for (float& v : x) v = real();
      std::vector<float> y(static_cast<size_t>(groups * high), 0.25f);
      table.gemv(rows, ValueType::kFloat16, &run, 1, x.data(), 0, static_cast<int32_t>(groups),
                 static_cast<int32_t>(groups * high), y.data());
      for (int64_t row = 0; row < groups * high; ++row) {
        double sum = 0.25, magnitude = 0.25;
        for (uint32_t i = s.pointer[row / high]; i < s.pointer[row / high + 1]; ++i) {
          const double product = half_value(s.value[static_cast<size_t>(i * high + row % high)]) * x[s.index[i]];
          sum += product, magnitude += std::fabs(product);
        }
        require_close("gemv of halves", static_cast<int64_t>(rows), groups, row, sum, y[static_cast<size_t>(row)],
                      magnitude);
      }
    }
  return tiles;
}

// All halves there and back.
inline int compare_conversions(const HalfTable& table) {
  std::vector<Half> all(0x7C00 * 2), back(all.size());
  std::vector<float> wide(all.size());
  for (size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<uint16_t>(i < 0x7C00 ? i : 0x8000 + i - 0x7C00);
  table.widen(all.data(), static_cast<int64_t>(all.size()), wide.data());
  table.narrow(wide.data(), static_cast<int64_t>(all.size()), back.data());
  for (size_t i = 0; i < all.size(); ++i)
    if (wide[i] != static_cast<float>(half_value(all[i])) || back[i].bits != all[i].bits)
      fail("conversion", static_cast<int64_t>(i), all[i].bits, back[i].bits, half_value(all[i]), wide[i]);
  return 1;
}

// The loops over halves where this processor has them; their name, or "none".
inline const char* compare_halves(int* tiles) {
  try {
    const HalfTable& table = halves();
    *tiles += compare_half_sparse(table) + compare_half_depthwise(table) + compare_half_gemv(table);
    *tiles += compare_conversions(table);
    return table.name;
  } catch (const Error&) {
    return "none";
  }
}

}  // namespace loops
