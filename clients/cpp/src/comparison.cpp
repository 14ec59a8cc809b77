#include "comparison.h"

#include <algorithm>
#include <cmath>

#include "elements.h"
#include "text.h"

namespace elsa_edge {
namespace {

constexpr double kLikeInfinity = 1e30, kNoiseFactor = 8;

double half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  double size = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  if (exponent == 31) size = fraction == 0 ? kInfinity : std::nan("");
  return bits >> 15 != 0 ? -size : size;
}

// The number whose bytes these are, little-endian: `kind` is f, i or u.
double number_of(uint64_t bits, char kind, size_t size) {
  if (kind == 'f' && size == 2) return half(static_cast<uint16_t>(bits));
  if (kind == 'f' && size == 4) {
    float value;
    const auto low = static_cast<uint32_t>(bits);
    std::memcpy(&value, &low, sizeof value);
    return value;
  }
  if (kind == 'f') {
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  if (kind == 'u') return static_cast<double>(bits);
  const size_t unused = 64 - 8 * size;
  return static_cast<double>(static_cast<int64_t>(bits << unused) >> unused);
}

// NaN equals NaN, infinity equals itself, and numbers beyond 1e30 count as infinite.
std::vector<double> numbers_of(const Tensor& tensor) {
  const Element& element = element_of(tensor.dtype);
  // The first letter of float, int, uint and bool.
  const char kind = tensor.dtype[0] == 'b' ? 'u' : tensor.dtype[0];
  std::vector<double> numbers(tensor.bytes.size() / element.bytes);
  for (size_t i = 0; i < numbers.size(); ++i) {
    uint64_t bits = 0;
    std::memcpy(&bits, tensor.bytes.data() + i * element.bytes, element.bytes);
    numbers[i] = number_of(bits, kind, element.bytes);
    if (std::abs(numbers[i]) > kLikeInfinity) numbers[i] = std::copysign(kInfinity, numbers[i]);
  }
  return numbers;
}

size_t largest(const std::vector<double>& values, size_t first, size_t count, size_t stride) {
  size_t best = 0;
  for (size_t i = 1; i < count; ++i) {
    if (values[first + i * stride] > values[first + best * stride]) best = i;
  }
  return best;
}

}  // namespace

std::string Comparison::where() const { return joined({variant_.name, " at level ", manifest_.ladder[level_].name}); }

void Comparison::compare(const Tensors& found, const Tensors& expected) {
  for (const TensorEntry& output : manifest_.outputs) {
    const auto built = expected.find(output.name), answer = found.find(output.name);
    if (built == expected.end() || answer == found.end() || answer->second.dims != built->second.dims) {
      fail<BundleError>({where(), " answers ", output.name, " in another shape than what was built."});
    }
    const std::vector<double> a = numbers_of(answer->second), b = numbers_of(built->second);
    if (a.size() != b.size()) fail<BundleError>({"The golden file cannot be read (an array is cut short)."});
    double scale = 0, apart = 0;
    for (size_t i = 0; i < b.size(); ++i) {
      if (std::isfinite(b[i])) scale = std::max(scale, std::abs(b[i]));
      if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
      apart = std::isfinite(a[i]) && std::isfinite(b[i]) ? std::max(apart, std::abs(a[i] - b[i])) : kInfinity;
    }
    const double noise = output.noise.empty() ? 0 : output.noise[level_];
    const double allowed = scale * std::max(variant_.relative_tolerance, kNoiseFactor * noise);
    if (apart > allowed) {
      fail<BundleError>({where(), " is outside the contract: ", output.name, " is ", plain(apart),
                         " away from what was built, allowed are ", plain(allowed),
                         ". Build the bundle again, or another variant."});
    }
    agree(a, b, built->second.dims, output.class_axis);
  }
}

void Comparison::end() const {
  const double least = variant_.minimum_agreement.value_or(0) * static_cast<double>(places_);
  if (static_cast<double>(agreeing_) >= least) return;
  fail<BundleError>({where(), " names the same class in ", std::to_string(agreeing_), " of ", std::to_string(places_),
                     " places; ", plain(least), " must agree."});
}

void Comparison::agree(const std::vector<double>& found, const std::vector<double>& expected,
                       const std::vector<int64_t>& dims, int told_axis) {
  const size_t axis = told_axis < 0 ? dims.size() - 1 : static_cast<size_t>(told_axis);
  if (axis < 1 || axis >= dims.size() || dims[axis] < 2) return;
  const auto classes = static_cast<size_t>(dims[axis]);
  size_t stride = 1;
  for (size_t i = axis + 1; i < dims.size(); ++i) stride *= static_cast<size_t>(dims[i]);
  for (size_t begin = 0; begin < expected.size(); begin += classes * stride) {
    for (size_t first = begin; first < begin + stride; ++first) {
      ++places_;
      agreeing_ += largest(found, first, classes, stride) == largest(expected, first, classes, stride);
    }
  }
}

}  // namespace elsa_edge
