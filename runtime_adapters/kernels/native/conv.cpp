// Tiles of positions and parts of the rows, in tasks for all threads.
#include "conv.h"

#include "split.h"

namespace elsa {
namespace {

constexpr size_t kResidual = 3;

}  // namespace

template <typename Unit>
NestedConv<Unit>::NestedConv(const ort::Info& info) : conv_(info, 4), finish_(info, 2, conv_.out_channels) {}

template <typename Unit>
void NestedConv<Unit>::compute(const ort::Context& context) const {
  const Window& window = conv_.window;
  const ort::Tensor x = context.input(0, kOutput, "the input");
  require_planes(x, conv_.in_channels, window.in.stride(), "the input");
  const int64_t level = context.level(1, finish_.levels());
  conv_.validate(level);
  const int64_t batch = x.dims[0], y_stride = window.out.stride();
  const ort::Dims dims{batch, conv_.out_channels, 1, y_stride};
  const Unit* residual = residual_of<Unit>(context, kResidual, dims);
  Unit* y = static_cast<Unit*>(context.raw_output(dims));
  if (batch == 0) return;

  const PlaneTable<Unit>& table = UnitOf<Unit>::table();
  const int64_t lines = window.out.vectors(), share = conv_.rows_of_group();
  const int64_t tiles = divide_up(lines, conv_.tile_lines(level, table));
  const Split split = split_rows(share, tiles);
  const int64_t parts = split.parts();

  for (int64_t n = 0; n < batch; ++n) {
    const Unit* image = conv_.prepared(context, table, units<Unit>(x) + n * conv_.in_channels * window.in.stride());
    Unit* planes = y + n * conv_.out_channels * y_stride;
    const typename SparseConv<Unit>::Target target{planes + window.out.lead(), 0, y_stride, true};
    EpilogueOf<Unit> finish = finish_.at(level);
    if (residual) finish.residual = residual + (target.y - y);
    context.parallel(tiles * conv_.groups * parts, [&](int64_t task) {
      const int64_t tile = task / parts / conv_.groups, first_row = task / parts % conv_.groups * share;
      const Range part = split.part(task % parts), rows{first_row + part.begin, first_row + part.end};
      const Range here{lines * tile / tiles, lines * (tile + 1) / tiles};
      conv_.tile(table, level, image, here, rows, finish, target);
      for (int64_t r = rows.begin; r < rows.end; ++r) {
        if (here.begin == 0) zero_head(planes + r * y_stride, window.out);
        if (here.end == lines) zero_tail(planes + r * y_stride, window.out);
      }
    });
  }
}

template class NestedConv<float>;
template class NestedConv<Half>;

}  // namespace elsa
