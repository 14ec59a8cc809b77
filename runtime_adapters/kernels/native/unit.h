// What operators over planes need to know of a unit: float, or Half.
#pragma once
#include "half.h"
#include "ort.h"

namespace elsa {

template <typename Unit>
struct UnitOf;

template <>
struct UnitOf<float> {
  static constexpr OrtElementType kType = kOrtFloat;
  static const PlaneTable<float>& table() { return kernels(); }
  static constexpr const char* name(const char* of_floats, const char*) { return of_floats; }
};

template <>
struct UnitOf<Half> {
  static constexpr OrtElementType kType = kOrtFloat16;
  static const PlaneTable<Half>& table() { return halves(); }
  static constexpr const char* name(const char*, const char* of_halves) { return of_halves; }
};

template <typename Unit>
const Unit* units(const ort::Tensor& t) {
  return static_cast<const Unit*>(t.data);
}

}  // namespace elsa
