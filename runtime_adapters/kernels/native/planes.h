// PlanesFromImage and ImageFromPlanes: between NCHW and the layout of layout.h.
#pragma once
#include "layout.h"
#include "ort.h"

namespace elsa {

class PlanesFromImage {
 public:
  static constexpr const char* kName = "PlanesFromImage";
  static constexpr ort::InputKind kInputs[] = {{kOrtFloat, kOrtRequired}};
  explicit PlanesFromImage(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  PlaneLayout layout_;
};

class ImageFromPlanes {
 public:
  static constexpr const char* kName = "ImageFromPlanes";
  static constexpr ort::InputKind kInputs[] = {{kOrtFloat, kOrtRequired}};
  explicit ImageFromPlanes(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  PlaneLayout layout_;
};

}  // namespace elsa
