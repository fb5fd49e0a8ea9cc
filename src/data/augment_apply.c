/* What is made of a draw: crop, resize, flip on 8-bit pixels, then colours on floats. */
#include <assert.h>
#include <string.h>

#include "data/augment.h"
#include "data/resample.h"
#include "data/simd/colour.h"

/* ---- Geometry ------------------------------------------------------------------------------------------ */

static inline void swap_pixels(uint8_t *left, uint8_t *right, size_t n) {
  for (; left < right; left += n, right -= n) {
    for (size_t i = 0; i < n; i++) {
      const uint8_t byte = left[i];
      left[i] = right[i];
      right[i] = byte;
    }
  }
}

static void flip(uint8_t *pixels, const int64_t size[2], size_t pixel_bytes) {
  const size_t row_bytes = (size_t)size[1] * pixel_bytes;
  for (int64_t y = 0; y < size[0]; y++, pixels += row_bytes) {
    uint8_t *last = pixels + row_bytes - pixel_bytes;
    if (pixel_bytes == 3) { /* constants, so that no loop over bytes is left */
      swap_pixels(pixels, last, 3);
    } else if (pixel_bytes == 1) {
      swap_pixels(pixels, last, 1);
    } else {
      swap_pixels(pixels, last, pixel_bytes);
    }
  }
}

/* A rectangle that may stick out of the image: zeros there. */
static void cut(uint8_t *out, const int64_t size[2], const uint8_t *pixels, const int64_t from[2],
                size_t pixel_bytes, const struct mq_augment_draw *draw) {
  const size_t row_bytes = (size_t)size[1] * pixel_bytes;
  int64_t first = draw->left < 0 ? -draw->left : 0, end = from[1] - draw->left;
  end = end > size[1] ? size[1] : end;
  for (int64_t y = 0; y < size[0]; y++, out += row_bytes) {
    const int64_t row = draw->top + y;
    if (row < 0 || row >= from[0] || first >= end) {
      memset(out, 0, row_bytes);
      continue;
    }
    const size_t before = (size_t)first * pixel_bytes, n = (size_t)(end - first) * pixel_bytes;
    memset(out, 0, before);
    memcpy(out + before, pixels + (size_t)(row * from[1] + draw->left + first) * pixel_bytes, n);
    memset(out + before + n, 0, row_bytes - before - n);
  }
}

mq_status mq_augment_geometry(uint8_t *out, const int64_t size[2], const struct mq_image *image,
                              const struct mq_augment_draw *draw, struct mq_err *err) {
  const size_t pixel_bytes = (size_t)image->channels;
  if (draw->height == size[0] && draw->width == size[1]) {
    cut(out, size, image->pixels, (int64_t[2]){image->height, image->width}, pixel_bytes, draw);
  } else {
    assert(draw->top >= 0 && draw->left >= 0 && draw->top + draw->height <= image->height &&
           draw->left + draw->width <= image->width);
    /* Weights end at the rectangle's border, as if it had been cut out before. */
    const struct mq_image part = {
        .pixels = image->pixels + (draw->top * image->width + draw->left) * image->channels,
        .height = draw->height,
        .width = draw->width,
        .channels = image->channels};
    const struct mq_resample_window whole = {.size = {size[0], size[1]},
                                             .height = size[0],
                                             .width = size[1],
                                             .image_stride = image->width * image->channels};
    const mq_status status = mq_resample(out, size[1] * image->channels, &part, &whole, err);
    if (status != MQ_OK) {
      return status;
    }
  }
  if (draw->is_flipped) {
    flip(out, size, pixel_bytes);
  }
  return MQ_OK;
}

void mq_augment_floats(float *out, const int64_t size[2], const float *pixels, const int64_t from[2],
                       int64_t n_channels, const struct mq_augment_draw *draw) {
  const size_t pixel_bytes = (size_t)n_channels * sizeof *pixels;
  assert(draw->height == size[0] && draw->width == size[1]);
  cut((uint8_t *)out, size, (const uint8_t *)pixels, from, pixel_bytes, draw);
  if (draw->is_flipped) {
    flip((uint8_t *)out, size, pixel_bytes);
  }
}

/* ---- Colours ------------------------------------------------------------------------------------------- */

/* The operations first..end-1 of the draw on one block; `grey`: what contrast blends with. */
static void run_ops(struct mq_colour_block *block, const struct mq_simd_colour *simd,
                    const struct mq_augment_draw *draw, int first, int end, double grey) {
  for (int i = first; i < end; i++) {
    const mq_colour_op op = draw->order[i];
    const double factor = draw->factor[op];
    const float part = (float)factor, rest = (float)(1 - factor);
    switch (op) {
      case MQ_COLOUR_BRIGHTNESS:
        simd->blend(block, part, 0);
        break;
      case MQ_COLOUR_CONTRAST:
        simd->blend(block, part, rest * (float)grey);
        break;
      case MQ_COLOUR_SATURATION:
        simd->blend_grey(block, part, rest);
        break;
      case MQ_COLOUR_HUE:
        simd->turn_hue(block, part);
        break;
      case MQ_COLOUR_COUNT:
        assert(false);
    }
  }
}

static int64_t block_size(int64_t n_left) {
  return n_left < MQ_COLOUR_BLOCK ? n_left : MQ_COLOUR_BLOCK;
}

/* The mean grey of the image as it is when contrast's turn comes, after the operations before it: they are
 * done again later, which is cheaper than keeping planes of floats. */
static double mean_grey(const uint8_t *pixels, int64_t n_pixels, int64_t n_channels,
                        const struct mq_augment_draw *draw, int n_before, const struct mq_simd_colour *simd) {
  struct mq_colour_block block = {.n_channels = n_channels};
  double sum = 0;
  for (int64_t i = 0; i < n_pixels; i += MQ_COLOUR_BLOCK) {
    block.n = block_size(n_pixels - i);
    simd->load(&block, pixels + i * n_channels);
    run_ops(&block, simd, draw, 0, n_before, 0);
    sum += simd->sum_grey(&block);
  }
  return sum / (double)n_pixels;
}

void mq_augment_colours(float *out, const uint8_t *pixels, int64_t n_pixels, int64_t n_channels,
                        const struct mq_augment_draw *draw, const struct mq_normalise *normalise) {
  if (draw->n_ops == 0) {
    mq_normalise_apply(out, pixels, n_pixels, n_channels, normalise);
    return;
  }
  const struct mq_simd_colour *simd = mq_simd_colour_at(mq_simd_level_used());
  struct mq_colour_block block = {.n_channels = n_channels};
  double grey = 0;
  for (int i = 0; i < draw->n_ops; i++) {
    if (draw->order[i] == MQ_COLOUR_CONTRAST) {
      grey = mean_grey(pixels, n_pixels, n_channels, draw, i, simd);
    }
  }
  for (int64_t i = 0; i < n_pixels; i += MQ_COLOUR_BLOCK) {
    block.n = block_size(n_pixels - i);
    simd->load(&block, pixels + i * n_channels);
    run_ops(&block, simd, draw, 0, draw->n_ops, grey);
    simd->store(out + i * n_channels, &block, normalise->channel_of, normalise->mean, normalise->std);
  }
}
