// Every operator from several threads at once, each call on several threads again, the first use of every level among
// them: `python -m elsa_edge.runtime_adapters.kernels.harden tsan` compiles it with ThreadSanitizer.
//
//   race          runs all; what the threads computed must also be, bit for bit, what one call alone computes
//   race planted  lets tasks write one place, which the sanitizer must report: it shows that it can see
#include <cstdio>
#include <functional>

#include "../conv.h"
#include "../conv_depthwise.h"
#include "../depthwise.h"
#include "../int8_conv.h"
#include "../int8_depthwise.h"
#include "../int8_matmul.h"
#include "../int8_planes.h"
#include "../matmul.h"
#include "../planes.h"
#include "cases8.h"

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
bool agrees(const Case& c) {
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
  const Sizes image{2, 16, 64, 14};
  const Sizes small{2, 16, 20, 9};
  const std::function<bool()> all[] = {
      [&] { return agrees<elsa::NestedConv<float>>(cases::conv("NestedConv 3x3", image, 3, 1, 1, {1, 0})); },
      [&] {
        return agrees<elsa::NestedConv<float>>(cases::conv("NestedConv 3x3, stride 2, blocks", image, 3, 2, 1, {4, 0}));
      },
      [&] {
        return agrees<elsa::NestedConv<float>>(cases::conv("NestedConv 1x1, groups, int8", image, 1, 1, 2, {1, 1}));
      },
      [&] { return agrees<elsa::NestedConv<float>>(cases::conv("NestedConv 5x5, stride 3", image, 5, 3, 1, {1, 0})); },
      [] { return agrees<elsa::NestedDepthwise<float>>(cases::depthwise("NestedDepthwise", {2, 40, 40, 14}, 1)); },
      [] {
        return agrees<elsa::NestedDepthwise<float>>(cases::depthwise("NestedDepthwise, stride 2", {2, 40, 40, 14}, 2));
      },
      [&] { return agrees<elsa::NestedConvDepthwise<float>>(cases::conv_depthwise("NestedConvDepthwise", image, 1)); },
      [&] {
        return agrees<elsa::NestedConvDepthwise<float>>(
            cases::conv_depthwise("NestedConvDepthwise, stride 2", image, 2));
      },
      [] { return agrees<elsa::NestedMatMul<float>>(cases::matmul("NestedMatMul, one row", 1, 96, 160, {1, 0})); },
      [] {
        return agrees<elsa::NestedMatMul<float>>(
            cases::matmul("NestedMatMul, many rows, blocks, int8", 70, 96, 160, {4, 1}));
      },
      [] { return agrees<elsa::PlanesFromImage<float>>(cases::copies("PlanesFromImage", 9, {2, 20, 9, 9})); },
      [] {
        const int64_t stride = cases::plane_floats(9, 3);
        return agrees<elsa::ImageFromPlanes<float>>(cases::copies("ImageFromPlanes", 9, {2, 20, 1, stride}));
      },
      [&] { return agrees<elsa::Int8Conv>(cases::conv8("Int8Conv 3x3", image, 3, 1, 1)); },
      [&] { return agrees<elsa::Int8Conv>(cases::conv8("Int8Conv 3x3, stride 2, blocks", image, 3, 2, 4)); },
      [&] { return agrees<elsa::Int8Conv>(cases::conv8("Int8Conv 1x1", image, 1, 1, 4)); },
      [&] { return agrees<elsa::Int8Depthwise>(cases::depthwise8("Int8Depthwise", {2, 40, 40, 14}, 1)); },
      [&] { return agrees<elsa::Int8Depthwise>(cases::depthwise8("Int8Depthwise, stride 2", {2, 40, 40, 14}, 2)); },
      [&] { return agrees<elsa::Int8MaxPool>(cases::max_pool8("Int8MaxPool", small)); },
      [] { return agrees<elsa::Int8FromImage>(cases::borders8("Int8FromImage", 9, 18, cases::floats({2, 18, 9, 9}))); },
      [] { return agrees<elsa::ImageFromInt8>(cases::borders8("ImageFromInt8", 9, 18, cases::planes8(2, 5, 9, 1))); },
      [] { return agrees<elsa::Int8Mean>(cases::borders8("Int8Mean", 9, 18, cases::planes8(2, 5, 9, 1))); },
      [] { return agrees<elsa::Int8Rows>(cases::borders8("Int8Rows", 1, 1, cases::floats({9, 90}))); },
      [] { return agrees<elsa::Int8MatMul>(cases::matmul8("Int8MatMul, one row, side by side", 1, 96, 160, 8)); },
      [] { return agrees<elsa::Int8MatMul>(cases::matmul8("Int8MatMul, many rows, blocks", 70, 96, 160, 4)); },
      [] { return agrees<elsa::Int8MatMulFloat>(cases::matmul8("Int8MatMulFloat, few rows", 5, 96, 157, 8)); },
  };
  bool good = true;
  for (const auto& one : all) {
    try {
      good = one() && good;
    } catch (const std::exception& error) {
      std::printf("error: %s\n", error.what());
      good = false;
    }
  }
  return good ? 0 : 1;
}
