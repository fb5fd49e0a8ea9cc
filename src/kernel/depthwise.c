#include "kernel/depthwise.h"

#include <string.h>

#include "kernel/simd/depthwise.h"

/* Rows of the window that are gathered on the stack. */
#define MAX_KERNEL_HEIGHT 16

struct mq_depthwise {
  struct mq_shape input, output;
  int64_t kernel[2], stride[2], dilation[2], pad[2];
  struct mq_posts posts;
  float *weights; /* KH x KW x C, then the bias, C */
};

bool mq_depthwise_can(const struct mq_conv_desc *desc) {
  const int64_t channels = desc->input.dim[1];
  return !desc->is_transposed && channels > 1 && desc->groups == channels &&
         desc->weights->shape.dim[0] == channels && desc->weights->shape.dim[2] <= MAX_KERNEL_HEIGHT;
}

/* C x KH x KW to channels innermost; without a bias zeros. */
static void pack(float *packed, const struct mq_conv_desc *desc) {
  const int64_t channels = desc->input.dim[1],
                area = desc->weights->shape.dim[2] * desc->weights->shape.dim[3];
  const float *weights = desc->weights->data;
  for (int64_t c = 0; c < channels; c++)
    for (int64_t k = 0; k < area; k++)
      packed[k * channels + c] = weights[c * area + k];
  if (desc->bias != NULL)
    memcpy(packed + area * channels, desc->bias->data, (size_t)channels * sizeof *packed);
}

mq_status mq_depthwise_create(struct mq_depthwise **depthwise, const struct mq_conv_desc *desc,
                              const struct mq_shape *output, struct mq_err *err) {
  const int64_t *kernel = desc->weights->shape.dim + 2, channels = desc->input.dim[1];
  *depthwise = NULL;
  struct mq_depthwise *made = mq_alloc(1, sizeof *made);
  if (made == NULL) return mq_fail_memory(err, "depthwise convolution");
  made->input = desc->input;
  made->output = *output;
  for (int i = 0; i < 2; i++) {
    made->kernel[i] = kernel[i];
    made->stride[i] = desc->stride[i];
    made->dilation[i] = desc->dilation[i];
    made->pad[i] = desc->pad_begin[i];
  }
  mq_status status = mq_posts_init(&made->posts, desc->posts, desc->n_posts, channels, err);
  if (status == MQ_OK) {
    made->weights = mq_alloc((size_t)((kernel[0] * kernel[1] + 1) * channels), sizeof *made->weights);
    if (made->weights == NULL) status = mq_fail_memory(err, "depthwise weights");
  }
  if (status != MQ_OK) {
    mq_depthwise_destroy(made);
    return status;
  }
  pack(made->weights, desc);
  *depthwise = made;
  return MQ_OK;
}

void mq_depthwise_destroy(struct mq_depthwise *depthwise) {
  if (depthwise == NULL) return;
  mq_posts_deinit(&depthwise->posts);
  mq_free(depthwise->weights);
  mq_free(depthwise);
}

/* One output row before the posts: the output's own row may still hold the residual. */
size_t mq_depthwise_scratch_bytes(const struct mq_depthwise *depthwise) {
  return (size_t)(depthwise->output.dim[3] * depthwise->output.dim[1]) * sizeof(float);
}

/* Output row oh of one image, without posts. */
static void run_row(const struct mq_depthwise *d, const struct mq_simd_depthwise *table, float *y,
                    const float *image, int64_t oh) {
  const float *x[MAX_KERNEL_HEIGHT], *weights[MAX_KERNEL_HEIGHT];
  const int64_t channels = d->input.dim[1], width = d->input.dim[3];
  struct mq_simd_depthwise_row row = {
      .channels = channels,
      .width_in = width,
      .width_out = d->output.dim[3],
      .kernel = d->kernel[1],
      .stride = d->stride[1],
      .dilation = d->dilation[1],
      .pad = d->pad[1],
      .x = x,
      .weights = weights,
      .bias = d->weights + d->kernel[0] * d->kernel[1] * channels,
  };
  for (int64_t k = 0; k < d->kernel[0]; k++) {
    const int64_t ih = oh * d->stride[0] - d->pad[0] + k * d->dilation[0];
    if (ih < 0 || ih >= d->input.dim[2]) continue;
    x[row.n_rows] = image + ih * width * channels;
    weights[row.n_rows++] = d->weights + k * d->kernel[1] * channels;
  }
  table->row(y, &row);
}

void mq_depthwise_run(const struct mq_depthwise *d, float *y, const float *x, const float *residual,
                      void *scratch) {
  const struct mq_simd_depthwise *table = mq_simd_depthwise_at(mq_simd_level_used());
  const int64_t channels = d->input.dim[1], row_elements = d->output.dim[3] * channels;
  for (int64_t n = 0; n < d->input.dim[0]; n++) {
    const float *image = x + n * channels * d->input.dim[2] * d->input.dim[3];
    for (int64_t oh = 0; oh < d->output.dim[2]; oh++) {
      float *to = residual == y ? scratch : y;
      run_row(d, table, to, image, oh);
      if (d->posts.n_posts > 0) mq_posts_apply(&d->posts, y, to, residual, d->output.dim[3], channels);
      y += row_elements;
      if (residual != NULL) residual += row_elements;
    }
  }
}
