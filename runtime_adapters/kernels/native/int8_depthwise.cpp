// Quads of channels are independent: each is a task's own, from the copy into phases to the finished plane.
#include "int8_depthwise.h"

#include <cstring>

#include "int8_planes.h"
#include "scratch.h"
#include "split.h"

namespace elsa {
namespace {

constexpr size_t kResidual = 4, kWeights = 5;
constexpr int64_t kQuadBytes = 4;

thread_local Scratch phase_scratch;  // of each worker

std::vector<int32_t> in_bytes(const std::vector<int64_t>& pixels) {
  std::vector<int32_t> bytes;
  for (int64_t offset : pixels) bytes.push_back(static_cast<int32_t>(offset * kQuadBytes));
  return bytes;
}

}  // namespace

Int8Depthwise::Int8Depthwise(const ort::Info& info)
    : window_(info),
      quads_(info.integer("in_quads", 1, 1 << 18)),
      finish_(info, 2, 3, quads_, activation8_of(info)),
      taps_(grouped(kernels8().taps, in_bytes(window_.tap_offsets()))),
      mask_(window_.output_mask()) {
  const ort::Tensor weight = info.constant(kWeights, kOrtUint8, "the depthwise weights");
  const auto& dims = weight.dims;
  const int64_t tap_fours = (window_.taps() + 3) / 4, plane_bytes = tap_fours * 16;
  require(dims.size() == 5 && (dims[0] == 1 || dims[0] == finish_.levels()) && dims[1] == quads_ &&
              dims[2] == tap_fours && dims[3] == 4 && dims[4] == 4,
          "depthwise weights must be (levels or 1, quads, tap quads, 4, 4)");
  weight_levels_ = dims[0];
  const auto* codes = static_cast<const int8_t*>(weight.data);
  starts_.assign(static_cast<size_t>(weight_levels_ * quads_ * 4), 0);
  for (int64_t i = 0; i < weight.count(); ++i) {
    require(codes[i] != -128, "a depthwise weight has the code -128");
    const int64_t channel = i / 4 % 4, plane = i / plane_bytes;
    if (kernels8().signed_pixels) starts_[static_cast<size_t>(plane * 4 + channel)] += 128 * codes[i];
  }
  weights_ = codes;
  if (taps_.form == TapForm::kFours) return;
  ordered_.reserve(static_cast<size_t>(weight_levels_ * quads_ * taps_.groups * taps_.codes));
  for (int64_t plane = 0; plane < weight_levels_ * quads_; ++plane)
    for (int32_t from : taps_.from) ordered_.push_back(from < 0 ? int8_t{0} : codes[plane * plane_bytes + from]);
  weights_ = ordered_.data();
}

void Int8Depthwise::compute(const ort::Context& context) const {
  int64_t batch = 0;
  const uint8_t* x = planes8_of(context, quads_, window_.in.stride(), "the input", &batch);
  const int64_t level = context.level(1, finish_.levels());
  const ort::Dims dims{batch, quads_, window_.out.stride(), kQuadBytes};
  const uint8_t* residual = residual8_of(context, kResidual, dims);
  uint8_t* y = static_cast<uint8_t*>(context.raw_output(dims));
  const int64_t planes = batch * quads_;
  if (planes == 0) return;

  const Kernels8& table = kernels8();
  const int64_t weight_level = weight_levels_ == 1 ? 0 : level;
  float padding;
  std::memset(&padding, held(finish_.input_zero(level)), sizeof padding);
  parallel_ranges(context, split_into(kPlaneTasks, planes), [&](int64_t first, int64_t end) {
    float* phases = window_.direct() ? nullptr : phase_scratch.floats(static_cast<size_t>(window_.scratch_stride()));
    for (int64_t p = first; p < end; ++p) {
      const int64_t quad = p % quads_;
      const auto* plane = reinterpret_cast<const float*>(x) + p * window_.in.stride();
      if (phases) window_.fill(kernels(), plane, phases, padding);
      uint8_t* to = y + p * window_.out.stride() * kQuadBytes;
      Depthwise8 t;
      t.x = reinterpret_cast<const uint8_t*>((phases ? phases : plane) + window_.origin());
      t.form = taps_.form, t.offset = taps_.offsets.data();
      t.groups = static_cast<int32_t>(taps_.groups);
      t.weight = weights_ + (weight_level * quads_ + quad) * taps_.groups * taps_.codes;
      t.lines = window_.out.vectors();
      t.start = starts_.data() + (weight_level * quads_ + quad) * 4;
      t.y = to + window_.out.lead() * kQuadBytes;
      t.finish = finish_.at(level);
      t.finish.scale += 4 * quad, t.finish.bias += 4 * quad;
      if (residual) t.finish.residual = residual + (t.y - y);
      if (!mask_.empty()) t.finish.mask = mask_.data();
      table.depthwise(t);
      zero_borders8(to, window_.out, t.finish.zero, true, true);
    }
  });
}

}  // namespace elsa
