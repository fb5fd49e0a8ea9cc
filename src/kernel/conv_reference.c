/* The plain definition of a convolution: double sums, posts in double, rounded once. */
#include <math.h>

#include "kernel/conv.h"

/* The weight of output o, input i (counted within the group) at (kh, kw). */
static double weight_at(const struct mq_conv_desc *desc, int64_t group, int64_t o, int64_t i, int64_t kh,
                        int64_t kw) {
  const int64_t *w = desc->weights->shape.dim;
  const float *data = desc->weights->data;
  const int64_t row =
      desc->is_transposed ? group * (w[0] / desc->groups) + i : group * (w[0] / desc->groups) + o;
  const int64_t column = desc->is_transposed ? o : i;
  return (double)data[((row * w[1] + column) * w[2] + kh) * w[3] + kw];
}

/* The input coordinate that tap k of output coordinate o reads; false if there is none. */
static bool tap_input(int64_t *in, const struct mq_conv_desc *desc, int axis, int64_t o, int64_t k) {
  if (!desc->is_transposed) {
    *in = o * desc->stride[axis] - desc->pad_begin[axis] + k * desc->dilation[axis];
  } else {
    const int64_t scaled = o + desc->pad_begin[axis] - k * desc->dilation[axis];
    if (scaled % desc->stride[axis] != 0) return false;
    *in = scaled / desc->stride[axis];
  }
  return *in >= 0 && *in < desc->input.dim[2 + axis];
}

static double window_sum(const struct mq_conv_desc *desc, const float *x, int64_t n, int64_t group, int64_t o,
                         int64_t oh, int64_t ow) {
  const int64_t channels = desc->input.dim[1], inputs = channels / desc->groups;
  const int64_t height = desc->input.dim[2], width = desc->input.dim[3];
  double sum = 0;
  for (int64_t kh = 0; kh < desc->weights->shape.dim[2]; kh++)
    for (int64_t kw = 0; kw < desc->weights->shape.dim[3]; kw++) {
      int64_t ih, iw;
      if (!tap_input(&ih, desc, 0, oh, kh) || !tap_input(&iw, desc, 1, ow, kw)) continue;
      const float *pixel = x + ((n * height + ih) * width + iw) * channels + group * inputs;
      for (int64_t i = 0; i < inputs; i++)
        sum += (double)pixel[i] * weight_at(desc, group, o, i, kh, kw);
    }
  return sum;
}

static double apply_posts(double v, const struct mq_post *posts, int n_posts, int64_t channel,
                          double residual) {
  for (int i = 0; i < n_posts; i++) {
    if (posts[i].kind == MQ_POST_ADD) v += residual;
    if (posts[i].kind == MQ_POST_AFFINE)
      v = v * (double)posts[i].gain[channel] + (double)posts[i].shift[channel];
    if (posts[i].kind == MQ_POST_CLIP) v = fmin(fmax(v, (double)posts[i].lo), (double)posts[i].hi);
  }
  return v;
}

mq_status mq_conv_forward_reference(const struct mq_conv_desc *desc, float *y, const float *x,
                                    const float *residual, struct mq_err *err) {
  struct mq_shape out;
  const mq_status status = mq_conv_check(&out, desc, err);
  if (status != MQ_OK) return status;
  const int64_t channels = out.dim[1], pixels = out.dim[2] * out.dim[3], outputs = channels / desc->groups;
  const float *bias = desc->bias != NULL ? desc->bias->data : NULL;
  for (int64_t i = 0; i < out.dim[0] * pixels * channels; i++) {
    const int64_t c = i % channels, pixel = i / channels % pixels, n = i / channels / pixels;
    double v = window_sum(desc, x, n, c / outputs, c % outputs, pixel / out.dim[3], pixel % out.dim[3]);
    if (bias != NULL) v += (double)bias[c];
    /* y may be the residual's memory: read before write. */
    v = apply_posts(v, desc->posts, desc->n_posts, c, residual != NULL ? (double)residual[i] : 0.0);
    y[i] = (float)v;
  }
  return MQ_OK;
}
