// PlanesFromImage and ImageFromPlanes: between NCHW, always of floats, and the layout of layout.h.
#pragma once
#include "layout.h"
#include "unit.h"

namespace elsa {

template <typename Unit>
class PlanesFromImage {
 public:
  static constexpr const char* kName = UnitOf<Unit>::name("PlanesFromImage", "Float16FromImage");
  static constexpr OrtElementType kOutput = UnitOf<Unit>::kType;
  static constexpr ort::InputKind kInputs[] = {{kOrtFloat, kOrtRequired}};
  explicit PlanesFromImage(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  PlaneLayout layout_;
};

template <typename Unit>
class ImageFromPlanes {
 public:
  static constexpr const char* kName = UnitOf<Unit>::name("ImageFromPlanes", "ImageFromFloat16");
  static constexpr ort::InputKind kInputs[] = {{UnitOf<Unit>::kType, kOrtRequired}};
  explicit ImageFromPlanes(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  PlaneLayout layout_;
};

}  // namespace elsa
