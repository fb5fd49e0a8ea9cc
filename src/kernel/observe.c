#include "kernel/observe.h"

#include <assert.h>
#include <string.h>

#include "kernel/simd/observe.h"

static const struct mq_simd_observe *loops(void) {
  return mq_simd_observe_at(mq_simd_level_used());
}

void mq_tally_init(struct mq_tally *tally, int64_t n_positive, int64_t n_negative) {
  assert(n_positive <= MQ_TALLY_BINS && n_negative <= MQ_TALLY_BINS);
  for (int t = 0; t < 2; t++) {
    uint16_t *count = tally->count[t];
    memset(count, 0, (size_t)n_positive * sizeof *count);
    memset(count + MQ_TALLY_BINS, 0, (size_t)n_negative * sizeof *count);
    memset(count + 2 * MQ_TALLY_BINS, 0, MQ_TALLY_ZERO_SLOTS * sizeof *count);
  }
  tally->n = 0;
}

int64_t mq_tally_add(struct mq_tally *tally, const float *x, int64_t n, float inverse_width) {
  int64_t room = MQ_TALLY_VALUES - 2 - tally->n;
  if (n > room) n = room;
  loops()->tally(tally, x, n, inverse_width);
  tally->n += n + (n & 1); /* each table got at most half of this */
  return n;
}

static void flush_bins(uint32_t *to, uint16_t *a, uint16_t *b, int64_t n) {
  for (int64_t k = 0; k < n; k++)
    to[k] = mq_add_counts(to[k], (uint32_t)a[k] + b[k]);
  memset(a, 0, (size_t)n * sizeof *a);
  memset(b, 0, (size_t)n * sizeof *b);
}

void mq_tally_flush(uint32_t *positive, int64_t n_positive, uint32_t *negative, int64_t n_negative,
                    uint64_t *n_zero, struct mq_tally *tally) {
  assert(n_positive <= MQ_TALLY_BINS && n_negative <= MQ_TALLY_BINS);
  uint16_t *a = tally->count[0], *b = tally->count[1];
  flush_bins(positive, a, b, n_positive);
  flush_bins(negative, a + MQ_TALLY_BINS, b + MQ_TALLY_BINS, n_negative);
  uint32_t zeros[MQ_TALLY_ZERO_SLOTS] = {0};
  flush_bins(zeros, a + 2 * MQ_TALLY_BINS, b + 2 * MQ_TALLY_BINS, MQ_TALLY_ZERO_SLOTS);
  for (int k = 0; k < MQ_TALLY_ZERO_SLOTS; k++)
    *n_zero += zeros[k];
  tally->n = 0;
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
