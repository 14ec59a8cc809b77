// Copies between NCHW and planes.
#include "planes.h"

#include <algorithm>

#include "split.h"
#include "window.h"

namespace elsa {
namespace {

void convert(const float* from, int64_t count, float* to) { std::copy(from, from + count, to); }
void convert(const float* from, int64_t count, Half* to) { halves().narrow(from, count, to); }
void convert(const Half* from, int64_t count, float* to) { halves().widen(from, count, to); }

}  // namespace

template <typename Unit>
PlanesFromImage<Unit>::PlanesFromImage(const ort::Info& info) : layout_(layout_of(info)) {
  UnitOf<Unit>::table();  // refuses a processor that has none, when the session is made
}

template <typename Unit>
void PlanesFromImage<Unit>::compute(const ort::Context& context) const {
  const ort::Tensor x = context.input(0, kOrtFloat, "the image");
  const PlaneLayout l = layout_;
  require(x.dims.size() == 4 && x.dims[2] == l.h && x.dims[3] == l.w,
          [&] { return text("the image has a wrong shape, expected (batch, channels, ", l.h, ", ", l.w, ")"); });
  Unit* y = static_cast<Unit*>(context.raw_output({x.dims[0], x.dims[1], 1, l.stride()}));
  parallel_ranges(context, split_into(kPlaneTasks, x.dims[0] * x.dims[1]), [&](int64_t first, int64_t end) {
    for (int64_t p = first; p < end; ++p) {
      const float* from = x.floats() + p * l.h * l.w;
      Unit* to = y + p * l.stride();
      std::fill(to, to + l.lead(), Unit{});
      to += l.lead();
      for (int64_t r = 0; r < l.h; ++r, from += l.w, to += l.pitch()) {
        convert(from, l.w, to);
        std::fill(to + l.w, to + l.pitch(), Unit{});
      }
      std::fill(to, y + (p + 1) * l.stride(), Unit{});
    }
  });
}

template <typename Unit>
ImageFromPlanes<Unit>::ImageFromPlanes(const ort::Info& info) : layout_(layout_of(info)) {}

template <typename Unit>
void ImageFromPlanes<Unit>::compute(const ort::Context& context) const {
  const ort::Tensor x = context.input(0, UnitOf<Unit>::kType, "the planes");
  const PlaneLayout l = layout_;
  require(x.dims.size() == 4 && x.dims[2] == 1 && x.dims[3] == l.stride(),
          [&] { return text("the planes have a wrong shape, expected (batch, channels, 1, ", l.stride(), ")"); });
  float* y = context.output({x.dims[0], x.dims[1], l.h, l.w});
  parallel_ranges(context, split_into(kPlaneTasks, x.dims[0] * x.dims[1]), [&](int64_t first, int64_t end) {
    for (int64_t p = first; p < end; ++p) {
      const Unit* from = units<Unit>(x) + p * l.stride() + l.lead();
      float* to = y + p * l.h * l.w;
      for (int64_t r = 0; r < l.h; ++r) convert(from + r * l.pitch(), l.w, to + r * l.w);
    }
  });
}

template class PlanesFromImage<float>;
template class PlanesFromImage<Half>;
template class ImageFromPlanes<float>;
template class ImageFromPlanes<Half>;

}  // namespace elsa
