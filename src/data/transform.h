/* From a decoded image to what the model sees: resize, centre crop, normalise. */
#ifndef MQ_DATA_TRANSFORM_H
#define MQ_DATA_TRANSFORM_H

#include "data/image.h"

/* Height and width after resize and crop of an image of h x w; {-1, -1} components where h or w is -1
 * (unknown) and they depend on it. */
void mq_transform_size(int64_t size[2], const struct mq_preprocess *preprocess, int64_t h, int64_t w);
/* Resizes and crops into out[size[0] x size[1] x channels]; crop larger than the image leaves a black frame.
 */
mq_status mq_transform_geometry(uint8_t *out, const struct mq_image *image,
                                const struct mq_preprocess *preprocess, struct mq_err *err) MQ_MUST_CHECK;

/* value[c][v] = (v / 255 - mean[c]) / std[c]: three float32 operations in this order. */
struct mq_normalise {
  float value[3][256];   /* by output channel */
  float mean[3], std[3]; /* by output channel */
  int channel_of[3];     /* source channel of output channel c */
};
void mq_normalise_init(struct mq_normalise *normalise, const struct mq_preprocess *preprocess,
                       int64_t n_channels);
void mq_normalise_apply(float *out, const uint8_t *pixels, int64_t n_pixels, int64_t n_channels,
                        const struct mq_normalise *normalise);

#endif
