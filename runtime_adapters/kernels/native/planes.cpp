// Copies between NCHW and planes.
#include "planes.h"

#include <algorithm>

namespace elsa {
namespace {

PlaneLayout layout_of(const ort::Info& info) {
  return {info.integer("h", 1, 1 << 14), info.integer("w", 1, 1 << 14), info.integer("gap", 0, 256)};
}

// body(first, end) over `count` planes in at most 16 parts.
template <typename Body>
void in_parts(const ort::Context& context, int64_t count, Body&& body) {
  const int64_t chunk = (count + 15) / 16;
  if (count > 0)
    context.parallel((count + chunk - 1) / chunk,
                     [&](int64_t i) { body(i * chunk, std::min((i + 1) * chunk, count)); });
}

}  // namespace

PlanesFromImage::PlanesFromImage(const ort::Info& info) : layout_(layout_of(info)) {}

void PlanesFromImage::compute(const ort::Context& context) const {
  const ort::Tensor x = context.input(0, kOrtFloat, "the image");
  const PlaneLayout l = layout_;
  ort::require(x.dims.size() == 4 && x.dims[2] == l.h && x.dims[3] == l.w,
               "the image has a wrong shape, expected (batch, channels, " + std::to_string(l.h) + ", " +
                   std::to_string(l.w) + ")");
  float* y = context.output({x.dims[0], x.dims[1], 1, l.stride()});
  in_parts(context, x.dims[0] * x.dims[1], [&](int64_t first, int64_t end) {
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
  ort::require(x.dims.size() == 4 && x.dims[2] == 1 && x.dims[3] == l.stride(),
               "the planes have a wrong shape, expected (batch, channels, 1, " + std::to_string(l.stride()) + ")");
  float* y = context.output({x.dims[0], x.dims[1], l.h, l.w});
  in_parts(context, x.dims[0] * x.dims[1], [&](int64_t first, int64_t end) {
    for (int64_t p = first; p < end; ++p) {
      const float* from = x.floats() + p * l.stride() + l.lead();
      float* to = y + p * l.h * l.w;
      for (int64_t r = 0; r < l.h; ++r) std::copy(from + r * l.pitch(), from + r * l.pitch() + l.w, to + r * l.w);
    }
  });
}

}  // namespace elsa
