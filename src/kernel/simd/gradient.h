/* Gradients of elementwise loops, and the sums of multiples that training needs. Contiguous float32; dx may
 * be g. */
#ifndef MQ_KERNEL_SIMD_GRADIENT_H
#define MQ_KERNEL_SIMD_GRADIENT_H

#include "kernel/simd.h"

struct mq_simd_gradient {
  void (*clip)(float *dx, bool adds, const float *g, const float *y, int64_t n, float lo, float hi);
  void (*unary)(float *dx, bool adds, const float *g, const float *x, int64_t n, mq_unary unary, float alpha,
                float beta);
  void (*axpy)(float *y, float a, const float *x, int64_t n);
  void (*axpby)(float *y, float a, const float *x, float b, int64_t n);
  void (*scale)(float *y, bool adds, const float *x, int64_t n, double factor);
  double (*dot)(const float *a, const float *b, int64_t n);
};
MQ_SIMD_DECLARE(mq_simd_gradient)

#endif
