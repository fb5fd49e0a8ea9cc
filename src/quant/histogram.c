#include "quant/histogram.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

enum {
  LEAST_EXPONENT = -126, /* so that the inverse width is a float; below lies bin 0 */
  MOST_AT_ONCE = 1 << 30 /* values, so that a part's own counts do not overflow */
};

void mq_histogram_init(struct mq_histogram *histogram) {
  histogram->exponent = LEAST_EXPONENT;
}

/* The smallest e with magnitude < bins 2^e. */
static int32_t exponent_for(float magnitude) {
  int exponent;
  if (magnitude == 0) return LEAST_EXPONENT;
  frexpf(magnitude, &exponent); /* magnitude < 2^exponent */
  int32_t e = exponent - 13;
  _Static_assert(MQ_HISTOGRAM_BINS == 1 << 13, "exponent_for knows the number of bins");
  return e < LEAST_EXPONENT ? LEAST_EXPONENT : e;
}

/* Bin k of the wider histogram is the sum of 2^shift bins of the narrower. */
static void add_joined(uint32_t *to, const uint32_t *from, int64_t n, int shift) {
  if (shift == 0) {
    for (int64_t k = 0; k < n; k++)
      to[k] = mq_add_counts(to[k], from[k]);
    return;
  }
  for (int64_t k = 0; k < n; k++)
    to[k >> shift] = mq_add_counts(to[k >> shift], from[k]);
}

static void join_in_place(uint32_t *bins, int shift) {
  for (int64_t k = 0; k < MQ_HISTOGRAM_BINS; k++) {
    uint32_t count = bins[k];
    bins[k] = 0;
    bins[k >> shift] = mq_add_counts(bins[k >> shift], count);
  }
}

static void widen(struct mq_histogram *histogram, int32_t exponent) {
  if (exponent <= histogram->exponent) return;
  int shift = exponent - histogram->exponent;
  if (shift > 13) shift = 13; /* everything lies in bin 0 */
  histogram->exponent = exponent;
  if (histogram->n == 0) return;
  join_in_place(histogram->positive, shift);
  join_in_place(histogram->negative, shift);
}

void mq_histogram_cover(struct mq_histogram *histogram, float magnitude) {
  assert(isfinite(magnitude) && magnitude >= 0);
  widen(histogram, exponent_for(magnitude));
}

int64_t mq_histogram_used(const struct mq_histogram *histogram, float magnitude) {
  float bins = magnitude * ldexpf(1.0f, -histogram->exponent);
  return bins < MQ_HISTOGRAM_BINS ? (int64_t)bins + 1 : MQ_HISTOGRAM_BINS;
}

/* Bins that might overflow are counted apart and merged. */
static void add_saturating(struct mq_histogram *histogram, const float *x, int64_t n, float inverse_width) {
  struct mq_histogram part = {.exponent = histogram->exponent, .n = (uint64_t)n};
  part.n_zero = (uint64_t)mq_tally_add(part.count, x, n, inverse_width);
  mq_histogram_merge(histogram, &part, -FLT_MAX, FLT_MAX);
}

void mq_histogram_add(struct mq_histogram *histogram, const float *x, int64_t n) {
  float inverse_width = ldexpf(1.0f, -histogram->exponent);
  while (n > 0) {
    int64_t part = n < MOST_AT_ONCE ? n : MOST_AT_ONCE;
    if (histogram->n + (uint64_t)part <= UINT32_MAX) {
      histogram->n += (uint64_t)part;
      histogram->n_zero += (uint64_t)mq_tally_add(histogram->count, x, part, inverse_width);
    } else {
      add_saturating(histogram, x, part, inverse_width);
    }
    x += part;
    n -= part;
  }
}

void mq_histogram_merge(struct mq_histogram *into, const struct mq_histogram *from, float min, float max) {
  widen(into, from->exponent);
  int shift = into->exponent - from->exponent;
  if (shift > 13) shift = 13;
  if (max > 0) add_joined(into->positive, from->positive, mq_histogram_used(from, max), shift);
  if (min < 0) add_joined(into->negative, from->negative, mq_histogram_used(from, -min), shift);
  into->n_zero += from->n_zero;
  into->n += from->n;
}
