// Every inner loop of this machine's best tables against plain loops, on random tiles of every size: `loops [SEED]`.
// Compiled for another machine it runs under an emulator, without Python and without a runtime. Prints what it compared:
//
//   base dotprod fp16 1840 tiles
//
// or the first tile that differs, and exits with 1.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../int8.h"
#include "../int8_taps.h"
#include "loop_cases.h"
#include "loops_of_halves.h"

namespace {

using namespace elsa;
using namespace loops;

template <typename Value, typename Draw>
int compare_sparse(const KernelTable& table, ValueType type, Draw draw) {
  int tiles = 0;
  for (const BlockRows rows : {BlockRows::kOne, BlockRows::kFour})
    for (int lines = 1; lines <= table.max_lines(rows); ++lines)
      for (int repeat = 0; repeat < 20; ++repeat, ++tiles) {
        const SparseCase<float, Value> c(rows, lines, real, draw);
        table.sparse(rows, type, lines, c.tile);
        for (int64_t row = 0; row < c.rows(); ++row)
          for (int64_t p = 0; p < c.positions; ++p) {
            const size_t at = static_cast<size_t>(row * c.positions + p);
            double sum = c.tile.first ? 0 : c.before[at], magnitude = std::fabs(sum);
            c.products(row, p, [&](Value value, float pixel) {
              const double product = static_cast<double>(value) * pixel;
              sum += product, magnitude += std::fabs(product);
            });
            if (c.tile.last) {
              sum = sum * c.scale[row] + c.bias[row];
              magnitude = magnitude * std::fabs(c.scale[row]) + std::fabs(c.bias[row]);
            }
            require_close("sparse", static_cast<int64_t>(rows), lines, row, sum, c.tile.last ? c.y[at] : c.partial[at],
                          magnitude);
          }
      }
  return tiles;
}

int compare_depthwise(const KernelTable& table) {
  int tiles = 0;
  for (int side = 1; side <= 7; ++side)
    for (int64_t lines = 1; lines <= 11; ++lines, ++tiles) {
      const DepthwiseCase<float> c(side, lines, real);
      table.depthwise(c.tile);
      for (size_t p = 0; p < c.y.size(); ++p) {
        double sum = 0, magnitude = 0;
        c.products(p, [&](float weight, float pixel) {
          const double product = static_cast<double>(weight) * pixel;
          sum += product, magnitude += std::fabs(product);
        });
        require_close("depthwise", side, lines, static_cast<int64_t>(p), sum * c.scale + c.bias, c.y[p],
                      magnitude * std::fabs(c.scale) + std::fabs(c.bias));
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
        const std::vector<int32_t> taps = square_of_taps(side, step, pitch);
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
