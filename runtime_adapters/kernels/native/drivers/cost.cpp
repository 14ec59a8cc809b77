// What a call of an operator costs beside its arithmetic, called again and again. `python -m benchmarks.latency` compiles
// and runs it; one line of JSON for each operator:
//
//   {"operator": "NestedConv", "fixed_ns": 97.1, "least_ns": 190.2, "allocations": 2}
//
//   fixed_ns     a call with an empty batch: reading and checking the inputs, making the output
//   least_ns     a call with a few weights and one position: one tile, with the borders of its planes
//   allocations  of the latter
//
// The stand-in for the runtime is in all of them; of the allocations, it makes one for each tensor that is described.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "../conv.h"
#include "../conv_depthwise.h"
#include "../depthwise.h"
#include "../matmul.h"
#include "../planes.h"
#include "cases.h"

namespace {

size_t allocations = 0;

}  // namespace

void* operator new(size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace {

// The quickest of many short series: what other work on the machine adds is left out.
constexpr int kSeries = 5000;
constexpr int kCalls = 500;

struct Cost {
  double ns;
  size_t allocations;
};

Cost cost_of(const OrtCustomOp& op, const cases::Case& c) {
  void* kernel = cases::make(op, c);
  cases::Call call(c, cases::kLevels - 1);
  call.run(op, kernel);
  const size_t before = allocations;
  call.run(op, kernel);
  Cost cost{1e18, allocations - before};
  for (int series = 0; series < kSeries; ++series) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) call.run(op, kernel);
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
    cost.ns = std::min(cost.ns, taken.count() / kCalls);
  }
  op.KernelDestroy(kernel);
  return cost;
}

template <typename Kernel>
void measure(const cases::Case& empty, const cases::Case& least) {
  const elsa::ort::Operator<Kernel> op;
  const Cost fixed = cost_of(op, empty), smallest = cost_of(op, least);
  std::printf("{\"operator\": \"%s\", \"fixed_ns\": %.1f, \"least_ns\": %.1f, \"allocations\": %zu}\n", least.name,
              fixed.ns, smallest.ns, smallest.allocations);
}

}  // namespace

int main() {
  using namespace cases;
  const Sizes none{0, 4, 4, 1}, one{1, 4, 4, 1};
  const Form form{1, 0};
  const int64_t stride = plane_floats(1, 3);
  measure<elsa::NestedConv<float>>(conv("", none, 1, 1, 1, form), conv("NestedConv", one, 1, 1, 1, form));
  measure<elsa::NestedDepthwise<float>>(depthwise("", {0, 1, 1, 1}, 1), depthwise("NestedDepthwise", {1, 1, 1, 1}, 1));
  measure<elsa::NestedConvDepthwise<float>>(conv_depthwise("", none, 1), conv_depthwise("NestedConvDepthwise", one, 1));
  measure<elsa::NestedMatMul<float>>(matmul("", 0, 8, 8, form), matmul("NestedMatMul", 1, 8, 8, form));
  measure<elsa::PlanesFromImage<float>>(copies("", 1, {0, 1, 1, 1}), copies("PlanesFromImage", 1, {1, 1, 1, 1}));
  measure<elsa::ImageFromPlanes<float>>(copies("", 1, {0, 1, 1, stride}),
                                        copies("ImageFromPlanes", 1, {1, 1, 1, stride}));
}
