// Random tiles for loops, and what plain loops make of them. What a tile reads ends where a page ends that nobody may
// read, so a load too far is a crash: no sanitizer sees the loads that are written as instructions.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <random>
#include <vector>

#include "../kernels.h"
#include "../layout.h"

namespace loops {

using namespace elsa;

template <typename T>
struct Fence {
  using value_type = T;
  Fence() = default;
  template <typename Other>
  Fence(const Fence<Other>&) {}

  static size_t page() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }
  static size_t before(size_t count) { return (count * sizeof(T) + page() - 1) / page() * page(); }
  T* allocate(size_t count) {
    void* start = mmap(nullptr, before(count) + page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) throw std::bad_alloc();
    char* end = static_cast<char*>(start) + before(count);
    if (mprotect(end, page(), PROT_NONE) != 0) throw std::bad_alloc();
    return reinterpret_cast<T*>(end) - count;
  }
  void deallocate(T* p, size_t count) {
    munmap(reinterpret_cast<char*>(p + count) - before(count), before(count) + page());
  }
  bool operator==(const Fence&) const { return true; }
  bool operator!=(const Fence&) const { return false; }
};

template <typename T>
using Fenced = std::vector<T, Fence<T>>;

// A copy without room behind it.
template <typename T>
Fenced<T> fenced(const std::vector<T>& values) {
  return Fenced<T>(values.begin(), values.end());
}

inline std::mt19937 random_bits;

inline int64_t number(int64_t low, int64_t high) {
  return low + static_cast<int64_t>(random_bits() % static_cast<uint64_t>(high - low + 1));
}
inline float real() { return static_cast<float>(number(-1000, 1000)) / 500.0f; }

[[noreturn]] inline void fail(const char* loop, int64_t a, int64_t b, int64_t c, double expected, double found) {
  std::printf("%s differs (%lld, %lld, %lld): expected %.9g, found %.9g\n", loop, static_cast<long long>(a),
              static_cast<long long>(b), static_cast<long long>(c), expected, found);
  std::exit(1);
}

// Rounding differs with the order of additions, and with fused ones.
inline void require_close(const char* loop, int64_t a, int64_t b, int64_t c, double expected, double found,
                          double magnitude) {
  if (!(std::fabs(expected - found) <= 2e-6 * magnitude + 1e-6)) fail(loop, a, b, c, expected, found);
}

// What the runs of a row group hold. Entries of one group lie side by side, as in a segment.
template <typename Value>
struct Segment {
  Fenced<uint32_t> pointer;
  Fenced<uint16_t> index;
  Fenced<Value> value;
  Run run() const { return {pointer.data(), index.data(), value.data()}; }
};

// beside: groups of 8 rows side by side, whose entries are padded to the longest of them; else as many as come.
template <typename Value, typename Draw>
Segment<Value> segment(int64_t groups, int64_t columns, int64_t values, bool beside, Draw draw) {
  std::vector<uint32_t> pointer{0};
  std::vector<uint16_t> index;
  std::vector<Value> value;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t entries = number(0, 3) == 0 ? 0 : number(1, 19);
    for (int64_t i = 0; i < entries * (beside ? 8 : 1); ++i) {
      index.push_back(static_cast<uint16_t>(number(0, columns - 1)));
      for (int64_t v = 0; v < values; ++v) value.push_back(draw());
    }
    pointer.push_back(static_cast<uint32_t>(index.size()));
  }
  return {fenced(pointer), fenced(index), fenced(value)};
}

// Distances up to `room`, which is one of them.
inline Fenced<int32_t> offsets(int64_t columns, int64_t room) {
  std::vector<int32_t> list;
  for (int64_t c = 0; c < columns; ++c) list.push_back(static_cast<int32_t>(c % 8 == 0 ? room : number(0, room)));
  return fenced(list);
}

constexpr int64_t kColumns = 40, kRoom = 700;

template <typename T, typename Draw>
void fill(T& values, Draw draw) {
  for (auto& v : values) v = draw();
}

// Distances of side x side taps.
inline std::vector<int32_t> square_of_taps(int side, int32_t step, int32_t pitch) {
  std::vector<int32_t> taps;
  for (int32_t ky = 0; ky < side; ++ky)
    for (int32_t kx = 0; kx < side; ++kx) taps.push_back(ky * pitch + kx * step);
  return taps;
}

// A tile of a sparse convolution over pixels of Unit with weights of Value.
template <typename Unit, typename Value>
struct SparseCase {
  int64_t high, groups, rows_there, positions;
  size_t size;
  Fenced<Unit> x;
  Fenced<int32_t> offset;
  std::vector<Segment<Value>> segments;
  std::vector<Run> run;
  std::vector<Unit> y;
  std::vector<float> partial, before, scale, bias;
  SparseTileOf<Unit> tile{};  // points into all of them

  template <typename DrawUnit, typename DrawValue>
  SparseCase(BlockRows rows, int lines, DrawUnit unit, DrawValue value)
      : high(rows == BlockRows::kFour ? 4 : 1),
        groups(number(1, 4)),
        rows_there(groups * high - number(0, high - 1)),
        positions(lines * kLine),
        size(static_cast<size_t>(groups * high * positions)),
        x(static_cast<size_t>(kRoom + positions)),
        offset(offsets(kColumns, kRoom)),
        y(size),
        partial(size, 0.5f),
        before(partial),
        scale(size),
        bias(size) {
    for (int64_t runs = number(1, 3); runs > 0; --runs)
      segments.push_back(segment<Value>(groups, kColumns, high, false, value));
    for (const auto& s : segments) run.push_back(s.run());
    fill(x, unit), fill(y, unit), fill(scale, real), fill(bias, real);
    SparseTileOf<Unit>& t = tile;
    t.x = x.data(), t.offset = offset.data(), t.run = run.data(), t.runs = static_cast<int32_t>(run.size());
    t.group_begin = 0, t.group_end = static_cast<int32_t>(groups), t.row_count = static_cast<int32_t>(rows_there);
    t.partial = partial.data(), t.partial_row = 0, t.partial_stride = positions;
    t.first = number(0, 1), t.last = number(0, 1), t.far = number(0, 1);
    t.y = y.data(), t.y_row = 0, t.y_stride = positions;
    t.finish.scale = scale.data(), t.finish.bias = bias.data();
  }
  SparseCase(const SparseCase&) = delete;

  // Rows that the loop computes: all, or only those that exist where it finishes them.
  int64_t rows() const { return tile.last ? rows_there : groups * high; }
  // product(value, pixel) for each entry of a row at a position, in order.
  template <typename Product>
  void products(int64_t row, int64_t position, Product product) const {
    for (const auto& s : segments)
      for (uint32_t i = s.pointer[row / high]; i < s.pointer[row / high + 1]; ++i)
        product(s.value[static_cast<size_t>(i * high + row % high)],
                x[static_cast<size_t>(offset[s.index[i]] + position)]);
  }
};

// A depthwise tile of side x side taps.
template <typename Unit>
struct DepthwiseCase {
  int32_t step = static_cast<int32_t>(number(1, 3)), pitch = static_cast<int32_t>(number(30, 60));
  Fenced<int32_t> offset;
  Fenced<Unit> x, weight;
  std::vector<Unit> y;
  float scale = real(), bias = real();
  DepthwiseTileOf<Unit> tile{};  // points into all of them

  template <typename DrawUnit>
  DepthwiseCase(int side, int64_t lines, DrawUnit unit)
      : offset(fenced(square_of_taps(side, step, pitch))),
        x(static_cast<size_t>(lines * kLine + offset.back())),
        weight(offset.size()),
        y(static_cast<size_t>(lines * kLine)) {
    fill(x, unit), fill(weight, unit);
    DepthwiseTileOf<Unit>& t = tile;
    t.x = x.data(), t.offset = offset.data(), t.weight = weight.data(), t.taps = side * side;
    t.side = side, t.step = step, t.lines = lines, t.y = y.data();
    t.finish.scale = &scale, t.finish.bias = &bias;
  }
  DepthwiseCase(const DepthwiseCase&) = delete;

  // product(weight, pixel) for each tap at a position, in order.
  template <typename Product>
  void products(size_t position, Product product) const {
    for (size_t k = 0; k < weight.size(); ++k) product(weight[k], x[position + static_cast<size_t>(offset[k])]);
  }
};

}  // namespace loops
