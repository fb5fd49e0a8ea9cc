/* Pools: what the forward and the backward pass share. */
#ifndef MQ_KERNEL_POOLING_H
#define MQ_KERNEL_POOLING_H

#include "kernel/simd/pooling.h"

struct mq_pooling {
  struct mq_pooling_desc desc;
  struct mq_shape output;
};

/* The taps of one output coordinate along one axis. */
struct mq_pooling_taps {
  int64_t first;    /* input coordinate of the first tap inside */
  int64_t n;        /* taps inside the input */
  int64_t n_padded; /* taps inside the input and its padding: what an average over the padding counts */
};

struct mq_pooling_taps mq_pooling_find_taps(const struct mq_pooling_desc *desc, int axis, int64_t out);
/* The taps inside the image; neither may be empty. */
struct mq_simd_window mq_pooling_window(const struct mq_pooling_desc *desc, const float *image,
                                        struct mq_pooling_taps rows, struct mq_pooling_taps columns);
/* What an average divides by. */
int64_t mq_pooling_divisor(const struct mq_pooling_desc *desc, struct mq_pooling_taps rows,
                           struct mq_pooling_taps columns);

#endif
