/* JPEG through libjpeg-turbo with its defaults (islow DCT, fancy upsampling), as Pillow decodes. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "data/image.h"

/* A block of 64 pixels costs at least one bit, so an image cannot hold more than 512 pixels per byte of its
 * file; twice that is still far below what a lying header of a small file claims. */
#define PIXELS_PER_BYTE 1024
#define PIXELS_FREE ((int64_t)1 << 20)
/* A progressive image has about 10 scans; each costs a pass over all coefficients. */
#define MAX_SCANS 100

struct decoder {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  jmp_buf failed;
  char message[JMSG_LENGTH_MAX];
  bool is_damaged, is_started;
  struct mq_image *image;
  uint8_t *row; /* CMYK only */
};

static void on_error(j_common_ptr jpeg) {
  struct decoder *decoder = jpeg->client_data;
  jpeg->err->format_message(jpeg, decoder->message);
  longjmp(decoder->failed, 1);
}

static void on_message(j_common_ptr jpeg, int level) {
  struct decoder *decoder = jpeg->client_data;
  if (level >= 0) {
    return;
  }
  switch (jpeg->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_MUST_RESYNC:
      decoder->is_damaged = true;
      break;
    default: /* oddities that cost no pixels */
      break;
  }
}

static void on_progress(j_common_ptr jpeg) {
  struct decoder *decoder = jpeg->client_data;
  if (decoder->jpeg.input_scan_number > MAX_SCANS) {
    snprintf(decoder->message, sizeof decoder->message, "more than %d scans", MAX_SCANS);
    longjmp(decoder->failed, 1);
  }
}

static int orientation_of(const struct jpeg_decompress_struct *jpeg) {
  for (jpeg_saved_marker_ptr marker = jpeg->marker_list; marker; marker = marker->next) {
    const int orientation = mq_exif_orientation(marker->data, marker->data_length);
    if (orientation != 1) {
      return orientation;
    }
  }
  return 1;
}

/* Adobe's convention, which Pillow assumes for every file of four channels: stored values are inverted, so
 * K is the brightness and C M Y the reflectances: r = K - (255 - C) K / 255, rounded. */
static void cmyk_to_rgb(uint8_t *rgb, const uint8_t *cmyk, int64_t width) {
  for (int64_t x = 0; x < width; x++, rgb += 3, cmyk += 4) {
    for (int c = 0; c < 3; c++) {
      const int product = (255 - cmyk[c]) * cmyk[3] + 128, ink = (product + (product >> 8)) >> 8;
      rgb[c] = (uint8_t)(cmyk[3] > ink ? cmyk[3] - ink : 0);
    }
  }
}

/* Runs with longjmp armed: everything it allocates hangs on the decoder. */
static mq_status decode_rows(struct decoder *decoder, const char *name, struct mq_err *err) {
  struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
  struct mq_image *image = decoder->image;
  const bool is_cmyk = jpeg->num_components == 4;
  jpeg->out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
  mq_status status = mq_image_init(image, jpeg->image_height, jpeg->image_width, 3, name, err);
  if (status != MQ_OK) {
    return status;
  }
  if (is_cmyk) {
    decoder->row = mq_alloc(jpeg->image_width, 4);
    if (!decoder->row) {
      return mq_fail_memory(err, name);
    }
  }
  jpeg_start_decompress(jpeg);
  decoder->is_started = true;
  while (jpeg->output_scanline < jpeg->output_height) {
    uint8_t *to = image->pixels + (int64_t)jpeg->output_scanline * image->width * 3;
    uint8_t *rows[1] = {is_cmyk ? decoder->row : to};
    if (jpeg_read_scanlines(jpeg, rows, 1) == 1 && is_cmyk) {
      cmyk_to_rgb(to, decoder->row, image->width);
    }
  }
  return MQ_OK;
}

static mq_status check_header(const struct jpeg_decompress_struct *jpeg, size_t n, const char *name,
                              struct mq_err *err) {
  const int64_t pixels = (int64_t)jpeg->image_width * jpeg->image_height;
  if (pixels > MQ_IMAGE_MAX_PIXELS || pixels > PIXELS_FREE + (int64_t)n * PIXELS_PER_BYTE) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: JPEG of %u x %u pixels in %zu bytes, expected at most %lld pixels",
                   name, jpeg->image_width, jpeg->image_height, n,
                   (long long)(pixels > MQ_IMAGE_MAX_PIXELS ? MQ_IMAGE_MAX_PIXELS
                                                            : PIXELS_FREE + (int64_t)n * PIXELS_PER_BYTE));
  }
  if (jpeg->num_components != 1 && jpeg->num_components != 3 && jpeg->num_components != 4) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: JPEG of %d channels, expected 1, 3 or 4", name,
                   jpeg->num_components);
  }
  return MQ_OK;
}

static mq_status decode(struct decoder *decoder, int *orientation, const uint8_t *bytes, size_t n,
                        bool ignores_exif, bool is_header_only, const char *name, struct mq_err *err) {
  if (setjmp(decoder->failed)) {
    if (decoder->is_started) { /* rows so far stand */
      decoder->is_damaged = true;
      return MQ_OK;
    }
    return mq_fail(err, MQ_BAD_INPUT, "%s: not a readable JPEG: %s", name, decoder->message);
  }
  jpeg_create_decompress(&decoder->jpeg);
  decoder->jpeg.progress = &decoder->progress;
  jpeg_mem_src(&decoder->jpeg, bytes, (unsigned long)n);
  if (!ignores_exif) {
    jpeg_save_markers(&decoder->jpeg, JPEG_APP0 + 1, 0xffff);
  }
  jpeg_read_header(&decoder->jpeg, TRUE);
  mq_status status = check_header(&decoder->jpeg, n, name, err);
  if (status != MQ_OK) {
    return status;
  }
  *orientation = orientation_of(&decoder->jpeg);
  if (!is_header_only) {
    return decode_rows(decoder, name, err);
  }
  const bool is_turned = *orientation >= 5;
  decoder->image->height = is_turned ? decoder->jpeg.image_width : decoder->jpeg.image_height;
  decoder->image->width = is_turned ? decoder->jpeg.image_height : decoder->jpeg.image_width;
  return MQ_OK;
}

mq_status mq_jpeg_decode(struct mq_image *image, const uint8_t *bytes, size_t n, bool ignores_exif,
                         bool is_header_only, const char *name, struct mq_err *err) {
  struct decoder decoder = {.image = image};
  int orientation = 1;
  decoder.jpeg.err = jpeg_std_error(&decoder.errors);
  decoder.errors.error_exit = on_error;
  decoder.errors.emit_message = on_message;
  decoder.progress.progress_monitor = on_progress;
  decoder.jpeg.client_data = &decoder;
  mq_status status = decode(&decoder, &orientation, bytes, n, ignores_exif, is_header_only, name, err);
  jpeg_destroy_decompress(&decoder.jpeg);
  mq_free(decoder.row);
  image->is_damaged = decoder.is_damaged;
  if (status == MQ_OK && !is_header_only) {
    status = mq_image_orient(image, orientation, name, err);
  }
  if (status != MQ_OK) {
    mq_image_deinit(image);
  }
  return status;
}
