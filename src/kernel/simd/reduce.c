#include "kernel/simd/reduce.h"

#include <math.h>

#include "kernel/simd/values.h"

#define LANES 32
/* Channels that are summed at once: their doubles stay in the first-level cache. */
#define CHANNELS 256

/* Element i belongs to lane i mod LANES; lanes are joined in order. */
static void min_max(float *min, float *max, const float *x, int64_t n) {
  float lo[LANES], hi[LANES], nan[LANES];
  for (int j = 0; j < LANES; j++)
    lo[j] = INFINITY, hi[j] = -INFINITY, nan[j] = 0.0f;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    for (int j = 0; j < LANES; j++) {
      const float v = x[i + j];
      lo[j] = v < lo[j] ? v : lo[j];
      hi[j] = v > hi[j] ? v : hi[j];
      nan[j] = v == v ? nan[j] : v;
    }
  }
  for (int j = 0; i < n; i++, j++) {
    lo[j] = x[i] < lo[j] ? x[i] : lo[j];
    hi[j] = x[i] > hi[j] ? x[i] : hi[j];
    nan[j] = x[i] == x[i] ? nan[j] : x[i];
  }
  for (int j = 1; j < LANES; j++) {
    lo[0] = lo[j] < lo[0] ? lo[j] : lo[0];
    hi[0] = hi[j] > hi[0] ? hi[j] : hi[0];
    nan[0] = nan[j] == nan[j] ? nan[0] : nan[j];
  }
  const bool has_nan = nan[0] != nan[0];
  *min = has_nan ? NAN : lo[0];
  *max = has_nan ? NAN : hi[0];
}

/* A float's square is exact in double. */
static void moments(double *sum, double *sum_abs, double *sum_square, const float *x, int64_t n) {
  double s[LANES] = {0}, a[LANES] = {0}, q[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    for (int j = 0; j < LANES; j++) {
      const double v = (double)x[i + j];
      s[j] += v;
      a[j] += v < 0.0 ? -v : v;
      q[j] += v * v;
    }
  }
  for (int j = 0; i < n; i++, j++) {
    const double v = (double)x[i];
    s[j] += v;
    a[j] += v < 0.0 ? -v : v;
    q[j] += v * v;
  }
  *sum = mq_add_lanes(s, LANES);
  *sum_abs = mq_add_lanes(a, LANES);
  *sum_square = mq_add_lanes(q, LANES);
}

/* Pixel by pixel in double, one rounding at the end. */
static void mean_pixels(float *y, const float *x, int64_t pixels, int64_t channels) {
  double sum[CHANNELS];
  for (int64_t c = 0; c < channels; c += CHANNELS) {
    const int64_t n = channels - c < CHANNELS ? channels - c : CHANNELS;
    for (int64_t j = 0; j < n; j++)
      sum[j] = 0.0;
    for (int64_t p = 0; p < pixels; p++) {
      const float *row = x + p * channels + c;
      MQ_SIMD_INDEPENDENT
      for (int64_t j = 0; j < n; j++)
        sum[j] += (double)row[j];
    }
    MQ_SIMD_INDEPENDENT
    for (int64_t j = 0; j < n; j++)
      y[c + j] = (float)(sum[j] / (double)pixels);
  }
}

/* NaN is the answer where there is one. */
static void max_pixels(float *y, const float *x, int64_t pixels, int64_t channels) {
  for (int64_t c = 0; c < channels; c++)
    y[c] = x[c];
  for (int64_t p = 1; p < pixels; p++) {
    const float *row = x + p * channels;
    MQ_SIMD_INDEPENDENT
    for (int64_t c = 0; c < channels; c++)
      y[c] = y[c] >= row[c] || y[c] != y[c] ? y[c] : row[c];
  }
}

const struct mq_simd_reduce MQ_SIMD_NAME(mq_simd_reduce) = {
    .min_max = min_max,
    .moments = moments,
    .mean_pixels = mean_pixels,
    .max_pixels = max_pixels,
};
