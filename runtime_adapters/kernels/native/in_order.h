// Instructions that stay where they are written. Part of kernels.cpp and kernels8.cpp, on aarch64 only.
//
// Cores that issue in order (Cortex-A53, A55) wait where a value is used before it is there, so the loops for aarch64 load
// what a later product needs between the products of now. A compiler would put these loads right before their use again,
// or run out of registers: between two of these statements it moves nothing.
#pragma once

namespace elsa {
namespace {

// to = the 16 bytes at p, at any address of its type.
template <typename To, typename At>
inline __attribute__((always_inline)) void load_here(To& to, const At& p) {
  asm volatile("ldr %q0, %1" : "=w"(to) : "m"(p));
}

// sum += pixels * w[kLane]
template <int kLane, typename Floats>
inline __attribute__((always_inline)) void multiply_here(Floats& sum, Floats pixels, Floats w) {
  asm volatile("fmla %0.4s, %1.4s, %2.s[%3]" : "+w"(sum) : "w"(pixels), "w"(w), "i"(kLane));
}

// v is known from here on, and not computed later.
template <typename Number>
inline __attribute__((always_inline)) void settle(Number& v) {
  asm volatile("" : "+r"(v));
}

}  // namespace
}  // namespace elsa
