/* The public loops of training: each picks the table of the resolved instruction set. */
#include "kernel/simd/channel.h"
#include "kernel/simd/gradient.h"
#include "kernel/simd/optimise.h"
#include "kernel/simd/softmax.h"

void mq_loop_channel_moments(double *sum, double *square, const float *x, int64_t n_rows,
                             int64_t n_channels) {
  mq_simd_channel_at(mq_simd_level_used())->moments(sum, square, x, n_rows, n_channels);
}

void mq_loop_channel_products(double *sum, double *product, const float *g, const float *x, int64_t n_rows,
                              int64_t n_channels) {
  mq_simd_channel_at(mq_simd_level_used())->products(sum, product, g, x, n_rows, n_channels);
}

void mq_loop_normalize_backward(float *dx, bool adds, const float *g, const float *x, int64_t n_rows,
                                int64_t n_channels, const float *a, const float *b, const float *d) {
  mq_simd_channel_at(mq_simd_level_used())->normalize_backward(dx, adds, g, x, n_rows, n_channels, a, b, d);
}

void mq_loop_clip_backward(float *dx, bool adds, const float *g, const float *y, int64_t n, float lo,
                           float hi) {
  mq_simd_gradient_at(mq_simd_level_used())->clip(dx, adds, g, y, n, lo, hi);
}

void mq_loop_unary_backward(float *dx, bool adds, const float *g, const float *x, int64_t n, mq_unary unary,
                            float alpha, float beta) {
  mq_simd_gradient_at(mq_simd_level_used())->unary(dx, adds, g, x, n, unary, alpha, beta);
}

void mq_loop_axpy(float *y, float a, const float *x, int64_t n) {
  mq_simd_gradient_at(mq_simd_level_used())->axpy(y, a, x, n);
}

void mq_loop_axpby(float *y, float a, const float *x, float b, int64_t n) {
  mq_simd_gradient_at(mq_simd_level_used())->axpby(y, a, x, b, n);
}

void mq_loop_scale(float *y, bool adds, const float *x, int64_t n, double factor) {
  mq_simd_gradient_at(mq_simd_level_used())->scale(y, adds, x, n, factor);
}

double mq_loop_dot(const float *a, const float *b, int64_t n) {
  return mq_simd_gradient_at(mq_simd_level_used())->dot(a, b, n);
}

void mq_softmax_rows_backward(float *dx, bool adds, const float *g, const float *y, int64_t n_rows,
                              int64_t row_count, bool is_log) {
  mq_simd_softmax_at(mq_simd_level_used())->softmax_backward(dx, adds, g, y, n_rows, row_count, is_log);
}

void mq_loop_sgd(float *w, float *v, const float *g, int64_t n, const struct mq_sgd *sgd) {
  mq_simd_optimise_at(mq_simd_level_used())->sgd(w, v, g, n, sgd);
}

void mq_loop_adam(float *w, float *m, float *u, const float *g, int64_t n, const struct mq_adam *adam) {
  mq_simd_optimise_at(mq_simd_level_used())->adam(w, m, u, g, n, adam);
}
