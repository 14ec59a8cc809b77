// Two walks over the entries of a level: the first counts what each row has, the second puts it in its place.
#include "bands.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "error.h"

namespace elsa {
namespace {

constexpr int64_t kBlock = 4;  // rows
constexpr int64_t kMostColumns = 1 << 16;

// A float, or a quad of codes; codes of kernels of floats become floats.
uint32_t bits_of(ValueType type, const void* values, int64_t i) {
  uint32_t bits;
  if (type == ValueType::kInt8) {
    const auto value = static_cast<float>(static_cast<const int8_t*>(values)[i]);
    std::memcpy(&bits, &value, sizeof bits);
  } else {
    std::memcpy(&bits, static_cast<const uint8_t*>(values) + i * 4, sizeof bits);
  }
  return bits;
}

}  // namespace

// Rows of weights, or blocks of 4: `count` things, of which a band has `width` side by side with `height` values each.
class BandedWeights::Form {
 public:
  Form(int64_t count, int64_t width, int64_t height)
      : width_(width), height_(height), left_(static_cast<size_t>(count)), next_(left_.size()) {}

  void count(int64_t thing) { ++left_[static_cast<size_t>(thing)]; }

  // The bands of things [begin, end), longest first; those without entries are in none.
  void lay_out(int64_t begin, int64_t end, Memory& to) {
    std::vector<int64_t> order(static_cast<size_t>(std::max<int64_t>(end - begin, 0)));
    std::iota(order.begin(), order.end(), begin);
    const auto length = [&](int64_t thing) { return left_[static_cast<size_t>(thing)]; };
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return length(a) > length(b); });
    if (to.pointer.empty()) to.pointer.push_back(0);
    for (size_t first = 0; first < order.size() && length(order[first]) > 0; first += static_cast<size_t>(width_)) {
      const uint32_t start = to.pointer.back();
      for (size_t lane = 0; lane < static_cast<size_t>(width_); ++lane) {
        // Where there are too few, the first takes zeros more.
        const bool there = first + lane < order.size();
        const int64_t thing = order[there ? first + lane : first];
        to.row.push_back(static_cast<int32_t>(thing * height_));
        if (there) next_[static_cast<size_t>(thing)] = static_cast<size_t>(start) * static_cast<size_t>(width_) + lane;
      }
      to.pointer.push_back(start + length(order[first]));
    }
  }

  // Fills all that is laid out with zeros that multiply column 0.
  void reserve(Memory& to) const {
    const size_t entries = static_cast<size_t>(to.pointer.back()) * static_cast<size_t>(width_);
    to.column.assign(entries, 0);
    to.value.assign((entries * static_cast<size_t>(height_) + 15) / 16, Line{});
  }

  void put(int64_t thing, uint16_t column, const uint32_t* bits, Memory& to) {
    size_t& at = next_[static_cast<size_t>(thing)];
    to.column[at] = column;
    const auto height = static_cast<size_t>(height_);
    std::memcpy(reinterpret_cast<uint8_t*>(to.value.data()) + at * height * 4, bits, height * 4);
    // The next entry of the band, in the same lane.
    at += static_cast<size_t>(width_);
  }

 private:
  int64_t width_, height_;
  std::vector<uint32_t> left_;  // entries of each thing
  std::vector<size_t> next_;    // where its next entry goes
};

BandedWeights::BandedWeights(const NestedWeights& weights, int64_t rows, int64_t share, int lanes)
    : rows_(rows), share_(share), lanes_(lanes), prepared_(std::make_unique<Prepared[]>(weights.counts())) {}

const BandedWeights::Level& BandedWeights::at(const NestedWeights& weights, int64_t level) const {
  Prepared& prepared = prepared_[std::min(static_cast<size_t>(level), weights.counts() - 1)];
  prepared.once.run([&] { prepare(weights, level, prepared); });
  return prepared.level;
}

// visit(form, row or block, column, bits). A block that is not whole in one part is visited as rows.
template <typename Visit>
void BandedWeights::each_entry(const NestedWeights& weights, int64_t level, Visit&& visit) const {
  for (const auto& pass : weights.passes(level)) {
    const uint64_t before = static_cast<uint64_t>(pass.block) * weights.column_block();
    const bool beside = pass.block_rows == BlockRows::kSideBySide, blocks = pass.block_rows == BlockRows::kFour;
    const int64_t unit = static_cast<int64_t>(pass.block_rows), height = blocks ? kBlock : 1;
    for (const Run& run : pass.runs)
      for (int64_t g = 0; g < divide_up(rows_, unit); ++g) {
        const int64_t first = g * unit;
        const bool whole = blocks && first + kBlock <= rows_ && first / share_ == (first + kBlock - 1) / share_;
        for (int64_t i = run.pointer[g]; i < run.pointer[g + 1]; ++i) {
          const uint64_t column = before + run.index[i];
          require(column < kMostColumns, "a product with a vector has too many columns");
          uint32_t bits[kBlock];
          for (int64_t r = 0; r < height; ++r) bits[r] = bits_of(pass.value_type, run.value, i * height + r);
          if (whole) {
            visit(BlockRows::kFour, g, static_cast<uint16_t>(column), bits);
            continue;
          }
          for (int64_t r = 0; r < height; ++r) {
            const int64_t row = first + (beside ? i % unit : r);
            if (row < rows_ && bits[r] != 0) visit(BlockRows::kOne, row, static_cast<uint16_t>(column), bits + r);
          }
        }
      }
  }
}

void BandedWeights::prepare(const NestedWeights& weights, int64_t level, Prepared& to) const {
  Form rows(rows_, lanes_, 1), blocks(divide_up(rows_, kBlock), lanes_ / kBlock, kBlock);
  const auto form = [&](BlockRows which) -> Form& { return which == BlockRows::kOne ? rows : blocks; };
  const auto memory = [&](BlockRows which) -> Memory& { return which == BlockRows::kOne ? to.rows : to.blocks; };
  to.rows = {}, to.blocks = {}, to.level = {};
  each_entry(weights, level,
             [&](BlockRows which, int64_t thing, uint16_t, const uint32_t*) { form(which).count(thing); });
  for (int64_t begin = 0; begin < rows_; begin += share_) {
    const int64_t end = std::min(begin + share_, rows_);
    rows.lay_out(begin, end, to.rows);
    blocks.lay_out(divide_up(begin, kBlock), end / kBlock, to.blocks);
    if (begin == 0) to.level.rows_of.push_back(0), to.level.blocks_of.push_back(0);
    to.level.rows_of.push_back(static_cast<int32_t>(to.rows.pointer.size() - 1));
    to.level.blocks_of.push_back(static_cast<int32_t>(to.blocks.pointer.size() - 1));
  }
  rows.reserve(to.rows), blocks.reserve(to.blocks);
  each_entry(weights, level, [&](BlockRows which, int64_t thing, uint16_t column, const uint32_t* bits) {
    form(which).put(thing, column, bits, memory(which));
  });
  const auto view = [](const Memory& m) {
    return Bands{m.pointer.data(), m.row.data(), m.column.data(), m.value.data()};
  };
  to.level.rows = view(to.rows), to.level.blocks = view(to.blocks);
}

}  // namespace elsa
