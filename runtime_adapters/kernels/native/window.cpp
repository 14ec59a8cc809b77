// Offsets of taps, and the copy into phases.
#include "window.h"

#include <algorithm>
#include <cstring>

#include "scratch.h"

namespace elsa {

namespace {

// Of a kernel's side, a stride or a dilation.
constexpr int64_t kMostTaps = 256;
// Of a plane or of its phases: offsets in them are int32.
constexpr int64_t kMostUnits = 1 << 30;

// Each worker's; takes the columns that no tap reads.
thread_local Scratch unread_scratch;

// The few zeros at the ends of a row: not worth the call that a compiler makes of std::fill.
template <typename Unit>
inline void fill_few(Unit* p, int64_t count, Unit padding) {
  for (; count > 0; --count, ++p) {
    *p = padding;
    asm volatile("" ::: "memory");
  }
}

// Padding may be the bits of something else than a float.
template <typename Unit>
inline bool is_zero(Unit padding) {
  const Unit zero{};
  return std::memcmp(&padding, &zero, sizeof zero) == 0;
}

}  // namespace

PlaneLayout layout_of(const ort::Info& info, const std::string& prefix) {
  const auto number = [&](const char* name, int64_t low, int64_t high) {
    return info.integer((prefix + name).c_str(), low, high);
  };
  return {number("h", 1, PlaneLayout::kMostSide), number("w", 1, PlaneLayout::kMostSide),
          number("gap", 0, PlaneLayout::kMostGap)};
}

Window::Window(const ort::Info& info, const std::string& prefix) {
  const auto number = [&](const char* name, int64_t low, int64_t high) {
    return info.integer((prefix + name).c_str(), low, high);
  };
  in = layout_of(info, prefix + "in_"), out = layout_of(info, prefix + "out_");
  kh = number("kernel_h", 1, kMostTaps), kw = number("kernel_w", 1, kMostTaps);
  sh = number("stride_h", 1, kMostTaps), sw = number("stride_w", 1, kMostTaps);
  dh = number("dilation_h", 1, kMostTaps), dw = number("dilation_w", 1, kMostTaps);
  pad_top = number("pad_top", 0, PlaneLayout::kMostSide), pad_left = number("pad_left", 0, PlaneLayout::kMostSide);
  direct_ = is_direct();
  require(direct_ || out.gap >= (kw - 1) * dw / sw, "out_gap is too small for this kernel and stride");
  phase_starts_.assign(static_cast<size_t>(sh * sw), -1);
  int64_t at = 0;
  for (const auto& [py, px] : phases()) {
    phase_starts_[static_cast<size_t>(py * sw + px)] = at;
    at += phase_units();
  }
  if (!direct_) scratch_stride_ = at;
  require(in.stride() < kMostUnits && out.stride() < kMostUnits && scratch_stride() < kMostUnits,
          "the image is too large");
  // A row of the input must fit a row of each phase, or it would run into the next one.
  by_rows_ = !direct() && sw == 2 && (in.w + pad_left + 1) / 2 <= out.pitch();
  if (!direct() && !by_rows_) sources_ = scratch_sources();
}

bool Window::is_direct() const {
  const int64_t down = (kh - 1) * dh - pad_top, right = (kw - 1) * dw - pad_left;
  return sh == 1 && sw == 1 && in.pitch() == out.pitch() && out.h <= in.h && pad_top <= in.rows_around() &&
         pad_left <= in.gap && down + out.h <= in.h + in.rows_around() && right + out.w <= in.w + in.gap &&
         out.vectors() * kLine + down * in.pitch() + right <= in.stride() - in.lead();
}

std::vector<std::pair<int64_t, int64_t>> Window::phases() const {
  std::vector<std::pair<int64_t, int64_t>> found;
  for (int64_t ky = 0; ky < kh; ++ky)
    for (int64_t kx = 0; kx < kw; ++kx) {
      const std::pair<int64_t, int64_t> phase{ky * dh % sh, kx * dw % sw};
      if (std::find(found.begin(), found.end(), phase) == found.end()) found.push_back(phase);
    }
  return found;
}

int64_t Window::phase_units() const {
  const int64_t farthest = (kh - 1) * dh / sh * out.pitch() + (kw - 1) * dw / sw;
  return round_up(out.vectors() * kLine + farthest, kLine);
}

std::vector<int64_t> Window::tap_offsets() const {
  std::vector<int64_t> offsets;
  const auto list = phases();
  for (int64_t ky = 0; ky < kh; ++ky)
    for (int64_t kx = 0; kx < kw; ++kx) {
      if (direct()) {
        offsets.push_back((ky * dh - pad_top) * in.pitch() + kx * dw - pad_left);
        continue;
      }
      const auto at = std::find(list.begin(), list.end(), std::pair<int64_t, int64_t>{ky * dh % sh, kx * dw % sw});
      offsets.push_back((at - list.begin()) * phase_units() + ky * dh / sh * out.pitch() + kx * dw / sw);
    }
  return offsets;
}

int64_t Window::phase_at(int64_t py, int64_t px) const { return phase_starts_[static_cast<size_t>(py * sw + px)]; }

template <typename Unit>
void Window::fill(const PlaneTable<Unit>& table, const Unit* plane, Unit* scratch, Unit padding) const {
  if (!by_rows_) {
    table.gather(plane, sources_.data(), scratch_stride(), scratch);
    if (is_zero(padding)) return;
    for (int64_t i = 0; i < scratch_stride(); ++i)
      if (sources_[static_cast<size_t>(i)] < 0) std::memcpy(scratch + i, &padding, sizeof padding);
    return;
  }
  // Even columns of the input go to one phase, odd ones to the other; which is which depends on the padding.
  const int64_t pitch = out.pitch(), floats = phase_units(), rows = floats / pitch;
  const int64_t even_phase = pad_left % 2;
  const int64_t from[2] = {pad_left / 2, (pad_left + 1) / 2}, count[2] = {(in.w + 1) / 2, in.w / 2};
  Unit* unread = unread_scratch.of<Unit>(static_cast<size_t>(pitch));
  for (int64_t py = 0; py < sh; ++py) {
    const int64_t at[2] = {phase_at(py, even_phase), phase_at(py, 1 - even_phase)};
    if (at[0] < 0 && at[1] < 0) continue;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t y = r * sh + py - pad_top;
      const bool exists = 0 <= y && y < in.h;
      Unit* to[2] = {unread, unread};
      for (int odd = 0; odd < 2; ++odd) {
        if (at[odd] < 0) continue;
        Unit* row = scratch + at[odd] + r * pitch;
        fill_few(row, exists ? from[odd] : pitch, padding);
        to[odd] = row + from[odd];
      }
      if (!exists) continue;
      table.split(plane + in.lead() + y * in.pitch(), in.w, to[0], to[1]);
      for (int odd = 0; odd < 2; ++odd)
        if (at[odd] >= 0) fill_few(to[odd] + count[odd], pitch - from[odd] - count[odd], padding);
    }
    for (int64_t start : at)
      if (start >= 0) std::fill(scratch + start + rows * pitch, scratch + start + floats, padding);
  }
}

template void Window::fill(const PlaneTable<float>&, const float*, float*, float) const;
template void Window::fill(const PlaneTable<Half>&, const Half*, Half*, Half) const;

std::vector<int32_t> Window::scratch_sources() const {
  std::vector<int32_t> sources(static_cast<size_t>(scratch_stride()), -1);
  if (direct()) return sources;
  const int64_t pitch = out.pitch(), floats = phase_units();
  int64_t at = 0;
  for (const auto& [py, px] : phases()) {
    for (int64_t i = 0; i < floats; ++i) {
      // Row r, column c of this phase is padded input (r * sh + py, c * sw + px).
      const int64_t y = i / pitch * sh + py - pad_top, x = i % pitch * sw + px - pad_left;
      if (0 <= y && y < in.h && 0 <= x && x < in.w)
        sources[static_cast<size_t>(at + i)] = static_cast<int32_t>(in.lead() + y * in.pitch() + x);
    }
    at += floats;
  }
  return sources;
}

std::vector<int32_t> Window::output_mask() const {
  if (out.gap == 0 && out.body() % kLine == 0) return {};
  std::vector<int32_t> mask(static_cast<size_t>(out.vectors() * kLine), 0);
  for (int64_t y = 0; y < out.h; ++y)
    for (int64_t x = 0; x < out.w; ++x) mask[static_cast<size_t>(y * out.pitch() + x)] = -1;
  return mask;
}

}  // namespace elsa
