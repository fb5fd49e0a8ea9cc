/* ColorJitter's operations (torchvision, transforms/_functional_tensor.py) on planes of float32. */
#include "data/simd/colour.h"

#define LANES 8

static inline float clip(float x) {
  x = x < 0 ? 0 : x;
  return x > 1 ? 1 : x;
}

static inline float grey_of(float r, float g, float b) {
  return (0.2989f * r + 0.587f * g) + 0.114f * b;
}

static void load(struct mq_colour_block *block, const uint8_t *pixels) {
  const int64_t n = block->n;
  if (block->n_channels == 1) {
    for (int64_t i = 0; i < n; i++) {
      block->plane[0][i] = (float)pixels[i] / 255.0f;
    }
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    block->plane[0][i] = (float)pixels[3 * i] / 255.0f;
    block->plane[1][i] = (float)pixels[3 * i + 1] / 255.0f;
    block->plane[2][i] = (float)pixels[3 * i + 2] / 255.0f;
  }
}

static void blend(struct mq_colour_block *block, float part, float rest) {
  for (int64_t c = 0; c < block->n_channels; c++) {
    float *x = block->plane[c];
    MQ_SIMD_INDEPENDENT
    for (int i = 0; i < MQ_COLOUR_BLOCK; i++) {
      x[i] = clip(part * x[i] + rest);
    }
  }
}

static void blend_grey(struct mq_colour_block *block, float part, float rest) {
  float *r = block->plane[0], *g = block->plane[1], *b = block->plane[2];
  if (block->n_channels == 1) {
    return;
  }
  MQ_SIMD_INDEPENDENT
  for (int i = 0; i < MQ_COLOUR_BLOCK; i++) {
    const float grey = rest * grey_of(r[i], g[i], b[i]);
    r[i] = clip(part * r[i] + grey);
    g[i] = clip(part * g[i] + grey);
    b[i] = clip(part * b[i] + grey);
  }
}

/* One channel from hue (in sixths of a turn, 0..6), value and chroma = value * saturation: the ramp
 * value - chroma max(0, min(k, 4 - k, 1)) with k = (offset + hue) mod 6; offset is 5, 3, 1 for R, G, B. Equal
 * to the table of six cases that torchvision has. */
static inline float ramp(float offset, float hue, float value, float chroma) {
  float k = offset + hue;
  k = k >= 6 ? k - 6 : k;
  const float other = 4 - k;
  return clip(value - chroma * clip(k < other ? k : other));
}

static void turn_hue(struct mq_colour_block *block, float turns) {
  float *r = block->plane[0], *g = block->plane[1], *b = block->plane[2];
  if (block->n_channels == 1) {
    return;
  }
  MQ_SIMD_INDEPENDENT
  for (int i = 0; i < MQ_COLOUR_BLOCK; i++) {
    const float red = r[i], green = g[i], blue = b[i];
    float most = red > green ? red : green, least = red < green ? red : green;
    most = blue > most ? blue : most;
    least = blue < least ? blue : least;
    const float chroma = most - least, divisor = chroma > 0 ? chroma : 1;
    const float of_red = (green - blue) / divisor, of_green = 2 + (blue - red) / divisor,
                of_blue = 4 + (red - green) / divisor;
    float hue = most == green ? of_green : of_blue;
    hue = (most == red ? of_red : hue) / 6 + turns;
    hue = hue < 0 ? hue + 1 : hue; /* -1/6 - 1/2 .. 5/6 + 1/2 */
    hue = (hue >= 1 ? hue - 1 : hue) * 6;
    r[i] = ramp(5, hue, most, chroma);
    g[i] = ramp(3, hue, most, chroma);
    b[i] = ramp(1, hue, most, chroma);
  }
}

static double sum_grey(const struct mq_colour_block *block) {
  const float *r = block->plane[0], *g = block->plane[1], *b = block->plane[2];
  double lanes[LANES] = {0};
  for (int64_t i = 0; i < block->n; i++) {
    const float grey = block->n_channels == 1 ? r[i] : grey_of(r[i], g[i], b[i]);
    lanes[i % LANES] += (double)grey;
  }
  double sum = 0;
  for (int i = 0; i < LANES; i++) {
    sum += lanes[i];
  }
  return sum;
}

static void store(float *out, const struct mq_colour_block *block, const int channel_of[3],
                  const float mean[3], const float std[3]) {
  const int64_t n = block->n, n_channels = block->n_channels;
  for (int64_t c = 0; c < n_channels; c++) {
    const float *x = block->plane[n_channels == 1 ? 0 : channel_of[c]];
    for (int64_t i = 0; i < n; i++) {
      out[i * n_channels + c] = (x[i] - mean[c]) / std[c];
    }
  }
}

const struct mq_simd_colour MQ_SIMD_NAME(mq_simd_colour) = {.load = load,
                                                            .blend = blend,
                                                            .blend_grey = blend_grey,
                                                            .turn_hue = turn_hue,
                                                            .sum_grey = sum_grey,
                                                            .store = store};
