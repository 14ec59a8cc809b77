// How work is cut into parts for the session's threads.
#pragma once
#include <algorithm>
#include <cstdint>

#include "layout.h"
#include "ort.h"

namespace elsa {

// Parts that one call is cut into: more than the cores of most devices have need of, so that none waits long for another.
constexpr int64_t kTasks = 8;
constexpr int64_t kPlaneTasks = 16;  // of work that is a copy: many small parts cost little
// Rows of weights in a part, at least: the pixels of a tile are fetched once for all of them.
constexpr int64_t kLeastRows = 32;
// Rows in a part are a multiple of this: a block of 4 rows belongs to one part.
constexpr int64_t kRowUnit = 4;

inline int64_t divide_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit; }

struct Range {
  int64_t begin, end;
};

// `count` things in parts of `size`; the last may have fewer.
struct Split {
  int64_t count, size;

  int64_t parts() const { return divide_up(count, size); }
  Range part(int64_t i) const { return {i * size, std::min((i + 1) * size, count)}; }
};

// At most `most` parts; their size is a multiple of `unit` and at least `least`.
inline Split split_into(int64_t most, int64_t count, int64_t unit = 1, int64_t least = 1) {
  return {count, round_up(std::max(least, divide_up(count, most)), unit)};
}

// For rows of weights over `tiles` tiles of positions: enough parts for every thread, but none too small.
inline Split split_rows(int64_t rows, int64_t tiles) {
  const int64_t most = std::max<int64_t>(1, rows / kLeastRows);
  return split_into(std::clamp<int64_t>(kTasks / std::max<int64_t>(1, tiles), 1, most), rows, kRowUnit);
}

// body(begin, end) for every part, on the session's threads.
template <typename Body>
void parallel_ranges(const ort::Context& context, const Split& split, Body&& body) {
  if (split.count == 0) return;
  context.parallel(split.parts(), [&](int64_t i) {
    const Range part = split.part(i);
    body(part.begin, part.end);
  });
}

}  // namespace elsa
