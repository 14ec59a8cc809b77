// A product leaves the sums of other rows as they were, also where a block of 4 rows has some of them.
#include "state_products.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "layout.h"
#include "scratch.h"
#include "split.h"

namespace elsa {
namespace {

// Each worker's.
thread_local Scratch code_scratch;
thread_local Scratch number_scratch;

Range rows_of(const Recurrence& layer, int64_t direction, int64_t first, int64_t last) {
  const int64_t start = direction * layer.gate_rows();
  return {start + first * layer.units(), start + last * layer.units()};
}

}  // namespace

FloatStateProduct::FloatStateProduct(const ort::Info& info, int64_t gates, bool has_cell)
    : recurrence_(info, gates, has_cell, 3),
      weights_(info, 6, recurrence_.rows(), recurrence_.units(), recurrence_.rows()),
      finish_(info, 2, recurrence_.rows()) {}

int64_t FloatStateProduct::start(const ort::Context& context) const {
  const int64_t level = context.level(1, finish_.levels());
  weights_.validate(level);
  return level;
}

void FloatStateProduct::product(int64_t level, int64_t direction, int64_t first, int64_t last, const float* h,
                                float* sums) const {
  const KernelTable& table = kernels();
  const Range rows = rows_of(recurrence_, direction, first, last);
  // Of a GRU's last gate, these may be of gates that are still to be read.
  float before[kRowUnit];
  float* const block_start = sums + rows.begin / kRowUnit * kRowUnit;
  std::copy(block_start, sums + rows.begin, before);
  std::fill(sums + rows.begin, sums + rows.end, 0.0f);
  for (const auto& pass : weights_.passes(level)) {
    const GroupRange groups = groups_of(rows, pass.block_rows);
    const float* block = h + static_cast<int64_t>(pass.block) * weights_.column_block();
    table.gemv(pass.block_rows, pass.value_type, pass.runs.data(), static_cast<int32_t>(pass.runs.size()), block,
               groups.begin, groups.end, static_cast<int32_t>(rows.end), sums);
  }
  std::copy(before, before + (sums + rows.begin - block_start), block_start);
  Epilogue e = finish_.at(level);
  e.scale += rows.begin, e.bias += rows.begin;
  table.finish(sums + rows.begin, rows.end - rows.begin, e);
}

Int8StateProduct::Int8StateProduct(const ort::Info& info, int64_t gates, bool has_cell)
    : recurrence_(info, gates, has_cell, 5),
      quads_(divide_up(recurrence_.units(), 4)),
      weights_(info, 8, recurrence_.rows(), quads_, NestedWeights::Values::kQuadRows),
      finish_(info, 2, 3, divide_up(recurrence_.rows(), 4)),
      steps_(info, 4) {
  require(steps_.levels() == finish_.levels(), "the state must have steps for every level");
}

int64_t Int8StateProduct::start(const ort::Context& context) const {
  const int64_t level = context.level(1, finish_.levels());
  weights_.validate(level);
  return level;
}

void Int8StateProduct::product(int64_t level, int64_t direction, int64_t first, int64_t last, const float* h,
                               float* sums) const {
  const Kernels8& table = kernels8();
  const Range rows = rows_of(recurrence_, direction, first, last);
  const int64_t units = recurrence_.units(), padded = 4 * quads_, eights = round_up(recurrence_.rows(), 8);
  auto* codes = reinterpret_cast<uint8_t*>(code_scratch.floats(static_cast<size_t>(quads_)));
  table.codes(h, units, 1.0f / steps_.step(level), steps_.zero(level), codes);
  std::memset(codes + units, held(steps_.zero_code(level)), static_cast<size_t>(padded - units));

  // An int32 has the size of a float. Eight rows lie side by side.
  auto* numbers = reinterpret_cast<int32_t*>(number_scratch.floats(static_cast<size_t>(eights)));
  const int64_t quad = rows.begin / 8 * 2, quad_end = divide_up(rows.end, 4);
  const auto& sweeps = weights_.sweeps(level);
  table.gemv(sweeps.data(), static_cast<int32_t>(sweeps.size()), codes, static_cast<int32_t>(quad),
             static_cast<int32_t>(quad_end), static_cast<int32_t>(recurrence_.rows()), weights_.start(level),
             numbers + 4 * quad);
  const Finish8& f = finish_.at(level);
  constexpr float kAny = std::numeric_limits<float>::infinity();
  table.to_floats(numbers + rows.begin, rows.end - rows.begin, f.scale + rows.begin, f.bias + rows.begin, -kAny, kAny,
                  sums + rows.begin);
}

}  // namespace elsa
