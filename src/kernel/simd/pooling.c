#include "kernel/simd/pooling.h"

/* Channels at once: a block that stays in registers while the window passes by. */
#define BLOCK 64

/* `n` is BLOCK where it can be, a constant that lets the block live in registers. */
static inline void max_block(float *y, const struct mq_simd_window *window, int64_t first, int64_t n) {
  float best[BLOCK];
  for (int64_t c = 0; c < n; c++)
    best[c] = window->x[first + c];
  for (int64_t h = 0; h < window->n_rows; h++)
    for (int64_t w = 0; w < window->n_columns; w++) {
      const float *x = window->x + h * window->row_step + w * window->column_step + first;
      for (int64_t c = 0; c < n; c++)
        best[c] = best[c] >= x[c] || best[c] != best[c] ? best[c] : x[c];
    }
  for (int64_t c = 0; c < n; c++)
    y[first + c] = best[c];
}

static void max(float *y, const struct mq_simd_window *window, int64_t channels) {
  int64_t c = 0;
  for (; c + BLOCK <= channels; c += BLOCK)
    max_block(y, window, c, BLOCK);
  if (c < channels) max_block(y, window, c, channels - c);
}

static inline void average_block(float *y, const struct mq_simd_window *window, int64_t first, int64_t n,
                                 float divisor) {
  float sum[BLOCK];
  for (int64_t c = 0; c < n; c++)
    sum[c] = 0.0f;
  for (int64_t h = 0; h < window->n_rows; h++)
    for (int64_t w = 0; w < window->n_columns; w++) {
      const float *x = window->x + h * window->row_step + w * window->column_step + first;
      for (int64_t c = 0; c < n; c++)
        sum[c] += x[c];
    }
  for (int64_t c = 0; c < n; c++)
    y[first + c] = sum[c] / divisor;
}

static void average(float *y, const struct mq_simd_window *window, int64_t channels, float divisor) {
  int64_t c = 0;
  for (; c + BLOCK <= channels; c += BLOCK)
    average_block(y, window, c, BLOCK, divisor);
  if (c < channels) average_block(y, window, c, channels - c, divisor);
}

const struct mq_simd_pooling MQ_SIMD_NAME(mq_simd_pooling) = {.max = max, .average = average};
