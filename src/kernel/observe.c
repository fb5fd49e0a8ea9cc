#include "kernel/observe.h"

#include <assert.h>

#include "kernel/simd/observe.h"

static const struct mq_simd_observe *loops(void) {
  return mq_simd_observe_at(mq_simd_level_used());
}

int64_t mq_tally_add(struct mq_tally *tally, float *min, float *max, const float *x, int64_t n,
                     float inverse_width) {
  assert(tally->n + n <= MQ_TALLY_VALUES);
  int64_t n_counted = loops()->tally(tally->count, min, max, x, n, inverse_width);
  tally->n += n_counted;
  return n_counted;
}

void mq_tally_flush(uint32_t *positive, int64_t n_positive, uint32_t *negative, int64_t n_negative,
                    uint64_t *n_zero, struct mq_tally *tally) {
  assert(n_positive <= MQ_TALLY_BINS && n_negative <= MQ_TALLY_BINS);
  uint32_t zeros[MQ_TALLY_ZERO_SLOTS] = {0};
  void (*flush)(uint32_t * to, uint16_t * from, int64_t n) = loops()->flush;
  flush(positive, tally->count, n_positive);
  flush(negative, tally->count + MQ_TALLY_BINS, n_negative);
  flush(zeros, tally->count + 2 * MQ_TALLY_BINS, MQ_TALLY_ZERO_SLOTS);
  for (int k = 0; k < MQ_TALLY_ZERO_SLOTS; k++)
    *n_zero += zeros[k];
  tally->n = 0;
}

double mq_observe_squared_error(const float *x, int64_t n, float scale, float lo, float hi) {
  return loops()->squared_error(x, n, scale, lo, hi);
}

void mq_observe_integrate(double *count, double *area, double *volume, const uint32_t *bins, int64_t step,
                          int64_t n) {
  loops()->integrate(count, area, volume, bins, step, n);
}

double mq_observe_sum_area(const double *count, const double *area, int64_t n_bins, double first, double step,
                           int64_t n) {
  return loops()->sum_area(count, area, n_bins, first, step, n);
}

double mq_observe_sum_weighted_log(const double *weight, const double *value, int64_t n) {
  return loops()->sum_weighted_log(weight, value, n);
}
