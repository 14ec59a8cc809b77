// Tiles of positions and parts of the quads of output channels, in tasks for all threads.
#include "int8_conv.h"

#include <limits>

#include "int8_planes.h"
#include "split.h"

namespace elsa {
namespace {

constexpr size_t kResidual = 4, kFirstSegment = 5;
constexpr int64_t kQuadBytes = 4;

}  // namespace

Int8Conv::Int8Conv(const ort::Info& info)
    : window_(info),
      in_quads_(info.integer("in_quads", 1, 1 << 18)),
      out_channels_(info.integer("out_channels", 1, 1 << 20)),
      weights_(info, kFirstSegment, out_channels_, in_quads_ * window_.taps()),
      finish_(info, 2, 3, (out_channels_ + 3) / 4, activation8_of(info)),
      mask_(window_.output_mask()) {
  const auto taps = window_.tap_offsets();
  for (int64_t q = 0; q < in_quads_; ++q)
    for (int64_t tap : taps) {
      const int64_t distance = (q * quad_stride() + tap) * kQuadBytes;
      require(distance <= std::numeric_limits<int32_t>::max(), "the input planes are too large");
      offsets_.push_back(static_cast<int32_t>(distance));
    }
}

int64_t Int8Conv::quad_stride() const { return window_.direct() ? window_.in.stride() : window_.scratch_stride(); }

void Int8Conv::compute(const ort::Context& context) const {
  int64_t batch = 0;
  const uint8_t* x = planes8_of(context, in_quads_, window_.in.stride(), "the input", &batch);
  const int64_t level = context.level(1, finish_.levels());
  weights_.validate(level);
  const int64_t quads = (out_channels_ + 3) / 4, y_stride = window_.out.stride() * kQuadBytes;
  const ort::Dims dims{batch, quads, window_.out.stride(), kQuadBytes};
  const uint8_t* residual = residual8_of(context, kResidual, dims);
  uint8_t* y = static_cast<uint8_t*>(context.raw_output(dims));
  if (batch == 0) return;

  const Kernels8& table = kernels8();
  const int64_t lines = window_.out.vectors(), most = table.max_lines;
  const int64_t tiles = (lines + most - 1) / most;
  const Split parts = split_rows(quads * kQuadBytes, tiles);
  const auto& sweeps = weights_.sweeps(level);
  const uint8_t zero = finish_.input_zero(level);

  for (int64_t n = 0; n < batch; ++n) {
    const uint8_t* image = x + n * in_quads_ * window_.in.stride() * kQuadBytes;
    if (!window_.direct()) image = phases8(context, window_, image, in_quads_, zero);
    uint8_t* planes = y + n * quads * y_stride;
    context.parallel(tiles * parts.parts(), [&](int64_t task) {
      const int64_t tile = task / parts.parts();
      const Range rows = parts.part(task % parts.parts());
      const int64_t line = lines * tile / tiles, line_end = lines * (tile + 1) / tiles;
      const int64_t quad = rows.begin / 4, quad_end = rows.end / 4;
      Tile8 t;
      t.x = image + (window_.origin() + line * kLine) * kQuadBytes;
      t.offset = offsets_.data();
      t.sweep = sweeps.data(), t.sweeps = static_cast<int32_t>(sweeps.size());
      t.quad_begin = static_cast<int32_t>(quad), t.quad_end = static_cast<int32_t>(quad_end);
      t.row_count = static_cast<int32_t>(out_channels_);
      t.lines = static_cast<int32_t>(line_end - line);
      t.start = weights_.start(level);
      t.y = planes + quad * y_stride + (window_.out.lead() + line * kLine) * kQuadBytes;
      t.y_stride = y_stride;
      t.finish = finish_.at(level);
      if (residual) t.finish.residual = residual + (t.y - y);
      if (!mask_.empty()) t.finish.mask = mask_.data() + line * kLine;
      table.tile(t);
      for (int64_t q = quad; q < quad_end; ++q)
        zero_borders8(planes + q * y_stride, window_.out, t.finish.zero, line == 0, line_end == lines);
    });
  }
}

}  // namespace elsa
