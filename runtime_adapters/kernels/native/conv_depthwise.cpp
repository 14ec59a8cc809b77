// Each task: some channels of the convolution into memory of its thread, then their depthwise convolution.
#include "conv_depthwise.h"

#include <algorithm>

#include "scratch.h"
#include "split.h"

namespace elsa {
namespace {

constexpr const char* kPrefix = "depthwise_";
// Rows of one task between the two: a third of a first-level cache.
constexpr int64_t kNearFloats = 4 * 1024;
// Where whole planes must be there first: a third of a second-level cache.
constexpr int64_t kWholeFloats = 48 * 1024;
constexpr int64_t kMostRows = 32;
// Floats of a channel, for one call of its depthwise kernel.
constexpr int64_t kStepFloats = 448;

// Each worker's.
thread_local Scratch between_scratch;

}  // namespace

template <typename Unit>
NestedConvDepthwise<Unit>::NestedConvDepthwise(const ort::Info& info)
    : conv_(info, 5),
      finish_(info, 2, conv_.out_channels),
      depthwise_finish_(info, 3, conv_.out_channels, kPrefix),
      depthwise_(info, 4, conv_.out_channels, finish_.levels(), kPrefix) {
  const PlaneLayout &made = conv_.window.out, &read = depthwise_.window.in;
  require(made.h == read.h && made.w == read.w && made.gap == read.gap, "the two convolutions do not fit together");
  require(finish_.levels() == depthwise_finish_.levels(), "the tables must have the same levels");
}

template <typename Unit>
void NestedConvDepthwise<Unit>::compute(const ort::Context& context) const {
  const Window& window = conv_.window;
  const ort::Tensor x = context.input(0, kOutput, "the input");
  require_planes(x, conv_.in_channels, window.in.stride(), "the input");
  const int64_t level = context.level(1, finish_.levels());
  conv_.validate(level);
  const int64_t batch = x.dims[0], y_stride = depthwise_.window.out.stride();
  Unit* y = static_cast<Unit*>(context.raw_output({batch, conv_.out_channels, 1, y_stride}));
  if (batch == 0) return;

  const PlaneTable<Unit>& table = UnitOf<Unit>::table();
  const int64_t lines = window.out.vectors(), most = conv_.tile_lines(level, table);
  const int64_t tiles = divide_up(lines, most);
  const int64_t share = conv_.rows_of_group(), between = window.out.stride();
  // What a row has in use at a time: a tile, and what the depthwise convolution still reads above it.
  const bool streams = depthwise_.steps() > 1;
  const int64_t above = depthwise_.window.kh * depthwise_.window.dh * window.out.pitch();
  const int64_t in_use = std::min(between, most * kLine + above);
  const int64_t fitting = streams ? kNearFloats / in_use : kWholeFloats / between;
  const Split split{share, std::clamp(fitting / kRowUnit * kRowUnit, kRowUnit, kMostRows)};
  const int64_t parts = split.parts();
  const int64_t least_steps = std::max<int64_t>(1, kStepFloats * depthwise_.steps() / depthwise_.window.out.body());

  for (int64_t n = 0; n < batch; ++n) {
    const Unit* image = conv_.prepared(context, table, units<Unit>(x) + n * conv_.in_channels * window.in.stride());
    Unit* planes = y + n * conv_.out_channels * y_stride;
    context.parallel(conv_.groups * parts, [&](int64_t task) {
      const int64_t first_row = task / parts * share;
      const Range part = split.part(task % parts), rows{first_row + part.begin, first_row + part.end};
      Unit* near = between_scratch.of<Unit>(static_cast<size_t>(split.size * between));
      const typename SparseConv<Unit>::Target target{near + window.out.lead(), rows.begin, between, false};
      for (int64_t r = 0; r < rows.end - rows.begin; ++r) {
        zero_head(near + r * between, window.out);
        zero_tail(near + r * between, window.out);
      }
      Unit* phases = depthwise_.phases();
      int64_t step = 0;
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const Range here{lines * tile / tiles, lines * (tile + 1) / tiles};
        conv_.tile(table, level, image, here, rows, finish_.at(level), target);
        const int64_t step_end = depthwise_.steps_within(here.end * kLine);
        if (tile + 1 < tiles && step_end - step < least_steps) continue;
        for (int64_t r = rows.begin; r < rows.end; ++r)
          depthwise_.compute(table, level, r, near + (r - rows.begin) * between, phases, depthwise_finish_.at(level),
                             step, step_end, planes + r * y_stride);
        step = step_end;
      }
    });
  }
}

template class NestedConvDepthwise<float>;
template class NestedConvDepthwise<Half>;

}  // namespace elsa
