#include <assert.h>

#include "kernel/conv.h"
#include "kernel/posts.h"

/* oneDNN counts within a tensor with 32-bit integers in places. */
#define MAX_EXTENT ((int64_t)1 << 24)
#define MAX_ELEMENTS ((int64_t)INT32_MAX)

static bool is_within(int64_t value, int64_t least) {
  return value >= least && value <= MAX_EXTENT;
}

/* One spatial dimension: i = 0 height, 1 width. */
static mq_status check_dimension(struct mq_shape *output, const struct mq_conv_desc *desc, int i,
                                 struct mq_err *err) {
  const char *name = i == 0 ? "height" : "width";
  const int64_t in = desc->input.dim[2 + i], kernel = desc->weights->shape.dim[2 + i];
  if (!is_within(in, 1) || !is_within(kernel, 1) || !is_within(desc->stride[i], 1) ||
      !is_within(desc->dilation[i], 1) || !is_within(desc->pad_begin[i], 0) ||
      !is_within(desc->pad_end[i], 0) || !is_within(desc->output_pad[i], 0))
    return mq_fail(err, MQ_BAD_INPUT,
                   "convolution %s: input %lld, kernel %lld, stride %lld, dilation %lld, pads %lld and %lld; "
                   "expected sizes from 1 and pads from 0, at most %lld",
                   name, (long long)in, (long long)kernel, (long long)desc->stride[i],
                   (long long)desc->dilation[i], (long long)desc->pad_begin[i], (long long)desc->pad_end[i],
                   (long long)MAX_EXTENT);
  const int64_t extent = (kernel - 1) * desc->dilation[i] + 1, pads = desc->pad_begin[i] + desc->pad_end[i];
  const int64_t out = desc->is_transposed ? (in - 1) * desc->stride[i] + extent - pads + desc->output_pad[i]
                                          : (in + pads - extent) / desc->stride[i] + 1;
  if (out < 1 || out > MAX_EXTENT || (!desc->is_transposed && in + pads < extent))
    return mq_fail(err, MQ_BAD_INPUT,
                   "convolution %s: a window of %lld over input %lld with pads %lld leaves no output", name,
                   (long long)extent, (long long)in, (long long)pads);
  output->dim[2 + i] = out;
  return MQ_OK;
}

static mq_status check_channels(struct mq_shape *output, const struct mq_conv_desc *desc,
                                struct mq_err *err) {
  const int64_t *w = desc->weights->shape.dim, groups = desc->groups;
  const int64_t inputs = desc->is_transposed ? w[0] : w[1] * groups;
  const int64_t outputs = desc->is_transposed ? w[1] * groups : w[0];
  char text[128];
  if (groups < 1 || groups > MAX_EXTENT || inputs != desc->input.dim[1] || inputs % groups != 0 ||
      outputs < 1 || outputs % groups != 0)
    return mq_fail(err, MQ_BAD_INPUT, "convolution: weights %s do not fit %lld input channels in %lld groups",
                   mq_shape_format(text, sizeof text, &desc->weights->shape), (long long)desc->input.dim[1],
                   (long long)groups);
  const int64_t n_bias = desc->bias == NULL ? outputs : mq_shape_count(&desc->bias->shape);
  if (n_bias != outputs)
    return mq_fail(err, MQ_BAD_INPUT, "convolution: bias of %lld elements, expected %lld", (long long)n_bias,
                   (long long)outputs);
  output->dim[1] = outputs;
  return MQ_OK;
}

mq_status mq_conv_check(struct mq_shape *output, const struct mq_conv_desc *desc, struct mq_err *err) {
  assert(desc->weights->dtype == MQ_F32 && mq_tensor_is_row_major(desc->weights));
  assert(desc->bias == NULL || (desc->bias->dtype == MQ_F32 && mq_tensor_is_row_major(desc->bias)));
  char text[128];
  if (desc->input.rank != 4 || desc->weights->shape.rank != 4 || desc->input.dim[0] < 1)
    return mq_fail(err, MQ_BAD_INPUT, "convolution: input %s, expected N x C x H x W",
                   mq_shape_format(text, sizeof text, &desc->input));
  *output = (struct mq_shape){.rank = 4, .dim = {desc->input.dim[0]}};
  mq_status status = mq_posts_check(desc->posts, desc->n_posts, "convolution", err);
  if (status == MQ_OK) status = check_channels(output, desc, err);
  if (status == MQ_OK) status = check_dimension(output, desc, 0, err);
  if (status == MQ_OK) status = check_dimension(output, desc, 1, err);
  int64_t n_in = 0, n_out = 0;
  if (status == MQ_OK) status = mq_shape_elements(&n_in, &desc->input, "convolution input", err);
  if (status == MQ_OK) status = mq_shape_elements(&n_out, output, "convolution output", err);
  if (status == MQ_OK && (n_in > MAX_ELEMENTS || n_out > MAX_ELEMENTS))
    return mq_fail(err, MQ_BAD_INPUT,
                   "convolution: %lld input and %lld output elements a slice, at most %lld expected",
                   (long long)n_in, (long long)n_out, (long long)MAX_ELEMENTS);
  return status;
}
