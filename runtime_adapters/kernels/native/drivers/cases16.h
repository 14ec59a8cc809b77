// Calls of single operators of half floats: those of cases.h with planes, dense weights and segments of halves.
#pragma once
#include "cases.h"

namespace cases {

constexpr Form kHalves{1, 3}, kHalvesInBlocks{4, 3};

inline OrtValue halves(std::vector<int64_t> dims) {
  int64_t count = 1;
  for (int64_t d : dims) count *= d;
  return OrtValue::of(kOrtFloat16, std::move(dims), narrow(noise(count)));
}

// A case of floats whose planes are halves.
inline Case of_halves(Case c) {
  c.x = halves(c.x.dims);
  return c;
}

// The same, with dense weights of halves in the given place among the constants.
inline Case of_halves(Case c, size_t weights) {
  c.constants[weights] = halves(c.constants[weights].dims);
  return of_halves(std::move(c));
}

inline Case max_pool16(const char* name, const Sizes& s) {
  Case c{name, {}, {}, planes(s, 3), 0};
  window(c, "", s.side, 3, 2);
  c.info.integers["in_channels"] = s.in_channels;
  wire(c, 1);
  return of_halves(std::move(c));
}

}  // namespace cases
