#ifndef MQ_QUANT_SIMD_DSQ_H
#define MQ_QUANT_SIMD_DSQ_H

#include "kernel/simd.h"

/* v = x/scale, inside: lo <= v <= hi, whole numbers of magnitude up to 2^22. */
struct mq_dsq_run {
  float scale, lo, hi, k, gain;
};

struct mq_simd_dsq {
  /* dx = (add_gradient: +=) g [inside] gain (1 - tanh^2(k (v - floor(v) - 0.5))), the slope within 8 units in
   * the last place. dx may be g. */
  void (*gradient)(float *dx, const float *g, const float *x, int64_t n, const struct mq_dsq_run *run);
  void (*add_gradient)(float *dx, const float *g, const float *x, int64_t n, const struct mq_dsq_run *run);
};
MQ_SIMD_DECLARE(mq_simd_dsq)

#endif
