// The inner loops in compiler vector types. Compiled once an instruction set: -DELSA_TABLE=name -DELSA_LANES=4|8|16.
#include "kernels.h"

#include <cstring>
#if defined(__AVX2__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // gcc 12 warns about its own immintrin.h
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#endif

namespace elsa {
namespace {

constexpr int kLanes = ELSA_LANES;
constexpr int kSteps = 16 / kLanes;  // vectors a line

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef float VecAnywhere __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t Int __attribute__((vector_size(kLanes * 4)));
typedef int32_t IntAnywhere __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

inline Vec load(const float* p) { return *reinterpret_cast<const VecAnywhere*>(p); }
inline Int load_int(const int32_t* p) { return *reinterpret_cast<const IntAnywhere*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<VecAnywhere*>(p) = v; }
inline Vec all(float v) { return v - Vec{}; }  // not v + 0, which changes -0 and so is not free
inline Vec zero_unless(Vec v, Int mask) { return reinterpret_cast<Vec>(reinterpret_cast<Int>(v) & mask); }

// NaN passes through, as it does in a dense network: comparisons with it are false, and x86 then takes the second.
inline Vec clip(Vec v, Vec low, Vec high) {
#if defined(__AVX512F__)
  const __m512 raised = _mm512_max_ps(reinterpret_cast<__m512>(low), reinterpret_cast<__m512>(v));
  return reinterpret_cast<Vec>(_mm512_min_ps(reinterpret_cast<__m512>(high), raised));
#else
  v = v < low ? low : v;
  return v > high ? high : v;
#endif
}

// exp by 2^n * p(r), r in [-ln2/2, ln2/2]: Taylor to r^7, relative error below 4e-7 in float.
inline Vec exponential(Vec x) {
  x = clip(x, all(-87.0f), all(88.0f));
  const Vec scaled = x * 1.44269504f;
  const Vec shifted = scaled + 12582912.0f;  // 1.5 * 2^23: rounds to the nearest integer
  const Vec n = shifted - 12582912.0f;
  Vec r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Vec p = all(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Int power = (reinterpret_cast<Int>(shifted) + (127 - 0x4B400000)) << 23;
  return p * reinterpret_cast<Vec>(power);
}

// One choice for all vectors: the inner loops stay free of it.
template <int N>
inline void activate(Vec* v, const Epilogue& e) {
  if (e.activation == kClip) {
    const Vec low = all(e.low), high = all(e.high);
#pragma GCC unroll 64
    for (int n = 0; n < N; ++n) v[n] = clip(v[n], low, high);
  } else if (e.activation == kHardSwish) {
#pragma GCC unroll 64
    for (int n = 0; n < N; ++n) v[n] = v[n] * clip(v[n] * (1.0f / 6.0f) + 0.5f, all(0.0f), all(1.0f));
  } else if (e.activation == kSilu) {
    for (int n = 0; n < N; ++n) v[n] = v[n] / (1.0f + exponential(-v[n]));
  }
}

// y = act(sum * scale + bias + residual) under the mask, for N vectors from y on.
template <int N>
inline void finish_vectors(Vec* sum, float scale, float bias, float* y, const float* residual, const int32_t* mask, const Epilogue& e) {
  const Vec s = all(scale), b = all(bias);
#pragma GCC unroll 64
  for (int n = 0; n < N; ++n) sum[n] = sum[n] * s + b;
  if (residual) {
#pragma GCC unroll 64
    for (int n = 0; n < N; ++n) sum[n] += load(residual + n * kLanes);
  }
  activate<N>(sum, e);
  if (mask) {
#pragma GCC unroll 64
    for (int n = 0; n < N; ++n) sum[n] = zero_unless(sum[n], load_int(mask + n * kLanes));
  }
#pragma GCC unroll 64
  for (int n = 0; n < N; ++n) store(y + n * kLanes, sum[n]);
}

inline float value_at(const float* v, int64_t i) { return v[i]; }
inline float value_at(const int8_t* v, int64_t i) { return static_cast<float>(v[i]); }

// R output rows share each load of N vectors of x.
template <int R, int N, typename Value>
void sparse_rows(const SparseTile& t) {
  for (int32_t g = t.group_begin; g < t.group_end; ++g) {
    Vec sum[R][N];
    const int64_t row = static_cast<int64_t>(g) * R;
    float* partial = t.partial + (row - t.partial_row) * t.partial_stride;
    if (t.last && t.far) {
      for (int r = 0; r < R; ++r)
        if (row + r < t.row_count) {
          float* y = t.y + (row + r - t.y_row) * t.y_stride;
#pragma GCC unroll 64
          for (int n = 0; n < N; n += kSteps) __builtin_prefetch(y + n * kLanes, 1);
        }
    }
    if (t.first) {
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 64
        for (int n = 0; n < N; ++n) sum[r][n] = Vec{};
    } else {
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 64
        for (int n = 0; n < N; ++n) sum[r][n] = load(partial + r * t.partial_stride + n * kLanes);
    }
    for (int32_t k = 0; k < t.runs; ++k) {
      const Run& run = t.run[k];
      const uint16_t* index = run.index;
      const Value* value = static_cast<const Value*>(run.value);
      const uint32_t end = run.pointer[g + 1];
      for (uint32_t i = run.pointer[g]; i < end; ++i) {
        const float* x = t.x + t.offset[index[i]];
        Vec w[R];
        for (int r = 0; r < R; ++r) w[r] = all(value_at(value, static_cast<int64_t>(i) * R + r));
#pragma GCC unroll 64
        for (int n = 0; n < N; ++n) {
          const Vec pixels = load(x + n * kLanes);
#pragma GCC unroll 4
          for (int r = 0; r < R; ++r) sum[r][n] += w[r] * pixels;
        }
      }
    }
    if (!t.last) {
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 64
        for (int n = 0; n < N; ++n) store(partial + r * t.partial_stride + n * kLanes, sum[r][n]);
      continue;
    }
    for (int r = 0; r < R; ++r) {
      if (R > 1 && row + r >= t.row_count) break;
      const int64_t at = (row + r - t.y_row) * t.y_stride;
      const float* residual = t.finish.residual ? t.finish.residual + at : nullptr;
      finish_vectors<N>(sum[r], t.finish.scale[row + r], t.finish.bias[row + r], t.y + at, residual, t.finish.mask, t.finish);
    }
  }
}

template <int R, typename Value, int N>
void sparse_lines(int lines, const SparseTile& t) {
  if constexpr (N > 0) {
    if (lines == N) return sparse_rows<R, N * kSteps, Value>(t);
    sparse_lines<R, Value, N - 1>(lines, t);
  }
}

// Registers: R * N sums, R values and one or two of pixels: 32 on AVX-512 and aarch64, 16 otherwise.
#if defined(__AVX512F__)
constexpr int kMax1 = 14, kMax4 = 6;
#elif defined(__aarch64__)
constexpr int kMax1 = 6, kMax4 = 1;  // 24 and 16 vectors of 4
#elif defined(__AVX2__)
constexpr int kMax1 = 6, kMax4 = 1;  // 12 and 8 vectors of 8
#else
constexpr int kMax1 = 3, kMax4 = 1;
#endif

void sparse(int block_rows, int value_type, int lines, const SparseTile& t) {
  if (block_rows == 4) {
    value_type ? sparse_lines<4, int8_t, kMax4>(lines, t) : sparse_lines<4, float, kMax4>(lines, t);
  } else {
    value_type ? sparse_lines<1, int8_t, kMax1>(lines, t) : sparse_lines<1, float, kMax1>(lines, t);
  }
}

// One channel: y[p] = sum over taps of weight * x[p + offset]. Four lines at a time share each weight.
template <int N>
void depthwise_lines(const DepthwiseTile& t, int64_t line) {
  Vec sum[N];
#pragma GCC unroll 16
  for (int n = 0; n < N; ++n) sum[n] = Vec{};
  const float* x = t.x + line * 16;
#pragma GCC unroll 16
  for (int n = 0; n < N; n += kSteps) __builtin_prefetch(t.y + line * 16 + n * kLanes, 1);
  for (int32_t k = 0; k < t.taps; ++k) {
    const Vec w = all(t.weight[k]);
    const float* shifted = x + t.offset[k];
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) sum[n] += w * load(shifted + n * kLanes);
  }
  const int64_t at = line * 16;
  finish_vectors<N>(sum, *t.finish.scale, *t.finish.bias, t.y + at, t.finish.residual ? t.finish.residual + at : nullptr,
                    t.finish.mask ? t.finish.mask + at : nullptr, t.finish);
}

template <int Lines>
void depthwise_some(int64_t lines, const DepthwiseTile& t, int64_t line) {
  if constexpr (Lines > 0) {
    if (lines == Lines) return depthwise_lines<Lines * kSteps>(t, line);
    depthwise_some<Lines - 1>(lines, t, line);
  }
}

void depthwise_any(const DepthwiseTile& t) {
  // Even parts: a last part of one line would wait for each of its additions.
  constexpr int64_t kLines = kLanes == 16 ? 8 : kLanes == 8 ? 4 : 2;
  const int64_t parts = (t.lines + kLines - 1) / kLines;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t line = t.lines * part / parts, end = t.lines * (part + 1) / parts;
    depthwise_some<kLines>(end - line, t, line);
  }
}

#if defined(__AVX512F__)

inline __mmask16 first_lanes(int64_t count) { return static_cast<__mmask16>(count >= 16 ? 0xFFFF : count <= 0 ? 0 : (1u << count) - 1); }
inline Vec load_first(const float* p, __mmask16 lanes) { return reinterpret_cast<Vec>(_mm512_maskz_loadu_ps(lanes, p)); }
inline Vec pick(Vec a, __m512i index, Vec b) {
  return reinterpret_cast<Vec>(_mm512_permutex2var_ps(reinterpret_cast<__m512>(a), index, reinterpret_cast<__m512>(b)));
}
inline __m512i from_zero_by(int step) {
  return _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi32(step));
}

// Side x side taps: each row of taps loads its pixels once and shifts them in registers. A load that crosses a cache
// line takes the time of two, a shift that of a multiply-add.
template <int Side, int N>
inline void depthwise_run(const DepthwiseTile& t, int64_t line, Vec* pixels, const __m512i* shift, __mmask16 beyond) {
  Vec sum[N];
  for (int n = 0; n < N; ++n) sum[n] = Vec{};
  float* y = t.y + line * 16;
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) __builtin_prefetch(y + n * 16, 1);
#pragma GCC unroll 8
  for (int row = 0; row < Side; ++row) {
    const float* x = t.x + t.offset[row * Side] + line * 16;
    const float* weight = t.weight + row * Side;
    Vec now = pixels[row];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      // Behind the last line only what shifts bring in may be read.
      const Vec next = n + 1 < N ? load(x + (n + 1) * 16) : load_first(x + N * 16, beyond);
      sum[n] += all(weight[0]) * now;
#pragma GCC unroll 8
      for (int k = 1; k < Side; ++k) sum[n] += all(weight[k]) * pick(now, shift[k], next);
      now = next;
    }
    pixels[row] = now;
  }
  const float* residual = t.finish.residual ? t.finish.residual + line * 16 : nullptr;
  finish_vectors<N>(sum, *t.finish.scale, *t.finish.bias, y, residual, t.finish.mask ? t.finish.mask + line * 16 : nullptr, t.finish);
}

template <int Side>
void depthwise_square(const DepthwiseTile& t) {
  constexpr int kLines = Side == 3 ? 4 : 2;
  __m512i shift[Side];
  for (int k = 0; k < Side; ++k) shift[k] = _mm512_add_epi32(from_zero_by(1), _mm512_set1_epi32(k * t.step));
  const __mmask16 shifted_in = first_lanes((Side - 1) * t.step);
  Vec pixels[Side];
  for (int row = 0; row < Side; ++row) pixels[row] = load(t.x + t.offset[row * Side]);
  int64_t line = 0;
  for (; line + kLines <= t.lines; line += kLines)
    depthwise_run<Side, kLines>(t, line, pixels, shift, line + kLines < t.lines ? 0xFFFF : shifted_in);
  for (; line < t.lines; ++line) depthwise_run<Side, 1>(t, line, pixels, shift, line + 1 < t.lines ? 0xFFFF : shifted_in);
}

// Columns 0, 2, 4 ... of two vectors, and 1, 3, 5 ...: each pair of taps in a row needs one pair of loads.
template <int Side>
void strided_square(const StridedTile& t) {
  const __m512i even = from_zero_by(2), odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  for (int64_t row = 0; row < t.rows; ++row) {
    for (int64_t column = 0; column < t.y_pitch; column += 16) {
      const int64_t count = t.width - column;  // of outputs; what lies behind them is zero
      float* y = t.y + row * t.y_pitch + column;
      Vec sum{};
      if (count > 0) {
        const __mmask16 low = first_lanes(2 * count), high = first_lanes(2 * count - 16);
        const float* x = t.x + row * t.x_step + 2 * column;
#pragma GCC unroll 8
        for (int tap = 0; tap < Side; ++tap, x += t.x_pitch) {
#pragma GCC unroll 8
          for (int k = 0; k < Side; k += 2) {
            const __mmask16 one_low = k + 1 < Side ? low : first_lanes(2 * count - 1), one_high = k + 1 < Side ? high : first_lanes(2 * count - 17);
            const Vec a = load_first(x + k, one_low), b = load_first(x + k + 16, one_high);
            sum += all(t.weight[tap * Side + k]) * pick(a, even, b);
            if (k + 1 < Side) sum += all(t.weight[tap * Side + k + 1]) * pick(a, odd, b);
          }
        }
        sum = sum * all(*t.finish.scale) + all(*t.finish.bias);
        if (t.finish.residual) sum += load_first(t.finish.residual + row * t.y_pitch + column, first_lanes(count));
        activate<1>(&sum, t.finish);
      }
      const __m512 kept = _mm512_maskz_mov_ps(first_lanes(count), reinterpret_cast<__m512>(sum));
      _mm512_mask_storeu_ps(y, first_lanes(t.y_pitch - column), kept);
    }
  }
}

void depthwise(const DepthwiseTile& t) {
  if (t.side == 3 && t.step <= 7) return depthwise_square<3>(t);
  if (t.side == 5 && t.step <= 3) return depthwise_square<5>(t);
  depthwise_any(t);
}

void strided(const StridedTile& t) {
  if (t.side == 3) return strided_square<3>(t);
  if (t.side == 5) return strided_square<5>(t);
  strided_square<7>(t);
}

#else

void depthwise(const DepthwiseTile& t) { depthwise_any(t); }
constexpr void (*strided)(const StridedTile&) = nullptr;

#endif

// One product with a vector reads each weight once, so it waits for memory: weights are asked for this far ahead.
constexpr int64_t kAhead = 512;

template <typename Value>
inline void ask_ahead(const Run& run, int64_t entry, int64_t values) {
  __builtin_prefetch(static_cast<const Value*>(run.value) + values + kAhead);
  __builtin_prefetch(run.index + entry + kAhead);
}

// Rows of 1: gather where there is one, else four sums to hide the latency of the additions.
template <typename Value>
void gemv_rows1(const Run* runs, int32_t count, const float* x, int32_t begin, int32_t end, float* y) {
  for (int32_t g = begin; g < end; ++g) {
#if defined(__AVX512F__)
    __m512 sum0 = _mm512_setzero_ps(), sum1 = _mm512_setzero_ps();
#else
    float a = 0, b = 0, c = 0, d = 0;
#endif
    for (int32_t k = 0; k < count; ++k) {
      const Run& run = runs[k];
      const Value* value = static_cast<const Value*>(run.value);
      int64_t i = run.pointer[g];
      const int64_t stop = run.pointer[g + 1];
#if defined(__AVX512F__)
      auto step = [&](int64_t at, __m512 sum, __mmask16 keep) {
        const __m512i column = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(keep, run.index + at));
        __m512 w;
        if constexpr (sizeof(Value) == 4) {
          w = _mm512_maskz_loadu_ps(keep, value + at);
        } else {
          w = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(keep, value + at)));
        }
        return _mm512_mask3_fmadd_ps(w, _mm512_mask_i32gather_ps(_mm512_setzero_ps(), keep, column, x, 4), sum, keep);
      };
      for (; i + 32 <= stop; i += 32) {
        ask_ahead<Value>(run, i, i);
        if (sizeof(Value) == 4) __builtin_prefetch(value + i + 16 + kAhead);
        sum0 = step(i, sum0, 0xFFFF);
        sum1 = step(i + 16, sum1, 0xFFFF);
      }
      if (i < stop) ask_ahead<Value>(run, i, i);
      if (i + 16 <= stop) {
        sum0 = step(i, sum0, 0xFFFF);
        i += 16;
      }
      if (i < stop) sum1 = step(i, sum1, first_lanes(stop - i));
#else
      for (; i + 4 <= stop; i += 4) {
        a += value_at(value, i) * x[run.index[i]];
        b += value_at(value, i + 1) * x[run.index[i + 1]];
        c += value_at(value, i + 2) * x[run.index[i + 2]];
        d += value_at(value, i + 3) * x[run.index[i + 3]];
      }
      for (; i < stop; ++i) a += value_at(value, i) * x[run.index[i]];
#endif
    }
#if defined(__AVX512F__)
    y[g] += _mm512_reduce_add_ps(_mm512_add_ps(sum0, sum1));
#else
    y[g] += (a + b) + (c + d);
#endif
  }
}

// Blocks of 4 rows: one column feeds four sums, no gather needed.
template <typename Value>
void gemv_rows4(const Run* runs, int32_t count, const float* x, int32_t begin, int32_t end, int32_t row_count, float* y) {
  typedef float Four __attribute__((vector_size(16)));
  for (int32_t g = begin; g < end; ++g) {
    Four a{}, b{}, c{}, d{};
    for (int32_t k = 0; k < count; ++k) {
      const Run& run = runs[k];
      const Value* value = static_cast<const Value*>(run.value);
      auto four = [&](int64_t i) {
        if constexpr (sizeof(Value) == 4) {
          Four v;
          std::memcpy(&v, value + 4 * i, 16);
          return v;
        } else {
          typedef int8_t Codes __attribute__((vector_size(4)));
          Codes codes;
          std::memcpy(&codes, value + 4 * i, 4);
          return __builtin_convertvector(codes, Four);
        }
      };
      int64_t i = run.pointer[g];
      const int64_t stop = run.pointer[g + 1];
      for (; i + 4 <= stop; i += 4) {
        ask_ahead<Value>(run, i, 4 * i);
        a += four(i) * x[run.index[i]];
        b += four(i + 1) * x[run.index[i + 1]];
        c += four(i + 2) * x[run.index[i + 2]];
        d += four(i + 3) * x[run.index[i + 3]];
      }
      for (; i < stop; ++i) a += four(i) * x[run.index[i]];
    }
    a = (a + b) + (c + d);
    for (int32_t r = 0; r < 4 && g * 4 + r < row_count; ++r) y[g * 4 + r] += a[r];
  }
}

void gemv(int block_rows, int value_type, const Run* run, int32_t runs, const float* x, int32_t begin, int32_t end,
          int32_t row_count, float* y) {
  if (block_rows == 4) {
    value_type ? gemv_rows4<int8_t>(run, runs, x, begin, end, row_count, y) : gemv_rows4<float>(run, runs, x, begin, end, row_count, y);
  } else {
    value_type ? gemv_rows1<int8_t>(run, runs, x, begin, end, y) : gemv_rows1<float>(run, runs, x, begin, end, y);
  }
}

void gather(const float* from, const int32_t* index, int64_t count, float* to) {
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= count; i += 16) {
    const __m512i at = _mm512_loadu_si512(index + i);
    const __mmask16 keep = _mm512_movepi32_mask(at) ^ 0xFFFF;
    _mm512_storeu_ps(to + i, _mm512_mask_i32gather_ps(_mm512_setzero_ps(), keep, at, from, 4));
  }
#elif defined(__AVX2__)
  for (; i + 8 <= count; i += 8) {
    const __m256i at = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index + i));
    const __m256 keep = _mm256_castsi256_ps(_mm256_xor_si256(at, _mm256_set1_epi32(-1)));  // its sign bit decides
    _mm256_storeu_ps(to + i, _mm256_mask_i32gather_ps(_mm256_setzero_ps(), from, at, keep, 4));
  }
#endif
  for (; i < count; ++i) to[i] = index[i] < 0 ? 0.0f : from[index[i]];
}

#if ELSA_LANES == 16
#define ELSA_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ELSA_ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif ELSA_LANES == 8
#define ELSA_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ELSA_ODD 1, 3, 5, 7, 9, 11, 13, 15
#else
#define ELSA_EVEN 0, 2, 4, 6
#define ELSA_ODD 1, 3, 5, 7
#endif

void split(const float* from, int64_t count, float* even, float* odd) {
  int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    const Vec a = load(from + i), b = load(from + i + kLanes);
    store(even + i / 2, __builtin_shufflevector(a, b, ELSA_EVEN));
    store(odd + i / 2, __builtin_shufflevector(a, b, ELSA_ODD));
  }
#if defined(__AVX512F__)
  if (i < count) {
    const int64_t left = count - i;
    const __mmask16 low = static_cast<__mmask16>(left >= 16 ? 0xFFFF : (1u << left) - 1);
    const __mmask16 high = static_cast<__mmask16>(left > 16 ? (1u << (left - 16)) - 1 : 0);
    const Vec a = reinterpret_cast<Vec>(_mm512_maskz_loadu_ps(low, from + i)), b = reinterpret_cast<Vec>(_mm512_maskz_loadu_ps(high, from + i + 16));
    const __mmask16 evens = static_cast<__mmask16>((1u << ((left + 1) / 2)) - 1), odds = static_cast<__mmask16>((1u << (left / 2)) - 1);
    _mm512_mask_storeu_ps(even + i / 2, evens, reinterpret_cast<__m512>(__builtin_shufflevector(a, b, ELSA_EVEN)));
    _mm512_mask_storeu_ps(odd + i / 2, odds, reinterpret_cast<__m512>(__builtin_shufflevector(a, b, ELSA_ODD)));
  }
#else
  for (; i + 2 <= count; i += 2) {
    even[i / 2] = from[i];
    odd[i / 2] = from[i + 1];
  }
  if (i < count) even[i / 2] = from[i];
#endif
}

float burst(int64_t rounds) {
  constexpr int kSums = 12;  // fits 16 registers and hides the latency
  Vec sum[kSums];
#pragma GCC unroll 16
  for (int n = 0; n < kSums; ++n) sum[n] = all(static_cast<float>(n));
  Vec factor = all(0.999f), term = all(0.001f);
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+r"(i));  // keeps the loop a loop
#pragma GCC unroll 16
    for (int n = 0; n < kSums; ++n) sum[n] = sum[n] * factor + term;
  }
  float total = 0;
#pragma GCC unroll 16
  for (int n = 0; n < kSums; ++n) total += sum[n][0];
  return total;
}

// The last values of an odd count go through a full vector on the stack.
void finish(float* y, int64_t count, const Epilogue& e) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Vec v = load(y + i) * load(e.scale + i) + load(e.bias + i);
    if (e.residual) v += load(e.residual + i);
    activate<1>(&v, e);
    store(y + i, v);
  }
  if (i == count) return;
  float padded[kLanes] = {};
  for (int64_t j = 0; j < count - i; ++j) {
    padded[j] = y[i + j] * e.scale[i + j] + e.bias[i + j];
    if (e.residual) padded[j] += e.residual[i + j];
  }
  Vec v = load(padded);
  activate<1>(&v, e);
  store(padded, v);
  std::memcpy(y + i, padded, static_cast<size_t>(count - i) * sizeof(float));
}

}  // namespace

extern const KernelTable ELSA_TABLE;
const KernelTable ELSA_TABLE = {ELSA_NAME, kLanes, {0, kMax1, 0, 0, kMax4}, sparse, depthwise, strided, gemv, gather, split, burst, finish};

}  // namespace elsa
