// Tiles of positions and parts of the rows, in tasks for all threads.
#include "conv.h"

#include <algorithm>

namespace elsa {
namespace {

constexpr size_t kResidual = 3;

}  // namespace

NestedConv::NestedConv(const ort::Info& info) : conv_(info, 4), finish_(info, 2, conv_.out_channels) {}

void NestedConv::compute(const ort::Context& context) const {
  const Window& window = conv_.window;
  const ort::Tensor x = context.input(0, kOrtFloat, "the input");
  require_planes(x, conv_.in_channels, window.in.stride(), "the input");
  const int64_t level = context.level(1, finish_.levels());
  conv_.validate(level);
  const int64_t batch = x.dims[0], y_stride = window.out.stride();
  const std::vector<int64_t> dims{batch, conv_.out_channels, 1, y_stride};
  const float* residual = residual_of(context, kResidual, dims);
  float* y = context.output(dims);
  if (batch == 0) return;

  const KernelTable& table = kernels();
  const int64_t lines = window.out.vectors(), most = conv_.tile_lines(level, table);
  const int64_t tiles = (lines + most - 1) / most;
  const int64_t share = conv_.rows_of_group();
  // Enough tasks for every thread, but not fewer than 32 rows in one: its pixels are fetched once for all of them.
  const int64_t wanted = std::clamp<int64_t>(8 / std::max<int64_t>(1, tiles), 1, std::max<int64_t>(1, share / 32));
  const int64_t part_rows = round_up((share + wanted - 1) / wanted, 4);
  const int64_t parts = (share + part_rows - 1) / part_rows;

  for (int64_t n = 0; n < batch; ++n) {
    const float* image = conv_.prepared(context, table, x.floats() + n * conv_.in_channels * window.in.stride());
    float* planes = y + n * conv_.out_channels * y_stride;
    const SparseConv::Target target{planes + window.out.lead(), 0, y_stride, true};
    Epilogue finish = finish_.at(level);
    if (residual) finish.residual = residual + (target.y - y);
    context.parallel(tiles * conv_.groups * parts, [&](int64_t task) {
      const int64_t part = task % parts, group = task / parts % conv_.groups, tile = task / parts / conv_.groups;
      const int64_t line = lines * tile / tiles, line_end = lines * (tile + 1) / tiles;
      const int64_t row = group * share + part * part_rows, row_end = std::min(row + part_rows, (group + 1) * share);
      conv_.tile(table, level, image, line, line_end, row, row_end, finish, target);
      for (int64_t r = row; r < row_end; ++r) {
        if (line == 0) zero_head(planes + r * y_stride, window.out);
        if (line_end == lines) zero_tail(planes + r * y_stride, window.out);
      }
    });
  }
}

}  // namespace elsa
