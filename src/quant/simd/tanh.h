#ifndef MQ_QUANT_SIMD_TANH_H
#define MQ_QUANT_SIMD_TANH_H

#include "kernel/simd.h"

/* w~ = tanh(w) / divisor * factor. What reaches it passes the quantizer where first <= w~ / scale <= last. */
struct mq_tanh_run {
  float divisor, factor, scale, first, last;
};

struct mq_simd_tanh {
  /* y = w~, tanh with the bits of mq_tanhf; y may be w. */
  void (*transform)(float *y, const float *w, int64_t n, const struct mq_tanh_run *run);
  /* dw = (adds: +=) (1 - tanh^2 w) g [passes] factor / divisor; returns the sum of g [passes] w~, element i
   * in lane i mod 16. dw may be g. */
  double (*backward)(float *dw, bool adds, const float *g, const float *w, int64_t n,
                     const struct mq_tanh_run *run);
};
MQ_SIMD_DECLARE(mq_simd_tanh)

#endif
