#include "kernel/simd/pooling_backward.h"

#include "kernel/simd/values.h"

/* Channels at once: a block that stays in registers while the window passes by. */
#define BLOCK 32

/* Where the first largest value of a window is, channel by channel; NaN counts as largest, as in the forward
 * pass. `n` is BLOCK where it can be, a constant that lets the block live in registers. */
MQ_ALWAYS_INLINE void find_max(int32_t *at, const struct mq_simd_window *window, int64_t first, int64_t n) {
  float best[BLOCK];
  int32_t where[BLOCK];
  for (int64_t c = 0; c < n; c++)
    best[c] = window->x[first + c], where[c] = 0;
  int32_t pixel = 0;
  for (int64_t h = 0; h < window->n_rows; h++)
    for (int64_t w = 0; w < window->n_columns; w++, pixel++) {
      const float *x = window->x + h * window->row_step + w * window->column_step + first;
      for (int64_t c = 0; c < n; c++) {
        const float old = best[c], v = x[c];
        const bool stays = (old >= v) | (old != old);
        best[c] = stays ? old : v;
        where[c] = stays ? where[c] : pixel;
      }
    }
  for (int64_t c = 0; c < n; c++)
    at[c] = where[c];
}

MQ_ALWAYS_INLINE void max_block(float *dx, const float *dy, const struct mq_simd_window *window,
                                int64_t first, int64_t n) {
  int32_t at[BLOCK];
  find_max(at, window, first, n);
  int32_t pixel = 0;
  for (int64_t h = 0; h < window->n_rows; h++)
    for (int64_t w = 0; w < window->n_columns; w++, pixel++) {
      float *to = dx + h * window->row_step + w * window->column_step + first;
      MQ_SIMD_INDEPENDENT
      for (int64_t c = 0; c < n; c++) {
        const float g = dy[first + c];
        to[c] += at[c] == pixel ? g : 0.0f;
      }
    }
}

static void max(float *dx, const float *dy, const struct mq_simd_window *window, int64_t channels) {
  int64_t c = 0;
  for (; c + BLOCK <= channels; c += BLOCK)
    max_block(dx, dy, window, c, BLOCK);
  if (c < channels) max_block(dx, dy, window, c, channels - c);
}

/* dy / divisor, rounded once. */
MQ_ALWAYS_INLINE void average_block(float *dx, const float *dy, const struct mq_simd_window *window,
                                    int64_t first, int64_t n, double divisor) {
  float share[BLOCK];
  for (int64_t c = 0; c < n; c++)
    share[c] = (float)((double)dy[first + c] / divisor);
  for (int64_t h = 0; h < window->n_rows; h++)
    for (int64_t w = 0; w < window->n_columns; w++) {
      float *to = dx + h * window->row_step + w * window->column_step + first;
      MQ_SIMD_INDEPENDENT
      for (int64_t c = 0; c < n; c++)
        to[c] += share[c];
    }
}

static void average(float *dx, const float *dy, const struct mq_simd_window *window, int64_t channels,
                    double divisor) {
  int64_t c = 0;
  for (; c + BLOCK <= channels; c += BLOCK)
    average_block(dx, dy, window, c, BLOCK, divisor);
  if (c < channels) average_block(dx, dy, window, c, channels - c, divisor);
}

const struct mq_simd_pooling_backward MQ_SIMD_NAME(mq_simd_pooling_backward) = {.max = max,
                                                                                .average = average};
