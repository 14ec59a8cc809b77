// Convolutions over planes: what is computed in which order, and on which thread.
#include "conv.h"

#include <algorithm>
#include <limits>

#include "scratch.h"

namespace elsa {
namespace {

constexpr size_t kResidual = 3;

thread_local Scratch image_scratch;    // of the calling thread, read by all
thread_local Scratch partial_scratch;  // of each worker

std::vector<int32_t> narrowed(const std::vector<int64_t>& taps, int64_t channels, int64_t channel_stride) {
  std::vector<int32_t> offsets;
  offsets.reserve(static_cast<size_t>(channels) * taps.size());
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t tap : taps) {
      const int64_t offset = c * channel_stride + tap;
      ort::require(offset <= std::numeric_limits<int32_t>::max(), "the input planes are too large");
      offsets.push_back(static_cast<int32_t>(offset));
    }
  return offsets;
}

void require_planes(const ort::Tensor& t, int64_t channels, int64_t stride, const char* what) {
  ort::require(t.dims.size() == 4 && t.dims[1] == channels && t.dims[2] == 1 && t.dims[3] == stride,
               std::string(what) + " has a wrong shape, expected planes (batch, " + std::to_string(channels) + ", 1, " + std::to_string(stride) + ")");
}

const float* residual_of(const ort::Context& context, const std::vector<int64_t>& dims) {
  if (!context.has_input(kResidual)) return nullptr;
  const ort::Tensor t = context.input(kResidual, kOrtFloat, "the residual");
  ort::require(t.dims == dims, "the residual must have the shape of the output");
  return t.floats();
}

}  // namespace

NestedConv::NestedConv(const ort::Info& info)
    : window_(info),
      in_channels_(info.integer("in_channels", 1, 1 << 20)),
      out_channels_(info.integer("out_channels", 1, 1 << 20)),
      groups_(info.integer("groups", 1, 1 << 20)),
      weights_(info, 4, out_channels_, in_channels_ / groups_ * window_.taps(), out_channels_ / groups_),
      finish_(info, 2, out_channels_),
      mask_(window_.output_mask()) {
  ort::require(in_channels_ % groups_ == 0 && out_channels_ % groups_ == 0, "groups must divide the channels");
  const int64_t stride = window_.direct() ? window_.in.stride() : window_.scratch_stride();
  offsets_ = narrowed(window_.tap_offsets(), in_channels_ / groups_, stride);
}

void NestedConv::compute(const ort::Context& context) const {
  const ort::Tensor x = context.input(0, kOrtFloat, "the input");
  require_planes(x, in_channels_, window_.in.stride(), "the input");
  const int64_t level = context.level(1, finish_.levels);
  const auto& passes = weights_.passes(level);
  const int64_t batch = x.dims[0];
  const std::vector<int64_t> dims{batch, out_channels_, 1, window_.out.stride()};
  const float* residual = residual_of(context, dims);
  float* y = context.output(dims);
  if (batch == 0) return;

  const KernelTable& table = kernels();
  const bool direct = window_.direct();
  const int64_t x_stride = direct ? window_.in.stride() : window_.scratch_stride();
  const int64_t y_stride = window_.out.stride(), lines = window_.out.vectors();
  const int64_t tiles = (lines + weights_.tile_lines(level, table) - 1) / weights_.tile_lines(level, table);
  const int64_t share = out_channels_ / groups_;  // rows of a convolution group
  // Enough tasks for every thread, but not fewer than 32 rows in one: its pixels are fetched once for all of them.
  const int64_t wanted = std::clamp<int64_t>(8 / std::max<int64_t>(1, tiles), 1, std::max<int64_t>(1, share / 32));
  const int64_t part_rows = round_up((share + wanted - 1) / wanted, 4);
  const int64_t parts = (share + part_rows - 1) / part_rows;

  float* scratch = direct ? nullptr : image_scratch.floats(static_cast<size_t>(in_channels_ * x_stride));
  if (scratch) window_.clear(scratch, in_channels_);
  for (int64_t n = 0; n < batch; ++n) {
    const float* image = x.floats() + n * in_channels_ * window_.in.stride();
    if (!direct) {
      const int64_t chunk = (in_channels_ + 7) / 8;
      context.parallel((in_channels_ + chunk - 1) / chunk, [&](int64_t i) {
        for (int64_t c = i * chunk; c < std::min((i + 1) * chunk, in_channels_); ++c)
          window_.fill(table, image + c * window_.in.stride(), scratch + c * x_stride);
      });
      image = scratch;
    }
    context.parallel(tiles * groups_ * parts, [&](int64_t task) {
      const int64_t part = task % parts, group = task / parts % groups_, tile = task / parts / groups_;
      const int64_t line = lines * tile / tiles, line_end = lines * (tile + 1) / tiles;
      const int64_t row = group * share + part * part_rows, row_end = std::min(row + part_rows, (group + 1) * share);
      const int64_t width = (line_end - line) * kLine;
      float* plane = y + n * out_channels_ * y_stride;

      SparseTile t;
      t.partial = passes.size() > 1 ? partial_scratch.floats(static_cast<size_t>((part_rows + 4) * width)) : nullptr;
      t.partial_row = row;
      t.partial_stride = width;
      t.row_count = static_cast<int32_t>(row_end);
      t.y = plane + window_.out.lead() + line * kLine;
      t.y_row = 0;
      t.y_stride = y_stride;
      t.finish = finish_.at(level);
      if (residual) t.finish.residual = residual + (t.y - y);
      if (!mask_.empty()) t.finish.mask = mask_.data() + line * kLine;
      const float* origin = image + group * (in_channels_ / groups_) * x_stride + window_.origin() + line * kLine;
      t.x = origin;
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
      for (int64_t r = row; r < row_end; ++r) {
        if (line == 0) zero_head(plane + r * y_stride, window_.out);
        if (line_end == lines) zero_tail(plane + r * y_stride, window_.out);
      }
    });
  }
}

NestedDepthwise::NestedDepthwise(const ort::Info& info)
    : window_(info),
      channels_(info.integer("in_channels", 1, 1 << 20)),
      finish_(info, 2, channels_),
      weight_(info.constant(4, kOrtFloat, "the weights")),
      offsets_(narrowed(window_.tap_offsets(), 1, 0)),
      mask_(window_.output_mask()) {
  ort::require(weight_.dims.size() == 3 && (weight_.dims[0] == 1 || weight_.dims[0] == finish_.levels) && weight_.dims[1] == channels_ &&
                   weight_.dims[2] == window_.taps(),
               "depthwise weights must be (levels or 1, channels, taps)");
}

void NestedDepthwise::compute(const ort::Context& context) const {
  const ort::Tensor x = context.input(0, kOrtFloat, "the input");
  require_planes(x, channels_, window_.in.stride(), "the input");
  const int64_t level = context.level(1, finish_.levels);
  const std::vector<int64_t> dims{x.dims[0], channels_, 1, window_.out.stride()};
  const float* residual = residual_of(context, dims);
  float* y = context.output(dims);
  const int64_t planes = x.dims[0] * channels_;
  if (planes == 0) return;

  const KernelTable& table = kernels();
  const float* weight = weight_.floats() + (weight_.dims[0] == 1 ? 0 : level * channels_ * window_.taps());
  const int64_t chunk = (planes + 15) / 16;
  context.parallel((planes + chunk - 1) / chunk, [&](int64_t i) {
    float* scratch = window_.direct() ? nullptr : partial_scratch.floats(static_cast<size_t>(window_.scratch_stride()));
    if (scratch) window_.clear(scratch, 1);
    for (int64_t p = i * chunk; p < std::min((i + 1) * chunk, planes); ++p) {
      const int64_t c = p % channels_;
      const float* plane = x.floats() + p * window_.in.stride();
      if (scratch) {
        window_.fill(table, plane, scratch);
        plane = scratch;
      }
      float* to = y + p * window_.out.stride();
      DepthwiseTile t;
      t.x = plane + window_.origin();
      t.offset = offsets_.data();
      t.weight = weight + c * window_.taps();
      t.taps = static_cast<int32_t>(window_.taps());
      t.lines = window_.out.vectors();
      t.y = to + window_.out.lead();
      t.finish = finish_.at(level);
      t.finish.scale += c, t.finish.bias += c;
      if (residual) t.finish.residual = residual + (t.y - y);
      if (!mask_.empty()) t.finish.mask = mask_.data();
      table.depthwise(t);
      zero_head(to, window_.out);
      zero_tail(to, window_.out);
    }
  });
}

}  // namespace elsa
