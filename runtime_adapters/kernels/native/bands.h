// Weights of a level as products with one vector read them. A segment holds what one level adds, rows in their order: ends of
// short rows, guessed wrong each time, and rows of unequal lengths would take longer than the products. So what a level
// multiplies is laid out anew at its first use, all its segments together, rows of like lengths side by side (kernels.h). It
// costs a copy of the level's active weights, columns included, that lives as long as the session.
#pragma once
#include <memory>
#include <vector>

#include "kernels.h"
#include "once.h"
#include "weights.h"

namespace elsa {

class BandedWeights {
 public:
  // `share` rows are one part, whose product can be had alone; `lanes` are those of the vectors that will read them.
  BandedWeights(const NestedWeights& weights, int64_t rows, int64_t share, int lanes);

  struct Level {
    Bands rows, blocks;
    // (parts + 1) the first band of each part.
    std::vector<int32_t> rows_of, blocks_of;
  };
  // After `validate`; `weights` must still be there.
  const Level& at(const NestedWeights& weights, int64_t level) const;

  // multiply(form, bands, begin, end) for both forms of the bands of a part, as far as it has any.
  template <typename Multiply>
  void each(const Level& level, int64_t part, Multiply&& multiply) const {
    const auto p = static_cast<size_t>(part);
    const auto some = [&](BlockRows form, const Bands& bands, const std::vector<int32_t>& first) {
      if (first[p] < first[p + 1]) multiply(form, bands, first[p], first[p + 1]);
    };
    some(BlockRows::kOne, level.rows, level.rows_of);
    some(BlockRows::kFour, level.blocks, level.blocks_of);
  }

 private:
  // A cache line of values: aligned for every vector.
  struct alignas(64) Line {
    uint32_t bits[16];
  };
  // What Bands point to.
  struct Memory {
    std::vector<uint32_t> pointer;
    std::vector<int32_t> row;
    std::vector<uint16_t> column;
    std::vector<Line> value;
  };
  struct Prepared {
    Once once;
    Level level;
    Memory rows, blocks;
  };
  class Form;

  void prepare(const NestedWeights& weights, int64_t level, Prepared& to) const;
  template <typename Visit>
  void each_entry(const NestedWeights& weights, int64_t level, Visit&& visit) const;

  int64_t rows_, share_;
  int lanes_;
  std::unique_ptr<Prepared[]> prepared_;  // one a segment count
};

}  // namespace elsa
