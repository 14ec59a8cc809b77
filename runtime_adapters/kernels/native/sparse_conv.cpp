// Images as the kernels read them, and tiles of the output.
#include "sparse_conv.h"

#include <algorithm>
#include <limits>

#include "scratch.h"

namespace elsa {
namespace {

// The calling thread's, read by all.
thread_local Scratch image_scratch;

}  // namespace

std::vector<int32_t> tap_distances(const std::vector<int64_t>& taps, int64_t channels, int64_t channel_stride) {
  std::vector<int32_t> distances;
  distances.reserve(static_cast<size_t>(channels) * taps.size());
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t tap : taps) {
      const int64_t distance = c * channel_stride + tap;
      require(distance <= std::numeric_limits<int32_t>::max(), "the input planes are too large");
      distances.push_back(static_cast<int32_t>(distance));
    }
  return distances;
}

void require_planes(const ort::Tensor& t, int64_t channels, int64_t stride, const char* what) {
  require(t.dims.size() == 4 && t.dims[1] == channels && t.dims[2] == 1 && t.dims[3] == stride,
          [&] { return text(what, " has a wrong shape, expected planes (batch, ", channels, ", 1, ", stride, ")"); });
}

template <typename Unit>
SparseConv<Unit>::SparseConv(const ort::Info& info, size_t first_segment)
    : window(info),
      in_channels(info.integer("in_channels", 1, 1 << 20)),
      out_channels(info.integer("out_channels", 1, 1 << 20)),
      groups(info.integer("groups", 1, 1 << 20)),
      weights_(info, first_segment, out_channels, in_channels / groups * window.taps(), out_channels / groups,
               kValues<Unit>),
      mask_(window.output_mask()) {
  UnitOf<Unit>::table();  // refuses a processor that has none, when the session is made
  require(in_channels % groups == 0 && out_channels % groups == 0, "groups must divide the channels");
  offsets_ = tap_distances(window.tap_offsets(), in_channels / groups, channel_stride());
}

template <typename Unit>
const Unit* SparseConv<Unit>::prepared(const ort::Context& context, const PlaneTable<Unit>& table,
                                       const Unit* image) const {
  if (window.direct()) return image;
  const int64_t stride = window.scratch_stride();
  Unit* scratch = image_scratch.of<Unit>(static_cast<size_t>(in_channels * stride));
  parallel_ranges(context, split_into(kTasks, in_channels), [&](int64_t first, int64_t end) {
    for (int64_t c = first; c < end; ++c) window.fill(table, image + c * window.in.stride(), scratch + c * stride);
  });
  return scratch;
}

template <typename Unit>
void SparseConv<Unit>::tile(const PlaneTable<Unit>& table, int64_t level, const Unit* prepared, Range lines, Range rows,
                            const EpilogueOf<Unit>& finish, const Target& target) const {
  const int64_t at = lines.begin * kLine;
  const int64_t first_channel = rows.begin / rows_of_group() * (in_channels / groups);
  SparseTileOf<Unit> t;
  t.x = prepared + first_channel * channel_stride() + window.origin() + at;
  t.y = target.y + at;
  t.y_row = target.first_row;
  t.y_stride = target.stride;
  t.far = target.far;
  t.finish = finish;
  if (t.finish.residual) t.finish.residual += at;
  if (!mask_.empty()) t.finish.mask = mask_.data() + at;
  weights_.sweep(table, level, rows, lines.end - lines.begin, offsets_.data(), t);
}

template class SparseConv<float>;
template class SparseConv<Half>;

}  // namespace elsa
