// The inner loops, as a table of functions: one table an instruction set, chosen once when the library is loaded.
#pragma once
#include <cstdint>

namespace elsa {

enum Activation : int32_t { kNone = 0, kClip = 1, kHardSwish = 2, kSilu = 3 };

// What happens to a finished sum: y = act(sum * scale[row] + bias[row] + residual), zero where mask is 0.
struct Epilogue {
  const float* scale = nullptr;     // (rows)
  const float* bias = nullptr;      // (rows)
  const float* residual = nullptr;  // like y, or null
  const int32_t* mask = nullptr;    // (positions of this tile) all ones or 0; null: keep everything
  int32_t activation = kNone;
  float low = 0, high = 0;  // of kClip
};

// One stretch of nonzeros of one level: for each row group the entries pointer[g] .. pointer[g + 1].
struct Run {
  const uint32_t* pointer;  // (row groups + 1)
  const uint16_t* index;    // column within the block of columns
  const void* value;        // block_rows values an entry: float, or int8 codes
};

// A tile: `rows` of the output over a stretch of consecutive positions.
struct SparseTile {
  const float* x;         // position 0 of the tile in the first channel of the block of columns
  const int32_t* offset;  // (columns of the block) -> distance in floats from x
  const Run* run;
  int32_t runs;
  int32_t group_begin, group_end;  // row groups to compute
  int32_t row_count;               // rows that exist; a last group of 4 may be partly beyond it
  float* partial;                  // sums carried between blocks of columns: (rows from partial_row on, partial_stride)
  int64_t partial_row;
  int64_t partial_stride;
  bool first, last;  // first block of columns: start at zero; last: finish with the epilogue
  bool far;          // y is new to the caches: ask for it early
  float* y;          // position 0 of the tile in row y_row
  int64_t y_row;
  int64_t y_stride;
  Epilogue finish;
};

// A depthwise tile: one channel, `lines` lines of 16 positions.
struct DepthwiseTile {
  const float* x;
  const int32_t* offset;  // (taps)
  const float* weight;    // (taps)
  int32_t taps;
  int32_t side, step;  // taps are side x side, `step` floats from one to the next in a row; side 0: anything else
  int64_t lines;
  float* y;
  Epilogue finish;  // scale and bias point at this channel's value
};

// Rows of a depthwise convolution that moves by two columns: one channel, every second position of its input.
struct StridedTile {
  const float* x;       // where the first tap of output (0, 0) reads; borders are there, as zeros
  int64_t x_pitch;      // from one row of the input to the next
  int64_t x_step;       // from what one row of the output reads to what the next one does
  const float* weight;  // (side, side)
  int32_t side;         // 3, 5 or 7
  int64_t rows, width;
  float* y;
  int64_t y_pitch;  // width and the zeros behind it, which are written too
  Epilogue finish;  // scale and bias point at this channel's value; no mask
};

struct KernelTable {
  const char* name;
  int vector_floats;
  int max_lines[5];  // by block_rows (1 or 4): how many lines of 16 floats fit the registers
  // value_type: 0 float, 1 int8. lines: 1 .. max_lines[block_rows].
  void (*sparse)(int block_rows, int value_type, int lines, const SparseTile&);
  void (*depthwise)(const DepthwiseTile&);
  void (*strided)(const StridedTile&);  // null where there is none
  // y[row] += sum of value * x[column] over all runs: the same segments, one input vector.
  void (*gemv)(int block_rows, int value_type, const Run* run, int32_t runs, const float* x, int32_t group_begin,
               int32_t group_end, int32_t row_count, float* y);
  // to[i] = index[i] < 0 ? 0 : from[index[i]]
  void (*gather)(const float* from, const int32_t* index, int64_t count, float* to);
  // even[i] = from[2 i], odd[i] = from[2 i + 1], for `count` floats of from
  void (*split)(const float* from, int64_t count, float* even, float* odd);
  // Multiply-adds in registers only, `rounds` times 12 vectors: what the machine can do at most. For benchmarks.
  float (*burst)(int64_t rounds);
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
