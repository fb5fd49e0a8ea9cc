/* Colour operations on blocks of pixels: torchvision's tensor formulas in float32. */
#ifndef MQ_DATA_SIMD_COLOUR_H
#define MQ_DATA_SIMD_COLOUR_H

#include "kernel/simd.h"

#define MQ_COLOUR_BLOCK 256

/* n pixels of 1 or 3 channels (R G B), each 0..1. What lies behind pixel n is worked on, but never used. */
struct mq_colour_block {
  int64_t n, n_channels;
  float plane[3][MQ_COLOUR_BLOCK];
};

struct mq_simd_colour {
  /* plane[c][i] = pixels[i][c] / 255 */
  void (*load)(struct mq_colour_block *block, const uint8_t *pixels);
  /* x = part x + rest, clipped to 0..1: brightness (rest 0) and contrast */
  void (*blend)(struct mq_colour_block *block, float part, float rest);
  /* x = part x + rest grey, clipped, grey = 0.2989 R + 0.587 G + 0.114 B: saturation; one channel: nothing */
  void (*blend_grey)(struct mq_colour_block *block, float part, float rest);
  /* To hue, saturation, value; hue + turns; back. One channel: nothing. */
  void (*turn_hue)(struct mq_colour_block *block, float turns);
  /* Sum of grey (of the one channel), in double, in a fixed order. */
  double (*sum_grey)(const struct mq_colour_block *block);
  /* out[i][c] = (plane[channel_of[c]][i] - mean[c]) / std[c] */
  void (*store)(float *out, const struct mq_colour_block *block, const int channel_of[3], const float mean[3],
                const float std[3]);
};
MQ_SIMD_DECLARE(mq_simd_colour)

#endif
