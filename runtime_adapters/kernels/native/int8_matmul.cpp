// Rows of x one after the other, parts of the matrix on all threads.
#include "int8_matmul.h"

#include <algorithm>
#include <cstring>

#include "layout.h"
#include "scratch.h"
#include "split.h"

namespace elsa {
namespace {

thread_local Scratch sum_scratch;  // of each worker

}  // namespace

void Int8Rows::compute(const ort::Context& context) const {
  const ort::Tensor x = context.input(0, kOrtFloat, "the input");
  require(x.dims.size() >= 1 && x.dims.back() >= 1, "the input has no last dimension");
  const int64_t level = context.level(1, steps_.levels());
  const int64_t columns = x.dims.back(), padded = round_up(columns, 4), count = x.count() / columns;
  ort::Dims dims = x.dims;
  dims.back() = padded;
  uint8_t* y = static_cast<uint8_t*>(context.raw_output(dims));
  const float inverse = 1.0f / steps_.step(level);
  for (int64_t n = 0; n < count; ++n) {
    const float* row = x.floats() + n * columns;
    // Four stretches of the row side by side would be turned: one channel at a time, so a code goes where its value was.
    kernels8().codes(row, columns, inverse, steps_.zero(level), y + n * padded);
    std::memset(y + n * padded + columns, steps_.zero_code(level), static_cast<size_t>(padded - columns));
  }
}

Int8Product::Int8Product(const ort::Info& info)
    : quads_(info.integer("quads", 1, 1 << 16)),
      rows_(info.integer("rows", 1, 1 << 24)),
      weights_(info, 4, rows_, quads_, NestedWeights::Values::kQuadRows),
      finish_(info, 2, 3, (rows_ + 3) / 4) {}

const uint8_t* Int8Product::rows_of(const ort::Context& context, int64_t last, ort::Dims* dims, int64_t* count) const {
  const ort::Tensor x = context.input(0, kOrtUint8, "the input");
  require(x.dims.size() >= 1 && x.dims.back() == 4 * quads_,
          [&] { return text("the last dimension of the input must be ", 4 * quads_); });
  *count = x.count() / (4 * quads_);
  *dims = x.dims;
  dims->back() = last;
  return static_cast<const uint8_t*>(x.data);
}

template <typename Body>
void Int8Product::sums(const ort::Context& context, const uint8_t* x, int64_t count, int64_t level, Body&& body) const {
  if (count == 0) return;
  weights_.validate(level);
  const auto& sweeps = weights_.sweeps(level);
  const int64_t quads = (rows_ + 3) / 4;
  const Split split = split_into(kTasks, quads, 2, 16);  // 8 rows side by side belong to one part
  const int64_t parts = split.parts();
  context.parallel(count * parts, [&](int64_t task) {
    const int64_t n = task / parts;
    const auto [quad, quad_end] = split.part(task % parts);
    // An int32 has the size of a float.
    auto* sums = reinterpret_cast<int32_t*>(sum_scratch.floats(static_cast<size_t>(split.size * 4)));
    kernels8().gemv(sweeps.data(), static_cast<int32_t>(sweeps.size()), x + n * quads_ * 4, static_cast<int32_t>(quad),
                    static_cast<int32_t>(quad_end), static_cast<int32_t>(rows_), weights_.start(level), sums);
    body(n, 4 * quad, 4 * (quad_end - quad), sums);
  });
}

void Int8MatMul::compute(const ort::Context& context) const {
  ort::Dims dims;
  int64_t count = 0;
  const int64_t padded = round_up(rows_, 4);
  const uint8_t* x = rows_of(context, padded, &dims, &count);
  const int64_t level = context.level(1, finish_.levels());
  uint8_t* y = static_cast<uint8_t*>(context.raw_output(dims));
  sums(context, x, count, level, [&](int64_t n, int64_t row, int64_t rows, const int32_t* values) {
    Finish8 f = finish_.at(level);
    f.scale += row, f.bias += row;
    kernels8().finish(values, rows, f, y + n * padded + row);
  });
}

void Int8MatMulFloat::compute(const ort::Context& context) const {
  ort::Dims dims;
  int64_t count = 0;
  const uint8_t* x = rows_of(context, rows_, &dims, &count);
  const int64_t level = context.level(1, finish_.levels());
  float* y = context.output(dims);
  sums(context, x, count, level, [&](int64_t n, int64_t row, int64_t rows, const int32_t* values) {
    const Finish8& f = finish_.at(level);
    kernels8().to_floats(values, std::min(rows, rows_ - row), f.scale + row, f.bias + row, low_, high_,
                         y + n * rows_ + row);
  });
}

}  // namespace elsa
