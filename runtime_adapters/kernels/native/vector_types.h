// What a vector of one instruction set is. Part of vectors.h.
#pragma once
#if defined(__AVX2__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // gcc 12 warns about its own immintrin.h
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <cstdint>

#include "layout.h"

namespace elsa {
namespace {

constexpr int kLanes = ELSA_LANES;
constexpr int kSteps = kLine / kLanes;  // vectors a line
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef float VecAnywhere __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t Int __attribute__((vector_size(kLanes * 4)));
typedef int32_t IntAnywhere __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

inline Vec load(const float* p) { return *reinterpret_cast<const VecAnywhere*>(p); }
inline Int load_int(const int32_t* p) { return *reinterpret_cast<const IntAnywhere*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<VecAnywhere*>(p) = v; }

}  // namespace
}  // namespace elsa
