/* Written with intrinsics: the accumulators of a tile must stay in registers, which compilers do not manage
 * for arrays. A tile is TILE neighbouring output pixels by one vector of channels. */
#include "kernel/simd/depthwise.h"

#include <immintrin.h>

#if defined(__AVX512F__)
typedef __m512 vec;
#define LANES 16
static inline vec load(const float *p) {
  return _mm512_loadu_ps(p);
}
static inline void store(float *p, vec v) {
  _mm512_storeu_ps(p, v);
}
static inline vec multiply_add(vec a, vec b, vec c) {
  return _mm512_fmadd_ps(a, b, c);
}
#elif defined(__AVX2__)
typedef __m256 vec;
#define LANES 8
static inline vec load(const float *p) {
  return _mm256_loadu_ps(p);
}
static inline void store(float *p, vec v) {
  _mm256_storeu_ps(p, v);
}
static inline vec multiply_add(vec a, vec b, vec c) {
  return _mm256_fmadd_ps(a, b, c);
}
#else
typedef __m128 vec;
#define LANES 4
static inline vec load(const float *p) {
  return _mm_loadu_ps(p);
}
static inline void store(float *p, vec v) {
  _mm_storeu_ps(p, v);
}
static inline vec multiply_add(vec a, vec b, vec c) {
  return _mm_add_ps(_mm_mul_ps(a, b), c);
}
#endif

#ifdef __FMA__
static inline float multiply_add_1(float a, float b, float c) {
  return __builtin_fmaf(a, b, c);
}
#else
static inline float multiply_add_1(float a, float b, float c) {
  return a * b + c;
}
#endif

#define TILE 4
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Taps [first, last) of the output pixel whose window begins at input column `begin`. */
struct taps {
  int64_t begin, first, last;
};

static struct taps find_taps(const struct mq_simd_depthwise_row *row, int64_t ow) {
  const int64_t d = row->dilation, begin = ow * row->stride - row->pad, end = row->width_in - begin;
  struct taps taps = {begin, 0, row->kernel};
  if (begin < 0) taps.first = (-begin + d - 1) / d;
  if ((row->kernel - 1) * d >= end) taps.last = end > 0 ? (end - 1) / d + 1 : 0;
  if (taps.first > taps.last) taps.first = taps.last;
  return taps;
}

/* n (1 or TILE, a constant where it is called) output pixels, channels c .. c + LANES. */
ALWAYS_INLINE void tile(float *y, const struct mq_simd_depthwise_row *row, struct taps taps, int64_t c,
                        int n) {
  const int64_t channels = row->channels, tap_step = row->dilation * channels;
  const int64_t pixel_step = row->stride * channels;
  vec sum[TILE];
  for (int p = 0; p < n; p++)
    sum[p] = load(row->bias + c);
  for (int h = 0; h < row->n_rows; h++) {
    const float *x = row->x[h] + taps.begin * channels + c, *w = row->weights[h] + c;
    for (int64_t k = taps.first; k < taps.last; k++) {
      const vec weight = load(w + k * channels);
      for (int p = 0; p < n; p++)
        sum[p] = multiply_add(load(x + k * tap_step + p * pixel_step), weight, sum[p]);
    }
  }
  for (int p = 0; p < n; p++)
    store(y + p * channels + c, sum[p]);
}

static void scalar_pixel(float *y, const struct mq_simd_depthwise_row *row, struct taps taps) {
  const int64_t channels = row->channels;
  for (int64_t c = 0; c < channels; c++) {
    float sum = row->bias[c];
    for (int h = 0; h < row->n_rows; h++)
      for (int64_t k = taps.first; k < taps.last; k++)
        sum = multiply_add_1(row->x[h][(taps.begin + k * row->dilation) * channels + c],
                             row->weights[h][k * channels + c], sum);
    y[c] = sum;
  }
}

/* Channels in whole vectors; the last one reaches back over its neighbour, whose values come out again. */
ALWAYS_INLINE void pixels(float *y, const struct mq_simd_depthwise_row *row, struct taps taps, int n) {
  int64_t c = 0;
  for (; c + LANES <= row->channels; c += LANES)
    tile(y, row, taps, c, n);
  if (c < row->channels) tile(y, row, taps, row->channels - LANES, n);
}

static void depthwise_row(float *y, const struct mq_simd_depthwise_row *row) {
  for (int64_t ow = 0; ow < row->width_out;) {
    const struct taps taps = find_taps(row, ow);
    const int64_t last = ow + TILE - 1;
    const bool is_whole = taps.first == 0 && last < row->width_out &&
                          last * row->stride - row->pad + (row->kernel - 1) * row->dilation < row->width_in;
    if (row->channels < LANES) {
      scalar_pixel(y + ow * row->channels, row, taps);
      ow++;
    } else if (is_whole) {
      pixels(y + ow * row->channels, row, taps, TILE);
      ow += TILE;
    } else {
      pixels(y + ow * row->channels, row, taps, 1);
      ow++;
    }
  }
}

const struct mq_simd_depthwise MQ_SIMD_NAME(mq_simd_depthwise) = {.row = depthwise_row};
