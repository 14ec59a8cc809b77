// Few rows of x: each output is a sparse dot product. Many: x is turned so that its rows are the pixels of a 1x1
// convolution, a stretch of them at a time.
#include "matmul.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "layout.h"
#include "scratch.h"
#include "split.h"
#include "turn.h"

namespace elsa {
namespace {

// Rows of x below which turning them does not pay.
constexpr int64_t kFew = 4;
// Rows of weights in a part, at least, for few rows of x: less work is done before another thread has woken up.
constexpr int64_t kLeastRowsOfFew = 64;
// Side of the squares in which a matrix is turned: a line of floats.
constexpr int64_t kSquare = kLine;

// The calling thread's, read by all.
thread_local Scratch narrow_scratch;
thread_local Scratch turned_scratch;
thread_local std::vector<int32_t> turned_offsets;
// Each worker's.
thread_local Scratch output_scratch;

// to[c * width + r] = from[r * columns + c] for columns [begin, end) and `rows` rows, zero up to whole lines of rows.
template <typename Unit>
void turn_in(const Unit* from, int64_t rows, int64_t columns, int64_t begin, int64_t end, Unit* to, int64_t width) {
  if constexpr (std::is_same_v<Unit, float>) {
    turn(from + begin, columns, rows, end - begin, to + begin * width, width);
    for (int64_t c = begin; c < end; ++c)
      std::fill(to + c * width + rows, to + c * width + round_up(rows, kLine), 0.0f);
    return;
  }
  for (int64_t r0 = 0; r0 < round_up(rows, kLine); r0 += kSquare)
    for (int64_t c = begin; c < end; ++c)
      for (int64_t r = r0; r < r0 + kSquare; ++r) to[c * width + r] = r < rows ? from[r * columns + c] : Unit{};
}

// to[n * rows + r] = from[(r - begin) * width + n] for rows [begin, end) and n below `count`.
template <typename Unit>
void turn_out(const Unit* from, int64_t width, int64_t count, Range part, Unit* to, int64_t rows) {
  if constexpr (std::is_same_v<Unit, float>)
    return turn(from, width, part.end - part.begin, count, to + part.begin, rows);
  for (int64_t n0 = 0; n0 < count; n0 += kSquare)
    for (int64_t r0 = part.begin; r0 < part.end; r0 += kSquare)
      for (int64_t n = n0; n < std::min(n0 + kSquare, count); ++n)
        for (int64_t r = r0; r < std::min(r0 + kSquare, part.end); ++r)
          to[n * rows + r] = from[(r - part.begin) * width + n];
}

}  // namespace

template <typename Unit>
NestedMatMul<Unit>::NestedMatMul(const ort::Info& info)
    : columns_(info.integer("columns", 1, 1 << 24)),
      rows_(info.integer("rows", 1, 1 << 24)),
      weights_(info, 3, rows_, columns_, rows_, kValues<Unit>),
      finish_(info, 2, rows_) {}

template <typename Unit>
void NestedMatMul<Unit>::compute(const ort::Context& context) const {
  const ort::Tensor x = context.input(0, kOrtFloat, "the input");
  require(x.dims.size() > 0 && x.dims.back() == columns_,
          [&] { return text("the last dimension of the input must be ", columns_); });
  const int64_t level = context.level(1, finish_.levels());
  weights_.validate(level);
  ort::Dims dims = x.dims;
  dims.back() = rows_;
  float* y = context.output(dims);
  const int64_t count = x.count() / columns_;
  if (count == 0) return;
  if (count < kFew) return few(context, x.floats(), count, level, y);
  if constexpr (std::is_same_v<Unit, float>) {
    many(context, x.floats(), count, level, y);
  } else {
    const Split parts = split_into(kTasks, count);
    Half* narrow = narrow_scratch.of<Half>(static_cast<size_t>(count * (columns_ + rows_)));
    Half* made = narrow + count * columns_;
    parallel_ranges(context, parts, [&](int64_t begin, int64_t end) {
      halves().narrow(x.floats() + begin * columns_, (end - begin) * columns_, narrow + begin * columns_);
    });
    many(context, narrow, count, level, made);
    parallel_ranges(context, parts, [&](int64_t begin, int64_t end) {
      halves().widen(made + begin * rows_, (end - begin) * rows_, y + begin * rows_);
    });
  }
}

template <typename Unit>
void NestedMatMul<Unit>::few(const ort::Context& context, const float* x, int64_t count, int64_t level,
                             float* y) const {
  const PlaneTable<Unit>& table = UnitOf<Unit>::table();
  const auto& passes = weights_.passes(level);
  const Split split = split_into(kTasks, rows_, kLine, kLeastRowsOfFew);
  const int64_t parts = split.parts();
  context.parallel(count * parts, [&](int64_t task) {
    const int64_t n = task / parts;
    const Range rows = split.part(task % parts);
    float* out = y + n * rows_;
    std::fill(out + rows.begin, out + rows.end, 0.0f);
    for (const auto& pass : passes) {
      const GroupRange groups = groups_of(rows, pass.block_rows);
      const float* block = x + n * columns_ + static_cast<int64_t>(pass.block) * weights_.column_block();
      table.gemv(pass.block_rows, pass.value_type, pass.runs.data(), static_cast<int32_t>(pass.runs.size()), block,
                 groups.begin, groups.end, static_cast<int32_t>(rows.end), out);
    }
    const EpilogueOf<Unit>& all = finish_.at(level);
    const Epilogue e{
        all.scale + rows.begin, all.bias + rows.begin, nullptr, nullptr, all.activation, all.low, all.high};
    kernels().finish(out + rows.begin, rows.end - rows.begin, e);
  });
}

template <typename Unit>
void NestedMatMul<Unit>::many(const ort::Context& context, const Unit* x, int64_t count, int64_t level, Unit* y) const {
  const PlaneTable<Unit>& table = UnitOf<Unit>::table();
  const int64_t lines = divide_up(count, kLine);
  const int64_t tile_lines = std::min<int64_t>(weights_.tile_lines(level, table), lines);
  const int64_t width = tile_lines * kLine;
  require(columns_ * width <= std::numeric_limits<int32_t>::max(), "the input is too wide");
  if (static_cast<int64_t>(turned_offsets.size()) < columns_) turned_offsets.resize(static_cast<size_t>(columns_));
  int32_t* offsets = turned_offsets.data();
  for (int64_t c = 0; c < columns_; ++c) offsets[c] = static_cast<int32_t>(c * width);
  const Split split = split_rows(rows_, divide_up(lines, tile_lines));

  Unit* turned = turned_scratch.of<Unit>(static_cast<size_t>(columns_ * width));
  for (int64_t first = 0; first < count; first += width) {
    const int64_t here = std::min(width, count - first);
    parallel_ranges(context, split_into(kTasks, columns_, kLine), [&](int64_t begin, int64_t end) {
      turn_in(x + first * columns_, here, columns_, begin, end, turned, width);
    });
    parallel_ranges(context, split, [&](int64_t begin, int64_t end) {
      Unit* out = output_scratch.of<Unit>(static_cast<size_t>((split.size + kRowUnit) * width));
      SparseTileOf<Unit> t;
      t.x = turned;
      // Rows are numbered from the start of the layer; their memory starts at this part.
      t.y = out;
      t.y_row = begin;
      t.y_stride = width;
      t.far = false;
      t.finish = finish_.at(level);
      weights_.sweep(table, level, {begin, end}, divide_up(here, kLine), offsets, t);
      turn_out(out, width, here, {begin, end}, y + first * rows_, rows_);
    });
  }
}

template class NestedMatMul<float>;
template class NestedMatMul<Half>;

}  // namespace elsa
