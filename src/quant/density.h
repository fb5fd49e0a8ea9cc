/* What searches see of a histogram: a density that is constant within each bin, beside a point mass at 0.
 * Positions are in bins, counted from the left end of the lowest bin; 0 lies at `zero_at`. */
#ifndef MQ_QUANT_DENSITY_H
#define MQ_QUANT_DENSITY_H

#include "quant/histogram.h"

struct mq_density {
  int64_t n_bins, zero_at; /* bins in use; those below zero_at are negative */
  double width;            /* of a bin */
  double n_zero;           /* the point mass */
  /* count[i]: values below position i, the zeros not among them; area[i]: integral of count up to i;
   * volume[i]: integral of area. One more entry of each, a copy, lets interpolation read past the end. */
  double count[2 * MQ_HISTOGRAM_BINS + 2], area[2 * MQ_HISTOGRAM_BINS + 2];
  double volume[2 * MQ_HISTOGRAM_BINS + 2];
};

/* min and max: of the histogram's data. */
void mq_density_init(struct mq_density *density, const struct mq_histogram *histogram, float min, float max);

/* Values below position t, zeros not among them. */
double mq_density_count(const struct mq_density *density, double t);

/* Sum over all values of (x - x^)^2, x^ = s (clip(rne(x/s) + z, n, p) - z). Cells are integrated exactly, so
 * within a bin nothing is approximated but the place of its values: off by at most (s + 2 d) w / 2 for each
 * value, w the bin's width and d how far the bin lies outside the range. Stops early, with a value above
 * `limit`, when what lies beyond the lowest and highest levels is too much by itself. */
double mq_density_squared_error(const struct mq_density *density, float scale, int32_t zero_point,
                                int32_t quant_min, int32_t quant_max, double limit);

#endif
