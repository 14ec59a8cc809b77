// Products of a sparse matrix with one vector in 8 bits. Part of kernels8.cpp.
#pragma once
#include "int8_loops.h"

namespace elsa {
namespace {

// One row: kLanes blocks at a time, their quads of x picked from the near cache.
inline int32_t row_product(const Run& run, int32_t row, const uint8_t* x) {
  const int8_t* value = static_cast<const int8_t*>(run.value);
  const uint32_t begin = run.pointer[row], end = run.pointer[row + 1];
  Int sum{};
  uint32_t i = begin;
  for (; i + kLanes <= end; i += kLanes)
    sum = dot4(sum, pick(x, run.index + i), Safe(load(value + static_cast<int64_t>(i) * 4)));
  if (i < end) {
    uint16_t column[kLanes] = {};
    alignas(64) int8_t weight[kBytes] = {};
    __builtin_memcpy(column, run.index + i, (end - i) * 2);
    __builtin_memcpy(weight, value + static_cast<int64_t>(i) * 4, (end - i) * 4);
    sum = dot4(sum, pick(x, column), Safe(load(weight)));
  }
  return add_lanes(sum);
}

// Four rows that share their blocks: lanes are rows, kLanes / 4 blocks at a time.
inline void quad_product(const Run& run, int32_t quad, const uint8_t* x, int32_t* sums) {
  constexpr int kBlocks = kLanes / 4;
  const int8_t* value = static_cast<const int8_t*>(run.value);
  const uint32_t end = run.pointer[quad + 1];
  Int sum{};
  for (uint32_t i = run.pointer[quad]; i < end; i += kBlocks) {
    const uint32_t here = end - i < kBlocks ? end - i : kBlocks;
    Int pixels{};
    alignas(64) int8_t weight[kBytes] = {};
    for (uint32_t b = 0; b < here; ++b) {
      int32_t four;
      __builtin_memcpy(&four, x + run.index[i + b] * 4, 4);
      for (int r = 0; r < 4; ++r) pixels[b * 4 + r] = four;
    }
    if (here == kBlocks) {
      sum = dot4(sum, pixels, Safe(load(value + static_cast<int64_t>(i) * 16)));
    } else {
      __builtin_memcpy(weight, value + static_cast<int64_t>(i) * 16, here * 16);
      sum = dot4(sum, pixels, Safe(load(weight)));
    }
  }
  for (int b = 0; b < kBlocks; ++b)
    for (int r = 0; r < 4; ++r) sums[r] += sum[b * 4 + r];
}

void gemv(const Sweep* sweep, int32_t sweeps, const uint8_t* x, int32_t quad_begin, int32_t quad_end, int32_t row_count,
          const int32_t* start, int32_t* sums) {
  for (int32_t q = quad_begin; q < quad_end; ++q) {
    int32_t* four = sums + 4 * (q - quad_begin);
    for (int r = 0; r < 4; ++r) four[r] = start[4 * q + r];
    for (int32_t k = 0; k < sweeps; ++k)
      for (int32_t j = 0; j < sweep[k].runs; ++j) {
        const Run& run = sweep[k].run[j];
        if (sweep[k].block_rows == 4) {
          quad_product(run, q, x, four);
        } else {
          for (int32_t r = 0; r < 4 && 4 * q + r < row_count; ++r) four[r] += row_product(run, 4 * q + r, x);
        }
      }
  }
}

}  // namespace
}  // namespace elsa
