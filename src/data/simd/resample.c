/* Weighted sums of pixels; integers, so every level gives the same values. */
#include "data/simd/resample.h"

#include <string.h>

#define HALF (1 << (MQ_RESAMPLE_BITS - 1))

typedef uint8_t u8x4 __attribute__((vector_size(4)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef int32_t i32x16 __attribute__((vector_size(64)));

/* Weights are not negative, so only the upper end needs clipping. */
static void across_rgb(uint8_t *out, const uint8_t *row, const struct mq_taps *taps, int64_t n_out) {
  for (int64_t i = 0; i < n_out; i++, out += 3) {
    const uint8_t *pixel = row + (int64_t)taps[i].first * 3;
    i32x4 sum = {HALF, HALF, HALF, HALF};
    for (int32_t t = 0; t < taps[i].n; t++, pixel += 3) {
      u8x4 bytes; /* R G B and one byte of the next pixel, ignored */
      memcpy(&bytes, pixel, sizeof bytes);
      sum += __builtin_convertvector(bytes, i32x4) * taps[i].weights[t];
    }
    sum >>= MQ_RESAMPLE_BITS;
    const i32x4 is_over = sum > 255;
    sum = (sum & ~is_over) | (is_over & 255);
    const u8x4 bytes = __builtin_convertvector(sum, u8x4);
    memcpy(out, &bytes, 3);
  }
}

static void across(uint8_t *out, const uint8_t *row, const struct mq_taps *taps, int64_t n_out,
                   int64_t n_channels) {
  if (n_channels == 3) {
    across_rgb(out, row, taps, n_out);
    return;
  }
  for (int64_t i = 0; i < n_out; i++) {
    for (int64_t c = 0; c < n_channels; c++) {
      const uint8_t *pixel = row + (int64_t)taps[i].first * n_channels + c;
      int32_t sum = HALF;
      for (int32_t t = 0; t < taps[i].n; t++) {
        sum += pixel[t * n_channels] * taps[i].weights[t];
      }
      sum >>= MQ_RESAMPLE_BITS;
      *out++ = (uint8_t)(sum > 255 ? 255 : sum);
    }
  }
}

static void down(uint8_t *out, const uint8_t *rows, int64_t stride, const struct mq_taps *taps,
                 int64_t n_bytes) {
  for (int64_t i = 0; i < n_bytes; i += 16) {
    i32x16 sum = {0};
    sum += HALF;
    for (int32_t t = 0; t < taps->n; t++) {
      u8x16 bytes;
      memcpy(&bytes, rows + t * stride + i, sizeof bytes);
      sum += __builtin_convertvector(bytes, i32x16) * taps->weights[t];
    }
    sum >>= MQ_RESAMPLE_BITS;
    const i32x16 is_over = sum > 255;
    sum = (sum & ~is_over) | (is_over & 255);
    const u8x16 bytes = __builtin_convertvector(sum, u8x16);
    memcpy(out + i, &bytes, (size_t)(n_bytes - i < 16 ? n_bytes - i : 16));
  }
}

const struct mq_simd_resample MQ_SIMD_NAME(mq_simd_resample) = {.across = across, .down = down};
