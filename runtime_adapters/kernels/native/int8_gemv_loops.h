// Products of a sparse matrix with one vector in 8 bits. Part of kernels8.cpp.
#pragma once
#include "int8_loops.h"

namespace elsa {
namespace {

// Weights are read once and in order, but from far: blocks ahead of which they are asked for.
constexpr uint32_t kAhead = 256;

// One row, its blocks one after the other: only where a matrix of a convolution meets a vector.
inline int32_t row_product(const Run& run, int32_t row, const uint8_t* x) {
  const int32_t* value = static_cast<const int32_t*>(run.value);
  const uint32_t end = run.pointer[row + 1];
  Int sum{};
  uint32_t i = run.pointer[row];
  for (; i + kLanes <= end; i += kLanes) sum = dot4(sum, pick(x, run.index + i), Safe(load(value + i)));
  for (; i < end; ++i) sum = dot4(sum, first_lane(quad_at(x, run.index[i])), Safe(first_lane(value[i])));
  return add_lanes(sum);
}

// Eight rows side by side: a row is a lane, or a lane of each half.
inline void octet_product(const Run& run, int32_t octet, const uint8_t* x, int32_t* sums) {
  const int32_t* value = static_cast<const int32_t*>(run.value);
  const uint16_t* index = run.index;
  uint32_t i = run.pointer[octet];
  const uint32_t end = run.pointer[octet + 1];
  Int sum[2] = {};
  const auto add = [&](uint32_t at, int which) {
    sum[which] = dot4(sum[which], pick(x, index + at), Safe(load(value + at)));
  };
  if constexpr (kLanes == 4) {
    for (; i < end; i += 8) {
      __builtin_prefetch(value + i + kAhead);
      add(i, 0), add(i + 4, 1);
    }
    for (int r = 0; r < 8; ++r) sums[r] += sum[r / 4][r % 4];
  } else {
    for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
      __builtin_prefetch(value + i + kAhead);
      add(i, 0), add(i + kLanes, 1);
    }
    for (; i + kLanes <= end; i += kLanes) add(i, 0);
    if (i < end) {  // half of a long vector
      alignas(64) int32_t weight[kLanes] = {};
      uint16_t column[kLanes] = {};
      __builtin_memcpy(weight, value + i, 32);
      __builtin_memcpy(column, index + i, 16);
      sum[0] = dot4(sum[0], pick(x, column), Safe(load(weight)));
    }
    const Int total = sum[0] + sum[1];
    for (int r = 0; r < kLanes; ++r) sums[r % 8] += total[r];
  }
}

// Four rows that share their blocks: lanes are rows, kLanes / 4 blocks at a time.
inline void quad_product(const Run& run, int32_t quad, const uint8_t* x, int32_t* sums) {
  constexpr uint32_t kBlocks = kLanes / 4;
  const int8_t* value = static_cast<const int8_t*>(run.value);
  const uint32_t end = run.pointer[quad + 1];
  Int sum{};
  int32_t near[4] = {};
  uint32_t i = run.pointer[quad];
  for (; i + kBlocks <= end; i += kBlocks) {
    __builtin_prefetch(value + static_cast<int64_t>(i) * 16 + 4 * kAhead);
    for (uint32_t b = 0; b < kBlocks; ++b) near[b] = quad_at(x, run.index[i + b]);
    sum = dot4(sum, fours(near), Safe(load(value + static_cast<int64_t>(i) * 16)));
  }
  if (i < end) {
    alignas(64) int8_t weight[kBytes] = {};
    for (uint32_t b = 0; b < 4; ++b) near[b] = i + b < end ? quad_at(x, run.index[i + b]) : 0;
    for (uint32_t b = 0; i + b < end; ++b)
      __builtin_memcpy(weight + 16 * b, value + static_cast<int64_t>(i + b) * 16, 16);
    sum = dot4(sum, fours(near), Safe(load(weight)));
  }
  for (uint32_t b = 0; b < kBlocks; ++b)
    for (uint32_t r = 0; r < 4; ++r) sums[r] += sum[b * 4 + r];
}

void gemv(const Sweep* sweep, int32_t sweeps, const uint8_t* x, int32_t quad_begin, int32_t quad_end, int32_t row_count,
          const int32_t* start, int32_t* sums) {
  for (int32_t q = quad_begin; q < quad_end; q += 2) {
    int32_t* eight = sums + 4 * (q - quad_begin);
    __builtin_memcpy(eight, start + 4 * q, 32);
    for (int32_t k = 0; k < sweeps; ++k)
      for (int32_t j = 0; j < sweep[k].runs; ++j) {
        const Run& run = sweep[k].run[j];
        if (sweep[k].block_rows == 8) {
          octet_product(run, q / 2, x, eight);
        } else if (sweep[k].block_rows == 4) {
          for (int32_t h = 0; h < 2 && q + h < quad_end; ++h) quad_product(run, q + h, x, eight + 4 * h);
        } else {
          for (int32_t r = 0; r < 8 && 4 * q + r < row_count; ++r) eight[r] += row_product(run, 4 * q + r, x);
        }
      }
  }
}

}  // namespace
}  // namespace elsa
