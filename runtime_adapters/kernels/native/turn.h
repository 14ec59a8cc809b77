// Matrices of 4-byte numbers turned: rows become columns, 4 x 4 of them in registers.
#pragma once
#if defined(__x86_64__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <algorithm>
#include <cstdint>

namespace elsa {

// to[j * to_stride + i] = from[i * from_stride + j] for 4 rows i and 4 columns j.
inline void turn_4x4(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
#if defined(__x86_64__)
  __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + from_stride), c = _mm_loadu_ps(from + 2 * from_stride),
         d = _mm_loadu_ps(from + 3 * from_stride);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(to, a), _mm_storeu_ps(to + to_stride, b);
  _mm_storeu_ps(to + 2 * to_stride, c), _mm_storeu_ps(to + 3 * to_stride, d);
#elif defined(__aarch64__)
  const auto at = [&](int64_t i) { return vld1q_f32(from + i * from_stride); };
  const auto wide = [](float32x4_t v) { return vreinterpretq_f64_f32(v); };
  const auto put = [&](int64_t j, float64x2_t v) { vst1q_f32(to + j * to_stride, vreinterpretq_f32_f64(v)); };
  const float32x4x2_t ab = vtrnq_f32(at(0), at(1)), cd = vtrnq_f32(at(2), at(3));
  put(0, vzip1q_f64(wide(ab.val[0]), wide(cd.val[0]))), put(1, vzip1q_f64(wide(ab.val[1]), wide(cd.val[1])));
  put(2, vzip2q_f64(wide(ab.val[0]), wide(cd.val[0]))), put(3, vzip2q_f64(wide(ab.val[1]), wide(cd.val[1])));
#else
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t j = 0; j < 4; ++j) to[j * to_stride + i] = from[i * from_stride + j];
#endif
}

// The same for any number of rows and columns; what both strides jump over stays in the first cache for a block.
inline void turn(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float* to, int64_t to_stride) {
  constexpr int64_t kBlock = 16;
  for (int64_t i = 0; i < rows; i += kBlock)
    for (int64_t j = 0; j < columns; j += kBlock) {
      const int64_t rows_end = std::min(i + kBlock, rows), columns_end = std::min(j + kBlock, columns);
      for (int64_t c = j; c < columns_end; c += 4)
        for (int64_t r = i; r < rows_end; r += 4) {
          const float* block = from + r * from_stride + c;
          float* turned = to + c * to_stride + r;
          if (r + 4 <= rows && c + 4 <= columns) {
            turn_4x4(block, from_stride, turned, to_stride);
            continue;
          }
          for (int64_t y = 0; y < std::min<int64_t>(4, rows - r); ++y)
            for (int64_t x = 0; x < std::min<int64_t>(4, columns - c); ++x)
              turned[x * to_stride + y] = block[y * from_stride + x];
        }
    }
}

}  // namespace elsa
