#ifndef MQ_QUANT_SIMD_APOT_H
#define MQ_QUANT_SIMD_APOT_H

#include "kernel/simd.h"

/* x = float((w - mean) inverse), clipped to [lowest, alpha]; v = 2 den |x|/alpha in double: the product is
 * exact, so ties are ties of the real quotient; j = ceil(v); level nearest[j] (uniform: j/2) with x's sign.
 */
struct mq_apot_run {
  double mean, inverse; /* 0 and 1: x = w */
  float alpha, lowest;  /* lowest: -alpha or 0 */
  float scale;          /* of the levels: alpha/den */
  int32_t den;
  const int32_t *nearest; /* 2 den + 1 of them; NULL: uniform */
};

struct mq_simd_apot {
  /* y = scale k; codes: the low 8 bits of k. Either may be NULL; y may be w. NaN: y NaN, code of the last
   * level. */
  void (*forward)(float *y, uint8_t *codes, const float *w, int64_t n, const struct mq_apot_run *run);
  /* With G = g inside the clip, else 0: dx = (adds: +=) G unless dx is NULL; sums[0] += sum of g times
   * (inside ? k/den - x/alpha : -1 below a signed range, 1 above), sums[1] += sum G, sums[2] += sum G x.
   * Element i goes to lane i mod 16 of doubles. dx may be g. */
  void (*backward)(float *dx, bool adds, double sums[3], const float *g, const float *w, int64_t n,
                   const struct mq_apot_run *run);
  /* dw = (adds: +=) inverse (G - center) - x along. dw may be g. */
  void (*standardise)(float *dw, bool adds, const float *g, const float *w, int64_t n,
                      const struct mq_apot_run *run, double center, double along);
};
MQ_SIMD_DECLARE(mq_simd_apot)

#endif
