/* The sums of a block of channels stay in registers while the row passes. */
#include "kernel/simd/depthwise_gradient.h"

#include "kernel/simd/vector.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define MAX_SUMS 9
#define FLOATS_PER_LINE 16

/* The rows [h, h + n_rows) and taps [k, k + n_taps) of the window. */
struct part {
  int h, n_rows;
  int64_t k, n_taps;
  bool fetches;
};

/* In step with what is computed, since hardware does not follow this many streams: floats [at, at + MQ_LANES)
 * of what comes next. */
ALWAYS_INLINE void fetch(const struct mq_simd_depthwise_gradient_rows *rows, int64_t at) {
  if (at % FLOATS_PER_LINE != 0) return;
  __builtin_prefetch(rows->next_dy + at, 0, 2);
  for (int64_t i = 0; i < rows->x_lines; i++)
    __builtin_prefetch(rows->next_x + at * rows->x_lines + i * FLOATS_PER_LINE, 0, 2);
}

/* Pixels [first, last), one vector of channels. n_rows, n_taps and is_inside (all windows lie inside the row)
 * are constants where this is called. */
ALWAYS_INLINE void sum_pixels(mq_vec sum[MAX_SUMS], const struct mq_simd_depthwise_gradient_rows *rows,
                              int64_t first, int64_t last, int64_t c, struct part part, bool is_inside) {
  const int64_t channels = rows->channels, n_taps = part.n_taps;
  const int n_sums = part.n_rows * (int)n_taps;
  for (int64_t ow = first; ow < last; ow++) {
    const int64_t begin = ow * rows->stride - rows->pad + part.k * rows->dilation;
    const mq_vec v = mq_load(rows->dy + ow * channels + c);
    if (part.fetches) fetch(rows, c * rows->width_out + ow * MQ_LANES);
    MQ_SIMD_UNROLL
    for (int i = 0; i < n_sums; i++) {
      const int64_t iw = begin + i % n_taps * rows->dilation;
      if (is_inside || (iw >= 0 && iw < rows->width_in))
        sum[i] = mq_multiply_add(v, mq_load(rows->x[part.h + i / n_taps] + iw * channels + c), sum[i]);
    }
  }
}

/* The whole row; windows of pixels [first, last) lie inside. */
ALWAYS_INLINE void sum_vector(mq_vec sum[MAX_SUMS], const struct mq_simd_depthwise_gradient_rows *rows,
                              int64_t first, int64_t last, int64_t c, struct part part) {
  sum_pixels(sum, rows, 0, first, c, part, false);
  sum_pixels(sum, rows, first, last, c, part, true);
  sum_pixels(sum, rows, last, rows->width_out, c, part, false);
}

/* Where the sum of one row and tap of the part goes. */
ALWAYS_INLINE float *gradient_of(const struct mq_simd_depthwise_gradient_rows *rows, int i,
                                 struct part part) {
  return rows->gradient[part.h + i / part.n_taps] + (part.k + i % part.n_taps) * rows->channels;
}

ALWAYS_INLINE void add_vector(const struct mq_simd_depthwise_gradient_rows *rows, int64_t first, int64_t last,
                              int64_t c, struct part part) {
  const int n_sums = part.n_rows * (int)part.n_taps;
  mq_vec sum[MAX_SUMS];
  MQ_SIMD_UNROLL
  for (int i = 0; i < n_sums; i++)
    sum[i] = mq_load(gradient_of(rows, i, part) + c);
  sum_vector(sum, rows, first, last, c, part);
  MQ_SIMD_UNROLL
  for (int i = 0; i < n_sums; i++)
    mq_store(gradient_of(rows, i, part) + c, sum[i]);
}

/* Channels from c on, fewer than a vector: the last whole vector is summed up apart. */
ALWAYS_INLINE void add_last(const struct mq_simd_depthwise_gradient_rows *rows, int64_t first, int64_t last,
                            int64_t c, struct part part) {
  const int n_sums = part.n_rows * (int)part.n_taps;
  const int64_t begin = rows->channels - MQ_LANES;
  float zeros[MQ_LANES] = {0}, lanes[MQ_LANES];
  mq_vec sum[MAX_SUMS];
  MQ_SIMD_UNROLL
  for (int i = 0; i < n_sums; i++)
    sum[i] = mq_load(zeros);
  sum_vector(sum, rows, first, last, begin, part);
  for (int i = 0; i < n_sums; i++) {
    float *gradient = gradient_of(rows, i, part);
    mq_store(lanes, sum[i]);
    for (int64_t k = c; k < rows->channels; k++)
      gradient[k] += lanes[k - begin];
  }
}

/* Fewer channels than a vector has lanes. */
static void add_scalar(const struct mq_simd_depthwise_gradient_rows *rows, int64_t c, struct part part) {
  const int64_t channels = rows->channels;
  for (int i = 0; i < part.n_rows * (int)part.n_taps; i++) {
    const float *x = rows->x[part.h + i / part.n_taps];
    const int64_t offset = (part.k + i % part.n_taps) * rows->dilation - rows->pad;
    float *gradient = gradient_of(rows, i, part) + c;
    for (int64_t ow = 0; ow < rows->width_out; ow++) {
      const int64_t iw = ow * rows->stride + offset;
      if (iw >= 0 && iw < rows->width_in)
        *gradient = mq_multiply_add_1(rows->dy[ow * channels + c], x[iw * channels + c], *gradient);
    }
  }
}

ALWAYS_INLINE void add_part(const struct mq_simd_depthwise_gradient_rows *rows, int64_t first, int64_t last,
                            struct part part) {
  int64_t c = 0;
  for (; c + MQ_LANES <= rows->channels; c += MQ_LANES)
    add_vector(rows, first, last, c, part);
  if (c < rows->channels && rows->channels >= MQ_LANES)
    add_last(rows, first, last, c, part);
  else
    for (; c < rows->channels; c++)
      add_scalar(rows, c, part);
}

/* A row of the window, five, three or one tap at a time. */
static void add_row(const struct mq_simd_depthwise_gradient_rows *rows, int64_t first, int64_t last, int h) {
  const bool fetches = h == 0 && rows->next_x != NULL;
  int64_t k = 0;
  for (; k + 5 <= rows->kernel; k += 5)
    add_part(rows, first, last, (struct part){h, 1, k, 5, fetches && k == 0});
  for (; k + 3 <= rows->kernel; k += 3)
    add_part(rows, first, last, (struct part){h, 1, k, 3, fetches && k == 0});
  for (; k < rows->kernel; k++)
    add_part(rows, first, last, (struct part){h, 1, k, 1, fetches && k == 0});
}

static void run_rows(const struct mq_simd_depthwise_gradient_rows *rows) {
  const int64_t reach = (rows->kernel - 1) * rows->dilation, width = rows->width_out;
  int64_t first = 0, last = width;
  while (first < width && first * rows->stride < rows->pad)
    first++;
  while (last > first && (last - 1) * rows->stride - rows->pad + reach >= rows->width_in)
    last--;
  if (rows->n_rows == 3 && rows->kernel == 3) {
    add_part(rows, first, last, (struct part){0, 3, 0, 3, rows->next_x != NULL});
    return;
  }
  for (int h = 0; h < rows->n_rows; h++)
    add_row(rows, first, last, h);
}

const struct mq_simd_depthwise_gradient MQ_SIMD_NAME(mq_simd_depthwise_gradient) = {.rows = run_rows};
