// Products of a sparse matrix with rows of pixels, with vectors of 8: one row alone, or four that share loads.
#include <immintrin.h>

#include <cstdint>

namespace {

constexpr int kLanes = 8, kAlone = 12, kTogether = 3;  // vectors of sums that 16 registers leave

template <int kRows, int N>
struct Sums {
  __m256 sum[kRows][N];
  void load(const float* y, int64_t stride) {
    for (int r = 0; r < kRows; ++r)
      for (int n = 0; n < N; ++n) sum[r][n] = _mm256_loadu_ps(y + r * stride + n * kLanes);
  }
  void store(float* y, int64_t stride) const {
    for (int r = 0; r < kRows; ++r)
      for (int n = 0; n < N; ++n) _mm256_storeu_ps(y + r * stride + n * kLanes, sum[r][n]);
  }
};

// Entries of the rows that kPattern names; an entry has a value for each of them.
template <int kPattern, int kRows, int N>
inline const float* add(uint32_t begin, uint32_t end, const uint16_t* index, const float* value, const int32_t* offset,
                        const float* x, Sums<kRows, N>& s) {
  for (uint32_t i = begin; i < end; ++i) {
    const float* from = x + offset[index[i]];
    __m256 pixels[N];
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) pixels[n] = _mm256_loadu_ps(from + n * kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      if (!(kPattern >> r & 1)) continue;
      const __m256 w = _mm256_broadcast_ss(value++);
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) s.sum[r][n] = _mm256_fmadd_ps(w, pixels[n], s.sum[r][n]);
    }
  }
  return value;
}

template <int kPattern>
inline void add_patterns(const uint32_t* pointer, const uint16_t* index, const float* value, const int32_t* offset,
                         const float* x, Sums<4, kTogether>& s) {
  if constexpr (kPattern < 16) {
    value = add<kPattern>(pointer[0], pointer[1], index, value, offset, x, s);
    add_patterns<kPattern + 1>(pointer + 1, index, value, offset, x, s);
  }
}

}  // namespace

// y (rows, positions) += products; positions is a multiple of 96. Entries of block b and row r:
// pointer[b * rows + r] .. pointer[b * rows + r + 1]; index is the column within the block.
extern "C" void alone(const float* x, const int32_t* offset, int32_t columns, const uint32_t* pointer,
                      const uint16_t* index, const float* value, int32_t rows, int32_t blocks, int64_t positions,
                      float* y) {
  for (int64_t at = 0; at < positions; at += kAlone * kLanes)
    for (int32_t b = 0; b < blocks; ++b)
      for (int32_t r = 0; r < rows; ++r) {
        Sums<1, kAlone> s;
        s.load(y + r * positions + at, positions);
        const uint32_t* p = pointer + static_cast<int64_t>(b) * rows + r;
        add<1>(p[0], p[1], index, value + p[0], offset + static_cast<int64_t>(b) * columns, x + at, s);
        s.store(y + r * positions + at, positions);
      }
}

// The same by groups of 4 rows and the 15 patterns of those that are not zero: pointer has 15 stretches a group, and
// values the place where a group's values begin.
extern "C" void together(const float* x, const int32_t* offset, int32_t columns, const uint32_t* pointer,
                         const uint16_t* index, const float* value, const uint32_t* values, int32_t groups,
                         int32_t blocks, int64_t positions, float* y) {
  for (int64_t at = 0; at < positions; at += kTogether * kLanes)
    for (int32_t b = 0; b < blocks; ++b)
      for (int32_t g = 0; g < groups; ++g) {
        Sums<4, kTogether> s;
        s.load(y + 4 * g * positions + at, positions);
        const int64_t stretch = static_cast<int64_t>(b) * groups + g;
        add_patterns<1>(pointer + stretch * 15, index, value + values[stretch],
                        offset + static_cast<int64_t>(b) * columns, x + at, s);
        s.store(y + 4 * g * positions + at, positions);
      }
}
