// The table of inner loops. Compiled once an instruction set: -DELSA_TABLE=name -DELSA_NAME="name" -DELSA_LANES=4|8|16.
#include "kernels.h"

#include <cstring>

#include "band_loops.h"
#include "depthwise_loops.h"
#include "gemv_loops.h"
#include "move_loops.h"
#include "sparse_loops.h"
#include "vectors.h"

namespace elsa {
namespace {

void gemv(BlockRows rows, ValueType type, const Run* run, int32_t runs, const float* x, int32_t begin, int32_t end,
          int32_t row_count, float* y) {
  type == ValueType::kInt8 ? gemv_of<int8_t>(rows, run, runs, x, begin, end, row_count, y)
                           : gemv_of<float>(rows, run, runs, x, begin, end, row_count, y);
}

float burst(int64_t rounds) {
  constexpr int kSums = 12;  // fits 16 registers and hides the latency
  Vec sum[kSums];
#pragma GCC unroll 16
  for (int n = 0; n < kSums; ++n) sum[n] = all(static_cast<float>(n));
  Vec factor = all(0.999f), term = all(0.001f);
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+r"(i));  // keeps the loop a loop
#pragma GCC unroll 16
    for (int n = 0; n < kSums; ++n) sum[n] = sum[n] * factor + term;
  }
  float total = 0;
#pragma GCC unroll 16
  for (int n = 0; n < kSums; ++n) total += sum[n][0];
  return total;
}

// The last values of an odd count go through a full vector on the stack.
void finish(float* y, int64_t count, const Epilogue& e) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Vec v = load(y + i) * load(e.scale + i) + load(e.bias + i);
    if (e.residual) v += load(e.residual + i);
    activate<1>(&v, e);
    store(y + i, v);
  }
  if (i == count) return;
  float padded[kLanes] = {};
  for (int64_t j = 0; j < count - i; ++j) {
    padded[j] = y[i + j] * e.scale[i + j] + e.bias[i + j];
    if (e.residual) padded[j] += e.residual[i + j];
  }
  Vec v = load(padded);
  activate<1>(&v, e);
  store(padded, v);
  std::memcpy(y + i, padded, static_cast<size_t>(count - i) * sizeof(float));
}

}  // namespace

extern const KernelTable ELSA_TABLE;
const KernelTable ELSA_TABLE = {
    {ELSA_NAME, kLanes, kMax1, kMax4, sparse, depthwise, strided, gather, split, gemv}, burst, bands, finish};

}  // namespace elsa
