/* 8-bit images in memory: from JPEG or PNG bytes, and their geometry. */
#ifndef MQ_DATA_IMAGE_H
#define MQ_DATA_IMAGE_H

#include "mqbench/data.h"

#define MQ_IMAGE_MAX_PIXELS ((int64_t)64 << 20)
#define MQ_IMAGE_MAX_SIDE 65535 /* keeps the resampling sums within 32 bits */
/* Readable bytes behind the last pixel, so that vector loops may load past it. */
#define MQ_IMAGE_SLACK_BYTES 64

struct mq_image {
  uint8_t *pixels; /* owned (mq_free), height x width x channels */
  int64_t height, width, channels;
  bool is_damaged; /* the file ended early or its data are corrupt: decoded as far as it went */
};

/* Allocates pixels (zeroed) and their slack; `name` is for the message. */
mq_status mq_image_init(struct mq_image *image, int64_t height, int64_t width, int64_t channels,
                        const char *name, struct mq_err *err) MQ_MUST_CHECK;
void mq_image_deinit(struct mq_image *image);

bool mq_image_is_jpeg(const uint8_t *bytes, size_t n);
bool mq_image_is_png(const uint8_t *bytes, size_t n);
/* JPEG or PNG, told by their first bytes, as 3 channels R G B (grey is repeated, alpha dropped, 16 bits give
 * their high byte). Equal to Pillow's decoder and its convert("RGB"), after ImageOps.exif_transpose unless
 * ignores_exif. A broken header is MQ_BAD_INPUT naming `name`. */
mq_status mq_image_decode(struct mq_image *image, const uint8_t *bytes, size_t n, bool ignores_exif,
                          const char *name, struct mq_err *err) MQ_MUST_CHECK;
/* Only its height and width, after EXIF orientation. */
mq_status mq_image_peek(int64_t size[2], const uint8_t *bytes, size_t n, bool ignores_exif, const char *name,
                        struct mq_err *err) MQ_MUST_CHECK;
/* PNG bytes of an image of 1 or 3 channels, freed with mq_free. */
mq_status mq_image_encode_png(uint8_t **bytes, size_t *n, const struct mq_image *image,
                              struct mq_err *err) MQ_MUST_CHECK;

/* The decoders of the two formats; pixels == NULL in `image` on failure. With is_header_only no pixels. */
mq_status mq_jpeg_decode(struct mq_image *image, const uint8_t *bytes, size_t n, bool ignores_exif,
                         bool is_header_only, const char *name, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_png_decode(struct mq_image *image, const uint8_t *bytes, size_t n, bool is_header_only,
                        const char *name, struct mq_err *err) MQ_MUST_CHECK;

/* EXIF orientation 1..8 of an APP1 segment's bytes ("Exif\0\0..."); 1 when there is none. */
int mq_exif_orientation(const uint8_t *segment, size_t n);
/* Turns the image upright in place of itself. */
mq_status mq_image_orient(struct mq_image *image, int orientation, const char *name,
                          struct mq_err *err) MQ_MUST_CHECK;
#endif
