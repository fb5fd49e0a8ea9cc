/* Elementwise loops over contiguous float32 data; in place is allowed where an input has y's size. */
#ifndef MQ_KERNEL_SIMD_ELEMENTWISE_H
#define MQ_KERNEL_SIMD_ELEMENTWISE_H

#include "kernel/simd.h"

struct mq_simd_elementwise {
  void (*fake_quantize)(float *y, const float *x, int64_t n, const struct mq_fake_quant *fq);
  void (*affine)(float *y, const float *x, int64_t n_rows, int64_t n_channels, const float *gain,
                 const float *shift, float lo, float hi);
  void (*add)(float *y, const float *a, const float *b, int64_t n, float lo, float hi);
  void (*clip)(float *y, const float *x, int64_t n, float lo, float hi);
  void (*unary)(float *y, const float *x, int64_t n, mq_unary unary, float alpha, float beta);
};
MQ_SIMD_DECLARE(mq_simd_elementwise)

#endif
