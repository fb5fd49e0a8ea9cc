/* The public loops: each picks the table of the resolved instruction set. */
#include "kernel/simd/elementwise.h"
#include "kernel/simd/reduce.h"
#include "kernel/simd/softmax.h"

void mq_loop_fake_quantize(float *y, const float *x, int64_t n, const struct mq_fake_quant *fq) {
  mq_simd_elementwise_at(mq_simd_level_used())->fake_quantize(y, x, n, fq);
}

void mq_loop_affine(float *y, const float *x, int64_t n_rows, int64_t n_channels, const float *gain,
                    const float *shift, float lo, float hi) {
  mq_simd_elementwise_at(mq_simd_level_used())->affine(y, x, n_rows, n_channels, gain, shift, lo, hi);
}

void mq_loop_add(float *y, const float *a, const float *b, int64_t n, float lo, float hi) {
  mq_simd_elementwise_at(mq_simd_level_used())->add(y, a, b, n, lo, hi);
}

void mq_loop_clip(float *y, const float *x, int64_t n, float lo, float hi) {
  mq_simd_elementwise_at(mq_simd_level_used())->clip(y, x, n, lo, hi);
}

void mq_loop_unary(float *y, const float *x, int64_t n, mq_unary unary, float alpha, float beta) {
  mq_simd_elementwise_at(mq_simd_level_used())->unary(y, x, n, unary, alpha, beta);
}

void mq_softmax_rows(float *y, const float *x, int64_t n_rows, int64_t row_count, bool is_log) {
  mq_simd_softmax_at(mq_simd_level_used())->softmax(y, x, n_rows, row_count, is_log);
}

void mq_loop_min_max(float *min, float *max, const float *x, int64_t n) {
  mq_simd_reduce_at(mq_simd_level_used())->min_max(min, max, x, n);
}

void mq_loop_moments(double *sum, double *sum_abs, double *sum_square, const float *x, int64_t n) {
  mq_simd_reduce_at(mq_simd_level_used())->moments(sum, sum_abs, sum_square, x, n);
}

void mq_global_average(float *y, const float *x, int64_t n, int64_t pixels, int64_t channels) {
  const struct mq_simd_reduce *table = mq_simd_reduce_at(mq_simd_level_used());
  for (int64_t i = 0; i < n; i++)
    table->mean_pixels(y + i * channels, x + i * pixels * channels, pixels, channels);
}

void mq_global_max(float *y, const float *x, int64_t n, int64_t pixels, int64_t channels) {
  const struct mq_simd_reduce *table = mq_simd_reduce_at(mq_simd_level_used());
  for (int64_t i = 0; i < n; i++)
    table->max_pixels(y + i * channels, x + i * pixels * channels, pixels, channels);
}
