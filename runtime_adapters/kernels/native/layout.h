// Planes: how an image lies in memory between our operators, so that a shifted row is a plain vector load.
//
//   plane = [ lead zeros | h rows of (w values, gap zeros) | zeros up to stride ]      all counts in floats
//
// The gap after one row is also the left border of the next, so a kernel tap (dy, dx) with |dy|, |dx| <= gap is the
// constant offset dy * pitch + dx at every position. Lead and stride are multiples of 16 floats (one cache line, one
// AVX-512 vector), so taps without horizontal shift load aligned. The tensor is [batch, channels, 1, stride].
//
// An image of one row, a signal, has no rows of zeros above and below: they would be twice as long as itself.
#pragma once
#include <cstdint>

namespace elsa {

constexpr int64_t kLine = 16;  // floats in a cache line

inline int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

struct PlaneLayout {
  // What attributes may say: keeps every product far from overflow.
  static constexpr int64_t kMostSide = 1 << 14;
  static constexpr int64_t kMostGap = 256;

  int64_t h = 0, w = 0, gap = 0;

  int64_t pitch() const { return w + gap; }
  int64_t rows_around() const { return h > 1 ? gap : 0; }          // of zeros, above and below
  int64_t reach() const { return rows_around() * pitch() + gap; }  // farthest offset a tap may have
  int64_t lead() const { return round_up(reach(), kLine); }
  int64_t body() const { return h * pitch(); }
  int64_t vectors() const { return round_up(body(), kLine) / kLine; }  // tiles are counted in lines of 16
  int64_t stride() const { return round_up(lead() + vectors() * kLine + reach(), kLine); }
};

}  // namespace elsa
