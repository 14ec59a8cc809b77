// The scale, bias, residual and activation after a sum, as attributes and inputs of a node.
#pragma once
#include <string>
#include <vector>

#include "kernels.h"
#include "ort.h"
#include "unit.h"

namespace elsa {

// `table` is (levels, 2, rows): scale, bias.
template <typename Unit>
class Finish {
 public:
  // `prefix` goes before the names of the attributes, where an operator finishes twice.
  Finish(const ort::Info& info, size_t table_input, int64_t rows, const std::string& prefix = "") {
    const ort::Tensor table = info.constant(table_input, kOrtFloat, "the table of scales and biases");
    require(table.dims.size() == 3 && table.dims[0] >= 1 && table.dims[1] == 2 && table.dims[2] == rows,
            "the table of scales and biases must be (levels, 2, rows)");
    EpilogueOf<Unit> e;
    e.activation = static_cast<Activation>(
        info.integer((prefix + "activation").c_str(), 0, static_cast<int64_t>(Activation::kSilu)));
    e.low = info.real((prefix + "low").c_str()), e.high = info.real((prefix + "high").c_str());
    for (int64_t level = 0; level < table.dims[0]; ++level) {
      e.scale = table.floats() + level * 2 * rows;
      e.bias = e.scale + rows;
      levels_.push_back(e);
    }
  }

  int64_t levels() const { return static_cast<int64_t>(levels_.size()); }
  // Made once: what is copied right after it was written in parts waits for the writes.
  const EpilogueOf<Unit>& at(int64_t level) const { return levels_[static_cast<size_t>(level)]; }

 private:
  std::vector<EpilogueOf<Unit>> levels_;
};

// The optional input that is added before the activation, of the shape of the output; null where it is absent.
template <typename Unit>
const Unit* residual_of(const ort::Context& context, size_t index, const ort::Dims& dims) {
  if (!context.has_input(index)) return nullptr;
  const ort::Tensor t = context.input(index, UnitOf<Unit>::kType, "the residual");
  require(t.dims == dims, "the residual must have the shape of the output");
  return units<Unit>(t);
}

}  // namespace elsa
