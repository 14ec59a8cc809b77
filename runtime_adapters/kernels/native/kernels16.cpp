// The table of inner loops over half floats. Compiled once an instruction set: -DELSA_TABLE16=name -DELSA_NAME="name"
// -DELSA_LANES=4|8
#include <cstring>

#include "gemv_loops.h"
#include "half.h"
#include "half_loops.h"

namespace elsa {
namespace {

void gather(const Half* from, const int32_t* index, int64_t count, Half* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = index[i] < 0 ? Half{} : from[index[i]];
}

void split(const Half* from, int64_t count, Half* even, Half* odd) {
  for (int64_t i = 0; i < count / 2; ++i) even[i] = from[2 * i], odd[i] = from[2 * i + 1];
  if (count % 2 != 0) even[count / 2] = from[count - 1];
}

void gemv(BlockRows rows, ValueType, const Run* run, int32_t runs, const float* x, int32_t begin, int32_t end,
          int32_t row_count, float* y) {
  gemv_of<Half>(rows, run, runs, x, begin, end, row_count, y);
}

// The last values go through a full vector on the stack.
void narrow(const float* from, int64_t count, Half* to) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, load(from + i));
  if (i == count) return;
  float near[kLanes] = {};
  Half made[kLanes];
  std::memcpy(near, from + i, static_cast<size_t>(count - i) * sizeof(float));
  store(made, load(near));
  std::memcpy(to + i, made, static_cast<size_t>(count - i) * sizeof(Half));
}

void widen(const Half* from, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, load(from + i));
  for (; i < count; ++i) to[i] = value_at(from, i);
}

void maximum(const Half* from, int64_t count, Half* to) {
  const auto larger = [](Vec a, Vec b) { return ((a >= b) | (a != a)) ? a : b; };
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, larger(load(to + i), load(from + i)));
  for (; i < count; ++i) {
    const float a = value_at(to, i), b = value_at(from, i);
    if (!(a >= b) && a == a) to[i] = from[i];
  }
}

#if defined(__aarch64__)
constexpr bool kFast = true;
constexpr const char* kName = ELSA_NAME;
#else
constexpr bool kFast = false;
constexpr const char* kName = ELSA_NAME ", a slow form to prove with";
#endif

}  // namespace

extern const HalfTable ELSA_TABLE16;
const HalfTable ELSA_TABLE16 = {
    {kName, kHalves, kMost1, kMost4, sparse_halves, depthwise_halves, nullptr, gather, split, gemv},
    kFast,
    narrow,
    widen,
    maximum};

}  // namespace elsa
