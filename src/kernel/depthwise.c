#include "kernel/depthwise.h"

#include <string.h>

#include "kernel/simd/depthwise.h"

/* Smaller images stay in the second-level cache (1 MiB and more on CPUs of the last years). */
#define PREFETCH_ELEMENTS ((int64_t)64 * 1024)

struct mq_depthwise {
  struct mq_shape input, output;
  int64_t kernel[2], stride[2], dilation[2], pad[2];
  struct mq_posts posts;
  float *weights; /* KH x KW x C, then the bias, C */
  float *zeros;   /* a row of padding; NULL where output rows are made one by one */
};

/* Two output rows at once share the input rows between them. */
static bool makes_two_rows(const struct mq_depthwise *d) {
  return d->kernel[0] == 3 && d->kernel[1] == 3 && d->stride[0] == 1 && d->stride[1] == 1 &&
         d->dilation[0] == 1 && d->dilation[1] == 1 && d->pad[0] == 1 && d->pad[1] == 1 &&
         d->input.dim[3] == d->output.dim[3];
}

bool mq_depthwise_can(const struct mq_conv_desc *desc) {
  const int64_t channels = desc->input.dim[1];
  return !desc->is_transposed && channels > 1 && desc->groups == channels &&
         desc->weights->shape.dim[0] == channels && desc->weights->shape.dim[2] <= MQ_DEPTHWISE_MAX_HEIGHT;
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

mq_status mq_depthwise_create_bare(struct mq_depthwise **depthwise, const struct mq_conv_desc *desc,
                                   const struct mq_shape *output, struct mq_err *err) {
  *depthwise = NULL;
  struct mq_depthwise *made = mq_alloc(1, sizeof *made);
  if (made == NULL) return mq_fail_memory(err, "depthwise convolution");
  made->input = desc->input;
  made->output = *output;
  for (int i = 0; i < 2; i++) {
    made->kernel[i] = desc->weights->shape.dim[2 + i];
    made->stride[i] = desc->stride[i];
    made->dilation[i] = desc->dilation[i];
    made->pad[i] = desc->pad_begin[i];
  }
  if (makes_two_rows(made)) {
    made->zeros = mq_alloc((size_t)(desc->input.dim[3] * desc->input.dim[1]), sizeof *made->zeros);
    if (made->zeros == NULL) {
      mq_depthwise_destroy(made);
      return mq_fail_memory(err, "depthwise padding");
    }
  }
  *depthwise = made;
  return MQ_OK;
}

mq_status mq_depthwise_create(struct mq_depthwise **depthwise, const struct mq_conv_desc *desc,
                              const struct mq_shape *output, struct mq_err *err) {
  const int64_t *kernel = desc->weights->shape.dim + 2, channels = desc->input.dim[1];
  struct mq_depthwise *made = NULL;
  *depthwise = NULL;
  mq_status status = mq_depthwise_create_bare(&made, desc, output, err);
  if (status != MQ_OK) return status;
  status = mq_posts_init(&made->posts, desc->posts, desc->n_posts, channels, err);
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
  mq_free(depthwise->zeros);
  mq_free(depthwise);
}

/* Output rows before the posts: the output's own rows may still hold the residual. */
size_t mq_depthwise_scratch_bytes(const struct mq_depthwise *depthwise) {
  return 2 * (size_t)(depthwise->output.dim[3] * depthwise->output.dim[1]) * sizeof(float);
}

/* Output rows oh .. oh + n_outputs of one image, without posts. Rows of padding are left out, or zeros where
 * two outputs share the rows. */
static void run_rows(const struct mq_depthwise *d, const struct mq_simd_depthwise *table,
                     struct mq_simd_depthwise_rows *rows, const float *all_weights, const float *image,
                     int64_t oh) {
  const float *x[MQ_DEPTHWISE_MAX_HEIGHT + 1], *weights[MQ_DEPTHWISE_MAX_HEIGHT];
  const int64_t channels = d->input.dim[1], row_elements = d->input.dim[3] * channels;
  const bool is_shared = rows->n_outputs == 2;
  int n_x = 0;
  rows->n_rows = 0;
  for (int64_t k = 0; k < d->kernel[0] + rows->n_outputs - 1; k++) {
    const int64_t ih = oh * d->stride[0] - d->pad[0] + k * d->dilation[0];
    const bool is_inside = ih >= 0 && ih < d->input.dim[2];
    if (!is_inside && !is_shared) continue;
    x[n_x++] = is_inside ? image + ih * row_elements : d->zeros;
    if (k < d->kernel[0]) weights[rows->n_rows++] = all_weights + k * d->kernel[1] * channels;
  }
  rows->x = x;
  rows->weights = weights;
  table->rows(rows);
}

/* Where the next call's new rows lie, if they come from far away and lie inside the tensors. */
static void set_prefetch(struct mq_simd_depthwise_rows *rows, const struct mq_depthwise *d,
                         const float *image, int64_t oh, bool is_last_image) {
  const int64_t channels = d->input.dim[1], height = d->input.dim[2], width = d->input.dim[3];
  const int64_t next_oh = oh + rows->n_outputs, n = rows->n_outputs;
  const int64_t next_ih = next_oh * d->stride[0] - d->pad[0] + (d->kernel[0] - 1) * d->dilation[0];
  const bool is_inside = !is_last_image || (next_oh + n <= d->output.dim[2] && next_ih + n <= height);
  rows->next_x = rows->next_y = NULL;
  if (!is_inside || height * width * channels < PREFETCH_ELEMENTS) return;
  rows->next_x = image + next_ih * width * channels;
  rows->next_y = rows->y + n * rows->width_out * channels;
}

static void run(const struct mq_depthwise *d, float *y, const float *x, const float *weights,
                const float *bias, const float *residual, float *scratch) {
  const struct mq_simd_depthwise *table = mq_simd_depthwise_at(mq_simd_level_used());
  const int64_t channels = d->input.dim[1], row_elements = d->output.dim[3] * channels;
  const int64_t image_elements = channels * d->input.dim[2] * d->input.dim[3];
  struct mq_simd_depthwise_rows rows = {
      .channels = channels,
      .width_in = d->input.dim[3],
      .width_out = d->output.dim[3],
      .kernel = d->kernel[1],
      .stride = d->stride[1],
      .dilation = d->dilation[1],
      .pad = d->pad[1],
      .bias = bias,
      .y_step = channels,
  };
  for (int64_t n = 0; n < d->input.dim[0]; n++, x += image_elements) {
    for (int64_t oh = 0; oh < d->output.dim[2]; oh += rows.n_outputs) {
      rows.n_outputs = d->zeros != NULL && oh + 1 < d->output.dim[2] ? 2 : 1;
      rows.y = residual == y && residual != NULL ? scratch : y;
      set_prefetch(&rows, d, x, oh, n + 1 == d->input.dim[0]);
      run_rows(d, table, &rows, weights, x, oh);
      if (d->posts.n_posts > 0)
        mq_posts_apply(&d->posts, y, rows.y, residual, rows.n_outputs * d->output.dim[3], channels);
      y += rows.n_outputs * row_elements;
      if (residual != NULL) residual += rows.n_outputs * row_elements;
    }
  }
}

void mq_depthwise_run(const struct mq_depthwise *d, float *y, const float *x, const float *residual,
                      void *scratch) {
  const float *bias = d->weights + d->kernel[0] * d->kernel[1] * d->input.dim[1];
  run(d, y, x, d->weights, bias, residual, scratch);
}

void mq_depthwise_convolve(const struct mq_depthwise *depthwise, float *y, const float *x,
                           const float *weights, const float *bias) {
  run(depthwise, y, x, weights, bias, NULL, NULL);
}
