/* Searches for the least squared quantization error, over raw data or over a histogram's density. */
#ifndef MQ_QUANT_SEARCH_H
#define MQ_QUANT_SEARCH_H

#include "quant/density.h"

/* One channel (or tensor) to be searched: either `density` or `data`. */
struct mq_search {
  const struct mq_scheme *scheme;
  const struct mq_density *density; /* activations */
  const float *data;                /* weights, n values */
  int64_t n;
  float min, max;
  bool is_non_negative; /* of the whole tensor */
  float least_scale;    /* 0: none */
};

/* Both ends of [min, max] times 1 - 0.01 i, i = 0 .. n_candidates - 1: the first of the least error. */
struct mq_range mq_search_range(const struct mq_search *search, int n_candidates);

/* k of the scale 2^-k: from k0, the largest that still covers the data, the first of the least error among k0
 * .. k0 + n_candidates - 1, at most 12. All-zero data: 0. */
int mq_search_floor_exponent(const struct mq_search *search, int n_candidates);
/* The zero point that goes with it (schemes that have one): the lower end of the data on a grid point. */
float mq_search_floor_zero_point(const struct mq_search *search, float scale);

#endif
