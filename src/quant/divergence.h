/* The Kullback-Leibler search for a clip (Migacz's calibration), on 2048 equal bins of |x|. */
#ifndef MQ_QUANT_DIVERGENCE_H
#define MQ_QUANT_DIVERGENCE_H

#include "quant/density.h"

#define MQ_DIVERGENCE_BINS 2048
#define MQ_DIVERGENCE_LEAST_BINS 128

/* Sums over the bins before each index, MQ_DIVERGENCE_BINS + 1 of each. */
struct mq_divergence {
  double count[MQ_DIVERGENCE_BINS + 1];    /* values */
  double occupied[MQ_DIVERGENCE_BINS + 1]; /* bins that are not empty */
  double entropy[MQ_DIVERGENCE_BINS + 1];  /* c ln c */
};

/* Of raw data, all finite, |x| <= magnitude, magnitude > 0: bin floor(2048 |x| / magnitude), the last one
 * closed. has_zeros: values that are exactly 0 count too. */
void mq_divergence_from_data(struct mq_divergence *sums, const float *data, int64_t n, float magnitude,
                             bool has_zeros);
/* Of a histogram: its counts are interpolated at the edges of the 2048 bins and rounded to whole values. */
void mq_divergence_from_histogram(struct mq_divergence *sums, const struct mq_histogram *histogram, float min,
                                  float max, bool has_zeros);

/* KL(P || Q) where the first `bins` bins are kept and quantized to n_levels (a power of two, at most `bins`):
 * P = first bins, the rest added to the last one; Q = first bins merged into n_levels groups (group j: bins
 * floor(j bins / n_levels) on), each group's mass spread evenly over its bins that are not empty in P. */
double mq_divergence_at(const struct mq_divergence *sums, int bins, int n_levels);
/* The first of the smallest divergence (ties: within 1e-12) among max(n_levels, 128) .. 2048; 2048 if
 * n_levels > 2048. */
int mq_divergence_search(const struct mq_divergence *sums, int64_t n_levels);

#endif
