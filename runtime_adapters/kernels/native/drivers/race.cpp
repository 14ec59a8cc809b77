// Every operator from several threads at once, each call on several threads again, the first use of every level among
// them: `python -m elsa_edge.runtime_adapters.kernels.harden tsan` compiles it with ThreadSanitizer.
//
//   race          runs all; what the threads computed must also be, bit for bit, what one call alone computes
//   race planted  lets tasks write one place, which the sanitizer must report: it shows that it can see
#include <algorithm>
#include <cstdio>
#include <initializer_list>

#include "../cells.h"
#include "../conv.h"
#include "../conv_depthwise.h"
#include "../depthwise.h"
#include "../half_pool.h"
#include "../int8_between.h"
#include "../int8_conv.h"
#include "../int8_depthwise.h"
#include "../int8_matmul.h"
#include "../int8_planes.h"
#include "../matmul.h"
#include "../planes.h"
#include "../state_products.h"
#include "cases16.h"
#include "cases8.h"
#include "cases_of_cells.h"

namespace {

using cases::Case;
using cases::kLevels;
using cases::Sizes;

constexpr int kCallers = 3;
constexpr int kRepeats = 4;

// What one kernel computes at a level.
std::vector<uint64_t> once(const OrtCustomOp& op, void* kernel, const Case& c, int64_t level) {
  cases::Call call(c, level);
  call.run(op, kernel);
  return call.output();
}

template <typename Kernel>
bool compare(const Case& c) {
  const elsa::ort::Operator<Kernel> op;
  void* alone = cases::make(op, c);
  void* shared = cases::make(op, c);
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

template <typename Kernel>
bool agrees(const Case& c) {
  try {
    return compare<Kernel>(c);
  } catch (const std::exception& error) {
    std::printf("%s: error: %s\n", c.name, error.what());
    return false;
  }
}

bool all(std::initializer_list<bool> list) {
  return std::all_of(list.begin(), list.end(), [](bool good) { return good; });
}

const Sizes kImage{2, 16, 64, 14}, kSmall{2, 16, 20, 9}, kWide{2, 40, 40, 14};

bool floats_agree() {
  using namespace elsa;
  using namespace cases;
  const int64_t stride = plane_floats(9, 3);
  return all({
      agrees<NestedConv<float>>(conv("NestedConv 3x3", kImage, 3, 1, 1, {1, 0})),
      agrees<NestedConv<float>>(conv("NestedConv 3x3, stride 2, blocks", kImage, 3, 2, 1, {4, 0})),
      agrees<NestedConv<float>>(conv("NestedConv 1x1, groups, int8", kImage, 1, 1, 2, {1, 1})),
      agrees<NestedConv<float>>(conv("NestedConv 5x5, stride 3", kImage, 5, 3, 1, {1, 0})),
      agrees<NestedDepthwise<float>>(depthwise("NestedDepthwise", kWide, 1)),
      agrees<NestedDepthwise<float>>(depthwise("NestedDepthwise, stride 2", kWide, 2)),
      agrees<NestedConvDepthwise<float>>(conv_depthwise("NestedConvDepthwise", kImage, 1)),
      agrees<NestedConvDepthwise<float>>(conv_depthwise("NestedConvDepthwise, stride 2", kImage, 2)),
      agrees<NestedMatMul<float>>(matmul("NestedMatMul, one row", 1, 96, 160, {1, 0})),
      agrees<NestedMatMul<float>>(matmul("NestedMatMul, many rows, blocks, int8", 70, 96, 160, {4, 1})),
      agrees<PlanesFromImage<float>>(copies("PlanesFromImage", 9, {2, 20, 9, 9})),
      agrees<ImageFromPlanes<float>>(copies("ImageFromPlanes", 9, {2, 20, 1, stride})),
      agrees<Lstm<FloatStateProduct>>(cells("NestedLstm", {4, 21}, {1, 0})),
      agrees<Lstm<FloatStateProduct>>(cells("NestedLstm, blocks", {4, 24}, {4, 0})),
      agrees<Gru<FloatStateProduct>>(cells("NestedGru, blocks, int8", {3, 21}, {4, 1})),
      agrees<Gru<FloatStateProduct>>(cells("NestedGru, reset of sums", {3, 24, true}, {1, 0})),
  });
}

bool halves_agree() {
  using namespace elsa;
  using namespace cases;
  const int64_t stride = plane_floats(9, 3);
  return all({
      agrees<NestedConv<Half>>(of_halves(conv("Float16Conv 3x3", kImage, 3, 1, 1, kHalves))),
      agrees<NestedConv<Half>>(of_halves(conv("Float16Conv 3x3, stride 2, blocks", kImage, 3, 2, 1, kHalvesInBlocks))),
      agrees<NestedConv<Half>>(of_halves(conv("Float16Conv 1x1, groups", kImage, 1, 1, 2, kHalves))),
      agrees<NestedDepthwise<Half>>(of_halves(depthwise("Float16Depthwise", kWide, 1), 2)),
      agrees<NestedDepthwise<Half>>(of_halves(depthwise("Float16Depthwise, stride 2", kWide, 2), 2)),
      agrees<NestedConvDepthwise<Half>>(of_halves(conv_depthwise("Float16ConvDepthwise", kImage, 1, kHalves), 2)),
      agrees<NestedConvDepthwise<Half>>(
          of_halves(conv_depthwise("Float16ConvDepthwise, stride 2", kImage, 2, kHalves), 2)),
      agrees<NestedMatMul<Half>>(matmul("Float16MatMul, one row", 1, 96, 160, kHalves)),
      agrees<NestedMatMul<Half>>(matmul("Float16MatMul, many rows, blocks", 70, 96, 160, kHalvesInBlocks)),
      agrees<PlanesFromImage<Half>>(copies("Float16FromImage", 9, {2, 20, 9, 9})),
      agrees<ImageFromPlanes<Half>>(of_halves(copies("ImageFromFloat16", 9, {2, 20, 1, stride}))),
      agrees<Float16MaxPool>(max_pool16("Float16MaxPool", kSmall)),
  });
}

bool codes_agree() {
  using namespace elsa;
  using namespace cases;
  return all({
      agrees<Int8Conv>(conv8("Int8Conv 3x3", kImage, 3, 1, 1)),
      agrees<Int8Conv>(conv8("Int8Conv 3x3, stride 2, blocks", kImage, 3, 2, 4)),
      agrees<Int8Conv>(conv8("Int8Conv 1x1", kImage, 1, 1, 4)),
      agrees<Int8Depthwise>(depthwise8("Int8Depthwise", kWide, 1)),
      agrees<Int8Depthwise>(depthwise8("Int8Depthwise, stride 2", kWide, 2)),
      agrees<Int8MaxPool>(max_pool8("Int8MaxPool", kSmall)),
      agrees<Int8Gate>(gate8("Int8Gate", 9, 18)),
      agrees<Int8Upsample>(upsample8("Int8Upsample", 9, 5)),
      agrees<Int8FromImage>(borders8("Int8FromImage", 9, 18, floats({2, 18, 9, 9}))),
      agrees<ImageFromInt8>(borders8("ImageFromInt8", 9, 18, planes8(2, 5, 9, 1))),
      agrees<Int8Mean>(borders8("Int8Mean", 9, 18, planes8(2, 5, 9, 1))),
      agrees<Int8Rows>(borders8("Int8Rows", 1, 1, floats({9, 90}))),
      agrees<Int8MatMul>(matmul8("Int8MatMul, one row, side by side", 1, 96, 160, 8)),
      agrees<Int8MatMul>(matmul8("Int8MatMul, many rows, blocks", 70, 96, 160, 4)),
      agrees<Int8MatMulFloat>(matmul8("Int8MatMulFloat, few rows", 5, 96, 157, 8)),
      agrees<Lstm<Int8StateProduct>>(cells8("Int8Lstm, side by side", {4, 21}, 8)),
      agrees<Lstm<Int8StateProduct>>(cells8("Int8Lstm, blocks", {4, 24}, 4)),
      agrees<Gru<Int8StateProduct>>(cells8("Int8Gru, side by side", {3, 24}, 8)),
      agrees<Gru<Int8StateProduct>>(cells8("Int8Gru, reset of sums", {3, 21, true}, 1)),
  });
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
  return all({floats_agree(), halves_agree(), codes_agree()}) ? 0 : 1;
}
