// The nested weights of one layer: its segments, one a level, and the order in which a level reads them.
#pragma once
#include <algorithm>
#include <type_traits>
#include <vector>

#include "ort.h"
#include "segment.h"
#include "split.h"

namespace elsa {

class NestedWeights {
 public:
  // One walk over all row groups of an output tile: some consecutive segments over one block of columns.
  struct Pass {
    uint32_t block;
    BlockRows block_rows;
    ValueType value_type;
    std::vector<Run> runs;
  };

  // kSingle: float32 or 8-bit codes for kernels of floats. kQuadRows: of products with vectors, whose rows may lie side by
  // side.
  enum class Values { kSingle, kHalves, kQuads, kQuadRows };

  // Inputs first_input .. last are segments of a (rows, columns) weight. `share` rows belong to one convolution group,
  // which a block of 4 rows must not leave.
  NestedWeights(const ort::Info& info, size_t first_input, int64_t rows, int64_t columns, int64_t share,
                Values values = Values::kSingle);

  // Checks the segments of a level, each once; before that no kernel may read them. Throws Error.
  void validate(int64_t level) const;
  // The passes of a level. Level k reads segments 0 .. k; the last segment stays the last where a ladder has more levels
  // than this weight has segments.
  const std::vector<Pass>& passes(int64_t level) const { return passes_[last_segment(level)]; }

  // How many different lists of sweeps there are: the number of segments.
  size_t counts() const { return segments_.size(); }
  uint32_t column_block() const { return column_block_; }
  // Lines of 16 positions a tile may have at this level.
  template <typename Unit>
  int tile_lines(int64_t level, const PlaneTable<Unit>& table) const;
  // Computes `rows` of `lines` lines of the output at a level: all its passes over one tile, sums of unfinished rows in
  // memory of the thread. `tile` says where the tile lies (x, y, y_row, y_stride, far) and how it is finished; the rest is filled in.
  // `offsets` is the distance of each column from x.
  template <typename Unit>
  void sweep(const PlaneTable<Unit>& table, int64_t level, Range rows, int64_t lines, const int32_t* offsets,
             SparseTileOf<Unit>& tile) const;

 private:
  std::vector<Pass> passes_of(size_t count) const;
  size_t last_segment(int64_t level) const {
    return std::min<size_t>(static_cast<size_t>(level), segments_.size() - 1);
  }

  std::vector<Segment> segments_;
  std::vector<std::vector<Pass>> passes_;  // one list a segment count
  uint32_t column_block_ = 0;
};

// What values the weights of operators over these units have.
template <typename Unit>
constexpr auto kValues = std::is_same_v<Unit, Half> ? NestedWeights::Values::kHalves : NestedWeights::Values::kSingle;

// Row groups [begin, end) of a pass that cover rows: the parts of a layer start at multiples of 4.
struct GroupRange {
  int32_t begin, end;
};
inline GroupRange groups_of(Range rows, BlockRows block_rows) {
  const auto unit = static_cast<int64_t>(block_rows);
  return {static_cast<int32_t>(rows.begin / unit), static_cast<int32_t>(divide_up(rows.end, unit))};
}

}  // namespace elsa
