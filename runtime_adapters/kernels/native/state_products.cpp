// A product is of whole parts of the bands: all gates of a direction, or each gate where one is multiplied later.
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

// The rows of a part. The last product of a GRU may have to wait for its reset gate.
int64_t share_of(const Recurrence& layer, bool has_cell) { return has_cell ? layer.gate_rows() : layer.units(); }

// multiply(form, bands, begin, end) for the parts of some rows.
template <typename Multiply>
void multiply_rows(const BandedWeights& weights, const BandedWeights::Level& level, Range rows, int64_t share,
                   Multiply&& multiply) {
  for (int64_t part = rows.begin / share; part * share < rows.end; ++part) weights.each(level, part, multiply);
}

}  // namespace

FloatStateProduct::FloatStateProduct(const ort::Info& info, int64_t gates, bool has_cell)
    : recurrence_(info, gates, has_cell, 3),
      share_(share_of(recurrence_, has_cell)),
      weights_(info, 6, recurrence_.rows(), recurrence_.units(), recurrence_.rows()),
      banded_(weights_, recurrence_.rows(), share_, kernels().vector_units),
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
  std::fill(sums + rows.begin, sums + rows.end, 0.0f);
  multiply_rows(banded_, banded_.at(weights_, level), rows, share_,
                [&](BlockRows form, const Bands& bands, int32_t begin, int32_t end) {
                  table.bands(form, bands, begin, end, h, sums);
                });
  Epilogue e = finish_.at(level);
  e.scale += rows.begin, e.bias += rows.begin;
  table.finish(sums + rows.begin, rows.end - rows.begin, e);
}

Int8StateProduct::Int8StateProduct(const ort::Info& info, int64_t gates, bool has_cell)
    : recurrence_(info, gates, has_cell, 5),
      quads_(divide_up(recurrence_.units(), 4)),
      share_(share_of(recurrence_, has_cell)),
      weights_(info, 8, recurrence_.rows(), quads_, NestedWeights::Values::kQuadRows),
      banded_(weights_.nested(), recurrence_.rows(), share_, kernels8().lanes),
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
  const int64_t units = recurrence_.units(), padded = 4 * quads_, height = rows.end - rows.begin;
  auto* codes = reinterpret_cast<uint8_t*>(code_scratch.floats(static_cast<size_t>(quads_)));
  table.codes(h, units, 1.0f / steps_.step(level), steps_.zero(level), codes);
  std::memset(codes + units, held(steps_.zero_code(level)), static_cast<size_t>(padded - units));

  // An int32 has the size of a float.
  auto* numbers = reinterpret_cast<int32_t*>(number_scratch.floats(static_cast<size_t>(height)));
  std::copy_n(weights_.start(level) + rows.begin, height, numbers);
  multiply_rows(banded_, banded_.at(weights_.nested(), level), rows, share_,
                [&](BlockRows form, const Bands& bands, int32_t begin, int32_t end) {
                  table.bands(form, bands, begin, end, codes, numbers - rows.begin);
                });
  const Finish8& f = finish_.at(level);
  constexpr float kAny = std::numeric_limits<float>::infinity();
  table.to_floats(numbers, height, f.scale + rows.begin, f.bias + rows.begin, -kAny, kAny, sums + rows.begin);
}

}  // namespace elsa
