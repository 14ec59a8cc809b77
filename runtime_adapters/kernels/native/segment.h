// A segment: the nonzeros that one level adds to one weight, as bytes of a file that nobody trusts.
//
//   0   8 bytes  "ELSASEG1"
//   8   u32 x 8  rows, columns, block_rows (1 | 4 | 8), value_type (0 float32 | 1 int8 | 2 quads | 3 float16), column_block, entries, 0, 0
//   40  24 bytes of zero
//   64  u32 pointer[blocks * groups + 1], u16 index[entries], value[entries * block_rows]; each padded to 64 bytes
//
// groups = ceil(rows / block_rows), blocks = ceil(columns / column_block). Entries of block b, group g are
// pointer[b * groups + g] .. pointer[b * groups + g + 1]; index is the column within the block. Little-endian.
// A value of quads is 4 int8 codes, of 4 consecutive input channels; a column is a quad of them at one tap. Pairs are
// safe: |code 0| + |code 1| <= 128 and |code 2| + |code 3| <= 128 (a block that is not is stored as two).
// block_rows 8, of quads only: 8 rows side by side. A group has a multiple of 8 entries, number i belongs to row i % 8 of
// it, and each has one value.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels.h"
#include "once.h"

namespace elsa {

struct SegmentHeader {
  char magic[8];
  uint32_t rows, columns, block_rows, value_type, column_block, entries, reserved[2];
  uint8_t zero[24];
};
static_assert(sizeof(SegmentHeader) == 64, "the header is one cache line");

class Segment {
 public:
  // Reads the header only: no other page of the file is touched before the level is used.
  // Throws Error where header and size contradict each other.
  Segment(const void* data, size_t size);

  // Checks every pointer and index, once; afterwards kernels read without checks. Throws Error.
  void validate() const;

  const SegmentHeader& header() const { return header_; }
  BlockRows block_rows() const { return static_cast<BlockRows>(header_.block_rows); }
  ValueType value_type() const { return static_cast<ValueType>(header_.value_type); }
  // Values of an entry.
  uint32_t height() const { return block_rows() == BlockRows::kSideBySide ? 1 : header_.block_rows; }
  uint32_t groups() const { return groups_; }
  uint32_t blocks() const { return blocks_; }
  Run run(uint32_t block) const { return {pointer_ + static_cast<size_t>(block) * groups_, index_, value_}; }

 private:
  void check() const;

  SegmentHeader header_;
  uint32_t groups_, blocks_;
  const uint32_t* pointer_;
  const uint16_t* index_;
  const void* value_;
  std::vector<uint64_t> aligned_copy_;  // only when the bytes arrive at an odd address
  std::unique_ptr<Once> once_ = std::make_unique<Once>();
};

}  // namespace elsa
