// The 8-bit kernels' inner loops, as a table of functions: one table an instruction set, chosen when first used.
//
// A pixel is 4 bytes: the codes of 4 consecutive channels (a quad), 0 to 255. Where products take signed pixels (aarch64)
// memory holds each code less 128, so that no loop has to subtract it again at each product: see held(). So planes of layout.h hold a quad where they
// hold a float32 channel, with the same offsets. Weights are signed codes in blocks of 4 input channels. What is
// computed, bit for bit on every processor (the sums are exact, the rest float32 without fused multiply-adds):
//
//   y = clamp(round_to_even(float(sum of x * w) * scale + bias + residual * share), low, high)
//   with HardSwish or SiLU, where scale, bias and share give a number and not a code:
//   y = clamp(round_to_even(act(float(sum of x * w) * scale + bias + residual * share) * inverse + zero), low, high)
#pragma once
#include <cstdint>

#include "kernels.h"

namespace elsa {

// Segments 0 .. k of a weight that have the same form, in the order of the file.
struct Sweep {
  int32_t block_rows;
  const Run* run;  // values are 4 codes a row of an entry; 8 rows side by side have one row an entry
  int32_t runs;
};

struct Finish8 {
  const float* scale = nullptr;               // (rows, padded to a multiple of 4)
  const float* bias = nullptr;                // the same; zero points of input, residual and output are in it
  const uint8_t* residual = nullptr;          // like y, or null
  float share = 0;                            // residual's step / output's step
  const int32_t* mask = nullptr;              // (positions of this tile) all ones or 0; null: keep everything
  uint8_t low = 0, high = 255;                // bounds of y
  uint8_t zero = 0;                           // the output's code of 0, also for positions that the mask leaves out
  Activation activation = Activation::kNone;  // or kHardSwish, kSilu; a clip is low and high
  float inverse = 1;                          // 1 / output's step, where there is an activation
};

// Some quads of output channels over a stretch of consecutive positions.
struct Tile8 {
  const uint8_t* x;       // position 0 of the tile in the first quad
  const int32_t* offset;  // (columns) -> distance in bytes from x
  const Sweep* sweep;
  int32_t sweeps;
  int32_t quad_begin, quad_end;
  int32_t row_count;     // rows that exist: the last quad may be partly beyond
  int32_t lines;         // 1 .. max_lines lines of 16 positions
  const int32_t* start;  // (rows, padded) what the sums start from
  uint8_t* y;            // position 0 of the tile in quad quad_begin
  int64_t y_stride;      // bytes
  Finish8 finish;        // scale and bias start at row 0; residual lies like y
};

// What a depthwise loop sums at once, and so how it wants the taps of a plane and their codes.
enum class TapForm {
  kFours,      // any four taps side by side: (groups, 4 channels, 4 taps)
  kThreeRows,  // three groups of three taps at consecutive positions, in the same order; the fourth weighs 0
  kPairs,      // two taps, one after the other: (groups, 2 taps, 4 channels)
};

// A depthwise tile: one quad of channels.
struct Depthwise8 {
  const uint8_t* x;
  TapForm form;
  const int32_t* offset;  // bytes: of each tap of a group, of kThreeRows only of its first
  const int8_t* weight;   // no code is -128
  int32_t groups;
  int64_t lines;
  const int32_t* start;  // (4)
  uint8_t* y;
  Finish8 finish;  // scale and bias of this quad, residual of position 0
};

// One step of a recurrent cell, whose sums are there: gates lie one after the other, in the order of ONNX.
struct CellStep {
  int64_t units;
  const float* from_input;  // (gates, units) what the input adds to each gate, biases included
  const float* from_state;  // (gates, units) what the state before adds, biases included
  float* h;                 // (units) the state, which is replaced
  float* c;                 // (units) the cell of an LSTM, which is replaced; null in a GRU
};

struct Kernels8 {
  const char* name;
  int lanes;  // of a vector
  int max_lines;
  TapForm taps;        // the best; kFours where there are no three rows of three
  bool signed_pixels;  // memory holds codes less 128, so sums must start at 128 * (sum of the active weights)
  void (*tile)(const Tile8&);
  // Only the sums of the tile: (rows, max_lines * 16), from row 4 * quad_begin. What says how to finish is not read.
  void (*tile_sums)(const Tile8&, int32_t* sums);
  void (*depthwise)(const Depthwise8&);
  // sums[row] += products of bands [begin, end) with one vector x of quads.
  void (*bands)(BlockRows rows, const Bands&, int32_t begin, int32_t end, const uint8_t* x, int32_t* sums);
  // `count` sums, one a channel, to codes; scale and bias like sums, no residual, no mask.
  void (*finish)(const int32_t* sums, int64_t count, const Finish8&, uint8_t* y);
  // The same to floats: float(sum) * scale + bias, at least low, at most high.
  void (*to_floats)(const int32_t* sums, int64_t count, const float* scale, const float* bias, float low, float high,
                    float* y);
  // code = clamp(round_to_even(x * inverse + zero)) of 4 channels; NaN becomes 0
  void (*quantize)(const float* const* channel, int64_t count, float inverse, float zero, uint8_t* to);
  // The same of values in a row.
  void (*codes)(const float* from, int64_t count, float inverse, float zero, uint8_t* to);
  // x = (code - zero) * step
  void (*dequantize)(const uint8_t* from, int64_t count, float step, float zero, float* const* channel);
  // to[i] = max(to[i], from[i])
  void (*maximum)(const uint8_t* from, int64_t bytes, uint8_t* to);
  // Adds the codes of `count` pixels to four sums.
  void (*add_up)(const uint8_t* from, int64_t count, int64_t* sums);
  void (*lstm)(const CellStep&);
  // resets_sums: the reset gate multiplies the sums of the hidden gate (linear_before_reset), else they are of what
  // gru_reset made.
  void (*gru)(const CellStep&, bool resets_sums);
  // to = reset gate * h
  void (*gru_reset)(const CellStep&, float* to);
};

// Names, best first; ELSA_KERNELS_ISA=NAME takes that one, or the best below it where the machine lacks it.
//   x86-64: avx512vnni avx512 avxvnni avx2 base       aarch64: dotprod base
const Kernels8& kernels8();

// The byte that stands for a code in memory.
inline uint8_t held(uint8_t code) { return kernels8().signed_pixels ? code ^ 0x80 : code; }

}  // namespace elsa
