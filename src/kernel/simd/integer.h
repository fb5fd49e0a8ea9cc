/* Loops around a convolution on integers: what goes in and what becomes of its sums. int32 arithmetic wraps
 * around, so that only the result must fit. */
#ifndef MQ_KERNEL_SIMD_INTEGER_H
#define MQ_KERNEL_SIMD_INTEGER_H

#include "kernel/simd.h"

/* sum[p, c] = sum over k of base^k part[p, g, k, c within g] + shift[c] - zero_point[c] box[p, g] */
struct mq_simd_integer_sums {
  int64_t n_pixels, channels, groups;
  int n_parts;
  int32_t base;
  const int32_t *parts;            /* n_pixels x groups x n_parts x channels/groups */
  const int32_t *shift;            /* channels; NULL: none */
  const int32_t *zero_point, *box; /* channels; n_pixels x groups; NULL: none */
  int32_t *sums;                   /* n_pixels x channels: the results where `y` is NULL; may be `parts` */
  /* y = float(sum) multiplier[c] + bias[c], each rounded; bias NULL: none. May be the memory of `parts`. */
  float *y;
  const float *multiplier, *bias;
};

struct mq_simd_integer {
  void (*finish)(const struct mq_simd_integer_sums *sums);
  /* y = x + offset modulo 256: whether x and y are signed does not matter. */
  void (*shift_bytes)(uint8_t *y, const uint8_t *x, int64_t n, int offset);
  /* sums[r] = sum of the row's n bytes. */
  void (*row_sums)(int32_t *sums, const uint8_t *x, int64_t n_rows, int64_t n);
  void (*add)(int32_t *y, const int32_t *x, int64_t n);
  /* w = sum over k of base^k digits[k * step]: from -base/2 to base/2 - 1, least first; the last takes what
   * is left. base 16, 4 or 2. */
  void (*split)(int8_t *digits, int64_t step, const int8_t *w, int64_t n, int n_parts, int base);
  /* sums[t] = sum over the inputs i of w[i * n_taps + t]. */
  void (*tap_sums)(int32_t *sums, const int8_t *w, int64_t n_inputs, int64_t n_taps);
};
MQ_SIMD_DECLARE(mq_simd_integer)

#endif
