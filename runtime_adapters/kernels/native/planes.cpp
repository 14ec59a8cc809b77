// Copies between NCHW and planes.
#include "planes.h"

#include <algorithm>

#include "split.h"

namespace elsa {
namespace {

PlaneLayout layout_of(const ort::Info& info) {
  return {info.integer("h", 1, PlaneLayout::kMostSide), info.integer("w", 1, PlaneLayout::kMostSide),
          info.integer("gap", 0, PlaneLayout::kMostGap)};
}

}  // namespace

PlanesFromImage::PlanesFromImage(const ort::Info& info) : layout_(layout_of(info)) {}

void PlanesFromImage::compute(const ort::Context& context) const {
  const ort::Tensor x = context.input(0, kOrtFloat, "the image");
  const PlaneLayout l = layout_;
  require(x.dims.size() == 4 && x.dims[2] == l.h && x.dims[3] == l.w,
          [&] { return text("the image has a wrong shape, expected (batch, channels, ", l.h, ", ", l.w, ")"); });
  float* y = context.output({x.dims[0], x.dims[1], 1, l.stride()});
  parallel_ranges(context, split_into(kPlaneTasks, x.dims[0] * x.dims[1]), [&](int64_t first, int64_t end) {
    for (int64_t p = first; p < end; ++p) {
      const float* from = x.floats() + p * l.h * l.w;
      float* to = y + p * l.stride();
      std::fill(to, to + l.lead(), 0.0f);
      to += l.lead();
      for (int64_t r = 0; r < l.h; ++r, from += l.w, to += l.pitch()) {
        std::copy(from, from + l.w, to);
        std::fill(to + l.w, to + l.pitch(), 0.0f);
      }
      std::fill(to, y + (p + 1) * l.stride(), 0.0f);
    }
  });
}

ImageFromPlanes::ImageFromPlanes(const ort::Info& info) : layout_(layout_of(info)) {}

void ImageFromPlanes::compute(const ort::Context& context) const {
  const ort::Tensor x = context.input(0, kOrtFloat, "the planes");
  const PlaneLayout l = layout_;
  require(x.dims.size() == 4 && x.dims[2] == 1 && x.dims[3] == l.stride(),
          [&] { return text("the planes have a wrong shape, expected (batch, channels, 1, ", l.stride(), ")"); });
  float* y = context.output({x.dims[0], x.dims[1], l.h, l.w});
  parallel_ranges(context, split_into(kPlaneTasks, x.dims[0] * x.dims[1]), [&](int64_t first, int64_t end) {
    for (int64_t p = first; p < end; ++p) {
      const float* from = x.floats() + p * l.stride() + l.lead();
      float* to = y + p * l.h * l.w;
      for (int64_t r = 0; r < l.h; ++r) std::copy(from + r * l.pitch(), from + r * l.pitch() + l.w, to + r * l.w);
    }
  });
}

}  // namespace elsa
