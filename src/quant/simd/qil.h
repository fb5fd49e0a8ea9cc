#ifndef MQ_QUANT_SIMD_QIL_H
#define MQ_QUANT_SIMD_QIL_H

#include "kernel/simd.h"

/* v = slope |x| + offset, t = clip(v, 0, 1) sign(x), q = clip(rne(t steps), lowest, steps). */
struct mq_qil_run {
  float slope, offset, center, steps, scale, lowest;
  bool is_clipped; /* false (backward only): v = slope x + offset, sign 1, nothing masked */
};

struct mq_simd_qil {
  /* y = scale q; codes: the low 8 bits of q. Either may be NULL; y may be x. NaN: y NaN, code 0. */
  void (*forward)(float *y, uint8_t *codes, const float *x, int64_t n, const struct mq_qil_run *run);
  /* With G = g [0 < v < 1] sign(x): dx = (adds: +=) slope |G|, sums[0] += sum G, sums[1] += sum G (|x| -
   * center). Element i goes to lane i mod 16 of doubles. dx may be g. */
  void (*backward)(float *dx, bool adds, double sums[2], const float *g, const float *x, int64_t n,
                   const struct mq_qil_run *run);
};
MQ_SIMD_DECLARE(mq_simd_qil)

#endif
