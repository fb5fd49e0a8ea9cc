/* Transposed convolutions, which take the shape of their output as a tensor: the batch of the input, known
 * when the file is run, and constants behind it. */
#include <string.h>

#include "deploy/tflite_build.h"

static uint32_t add_list(struct tflite_build *b, const char *suffix, int32_t n) {
  const struct tflite_tensor list = {
      .name = tflite_name(b, tflite_tensor_at(b, tflite_output(b))->name, suffix),
      .type = TFLITE_INT32,
      .rank = 1,
      .shape = {n}};
  return tflite_constant(b, &list);
}

/* [N, H, W, C]: N of the input. */
static uint32_t add_shape(struct tflite_build *b, uint32_t x, const int32_t *dim) {
  static const int32_t zero = 0, one = 1;
  const uint32_t shape = add_list(b, "_input_shape", 4), batch = add_list(b, "_batch", 1);
  const uint32_t all = add_list(b, "_shape", 4);
  tflite_add(b, TFLITE_SHAPE, &x, 1, shape);
  const uint32_t slice[] = {shape, tflite_ints(b, "_begin", &zero, 1, 0), tflite_ints(b, "_end", &one, 1, 0),
                            tflite_ints(b, "_strides", &one, 1, 0)};
  tflite_add(b, TFLITE_STRIDED_SLICE, slice, 4, batch);
  const uint32_t parts[] = {batch, tflite_ints(b, "_size", dim, 3, 0)};
  tflite_add(b, TFLITE_CONCATENATION, parts, 2, all);
  return all;
}

/* SAME: the input is as large as a convolution with these strides would make it of the output, and what that
 * needs beyond the output is halved, the larger half behind. */
static bool is_same(const struct mq_program_window *w, const struct mq_program_tensor *x,
                    const struct mq_program_tensor *y, int axis) {
  const int32_t in = (y->dim[axis] + w->stride[axis] - 1) / w->stride[axis];
  const int32_t total = (in - 1) * w->stride[axis] + w->kernel[axis] - y->dim[axis];
  return x->dim[axis] == in && w->pad_begin[axis] == (total > 0 ? total : 0) / 2;
}

/* Rows and columns of a larger output that are none of the step's. */
static void cut(struct tflite_build *b, uint32_t from, const struct mq_program_window *w, uint32_t output) {
  const struct mq_program_tensor *y = &b->program->tensors[b->step->output];
  const int32_t begin[] = {0, w->pad_begin[0], w->pad_begin[1], 0}, by[] = {1, 1, 1, 1};
  const int32_t end[] = {0, w->pad_begin[0] + y->dim[0], w->pad_begin[1] + y->dim[1], 0};
  const uint32_t inputs[] = {from, tflite_ints(b, "_cut_begin", begin, 4, 0),
                             tflite_ints(b, "_cut_end", end, 4, 0), tflite_ints(b, "_cut_strides", by, 4, 0)};
  struct tflite_operator *op = tflite_add(b, TFLITE_STRIDED_SLICE, inputs, 4, output);
  op->begin_mask = op->end_mask = 1 | 8; /* images and channels: all */
}

void tflite_add_transposed(struct tflite_build *b, const struct mq_program_window *w, uint32_t weights,
                           uint32_t bias, uint32_t output) {
  const struct mq_program_tensor *x = &b->program->tensors[b->step->inputs[0]];
  const struct mq_program_tensor *y = &b->program->tensors[b->step->output];
  const bool is_same_padding = is_same(w, x, y, 0) && is_same(w, x, y, 1);
  const bool has_cut = !is_same_padding && (w->pad_begin[0] || w->pad_begin[1]);
  int32_t dim[] = {y->dim[0], y->dim[1], y->dim[2]};
  uint32_t made = output;
  if (w->dilation[0] != 1 || w->dilation[1] != 1) {
    tflite_fail(b, "a transposed convolution with dilation %d, %d, expected 1", w->dilation[0],
                w->dilation[1]);
  }
  if (has_cut && b->status == MQ_OK) {
    made = tflite_tensor_like(b, output, "_uncut");
    for (int axis = 0; axis < 2 && b->status == MQ_OK; axis++) {
      b->tensors[made].shape[1 + axis] = dim[axis] += w->pad_begin[axis];
    }
  }
  const uint32_t from = tflite_input(b, 0);
  const uint32_t inputs[] = {add_shape(b, from, dim), weights, from, bias};
  struct tflite_operator *op = tflite_add(b, TFLITE_TRANSPOSE_CONV, inputs, 4, made);
  op->padding = is_same_padding ? TFLITE_SAME : TFLITE_VALID;
  memcpy(op->stride, w->stride, sizeof op->stride);
  if (has_cut) {
    cut(b, made, w, output);
  }
}
