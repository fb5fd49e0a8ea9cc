/* Resize, centre crop and normalise, on 8-bit images as Pillow resizes them. */
#include "data/transform.h"

#include <string.h>

#include "data/resample.h"

/* resize * side / less, rounded half to even: the long side that belongs to a short side of `resize`. */
static int64_t long_side(int64_t resize, int64_t side, int64_t less) {
  const int64_t whole = resize * side / less, rest = 2 * (resize * side % less);
  return whole + (rest > less || (rest == less && whole % 2 == 1));
}

static void resized_size(int64_t size[2], const struct mq_preprocess *p, int64_t h, int64_t w) {
  size[0] = h;
  size[1] = w;
  if (p->size[0]) {
    size[0] = p->size[0];
    size[1] = p->size[1];
  } else if (p->resize) {
    const int64_t less = h < w ? h : w;
    size[0] = h == less ? p->resize : long_side(p->resize, h, less);
    size[1] = w == less ? p->resize : long_side(p->resize, w, less);
  }
}

void mq_transform_size(int64_t size[2], const struct mq_preprocess *p, int64_t h, int64_t w) {
  if (p->crop) {
    size[0] = size[1] = p->crop;
  } else if ((h < 1 || w < 1) && !p->size[0]) {
    size[0] = size[1] = -1;
  } else {
    resized_size(size, p, h, w);
  }
}

/* Where the centre crop begins: an odd pixel is left over at the end. An image that is too small gets a frame
 * whose smaller half comes first. */
static int64_t crop_begin(int64_t side, int64_t crop) {
  return (side - crop) / 2;
}

mq_status mq_transform_geometry(uint8_t *out, const struct mq_image *image, const struct mq_preprocess *p,
                                struct mq_err *err) {
  int64_t whole[2], size[2];
  resized_size(whole, p, image->height, image->width);
  mq_transform_size(size, p, image->height, image->width);
  if (whole[0] < 1 || whole[1] < 1 || whole[0] > MQ_IMAGE_MAX_SIDE || whole[1] > MQ_IMAGE_MAX_SIDE) {
    return mq_fail(err, MQ_BAD_INPUT, "%lld x %lld pixels resized to %lld x %lld, expected sides up to %d",
                   (long long)image->width, (long long)image->height, (long long)whole[1],
                   (long long)whole[0], MQ_IMAGE_MAX_SIDE);
  }
  const int64_t channels = image->channels, out_stride = size[1] * channels;
  int64_t begin[2], from[2], n[2]; /* the part of the crop that lies within the image */
  for (int d = 0; d < 2; d++) {
    begin[d] = p->crop ? crop_begin(whole[d], p->crop) : 0;
    from[d] = begin[d] < 0 ? 0 : begin[d];
    const int64_t end = begin[d] + size[d] < whole[d] ? begin[d] + size[d] : whole[d];
    n[d] = end - from[d];
  }
  if (n[0] < size[0] || n[1] < size[1]) {
    memset(out, 0, (size_t)(size[0] * out_stride));
  }
  uint8_t *corner = out + (from[0] - begin[0]) * out_stride + (from[1] - begin[1]) * channels;
  if (whole[0] == image->height && whole[1] == image->width) {
    for (int64_t y = 0; y < n[0]; y++) {
      memcpy(corner + y * out_stride, image->pixels + ((from[0] + y) * image->width + from[1]) * channels,
             (size_t)(n[1] * channels));
    }
    return MQ_OK;
  }
  const struct mq_resample_window window = {
      .size = {whole[0], whole[1]}, .top = from[0], .left = from[1], .height = n[0], .width = n[1]};
  return mq_resample(corner, out_stride, image, &window, err);
}

void mq_normalise_init(struct mq_normalise *normalise, const struct mq_preprocess *p, int64_t n_channels) {
  for (int c = 0; c < 3; c++) {
    const int from = p->is_bgr && n_channels == 3 ? 2 - c : c;
    normalise->channel_of[c] = from;
    normalise->mean[c] = p->mean[from];
    normalise->std[c] = p->std[from];
    for (int v = 0; v < 256; v++) {
      const float unit = (float)v / 255.0f, centred = unit - p->mean[from];
      normalise->value[c][v] = centred / p->std[from];
    }
  }
}

void mq_normalise_apply(float *out, const uint8_t *pixels, int64_t n_pixels, int64_t n_channels,
                        const struct mq_normalise *normalise) {
  if (n_channels == 1) {
    for (int64_t i = 0; i < n_pixels; i++) {
      out[i] = normalise->value[0][pixels[i]];
    }
    return;
  }
  const int first = normalise->channel_of[0], last = normalise->channel_of[2];
  for (int64_t i = 0; i < n_pixels; i++, out += 3, pixels += 3) {
    out[0] = normalise->value[0][pixels[first]];
    out[1] = normalise->value[1][pixels[1]];
    out[2] = normalise->value[2][pixels[last]];
  }
}
