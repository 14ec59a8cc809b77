// Asks the processor once.
#include "isa.h"

#include <cstdlib>
#include <cstring>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

namespace elsa {
namespace {

struct Known {
  Isa isa;
  const char* name;
};
constexpr Known kKnown[] = {{Isa::kBase, "base"},
                            {Isa::kAvx2, "avx2"},
                            {Isa::kAvxVnni, "avxvnni"},
                            {Isa::kAvx512, "avx512"},
                            {Isa::kAvx512Vnni, "avx512vnni"},
                            {Isa::kDotprod, "dotprod"}};

bool has(Isa isa) {
  if (isa == Isa::kBase) return true;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (isa == Isa::kAvx2) return avx2;
  if (isa == Isa::kAvx512) return avx512;
  if (isa == Isa::kAvx512Vnni) return avx512 && __builtin_cpu_supports("avx512vnni");
  if (isa == Isa::kAvxVnni) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return avx2 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 4));
  }
#elif defined(__aarch64__) && defined(__linux__)
  constexpr unsigned long kHasDotprod = 1ul << 20;  // HWCAP_ASIMDDP
  if (isa == Isa::kDotprod) return (getauxval(AT_HWCAP) & kHasDotprod) != 0;
#endif
  return false;
}

Isa choose() {
  const char* wish = std::getenv("ELSA_KERNELS_ISA");
  Isa best = Isa::kBase;
  for (const Known& known : kKnown) {
    if (has(known.isa)) best = known.isa;
    if (wish && std::strcmp(wish, known.name) == 0) break;
  }
  return best;
}

}  // namespace

Isa instruction_set() {
  static const Isa chosen = choose();
  return chosen;
}

bool has_half_arithmetic() {
#if defined(__aarch64__) && defined(__linux__)
  constexpr unsigned long kHasHalves = 1ul << 10;  // HWCAP_ASIMDHP
  return (getauxval(AT_HWCAP) & kHasHalves) != 0;
#else
  return false;
#endif
}

bool has_half_conversions() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
#else
  return false;
#endif
}

}  // namespace elsa
