// The inner loops, as a table of functions: one table an instruction set, chosen once when the library is loaded.
#pragma once
#include <cstdint>

namespace elsa {

// The codes below are those of the format: elsa_edge/nested_format has their twins, and a test compares them.
enum class Activation : int32_t { kNone = 0, kClip = 1, kHardSwish = 2, kSilu = 3 };
// Rows of weights that share the column of an entry; or 8 rows side by side, each with its own columns.
enum class BlockRows : uint32_t { kOne = 1, kFour = 4, kSideBySide = 8 };
enum class ValueType : uint32_t { kFloat32 = 0, kInt8 = 1, kQuads = 2, kFloat16 = 3 };

// The bits of a half float (IEEE binary16), as planes and segments hold it. `Unit` below is float or Half.
struct Half {
  uint16_t bits;
};

// What happens to a finished sum: y = act(sum * scale[row] + bias[row] + residual), zero where mask is 0. Computed in
// float32, whatever a unit is.
template <typename Unit>
struct EpilogueOf {
  const float* scale = nullptr;    // (rows)
  const float* bias = nullptr;     // (rows)
  const Unit* residual = nullptr;  // like y, or null
  const int32_t* mask = nullptr;   // (positions of this tile) all ones or 0; null: keep everything
  Activation activation = Activation::kNone;
  float low = 0, high = 0;  // of Activation::kClip
};
using Epilogue = EpilogueOf<float>;

// One stretch of nonzeros of one level: for each row group the entries pointer[g] .. pointer[g + 1].
struct Run {
  const uint32_t* pointer;  // (row groups + 1)
  const uint16_t* index;    // column within the block of columns
  const void* value;        // as many values an entry as a block has rows: float, half, or int8 codes
};

// Weights for products with one vector, side by side: a band has as many rows as a vector has lanes, or a quarter as many
// blocks of 4 rows that share each column. Each entry of a band has a column for every row or block of it, and a value for
// every lane; the shorter rows of a band end in values of 0. See bands.h.
struct Bands {
  const uint32_t* pointer;  // (bands + 1) entries
  const int32_t* row;       // (bands, rows or blocks of one) the row, or a block's first
  const uint16_t* column;   // (entries, rows or blocks of a band)
  const void* value;        // (entries, lanes) of 4 bytes: a float, or a quad of codes
};

// A tile: rows of the output over a stretch of consecutive positions. Its maker sets what says where it lies and how it is
// finished, NestedWeights::sweep the rest: zeros that nobody reads would take longer than the border of a small layer.
template <typename Unit>
struct SparseTileOf {
  const Unit* x;          // position 0 of the tile in the first channel of the block of columns
  const int32_t* offset;  // (columns of the block) -> distance in units from x
  const Run* run;
  int32_t runs;
  int32_t group_begin, group_end;  // row groups to compute
  int32_t row_count;               // rows that exist; a last group of 4 may be partly beyond it
  float* partial;                  // sums carried between passes: (rows from partial_row on, partial_stride)
  int64_t partial_row;
  int64_t partial_stride;
  bool first, last;  // first pass: start at zero; last: finish with the epilogue
  bool far;          // y is new to the caches: ask for it early
  Unit* y;           // position 0 of the tile in row y_row
  int64_t y_row;
  int64_t y_stride;
  EpilogueOf<Unit> finish;
};
using SparseTile = SparseTileOf<float>;

// A depthwise tile: one channel, `lines` lines of 16 positions.
template <typename Unit>
struct DepthwiseTileOf {
  const Unit* x;
  const int32_t* offset;  // (taps)
  const Unit* weight;     // (taps)
  int32_t taps;
  int32_t side, step;  // taps are side x side, `step` units from one to the next in a row; side 0: anything else
  int64_t lines;
  Unit* y;
  EpilogueOf<Unit> finish;  // scale and bias point at this channel's value
};
using DepthwiseTile = DepthwiseTileOf<float>;

// Rows of a depthwise convolution that moves by two columns: one channel, every second position of its input.
template <typename Unit>
struct StridedTileOf {
  const Unit* x;       // where the first tap of output (0, 0) reads; borders are there, as zeros
  int64_t x_pitch;     // from one row of the input to the next
  int64_t x_step;      // from what one row of the output reads to what the next one does
  const Unit* weight;  // (side, side)
  int32_t side;        // 3, 5 or 7
  int64_t rows, width;
  Unit* y;
  int64_t y_pitch;          // width and the zeros behind it, which are written too
  EpilogueOf<Unit> finish;  // scale and bias point at this channel's value; no mask
};
using StridedTile = StridedTileOf<float>;

// The loops over planes of one kind of units.
template <typename Unit>
struct PlaneTable {
  const char* name;
  int vector_units;
  int most_lines_of_one, most_lines_of_four;
  // How many lines of 16 positions a tile may have, so that its sums fit the registers.
  int max_lines(BlockRows rows) const { return rows == BlockRows::kFour ? most_lines_of_four : most_lines_of_one; }
  // lines: 1 .. max_lines(rows).
  void (*sparse)(BlockRows rows, ValueType type, int lines, const SparseTileOf<Unit>&);
  void (*depthwise)(const DepthwiseTileOf<Unit>&);
  void (*strided)(const StridedTileOf<Unit>&);  // null where there is none
  // to[i] = index[i] < 0 ? 0 : from[index[i]]
  void (*gather)(const Unit* from, const int32_t* index, int64_t count, Unit* to);
  // even[i] = from[2 i], odd[i] = from[2 i + 1], for `count` units of from
  void (*split)(const Unit* from, int64_t count, Unit* even, Unit* odd);
  // y[row] += sum of value * x[column] over all runs: the same segments, one input vector; x and y are floats
  // whatever a unit is.
  void (*gemv)(BlockRows rows, ValueType type, const Run* run, int32_t runs, const float* x, int32_t group_begin,
               int32_t group_end, int32_t row_count, float* y);
};

struct KernelTable : PlaneTable<float> {
  // Multiply-adds in registers only, `rounds` times 12 vectors: what the machine can do at most. For benchmarks.
  float (*burst)(int64_t rounds);
  // y[row] += products of bands [begin, end) with x.
  void (*bands)(BlockRows rows, const Bands&, int32_t begin, int32_t end, const float* x, float* y);
  // y = act(y * scale + bias + residual) over `count` values, scale and bias per value.
  void (*finish)(float* y, int64_t count, const Epilogue&);
};

extern const KernelTable kernels_base;  // what every machine of this architecture has: SSE2 or NEON
#if defined(__x86_64__)
extern const KernelTable kernels_avx2;
extern const KernelTable kernels_avx512;
#endif
const KernelTable& kernels();  // the best for this machine; ELSA_KERNELS_ISA=base|avx2|avx512 lowers it

}  // namespace elsa
