// A few rows of x one after the other; many as positions of an image: a weight that was fetched then serves them all.
#include "int8_matmul.h"

#include <algorithm>
#include <cstring>

#include "layout.h"
#include "scratch.h"
#include "split.h"
#include "turn.h"

namespace elsa {
namespace {

// Rows of x from which tiles pay. A tile of few rows costs as much as one of a whole line.
constexpr int64_t kTileRows = 12;

thread_local Scratch tile_scratch;  // of the calling thread, read by all
thread_local Scratch sum_scratch;   // of each worker
thread_local Scratch turn_scratch;  // of each worker

// An int32 has the size of a float.
int32_t* numbers(Scratch& scratch, int64_t count) {
  return reinterpret_cast<int32_t*>(scratch.floats(static_cast<size_t>(count)));
}

// An int32 has the size of a float, and is moved as one.
void turn(const int32_t* from, int64_t from_stride, int64_t rows, int64_t columns, int32_t* to, int64_t to_stride) {
  elsa::turn(reinterpret_cast<const float*>(from), from_stride, rows, columns, reinterpret_cast<float*>(to), to_stride);
}

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
    std::memset(y + n * padded + columns, held(steps_.zero_code(level)), static_cast<size_t>(padded - columns));
  }
}

Int8Product::Int8Product(const ort::Info& info)
    : quads_(info.integer("quads", 1, 1 << 16)),
      rows_(info.integer("rows", 1, 1 << 24)),
      weights_(info, 4, rows_, quads_, NestedWeights::Values::kQuadRows),
      finish_(info, 2, 3, (rows_ + 3) / 4),
      split_(split_into(kTasks, (rows_ + 3) / 4, 1, 16)),
      banded_(weights_.nested(), rows_, 4 * split_.size, kernels8().lanes) {
  const int64_t tile = kernels8().max_lines * kLine * 4;
  for (int64_t q = 0; q < quads_; ++q) offsets_.push_back(static_cast<int32_t>(q * tile));
}

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
  if (count < kTileRows)
    one_by_one(context, x, count, level, body);
  else
    in_tiles(context, x, count, level, body);
}

template <typename Body>
void Int8Product::one_by_one(const ort::Context& context, const uint8_t* x, int64_t count, int64_t level,
                             Body&& body) const {
  const BandedWeights::Level& bands = banded_.at(weights_.nested(), level);
  const int64_t parts = split_.parts();
  context.parallel(count * parts, [&](int64_t task) {
    const int64_t n = task / parts, part = task % parts;
    const auto [quad, quad_end] = split_.part(part);
    const int64_t first = 4 * quad, height = 4 * (quad_end - quad);
    int32_t* sums = numbers(sum_scratch, height);
    std::copy_n(weights_.start(level) + first, height, sums);
    banded_.each(bands, part, [&](BlockRows form, const Bands& some, int32_t begin, int32_t end) {
      kernels8().bands(form, some, begin, end, x + n * quads_ * 4, sums - first);
    });
    body(n, first, height, sums);
  });
}

template <typename Body>
void Int8Product::in_tiles(const ort::Context& context, const uint8_t* x, int64_t count, int64_t level,
                           Body&& body) const {
  const Kernels8& table = kernels8();
  const auto& sweeps = weights_.sweeps(level);
  // Tiles of equal size, so that the last one is not nearly empty.
  const int64_t width = table.max_lines * kLine, lines = divide_up(count, kLine);
  const int64_t tiles = divide_up(lines, table.max_lines);
  const auto first_of = [&](int64_t tile) { return std::min(count, lines * tile / tiles * kLine); };

  int32_t* packed = numbers(tile_scratch, tiles * quads_ * width);
  context.parallel(tiles, [&](int64_t tile) {
    const int64_t first = first_of(tile), here = first_of(tile + 1) - first;
    int32_t* to = packed + tile * quads_ * width;
    turn(reinterpret_cast<const int32_t*>(x) + first * quads_, quads_, here, quads_, to, width);
    // Nobody reads the sums of what fills the last line, but no byte that is read may be undefined.
    for (int64_t q = 0; q < quads_; ++q) std::fill(to + q * width + here, to + q * width + round_up(here, kLine), 0);
  });

  const Split parts = split_rows(round_up(rows_, 4), tiles);
  context.parallel(tiles * parts.parts(), [&](int64_t task) {
    const int64_t tile = task / parts.parts();
    const Range rows = parts.part(task % parts.parts());
    const int64_t first = first_of(tile), here = first_of(tile + 1) - first, height = rows.end - rows.begin;
    Tile8 t;
    t.x = reinterpret_cast<const uint8_t*>(packed + tile * quads_ * width);
    t.offset = offsets_.data();
    t.sweep = sweeps.data(), t.sweeps = static_cast<int32_t>(sweeps.size());
    t.quad_begin = static_cast<int32_t>(rows.begin / 4), t.quad_end = static_cast<int32_t>(rows.end / 4);
    t.row_count = static_cast<int32_t>(rows_);
    t.lines = static_cast<int32_t>(divide_up(here, kLine));
    t.start = weights_.start(level);
    int32_t* sums = numbers(sum_scratch, height * width);
    table.tile_sums(t, sums);
    int32_t* turned = numbers(turn_scratch, height * here);
    turn(sums, width, height, here, turned, height);
    for (int64_t n = 0; n < here; ++n) body(first + n, rows.begin, height, turned + n * height);
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
