// A convolution with nested sparse weights over planes: what operators that contain one share.
#pragma once
#include "unit.h"
#include "weights.h"
#include "window.h"

namespace elsa {

// Planes (batch, channels, 1, stride), or an error that says what they are of.
void require_planes(const ort::Tensor& t, int64_t channels, int64_t stride, const char* what);

// channels x taps -> distance in units from a position of the first channel.
std::vector<int32_t> tap_distances(const std::vector<int64_t>& taps, int64_t channels, int64_t channel_stride);

template <typename Unit>
class SparseConv {
 public:
  // Segments are the inputs from `first_segment` on.
  SparseConv(const ort::Info& info, size_t first_segment);

  // Where a block of rows goes: position 0 of row `first_row`, the distance between rows, and whether it is new to the
  // caches.
  struct Target {
    Unit* y;
    int64_t first_row;
    int64_t stride;
    bool far;
  };

  // Lines of 16 positions a tile may have at this level.
  int64_t tile_lines(int64_t level, const PlaneTable<Unit>& table) const { return weights_.tile_lines(level, table); }
  // The image as the kernels read it: itself, or its phases in memory of the calling thread. For strides, runs on all
  // threads; the result is good until the next call of the same thread.
  const Unit* prepared(const ort::Context& context, const PlaneTable<Unit>& table, const Unit* image) const;
  // `rows` of `lines` at a level. All rows are of one convolution group; the first is a multiple of 4 from that group's
  // first. `finish` starts at row 0 of the layer; its residual at `target.y`.
  void tile(const PlaneTable<Unit>& table, int64_t level, const Unit* prepared, Range lines, Range rows,
            const EpilogueOf<Unit>& finish, const Target& target) const;
  // Checks the segments of a level, once. Throws Error.
  void validate(int64_t level) const { weights_.validate(level); }

  const Window window;
  const int64_t in_channels, out_channels, groups;
  int64_t rows_of_group() const { return out_channels / groups; }

 private:
  int64_t channel_stride() const { return window.direct() ? window.in.stride() : window.scratch_stride(); }

  NestedWeights weights_;
  std::vector<int32_t> offsets_;  // (columns)
  std::vector<int32_t> mask_;
};

}  // namespace elsa
