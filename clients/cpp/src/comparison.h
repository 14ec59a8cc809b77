// The numeric contract: max |found - expected| <= max(relative, 8 noise) max |expected|, per output and level.
#pragma once
#include "elsa_edge.h"

namespace elsa_edge {

// Counts over the batches of one level, and throws BundleError where an answer is outside the contract.
class Comparison {
 public:
  Comparison(const Manifest& manifest, const Variant& variant, size_t level)
      : manifest_(manifest), variant_(variant), level_(level) {}
  void compare(const Tensors& found, const Tensors& expected);
  // After the last batch: whether a variant that is not exact agrees often enough.
  void end() const;

 private:
  void agree(const std::vector<double>& found, const std::vector<double>& expected, const std::vector<int64_t>& dims,
             int told_axis);
  std::string where() const;

  const Manifest& manifest_;
  const Variant& variant_;
  const size_t level_;
  size_t places_ = 0, agreeing_ = 0;
};

}  // namespace elsa_edge
