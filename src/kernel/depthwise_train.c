#include "kernel/depthwise_train.h"

#include <string.h>

#include "kernel/depthwise.h"
#include "kernel/simd/depthwise.h"
#include "kernel/simd/depthwise_gradient.h"

/* Smaller images stay in the second-level cache (1 MiB and more on CPUs of the last years). */
#define PREFETCH_ELEMENTS ((int64_t)64 * 1024)

/* Input columns p, p + stride, p + 2 stride ... meet the same taps: seen from them, dx is a convolution of dy
 * with stride 1 and these taps alone, in falling order. */
struct phase {
  int64_t first_tap, n_taps; /* in the order of the packed backward weights of a row */
  int64_t dilation, pad;     /* of that convolution */
  int64_t width;             /* columns of dx */
};

struct mq_depthwise_train {
  struct mq_shape input, output;
  int64_t kernel[2], stride[2], dilation[2], pad[2];
  struct mq_depthwise *forward;
  struct mq_depthwise *data; /* both strides 1: a convolution with the kernel turned round; else NULL */
  struct phase *phases;      /* otherwise: the first min(stride, width) columns */
  int64_t n_phases;
  int64_t *order; /* tap of the weights behind each tap of the packed backward weights */
};

/* ---- Creation ----------------------------------------------------------------------------------------- */

static mq_status create_turned(struct mq_depthwise_train *d, const struct mq_conv_desc *desc,
                               struct mq_err *err) {
  struct mq_conv_desc turned = *desc;
  turned.input = d->output;
  for (int i = 0; i < 2; i++)
    turned.pad_begin[i] = (d->kernel[i] - 1) * d->dilation[i] - d->pad[i];
  for (int64_t t = 0, n = d->kernel[0] * d->kernel[1]; t < n; t++)
    d->order[t] = n - 1 - t;
  return mq_depthwise_create_bare(&d->data, &turned, &d->input, err);
}

/* Column p of dx meets tap k at column (p + pad - k dilation) / stride of dy, where that is whole. Columns
 * may lie outside. */
static void init_phase(struct phase *phase, int64_t *order, const struct mq_depthwise_train *d, int64_t p) {
  const int64_t stride = d->stride[1], dilation = d->dilation[1];
  int64_t begin = 0, second = 0;
  phase->n_taps = 0;
  for (int64_t k = d->kernel[1] - 1; k >= 0; k--) {
    const int64_t at = p + d->pad[1] - k * dilation;
    if (at % stride != 0) continue;
    if (phase->n_taps == 0) begin = at / stride;
    if (phase->n_taps == 1) second = at / stride;
    order[phase->n_taps++] = k;
  }
  phase->dilation = phase->n_taps > 1 ? second - begin : 1;
  phase->pad = -begin;
  phase->width = (d->input.dim[3] - p + stride - 1) / stride;
}

/* A row of taps is ordered phase by phase. Phases beyond the width are listed too: their taps must lie
 * somewhere, though no column has them. */
static mq_status create_phases(struct mq_depthwise_train *d, struct mq_err *err) {
  const int64_t width = d->kernel[1];
  int64_t n_used = 0;
  d->n_phases = d->stride[1] < d->input.dim[3] ? d->stride[1] : d->input.dim[3];
  d->phases = mq_alloc((size_t)d->n_phases, sizeof *d->phases);
  if (d->phases == NULL) return mq_fail_memory(err, "depthwise convolution");
  for (int64_t p = 0; p < d->n_phases; p++) {
    d->phases[p].first_tap = n_used;
    init_phase(&d->phases[p], d->order + n_used, d, p);
    n_used += d->phases[p].n_taps;
  }
  for (int64_t kh = 1; kh < d->kernel[0]; kh++)
    for (int64_t t = 0; t < n_used; t++)
      d->order[kh * width + t] = kh * width + d->order[t];
  return MQ_OK;
}

mq_status mq_depthwise_train_create(struct mq_depthwise_train **depthwise, const struct mq_conv_desc *desc,
                                    const struct mq_shape *output, struct mq_err *err) {
  *depthwise = NULL;
  struct mq_depthwise_train *made = mq_alloc(1, sizeof *made);
  if (made == NULL) return mq_fail_memory(err, "depthwise convolution");
  made->input = desc->input;
  made->output = *output;
  for (int i = 0; i < 2; i++) {
    made->kernel[i] = desc->weights->shape.dim[2 + i];
    made->stride[i] = desc->stride[i];
    made->dilation[i] = desc->dilation[i];
    made->pad[i] = desc->pad_begin[i];
  }
  const bool is_dense = made->stride[0] == 1 && made->stride[1] == 1;
  mq_status status = mq_depthwise_create_bare(&made->forward, desc, output, err);
  if (status == MQ_OK) {
    made->order = mq_alloc((size_t)(made->kernel[0] * made->kernel[1]), sizeof *made->order);
    if (made->order == NULL) status = mq_fail_memory(err, "depthwise convolution");
  }
  if (status == MQ_OK) status = is_dense ? create_turned(made, desc, err) : create_phases(made, err);
  if (status != MQ_OK)
    mq_depthwise_train_destroy(made);
  else
    *depthwise = made;
  return status;
}

void mq_depthwise_train_destroy(struct mq_depthwise_train *depthwise) {
  if (depthwise == NULL) return;
  mq_depthwise_destroy(depthwise->forward);
  mq_depthwise_destroy(depthwise->data);
  mq_free(depthwise->phases);
  mq_free(depthwise->order);
  mq_free(depthwise);
}

/* ---- Weights ------------------------------------------------------------------------------------------ */

int64_t mq_depthwise_train_count(const struct mq_depthwise_train *depthwise) {
  return depthwise->kernel[0] * depthwise->kernel[1] * depthwise->input.dim[1];
}

void mq_depthwise_train_pack(const struct mq_depthwise_train *depthwise, float *packed_forward,
                             float *packed_backward, const float *weights) {
  const int64_t channels = depthwise->input.dim[1], taps = depthwise->kernel[0] * depthwise->kernel[1];
  for (int64_t t = 0; t < taps; t++)
    for (int64_t c = 0; c < channels; c++) {
      if (packed_forward != NULL) packed_forward[t * channels + c] = weights[c * taps + t];
      if (packed_backward != NULL)
        packed_backward[t * channels + c] = weights[c * taps + depthwise->order[t]];
    }
}

void mq_depthwise_train_unpack(const struct mq_depthwise_train *depthwise, float *dw, bool adds,
                               const float *packed_gradient) {
  const int64_t channels = depthwise->input.dim[1], taps = depthwise->kernel[0] * depthwise->kernel[1];
  for (int64_t c = 0; c < channels; c++)
    for (int64_t t = 0; t < taps; t++) {
      const float gradient = packed_gradient[t * channels + c];
      dw[c * taps + t] = adds ? dw[c * taps + t] + gradient : gradient;
    }
}

/* ---- Runs --------------------------------------------------------------------------------------------- */

void mq_depthwise_train_forward(const struct mq_depthwise_train *depthwise, float *y, const float *x,
                                const float *packed_forward, const float *bias) {
  mq_depthwise_convolve(depthwise->forward, y, x, packed_forward, bias);
}

/* Row ih of dx, phase by phase; dy: its image. has_next: there is memory behind both. */
static void backward_row(const struct mq_depthwise_train *d, const struct mq_simd_depthwise *table, float *dx,
                         const float *dy, int64_t ih, const float *packed, const float *zeros,
                         bool has_next) {
  const float *rows_of_dy[MQ_DEPTHWISE_MAX_HEIGHT], *rows_of_weights[MQ_DEPTHWISE_MAX_HEIGHT] = {NULL};
  const float *weights[MQ_DEPTHWISE_MAX_HEIGHT];
  const int64_t channels = d->input.dim[1], width_out = d->output.dim[3];
  struct mq_simd_depthwise_rows rows = {
      .channels = channels, .width_in = width_out, .stride = 1, .bias = zeros, .n_outputs = 1};
  for (int64_t kh = d->kernel[0] - 1; kh >= 0; kh--) {
    const int64_t at = ih + d->pad[0] - kh * d->dilation[0];
    if (at < 0 || at % d->stride[0] != 0 || at / d->stride[0] >= d->output.dim[2]) continue;
    rows_of_weights[rows.n_rows] = packed + kh * d->kernel[1] * channels;
    rows_of_dy[rows.n_rows++] = dy + at / d->stride[0] * width_out * channels;
  }
  rows.x = rows_of_dy;
  rows.weights = weights;
  rows.y_step = d->stride[1] * channels;
  for (int64_t p = 0; p < d->n_phases; p++) {
    const struct phase *phase = &d->phases[p];
    for (int h = 0; h < rows.n_rows; h++)
      weights[h] = rows_of_weights[h] + phase->first_tap * channels;
    rows.kernel = phase->n_taps;
    rows.dilation = phase->dilation;
    rows.pad = phase->pad;
    rows.width_out = phase->width;
    rows.y = dx + p * channels;
    if (has_next) { /* each phase fetches its share of the tiles of the next rows */
      rows.next_y = dx + d->input.dim[3] * channels + p * MQ_SIMD_DEPTHWISE_TILE * channels;
      rows.next_x =
          dy + (ih / d->stride[0] + 1) * width_out * channels + p * MQ_SIMD_DEPTHWISE_TILE * channels;
    }
    table->rows(&rows);
  }
}

void mq_depthwise_train_backward_data(const struct mq_depthwise_train *depthwise, float *dx, const float *dy,
                                      const float *packed_backward, const float *zeros) {
  const struct mq_depthwise_train *d = depthwise;
  if (d->data != NULL) {
    mq_depthwise_convolve(d->data, dx, dy, packed_backward, zeros);
    return;
  }
  const struct mq_simd_depthwise *table = mq_simd_depthwise_at(mq_simd_level_used());
  const int64_t row = d->input.dim[3] * d->input.dim[1];
  const bool is_large = d->input.dim[2] * row >= PREFETCH_ELEMENTS;
  for (int64_t n = 0; n < d->input.dim[0]; n++) {
    const bool has_next = is_large && n + 1 < d->input.dim[0];
    for (int64_t ih = 0; ih < d->input.dim[2]; ih++, dx += row)
      backward_row(d, table, dx, dy, ih, packed_backward, zeros, has_next);
    dy += d->output.dim[2] * d->output.dim[3] * d->output.dim[1];
  }
}

/* Where the next call's new rows lie, if they come from far away and lie inside the tensors. */
static void set_prefetch(struct mq_simd_depthwise_gradient_rows *rows, const struct mq_depthwise_train *d,
                         const float *x, int64_t oh, bool is_last_image) {
  const int64_t height = d->input.dim[2], row = d->input.dim[3] * d->input.dim[1];
  const int64_t next_ih = (oh + 1) * d->stride[0] - d->pad[0] + (d->kernel[0] - 1) * d->dilation[0];
  const bool is_inside =
      !is_last_image || (oh + 1 < d->output.dim[2] && next_ih + d->stride[0] <= height && next_ih >= 0);
  rows->next_x = rows->next_dy = NULL;
  if (!is_inside || height * row < PREFETCH_ELEMENTS) return;
  rows->next_x = x + next_ih * row;
  rows->next_dy = rows->dy + d->output.dim[3] * d->output.dim[1];
}

void mq_depthwise_train_backward_weights(const struct mq_depthwise_train *depthwise, float *packed_gradient,
                                         const float *x, const float *dy) {
  const struct mq_depthwise_train *d = depthwise;
  const struct mq_simd_depthwise_gradient *table = mq_simd_depthwise_gradient_at(mq_simd_level_used());
  const int64_t channels = d->input.dim[1], height = d->input.dim[2], width = d->input.dim[3];
  const float *rows_of_x[MQ_DEPTHWISE_MAX_HEIGHT];
  float *gradient[MQ_DEPTHWISE_MAX_HEIGHT];
  struct mq_simd_depthwise_gradient_rows rows = {.channels = channels,
                                                 .width_in = width,
                                                 .width_out = d->output.dim[3],
                                                 .kernel = d->kernel[1],
                                                 .stride = d->stride[1],
                                                 .dilation = d->dilation[1],
                                                 .pad = d->pad[1],
                                                 .x = rows_of_x,
                                                 .gradient = gradient,
                                                 .x_lines = d->stride[0] * d->stride[1]};
  memset(packed_gradient, 0, (size_t)mq_depthwise_train_count(d) * sizeof *packed_gradient);
  for (int64_t n = 0; n < d->input.dim[0]; n++, x += height * width * channels)
    for (int64_t oh = 0; oh < d->output.dim[2]; oh++, dy += d->output.dim[3] * channels) {
      rows.n_rows = 0;
      for (int64_t kh = 0; kh < d->kernel[0]; kh++) {
        const int64_t ih = oh * d->stride[0] - d->pad[0] + kh * d->dilation[0];
        if (ih < 0 || ih >= height) continue;
        gradient[rows.n_rows] = packed_gradient + kh * d->kernel[1] * channels;
        rows_of_x[rows.n_rows++] = x + ih * width * channels;
      }
      rows.dy = dy;
      set_prefetch(&rows, d, x, oh, n + 1 == d->input.dim[0]);
      table->rows(&rows);
    }
}
