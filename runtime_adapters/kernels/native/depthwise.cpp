// Channels are independent: each is a task's own, from the copy into phases to the finished plane.
#include "depthwise.h"

#include <algorithm>

#include "scratch.h"
#include "sparse_conv.h"
#include "split.h"

namespace elsa {
namespace {

constexpr size_t kResidual = 3;

// Each worker's.
thread_local Scratch phase_scratch;

}  // namespace

// Rows need their borders in the input planes, as zeros.
template <typename Unit>
typename DenseDepthwise<Unit>::Form DenseDepthwise<Unit>::form_of(const Window& w) {
  if (w.direct()) return Form::kLines;
  const int64_t right = (w.out.w - 1) * w.sw + (w.kw - 1) * w.dw - w.pad_left - w.in.w + 1;
  const int64_t below = (w.out.h - 1) * w.sh + (w.kh - 1) * w.dh - w.pad_top - w.in.h + 1;
  const bool bordered = std::max(w.pad_left, right) <= w.in.gap && std::max(w.pad_top, below) <= w.in.rows_around();
  const bool square = w.kh == w.kw && (w.kw == 3 || w.kw == 5 || w.kw == 7);
  const bool rows = UnitOf<Unit>::table().strided && w.sw == 2 && w.dw == 1 && square && bordered;
  return rows ? Form::kRows : Form::kWhole;
}

template <typename Unit>
DenseDepthwise<Unit>::DenseDepthwise(const ort::Info& info, size_t weights, int64_t channel_count, int64_t levels,
                                     const std::string& prefix)
    : window(info, prefix),
      channels(channel_count),
      weight_(info.constant(weights, UnitOf<Unit>::kType, "the depthwise weights")),
      form_(form_of(window)),
      offsets_(tap_distances(window.tap_offsets(), 1, 0)),
      mask_(window.output_mask()) {
  require(weight_.dims.size() == 3 && (weight_.dims[0] == 1 || weight_.dims[0] == levels) &&
              weight_.dims[1] == channels && weight_.dims[2] == window.taps(),
          "depthwise weights must be (levels or 1, channels, taps)");
}

template <typename Unit>
int64_t DenseDepthwise<Unit>::steps() const {
  return form_ == Form::kLines ? window.out.vectors() : form_ == Form::kRows ? window.out.h : 1;
}

template <typename Unit>
int64_t DenseDepthwise<Unit>::steps_within(int64_t positions) const {
  const int64_t pitch = window.in.pitch();
  if (positions >= window.in.body()) return steps();
  if (form_ == Form::kWhole) return 0;
  // The last row and column that a step reads, from the position that it computes.
  const int64_t down = (window.kh - 1) * window.dh - window.pad_top,
                right = (window.kw - 1) * window.dw - window.pad_left;
  if (form_ == Form::kLines) return std::max<int64_t>(0, (positions - down * pitch - right) / kLine);
  return std::clamp<int64_t>((positions / pitch - 1 - down + window.sh) / window.sh, 0, steps());
}

template <typename Unit>
Unit* DenseDepthwise<Unit>::phases() const {
  return form_ == Form::kWhole ? phase_scratch.of<Unit>(static_cast<size_t>(window.scratch_stride())) : nullptr;
}

template <typename Unit>
void DenseDepthwise<Unit>::compute(const PlaneTable<Unit>& table, int64_t level, int64_t c, const Unit* plane,
                                   Unit* phases, const EpilogueOf<Unit>& finish, int64_t begin, int64_t end,
                                   Unit* to) const {
  const Unit* weight = units<Unit>(weight_) + ((weight_.dims[0] == 1 ? 0 : level * channels) + c) * window.taps();
  const bool last = end == steps();
  if (begin == 0) zero_head(to, window.out);
  if (last) zero_tail(to, window.out);
  if (form_ == Form::kRows) {
    StridedTileOf<Unit> t;
    t.x_pitch = window.in.pitch() * window.dh;
    t.x_step = window.in.pitch() * window.sh;
    t.x = plane + window.in.lead() - window.pad_top * window.in.pitch() - window.pad_left + begin * t.x_step;
    t.weight = weight;
    t.side = static_cast<int32_t>(window.kw);
    t.rows = end - begin, t.width = window.out.w;
    t.y_pitch = window.out.pitch();
    t.y = to + window.out.lead() + begin * t.y_pitch;
    t.finish = finish;
    t.finish.scale += c, t.finish.bias += c;
    if (t.finish.residual) t.finish.residual += begin * t.y_pitch;
    if (last)
      std::fill(to + window.out.lead() + window.out.body(), to + window.out.lead() + window.out.vectors() * kLine,
                Unit{});
    return table.strided(t);
  }
  if (phases) {
    window.fill(table, plane, phases);
    plane = phases;
  }
  const int64_t at = form_ == Form::kLines ? begin * kLine : 0;
  DepthwiseTileOf<Unit> t;
  t.x = plane + window.origin() + at;
  t.offset = offsets_.data();
  t.weight = weight;
  t.taps = static_cast<int32_t>(window.taps());
  t.side = form_ == Form::kLines && window.kh == window.kw ? static_cast<int32_t>(window.kw) : 0;
  t.step = static_cast<int32_t>(window.dw);
  t.lines = form_ == Form::kLines ? end - begin : window.out.vectors();
  t.y = to + window.out.lead() + at;
  t.finish = finish;
  t.finish.scale += c, t.finish.bias += c;
  if (t.finish.residual) t.finish.residual += at;
  if (!mask_.empty()) t.finish.mask = mask_.data() + at;
  table.depthwise(t);
}

template <typename Unit>
NestedDepthwise<Unit>::NestedDepthwise(const ort::Info& info)
    : channels_(info.integer("in_channels", 1, 1 << 20)),
      finish_(info, 2, channels_),
      conv_(info, 4, channels_, finish_.levels(), "") {}

template <typename Unit>
void NestedDepthwise<Unit>::compute(const ort::Context& context) const {
  const ort::Tensor x = context.input(0, kOutput, "the input");
  const Window& window = conv_.window;
  require_planes(x, channels_, window.in.stride(), "the input");
  const int64_t level = context.level(1, finish_.levels());
  const ort::Dims dims{x.dims[0], channels_, 1, window.out.stride()};
  const Unit* residual = residual_of<Unit>(context, kResidual, dims);
  Unit* y = static_cast<Unit*>(context.raw_output(dims));
  const int64_t planes = x.dims[0] * channels_;
  if (planes == 0) return;

  const PlaneTable<Unit>& table = UnitOf<Unit>::table();
  parallel_ranges(context, split_into(kPlaneTasks, planes), [&](int64_t first, int64_t last) {
    Unit* phases = conv_.phases();
    for (int64_t p = first; p < last; ++p) {
      Unit* to = y + p * window.out.stride();
      EpilogueOf<Unit> finish = finish_.at(level);
      if (residual) finish.residual = residual + (to - y) + window.out.lead();
      conv_.compute(table, level, p % channels_, units<Unit>(x) + p * window.in.stride(), phases, finish, 0,
                    conv_.steps(), to);
    }
  });
}

template class DenseDepthwise<float>;
template class DenseDepthwise<Half>;
template class NestedDepthwise<float>;
template class NestedDepthwise<Half>;

}  // namespace elsa
