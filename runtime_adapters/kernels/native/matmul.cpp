// Few rows of x: each output is a sparse dot product. Many: x is turned so that its rows are the pixels of a 1x1
// convolution, a stretch of them at a time.
#include "matmul.h"

#include <algorithm>

#include "layout.h"
#include "scratch.h"

namespace elsa {
namespace {

constexpr int64_t kFew = 4;  // rows of x below which turning them does not pay

thread_local Scratch turned_scratch;  // of the calling thread, read by all
thread_local Scratch output_scratch;  // of each worker
thread_local Scratch partial_scratch;
thread_local std::vector<int32_t> turned_offsets;

}  // namespace

NestedMatMul::NestedMatMul(const ort::Info& info)
    : columns_(info.integer("columns", 1, 1 << 24)),
      rows_(info.integer("rows", 1, 1 << 24)),
      weights_(info, 3, rows_, columns_, rows_),
      finish_(info, 2, rows_) {}

void NestedMatMul::compute(const ort::Context& context) const {
  const ort::Tensor x = context.input(0, kOrtFloat, "the input");
  ort::require(!x.dims.empty() && x.dims.back() == columns_,
               "the last dimension of the input must be " + std::to_string(columns_));
  const int64_t level = context.level(1, finish_.levels());
  weights_.validate(level);
  std::vector<int64_t> dims = x.dims;
  dims.back() = rows_;
  float* y = context.output(dims);
  const int64_t count = x.count() / columns_;
  if (count == 0) return;
  count < kFew ? few(context, x.floats(), count, level, y) : many(context, x.floats(), count, level, y);
}

void NestedMatMul::few(const ort::Context& context, const float* x, int64_t count, int64_t level, float* y) const {
  const KernelTable& table = kernels();
  const auto& passes = weights_.passes(level);
  const int64_t part_rows = round_up(std::max<int64_t>(64, (rows_ + 7) / 8), 16);
  const int64_t parts = (rows_ + part_rows - 1) / part_rows;
  context.parallel(count * parts, [&](int64_t task) {
    const int64_t n = task / parts, row = task % parts * part_rows, row_end = std::min(row + part_rows, rows_);
    float* out = y + n * rows_;
    std::fill(out + row, out + row_end, 0.0f);
    for (const auto& pass : passes) {
      const GroupRange range = groups_of(row, row_end, pass.block_rows);
      const float* block = x + n * columns_ + static_cast<int64_t>(pass.block) * weights_.column_block();
      table.gemv(pass.block_rows, pass.value_type, pass.runs.data(), static_cast<int32_t>(pass.runs.size()), block,
                 range.begin, range.end, static_cast<int32_t>(row_end), out);
    }
    Epilogue e = finish_.at(level);
    e.scale += row, e.bias += row;
    table.finish(out + row, row_end - row, e);
  });
}

void NestedMatMul::many(const ort::Context& context, const float* x, int64_t count, int64_t level, float* y) const {
  const KernelTable& table = kernels();
  const auto& passes = weights_.passes(level);
  const int64_t lines = (count + kLine - 1) / kLine;
  const int64_t tile_lines = std::min<int64_t>(weights_.tile_lines(level, table), lines);
  const int64_t width = tile_lines * kLine;
  if (static_cast<int64_t>(turned_offsets.size()) < columns_) turned_offsets.resize(static_cast<size_t>(columns_));
  const int64_t wanted =
      std::clamp<int64_t>(8 / ((lines + tile_lines - 1) / tile_lines), 1, std::max<int64_t>(1, rows_ / 32));
  const int64_t part_rows = round_up((rows_ + wanted - 1) / wanted, 4);
  const int64_t parts = (rows_ + part_rows - 1) / part_rows;
  int32_t* offsets = turned_offsets.data();
  for (int64_t c = 0; c < columns_; ++c) offsets[c] = static_cast<int32_t>(c * width);
  ort::require(columns_ * width < (int64_t{1} << 31), "the input is too wide");

  float* turned = turned_scratch.floats(static_cast<size_t>(columns_ * width));
  for (int64_t first = 0; first < count; first += width) {
    const int64_t here = std::min(width, count - first);
    const int64_t used = (here + kLine - 1) / kLine;
    const int64_t chunk = round_up((columns_ + 7) / 8, 16);
    context.parallel((columns_ + chunk - 1) / chunk, [&](int64_t i) {
      const int64_t c0 = i * chunk, c1 = std::min(c0 + chunk, columns_);
      for (int64_t r0 = 0; r0 < used * kLine; r0 += 16)
        for (int64_t c = c0; c < c1; ++c)
          for (int64_t r = r0; r < r0 + 16; ++r)
            turned[c * width + r] = r < here ? x[(first + r) * columns_ + c] : 0.0f;
    });
    context.parallel(parts, [&](int64_t part) {
      const int64_t row = part * part_rows, row_end = std::min(row + part_rows, rows_);
      float* out = output_scratch.floats(static_cast<size_t>((part_rows + 4) * width));
      SparseTile t;
      t.partial = passes.size() > 1 ? partial_scratch.floats(static_cast<size_t>((part_rows + 4) * width)) : nullptr;
      t.partial_row = row;
      t.partial_stride = width;
      t.row_count = static_cast<int32_t>(row_end);
      t.x = turned;
      t.y_stride = width;
      t.far = false;
      t.finish = finish_.at(level);
      // Rows are numbered from the start of the layer; their memory starts at this part.
      t.y = out;
      t.y_row = row;
      for (size_t i = 0; i < passes.size(); ++i) {
        const auto& pass = passes[i];
        const GroupRange range = groups_of(row, row_end, pass.block_rows);
        t.offset = offsets + static_cast<int64_t>(pass.block) * weights_.column_block();
        t.run = pass.runs.data();
        t.runs = static_cast<int32_t>(pass.runs.size());
        t.group_begin = range.begin, t.group_end = range.end;
        t.first = i == 0, t.last = i + 1 == passes.size();
        table.sparse(pass.block_rows, pass.value_type, static_cast<int>(used), t);
      }
      for (int64_t n0 = 0; n0 < here; n0 += 16)
        for (int64_t r0 = row; r0 < row_end; r0 += 16)
          for (int64_t n = n0; n < std::min(n0 + 16, here); ++n)
            for (int64_t r = r0; r < std::min(r0 + 16, row_end); ++r)
              y[(first + n) * rows_ + r] = out[(r - row) * width + n];
    });
  }
}

}  // namespace elsa
