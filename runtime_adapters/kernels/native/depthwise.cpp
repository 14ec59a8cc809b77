// Channels are independent: each is a task's own, from the copy into phases to the finished plane.
#include "depthwise.h"

#include <algorithm>

#include "scratch.h"
#include "sparse_conv.h"

namespace elsa {
namespace {

constexpr size_t kResidual = 3;

thread_local Scratch phase_scratch;  // of each worker

}  // namespace

DenseDepthwise::DenseDepthwise(const ort::Info& info, size_t weights, int64_t channel_count, int64_t levels, const std::string& prefix)
    : window(info, prefix),
      channels(channel_count),
      weight_(info.constant(weights, kOrtFloat, "the depthwise weights")),
      offsets_(tap_distances(window.tap_offsets(), 1, 0)),
      mask_(window.output_mask()) {
  ort::require(weight_.dims.size() == 3 && (weight_.dims[0] == 1 || weight_.dims[0] == levels) && weight_.dims[1] == channels &&
                   weight_.dims[2] == window.taps(),
               "depthwise weights must be (levels or 1, channels, taps)");
}

float* DenseDepthwise::phases() const {
  if (window.direct()) return nullptr;
  float* phases = phase_scratch.floats(static_cast<size_t>(window.scratch_stride()));
  window.clear(phases, 1);
  return phases;
}

void DenseDepthwise::channel(const KernelTable& table, int64_t level, int64_t c, const float* plane, float* phases,
                             const Epilogue& finish, float* to) const {
  if (phases) {
    window.fill(table, plane, phases);
    plane = phases;
  }
  DepthwiseTile t;
  t.x = plane + window.origin();
  t.offset = offsets_.data();
  t.weight = weight_.floats() + ((weight_.dims[0] == 1 ? 0 : level * channels) + c) * window.taps();
  t.taps = static_cast<int32_t>(window.taps());
  t.lines = window.out.vectors();
  t.y = to + window.out.lead();
  t.finish = finish;
  t.finish.scale += c, t.finish.bias += c;
  if (!mask_.empty()) t.finish.mask = mask_.data();
  table.depthwise(t);
  zero_head(to, window.out);
  zero_tail(to, window.out);
}

NestedDepthwise::NestedDepthwise(const ort::Info& info)
    : channels_(info.integer("in_channels", 1, 1 << 20)), finish_(info, 2, channels_), conv_(info, 4, channels_, finish_.levels, "") {}

void NestedDepthwise::compute(const ort::Context& context) const {
  const ort::Tensor x = context.input(0, kOrtFloat, "the input");
  const Window& window = conv_.window;
  require_planes(x, channels_, window.in.stride(), "the input");
  const int64_t level = context.level(1, finish_.levels);
  const std::vector<int64_t> dims{x.dims[0], channels_, 1, window.out.stride()};
  const float* residual = residual_of(context, kResidual, dims);
  float* y = context.output(dims);
  const int64_t planes = x.dims[0] * channels_;
  if (planes == 0) return;

  const KernelTable& table = kernels();
  const int64_t chunk = (planes + 15) / 16;
  context.parallel((planes + chunk - 1) / chunk, [&](int64_t i) {
    float* phases = conv_.phases();
    for (int64_t p = i * chunk; p < std::min((i + 1) * chunk, planes); ++p) {
      float* to = y + p * window.out.stride();
      Epilogue finish = finish_.at(level);
      if (residual) finish.residual = residual + (to - y) + window.out.lead();
      conv_.channel(table, level, p % channels_, x.floats() + p * window.in.stride(), phases, finish, to);
    }
  });
}

}  // namespace elsa
