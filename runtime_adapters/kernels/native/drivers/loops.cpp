// Every inner loop of this machine's best tables against plain loops, on random tiles of every size: `loops [SEED]`.
// Compiled for another machine it runs under an emulator, without Python and without a runtime. Prints what it compared:
//
//   base dotprod fp16 1840 tiles
//
// or the first tile that differs, and exits with 1.
//
// What a loop reads ends where a page ends that nobody may read, so a load too far is a crash: no sanitizer sees the
// loads that are written as instructions.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <random>
#include <vector>

#include "../error.h"
#include "../half.h"
#include "../int8.h"
#include "../int8_taps.h"
#include "../layout.h"

namespace {

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

std::mt19937 random_bits;

int64_t number(int64_t low, int64_t high) {
  return low + static_cast<int64_t>(random_bits() % static_cast<uint64_t>(high - low + 1));
}
float real() { return static_cast<float>(number(-1000, 1000)) / 500.0f; }

[[noreturn]] void fail(const char* loop, int64_t a, int64_t b, int64_t c, double expected, double found) {
  std::printf("%s differs (%lld, %lld, %lld): expected %.9g, found %.9g\n", loop, static_cast<long long>(a),
              static_cast<long long>(b), static_cast<long long>(c), expected, found);
  std::exit(1);
}

// Rounding differs with the order of additions, and with fused ones.
void require_close(const char* loop, int64_t a, int64_t b, int64_t c, double expected, double found, double magnitude) {
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
Fenced<int32_t> offsets(int64_t columns, int64_t room) {
  std::vector<int32_t> list;
  for (int64_t c = 0; c < columns; ++c) list.push_back(static_cast<int32_t>(c % 8 == 0 ? room : number(0, room)));
  return fenced(list);
}

constexpr int64_t kColumns = 40, kRoom = 700;

template <typename Value, typename Draw>
int compare_sparse(const KernelTable& table, ValueType type, Draw draw) {
  int tiles = 0;
  for (const BlockRows rows : {BlockRows::kOne, BlockRows::kFour})
    for (int lines = 1; lines <= table.max_lines(rows); ++lines)
      for (int repeat = 0; repeat < 20; ++repeat, ++tiles) {
        const int64_t high = rows == BlockRows::kFour ? 4 : 1, groups = number(1, 4), runs = number(1, 3);
        const int64_t rows_there = groups * high - number(0, high - 1), positions = lines * kLine;
        Fenced<float> x(static_cast<size_t>(kRoom + positions));
        for (float& v : x) v = real();
        const auto offset = offsets(kColumns, kRoom);
        std::vector<Segment<Value>> segments;
        std::vector<Run> run;
        for (int64_t k = 0; k < runs; ++k) segments.push_back(segment<Value>(groups, kColumns, high, false, draw));
        for (const auto& s : segments) run.push_back(s.run());
        const size_t size = static_cast<size_t>(groups * high * positions);
        std::vector<float> y(size, -7.0f), partial(size, 0.5f), scale(size), bias(size);
        for (float& v : scale) v = real();
        for (float& v : bias) v = real();
        SparseTile t{};
        t.x = x.data(), t.offset = offset.data(), t.run = run.data(), t.runs = static_cast<int32_t>(runs);
        t.group_begin = 0, t.group_end = static_cast<int32_t>(groups), t.row_count = static_cast<int32_t>(rows_there);
        t.partial = partial.data(), t.partial_row = 0, t.partial_stride = positions;
        t.first = number(0, 1), t.last = number(0, 1), t.far = number(0, 1);
        t.y = y.data(), t.y_row = 0, t.y_stride = positions;
        t.finish.scale = scale.data(), t.finish.bias = bias.data();
        const std::vector<float> before = partial;
        table.sparse(rows, type, lines, t);
        for (int64_t row = 0; row < (t.last ? rows_there : groups * high); ++row)
          for (int64_t p = 0; p < positions; ++p) {
            const size_t at = static_cast<size_t>(row * positions + p);
            double sum = t.first ? 0 : before[at], magnitude = std::fabs(sum);
            for (const auto& s : segments)
              for (uint32_t i = s.pointer[row / high]; i < s.pointer[row / high + 1]; ++i) {
                const double product = static_cast<double>(s.value[static_cast<size_t>(i * high + row % high)]) *
                                       x[static_cast<size_t>(offset[s.index[i]] + p)];
                sum += product, magnitude += std::fabs(product);
              }
            if (t.last) {
              sum = sum * scale[row] + bias[row];
              magnitude = magnitude * std::fabs(scale[row]) + std::fabs(bias[row]);
            }
            require_close("sparse", static_cast<int64_t>(rows), lines, row, sum, t.last ? y[at] : partial[at],
                          magnitude);
          }
      }
  return tiles;
}

int compare_depthwise(const KernelTable& table) {
  int tiles = 0;
  for (int side = 1; side <= 7; ++side)
    for (int64_t lines = 1; lines <= 11; ++lines, ++tiles) {
      const int32_t step = static_cast<int32_t>(number(1, 3)), pitch = static_cast<int32_t>(number(30, 60));
      std::vector<int32_t> taps;
      for (int32_t ky = 0; ky < side; ++ky)
        for (int32_t kx = 0; kx < side; ++kx) taps.push_back(ky * pitch + kx * step);
      const auto offset = fenced(taps);
      Fenced<float> x(static_cast<size_t>(lines * kLine + taps.back())), weight(taps.size());
      for (float& v : x) v = real();
      for (float& v : weight) v = real();
      std::vector<float> y(static_cast<size_t>(lines * kLine));
      const float scale = real(), bias = real();
      DepthwiseTile t{};
      t.x = x.data(), t.offset = offset.data(), t.weight = weight.data(), t.taps = side * side;
      t.side = side, t.step = step, t.lines = lines, t.y = y.data();
      t.finish.scale = &scale, t.finish.bias = &bias;
      table.depthwise(t);
      for (size_t p = 0; p < y.size(); ++p) {
        double sum = 0, magnitude = 0;
        for (size_t k = 0; k < weight.size(); ++k) {
          const double product = static_cast<double>(weight[k]) * x[p + static_cast<size_t>(offset[k])];
          sum += product, magnitude += std::fabs(product);
        }
        require_close("depthwise", side, lines, static_cast<int64_t>(p), sum * scale + bias, y[p],
                      magnitude * std::fabs(scale) + std::fabs(bias));
      }
    }
  return tiles;
}

template <typename Value, typename Draw>
int compare_gemv(const KernelTable& table, ValueType type, Draw draw) {
  int tiles = 0;
  for (const BlockRows rows : {BlockRows::kOne, BlockRows::kFour})
    for (int repeat = 0; repeat < 20; ++repeat, ++tiles) {
      const int64_t high = rows == BlockRows::kFour ? 4 : 1, groups = number(1, 6);
      const auto s = segment<Value>(groups, kColumns, high, false, draw);
      const Run run = s.run();
      Fenced<float> x(kColumns);
      std::vector<float> y(static_cast<size_t>(groups * high), 0.25f);
      for (float& v : x) v = real();
      const int64_t rows_there = groups * high - number(0, high - 1);
      table.gemv(rows, type, &run, 1, x.data(), 0, static_cast<int32_t>(groups), static_cast<int32_t>(rows_there),
                 y.data());
      for (int64_t row = 0; row < rows_there; ++row) {
        double sum = 0.25, magnitude = 0.25;
        for (uint32_t i = s.pointer[row / high]; i < s.pointer[row / high + 1]; ++i) {
          const double product =
              static_cast<double>(s.value[static_cast<size_t>(i * high + row % high)]) * x[s.index[i]];
          sum += product, magnitude += std::fabs(product);
        }
        require_close("gemv", static_cast<int64_t>(rows), groups, row, sum, y[static_cast<size_t>(row)], magnitude);
      }
    }
  return tiles;
}

// ---- 8 bits: the sums are exact ----

// Two codes side by side add up to 128 at most: what processors without VNNI are given, too.
int32_t quad_of_codes() {
  uint32_t codes = 0;
  for (int b = 0; b < 4; ++b) codes = codes << 8 | static_cast<uint8_t>(number(-64, 64));
  return static_cast<int32_t>(codes);
}

int32_t product(const uint8_t* x, int32_t codes, bool signed_pixels) {
  int32_t sum = 0;
  for (int b = 0; b < 4; ++b) {
    const int32_t code = static_cast<int8_t>(static_cast<uint32_t>(codes) >> (8 * b));
    sum += (signed_pixels ? static_cast<int8_t>(x[b]) : x[b]) * code;
  }
  return sum;
}

int compare_sums(const Kernels8& table) {
  int tiles = 0;
  for (const int32_t block : {1, 4, 8})
    for (int lines = 1; lines <= table.max_lines; ++lines)
      for (int repeat = 0; repeat < 20; ++repeat, ++tiles) {
        const int64_t quads = 2, high = block == 4 ? 4 : 1, beside = block == 8 ? 8 : 1;
        const int64_t groups = block == 8 ? 1 : 4 * quads / high, rows_there = 4 * quads - number(0, 3);
        std::vector<Segment<int32_t>> segments;
        std::vector<Run> run;
        for (int64_t k = number(1, 3); k > 0; --k)
          segments.push_back(segment<int32_t>(groups, kColumns, high, block == 8, quad_of_codes));
        for (const auto& s : segments) run.push_back(s.run());
        const Sweep sweep{block, run.data(), static_cast<int32_t>(run.size())};
        auto offset = offsets(kColumns, kRoom / 4);
        for (int32_t& o : offset) o *= 4;
        Fenced<uint8_t> x(static_cast<size_t>(kRoom + lines * 64));
        for (uint8_t& v : x) v = static_cast<uint8_t>(number(0, 255));
        std::vector<int32_t> start(static_cast<size_t>(4 * quads));
        for (int32_t& v : start) v = static_cast<int32_t>(number(-1000, 1000));
        const int64_t widest = table.max_lines * kLine;
        std::vector<int32_t> sums(static_cast<size_t>(4 * quads * widest));
        Tile8 t{};
        t.x = x.data(), t.offset = offset.data(), t.sweep = &sweep, t.sweeps = 1;
        t.quad_begin = 0, t.quad_end = static_cast<int32_t>(quads), t.row_count = static_cast<int32_t>(rows_there);
        t.lines = lines, t.start = start.data();
        table.tile_sums(t, sums.data());
        for (int64_t row = 0; row < rows_there; ++row)
          for (int64_t p = 0; p < lines * kLine; ++p) {
            int64_t expected = start[static_cast<size_t>(row)];
            for (const auto& s : segments) {
              const size_t g = static_cast<size_t>(row / high / beside);
              for (int64_t i = s.pointer[g] + row % beside * (beside > 1); i < s.pointer[g + 1]; i += beside)
                expected +=
                    product(x.data() + offset[s.index[static_cast<size_t>(i)]] + 4 * p,
                            s.value[static_cast<size_t>(i * high + (high > 1 ? row % high : 0))], table.signed_pixels);
            }
            const int32_t found = sums[static_cast<size_t>(row * widest + p)];
            if (found != expected) fail("8-bit sums", block, lines, row, static_cast<double>(expected), found);
          }
      }
  return tiles;
}

// Numbers that floats hold exactly, so that no order of steps rounds otherwise.
float eighth(int64_t low, int64_t high) { return static_cast<float>(number(low, high)) / 8.0f; }

uint8_t code_of(double value, const Finish8& f) {
  const double whole = std::nearbyint(value);
  return static_cast<uint8_t>(whole < f.low ? f.low : whole > f.high ? f.high : whole);
}

int compare_depthwise8(const Kernels8& table) {
  int tiles = 0;
  const uint8_t turned = table.signed_pixels ? 0x80 : 0;
  for (int side = 1; side <= 7; ++side)
    for (int64_t lines = 1; lines <= 3; ++lines)
      for (const int32_t step : {4, 8, 400}) {
        ++tiles;
        const int32_t pitch = 4 * static_cast<int32_t>(number(30, 60));
        std::vector<int32_t> taps;
        for (int32_t ky = 0; ky < side; ++ky)
          for (int32_t kx = 0; kx < side; ++kx) taps.push_back(ky * pitch + kx * step);
        const TapGroups groups = grouped(table.taps, taps);
        const size_t fours = (taps.size() + 3) / 4;
        std::vector<int8_t> file(fours * 16);  // (tap fours, 4 channels, 4 taps)
        for (int8_t& v : file) v = static_cast<int8_t>(number(0, 3) == 0 ? 127 * number(-1, 1) : number(-127, 127));
        Fenced<int8_t> weight;
        for (int32_t from : groups.from) weight.push_back(from < 0 ? int8_t{0} : file[static_cast<size_t>(from)]);
        const auto offset = fenced(groups.offsets);
        const size_t bytes = static_cast<size_t>(lines * kLine * 4);
        Fenced<uint8_t> x(bytes + static_cast<size_t>(taps.back())), residual(bytes);
        for (uint8_t& v : x) v = static_cast<uint8_t>(number(0, 3) == 0 ? 255 * number(0, 1) : number(0, 255));
        for (uint8_t& v : residual) v = static_cast<uint8_t>(number(0, 255));
        Fenced<int32_t> start(4), mask(static_cast<size_t>(lines * kLine));
        for (int32_t& v : start) v = static_cast<int32_t>(number(-1000, 1000));
        for (int32_t& v : mask) v = -static_cast<int32_t>(number(0, 1));
        Fenced<float> scale(4), bias(4);
        for (float& v : scale) v = 1.0f / 128;
        for (float& v : bias) v = eighth(0, 2000);
        std::vector<uint8_t> y(bytes);
        Depthwise8 t{};
        t.x = x.data(), t.form = groups.form, t.offset = offset.data(), t.weight = weight.data();
        t.groups = static_cast<int32_t>(groups.groups), t.lines = lines, t.start = start.data(), t.y = y.data();
        t.finish.scale = scale.data(), t.finish.bias = bias.data();
        t.finish.low = static_cast<uint8_t>(number(0, 20)), t.finish.high = static_cast<uint8_t>(number(200, 255));
        t.finish.zero = static_cast<uint8_t>(number(0, 255));
        t.finish.share = 0.25f;
        if (number(0, 1)) t.finish.residual = residual.data();
        if (number(0, 1)) t.finish.mask = mask.data();
        table.depthwise(t);
        for (size_t p = 0; p < bytes; ++p) {
          const size_t channel = p % 4;
          int64_t sum = start[channel];
          for (size_t k = 0; k < taps.size(); ++k) {
            const uint8_t pixel = x[p + static_cast<size_t>(taps[k])];
            sum += (turned ? static_cast<int8_t>(pixel) : pixel) * file[k / 4 * 16 + channel * 4 + k % 4];
          }
          double value = static_cast<double>(sum) * scale[channel] + bias[channel];
          if (t.finish.residual) value += (residual[p] ^ turned) * static_cast<double>(t.finish.share);
          const uint8_t code = t.finish.mask && !mask[p / 4] ? t.finish.zero : code_of(value, t.finish);
          if ((y[p] ^ turned) != code) fail("8-bit depthwise", side, lines, step, code, y[p] ^ turned);
        }
      }
  return tiles;
}

// ---- half floats: one rounding a product, in order ----

double half_value(Half h) {
  const int exponent = h.bits >> 10 & 31, fraction = h.bits & 1023;
  const double v = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return h.bits & 0x8000 ? -v : v;
}
// The nearest half, as a number.
double half_of(double v) {
  if (v == 0) return v;
  const double step = std::ldexp(1.0, std::max(std::ilogb(v), -14) - 10);
  return std::nearbyint(v / step) * step;
}
// A normal half below 2 or a little more.
Half some_half() { return {static_cast<uint16_t>(number(0, 1) << 15 | number(5, 15) << 10 | number(0, 1023))}; }
// Where halves are made of floats there are two roundings, so a sum may be beside the right one at each step.
double allowed(const HalfTable& table, double magnitude, size_t steps) {
  return table.fast ? 0 : std::ldexp(magnitude, -11) * static_cast<double>(steps);
}

int compare_half_sparse(const HalfTable& table) {
  int tiles = 0;
  for (const BlockRows rows : {BlockRows::kOne, BlockRows::kFour})
    for (int lines = 1; lines <= table.max_lines(rows); ++lines)
      for (int repeat = 0; repeat < 20; ++repeat, ++tiles) {
        const int64_t high = rows == BlockRows::kFour ? 4 : 1, groups = number(1, 4), runs = number(1, 3);
        const int64_t rows_there = groups * high - number(0, high - 1), positions = lines * kLine;
        Fenced<Half> x(static_cast<size_t>(kRoom + positions));
        for (Half& v : x) v = some_half();
        const auto offset = offsets(kColumns, kRoom);
        std::vector<Segment<Half>> segments;
        std::vector<Run> run;
        for (int64_t k = 0; k < runs; ++k) segments.push_back(segment<Half>(groups, kColumns, high, false, some_half));
        for (const auto& s : segments) run.push_back(s.run());
        const size_t size = static_cast<size_t>(groups * high * positions);
        std::vector<Half> y(size), residual(size);
        for (Half& v : residual) v = some_half();
        std::vector<float> partial(size, 0.5f), scale(size), bias(size);
        for (float& v : scale) v = real();
        for (float& v : bias) v = real();
        SparseTileOf<Half> t{};
        t.x = x.data(), t.offset = offset.data(), t.run = run.data(), t.runs = static_cast<int32_t>(runs);
        t.group_begin = 0, t.group_end = static_cast<int32_t>(groups), t.row_count = static_cast<int32_t>(rows_there);
        t.partial = partial.data(), t.partial_row = 0, t.partial_stride = positions;
        t.first = number(0, 1), t.last = number(0, 1), t.far = number(0, 1);
        t.y = y.data(), t.y_row = 0, t.y_stride = positions;
        t.finish.scale = scale.data(), t.finish.bias = bias.data(), t.finish.residual = residual.data();
        const std::vector<float> before = partial;
        table.sparse(rows, ValueType::kFloat16, lines, t);
        for (int64_t row = 0; row < (t.last ? rows_there : groups * high); ++row)
          for (int64_t p = 0; p < positions; ++p) {
            const size_t at = static_cast<size_t>(row * positions + p);
            double sum = 0, magnitude = 0;
            size_t steps = 0;
            for (const auto& s : segments)
              for (uint32_t i = s.pointer[row / high]; i < s.pointer[row / high + 1]; ++i, ++steps) {
                const double product = half_value(s.value[static_cast<size_t>(i * high + row % high)]) *
                                       half_value(x[static_cast<size_t>(offset[s.index[i]] + p)]);
                sum = half_of(sum + product), magnitude += std::fabs(product);
              }
            double slack = allowed(table, magnitude, steps);
            if (!t.first) sum += before[at];
            double found = partial[at];
            if (t.last) {
              const double inputs = half_value(residual[at]) + bias[row];
              slack = slack * std::fabs(scale[row]) + 1e-6 * (magnitude * std::fabs(scale[row]) + std::fabs(inputs));
              sum = sum * scale[row] + inputs;
              slack += std::ldexp(std::fabs(sum), -11) + std::ldexp(1.0, -25);
              found = half_value(y[at]);
            }
            if (!(std::fabs(sum - found) <= slack))
              fail("sparse in halves", static_cast<int64_t>(rows), lines, row, sum, found);
          }
      }
  return tiles;
}

int compare_half_depthwise(const HalfTable& table) {
  int tiles = 0;
  for (int side = 1; side <= 7; ++side)
    for (int64_t lines = 1; lines <= 11; ++lines, ++tiles) {
      const int32_t step = static_cast<int32_t>(number(1, 3)), pitch = static_cast<int32_t>(number(30, 60));
      std::vector<int32_t> taps;
      for (int32_t ky = 0; ky < side; ++ky)
        for (int32_t kx = 0; kx < side; ++kx) taps.push_back(ky * pitch + kx * step);
      const auto offset = fenced(taps);
      Fenced<Half> x(static_cast<size_t>(lines * kLine + taps.back())), weight(taps.size());
      for (Half& v : x) v = some_half();
      for (Half& v : weight) v = some_half();
      std::vector<Half> y(static_cast<size_t>(lines * kLine));
      const float scale = real(), bias = real();
      DepthwiseTileOf<Half> t{};
      t.x = x.data(), t.offset = offset.data(), t.weight = weight.data(), t.taps = side * side;
      t.side = side, t.step = step, t.lines = lines, t.y = y.data();
      t.finish.scale = &scale, t.finish.bias = &bias;
      table.depthwise(t);
      for (size_t p = 0; p < y.size(); ++p) {
        double sum = 0, magnitude = 0;
        for (size_t k = 0; k < weight.size(); ++k) {
          const double product = half_value(weight[k]) * half_value(x[p + static_cast<size_t>(offset[k])]);
          sum = half_of(sum + product), magnitude += std::fabs(product);
        }
        const double slack = allowed(table, magnitude, weight.size()) * std::fabs(scale) +
                             1e-6 * (magnitude * std::fabs(scale) + std::fabs(bias));
        sum = sum * scale + bias;
        const double found = half_value(y[p]);
        if (!(std::fabs(sum - found) <= slack + std::ldexp(std::fabs(sum), -11) + std::ldexp(1.0, -25)))
          fail("depthwise in halves", side, lines, static_cast<int64_t>(p), sum, found);
      }
    }
  return tiles;
}

int compare_half_gemv(const HalfTable& table) {
  int tiles = 0;
  for (const BlockRows rows : {BlockRows::kOne, BlockRows::kFour})
    for (int repeat = 0; repeat < 20; ++repeat, ++tiles) {
      const int64_t high = rows == BlockRows::kFour ? 4 : 1, groups = number(1, 6);
      const auto s = segment<Half>(groups, kColumns, high, false, some_half);
      const Run run = s.run();
      Fenced<float> x(kColumns);
      for (float& v : x) v = real();
      std::vector<float> y(static_cast<size_t>(groups * high), 0.25f);
      table.gemv(rows, ValueType::kFloat16, &run, 1, x.data(), 0, static_cast<int32_t>(groups),
                 static_cast<int32_t>(groups * high), y.data());
      for (int64_t row = 0; row < groups * high; ++row) {
        double sum = 0.25, magnitude = 0.25;
        for (uint32_t i = s.pointer[row / high]; i < s.pointer[row / high + 1]; ++i) {
          const double product = half_value(s.value[static_cast<size_t>(i * high + row % high)]) * x[s.index[i]];
          sum += product, magnitude += std::fabs(product);
        }
        require_close("gemv of halves", static_cast<int64_t>(rows), groups, row, sum, y[static_cast<size_t>(row)],
                      magnitude);
      }
    }
  return tiles;
}

// All halves there and back.
int compare_conversions(const HalfTable& table) {
  std::vector<Half> all(0x7C00 * 2), back(all.size());
  std::vector<float> wide(all.size());
  for (size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<uint16_t>(i < 0x7C00 ? i : 0x8000 + i - 0x7C00);
  table.widen(all.data(), static_cast<int64_t>(all.size()), wide.data());
  table.narrow(wide.data(), static_cast<int64_t>(all.size()), back.data());
  for (size_t i = 0; i < all.size(); ++i)
    if (wide[i] != static_cast<float>(half_value(all[i])) || back[i].bits != all[i].bits)
      fail("conversion", static_cast<int64_t>(i), all[i].bits, back[i].bits, half_value(all[i]), wide[i]);
  return 1;
}

// The loops over halves where this processor has them; their name, or "none".
const char* compare_halves(int* tiles) {
  try {
    const HalfTable& table = halves();
    *tiles += compare_half_sparse(table) + compare_half_depthwise(table) + compare_half_gemv(table);
    *tiles += compare_conversions(table);
    return table.name;
  } catch (const Error&) {
    return "none";
  }
}
}  // namespace

int main(int count, char** words) {
  random_bits.seed(count > 1 ? static_cast<uint32_t>(std::atoi(words[1])) : 0);
  const KernelTable& table = kernels();
  const Kernels8& table8 = kernels8();
  const auto code = [] { return static_cast<int8_t>(number(-127, 127)); };
  int tiles = compare_sparse<float>(table, ValueType::kFloat32, real);
  tiles += compare_sparse<int8_t>(table, ValueType::kInt8, code);
  tiles += compare_gemv<float>(table, ValueType::kFloat32, real) + compare_gemv<int8_t>(table, ValueType::kInt8, code);
  tiles += compare_depthwise(table) + compare_sums(table8) + compare_depthwise8(table8);
  const char* halves_name = compare_halves(&tiles);
  std::printf("%s %s %s %d tiles\n", table.name, table8.name, halves_name, tiles);
}
