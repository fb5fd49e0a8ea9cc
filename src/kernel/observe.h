/* Statistics for observers (quant/), over contiguous float32 data. The same bits for every instruction set:
 * sums run in a fixed number of lanes that are combined in a fixed order. */
#ifndef MQ_KERNEL_OBSERVE_H
#define MQ_KERNEL_OBSERVE_H

#include "mqbench/kernel.h"

/* Saturating: joining and adding in any order gives the same. */
static inline uint32_t mq_add_counts(uint32_t a, uint32_t b) {
  return a + b < a ? UINT32_MAX : a + b;
}

/* Histogram of |x| with equal bins from 0: positive bins, negative bins, and zeros apart (they are a point
 * mass, and after a ReLU the most frequent value by far), which go round MQ_TALLY_ZERO_SLOTS slots so that a
 * run of them does not wait for its own stores. Counts of 16 bits, so that the nearest cache holds them: at
 * most MQ_TALLY_VALUES values may be added before mq_tally_flush. */
#define MQ_TALLY_BINS 8192
#define MQ_TALLY_ZERO_SLOTS 64
#define MQ_TALLY_SLOTS (2 * MQ_TALLY_BINS + MQ_TALLY_ZERO_SLOTS)
#define MQ_TALLY_VALUES UINT16_MAX
struct mq_tally {
  uint16_t count[MQ_TALLY_SLOTS];
  int64_t n; /* values since the last flush */
};
/* Counts values and joins their extrema with the given ones, up to the first block of them that holds a value
 * whose magnitude is not below MQ_TALLY_BINS * width, or not finite; returns how many it counted. width is a
 * power of two, given as its inverse. */
int64_t mq_tally_add(struct mq_tally *tally, float *min, float *max, const float *x, int64_t n,
                     float inverse_width);
/* Adds the counts of the first n_positive and n_negative bins, which are all that hold something, and of the
 * zeros to the given ones, and empties the tally. */
void mq_tally_flush(uint32_t *positive, int64_t n_positive, uint32_t *negative, int64_t n_negative,
                    uint64_t *n_zero, struct mq_tally *tally);

/* sum (x - s clip(rne(x / s), lo, hi))^2 : the quantization error with zero point z, lo = n - z, hi = p - z.
 * The quantized value is float32 as mq_loop_fake_quantize gives it, squares are summed in double. */
double mq_observe_squared_error(const float *x, int64_t n, float scale, float lo, float hi);

/* For a density that is constant in each of n bins of width 1, whose counts are bins[0], bins[step], ...:
 * count[i], area[i], volume[i] = its mass below position i, the integral of that and the integral of this,
 * i = 1 .. n, from the values given at i = 0. */
void mq_observe_integrate(double *count, double *area, double *volume, const uint32_t *bins, int64_t step,
                          int64_t n);
/* For a density that is constant in each of n_bins bins of width 1: count[i] = its mass below bin i
 * (n_bins + 2 entries, the last one a copy), area[i] = the integral of that mass up to i (n_bins + 1).
 * Returns the sum of area(t) over the n points t = first + k step, area(t) being 0 below 0 and growing by the
 * whole mass above n_bins. */
double mq_observe_sum_area(const double *count, const double *area, int64_t n_bins, double first, double step,
                           int64_t n);

/* sum of weight[i] ln(value[i]), values positive and normal. */
double mq_observe_sum_weighted_log(const double *weight, const double *value, int64_t n);

#endif
