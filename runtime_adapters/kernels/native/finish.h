// The scale, bias, residual and activation after a sum, as attributes and inputs of a node.
#pragma once
#include "kernels.h"
#include "ort.h"

namespace elsa {

// `table` is (levels, 2, rows): scale, bias.
struct Finish {
  int32_t activation;
  float low, high;
  int64_t rows, levels;

  Finish(const ort::Info& info, size_t table_input, int64_t row_count) : rows(row_count) {
    activation = static_cast<int32_t>(info.integer("activation", kNone, kSilu));
    low = info.real("low"), high = info.real("high");
    const ort::Tensor table = info.constant(table_input, kOrtFloat, "the table of scales and biases");
    ort::require(table.dims.size() == 3 && table.dims[0] >= 1 && table.dims[1] == 2 && table.dims[2] == rows,
                 "the table of scales and biases must be (levels, 2, rows)");
    levels = table.dims[0];
    table_ = table.floats();
  }

  Epilogue at(int64_t level) const {
    Epilogue e;
    e.scale = table_ + level * 2 * rows;
    e.bias = e.scale + rows;
    e.activation = activation;
    e.low = low, e.high = high;
    return e;
  }

 private:
  const float* table_;
};

}  // namespace elsa
