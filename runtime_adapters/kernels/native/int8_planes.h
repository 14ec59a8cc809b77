// Between float images and planes of quads, and what else happens to planes of quads between convolutions.
#pragma once
#include "int8_finish.h"
#include "window.h"

namespace elsa {

// Planes (batch, quads, stride, 4), or an error that says what they are of.
const uint8_t* planes8_of(const ort::Context& context, int64_t quads, int64_t stride, const char* what, int64_t* batch);

// The borders of a plane of quads that no position covers, all with the code of 0.
void zero_borders8(uint8_t* plane, const PlaneLayout& layout, uint8_t zero, bool head, bool tail);

// Each quad's plane into phases; the zeros of the padding become `zero`. The result is good until the next call of the
// same thread.
const uint8_t* phases8(const ort::Context& context, const Window& window, const uint8_t* image, int64_t quads,
                       uint8_t zero);

class Int8FromImage {
 public:
  static constexpr const char* kName = "Int8FromImage";
  static constexpr OrtElementType kOutput = kOrtUint8;
  static constexpr ort::InputKind kInputs[] = {
      {kOrtFloat, kOrtRequired}, {kOrtInt64, kOrtRequired}, {kOrtFloat, kOrtRequired}};
  explicit Int8FromImage(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  PlaneLayout layout_;
  Steps8 steps_;
};

class ImageFromInt8 {
 public:
  static constexpr const char* kName = "ImageFromInt8";
  static constexpr ort::InputKind kInputs[] = {
      {kOrtUint8, kOrtRequired}, {kOrtInt64, kOrtRequired}, {kOrtFloat, kOrtRequired}};
  explicit ImageFromInt8(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  PlaneLayout layout_;
  int64_t channels_;
  Steps8 steps_;
};

// The mean of each channel, as floats (batch, channels, 1, 1).
class Int8Mean {
 public:
  static constexpr const char* kName = "Int8Mean";
  static constexpr ort::InputKind kInputs[] = {
      {kOrtUint8, kOrtRequired}, {kOrtInt64, kOrtRequired}, {kOrtFloat, kOrtRequired}};
  explicit Int8Mean(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  PlaneLayout layout_;
  int64_t channels_;
  Steps8 steps_;
};

class Int8MaxPool {
 public:
  static constexpr const char* kName = "Int8MaxPool";
  static constexpr OrtElementType kOutput = kOrtUint8;
  static constexpr ort::InputKind kInputs[] = {
      {kOrtUint8, kOrtRequired}, {kOrtInt64, kOrtRequired}, {kOrtFloat, kOrtRequired}};
  explicit Int8MaxPool(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  Window window_;
  int64_t quads_;
  Steps8 steps_;
  std::vector<int32_t> offsets_;  // (taps) bytes
  std::vector<int32_t> mask_;
};

}  // namespace elsa
