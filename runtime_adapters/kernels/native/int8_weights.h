// Nested weights in 8 bits: segments of quads, as sweeps of each level, and what the sums start from.
#pragma once
#include <memory>
#include <vector>

#include "int8.h"
#include "once.h"
#include "weights.h"

namespace elsa {

class Weights8 {
 public:
  // Inputs first_input .. last are segments of a weight of `rows` output channels and `columns` quads of codes.
  Weights8(const ort::Info& info, size_t first_input, int64_t rows, int64_t columns,
           NestedWeights::Values values = NestedWeights::Values::kQuads);

  // Checks the segments of a level, each once, and adds up what the loops need. Throws std::runtime_error.
  void validate(int64_t level) const;
  const NestedWeights& nested() const { return weights_; }
  const std::vector<Sweep>& sweeps(int64_t level) const { return sweeps_[at(level)]; }
  // (rows padded to a multiple of 8), after `validate`.
  const int32_t* start(int64_t level) const { return starts_[at(level)].values.data(); }

 private:
  size_t at(int64_t level) const { return std::min<size_t>(static_cast<size_t>(level), sweeps_.size() - 1); }
  std::vector<int32_t> add_up(const std::vector<Sweep>& sweeps) const;

  struct Start {
    Once once;
    std::vector<int32_t> values;
  };

  int64_t rows_;
  NestedWeights weights_;
  std::vector<std::vector<Sweep>> sweeps_;  // one list a segment count; point into weights_
  std::unique_ptr<Start[]> starts_;
};

}  // namespace elsa
