// The choice of loops over half floats for this machine.
#include "half.h"

#include "error.h"
#include "isa.h"

namespace elsa {

#if defined(__aarch64__)

extern const HalfTable kernels16_fp16;

const HalfTable& halves() {
  require(has_half_arithmetic(),
          "this processor has no arithmetic of half floats (asimdhp, as a Cortex-A55 or A76 has); "
          "use a variant in float32 or in 8 bits");
  return kernels16_fp16;
}

#else

extern const HalfTable kernels16_base;
extern const HalfTable kernels16_avx2;

const HalfTable& halves() {
  return has_half_conversions() && instruction_set() >= Isa::kAvx2 ? kernels16_avx2 : kernels16_base;
}

#endif

}  // namespace elsa
