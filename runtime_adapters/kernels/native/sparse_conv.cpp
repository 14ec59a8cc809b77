// Blocks of columns one after the other, sums of unfinished rows in memory of the thread.
#include "sparse_conv.h"

#include <algorithm>
#include <limits>

#include "scratch.h"

namespace elsa {
namespace {

thread_local Scratch image_scratch;    // of the calling thread, read by all
thread_local Scratch partial_scratch;  // of each worker

}  // namespace

std::vector<int32_t> tap_distances(const std::vector<int64_t>& taps, int64_t channels, int64_t channel_stride) {
  std::vector<int32_t> distances;
  distances.reserve(static_cast<size_t>(channels) * taps.size());
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t tap : taps) {
      const int64_t distance = c * channel_stride + tap;
      ort::require(distance <= std::numeric_limits<int32_t>::max(), "the input planes are too large");
      distances.push_back(static_cast<int32_t>(distance));
    }
  return distances;
}

void require_planes(const ort::Tensor& t, int64_t channels, int64_t stride, const char* what) {
  ort::require(t.dims.size() == 4 && t.dims[1] == channels && t.dims[2] == 1 && t.dims[3] == stride,
               std::string(what) + " has a wrong shape, expected planes (batch, " + std::to_string(channels) + ", 1, " +
                   std::to_string(stride) + ")");
}

SparseConv::SparseConv(const ort::Info& info, size_t first_segment)
    : window(info),
      in_channels(info.integer("in_channels", 1, 1 << 20)),
      out_channels(info.integer("out_channels", 1, 1 << 20)),
      groups(info.integer("groups", 1, 1 << 20)),
      weights_(info, first_segment, out_channels, in_channels / groups * window.taps(), out_channels / groups),
      mask_(window.output_mask()) {
  ort::require(in_channels % groups == 0 && out_channels % groups == 0, "groups must divide the channels");
  offsets_ = tap_distances(window.tap_offsets(), in_channels / groups, channel_stride());
}

const float* SparseConv::prepared(const ort::Context& context, const KernelTable& table, const float* image) const {
  if (window.direct()) return image;
  const int64_t stride = window.scratch_stride();
  float* scratch = image_scratch.floats(static_cast<size_t>(in_channels * stride));
  const int64_t chunk = (in_channels + 7) / 8;
  context.parallel((in_channels + chunk - 1) / chunk, [&](int64_t i) {
    const int64_t first = i * chunk, end = std::min(first + chunk, in_channels);
    for (int64_t c = first; c < end; ++c) window.fill(table, image + c * window.in.stride(), scratch + c * stride);
  });
  return scratch;
}

void SparseConv::tile(const KernelTable& table, int64_t level, const float* prepared, int64_t line, int64_t line_end,
                      int64_t row, int64_t row_end, const Epilogue& finish, const Target& target) const {
  const auto& passes = weights_.passes(level);
  const int64_t width = (line_end - line) * kLine;
  SparseTile t;
  t.partial = passes.size() > 1 ? partial_scratch.floats(static_cast<size_t>((row_end - row + 4) * width)) : nullptr;
  t.partial_row = row;
  t.partial_stride = width;
  t.row_count = static_cast<int32_t>(row_end);
  t.y = target.y + line * kLine;
  t.y_row = target.first_row;
  t.y_stride = target.stride;
  t.far = target.far;
  t.finish = finish;
  if (t.finish.residual) t.finish.residual += line * kLine;
  if (!mask_.empty()) t.finish.mask = mask_.data() + line * kLine;
  t.x = prepared + row / rows_of_group() * (in_channels / groups) * channel_stride() + window.origin() + line * kLine;
  for (size_t i = 0; i < passes.size(); ++i) {
    const auto& pass = passes[i];
    const GroupRange range = groups_of(row, row_end, pass.block_rows);
    t.offset = offsets_.data() + static_cast<int64_t>(pass.block) * weights_.column_block();
    t.run = pass.runs.data();
    t.runs = static_cast<int32_t>(pass.runs.size());
    t.group_begin = range.begin, t.group_end = range.end;
    t.first = i == 0, t.last = i + 1 == passes.size();
    table.sparse(pass.block_rows, pass.value_type, static_cast<int>(line_end - line), t);
  }
}

}  // namespace elsa
