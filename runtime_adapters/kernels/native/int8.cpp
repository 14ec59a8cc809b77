// The choice of 8-bit loops for this machine.
#include "int8.h"

#include "isa.h"

namespace elsa {

extern const Kernels8 kernels8_base;
#if defined(__x86_64__)
extern const Kernels8 kernels8_avx2;
extern const Kernels8 kernels8_avxvnni;
extern const Kernels8 kernels8_avx512;
extern const Kernels8 kernels8_avx512vnni;
#elif defined(__aarch64__)
extern const Kernels8 kernels8_dotprod;
#endif

const Kernels8& kernels8() {
  static const Kernels8& chosen = []() -> const Kernels8& {
    switch (instruction_set()) {
#if defined(__x86_64__)
      case Isa::kAvx512Vnni:
        return kernels8_avx512vnni;
      case Isa::kAvx512:
        return kernels8_avx512;
      case Isa::kAvxVnni:
        return kernels8_avxvnni;
      case Isa::kAvx2:
        return kernels8_avx2;
#elif defined(__aarch64__)
      case Isa::kDotprod:
        return kernels8_dotprod;
#endif
      default:
        return kernels8_base;
    }
  }();
  return chosen;
}

}  // namespace elsa
