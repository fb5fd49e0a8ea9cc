/* Gradients of pools: window after window in row-major order adds to the pixels it was made of. */
#include <assert.h>
#include <string.h>

#include "kernel/pooling.h"
#include "kernel/simd/pooling_backward.h"

size_t mq_pooling_backward_scratch_bytes(const struct mq_pooling *pooling) {
  (void)pooling;
  return 0;
}

static void clear(float *dx, bool adds, int64_t n) {
  if (!adds && n > 0) memset(dx, 0, (size_t)n * sizeof *dx);
}

/* dx, image: of one image. */
static void spread_pixel(const struct mq_simd_pooling_backward *table, const struct mq_pooling_desc *desc,
                         float *dx, const float *dy, const float *image, struct mq_pooling_taps rows,
                         struct mq_pooling_taps columns) {
  const int64_t channels = desc->input.dim[1];
  if (rows.n == 0 || columns.n == 0) return;
  const struct mq_simd_window window = mq_pooling_window(desc, image, rows, columns);
  float *to = dx + (window.x - image);
  if (desc->kind == MQ_POOLING_MAX)
    table->max(to, dy, &window, channels);
  else
    table->average(to, dy, &window, channels, (double)mq_pooling_divisor(desc, rows, columns));
}

mq_status mq_pooling_backward(const struct mq_pooling *pooling, float *dx, bool adds, const float *dy,
                              const float *x, void *scratch, struct mq_err *err) {
  const struct mq_pooling_desc *desc = &pooling->desc;
  const struct mq_simd_pooling_backward *table = mq_simd_pooling_backward_at(mq_simd_level_used());
  const int64_t channels = desc->input.dim[1], height = desc->input.dim[2], width = desc->input.dim[3];
  (void)scratch;
  if (desc->kind == MQ_POOLING_MAX && height * width > INT32_MAX)
    return mq_fail(err, MQ_BAD_INPUT,
                   "gradient of a maximum pool: an image of %lld pixels, expected at most %lld",
                   (long long)(height * width), (long long)INT32_MAX);
  clear(dx, adds, mq_shape_count(&desc->input));
  for (int64_t n = 0; n < desc->input.dim[0]; n++) {
    const int64_t image = n * channels * height * width;
    /* An average needs only addresses of x, which may be NULL then. */
    const float *from = desc->kind == MQ_POOLING_MAX ? x + image : dx + image;
    for (int64_t oh = 0; oh < pooling->output.dim[2]; oh++) {
      const struct mq_pooling_taps rows = mq_pooling_find_taps(desc, 0, oh);
      for (int64_t ow = 0; ow < pooling->output.dim[3]; ow++, dy += channels)
        spread_pixel(table, desc, dx + image, dy, from, rows, mq_pooling_find_taps(desc, 1, ow));
    }
  }
  return MQ_OK;
}

/* A whole image as one window. */
static struct mq_simd_window whole_image(const float *image, int64_t pixels, int64_t channels) {
  return (struct mq_simd_window){.x = image, .n_rows = 1, .n_columns = pixels, .column_step = channels};
}

void mq_global_average_backward(float *dx, bool adds, const float *dy, int64_t n, int64_t pixels,
                                int64_t channels) {
  const struct mq_simd_pooling_backward *table = mq_simd_pooling_backward_at(mq_simd_level_used());
  clear(dx, adds, n * pixels * channels);
  for (int64_t i = 0; i < n; i++, dx += pixels * channels, dy += channels) {
    const struct mq_simd_window window = whole_image(dx, pixels, channels);
    table->average(dx, dy, &window, channels, (double)pixels);
  }
}

void mq_global_max_backward(float *dx, bool adds, const float *dy, const float *x, int64_t n, int64_t pixels,
                            int64_t channels) {
  const struct mq_simd_pooling_backward *table = mq_simd_pooling_backward_at(mq_simd_level_used());
  assert(pixels <= INT32_MAX);
  clear(dx, adds, n * pixels * channels);
  for (int64_t i = 0; i < n; i++, dx += pixels * channels, x += pixels * channels, dy += channels) {
    const struct mq_simd_window window = whole_image(x, pixels, channels);
    table->max(dx, dy, &window, channels);
  }
}
