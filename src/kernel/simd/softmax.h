/* Softmax and what is built on it, over contiguous rows (n >= 1), in double. */
#ifndef MQ_KERNEL_SIMD_SOFTMAX_H
#define MQ_KERNEL_SIMD_SOFTMAX_H

#include "kernel/simd.h"

/* Cross entropy with label smoothing; targets are on_target at the label and off_target elsewhere. */
struct mq_simd_entropy {
  int64_t n_classes;
  double smoothing, on_target, off_target, weight;
};

struct mq_simd_softmax {
  void (*softmax)(float *y, const float *x, int64_t n_rows, int64_t row_count, bool is_log);
  void (*softmax_backward)(float *dx, bool adds, const float *g, const float *y, int64_t n_rows,
                           int64_t row_count, bool is_log);
  /* One row: its loss; its gradient goes to dx unless that is NULL. dx may be x. */
  double (*cross_entropy)(float *dx, const float *x, int64_t label, const struct mq_simd_entropy *entropy);
};
MQ_SIMD_DECLARE(mq_simd_softmax)

#endif
