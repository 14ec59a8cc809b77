// Copies and small operations on planes of quads.
#include "int8_planes.h"

#include <algorithm>
#include <cstring>

#include "scratch.h"
#include "split.h"

namespace elsa {
namespace {

constexpr int64_t kQuad = 4;  // bytes of a pixel, channels in it

thread_local Scratch image_scratch;  // of the calling thread, read by all
thread_local Scratch row_scratch;    // of each worker

int64_t quads_of(int64_t channels) { return (channels + kQuad - 1) / kQuad; }

}  // namespace

const uint8_t* planes8_of(const ort::Context& context, int64_t quads, int64_t stride, const char* what,
                          int64_t* batch) {
  const ort::Tensor t = context.input(0, kOrtUint8, what);
  require(t.dims.size() == 4 && t.dims[1] == quads && t.dims[2] == stride && t.dims[3] == kQuad,
          [&] { return text(what, " has a wrong shape, expected planes (batch, ", quads, ", ", stride, ", 4)"); });
  *batch = t.dims[0];
  return static_cast<const uint8_t*>(t.data);
}

void zero_borders8(uint8_t* plane, const PlaneLayout& layout, uint8_t zero, bool head, bool tail) {
  const int64_t body_end = layout.lead() + layout.vectors() * kLine;
  if (head) std::memset(plane, held(zero), static_cast<size_t>(layout.lead() * kQuad));
  if (tail)
    std::memset(plane + body_end * kQuad, held(zero), static_cast<size_t>((layout.stride() - body_end) * kQuad));
}

const uint8_t* phases8(const ort::Context& context, const Window& window, const uint8_t* image, int64_t quads,
                       uint8_t zero) {
  const int64_t stride = window.scratch_stride();
  // A pixel has the size of a float, and is only moved.
  float* scratch = image_scratch.floats(static_cast<size_t>(quads * stride));
  float padding;
  std::memset(&padding, held(zero), sizeof padding);
  parallel_ranges(context, split_into(kPlaneTasks, quads), [&](int64_t first, int64_t end) {
    for (int64_t q = first; q < end; ++q)
      window.fill(kernels(), reinterpret_cast<const float*>(image) + q * window.in.stride(), scratch + q * stride,
                  padding);
  });
  return reinterpret_cast<const uint8_t*>(scratch);
}

Int8FromImage::Int8FromImage(const ort::Info& info) : layout_(layout_of(info)), steps_(info, 2) {}

void Int8FromImage::compute(const ort::Context& context) const {
  const ort::Tensor x = context.input(0, kOrtFloat, "the image");
  const PlaneLayout l = layout_;
  require(x.dims.size() == 4 && x.dims[1] >= 1 && x.dims[2] == l.h && x.dims[3] == l.w,
          [&] { return text("the image has a wrong shape, expected (batch, channels, ", l.h, ", ", l.w, ")"); });
  const int64_t level = context.level(1, steps_.levels());
  const int64_t channels = x.dims[1], quads = quads_of(channels), size = l.h * l.w;
  uint8_t* y = static_cast<uint8_t*>(context.raw_output({x.dims[0], quads, l.stride(), kQuad}));
  const uint8_t zero = steps_.zero_code(level);
  const float inverse = 1.0f / steps_.step(level);
  parallel_ranges(context, split_into(kPlaneTasks, x.dims[0] * quads), [&](int64_t first, int64_t end) {
    float* nothing = row_scratch.floats(static_cast<size_t>(l.w));  // channels that pad the last quad
    std::fill(nothing, nothing + l.w, 0.0f);
    for (int64_t p = first; p < end; ++p) {
      uint8_t* plane = y + p * l.stride() * kQuad;
      zero_borders8(plane, l, zero, true, true);
      const float* image = x.floats() + p / quads * channels * size;
      for (int64_t r = 0; r < l.h; ++r) {
        const float* channel[kQuad];
        for (int64_t c = 0; c < kQuad; ++c) {
          const int64_t number = p % quads * kQuad + c;
          channel[c] = number < channels ? image + number * size + r * l.w : nothing;
        }
        uint8_t* row = plane + (l.lead() + r * l.pitch()) * kQuad;
        kernels8().quantize(channel, l.w, inverse, steps_.zero(level), row);
        std::memset(row + l.w * kQuad, held(zero), static_cast<size_t>(l.gap * kQuad));
      }
      uint8_t* body_end = plane + (l.lead() + l.body()) * kQuad;
      std::memset(body_end, held(zero), static_cast<size_t>((l.vectors() * kLine - l.body()) * kQuad));
    }
  });
}

ImageFromInt8::ImageFromInt8(const ort::Info& info)
    : layout_(layout_of(info)), channels_(info.integer("channels", 1, 1 << 20)), steps_(info, 2) {}

void ImageFromInt8::compute(const ort::Context& context) const {
  const PlaneLayout l = layout_;
  const int64_t quads = quads_of(channels_), size = l.h * l.w;
  int64_t batch = 0;
  const uint8_t* x = planes8_of(context, quads, l.stride(), "the planes", &batch);
  const int64_t level = context.level(1, steps_.levels());
  float* y = context.output({batch, channels_, l.h, l.w});
  parallel_ranges(context, split_into(kPlaneTasks, batch * quads), [&](int64_t first, int64_t end) {
    for (int64_t p = first; p < end; ++p)
      for (int64_t r = 0; r < l.h; ++r) {
        float* channel[kQuad];
        for (int64_t c = 0; c < kQuad; ++c) {
          const int64_t number = p % quads * kQuad + c;
          channel[c] = number < channels_ ? y + (p / quads * channels_ + number) * size + r * l.w : nullptr;
        }
        kernels8().dequantize(x + (p * l.stride() + l.lead() + r * l.pitch()) * kQuad, l.w, steps_.step(level),
                              steps_.zero(level), channel);
      }
  });
}

Int8Mean::Int8Mean(const ort::Info& info)
    : layout_(layout_of(info)), channels_(info.integer("channels", 1, 1 << 20)), steps_(info, 2) {}

void Int8Mean::compute(const ort::Context& context) const {
  const PlaneLayout l = layout_;
  const int64_t quads = quads_of(channels_), size = l.h * l.w;
  int64_t batch = 0;
  const uint8_t* x = planes8_of(context, quads, l.stride(), "the planes", &batch);
  const int64_t level = context.level(1, steps_.levels());
  float* y = context.output({batch, channels_, 1, 1});
  const int64_t zero = steps_.zero_code(level);
  const float share = steps_.step(level) / static_cast<float>(size);
  parallel_ranges(context, split_into(kPlaneTasks, batch * quads), [&](int64_t first, int64_t end) {
    for (int64_t p = first; p < end; ++p) {
      int64_t sums[kQuad] = {};
      for (int64_t r = 0; r < l.h; ++r)
        kernels8().add_up(x + (p * l.stride() + l.lead() + r * l.pitch()) * kQuad, l.w, sums);
      for (int64_t c = 0; c < kQuad && p % quads * kQuad + c < channels_; ++c)
        y[p / quads * channels_ + p % quads * kQuad + c] = static_cast<float>(sums[c] - zero * size) * share;
    }
  });
}

Int8MaxPool::Int8MaxPool(const ort::Info& info)
    : window_(info), quads_(info.integer("in_quads", 1, 1 << 18)), steps_(info, 2), mask_(window_.output_mask()) {
  for (int64_t tap : window_.tap_offsets()) offsets_.push_back(static_cast<int32_t>(tap * kQuad));
}

void Int8MaxPool::compute(const ort::Context& context) const {
  int64_t batch = 0;
  const PlaneLayout &in = window_.in, &out = window_.out;
  const uint8_t* x = planes8_of(context, quads_, in.stride(), "the planes", &batch);
  const int64_t level = context.level(1, steps_.levels());
  uint8_t* y = static_cast<uint8_t*>(context.raw_output({batch, quads_, out.stride(), kQuad}));
  const uint8_t zero = steps_.zero_code(level);
  // Padding must not win: the least code stands in for it.
  const uint8_t least = held(0);
  float padding;
  std::memset(&padding, least, sizeof padding);
  parallel_ranges(context, split_into(kPlaneTasks, batch * quads_), [&](int64_t first, int64_t end) {
    const int64_t from_stride = window_.direct() ? in.stride() : window_.scratch_stride();
    float* near = row_scratch.floats(static_cast<size_t>(from_stride));
    for (int64_t p = first; p < end; ++p) {
      const auto* plane = reinterpret_cast<const float*>(x) + p * in.stride();
      if (window_.direct()) {
        std::memset(near, least, static_cast<size_t>(from_stride * kQuad));
        for (int64_t r = 0; r < in.h; ++r) {
          const int64_t at = in.lead() + r * in.pitch();
          std::memcpy(near + at, plane + at, static_cast<size_t>(in.w * kQuad));
        }
      } else {
        window_.fill(kernels(), plane, near, padding);
      }
      const uint8_t* from = reinterpret_cast<const uint8_t*>(near + window_.origin());
      uint8_t* to = y + p * out.stride() * kQuad;
      uint8_t* body = to + out.lead() * kQuad;
      const int64_t bytes = out.vectors() * kLine * kQuad;
      std::memcpy(body, from + offsets_[0], static_cast<size_t>(bytes));
      for (size_t tap = 1; tap < offsets_.size(); ++tap) kernels8().maximum(from + offsets_[tap], bytes, body);
      for (size_t i = 0; i < mask_.size(); ++i)
        if (!mask_[i]) std::memset(body + i * kQuad, held(zero), kQuad);
      zero_borders8(to, out, zero, true, true);
    }
  });
}

}  // namespace elsa
