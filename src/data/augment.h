/* Random views of an image: what is drawn, and what is made of it. The two are apart, so that each can be
 * checked alone. */
#ifndef MQ_DATA_AUGMENT_H
#define MQ_DATA_AUGMENT_H

#include "data/image.h"
#include "data/transform.h"

typedef enum mq_colour_op {
  MQ_COLOUR_BRIGHTNESS,
  MQ_COLOUR_CONTRAST,
  MQ_COLOUR_SATURATION,
  MQ_COLOUR_HUE,
  MQ_COLOUR_COUNT
} mq_colour_op;

struct mq_augment_draw {
  /* The part of the image that is taken. It may stick out where its size is that of the result: what lies
   * outside is black. */
  int64_t top, left, height, width;
  bool is_flipped;
  int n_ops;
  mq_colour_op order[MQ_COLOUR_COUNT]; /* n_ops of them, the first one first */
  double factor[MQ_COLOUR_COUNT];      /* by operation; hue: in turns */
};

/* MQ_BAD_USAGE unless every range makes sense; with is_float also where pixels would have to be 8-bit. */
mq_status mq_augment_check(const struct mq_augment *augment, bool is_float, struct mq_err *err) MQ_MUST_CHECK;

/* The draws of one image in one epoch. `from` is the height and width of the image that is cut, `to` that of
 * the result. */
void mq_augment_draw(struct mq_augment_draw *draw, const struct mq_augment *augment, const int64_t from[2],
                     const int64_t to[2], uint64_t seed, uint64_t epoch, int64_t index);

/* Cuts out, resizes where the size differs, and flips, into out[size[0] x size[1] x channels]. */
mq_status mq_augment_geometry(uint8_t *out, const int64_t size[2], const struct mq_image *image,
                              const struct mq_augment_draw *draw, struct mq_err *err) MQ_MUST_CHECK;
/* The same for floats, without resizing: draw's size is `size`. */
void mq_augment_floats(float *out, const int64_t size[2], const float *pixels, const int64_t from[2],
                       int64_t n_channels, const struct mq_augment_draw *draw);
/* The drawn colour operations on pixel / 255, then mean and std, into out[n_pixels x n_channels]. */
void mq_augment_colours(float *out, const uint8_t *pixels, int64_t n_pixels, int64_t n_channels,
                        const struct mq_augment_draw *draw, const struct mq_normalise *normalise);

#endif
