/* The optimisers' updates over contiguous float32 parameters. */
#ifndef MQ_KERNEL_SIMD_OPTIMISE_H
#define MQ_KERNEL_SIMD_OPTIMISE_H

#include "kernel/simd.h"

struct mq_simd_optimise {
  void (*sgd)(float *w, float *v, const float *g, int64_t n, const struct mq_sgd *sgd);
  void (*adam)(float *w, float *m, float *u, const float *g, int64_t n, const struct mq_adam *adam);
};
MQ_SIMD_DECLARE(mq_simd_optimise)

#endif
