// A row at a time: borders and gaps keep the code of 0.
#include "int8_between.h"

#include <algorithm>
#include <cstring>

#include "scratch.h"
#include "split.h"

namespace elsa {
namespace {

constexpr int64_t kQuad = 4;

thread_local Scratch row_scratch;  // of each worker

}  // namespace

Int8Gate::Int8Gate(const ort::Info& info)
    : layout_(layout_of(info)), channels_(info.integer("channels", 1, 1 << 20)), from_(info, 2), to_(info, 4) {
  require(from_.levels() == to_.levels(), "both steps must be of the same levels");
}

void Int8Gate::compute(const ort::Context& context) const {
  const PlaneLayout l = layout_;
  const int64_t quads = divide_up(channels_, kQuad);
  int64_t batch = 0;
  const uint8_t* x = planes8_of(context, quads, l.stride(), "the planes", &batch);
  const int64_t level = context.level(1, from_.levels());
  const ort::Tensor gates = context.input(3, kOrtFloat, "the gates");
  require(gates.dims == ort::Dims{batch, channels_, 1, 1}, "there must be a gate for each channel of each image");
  uint8_t* y = static_cast<uint8_t*>(context.raw_output({batch, quads, l.stride(), kQuad}));
  const float inverse = 1.0f / to_.step(level);
  parallel_ranges(context, split_into(kPlaneTasks, batch * quads), [&](int64_t first, int64_t end) {
    float* near = row_scratch.floats(static_cast<size_t>(kQuad * l.w));
    float* row[kQuad];
    for (int64_t c = 0; c < kQuad; ++c) row[c] = near + c * l.w;
    for (int64_t p = first; p < end; ++p) {
      std::memset(y + p * l.stride() * kQuad, held(to_.zero_code(level)), static_cast<size_t>(l.stride() * kQuad));
      for (int64_t r = 0; r < l.h; ++r) {
        const int64_t at = (p * l.stride() + l.lead() + r * l.pitch()) * kQuad;
        kernels8().dequantize(x + at, l.w, from_.step(level), from_.zero(level), row);
        for (int64_t c = 0; c < kQuad; ++c) {
          const int64_t channel = p % quads * kQuad + c;
          const float gate = channel < channels_ ? gates.floats()[p / quads * channels_ + channel] : 0.0f;
          for (int64_t i = 0; i < l.w; ++i) row[c][i] *= gate;
        }
        kernels8().quantize(row, l.w, inverse, to_.zero(level), y + at);
      }
    }
  });
}

Int8Upsample::Int8Upsample(const ort::Info& info)
    : in_(layout_of(info, "in_")),
      out_(layout_of(info, "out_")),
      scale_h_(info.integer("scale_h", 1, PlaneLayout::kMostSide)),
      scale_w_(info.integer("scale_w", 1, PlaneLayout::kMostSide)),
      quads_(info.integer("in_quads", 1, 1 << 18)),
      steps_(info, 2) {
  require(out_.h == in_.h * scale_h_ && out_.w == in_.w * scale_w_, "the larger image must be a multiple of the other");
}

void Int8Upsample::compute(const ort::Context& context) const {
  int64_t batch = 0;
  const uint8_t* x = planes8_of(context, quads_, in_.stride(), "the planes", &batch);
  const int64_t level = context.level(1, steps_.levels());
  uint8_t* y = static_cast<uint8_t*>(context.raw_output({batch, quads_, out_.stride(), kQuad}));
  parallel_ranges(context, split_into(kPlaneTasks, batch * quads_), [&](int64_t first, int64_t end) {
    for (int64_t p = first; p < end; ++p) {
      uint8_t* plane = y + p * out_.stride() * kQuad;
      std::memset(plane, held(steps_.zero_code(level)), static_cast<size_t>(out_.stride() * kQuad));
      for (int64_t r = 0; r < in_.h; ++r) {
        const uint8_t* from = x + (p * in_.stride() + in_.lead() + r * in_.pitch()) * kQuad;
        uint8_t* to = plane + (out_.lead() + r * scale_h_ * out_.pitch()) * kQuad;
        for (int64_t i = 0; i < out_.w; ++i) std::memcpy(to + i * kQuad, from + i / scale_w_ * kQuad, kQuad);
        for (int64_t again = 1; again < scale_h_; ++again)
          std::memcpy(to + again * out_.pitch() * kQuad, to, static_cast<size_t>(out_.w * kQuad));
      }
    }
  });
}

}  // namespace elsa
