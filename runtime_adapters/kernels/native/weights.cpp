// How segments become sweeps: block by block, neighbours of the same form together so that sums stay in registers.
#include "weights.h"

#include <algorithm>

namespace elsa {

NestedWeights::NestedWeights(const ort::Info& info, size_t first_input, int64_t rows, int64_t columns, int64_t share) {
  const size_t inputs = info.inputs();
  ort::require(inputs > first_input, "there is no segment of weights");
  int value_type = -1;
  for (size_t i = first_input; i < inputs; ++i) {
    const ort::Tensor bytes = info.constant(i, kOrtUint8, "a segment of weights");
    segments_.emplace_back(bytes.data, static_cast<size_t>(bytes.count()));
    const SegmentHeader& h = segments_.back().header();
    ort::require(h.rows == rows && h.columns == columns, "a segment is of a weight of " + std::to_string(h.rows) +
                                                             " x " + std::to_string(h.columns) + ", expected " +
                                                             std::to_string(rows) + " x " + std::to_string(columns));
    if (column_block_ == 0) column_block_ = h.column_block;
    ort::require(h.column_block == column_block_, "segments of one weight must share column_block");
    ort::require(h.block_rows == 1 || share == rows || share % 4 == 0,
                 "blocks of 4 rows would cross convolution groups");
    if (h.entries == 0) continue;
    if (value_type < 0) value_type = static_cast<int>(h.value_type);
    ort::require(static_cast<int>(h.value_type) == value_type, "segments of one weight must share value_type");
  }
  const uint32_t blocks = segments_[0].blocks();
  for (size_t count = 1; count <= segments_.size(); ++count) {
    std::vector<Pass> list;
    for (uint32_t block = 0; block < blocks; ++block) {
      for (size_t s = 0; s < count; ++s) {
        const SegmentHeader& h = segments_[s].header();
        if (h.entries == 0) continue;
        const bool joins =
            !list.empty() && list.back().block == block && list.back().block_rows == static_cast<int>(h.block_rows);
        if (!joins) list.push_back({block, static_cast<int>(h.block_rows), static_cast<int>(h.value_type), {}});
        list.back().runs.push_back(segments_[s].run(block));
      }
    }
    if (list.empty()) list.push_back({0, 1, 0, {}});  // nothing is active: the sums are zero, the bias remains
    passes_.push_back(std::move(list));
  }
}

void NestedWeights::validate(int64_t level) const {
  for (size_t s = 0; s <= last_segment(level); ++s) segments_[s].validate();
}

int NestedWeights::tile_lines(int64_t level, const KernelTable& table) const {
  int lines = table.max_lines[1];
  for (const Pass& pass : passes(level)) lines = std::min(lines, table.max_lines[pass.block_rows]);
  return lines;
}

}  // namespace elsa
