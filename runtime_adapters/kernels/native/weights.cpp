// How segments become passes: block by block, neighbours of the same form together so that sums stay in registers.
#include "weights.h"

#include <algorithm>
#include <optional>

#include "scratch.h"

namespace elsa {
namespace {

// Each worker's.
thread_local Scratch partial_scratch;

NestedWeights::Values values_of(ValueType type) {
  using Values = NestedWeights::Values;
  return type == ValueType::kQuads ? Values::kQuads : type == ValueType::kFloat16 ? Values::kHalves : Values::kSingle;
}

}  // namespace

NestedWeights::NestedWeights(const ort::Info& info, size_t first_input, int64_t rows, int64_t columns, int64_t share,
                             Values values) {
  const size_t inputs = info.inputs();
  require(inputs > first_input, "there is no segment of weights");
  std::optional<ValueType> value_type;
  for (size_t i = first_input; i < inputs; ++i) {
    const ort::Tensor bytes = info.constant(i, kOrtUint8, "a segment of weights");
    segments_.emplace_back(bytes.data, static_cast<size_t>(bytes.count()));
    const Segment& segment = segments_.back();
    const SegmentHeader& h = segment.header();
    require(h.rows == rows && h.columns == columns, [&] {
      return text("a segment is of a weight of ", h.rows, " x ", h.columns, ", expected ", rows, " x ", columns);
    });
    require(values_of(segment.value_type()) == (values == Values::kQuadRows ? Values::kQuads : values),
            "a segment has values of another kernel");
    require(segment.block_rows() != BlockRows::kSideBySide || values == Values::kQuadRows,
            "only products have rows side by side");
    if (column_block_ == 0) column_block_ = h.column_block;
    require(h.column_block == column_block_, "segments of one weight must share column_block");
    require(segment.block_rows() != BlockRows::kFour || share == rows || share % kRowUnit == 0,
            "blocks of 4 rows would cross convolution groups");
    if (h.entries == 0) continue;
    if (!value_type) value_type = segment.value_type();
    require(segment.value_type() == *value_type, "segments of one weight must share value_type");
  }
  for (size_t count = 1; count <= segments_.size(); ++count) passes_.push_back(passes_of(count));
}

std::vector<NestedWeights::Pass> NestedWeights::passes_of(size_t count) const {
  std::vector<Pass> list;
  for (uint32_t block = 0; block < segments_[0].blocks(); ++block) {
    for (size_t s = 0; s < count; ++s) {
      const Segment& segment = segments_[s];
      if (segment.header().entries == 0) continue;
      const BlockRows block_rows = segment.block_rows();
      const bool joins = !list.empty() && list.back().block == block && list.back().block_rows == block_rows;
      if (!joins) list.push_back({block, block_rows, segment.value_type(), {}});
      list.back().runs.push_back(segment.run(block));
    }
  }
  // Where nothing is active the sums are zero and the bias remains.
  if (list.empty()) list.push_back({0, BlockRows::kOne, ValueType::kFloat32, {}});
  return list;
}

void NestedWeights::validate(int64_t level) const {
  for (size_t s = 0; s <= last_segment(level); ++s) segments_[s].validate();
}

template <typename Unit>
int NestedWeights::tile_lines(int64_t level, const PlaneTable<Unit>& table) const {
  int lines = table.max_lines(BlockRows::kOne);
  for (const Pass& pass : passes(level)) lines = std::min(lines, table.max_lines(pass.block_rows));
  return lines;
}

template <typename Unit>
void NestedWeights::sweep(const PlaneTable<Unit>& table, int64_t level, Range rows, int64_t lines,
                          const int32_t* offsets, SparseTileOf<Unit>& tile) const {
  const std::vector<Pass>& list = passes(level);
  const int64_t width = lines * kLine;
  const auto carried = static_cast<size_t>((rows.end - rows.begin + kRowUnit) * width);
  tile.partial = list.size() > 1 ? partial_scratch.floats(carried) : nullptr;
  tile.partial_row = rows.begin;
  tile.partial_stride = width;
  tile.row_count = static_cast<int32_t>(rows.end);
  for (const Pass& pass : list) {
    const GroupRange groups = groups_of(rows, pass.block_rows);
    tile.offset = offsets + static_cast<int64_t>(pass.block) * column_block_;
    tile.run = pass.runs.data();
    tile.runs = static_cast<int32_t>(pass.runs.size());
    tile.group_begin = groups.begin, tile.group_end = groups.end;
    tile.first = &pass == &list.front(), tile.last = &pass == &list.back();
    table.sparse(pass.block_rows, pass.value_type, static_cast<int>(lines), tile);
  }
}

template int NestedWeights::tile_lines(int64_t, const PlaneTable<float>&) const;
template int NestedWeights::tile_lines(int64_t, const PlaneTable<Half>&) const;
template void NestedWeights::sweep(const PlaneTable<float>&, int64_t, Range, int64_t, const int32_t*,
                                   SparseTileOf<float>&) const;
template void NestedWeights::sweep(const PlaneTable<Half>&, int64_t, Range, int64_t, const int32_t*,
                                   SparseTileOf<Half>&) const;

}  // namespace elsa
