// The geometry that convolution, depthwise convolution and the scratch copy for strides share.
//
// Output (oy, ox), tap (ky, kx) reads padded input (oy * sh + ky * dh, ox * sw + kx * dw). Split by remainder of the
// stride into phases, that is row oy + (ky * dh) / sh of phase (ky * dh) % sh: again a constant offset in a plane.
#pragma once
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "kernels.h"
#include "layout.h"
#include "ort.h"

namespace elsa {

// The layout that the attributes h, w and gap describe; `prefix` goes before their names.
PlaneLayout layout_of(const ort::Info& info, const std::string& prefix = "");

struct Window {
  PlaneLayout in, out;
  int64_t kh, kw, sh, sw, dh, dw, pad_top, pad_left;

  // `prefix` goes before the names of the attributes, where an operator has two windows.
  explicit Window(const ort::Info& info, const std::string& prefix = "");

  int64_t taps() const { return kh * kw; }
  // True where taps are offsets in the input planes themselves; otherwise each channel is first copied into phases.
  bool direct() const { return direct_; }
  // Distance in units, from the position in the (first phase) plane, for each tap.
  std::vector<int64_t> tap_offsets() const;

  // The copy of one channel into phases, with all its zeros, or whatever stands for them.
  int64_t scratch_stride() const { return scratch_stride_; }
  template <typename Unit>
  void fill(const PlaneTable<Unit>& table, const Unit* plane, Unit* scratch, Unit padding = {}) const;
  // From the start of a channel in `in` planes or scratch to position 0.
  int64_t origin() const { return direct() ? in.lead() : 0; }

  std::vector<int32_t> output_mask() const;  // (out.vectors() * 16); empty where every position exists

 private:
  bool is_direct() const;
  std::vector<std::pair<int64_t, int64_t>> phases() const;
  int64_t phase_units() const;
  int64_t phase_at(int64_t py, int64_t px) const;  // where a phase starts in the scratch, -1 where no tap reads it
  std::vector<int32_t> scratch_sources() const;    // from where in the plane each unit comes, -1: it is a zero

  bool direct_ = false;
  int64_t scratch_stride_ = 0;
  std::vector<int64_t> phase_starts_;  // (sh * sw)
  std::vector<int32_t> sources_;       // only for strides other than 2
  bool by_rows_ = false;
};

// The borders of an output plane that no position covers.
template <typename Unit>
void zero_head(Unit* plane, const PlaneLayout& layout) {
  std::fill(plane, plane + layout.lead(), Unit{});
}

template <typename Unit>
void zero_tail(Unit* plane, const PlaneLayout& layout) {
  std::fill(plane + layout.lead() + layout.vectors() * kLine, plane + layout.stride(), Unit{});
}

}  // namespace elsa
