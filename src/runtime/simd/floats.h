/* Layers and operations on floats: the formulas of src/program/step_float.c and step_layer_float.c, with the
 * same bits at every level. */
#ifndef MQ_RUNTIME_SIMD_FLOATS_H
#define MQ_RUNTIME_SIMD_FLOATS_H

#include "runtime/simd.h"

#define RUNTIME_FLOAT_BLOCK 16 /* output channels */
#define RUNTIME_FLOAT_PIXELS 4 /* of a tile */

/* y[p][c] = clip(f(bias[c] + sum over taps t and inputs k of x[p][x_taps[t] + k] w[w_taps[t] + 16 k + c])):
 * products of two floats are exact in double and added in double one after the other, so that a fused
 * multiplication and addition gives the same. */
struct runtime_products {
  const float *const *x; /* of each pixel */
  const int64_t *x_taps, *w_taps;
  int64_t n_taps, n_inputs;
  const float *weights, *bias; /* of 16 channels; 0 behind the last */
  float *const *y;
  int n_pixels, n_channels; /* at most 4 and 16 */
  float lo, hi;
};

typedef enum runtime_binary { /* as mq_program_binary */
  RUNTIME_BINARY_ADD = 1,
  RUNTIME_BINARY_SUB,
  RUNTIME_BINARY_MUL,
  RUNTIME_BINARY_DIV,
  RUNTIME_BINARY_PRELU,
} runtime_binary;

struct runtime_floats {
  void (*products)(const struct runtime_products *job);
  /* Each channel by its own weights: x[p][x_taps[t] + c]; n_inputs is 1. May read 15 floats behind the last.
   */
  void (*products_each)(const struct runtime_products *job);
  void (*binary)(float *y, const float *a, const float *b, int64_t n, runtime_binary kind, float lo,
                 float hi);
  /* sums[c] += x[p channels + c], pixel after pixel. */
  void (*sum_pixels)(double *sums, const float *x, int64_t n_pixels, int64_t channels);
};
MQ_SIMD_DECLARE(runtime_floats)

#endif
