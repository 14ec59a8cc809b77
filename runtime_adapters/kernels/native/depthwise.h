// Depthwise convolution over planes: one small dense kernel a channel, and the operator that is only that.
#pragma once
#include "finish.h"
#include "window.h"

namespace elsa {

// What operators that contain a depthwise convolution share. A channel is computed in steps, in order: lines of 16
// positions, or rows of the output where it moves by two columns, or all at once where it needs a copy into phases.
template <typename Unit>
class DenseDepthwise {
 public:
  // `weights` is the input (levels or 1, channels, taps); `prefix` goes before the names of the window's attributes.
  DenseDepthwise(const ort::Info& info, size_t weights, int64_t channels, int64_t levels, const std::string& prefix);

  int64_t steps() const;
  // How many steps can be computed when only the first `positions` of the input's body are known.
  int64_t steps_within(int64_t positions) const;
  // Memory of this thread that planes are copied into; null where nothing is copied.
  Unit* phases() const;
  // Steps [begin, end) of one channel, from its plane to its plane; scale and bias of `finish` start at channel 0, its
  // residual at position 0 of `to`.
  void compute(const PlaneTable<Unit>& table, int64_t level, int64_t c, const Unit* plane, Unit* phases,
               const EpilogueOf<Unit>& finish, int64_t begin, int64_t end, Unit* to) const;

  const Window window;
  const int64_t channels;

 private:
  enum class Form { kLines, kRows, kWhole };
  static Form form_of(const Window& window);

  ort::Tensor weight_;
  Form form_;
  std::vector<int32_t> offsets_;  // (taps)
  std::vector<int32_t> mask_;
};

template <typename Unit>
class NestedDepthwise {
 public:
  static constexpr const char* kName = UnitOf<Unit>::name("NestedDepthwise", "Float16Depthwise");
  static constexpr OrtElementType kOutput = UnitOf<Unit>::kType;
  static constexpr ort::InputKind kInputs[] = {
      {kOutput, kOrtRequired},    // planes (batch, channels, 1, stride)
      {kOrtInt64, kOrtRequired},  // level
      {kOrtFloat, kOrtRequired},  // (levels, 2, channels)
      {kOutput, kOrtOptional},    // residual
      {kOutput, kOrtRequired},    // weights (levels or 1, channels, taps)
  };
  explicit NestedDepthwise(const ort::Info& info);
  void compute(const ort::Context& context) const;

 private:
  int64_t channels_;
  Finish<Unit> finish_;
  DenseDepthwise<Unit> conv_;
};

}  // namespace elsa
