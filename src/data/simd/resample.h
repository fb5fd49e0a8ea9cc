/* Weighted sums of pixels in fixed point: the two passes of a resize. */
#ifndef MQ_DATA_SIMD_RESAMPLE_H
#define MQ_DATA_SIMD_RESAMPLE_H

#include "kernel/simd.h"

/* Weights are integers in units of 2^-22; a sum is rounded to nearest (ties up) and clipped to 0..255. */
#define MQ_RESAMPLE_BITS 22

/* One output row or column: the weighted mean of `n` input ones from `first` on. */
struct mq_taps {
  int32_t first, n;
  const int32_t *weights;
};

struct mq_simd_resample {
  /* out[i][c] = sum over taps[i] of row[first + t][c] * weights[t], for n_out pixels. May read 1 byte past
   * the row's last pixel. */
  void (*across)(uint8_t *out, const uint8_t *row, const struct mq_taps *taps, int64_t n_out,
                 int64_t n_channels);
  /* out[i] = sum over t of rows[t * stride + i] * weights[t], for n_bytes. May read 15 bytes past the end. */
  void (*down)(uint8_t *out, const uint8_t *rows, int64_t stride, const struct mq_taps *taps,
               int64_t n_bytes);
};
MQ_SIMD_DECLARE(mq_simd_resample)

#endif
