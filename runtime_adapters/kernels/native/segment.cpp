// Validation of segments: after it, no index or pointer of a file can lead a kernel astray.
#include "segment.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "error.h"

namespace elsa {
namespace {

constexpr uint64_t kAlign = 64;            // bytes; of each array
constexpr uint32_t kLargestBlock = 65536;  // columns; an index is a u16

uint64_t padded(uint64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

uint64_t value_size(ValueType type) {
  return type == ValueType::kInt8 ? sizeof(int8_t) : type == ValueType::kFloat16 ? sizeof(Half) : sizeof(int32_t);
}

void sound(bool holds, const char* problem) {
  require(holds, [&] { return text("damaged segment: ", problem); });
}

}  // namespace

Segment::Segment(const void* data, size_t size) {
  sound(size >= sizeof(SegmentHeader), "shorter than its header");
  std::memcpy(&header_, data, sizeof header_);
  const SegmentHeader& h = header_;
  sound(std::memcmp(h.magic, "ELSASEG1", 8) == 0, "it does not start with ELSASEG1");
  sound(h.value_type <= 3, "value_type is none of 0, 1, 2 and 3");
  sound(h.block_rows == 1 || h.block_rows == 4 || (h.block_rows == 8 && value_type() == ValueType::kQuads),
        "block_rows is neither 1 nor 4, nor 8 for quads");
  sound(h.rows >= 1 && h.rows <= (1u << 24) && h.columns >= 1 && h.columns <= (1u << 28),
        "rows or columns out of range");
  sound(h.column_block >= 1 && h.column_block <= kLargestBlock, "column_block out of range");
  groups_ = (h.rows + h.block_rows - 1) / h.block_rows;
  blocks_ = (h.columns + h.column_block - 1) / h.column_block;
  const uint64_t pointers = static_cast<uint64_t>(groups_) * blocks_ + 1;
  const uint64_t value_bytes = static_cast<uint64_t>(h.entries) * height() * value_size(value_type());
  const uint64_t pointer_at = sizeof(SegmentHeader), index_at = pointer_at + padded(pointers * 4);
  const uint64_t value_at = index_at + padded(static_cast<uint64_t>(h.entries) * 2);
  sound(size == value_at + padded(value_bytes), "its size does not follow from its header");
  const auto* bytes = static_cast<const uint8_t*>(data);
  if (reinterpret_cast<uintptr_t>(data) % 4 != 0) {
    aligned_copy_.resize(size / 8);
    std::memcpy(aligned_copy_.data(), data, size);
    bytes = reinterpret_cast<const uint8_t*>(aligned_copy_.data());
  }
  pointer_ = reinterpret_cast<const uint32_t*>(bytes + pointer_at);
  index_ = reinterpret_cast<const uint16_t*>(bytes + index_at);
  value_ = bytes + value_at;
}

void Segment::validate() const {
  once_->run([this] { check(); });
}

void Segment::check() const {
  sound(pointer_[0] == 0, "the first pointer is not 0");
  const size_t count = static_cast<size_t>(groups_) * blocks_;
  for (size_t i = 0; i < count; ++i) {
    sound(pointer_[i] <= pointer_[i + 1], "pointers fall");
    sound(pointer_[i + 1] <= header_.entries, "a pointer lies beyond the entries");
    sound(block_rows() != BlockRows::kSideBySide || pointer_[i + 1] % 8 == 0, "rows side by side differ in length");
  }
  sound(pointer_[count] == header_.entries, "the last pointer is not the number of entries");
  for (uint32_t b = 0; b < blocks_; ++b) {
    const uint32_t left = header_.columns - b * header_.column_block;
    const uint32_t width = left < header_.column_block ? left : header_.column_block;
    if (width == kLargestBlock) continue;  // every u16 fits
    uint32_t largest = 0;
    const uint32_t end = pointer_[static_cast<size_t>(b + 1) * groups_];
    for (uint32_t i = pointer_[static_cast<size_t>(b) * groups_]; i < end; ++i)
      largest = index_[i] > largest ? index_[i] : largest;
    sound(largest < width, "a column lies beyond its block");
  }
  if (value_type() == ValueType::kQuads) {
    const auto* code = static_cast<const int8_t*>(value_);
    const size_t pairs = static_cast<size_t>(header_.entries) * height() * 2;
    int largest = 0;
    for (size_t i = 0; i < pairs; ++i) largest = std::max(largest, std::abs(code[2 * i]) + std::abs(code[2 * i + 1]));
    sound(largest <= 128, "a pair of codes is too large");
  }
}

}  // namespace elsa
