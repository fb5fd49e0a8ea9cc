/* The plain definition of a convolution on integers. */
#include "kernel/conv.h"

static int64_t code_at(const void *codes, int64_t at, bool is_signed) {
  return is_signed ? ((const int8_t *)codes)[at] : ((const uint8_t *)codes)[at];
}

static int64_t window_sum(const struct mq_conv_int_desc *d, const void *x, int64_t zero_point,
                          const void *codes, int64_t w_zero_point, int64_t n, int64_t o, int64_t oh,
                          int64_t ow) {
  const int64_t *in = d->input.dim, *w = d->weights.dim, group = o / (w[0] / d->groups);
  int64_t sum = 0;
  for (int64_t kh = 0; kh < w[2]; kh++)
    for (int64_t kw = 0; kw < w[3]; kw++) {
      const int64_t ih = oh * d->stride[0] - d->pad_begin[0] + kh * d->dilation[0];
      const int64_t iw = ow * d->stride[1] - d->pad_begin[1] + kw * d->dilation[1];
      if (ih < 0 || ih >= in[2] || iw < 0 || iw >= in[3]) continue; /* x = zx */
      for (int64_t i = 0; i < w[1]; i++) {
        const int64_t x_at = ((n * in[2] + ih) * in[3] + iw) * in[1] + group * w[1] + i;
        const int64_t w_at = ((o * w[1] + i) * w[2] + kh) * w[3] + kw;
        sum += (code_at(x, x_at, d->is_input_signed) - zero_point) *
               (code_at(codes, w_at, d->are_weights_signed) - w_zero_point);
      }
    }
  return sum;
}

static int64_t output_extent(const struct mq_conv_int_desc *d, int axis) {
  const int64_t window = (d->weights.dim[2 + axis] - 1) * d->dilation[axis] + 1;
  return (d->input.dim[2 + axis] + d->pad_begin[axis] + d->pad_end[axis] - window) / d->stride[axis] + 1;
}

void mq_conv_int_reference(const struct mq_conv_int_desc *desc, int32_t *y, const void *x, int32_t zero_point,
                           const void *codes, const int32_t *w_zero_point) {
  const int64_t height = output_extent(desc, 0), width = output_extent(desc, 1);
  const int64_t channels = desc->weights.dim[0];
  for (int64_t n = 0; n < desc->input.dim[0]; n++)
    for (int64_t oh = 0; oh < height; oh++)
      for (int64_t ow = 0; ow < width; ow++)
        for (int64_t o = 0; o < channels; o++)
          *y++ = (int32_t)window_sum(desc, x, zero_point, codes, w_zero_point != NULL ? w_zero_point[o] : 0,
                                     n, o, oh, ow);
}
