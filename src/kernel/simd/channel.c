#include "kernel/simd/channel.h"

#include "kernel/simd/values.h"

/* Rows that a pass over the channels takes at once: a sum is loaded and stored once for all of them. Each
 * channel's sum still takes its rows in order. */
#define ROWS 8

typedef enum sums {
  MOMENTS,  /* g, g^2 */
  PRODUCTS, /* g, g x */
  SUM_ONLY  /* g */
} sums;

/* Products of floats are exact in double. `n_rows` is a constant in every call. */
MQ_ALWAYS_INLINE void add_rows(double *sum, double *product, const float *g, const float *x, int n_rows,
                               int64_t n_channels, sums kind) {
  MQ_SIMD_INDEPENDENT
  for (int64_t c = 0; c < n_channels; c++) {
    double s = sum[c], p = kind == SUM_ONLY ? 0.0 : product[c];
    MQ_SIMD_UNROLL
    for (int r = 0; r < n_rows; r++) {
      const double v = (double)g[r * n_channels + c];
      s += v;
      if (kind != SUM_ONLY) p += v * (kind == MOMENTS ? v : (double)x[r * n_channels + c]);
    }
    sum[c] = s;
    if (kind != SUM_ONLY) product[c] = p;
  }
}

/* `product` and `x` point somewhere even where the kind has none. */
MQ_ALWAYS_INLINE void add_all(double *sum, double *product, const float *g, const float *x, int64_t n_rows,
                              int64_t n_channels, sums kind) {
  for (int64_t c = 0; c < n_channels; c++)
    sum[c] = product[c] = 0.0;
  int64_t r = 0;
  for (; r + ROWS <= n_rows; r += ROWS)
    add_rows(sum, product, g + r * n_channels, x + r * n_channels, ROWS, n_channels, kind);
  for (; r < n_rows; r++)
    add_rows(sum, product, g + r * n_channels, x + r * n_channels, 1, n_channels, kind);
}

static void moments(double *sum, double *square, const float *x, int64_t n_rows, int64_t n_channels) {
  add_all(sum, square, x, x, n_rows, n_channels, MOMENTS);
}

static void products(double *sum, double *product, const float *g, const float *x, int64_t n_rows,
                     int64_t n_channels) {
  if (x == NULL)
    add_all(sum, sum, g, g, n_rows, n_channels, SUM_ONLY);
  else
    add_all(sum, product, g, x, n_rows, n_channels, PRODUCTS);
}

/* Coefficients of few channels are repeated up to this length, so that the loop over them is long. */
#define PERIOD 512

MQ_ALWAYS_INLINE void normalize_row(float *dx, bool adds, const float *g, const float *x, int64_t n,
                                    const float *a, const float *b, const float *d) {
  MQ_SIMD_INDEPENDENT
  for (int64_t c = 0; c < n; c++) {
    const float value = (a[c] * g[c] + b[c] * x[c]) + d[c];
    dx[c] = adds ? dx[c] + value : value;
  }
}

MQ_ALWAYS_INLINE void normalize_rows(float *dx, bool adds, const float *g, const float *x, int64_t n,
                                     int64_t period, const float *a, const float *b, const float *d) {
  int64_t i = 0;
  for (; i + period <= n; i += period)
    normalize_row(dx + i, adds, g + i, x + i, period, a, b, d);
  normalize_row(dx + i, adds, g + i, x + i, n - i, a, b, d);
}

static void repeat(float *to, const float *from, int64_t period, int64_t n) {
  for (int64_t i = 0; i < period; i += n)
    memcpy(to + i, from, (size_t)n * sizeof *to);
}

static void normalize_backward(float *dx, bool adds, const float *g, const float *x, int64_t n_rows,
                               int64_t n_channels, const float *a, const float *b, const float *d) {
  float own[3][PERIOD];
  const int64_t n = n_rows * n_channels, n_repeats = PERIOD / n_channels;
  const int64_t period = n_channels * (n_repeats > 1 && n_rows > 1 ? n_repeats : 1);
  if (period > n_channels) {
    repeat(own[0], a, period, n_channels);
    repeat(own[1], b, period, n_channels);
    repeat(own[2], d, period, n_channels);
    a = own[0], b = own[1], d = own[2];
  }
  if (adds)
    normalize_rows(dx, true, g, x, n, period, a, b, d);
  else
    normalize_rows(dx, false, g, x, n, period, a, b, d);
}

const struct mq_simd_channel MQ_SIMD_NAME(mq_simd_channel) = {
    .moments = moments,
    .products = products,
    .normalize_backward = normalize_backward,
};
