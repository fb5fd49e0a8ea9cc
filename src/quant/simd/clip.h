#ifndef MQ_QUANT_SIMD_CLIP_H
#define MQ_QUANT_SIMD_CLIP_H

#include "kernel/simd.h"

struct mq_simd_clip {
  /* dx = (adds: +=) first <= x <= last ? g : 0; above += sum of g where x > last, below += where x < first.
   * Element i goes to lane i mod 16 of doubles. NaN counts as below. dx may be g. */
  void (*backward)(float *dx, bool adds, double *above, double *below, const float *g, const float *x,
                   int64_t n, float first, float last);
};
MQ_SIMD_DECLARE(mq_simd_clip)

#endif
