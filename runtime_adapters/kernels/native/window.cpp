// Offsets of taps, and the copy into phases.
#include "window.h"

#include <algorithm>
#include <cstring>

namespace elsa {

namespace {
constexpr int64_t kLargest = 1 << 20;  // of any attribute: keeps every product far from overflow
}

Window::Window(const ort::Info& info) {
  in = {info.integer("in_h", 1, 1 << 14), info.integer("in_w", 1, 1 << 14), info.integer("in_gap", 0, 256)};
  out = {info.integer("out_h", 1, 1 << 14), info.integer("out_w", 1, 1 << 14), info.integer("out_gap", 0, 256)};
  kh = info.integer("kernel_h", 1, 256), kw = info.integer("kernel_w", 1, 256);
  sh = info.integer("stride_h", 1, 256), sw = info.integer("stride_w", 1, 256);
  dh = info.integer("dilation_h", 1, 256), dw = info.integer("dilation_w", 1, 256);
  pad_top = info.integer("pad_top", 0, 1 << 14), pad_left = info.integer("pad_left", 0, 1 << 14);
  ort::require(direct() || out.gap >= (kw - 1) * dw / sw, "out_gap is too small for this kernel and stride");
  ort::require(in.stride() < kLargest * 1024 && scratch_stride() < kLargest * 1024, "the image is too large");
}

bool Window::direct() const {
  const int64_t down = (kh - 1) * dh - pad_top, right = (kw - 1) * dw - pad_left;
  return sh == 1 && sw == 1 && in.pitch() == out.pitch() && out.h <= in.h && pad_top <= in.gap && pad_left <= in.gap &&
         down + out.h <= in.h + in.gap && right + out.w <= in.w + in.gap &&
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

int64_t Window::phase_floats() const {
  const int64_t farthest = (kh - 1) * dh / sh * out.pitch() + (kw - 1) * dw / sw;
  return round_up(out.vectors() * kLine + farthest, kLine);
}

int64_t Window::scratch_stride() const { return direct() ? 0 : phase_floats() * static_cast<int64_t>(phases().size()); }

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
      offsets.push_back((at - list.begin()) * phase_floats() + ky * dh / sh * out.pitch() + kx * dw / sw);
    }
  return offsets;
}

void Window::fill_scratch(const float* plane, float* scratch) const {
  const float* image = plane + in.lead();
  const int64_t pitch = out.pitch(), floats = phase_floats();
  for (const auto& [py, px] : phases()) {
    const int64_t rows = std::min(out.h + (kh - 1) * dh / sh, floats / pitch);
    const int64_t columns = std::min(out.w + (kw - 1) * dw / sw, pitch);
    // Columns c with 0 <= c * sw + px - pad_left < in.w.
    const int64_t before = std::clamp<int64_t>((pad_left - px + sw - 1) / sw, 0, columns);
    const int64_t inside = in.w + pad_left - px;
    const int64_t after = std::clamp<int64_t>(inside > 0 ? (inside + sw - 1) / sw : 0, before, columns);
    for (int64_t r = 0; r < rows; ++r) {
      float* to = scratch + r * pitch;
      const int64_t y = r * sh + py - pad_top;
      if (y < 0 || y >= in.h) {
        std::fill(to, to + pitch, 0.0f);
        continue;
      }
      const float* from = image + y * in.pitch() + px - pad_left;
      std::fill(to, to + before, 0.0f);
      if (sw == 1) {
        std::copy(from + before, from + after, to + before);
      } else if (sw == 2) {
        for (int64_t c = before; c < after; ++c) to[c] = from[c * 2];
      } else {
        for (int64_t c = before; c < after; ++c) to[c] = from[c * sw];
      }
      std::fill(to + after, to + pitch, 0.0f);
    }
    std::fill(scratch + rows * pitch, scratch + floats, 0.0f);
    scratch += floats;
  }
}

std::vector<int32_t> Window::output_mask() const {
  if (out.gap == 0 && out.body() % kLine == 0) return {};
  std::vector<int32_t> mask(static_cast<size_t>(out.vectors() * kLine), 0);
  for (int64_t y = 0; y < out.h; ++y)
    for (int64_t x = 0; x < out.w; ++x) mask[static_cast<size_t>(y * out.pitch() + x)] = -1;
  return mask;
}

void zero_head(float* plane, const PlaneLayout& layout) { std::fill(plane, plane + layout.lead(), 0.0f); }

void zero_tail(float* plane, const PlaneLayout& layout) {
  std::fill(plane + layout.lead() + layout.vectors() * kLine, plane + layout.stride(), 0.0f);
}

}  // namespace elsa
