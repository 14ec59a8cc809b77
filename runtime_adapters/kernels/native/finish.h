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

  // `prefix` goes before the names of the attributes, where an operator finishes twice.
  Finish(const ort::Info& info, size_t table_input, int64_t row_count, const std::string& prefix = "") : rows(row_count) {
    activation = static_cast<int32_t>(info.integer((prefix + "activation").c_str(), kNone, kSilu));
    low = info.real((prefix + "low").c_str()), high = info.real((prefix + "high").c_str());
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

// The optional input that is added before the activation, of the shape of the output; null where it is absent.
inline const float* residual_of(const ort::Context& context, size_t index, const std::vector<int64_t>& dims) {
  if (!context.has_input(index)) return nullptr;
  const ort::Tensor t = context.input(index, kOrtFloat, "the residual");
  ort::require(t.dims == dims, "the residual must have the shape of the output");
  return t.floats();
}

}  // namespace elsa
