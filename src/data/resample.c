/* Bilinear resize with antialias, the arithmetic of Pillow's Image.resize(BILINEAR) for 8-bit images.
 *
 * Output position i of a side resized from n_in to n_out looks at centre = (i + 0.5) scale, scale = n_in /
 * n_out, through a triangle of half width max(scale, 1). Its weights are formed in double, divided by their
 * sum, and rounded to 22 fractional bits. Across comes first, then down; each pass rounds to uint8. */
#include "data/resample.h"

#include <math.h>
#include <string.h>

#include "data/simd/resample.h"

/* The taps of positions first..first+n-1 of one side. */
struct side {
  struct mq_taps *taps;
  int32_t *weights;
};

static void side_deinit(struct side *side) {
  mq_free(side->taps);
  mq_free(side->weights);
}

static void fill_taps(struct mq_taps *taps, int32_t *weights, double *exact, int64_t i, double scale,
                      int64_t n_in) {
  const double stretch = scale < 1 ? 1 : scale, centre = ((double)i + 0.5) * scale;
  int64_t begin = (int64_t)(centre - stretch + 0.5), end = (int64_t)(centre + stretch + 0.5);
  begin = begin < 0 ? 0 : begin;
  end = end > n_in ? n_in : end;
  double sum = 0;
  for (int64_t x = begin; x < end; x++) {
    const double distance = fabs(((double)x - centre + 0.5) * (1.0 / stretch));
    exact[x - begin] = distance < 1 ? 1 - distance : 0;
    sum += exact[x - begin];
  }
  for (int64_t t = 0; t < end - begin; t++) {
    const double weight = sum != 0 ? exact[t] / sum : exact[t];
    weights[t] = (int32_t)(0.5 + weight * (1 << MQ_RESAMPLE_BITS));
  }
  *taps = (struct mq_taps){(int32_t)begin, (int32_t)(end - begin), weights};
}

static mq_status side_init(struct side *side, int64_t n_in, int64_t n_out, int64_t first, int64_t n,
                           struct mq_err *err) {
  const double scale = (double)n_in / (double)n_out;
  const size_t most = (size_t)ceil(scale < 1 ? 1 : scale) * 2 + 1;
  double *exact = mq_alloc(most, sizeof *exact);
  side->taps = mq_alloc((size_t)n, sizeof *side->taps);
  side->weights = mq_alloc((size_t)n * most, sizeof *side->weights);
  const bool is_ready = exact && side->taps && side->weights;
  for (int64_t i = 0; i < n && is_ready; i++) {
    fill_taps(&side->taps[i], side->weights + (size_t)i * most, exact, first + i, scale, n_in);
  }
  mq_free(exact);
  return is_ready ? MQ_OK : mq_fail_memory(err, "resize");
}

mq_status mq_resample(uint8_t *out, int64_t out_stride, const struct mq_image *image,
                      const struct mq_resample_window *window, struct mq_err *err) {
  const struct mq_simd_resample *simd = mq_simd_resample_at(mq_simd_level_used());
  const int64_t channels = image->channels, stride = window->width * channels;
  const int64_t image_stride = window->image_stride ? window->image_stride : image->width * channels;
  struct side x = {0}, y = {0};
  uint8_t *between = NULL;
  mq_status status = side_init(&x, image->width, window->size[1], window->left, window->width, err);
  if (status == MQ_OK) {
    status = side_init(&y, image->height, window->size[0], window->top, window->height, err);
  }
  if (status != MQ_OK) {
    goto done;
  }
  /* Only the rows that the second pass reads. */
  const struct mq_taps *last = &y.taps[window->height - 1];
  const int64_t row0 = y.taps[0].first, n_rows = last->first + last->n - row0;
  between = mq_alloc((size_t)(n_rows * stride) + MQ_IMAGE_SLACK_BYTES, 1);
  if (!between) {
    status = mq_fail_memory(err, "resize");
    goto done;
  }
  for (int64_t row = 0; row < n_rows; row++) {
    simd->across(between + row * stride, image->pixels + (row0 + row) * image_stride, x.taps, window->width,
                 channels);
  }
  for (int64_t row = 0; row < window->height; row++) {
    simd->down(out + row * out_stride, between + (y.taps[row].first - row0) * stride, stride, &y.taps[row],
               stride);
  }
done:
  side_deinit(&x);
  side_deinit(&y);
  mq_free(between);
  return status;
}
