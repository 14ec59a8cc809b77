// Sweeps of each level, and 128 times the sum of a row's weights for loops that work on signed pixels.
#include "int8_weights.h"

#include "layout.h"

namespace elsa {

Weights8::Weights8(const ort::Info& info, size_t first_input, int64_t rows, int64_t columns,
                   NestedWeights::Values values)
    : rows_(rows), weights_(info, first_input, rows, columns, rows, values) {
  require(weights_.column_block() >= static_cast<uint64_t>(columns), "8-bit weights must be one block of columns");
  const size_t counts = weights_.counts();
  for (size_t k = 0; k < counts; ++k) {
    std::vector<Sweep> list;
    for (const auto& pass : weights_.passes(static_cast<int64_t>(k)))
      list.push_back({static_cast<int32_t>(pass.block_rows), pass.runs.data(), static_cast<int32_t>(pass.runs.size())});
    sweeps_.push_back(std::move(list));
  }
  starts_ = std::make_unique<Start[]>(counts);
}

void Weights8::validate(int64_t level) const {
  weights_.validate(level);
  Start& start = starts_[at(level)];
  start.once.run([&] { start.values = add_up(sweeps(level)); });
}

std::vector<int32_t> Weights8::add_up(const std::vector<Sweep>& sweeps) const {
  std::vector<int32_t> sums(static_cast<size_t>(round_up(rows_, 8)), 0);
  if (!kernels8().signed_pixels) return sums;
  for (const Sweep& sweep : sweeps)
    for (int32_t k = 0; k < sweep.runs; ++k) {
      const Run& run = sweep.run[k];
      const int8_t* value = static_cast<const int8_t*>(run.value);
      const int64_t unit = sweep.block_rows, side = unit == 8 ? 8 : 1, height = unit / side;
      for (int64_t g = 0; g < divide_up(rows_, unit); ++g)
        for (uint32_t i = run.pointer[g]; i < run.pointer[g + 1]; ++i)
          for (int64_t r = 0; r < height; ++r)
            for (int64_t c = 0; c < 4; ++c)
              sums[static_cast<size_t>(g * unit + i % side + r)] += 128 * value[(i * height + r) * 4 + c];
    }
  return sums;
}

}  // namespace elsa
