// What this processor can do, at most what ELSA_KERNELS_ISA allows.
#pragma once

namespace elsa {

// In the order of preference on one architecture.
enum class Isa { kBase, kAvx2, kAvxVnni, kAvx512, kAvx512Vnni, kDotprod };

// The best that the machine has; ELSA_KERNELS_ISA=base|avx2|avxvnni|avx512|avx512vnni|dotprod lowers it to that one or the
// best below it.
Isa instruction_set();

// Arithmetic of 8 half floats (asimdhp); only on aarch64.
bool has_half_arithmetic();
// From and to half floats (F16C); only on x86-64.
bool has_half_conversions();

}  // namespace elsa
