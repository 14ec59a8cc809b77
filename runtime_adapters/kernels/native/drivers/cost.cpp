// What a call of an operator costs beside its arithmetic: layers of a few weights over an image of one position, called
// again and again. `python -m benchmarks.latency` compiles and runs it; one line of JSON for each operator:
//
//   {"operator": "NestedConv", "call_ns": 97.1, "allocations": 2}
//
// The stand-in for the runtime is in both figures; of the allocations, it makes one for each tensor that is described.
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
constexpr int kSeries = 400;
constexpr int kCalls = 500;

template <typename Kernel>
void measure(const cases::Case& c) {
  const elsa::ort::Operator<Kernel> op;
  void* kernel = cases::make(op, c);
  cases::Call call(c, cases::kLevels - 1);
  call.run(op, kernel);
  const size_t before = allocations;
  call.run(op, kernel);
  const size_t each = allocations - before;
  double best_ns = 1e18;
  for (int series = 0; series < kSeries; ++series) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) call.run(op, kernel);
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
    best_ns = std::min(best_ns, taken.count() / kCalls);
  }
  op.KernelDestroy(kernel);
  std::printf("{\"operator\": \"%s\", \"call_ns\": %.1f, \"allocations\": %zu}\n", c.name, best_ns, each);
}

}  // namespace

int main() {
  const cases::Sizes image{1, 4, 4, 1};
  measure<elsa::NestedConv>(cases::conv("NestedConv", image, 1, 1, 1, {1, 0}));
  measure<elsa::NestedDepthwise>(cases::depthwise("NestedDepthwise", {1, 1, 1, 1}, 1));
  measure<elsa::NestedConvDepthwise>(cases::conv_depthwise("NestedConvDepthwise", image, 1));
  measure<elsa::NestedMatMul>(cases::matmul("NestedMatMul", 1, 8, 8, {1, 0}));
  measure<elsa::PlanesFromImage>(cases::copies("PlanesFromImage", 1, {1, 1, 1, 1}));
  measure<elsa::ImageFromPlanes>(cases::copies("ImageFromPlanes", 1, {1, 1, 1, cases::plane_floats(1, 3)}));
}
