/* PNG through libpng. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

#include "data/image.h"

/* Deflate expands at most 1032 times, and a pixel may be one bit. */
#define PIXELS_PER_BYTE (1032 * 8)
#define PIXELS_FREE ((int64_t)1 << 20)

struct decoder {
  const uint8_t *bytes;
  size_t n, at;
  png_structp png;
  png_infop info;
  char message[160];
  bool is_started;
  bool is_damaged;
};

static void on_error(png_structp png, png_const_charp message) {
  struct decoder *decoder = png_get_error_ptr(png);
  snprintf(decoder->message, sizeof decoder->message, "%s", message);
  png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
  (void)png;
  (void)message;
}

static void on_read(png_structp png, png_bytep to, png_size_t n) {
  struct decoder *decoder = png_get_io_ptr(png);
  if (n > decoder->n - decoder->at) {
    png_error(png, "file ends early");
  }
  memcpy(to, decoder->bytes + decoder->at, n);
  decoder->at += n;
}

static mq_status check_header(const struct decoder *decoder, const char *name, struct mq_err *err) {
  const int64_t width = png_get_image_width(decoder->png, decoder->info),
                height = png_get_image_height(decoder->png, decoder->info);
  const int64_t likely = PIXELS_FREE + (int64_t)decoder->n * PIXELS_PER_BYTE,
                most = likely < MQ_IMAGE_MAX_PIXELS ? likely : MQ_IMAGE_MAX_PIXELS;
  if (height > most / width) {
    return mq_fail(err, MQ_BAD_INPUT,
                   "%s: PNG of %lld x %lld pixels in %zu bytes, expected at most %lld pixels", name,
                   (long long)width, (long long)height, decoder->n, (long long)most);
  }
  return MQ_OK;
}

/* Every colour type becomes 8-bit R G B. */
static void set_transforms(struct decoder *decoder) {
  png_structp png = decoder->png;
  const int type = png_get_color_type(png, decoder->info);
  png_set_strip_16(png);
  png_set_packing(png);
  if (type == PNG_COLOR_TYPE_PALETTE) {
    png_set_palette_to_rgb(png);
  } else if (!(type & PNG_COLOR_MASK_COLOR)) {
    if (png_get_bit_depth(png, decoder->info) < 8) {
      png_set_expand_gray_1_2_4_to_8(png);
    }
    png_set_gray_to_rgb(png);
  }
  png_set_strip_alpha(png);
}

static mq_status decode(struct decoder *decoder, struct mq_image *image, bool is_header_only,
                        const char *name, struct mq_err *err) {
  if (setjmp(png_jmpbuf(decoder->png))) {
    decoder->is_damaged = decoder->is_started;
    return decoder->is_started
               ? MQ_OK
               : mq_fail(err, MQ_BAD_INPUT, "%s: not a readable PNG: %s", name, decoder->message);
  }
  png_read_info(decoder->png, decoder->info);
  mq_status status = check_header(decoder, name, err);
  if (status != MQ_OK) {
    return status;
  }
  const int64_t height = png_get_image_height(decoder->png, decoder->info),
                width = png_get_image_width(decoder->png, decoder->info);
  if (is_header_only) {
    image->height = height;
    image->width = width;
    return MQ_OK;
  }
  set_transforms(decoder);
  const int n_passes = png_set_interlace_handling(decoder->png);
  png_read_update_info(decoder->png, decoder->info);
  if (png_get_rowbytes(decoder->png, decoder->info) != (size_t)width * 3) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: PNG with rows of %zu bytes, expected %lld", name,
                   png_get_rowbytes(decoder->png, decoder->info), (long long)width * 3);
  }
  status = mq_image_init(image, height, width, 3, name, err);
  if (status != MQ_OK) {
    return status;
  }
  decoder->is_started = true;
  for (int pass = 0; pass < n_passes; pass++) {
    for (int64_t y = 0; y < height; y++) {
      png_read_row(decoder->png, image->pixels + y * width * 3, NULL);
    }
  }
  return MQ_OK;
}

mq_status mq_png_decode(struct mq_image *image, const uint8_t *bytes, size_t n, bool is_header_only,
                        const char *name, struct mq_err *err) {
  struct decoder decoder = {.bytes = bytes, .n = n};
  mq_status status = MQ_OK;
  decoder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder, on_error, on_warning);
  decoder.info = decoder.png ? png_create_info_struct(decoder.png) : NULL;
  if (!decoder.info) {
    status = mq_fail_memory(err, name);
    goto done;
  }
  png_set_read_fn(decoder.png, &decoder, on_read);
  /* Read in small pieces: of a file that ends early, the last piece is lost. */
  png_set_compression_buffer_size(decoder.png, n < 64 * 64 ? 64 : n > 64 * 8192 ? 8192 : n / 64);
  png_set_chunk_cache_max(decoder.png, 128);
  png_set_chunk_malloc_max(decoder.png, 8 << 20);
  status = decode(&decoder, image, is_header_only, name, err);
done:
  png_destroy_read_struct(&decoder.png, &decoder.info, NULL);
  image->is_damaged = decoder.is_damaged;
  if (status != MQ_OK) {
    mq_image_deinit(image);
  }
  return status;
}

struct encoder {
  uint8_t *bytes;
  size_t n, capacity;
};

static void on_write(png_structp png, png_bytep from, png_size_t n) {
  struct encoder *encoder = png_get_io_ptr(png);
  if (n > encoder->capacity - encoder->n) {
    const size_t capacity = 2 * encoder->capacity + n + 1024;
    uint8_t *more = mq_realloc(encoder->bytes, capacity, 1);
    if (!more) {
      png_error(png, "out of memory");
    }
    encoder->bytes = more;
    encoder->capacity = capacity;
  }
  memcpy(encoder->bytes + encoder->n, from, n);
  encoder->n += n;
}

static void on_flush(png_structp png) {
  (void)png;
}

static mq_status encode(png_structp png, png_infop info, const struct mq_image *image,
                        const struct decoder *errors, struct mq_err *err) {
  if (setjmp(png_jmpbuf(png))) {
    return mq_fail(err, MQ_FAILED, "writing PNG: %s", errors->message);
  }
  png_set_IHDR(png, info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
               image->channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  for (int64_t y = 0; y < image->height; y++) {
    png_write_row(png, image->pixels + y * image->width * image->channels);
  }
  png_write_end(png, NULL);
  return MQ_OK;
}

mq_status mq_image_encode_png(uint8_t **bytes, size_t *n, const struct mq_image *image, struct mq_err *err) {
  *bytes = NULL;
  *n = 0;
  if (image->channels != 1 && image->channels != 3) {
    return mq_fail(err, MQ_BAD_INPUT, "PNG of %lld channels, expected 1 or 3", (long long)image->channels);
  }
  struct decoder errors = {0};
  struct encoder encoder = {0};
  mq_status status = MQ_OK;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &errors, on_error, on_warning);
  png_infop info = png ? png_create_info_struct(png) : NULL;
  if (!info) {
    status = mq_fail_memory(err, "PNG");
    goto done;
  }
  png_set_write_fn(png, &encoder, on_write, on_flush);
  status = encode(png, info, image, &errors, err);
done:
  png_destroy_write_struct(&png, &info);
  if (status != MQ_OK) {
    mq_free(encoder.bytes);
    return status;
  }
  *bytes = encoder.bytes;
  *n = encoder.n;
  return MQ_OK;
}
