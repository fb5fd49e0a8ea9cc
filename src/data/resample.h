/* Bilinear resize with antialias of 8-bit images, equal to Pillow's. */
#ifndef MQ_DATA_RESAMPLE_H
#define MQ_DATA_RESAMPLE_H

#include "data/image.h"

/* A window of the resized image: size is that of the whole resized image; rows top..top+height-1 and columns
 * left..left+width-1 of it are computed, all within it. */
struct mq_resample_window {
  int64_t size[2];
  int64_t top, left, height, width;
  int64_t image_stride; /* bytes from row to row of the image; 0: its width x channels */
};
/* Row y of the window starts at out + y * out_stride; at least width * channels bytes each. */
mq_status mq_resample(uint8_t *out, int64_t out_stride, const struct mq_image *image,
                      const struct mq_resample_window *window, struct mq_err *err) MQ_MUST_CHECK;

#endif
