// What the oracle answered: inputs and the outputs of every level.
#pragma once
#include <string>
#include <vector>

#include "elsa_edge.h"

namespace elsa_edge {

struct Batch {
  Tensors inputs;
  std::vector<Tensors> outputs;  // per level
};

// Reads numpy's `.npz`, and never unpickles; throws BundleError when it is damaged, too large or not one of ours.
std::vector<Batch> read_golden(const std::string& archive, size_t levels);

}  // namespace elsa_edge
