/* The observers' hot loops over contiguous float32 data (kernel/observe.h is their front). */
#ifndef MQ_KERNEL_SIMD_OBSERVE_H
#define MQ_KERNEL_SIMD_OBSERVE_H

#include "kernel/observe.h"
#include "kernel/simd.h"

struct mq_simd_observe {
  /* As mq_tally_add. Which of the zero slots a zero goes to is not defined, only their sum. */
  int64_t (*tally)(uint16_t count[MQ_TALLY_SLOTS], float *min, float *max, const float *x, int64_t n,
                   float inverse_width);
  /* Adds n counts to others, saturating, and sets them to 0. */
  void (*flush)(uint32_t *to, uint16_t *from, int64_t n);
  double (*squared_error)(const float *x, int64_t n, float scale, float lo, float hi);
  void (*integrate)(double *count, double *area, double *volume, const uint32_t *bins, int64_t step,
                    int64_t n);
  double (*sum_area)(const double *count, const double *area, int64_t n_bins, double first, double step,
                     int64_t n);
  double (*sum_weighted_log)(const double *weight, const double *value, int64_t n);
};
MQ_SIMD_DECLARE(mq_simd_observe)

#endif
