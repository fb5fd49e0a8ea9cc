#include "quant/histogram.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

enum {
  LEAST_EXPONENT = -126, /* so that the inverse width is a float; below lies bin 0 */
  PIECE = 4096           /* values: they stay in the nearest cache between the two looks at them */
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
  if (!histogram->has_values) return;
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

/* All counted values lie within [min, max]. */
static void take_tally(struct mq_histogram *histogram, struct mq_tally *tally, float min, float max) {
  int64_t n_positive = max > 0 ? mq_histogram_used(histogram, max) : 0;
  int64_t n_negative = min < 0 ? mq_histogram_used(histogram, -min) : 0;
  histogram->has_values |= n_positive + n_negative > 0;
  mq_tally_flush(histogram->positive, n_positive, histogram->negative, n_negative, &histogram->n_zero, tally);
}

/* Extrema first: they say how wide the bins must be. False: not all finite. */
static bool add_piece(struct mq_histogram *histogram, struct mq_tally *tally, float *min, float *max,
                      const float *x, int64_t n) {
  float least, most;
  mq_loop_min_max(&least, &most, x, n);
  if (!isfinite(least) || !isfinite(most)) return false;
  int32_t exponent = exponent_for(fmaxf(-least, most));
  if (exponent > histogram->exponent || tally->n + n > MQ_TALLY_VALUES) {
    take_tally(histogram, tally, *min, *max);
    widen(histogram, exponent);
  }
  *min = fminf(*min, least);
  *max = fmaxf(*max, most);
  mq_tally_add(tally, x, n, ldexpf(1.0f, -histogram->exponent));
  return true;
}

int64_t mq_histogram_add(struct mq_histogram *histogram, float *min, float *max, const float *rows,
                         int64_t n_rows, int64_t row_count, int64_t row_stride) {
  static _Thread_local _Alignas(64) struct mq_tally tally; /* empty between calls: not to be zeroed in each */
  int64_t n_left_out = 0;
  for (int64_t r = 0; r < n_rows; r++)
    for (int64_t i = 0; i < row_count; i += PIECE) {
      int64_t n = row_count - i < PIECE ? row_count - i : PIECE;
      n_left_out += !add_piece(histogram, &tally, min, max, rows + r * row_stride + i, n);
    }
  take_tally(histogram, &tally, *min, *max);
  return n_left_out;
}

void mq_histogram_merge(struct mq_histogram *into, const struct mq_histogram *from, float min, float max) {
  widen(into, from->exponent);
  int shift = into->exponent - from->exponent;
  if (shift > 13) shift = 13;
  if (max > 0) add_joined(into->positive, from->positive, mq_histogram_used(from, max), shift);
  if (min < 0) add_joined(into->negative, from->negative, mq_histogram_used(from, -min), shift);
  into->n_zero += from->n_zero;
  into->has_values |= from->has_values;
}
