// Calls of single operators, with random weights: what the drivers compute. `kLevels` levels each.
#pragma once
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "../half.h"
#include "../layout.h"
#include "../operator.h"
#include "../segment.h"
#include "runtime.h"

namespace cases {

constexpr int64_t kLevels = 3;

inline std::mt19937 random_bits(1);

inline std::vector<float> noise(int64_t count) {
  std::vector<float> numbers(static_cast<size_t>(count));
  for (float& x : numbers) x = static_cast<float>(random_bits() % 2001) / 1000.0f - 1.0f;
  return numbers;
}

inline OrtValue floats(std::vector<int64_t> dims) {
  int64_t count = 1;
  for (int64_t d : dims) count *= d;
  return OrtValue::of(kOrtFloat, std::move(dims), noise(count));
}

inline std::vector<elsa::Half> narrow(const std::vector<float>& numbers) {
  std::vector<elsa::Half> halves(numbers.size());
  elsa::halves().narrow(numbers.data(), static_cast<int64_t>(numbers.size()), halves.data());
  return halves;
}

inline void append(std::vector<uint8_t>& bytes, const void* data, size_t size) {
  const auto* from = static_cast<const uint8_t*>(data);
  bytes.insert(bytes.end(), from, from + size);
  bytes.resize((bytes.size() + 63) / 64 * 64);
}

// A segment of random weights, every fifth place or so; segment.h has its bytes.
inline OrtValue segment(uint32_t rows, uint32_t columns, uint32_t block_rows, uint32_t value_type,
                        uint32_t column_block) {
  const uint32_t groups = (rows + block_rows - 1) / block_rows, blocks = (columns + column_block - 1) / column_block;
  std::vector<uint32_t> pointers{0};
  std::vector<uint16_t> index;
  for (uint32_t block = 0; block < blocks; ++block)
    for (uint32_t group = 0; group < groups; ++group) {
      for (uint32_t c = 0; c < column_block && block * column_block + c < columns; ++c)
        if (random_bits() % 5 == 0) index.push_back(static_cast<uint16_t>(c));
      pointers.push_back(static_cast<uint32_t>(index.size()));
    }
  elsa::SegmentHeader header{
      {'E', 'L', 'S', 'A', 'S', 'E', 'G', '1'}, rows, columns, block_rows, value_type, column_block,
      static_cast<uint32_t>(index.size()),      {},   {}};
  const std::vector<float> values = noise(static_cast<int64_t>(index.size() * block_rows));
  std::vector<int8_t> codes;
  for (float value : values) codes.push_back(static_cast<int8_t>(value * 100));
  const std::vector<elsa::Half> halves = value_type == 3 ? narrow(values) : std::vector<elsa::Half>{};
  std::vector<uint8_t> bytes;
  append(bytes, &header, sizeof header);
  append(bytes, pointers.data(), pointers.size() * sizeof(uint32_t));
  append(bytes, index.data(), index.size() * sizeof(uint16_t));
  if (value_type == 0) append(bytes, values.data(), values.size() * sizeof(float));
  if (value_type == 1) append(bytes, codes.data(), codes.size());
  if (value_type == 3) append(bytes, halves.data(), halves.size() * sizeof(elsa::Half));
  return OrtValue::of(kOrtUint8, {static_cast<int64_t>(bytes.size())}, bytes);
}

// One operator, its attributes and inputs.
struct Case {
  const char* name;
  OrtKernelInfo info;
  std::vector<OrtValue> constants;  // what of `inputs` is constant points into it
  OrtValue x;
  size_t level_input = 1;  // 0: the operator has no level
};

// One call: the context as a session would give it, with the level in place.
class Call {
 public:
  Call(const Case& c, int64_t level) : level_(OrtValue::of(kOrtInt64, {}, std::vector<int64_t>{level})) {
    context_.inputs.assign(c.info.inputs.begin(), c.info.inputs.end());
    context_.inputs[0] = &c.x;
    if (c.level_input) context_.inputs[c.level_input] = &level_;
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Throws Error with the operator's sentence.
  void run(const OrtCustomOp& op, void* kernel) {
    elsa::ort::check(stand_in::api(), op.KernelComputeV2(kernel, &context_));
  }
  // All outputs, one after the other.
  std::vector<uint64_t> output() const {
    std::vector<uint64_t> all;
    for (const OrtValue& one : context_.outputs) all.insert(all.end(), one.memory.begin(), one.memory.end());
    return all;
  }

 private:
  OrtValue level_;
  OrtKernelContext context_;
};

inline void* make(const OrtCustomOp& op, const Case& c) {
  void* kernel = nullptr;
  elsa::ort::check(stand_in::api(), op.CreateKernelV2(&op, stand_in::api(), &c.info, &kernel));
  return kernel;
}

inline void window(Case& c, const std::string& prefix, int64_t side, int64_t kernel, int64_t stride) {
  const int64_t out = (side - 1) / stride + 1, pad = kernel / 2;
  const std::map<std::string, int64_t> settings{
      {"in_h", side},       {"in_w", side},       {"in_gap", pad},
      {"out_h", out},       {"out_w", out},       {"out_gap", pad},
      {"kernel_h", kernel}, {"kernel_w", kernel}, {"stride_h", stride},
      {"stride_w", stride}, {"dilation_h", 1},    {"dilation_w", 1},
      {"pad_top", pad},     {"pad_left", pad},    {"activation", static_cast<int64_t>(elsa::Activation::kClip)}};
  for (const auto& [name, value] : settings) c.info.integers[prefix + name] = value;
  c.info.reals[prefix + "low"] = 0.0f, c.info.reals[prefix + "high"] = 6.0f;
}

inline int64_t plane_floats(int64_t side, int64_t kernel) { return elsa::PlaneLayout{side, side, kernel / 2}.stride(); }

// Points the kernel's inputs at the constants: null for the image, the level, and an absent residual.
inline void wire(Case& c, size_t variable) {
  c.info.inputs.assign(variable, nullptr);
  for (OrtValue& constant : c.constants) c.info.inputs.push_back(constant.dims.empty() ? nullptr : &constant);
}

// An image and the channels that come out.
struct Sizes {
  int64_t batch, in_channels, out_channels, side;
};
// How segments are made.
struct Form {
  uint32_t block_rows, value_type;
};

inline OrtValue planes(const Sizes& s, int64_t kernel) {
  return floats({s.batch, s.in_channels, 1, plane_floats(s.side, kernel)});
}

inline void channels(Case& c, const Sizes& s, int64_t groups) {
  c.info.integers["in_channels"] = s.in_channels, c.info.integers["out_channels"] = s.out_channels;
  c.info.integers["groups"] = groups;
}

inline Case conv(const char* name, const Sizes& s, int64_t kernel, int64_t stride, int64_t groups, Form form) {
  Case c{name, {}, {}, planes(s, kernel)};
  window(c, "", s.side, kernel, stride);
  channels(c, s, groups);
  c.constants.push_back(floats({kLevels, 2, s.out_channels}));
  c.constants.push_back({});  // no residual
  const auto rows = static_cast<uint32_t>(s.out_channels), taps = static_cast<uint32_t>(kernel * kernel);
  const auto columns = static_cast<uint32_t>(s.in_channels / groups) * taps;
  for (int64_t level = 0; level < kLevels; ++level)
    c.constants.push_back(segment(rows, columns, form.block_rows, form.value_type, 4 * taps));
  wire(c, 2);
  return c;
}

inline Case depthwise(const char* name, const Sizes& s, int64_t stride) {
  Case c{name, {}, {}, planes(s, 3)};
  window(c, "", s.side, 3, stride);
  channels(c, s, s.in_channels);
  c.constants = {floats({kLevels, 2, s.in_channels}), {}, floats({kLevels, s.in_channels, 9})};
  wire(c, 2);
  return c;
}

inline Case conv_depthwise(const char* name, const Sizes& s, int64_t stride, Form form = {1, 0}) {
  Case c{name, {}, {}, planes(s, 3)};
  window(c, "", s.side, 1, 1);
  window(c, "depthwise_", s.side, 3, stride);
  c.info.integers["in_gap"] = c.info.integers["out_gap"] = 1;
  channels(c, s, 1);
  c.constants = {floats({kLevels, 2, s.out_channels}), floats({kLevels, 2, s.out_channels}),
                 floats({1, s.out_channels, 9})};
  const auto rows = static_cast<uint32_t>(s.out_channels), columns = static_cast<uint32_t>(s.in_channels);
  for (int64_t level = 0; level < kLevels; ++level)
    c.constants.push_back(segment(rows, columns, form.block_rows, form.value_type, 8));
  wire(c, 2);
  return c;
}

inline Case matmul(const char* name, int64_t count, int64_t columns, int64_t rows, Form form) {
  Case c{name, {}, {}, floats({count, columns})};
  c.info.integers = {
      {"columns", columns}, {"rows", rows}, {"activation", static_cast<int64_t>(elsa::Activation::kSilu)}};
  c.info.reals = {{"low", 0.0f}, {"high", 0.0f}};
  c.constants.push_back(floats({kLevels, 2, rows}));
  for (int64_t level = 0; level < kLevels; ++level)
    c.constants.push_back(
        segment(static_cast<uint32_t>(rows), static_cast<uint32_t>(columns), form.block_rows, form.value_type, 32));
  wire(c, 2);
  return c;
}

// PlanesFromImage and ImageFromPlanes of a square image with a gap of 1.
inline Case copies(const char* name, int64_t side, std::vector<int64_t> dims) {
  Case c{name, {}, {}, floats(std::move(dims)), 0};
  c.info.integers = {{"h", side}, {"w", side}, {"gap", 1}};
  wire(c, 1);
  return c;
}

}  // namespace cases
