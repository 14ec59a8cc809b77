// Int8Rows, Int8MatMul, Int8MatMulFloat: products with nested sparse matrices over rows of codes.
#pragma once
#include "bands.h"
#include "int8_finish.h"
#include "int8_weights.h"
#include "split.h"

namespace elsa {

// Codes of floats: (..., columns) to (..., columns padded to a multiple of 4).
class Int8Rows {
 public:
  static constexpr const char* kName = "Int8Rows";
  static constexpr OrtElementType kOutput = kOrtUint8;
  static constexpr ort::InputKind kInputs[] = {
      {kOrtFloat, kOrtRequired}, {kOrtInt64, kOrtRequired}, {kOrtFloat, kOrtRequired}};
  explicit Int8Rows(const ort::Info& info) : steps_(info, 2) {}
  void compute(const ort::Context& context) const;

 private:
  Steps8 steps_;
};

// What both products share: integer sums of every row of x.
class Int8Product {
 public:
  explicit Int8Product(const ort::Info& info);

 protected:
  // body(n, first row, count, sums) for parts of the output, on all threads.
  template <typename Body>
  void sums(const ort::Context& context, const uint8_t* x, int64_t count, int64_t level, Body&& body) const;
  // The rows of x; `dims` becomes the shape of the output, `last` long.
  const uint8_t* rows_of(const ort::Context& context, int64_t last, ort::Dims* dims, int64_t* count) const;

  int64_t quads_, rows_;
  Weights8 weights_;
  Finish8Tables finish_;

 private:
  // One row of x at a time.
  template <typename Body>
  void one_by_one(const ort::Context& context, const uint8_t* x, int64_t count, int64_t level, Body&& body) const;
  // Many rows of x at a time, as a convolution takes the positions of an image.
  template <typename Body>
  void in_tiles(const ort::Context& context, const uint8_t* x, int64_t count, int64_t level, Body&& body) const;

  Split split_;                   // of quads of rows, where rows of x are taken one by one
  BandedWeights banded_;          // in the same parts
  std::vector<int32_t> offsets_;  // (quads) bytes, within a packed tile
};

class Int8MatMul : Int8Product {
 public:
  static constexpr const char* kName = "Int8MatMul";
  static constexpr OrtElementType kOutput = kOrtUint8;
  static constexpr ort::InputKind kInputs[] = {
      {kOrtUint8, kOrtRequired},  // (..., 4 * quads)
      {kOrtInt64, kOrtRequired},  // level
      {kOrtFloat, kOrtRequired},  // (levels, 2, rows padded)
      {kOrtFloat, kOrtRequired},  // (levels, 6)
      {kOrtUint8, kOrtVariadic},  // segments, one a level
  };
  explicit Int8MatMul(const ort::Info& info) : Int8Product(info) {}
  void compute(const ort::Context& context) const;
};

// The same to floats: multipliers and biases are those of floats; attributes low and high bound them.
class Int8MatMulFloat : Int8Product {
 public:
  static constexpr const char* kName = "Int8MatMulFloat";
  static constexpr const ort::InputKind (&kInputs)[5] = Int8MatMul::kInputs;
  explicit Int8MatMulFloat(const ort::Info& info)
      : Int8Product(info), low_(info.real("low")), high_(info.real("high")) {}
  void compute(const ort::Context& context) const;

 private:
  float low_, high_;
};

}  // namespace elsa
