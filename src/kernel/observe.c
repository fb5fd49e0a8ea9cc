#include "kernel/observe.h"

#include <string.h>

#include "kernel/simd/observe.h"

static const struct mq_simd_observe *loops(void) {
  return mq_simd_observe_at(mq_simd_level_used());
}

int64_t mq_tally_add(uint32_t count[MQ_TALLY_SLOTS], const float *x, int64_t n, float inverse_width) {
  uint32_t *zeros = count + 2 * MQ_TALLY_BINS;
  int64_t n_zero = 0;
  loops()->tally(count, x, n, inverse_width);
  for (int k = 0; k < MQ_TALLY_ZERO_SLOTS; k++)
    n_zero += zeros[k];
  memset(zeros, 0, MQ_TALLY_ZERO_SLOTS * sizeof *zeros);
  return n_zero;
}

double mq_observe_squared_error(const float *x, int64_t n, float scale, float lo, float hi) {
  return loops()->squared_error(x, n, scale, lo, hi);
}

double mq_observe_sum_area(const double *count, const double *area, int64_t n_bins, double first, double step,
                           int64_t n) {
  return loops()->sum_area(count, area, n_bins, first, step, n);
}

double mq_observe_sum_weighted_log(const double *weight, const double *value, int64_t n) {
  return loops()->sum_weighted_log(weight, value, n);
}
