// Each step is a product with one vector, then the gates.
#include "cells.h"

#include <algorithm>

#include "int8.h"
#include "scratch.h"

namespace elsa {
namespace {

// Each worker's.
thread_local Scratch sum_scratch;
thread_local Scratch reset_scratch;

}  // namespace

float* NestedCell::sums() const { return sum_scratch.floats(static_cast<size_t>(recurrence_.rows())); }

void NestedCell::product(int64_t level, int64_t direction, int64_t first, int64_t last, const float* h,
                         float* sums) const {
  const KernelTable& table = kernels();
  const int64_t units = recurrence_.units(), start = direction * recurrence_.gate_rows();
  const Range rows{start + first * units, start + last * units};
  std::fill(sums + rows.begin, sums + rows.end, 0.0f);
  for (const auto& pass : weights_.passes(level)) {
    const GroupRange groups = groups_of(rows, pass.block_rows);
    const float* block = h + static_cast<int64_t>(pass.block) * weights_.column_block();
    table.gemv(pass.block_rows, pass.value_type, pass.runs.data(), static_cast<int32_t>(pass.runs.size()), block,
               groups.begin, groups.end, static_cast<int32_t>(rows.end), sums);
  }
  Epilogue e = finish_.at(level);
  e.scale += rows.begin, e.bias += rows.begin;
  table.finish(sums + rows.begin, rows.end - rows.begin, e);
}

void NestedLstm::compute(const ort::Context& context) const {
  const int64_t level = context.level(1, finish_.levels());
  weights_.validate(level);
  recurrence_.run(context, [&](int64_t direction, const float* from_input, float* h, float* c) {
    float* all = sums();
    product(level, direction, 0, 4, h, all);
    kernels8().lstm({recurrence_.units(), from_input, all + direction * recurrence_.gate_rows(), h, c});
  });
}

void NestedGru::compute(const ort::Context& context) const {
  const int64_t level = context.level(1, finish_.levels());
  weights_.validate(level);
  recurrence_.run(context, [&](int64_t direction, const float* from_input, float* h, float*) {
    float* all = sums();
    const CellStep step{recurrence_.units(), from_input, all + direction * recurrence_.gate_rows(), h, nullptr};
    product(level, direction, 0, resets_sums_ ? 3 : 2, h, all);
    if (!resets_sums_) {
      float* reset = reset_scratch.floats(static_cast<size_t>(recurrence_.units()));
      kernels8().gru_reset(step, reset);
      product(level, direction, 2, 3, reset, all);
    }
    kernels8().gru(step, resets_sums_);
  });
}

}  // namespace elsa
