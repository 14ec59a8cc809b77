// Calls of single 8-bit operators, as cases.h has those of floats.
#pragma once
#include "cases.h"

namespace cases {

inline uint8_t byte() { return static_cast<uint8_t>(random_bits()); }

inline OrtValue codes(std::vector<int64_t> dims) {
  int64_t count = 1;
  for (int64_t d : dims) count *= d;
  std::vector<uint8_t> numbers(static_cast<size_t>(count));
  for (uint8_t& x : numbers) x = byte();
  return OrtValue::of(kOrtUint8, std::move(dims), numbers);
}

// A segment of random quads, every third place or so; 8 rows side by side are filled up to their longest.
inline OrtValue quads(uint32_t rows, uint32_t columns, uint32_t block_rows) {
  const bool side_by_side = block_rows == 8;
  const uint32_t groups = (rows + block_rows - 1) / block_rows;
  std::vector<uint32_t> pointers{0};
  std::vector<uint16_t> index;
  for (uint32_t group = 0; group < groups; ++group) {
    for (uint32_t c = 0; c < columns; ++c)
      if (random_bits() % 3 == 0)
        for (uint32_t lane = 0; lane < (side_by_side ? 8u : 1u); ++lane)
          index.push_back(static_cast<uint16_t>(side_by_side ? random_bits() % columns : c));
    pointers.push_back(static_cast<uint32_t>(index.size()));
  }
  elsa::SegmentHeader header{{'E', 'L', 'S', 'A', 'S', 'E', 'G', '1'}, rows, columns, block_rows, 2, columns,
                             static_cast<uint32_t>(index.size()),      {},   {}};
  std::vector<int8_t> values(index.size() * (side_by_side ? 1 : block_rows) * 4);
  for (int8_t& value : values) value = static_cast<int8_t>(static_cast<int>(random_bits() % 129) - 64);
  std::vector<uint8_t> bytes;
  append(bytes, &header, sizeof header);
  append(bytes, pointers.data(), pointers.size() * sizeof(uint32_t));
  append(bytes, index.data(), index.size() * sizeof(uint16_t));
  append(bytes, values.data(), values.size());
  return OrtValue::of(kOrtUint8, {static_cast<int64_t>(bytes.size())}, bytes);
}

// Multipliers and biases that spread sums over all codes, and points with a residual's share.
inline OrtValue finish(int64_t rows) {
  std::vector<float> table = noise(kLevels * 2 * rows);
  for (size_t i = 0; i < table.size(); ++i) {
    const bool is_scale = static_cast<int64_t>(i) / rows % 2 == 0;
    table[i] = is_scale ? table[i] / 100.0f : 128.0f + table[i] * 50.0f;
  }
  return OrtValue::of(kOrtFloat, {kLevels, 2, rows}, table);
}
inline OrtValue points() {
  std::vector<float> table;
  for (int64_t level = 0; level < kLevels; ++level)
    for (float point : {120.0f + static_cast<float>(level), 7.0f, 0.0f, 255.0f, 0.5f, 1.0f}) table.push_back(point);
  return OrtValue::of(kOrtFloat, {kLevels, 6}, table);
}
inline OrtValue steps() {
  return OrtValue::of(kOrtFloat, {kLevels, 2}, std::vector<float>{0.02f, 3.0f, 0.01f, 128.0f, 0.05f, 0.0f});
}

inline OrtValue planes8(int64_t batch, int64_t quad_count, int64_t side, int64_t gap) {
  return codes({batch, quad_count, elsa::PlaneLayout{side, side, gap}.stride(), 4});
}

inline Case conv8(const char* name, const Sizes& s, int64_t kernel, int64_t stride, uint32_t block_rows) {
  const int64_t in_quads = (s.in_channels + 3) / 4;
  Case c{name, {}, {}, planes8(s.batch, in_quads, s.side, kernel / 2)};
  window(c, "", s.side, kernel, stride);
  c.info.integers["activation"] = static_cast<int64_t>(elsa::Activation::kNone);
  c.info.integers["in_quads"] = in_quads, c.info.integers["out_channels"] = s.out_channels;
  c.constants = {finish((s.out_channels + 3) / 4 * 4), points(), {}};  // no residual
  const auto columns = static_cast<uint32_t>(in_quads * kernel * kernel);
  for (int64_t level = 0; level < kLevels; ++level)
    c.constants.push_back(quads(static_cast<uint32_t>(s.out_channels), columns, block_rows));
  wire(c, 2);
  return c;
}

inline Case depthwise8(const char* name, const Sizes& s, int64_t stride) {
  const int64_t quad_count = s.in_channels / 4;
  Case c{name, {}, {}, planes8(s.batch, quad_count, s.side, 1)};
  window(c, "", s.side, 3, stride);
  c.info.integers["activation"] = static_cast<int64_t>(elsa::Activation::kHardSwish);
  c.info.integers["in_quads"] = quad_count;
  OrtValue weights = codes({kLevels, quad_count, 3, 4, 4});
  auto* code = reinterpret_cast<int8_t*>(weights.memory.data());
  for (int64_t i = 0; i < kLevels * quad_count * 48; ++i)
    if (code[i] == -128) code[i] = 0;
  c.constants = {finish(4 * quad_count), points(), {}, weights};
  wire(c, 2);
  return c;
}

inline Case max_pool8(const char* name, const Sizes& s) {
  Case c{name, {}, {}, planes8(s.batch, s.in_channels / 4, s.side, 1)};
  window(c, "", s.side, 3, 2);
  c.info.integers["in_quads"] = s.in_channels / 4;
  c.constants = {steps()};
  wire(c, 2);
  return c;
}

// Int8FromImage, ImageFromInt8 and Int8Mean of a square image with a gap of 1.
inline Case borders8(const char* name, int64_t side, int64_t channels, OrtValue x) {
  Case c{name, {}, {}, std::move(x)};
  c.info.integers = {{"h", side}, {"w", side}, {"gap", 1}, {"channels", channels}};
  c.constants = {steps()};
  wire(c, 2);
  return c;
}

inline Case gate8(const char* name, int64_t side, int64_t channels) {
  constexpr int64_t kBatch = 2;
  Case c = borders8(name, side, channels, planes8(kBatch, (channels + 3) / 4, side, 1));
  c.constants = {steps(), floats({kBatch, channels, 1, 1}), steps()};
  wire(c, 2);
  return c;
}

inline Case upsample8(const char* name, int64_t side, int64_t quad_count) {
  Case c{name, {}, {}, planes8(2, quad_count, side, 1)};
  c.info.integers = {{"in_h", side}, {"in_w", side}, {"in_gap", 1},  {"out_h", 2 * side},     {"out_w", 3 * side},
                     {"out_gap", 1}, {"scale_h", 2}, {"scale_w", 3}, {"in_quads", quad_count}};
  c.constants = {steps()};
  wire(c, 2);
  return c;
}

inline Case matmul8(const char* name, int64_t count, int64_t columns, int64_t rows, uint32_t block_rows) {
  Case c{name, {}, {}, codes({count, columns})};
  c.info.integers = {{"quads", columns / 4}, {"rows", rows}};
  c.info.reals = {{"low", -1e6f}, {"high", 1e6f}};
  c.constants = {finish((rows + 3) / 4 * 4), points()};
  for (int64_t level = 0; level < kLevels; ++level)
    c.constants.push_back(quads(static_cast<uint32_t>(rows), static_cast<uint32_t>(columns / 4), block_rows));
  wire(c, 2);
  return c;
}

}  // namespace cases
