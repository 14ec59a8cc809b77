// Channels are independent: each is a task's own.
#include "half_pool.h"

#include <algorithm>

#include "scratch.h"
#include "sparse_conv.h"
#include "split.h"

namespace elsa {
namespace {

// Padding must not win.
constexpr Half kLeast{0xFC00};

// Each worker's.
thread_local Scratch near_scratch;

}  // namespace

Float16MaxPool::Float16MaxPool(const ort::Info& info)
    : window_(info),
      channels_(info.integer("in_channels", 1, 1 << 20)),
      offsets_(window_.tap_offsets()),
      mask_(window_.output_mask()) {}

void Float16MaxPool::compute(const ort::Context& context) const {
  const PlaneLayout &in = window_.in, &out = window_.out;
  const ort::Tensor x = context.input(0, kOrtFloat16, "the planes");
  require_planes(x, channels_, in.stride(), "the planes");
  Half* y = static_cast<Half*>(context.raw_output({x.dims[0], channels_, 1, out.stride()}));
  const HalfTable& table = halves();
  parallel_ranges(context, split_into(kPlaneTasks, x.dims[0] * channels_), [&](int64_t first, int64_t end) {
    const int64_t size = window_.direct() ? in.stride() : window_.scratch_stride();
    Half* near = near_scratch.of<Half>(static_cast<size_t>(size));
    for (int64_t p = first; p < end; ++p) {
      const Half* plane = units<Half>(x) + p * in.stride();
      if (window_.direct()) {
        std::fill(near, near + size, kLeast);
        for (int64_t r = 0; r < in.h; ++r) {
          const int64_t at = in.lead() + r * in.pitch();
          std::copy(plane + at, plane + at + in.w, near + at);
        }
      } else {
        window_.fill(table, plane, near, kLeast);
      }
      const Half* from = near + window_.origin();
      Half* to = y + p * out.stride();
      Half* body = to + out.lead();
      const int64_t count = out.vectors() * kLine;
      std::copy(from + offsets_[0], from + offsets_[0] + count, body);
      for (size_t tap = 1; tap < offsets_.size(); ++tap) table.maximum(from + offsets_[tap], count, body);
      for (size_t i = 0; i < mask_.size(); ++i)
        if (!mask_[i]) body[i] = Half{};
      zero_head(to, out);
      zero_tail(to, out);
    }
  });
}

}  // namespace elsa
