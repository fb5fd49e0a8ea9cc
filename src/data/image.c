/* Images: memory, format by magic bytes, EXIF orientation. */
#include "data/image.h"

#include <libexif/exif-data.h>
#include <string.h>

mq_status mq_image_init(struct mq_image *image, int64_t height, int64_t width, int64_t channels,
                        const char *name, struct mq_err *err) {
  memset(image, 0, sizeof *image);
  if (height < 1 || width < 1 || height > MQ_IMAGE_MAX_SIDE || width > MQ_IMAGE_MAX_SIDE ||
      height > MQ_IMAGE_MAX_PIXELS / width) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: image of %lld x %lld, expected sides from 1 to %d, %lld pixels",
                   name, (long long)width, (long long)height, MQ_IMAGE_MAX_SIDE,
                   (long long)MQ_IMAGE_MAX_PIXELS);
  }
  image->pixels = mq_alloc((size_t)(height * width * channels) + MQ_IMAGE_SLACK_BYTES, 1);
  if (!image->pixels) {
    return mq_fail_memory(err, name);
  }
  image->height = height;
  image->width = width;
  image->channels = channels;
  return MQ_OK;
}

void mq_image_deinit(struct mq_image *image) {
  mq_free(image->pixels);
  memset(image, 0, sizeof *image);
}

bool mq_image_is_jpeg(const uint8_t *bytes, size_t n) {
  return n >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

bool mq_image_is_png(const uint8_t *bytes, size_t n) {
  static const uint8_t magic[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  return n >= 8 && memcmp(bytes, magic, 8) == 0;
}

static mq_status decode_any(struct mq_image *image, const uint8_t *bytes, size_t n, bool ignores_exif,
                            bool is_header_only, const char *name, struct mq_err *err) {
  memset(image, 0, sizeof *image);
  if (mq_image_is_jpeg(bytes, n)) {
    return mq_jpeg_decode(image, bytes, n, ignores_exif, is_header_only, name, err);
  }
  if (mq_image_is_png(bytes, n)) {
    return mq_png_decode(image, bytes, n, is_header_only, name, err);
  }
  if (n == 0) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: empty file, expected a JPEG or PNG image", name);
  }
  return mq_fail(err, MQ_BAD_INPUT, "%s: begins with bytes %02x %02x %02x %02x, expected a JPEG or PNG image",
                 name, bytes[0], n > 1 ? bytes[1] : 0, n > 2 ? bytes[2] : 0, n > 3 ? bytes[3] : 0);
}

mq_status mq_image_decode(struct mq_image *image, const uint8_t *bytes, size_t n, bool ignores_exif,
                          const char *name, struct mq_err *err) {
  return decode_any(image, bytes, n, ignores_exif, false, name, err);
}

mq_status mq_image_peek(int64_t size[2], const uint8_t *bytes, size_t n, bool ignores_exif, const char *name,
                        struct mq_err *err) {
  struct mq_image image;
  const mq_status status = decode_any(&image, bytes, n, ignores_exif, true, name, err);
  size[0] = image.height;
  size[1] = image.width;
  return status;
}

int mq_exif_orientation(const uint8_t *segment, size_t n) {
  static const uint8_t magic[6] = "Exif\0";
  if (n < 14 || memcmp(segment, magic, 6) != 0) {
    return 1;
  }
  ExifData *data = exif_data_new_from_data(segment, (unsigned)n);
  if (!data) {
    return 1;
  }
  int orientation = 1;
  const ExifEntry *entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
  if (entry && entry->format == EXIF_FORMAT_SHORT && entry->components == 1) {
    const int value = exif_get_short(entry->data, exif_data_get_byte_order(data));
    orientation = value >= 1 && value <= 8 ? value : 1;
  }
  exif_data_unref(data);
  return orientation;
}

/* EXIF 2.3, tag 0x0112: the orientation says where row 0 and column 0 of the stored image lie. Bits of
 * `orientation - 1` by table: mirrored columns, mirrored rows, then rows and columns exchanged. */
mq_status mq_image_orient(struct mq_image *image, int orientation, const char *name, struct mq_err *err) {
  static const struct {
    bool flips_x, flips_y, is_transposed;
  } turns[9] = {{0}, {0, 0, 0}, {1, 0, 0}, {1, 1, 0}, {0, 1, 0}, {0, 0, 1}, {0, 1, 1}, {1, 1, 1}, {1, 0, 1}};
  if (orientation <= 1) {
    return MQ_OK;
  }
  const bool is_transposed = turns[orientation].is_transposed;
  const int64_t h = image->height, w = image->width, c = image->channels;
  struct mq_image turned;
  mq_status status = mq_image_init(&turned, is_transposed ? w : h, is_transposed ? h : w, c, name, err);
  if (status != MQ_OK) {
    return status;
  }
  uint8_t *to = turned.pixels;
  for (int64_t y = 0; y < turned.height; y++) {
    for (int64_t x = 0; x < turned.width; x++, to += c) {
      int64_t from_y = is_transposed ? x : y, from_x = is_transposed ? y : x;
      from_y = turns[orientation].flips_y ? h - 1 - from_y : from_y;
      from_x = turns[orientation].flips_x ? w - 1 - from_x : from_x;
      memcpy(to, image->pixels + (from_y * w + from_x) * c, (size_t)c);
    }
  }
  turned.is_damaged = image->is_damaged;
  mq_image_deinit(image);
  *image = turned;
  return MQ_OK;
}
