// Every operator from several threads at once, each call on several threads again, the first use of every level among
// them: `python -m elsa_edge.runtime_adapters.kernels.harden tsan` compiles it with ThreadSanitizer.
//
//   race          runs all; what the threads computed must also be, bit for bit, what one call alone computes
//   race planted  lets tasks write one place, which the sanitizer must report: it shows that it can see
#include <cstdio>
#include <functional>
#include <random>

#include "../conv.h"
#include "../conv_depthwise.h"
#include "../depthwise.h"
#include "../matmul.h"
#include "../planes.h"
#include "runtime.h"

namespace {

constexpr int64_t kLevels = 3;
constexpr int kCallers = 3;
constexpr int kRepeats = 4;

std::mt19937 random_bits(1);

std::vector<float> noise(int64_t count) {
  std::vector<float> numbers(static_cast<size_t>(count));
  for (float& x : numbers) x = static_cast<float>(random_bits() % 2001) / 1000.0f - 1.0f;
  return numbers;
}

OrtValue floats(std::vector<int64_t> dims) {
  int64_t count = 1;
  for (int64_t d : dims) count *= d;
  return OrtValue::of(kOrtFloat, std::move(dims), noise(count));
}

void append(std::vector<uint8_t>& bytes, const void* data, size_t size) {
  const auto* from = static_cast<const uint8_t*>(data);
  bytes.insert(bytes.end(), from, from + size);
  bytes.resize((bytes.size() + 63) / 64 * 64);
}

// A segment of random weights, every fifth place or so; segment.h has its bytes.
OrtValue segment(uint32_t rows, uint32_t columns, uint32_t block_rows, uint32_t value_type, uint32_t column_block) {
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
  std::vector<uint8_t> bytes;
  append(bytes, &header, sizeof header);
  append(bytes, pointers.data(), pointers.size() * sizeof(uint32_t));
  append(bytes, index.data(), index.size() * sizeof(uint16_t));
  value_type == 0 ? append(bytes, values.data(), values.size() * sizeof(float))
                  : append(bytes, codes.data(), codes.size());
  return OrtValue::of(kOrtUint8, {static_cast<int64_t>(bytes.size())}, bytes);
}

struct Case {
  const char* name;
  OrtKernelInfo info;
  std::vector<OrtValue> constants;  // what of `inputs` is constant points into it
  OrtValue x;
  size_t level_input = 1;  // 0: the operator has no level
  bool residual = false;
};

// Runs one kernel at a level and returns what it computed.
std::vector<uint64_t> once(const OrtCustomOp& op, void* kernel, const Case& c, int64_t level) {
  const OrtValue at = OrtValue::of(kOrtInt64, {}, std::vector<int64_t>{level});
  OrtKernelContext context;
  for (OrtValue* constant : c.info.inputs) context.inputs.push_back(constant);
  context.inputs[0] = &c.x;
  if (c.level_input) context.inputs[c.level_input] = &at;
  elsa::ort::check(stand_in::api(), op.KernelComputeV2(kernel, &context));
  return context.output.memory;
}

template <typename Kernel>
bool agrees(Case& c) {
  const elsa::ort::Operator<Kernel> op;
  const auto make = [&] {
    void* kernel = nullptr;
    elsa::ort::check(stand_in::api(), op.CreateKernelV2(&op, stand_in::api(), &c.info, &kernel));
    return kernel;
  };
  void* alone = make();
  void* shared = make();
  std::vector<std::vector<uint64_t>> expected;
  for (int64_t level = 0; level < kLevels; ++level) expected.push_back(once(op, alone, c, level));
  std::atomic<int> ready{0}, wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller)
    callers.emplace_back([&, caller] {
      ready.fetch_add(1);
      while (ready.load() < kCallers) std::this_thread::yield();  // the first use of a level by all of them at once
      for (int repeat = 0; repeat < kRepeats; ++repeat) {
        const int64_t level = (kLevels - 1 + repeat * caller) % kLevels;
        if (once(op, shared, c, level) != expected[static_cast<size_t>(level)]) wrong.fetch_add(1);
      }
    });
  for (std::thread& caller : callers) caller.join();
  op.KernelDestroy(alone);
  op.KernelDestroy(shared);
  std::printf("%s: %s\n", c.name, wrong ? "WRONG" : "ok");
  return wrong == 0;
}

void window(Case& c, const std::string& prefix, int64_t side, int64_t kernel, int64_t stride) {
  const int64_t out = (side - 1) / stride + 1, pad = kernel / 2;
  const std::map<std::string, int64_t> settings{
      {"in_h", side},    {"in_w", side},       {"in_gap", pad},      {"out_h", out},       {"out_w", out},
      {"out_gap", pad},  {"kernel_h", kernel}, {"kernel_w", kernel}, {"stride_h", stride}, {"stride_w", stride},
      {"dilation_h", 1}, {"dilation_w", 1},    {"pad_top", pad},     {"pad_left", pad},    {"activation", elsa::kClip}};
  for (const auto& [name, value] : settings) c.info.integers[prefix + name] = value;
  c.info.reals[prefix + "low"] = 0.0f, c.info.reals[prefix + "high"] = 6.0f;
}

int64_t plane_floats(int64_t side, int64_t kernel) { return elsa::PlaneLayout{side, side, kernel / 2}.stride(); }

// Points the kernel's inputs at the constants: null for the image, the level, and an absent residual.
void wire(Case& c, size_t variable) {
  c.info.inputs.assign(variable, nullptr);
  for (OrtValue& constant : c.constants) c.info.inputs.push_back(constant.dims.empty() ? nullptr : &constant);
}

bool conv(const char* name, int64_t side, int64_t kernel, int64_t stride, int64_t groups, uint32_t block_rows,
          uint32_t value_type) {
  constexpr int64_t in_channels = 16, out_channels = 64;
  Case c{name, {}, {}, floats({2, in_channels, 1, plane_floats(side, kernel)})};
  window(c, "", side, kernel, stride);
  c.info.integers["in_channels"] = in_channels, c.info.integers["out_channels"] = out_channels,
  c.info.integers["groups"] = groups;
  c.constants.push_back(floats({kLevels, 2, out_channels}));
  c.constants.push_back({});  // no residual
  const auto taps = static_cast<uint32_t>(kernel * kernel);
  for (int64_t level = 0; level < kLevels; ++level)
    c.constants.push_back(
        segment(out_channels, static_cast<uint32_t>(in_channels / groups) * taps, block_rows, value_type, 4 * taps));
  wire(c, 2);
  return agrees<elsa::NestedConv>(c);
}

bool depthwise(const char* name, int64_t side, int64_t stride) {
  constexpr int64_t channels = 40;
  Case c{name, {}, {}, floats({2, channels, 1, plane_floats(side, 3)})};
  window(c, "", side, 3, stride);
  c.info.integers["in_channels"] = channels;
  c.constants = {floats({kLevels, 2, channels}), {}, floats({kLevels, channels, 9})};
  wire(c, 2);
  return agrees<elsa::NestedDepthwise>(c);
}

bool conv_depthwise(const char* name, int64_t side, int64_t stride) {
  constexpr int64_t in_channels = 16, out_channels = 48;
  Case c{name, {}, {}, floats({2, in_channels, 1, plane_floats(side, 3)})};
  window(c, "", side, 1, 1);
  window(c, "depthwise_", side, 3, stride);
  c.info.integers["in_gap"] = c.info.integers["out_gap"] = 1;
  c.info.integers["in_channels"] = in_channels, c.info.integers["out_channels"] = out_channels,
  c.info.integers["groups"] = 1;
  c.constants = {floats({kLevels, 2, out_channels}), floats({kLevels, 2, out_channels}), floats({1, out_channels, 9})};
  for (int64_t level = 0; level < kLevels; ++level) c.constants.push_back(segment(out_channels, in_channels, 1, 0, 8));
  wire(c, 2);
  return agrees<elsa::NestedConvDepthwise>(c);
}

bool matmul(const char* name, int64_t count, uint32_t block_rows, uint32_t value_type) {
  constexpr int64_t columns = 96, rows = 160;
  Case c{name, {}, {}, floats({count, columns})};
  c.info.integers = {{"columns", columns}, {"rows", rows}, {"activation", elsa::kSilu}};
  c.info.reals = {{"low", 0.0f}, {"high", 0.0f}};
  c.constants.push_back(floats({kLevels, 2, rows}));
  for (int64_t level = 0; level < kLevels; ++level)
    c.constants.push_back(segment(rows, columns, block_rows, value_type, 32));
  wire(c, 2);
  return agrees<elsa::NestedMatMul>(c);
}

template <typename Kernel>
bool copies(const char* name, std::vector<int64_t> dims) {
  Case c{name, {}, {}, floats(std::move(dims)), 0};
  c.info.integers = {{"h", 9}, {"w", 9}, {"gap", 1}};
  wire(c, 1);
  return agrees<Kernel>(c);
}

int planted() {
  struct Shared {
    std::atomic<size_t> begun{0};
    int64_t sum = 0;
  } shared;
  // As many tasks as threads, each waiting for all others: every thread has one. The waiting orders nothing (relaxed).
  const auto step = +[](void* to, size_t i) {
    auto* s = static_cast<Shared*>(to);
    s->begun.fetch_add(1, std::memory_order_relaxed);
    while (s->begun.load(std::memory_order_relaxed) <= stand_in::kThreads) std::this_thread::yield();
    s->sum += static_cast<int64_t>(i);
  };
  stand_in::parallel_for(nullptr, step, stand_in::kThreads + 1, 0, &shared);
  std::printf("planted: the sum is %lld\n", static_cast<long long>(shared.sum));
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1 && std::strcmp(arguments[1], "planted") == 0) return planted();
  const std::function<bool()> cases[] = {
      [] { return conv("NestedConv 3x3", 14, 3, 1, 1, 1, 0); },
      [] { return conv("NestedConv 3x3, stride 2, blocks", 14, 3, 2, 1, 4, 0); },
      [] { return conv("NestedConv 1x1, groups, int8", 14, 1, 1, 2, 1, 1); },
      [] { return conv("NestedConv 5x5, stride 3", 14, 5, 3, 1, 1, 0); },
      [] { return depthwise("NestedDepthwise", 14, 1); },
      [] { return depthwise("NestedDepthwise, stride 2", 14, 2); },
      [] { return conv_depthwise("NestedConvDepthwise", 14, 1); },
      [] { return conv_depthwise("NestedConvDepthwise, stride 2", 14, 2); },
      [] { return matmul("NestedMatMul, one row", 1, 1, 0); },
      [] { return matmul("NestedMatMul, many rows, blocks, int8", 70, 4, 1); },
      [] { return copies<elsa::PlanesFromImage>("PlanesFromImage", {2, 20, 9, 9}); },
      [] { return copies<elsa::ImageFromPlanes>("ImageFromPlanes", {2, 20, 1, plane_floats(9, 3)}); },
  };
  bool good = true;
  for (const auto& one : cases) {
    try {
      good = one() && good;
    } catch (const std::exception& error) {
      std::printf("error: %s\n", error.what());
      good = false;
    }
  }
  return good ? 0 : 1;
}
