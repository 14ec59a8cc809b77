// Instructions that stay where they are written. Part of kernels.cpp and kernels8.cpp, on aarch64 only.
//
// Cores that issue in order (Cortex-A53, A55) wait where a value is used before it is there, so the loops for aarch64 load
// what a later product needs between the products of now. A compiler would put these loads right before their use again,
// or run out of registers: between two of these statements it moves nothing.
#pragma once
#include <cstdint>

namespace elsa {
namespace {

struct __attribute__((packed, may_alias)) Sixteen {
  char bytes[16];
};

// to = the 16 bytes at p, which may be any address.
template <typename Vector>
inline __attribute__((always_inline)) void load_here(Vector& to, const void* p) {
  static_assert(sizeof(Vector) == 16);
  asm volatile("ldr %q0, %1" : "=w"(to) : "m"(*static_cast<const Sixteen*>(p)));
}

// v is known from here on, and not computed later.
template <typename Number>
inline __attribute__((always_inline)) void settle(Number& v) {
  asm volatile("" : "+r"(v));
}

// Of N vectors of pixels, those that are loaded when their products begin.
template <int N>
constexpr int kLoaded = N % 4 == 0 ? 4 : 2;

// Where the pixels of the coming entries lie. The column, its distance and the pixels are three loads that wait for one
// another, so each is made an entry before the next one: during the products of entry i, the pixels of i + 1, the
// distance of i + 2, the column of i + 3. Distances count units.
template <typename Unit>
struct Coming {
  const Unit* x;
  const int32_t* offset;  // (columns)
  const Unit* now;        // pixels of entry i
  const Unit* next;       // of entry i + 1
  uint32_t column;        // of entry i + 2
  const Unit* later = nullptr;
  int32_t distance = 0;

  static constexpr int kUnits = 16 / sizeof(Unit);  // a vector

  Coming(const Unit* from, const int32_t* offsets, uint32_t first, uint32_t second, uint32_t third)
      : x(from), offset(offsets), now(from + offsets[first]), next(from + offsets[second]), column(third) {}

  template <typename Vector, int L>
  inline __attribute__((always_inline)) void load_first(Vector (&pixels)[L]) const {
#pragma GCC unroll 8
    for (int n = 0; n < L; ++n) load_here(pixels[n], now + n * kUnits);
  }

  // To be called at the beginning of an entry, after the products of each of its vectors, and at its end.
  inline __attribute__((always_inline)) void begin() {
    distance = offset[column];
    settle(distance);
  }
  template <int N, typename Vector>
  inline __attribute__((always_inline)) void after_vector(int n, uint32_t& column_after, Vector& pixels) {
    const int coming = n + kLoaded<N>;
    load_here(pixels, coming < N ? now + coming * kUnits : next + (coming - N) * kUnits);
    if (n == 1) settle(column_after);
    if (n == (N > 2 ? 2 : 1)) {
      later = x + distance;
      settle(later);
    }
  }
  inline __attribute__((always_inline)) void end(uint32_t column_after) {
    now = next, next = later, column = column_after;
  }
};

}  // namespace
}  // namespace elsa
