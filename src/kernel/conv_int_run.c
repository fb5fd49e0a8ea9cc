/* An integer convolution at work: codes shifted, the library's sums, then what zero points, digits and the
 * multiplier make of them. */
#include <assert.h>
#include <string.h>

#include "kernel/conv.h"
#include "kernel/conv_int.h"
#include "kernel/simd/integer.h"

/* Parts of the scratch memory of a run; NULL or 0 bytes where not needed. */
struct run {
  uint8_t *x;      /* shifted codes */
  int32_t *parts;  /* the library's sums, digit by digit */
  int32_t *table;  /* class x O: what is added there */
  int32_t *groups; /* H x W x groups: sums of x over the channels of a group; one image */
  int32_t *column; /* W x groups: those summed over the rows of a window */
  int32_t *box;    /* OW x groups: the box sums of a row of outputs */
  void *op;
};

static char *take(size_t *used, char *memory, size_t bytes) {
  char *part = bytes == 0 || memory == NULL ? NULL : memory + *used;
  *used += mq_scratch_round(bytes);
  return part;
}

static size_t cut_scratch(struct run *run, const struct mq_conv_int *conv, void *memory) {
  const int64_t *in = conv->desc.input.dim, *out = conv->output.dim, groups = conv->desc.groups;
  const size_t n_in = (size_t)(conv->n_images * in[1] * in[2] * in[3]);
  const size_t n_out = (size_t)(conv->n_images * out[1] * out[2] * out[3]);
  const size_t n_table = (size_t)(conv->n_spans[0] * conv->n_spans[1] * out[1]);
  const size_t n_box = conv->has_box ? (size_t)groups : 0, width = sizeof(int32_t);
  size_t used = 0;
  run->x = (void *)take(&used, memory, conv->x_offset != 0 ? n_in : 0);
  run->parts = (void *)take(&used, memory, conv->n_parts > 1 ? n_out * (size_t)conv->n_parts * width : 0);
  run->table = (void *)take(&used, memory, conv->has_table ? n_table * width : 0);
  run->groups = (void *)take(&used, memory, n_box * (size_t)(in[2] * in[3]) * width);
  run->column = (void *)take(&used, memory, n_box * (size_t)in[3] * width);
  run->box = (void *)take(&used, memory, n_box * (size_t)out[3] * width);
  run->op = take(&used, memory, mq_onednn_scratch_bytes(conv->op));
  return used;
}

size_t mq_conv_int_run_scratch_bytes(const struct mq_conv_int *conv) {
  struct run run;
  return cut_scratch(&run, conv, NULL);
}

/* Where the results go: to y, or, with y NULL, to sums. */
struct results {
  float *y;
  int32_t *sums;
  const float *multiplier, *bias;
};

/* ---- Box sums ----------------------------------------------------------------------------------------- */

static void sum_columns(const struct mq_conv_int *conv, const struct run *run,
                        const struct mq_simd_integer *table, int64_t oh,
                        const struct mq_conv_int_span *rows) {
  const struct mq_conv_int_desc *d = &conv->desc;
  const int64_t row = d->input.dim[3] * d->groups;
  memset(run->column, 0, (size_t)row * sizeof *run->column);
  for (int64_t kh = rows->first; kh < rows->last; kh++) {
    const int64_t ih = oh * d->stride[0] - d->pad_begin[0] + kh * d->dilation[0];
    table->add(run->column, run->groups + ih * row, row);
  }
}

/* The box sums of output row oh, from the channel sums of its image. */
static void sum_boxes(const struct mq_conv_int *conv, const struct run *run,
                      const struct mq_simd_integer *table, int64_t oh, const struct mq_conv_int_span *rows) {
  const struct mq_conv_int_desc *d = &conv->desc;
  const int64_t groups = d->groups;
  sum_columns(conv, run, table, oh, rows);
  memset(run->box, 0, (size_t)(conv->output.dim[3] * groups) * sizeof *run->box);
  for (int64_t s = 0; s < conv->n_spans[1]; s++) {
    const struct mq_conv_int_span *span = &conv->spans[1][s];
    const int64_t n = span[1].begin - span->begin;
    for (int64_t kw = span->first; kw < span->last; kw++) {
      const int64_t iw = span->begin * d->stride[1] - d->pad_begin[1] + kw * d->dilation[1];
      int32_t *box = run->box + span->begin * groups;
      const int32_t *column = run->column + iw * groups;
      if (d->stride[1] == 1)
        table->add(box, column, n * groups);
      else
        for (int64_t i = 0; i < n; i++)
          table->add(box + i * groups, column + i * d->stride[1] * groups, groups);
    }
  }
}

/* ---- Finish ------------------------------------------------------------------------------------------- */

/* n pixels from `at` on, all of one class; box: theirs, or NULL. */
static void finish_pixels(const struct mq_conv_int *conv, const struct run *run,
                          const struct mq_conv_int_packed *packed, const struct results *to, int64_t at,
                          int64_t n, int64_t class, const int32_t *box) {
  const int64_t channels = conv->output.dim[1], first = at * channels;
  const struct mq_simd_integer_sums sums = {
      .n_pixels = n,
      .channels = channels,
      .groups = conv->desc.groups,
      .n_parts = conv->n_parts,
      .base = conv->base,
      .parts = run->parts + first * conv->n_parts,
      .shift = run->table != NULL ? run->table + class * channels : NULL,
      .zero_point = box != NULL ? packed->zero_point : NULL,
      .box = box,
      .sums = to->sums != NULL ? to->sums + first : NULL,
      .y = to->y != NULL ? to->y + first : NULL,
      .multiplier = to->multiplier,
      .bias = to->bias,
  };
  mq_simd_integer_at(mq_simd_level_used())->finish(&sums);
}

static void finish_row(const struct mq_conv_int *conv, const struct run *run,
                       const struct mq_conv_int_packed *packed, const struct results *to, int64_t row,
                       int64_t row_class) {
  for (int64_t s = 0; s < conv->n_spans[1]; s++) {
    const struct mq_conv_int_span *span = &conv->spans[1][s];
    const int32_t *box = conv->has_box ? run->box + span->begin * conv->desc.groups : NULL;
    finish_pixels(conv, run, packed, to, row * conv->output.dim[3] + span->begin, span[1].begin - span->begin,
                  row_class * conv->n_spans[1] + s, box);
  }
}

static void finish_image(const struct mq_conv_int *conv, const struct run *run,
                         const struct mq_conv_int_packed *packed, const struct results *to, const uint8_t *x,
                         int64_t image) {
  const struct mq_simd_integer *table = mq_simd_integer_at(mq_simd_level_used());
  const int64_t *in = conv->desc.input.dim, groups = conv->desc.groups;
  if (conv->has_box)
    table->row_sums(run->groups, x + image * in[2] * in[3] * in[1], in[2] * in[3] * groups, in[1] / groups);
  for (int64_t s = 0; s < conv->n_spans[0]; s++) {
    const struct mq_conv_int_span *span = &conv->spans[0][s];
    for (int64_t oh = span->begin; oh < span[1].begin; oh++) {
      if (conv->has_box) sum_boxes(conv, run, table, oh, span);
      finish_row(conv, run, packed, to, image * conv->output.dim[2] + oh, s);
    }
  }
}

/* The table times -zx'; NULL where that is 0. */
static void fill_table(struct run *run, const struct mq_conv_int *conv,
                       const struct mq_conv_int_packed *packed, int32_t zero_point) {
  const int64_t n = conv->n_spans[0] * conv->n_spans[1] * conv->output.dim[1];
  if (zero_point == 0) run->table = NULL;
  for (int64_t i = 0; i < n && zero_point != 0; i++)
    run->table[i] = (int32_t)(0u - (uint32_t)zero_point * (uint32_t)packed->table[i]);
}

static void finish(const struct mq_conv_int *conv, const struct run *run,
                   const struct mq_conv_int_packed *packed, const struct results *to, const uint8_t *x) {
  const bool is_one_class = run->table == NULL || conv->n_spans[0] * conv->n_spans[1] == 1;
  if (!conv->has_box && is_one_class) {
    /* Nothing is to be done where the library's sums are the result already. */
    if (to->y != NULL || run->table != NULL || conv->n_parts > 1)
      finish_pixels(conv, run, packed, to, 0, conv->n_images * conv->output.dim[2] * conv->output.dim[3], 0,
                    NULL);
    return;
  }
  for (int64_t image = 0; image < conv->n_images; image++)
    finish_image(conv, run, packed, to, x, image);
}

/* conv->n_images images; x and the results are theirs. */
static mq_status convolve_images(const struct mq_conv_int *conv, struct run run,
                                 const struct mq_conv_int_packed *packed, const struct results *to,
                                 const uint8_t *x, struct mq_err *err) {
  /* Sums of one digit are made in the place of the results: both have four bytes. */
  if (run.parts == NULL) run.parts = to->y != NULL ? (int32_t *)(void *)to->y : to->sums;
  if (run.x != NULL) {
    const int64_t n = conv->n_images * (mq_shape_count(&conv->desc.input) / conv->desc.input.dim[0]);
    mq_simd_integer_at(mq_simd_level_used())->shift_bytes(run.x, x, n, conv->x_offset);
    x = run.x;
  }
  const struct mq_onednn_operands operands = {.x = x, .weights = packed->weights, .y = run.parts};
  const mq_status status = mq_onednn_pass_run(conv->op, &operands, run.op, err);
  if (status == MQ_OK) finish(conv, &run, packed, to, x);
  return status;
}

static mq_status convolve(const struct mq_conv_int *conv, struct results to, const uint8_t *x,
                          int32_t zero_point, const void *memory, void *scratch, struct mq_err *err) {
  assert(conv->desc.has_input_zero_point || zero_point == 0);
  struct run run;
  struct mq_conv_int_packed packed;
  const int64_t slice = conv->desc.input.dim[0], step = conv->n_images;
  const int64_t x_step = mq_shape_count(&conv->desc.input) / slice * step;
  const int64_t y_step = mq_shape_count(&conv->output) / slice * step;
  mq_status status = MQ_OK;
  mq_conv_int_packed_layout(&packed, conv, memory);
  cut_scratch(&run, conv, scratch);
  fill_table(&run, conv, &packed, zero_point + conv->x_offset);
  for (int64_t image = 0; image < slice && status == MQ_OK; image += step, x += x_step) {
    status = convolve_images(conv, run, &packed, &to, x, err);
    if (to.y != NULL) to.y += y_step;
    if (to.sums != NULL) to.sums += y_step;
  }
  return status;
}

mq_status mq_conv_int_forward(const struct mq_conv_int *conv, float *y, const void *x, int32_t zero_point,
                              const void *packed, const float *multiplier, const float *bias, void *scratch,
                              struct mq_err *err) {
  const struct results to = {.y = y, .multiplier = multiplier, .bias = bias};
  return convolve(conv, to, x, zero_point, packed, scratch, err);
}

mq_status mq_conv_int_sums(const struct mq_conv_int *conv, int32_t *y, const void *x, int32_t zero_point,
                           const void *packed, void *scratch, struct mq_err *err) {
  const struct results to = {.sums = y};
  return convolve(conv, to, x, zero_point, packed, scratch, err);
}
