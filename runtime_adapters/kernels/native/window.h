// The geometry that convolution, depthwise convolution and the scratch copy for strides share.
//
// Output (oy, ox), tap (ky, kx) reads padded input (oy * sh + ky * dh, ox * sw + kx * dw). Split by remainder of the
// stride into phases, that is row oy + (ky * dh) / sh of phase (ky * dh) % sh: again a constant offset in a plane.
#pragma once
#include <vector>

#include "layout.h"
#include "ort.h"

namespace elsa {

struct Window {
  PlaneLayout in, out;
  int64_t kh, kw, sh, sw, dh, dw, pad_top, pad_left;

  explicit Window(const ort::Info& info);

  int64_t taps() const { return kh * kw; }
  // True where taps are offsets in the input planes themselves; otherwise each channel is first copied into phases.
  bool direct() const;
  // Distance in floats, from the position in the (first phase) plane, for each tap.
  std::vector<int64_t> tap_offsets() const;

  // The copy of one channel: floats needed, and from where in the plane each comes (-1: it is a zero).
  int64_t scratch_stride() const;
  std::vector<int32_t> scratch_sources() const;
  // From the start of a channel in `in` planes or scratch to position 0.
  int64_t origin() const { return direct() ? in.lead() : 0; }

  std::vector<int32_t> output_mask() const;  // (out.vectors() * 16); empty where every position exists

 private:
  std::vector<std::pair<int64_t, int64_t>> phases() const;
  int64_t phase_floats() const;
};

// The borders of an output plane that no position covers.
void zero_head(float* plane, const PlaneLayout& layout);
void zero_tail(float* plane, const PlaneLayout& layout);

}  // namespace elsa
