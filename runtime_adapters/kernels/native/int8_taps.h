// The taps of depthwise weights in the order in which a loop sums them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "int8.h"

namespace elsa {

// Taps in groups of one form.
struct TapGroups {
  TapForm form;
  int64_t groups = 0;
  int64_t codes = 0;             // bytes of a group
  std::vector<int32_t> offsets;  // bytes, as Depthwise8 has them
  std::vector<int32_t> from;     // (groups * codes) where a plane of the file has each code; -1: it is 0
};

// The file has (tap fours, 4 channels, 4 taps), taps in the order of `offsets`, which are bytes. kThreeRows becomes
// kFours where the taps are something else.
TapGroups grouped(TapForm form, const std::vector<int32_t>& offsets);

}  // namespace elsa
