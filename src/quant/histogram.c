#include "quant/histogram.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

enum {
  LEAST_EXPONENT = -126, /* so that the inverse width is a float; below lies bin 0 */
  PIECE = 4096           /* values: what is lost to one that is not finite */
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

/* Bin k of the wider histogram is the sum of 2^shift bins of the narrower; n of these may hold something. */
static void add_joined(uint32_t *to, const uint32_t *from, int64_t n, int shift) {
  if (shift == 0) {
    for (int64_t k = 0; k < n; k++)
      to[k] = mq_add_counts(to[k], from[k]);
    return;
  }
  for (int64_t k = 0, first = 0; first < n; k++) {
    int64_t next = (k + 1) << shift, end = next < n ? next : n;
    uint32_t count = to[k];
    for (; first < end; first++)
      count = mq_add_counts(count, from[first]);
    to[k] = count;
  }
}

/* n bins may hold something. Pair by pair, each read before its place is written. */
static void join_in_place(uint32_t *bins, int64_t n, int shift) {
  int64_t n_pairs = (n + 1) / 2;
  for (; shift > 0; shift--, n = n_pairs, n_pairs = (n + 1) / 2) {
    for (int64_t k = 0; k < n_pairs; k++)
      bins[k] = mq_add_counts(bins[2 * k], bins[2 * k + 1]);
    memset(bins + n_pairs, 0, (size_t)(n - n_pairs) * sizeof *bins);
  }
}

/* All counted values lie within [min, max]. */
static void widen(struct mq_histogram *histogram, int32_t exponent, float min, float max) {
  if (exponent <= histogram->exponent) return;
  int shift = exponent - histogram->exponent;
  if (shift > 13) shift = 13; /* everything lies in bin 0 */
  if (histogram->has_values && max > 0)
    join_in_place(histogram->positive, mq_histogram_used(histogram, max), shift);
  if (histogram->has_values && min < 0)
    join_in_place(histogram->negative, mq_histogram_used(histogram, -min), shift);
  histogram->exponent = exponent;
}

void mq_histogram_cover(struct mq_histogram *histogram, float magnitude) {
  assert(isfinite(magnitude) && magnitude >= 0);
  widen(histogram, exponent_for(magnitude), -FLT_MAX, FLT_MAX);
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

/* The counting finds the extrema. Where it meets a value that the bins do not cover, the extrema of the rest
 * come first: they say how wide the bins must be. False: not all finite. */
static bool add_piece(struct mq_histogram *histogram, struct mq_tally *tally, float *min, float *max,
                      const float *x, int64_t n) {
  float least, most;
  if (tally->n + n > MQ_TALLY_VALUES) take_tally(histogram, tally, *min, *max);
  int64_t n_counted = mq_tally_add(tally, min, max, x, n, ldexpf(1.0f, -histogram->exponent));
  if (n_counted == n) return true;
  mq_loop_min_max(&least, &most, x + n_counted, n - n_counted);
  if (!isfinite(least) || !isfinite(most)) return false;
  take_tally(histogram, tally, *min, *max);
  widen(histogram, exponent_for(fmaxf(-least, most)), *min, *max);
  n_counted +=
      mq_tally_add(tally, min, max, x + n_counted, n - n_counted, ldexpf(1.0f, -histogram->exponent));
  assert(n_counted == n);
  return true;
}

int64_t mq_histogram_add(struct mq_histogram *histogram, float *min, float *max, const float *rows,
                         int64_t n_rows, int64_t row_count, int64_t row_stride) {
  static _Thread_local _Alignas(64) struct mq_tally tally; /* empty between calls: not to be zeroed in each */
  int64_t n_left_out = 0;
  if (row_stride == row_count) { /* one run */
    row_count *= n_rows;
    n_rows = 1;
  }
  for (int64_t r = 0; r < n_rows; r++)
    for (int64_t i = 0; i < row_count; i += PIECE) {
      int64_t n = row_count - i < PIECE ? row_count - i : PIECE;
      n_left_out += !add_piece(histogram, &tally, min, max, rows + r * row_stride + i, n);
    }
  take_tally(histogram, &tally, *min, *max);
  return n_left_out;
}

void mq_histogram_merge(struct mq_histogram *into, const struct mq_histogram *from, float min, float max) {
  widen(into, from->exponent, -FLT_MAX, FLT_MAX);
  int shift = into->exponent - from->exponent;
  if (shift > 13) shift = 13;
  if (max > 0) add_joined(into->positive, from->positive, mq_histogram_used(from, max), shift);
  if (min < 0) add_joined(into->negative, from->negative, mq_histogram_used(from, -min), shift);
  into->n_zero += from->n_zero;
  into->has_values |= from->has_values;
}
