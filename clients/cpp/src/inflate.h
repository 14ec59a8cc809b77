// Unpacks deflated data (RFC 1951): golden answers are in a zip archive, and a library for it would be the only one linked.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "text.h"

namespace elsa_edge {

// Throws std::invalid_argument for damaged data, and for more than `most` bytes.
class Inflate {
 public:
  Inflate(std::string_view packed, size_t most) : packed_(packed), most_(most) {}

  std::string whole() {
    for (bool last = false; !last;) {
      last = bits(1) != 0;
      switch (bits(2)) {
        case 0:
          stored();
          break;
        case 1:
          fixed();
          break;
        case 2:
          dynamic();
          break;
        default:
          refuse({"a damaged zip archive"});
      }
    }
    return std::move(out_);
  }

 private:
  static constexpr int kLongest = 15, kMostSymbols = 288;
  using Lengths = std::array<uint8_t, 320>;

  // A Huffman code: how many symbols there are of each length, and the symbols in their order.
  struct Code {
    std::array<uint16_t, kLongest + 1> count{};
    std::array<uint16_t, kMostSymbols> symbols{};

    Code(const uint8_t* lengths, int size) {
      std::array<uint16_t, kLongest + 2> next{};
      for (int i = 0; i < size; ++i) ++count[lengths[i]];
      count[0] = 0;
      int left = 1;
      for (int length = 1; length <= kLongest; ++length) {
        next[length + 1] = static_cast<uint16_t>(next[length] + count[length]);
        left = 2 * left - count[length];
        // More symbols than there are codes would lead outside the table.
        if (left < 0) refuse({"a damaged zip archive"});
      }
      for (int i = 0; i < size; ++i) {
        if (lengths[i] != 0) symbols[next[lengths[i]]++] = static_cast<uint16_t>(i);
      }
    }
  };

  unsigned bits(int wanted) {
    for (; held_ < wanted; held_ += 8) {
      if (at_ == packed_.size()) refuse({"a damaged zip archive"});
      buffer_ |= static_cast<unsigned>(static_cast<uint8_t>(packed_[at_++])) << held_;
    }
    const unsigned found = buffer_ & ((1U << wanted) - 1);
    buffer_ >>= wanted;
    held_ -= wanted;
    return found;
  }

  int symbol(const Code& code) {
    for (int length = 1, found = 0, first = 0, index = 0; length <= kLongest; ++length) {
      found |= static_cast<int>(bits(1));
      const int count = code.count[static_cast<size_t>(length)];
      if (found - first < count) return code.symbols[static_cast<size_t>(index + found - first)];
      index += count;
      first = 2 * (first + count);
      found *= 2;
    }
    refuse({"a damaged zip archive"});
  }

  void put(char byte) {
    if (out_.size() == most_) refuse({"it is larger than 256 MB"});
    out_ += byte;
  }

  void stored() {
    bits(held_ % 8);
    const unsigned size = bits(16);
    if (bits(16) != (size ^ 0xffff)) refuse({"a damaged zip archive"});
    for (unsigned i = 0; i < size; ++i) put(static_cast<char>(bits(8)));
  }

  void fixed() {
    Lengths lengths{};
    for (int i = 0; i < kMostSymbols; ++i) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    const Code literals(lengths.data(), kMostSymbols);
    lengths.fill(5);
    copy(literals, Code(lengths.data(), 30));
  }

  void dynamic() {
    static constexpr uint8_t kOrder[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    const int literals = static_cast<int>(bits(5)) + 257, distances = static_cast<int>(bits(5)) + 1;
    if (literals > 286 || distances > 30) refuse({"a damaged zip archive"});
    Lengths lengths{};
    for (unsigned i = 0, count = bits(4) + 4; i < count; ++i) lengths[kOrder[i]] = static_cast<uint8_t>(bits(3));
    const Code code(lengths.data(), 19);
    lengths.fill(0);
    for (int i = 0; i < literals + distances;) {
      const int found = symbol(code);
      // 16: the last length again, 17 and 18: no length, all of them several times.
      if (found == 16 && i == 0) refuse({"a damaged zip archive"});
      const uint8_t length = found < 16 ? static_cast<uint8_t>(found) : found == 16 ? lengths[i - 1] : uint8_t{0};
      int times = found < 16 ? 1
                             : static_cast<int>(found == 16   ? bits(2) + 3
                                                : found == 17 ? bits(3) + 3
                                                              : bits(7) + 11);
      if (i + times > literals + distances) refuse({"a damaged zip archive"});
      for (; times > 0; --times) lengths[i++] = length;
    }
    const Code first(lengths.data(), literals);
    copy(first, Code(lengths.data() + literals, distances));
  }

  // Literals, and copies of what is there already, up to the end of the block.
  void copy(const Code& literals, const Code& distances) {
    for (;;) {
      int found = symbol(literals);
      if (found < 256) {
        put(static_cast<char>(found));
        continue;
      }
      if (found == 256) return;
      found -= 257;
      if (found > 28) refuse({"a damaged zip archive"});
      const int more = found < 8 || found == 28 ? 0 : found / 4 - 1;
      const int base = found < 8 ? 3 + found : found == 28 ? 258 : 3 + ((4 + found % 4) << more);
      const int length = base + static_cast<int>(bits(more));
      const int place = symbol(distances), further = place < 4 ? 0 : place / 2 - 1;
      const size_t distance =
          static_cast<size_t>((place < 4 ? 1 + place : 1 + ((2 + place % 2) << further))) + bits(further);
      if (distance > out_.size()) refuse({"a damaged zip archive"});
      for (int i = 0; i < length; ++i) put(out_[out_.size() - distance]);
    }
  }

  std::string_view packed_;
  size_t most_, at_ = 0;
  unsigned buffer_ = 0;
  int held_ = 0;
  std::string out_;
};

}  // namespace elsa_edge
