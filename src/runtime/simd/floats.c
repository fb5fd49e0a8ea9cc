#include "runtime/simd/floats.h"

#include "kernel/simd/values.h"

/* ---- Layers: 16 channels as two vectors of 8 doubles, in as many registers as the level needs --------- */
typedef float floats_8 __attribute__((vector_size(32), aligned(4)));
typedef double doubles_8 __attribute__((vector_size(64)));

#define LOAD_8(p) __builtin_convertvector(*(const floats_8 *)(const void *)(p), doubles_8)

MQ_ALWAYS_INLINE void put_pixel(const struct runtime_products *job, int p, const double *sums) {
  float *y = job->y[p];
  for (int c = 0; c < job->n_channels; c++)
    y[c] = mq_clip_value((float)(sums[c] + (double)job->bias[c]), job->lo, job->hi);
}

MQ_ALWAYS_INLINE void products_of(const struct runtime_products *job, int n_pixels) {
  doubles_8 sums[RUNTIME_FLOAT_PIXELS][2] = {{{0}}};
  for (int64_t t = 0; t < job->n_taps; t++) {
    const float *w = job->weights + job->w_taps[t];
    const float *x[RUNTIME_FLOAT_PIXELS];
    MQ_SIMD_UNROLL
    for (int p = 0; p < n_pixels; p++)
      x[p] = job->x[p] + job->x_taps[t];
    for (int64_t k = 0; k < job->n_inputs; k++, w += RUNTIME_FLOAT_BLOCK) {
      const doubles_8 w0 = LOAD_8(w), w1 = LOAD_8(w + 8);
      MQ_SIMD_UNROLL
      for (int p = 0; p < n_pixels; p++) {
        const double value = (double)x[p][k];
        sums[p][0] += value * w0;
        sums[p][1] += value * w1;
      }
    }
  }
  for (int p = 0; p < n_pixels; p++)
    put_pixel(job, p, (const double *)sums[p]);
}

static void products(const struct runtime_products *job) {
  if (job->n_pixels == RUNTIME_FLOAT_PIXELS)
    products_of(job, RUNTIME_FLOAT_PIXELS);
  else if (job->n_pixels == 3)
    products_of(job, 3);
  else if (job->n_pixels == 2)
    products_of(job, 2);
  else
    products_of(job, 1);
}

static void products_each(const struct runtime_products *job) {
  for (int p = 0; p < job->n_pixels; p++) {
    doubles_8 sums[2] = {{0}};
    for (int64_t t = 0; t < job->n_taps; t++) {
      const float *w = job->weights + job->w_taps[t], *x = job->x[p] + job->x_taps[t];
      sums[0] += LOAD_8(x) * LOAD_8(w);
      sums[1] += LOAD_8(x + 8) * LOAD_8(w + 8);
    }
    put_pixel(job, p, (const double *)sums);
  }
}

/* ---- Two operands ---------------------------------------------------------------------------------------
 */
MQ_ALWAYS_INLINE float binary_value(float a, float b, runtime_binary kind) {
  return kind == RUNTIME_BINARY_ADD   ? a + b
         : kind == RUNTIME_BINARY_SUB ? a - b
         : kind == RUNTIME_BINARY_MUL ? a * b
         : kind == RUNTIME_BINARY_DIV ? a / b
         : a >= 0                     ? a
                                      : a * b;
}

MQ_ALWAYS_INLINE void binary_as(float *y, const float *a, const float *b, int64_t n, runtime_binary kind,
                                float lo, float hi) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = mq_clip_value(binary_value(a[i], b[i], kind), lo, hi);
}

static void binary(float *y, const float *a, const float *b, int64_t n, runtime_binary kind, float lo,
                   float hi) {
  switch (kind) {
    case RUNTIME_BINARY_ADD:
      binary_as(y, a, b, n, RUNTIME_BINARY_ADD, lo, hi);
      break;
    case RUNTIME_BINARY_SUB:
      binary_as(y, a, b, n, RUNTIME_BINARY_SUB, lo, hi);
      break;
    case RUNTIME_BINARY_MUL:
      binary_as(y, a, b, n, RUNTIME_BINARY_MUL, lo, hi);
      break;
    case RUNTIME_BINARY_DIV:
      binary_as(y, a, b, n, RUNTIME_BINARY_DIV, lo, hi);
      break;
    case RUNTIME_BINARY_PRELU:
      binary_as(y, a, b, n, RUNTIME_BINARY_PRELU, lo, hi);
      break;
  }
}

static void sum_pixels(double *sums, const float *x, int64_t n_pixels, int64_t channels) {
  for (int64_t p = 0; p < n_pixels; p++, x += channels) {
    MQ_SIMD_INDEPENDENT
    for (int64_t c = 0; c < channels; c++)
      sums[c] += (double)x[c];
  }
}

const struct runtime_floats MQ_SIMD_NAME(runtime_floats) = {
    .products = products, .products_each = products_each, .binary = binary, .sum_pixels = sum_pixels};
