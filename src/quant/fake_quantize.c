#include <assert.h>
#include <math.h>

#include "mqbench/kernel.h"
#include "mqbench/quant.h"

/* NaN passes both comparisons. Clipped in float: x / s may be beyond every integer type. */
static float quantize_to_float(float x, float scale, int32_t zero_point, int32_t quant_min,
                               int32_t quant_max) {
  float q = rintf(x / scale) + (float)zero_point;
  float n = (float)quant_min, p = (float)quant_max;
  q = q < n ? n : q;
  return q > p ? p : q;
}

int32_t mq_quantize_value(float x, float scale, int32_t zero_point, int32_t quant_min, int32_t quant_max) {
  if (isnan(x)) return zero_point;
  return (int32_t)quantize_to_float(x, scale, zero_point, quant_min, quant_max);
}

float mq_fake_quantize_value(float x, float scale, int32_t zero_point, int32_t quant_min, int32_t quant_max) {
  float q = quantize_to_float(x, scale, zero_point, quant_min, quant_max);
  return scale * (q - (float)zero_point);
}

/* Walks all elements of two tensors of one shape in logical order. */
struct walk {
  int64_t index[MQ_MAX_RANK], at_y, at_x;
};

static bool walk_next(struct walk *walk, const struct mq_tensor *y, const struct mq_tensor *x) {
  for (int axis = x->shape.rank - 1; axis >= 0; axis--) {
    walk->at_y += y->stride[axis];
    walk->at_x += x->stride[axis];
    if (++walk->index[axis] < x->shape.dim[axis]) return true;
    walk->at_y -= y->stride[axis] * x->shape.dim[axis];
    walk->at_x -= x->stride[axis] * x->shape.dim[axis];
    walk->index[axis] = 0;
  }
  return false;
}

static void check_tensors(const struct mq_tensor *y, mq_dtype dtype, const struct mq_tensor *x,
                          const struct mq_qparams *qparams) {
  assert(y->dtype == dtype && x->dtype == MQ_F32 && mq_shape_equal(&y->shape, &x->shape));
  int axis = qparams->channel_axis;
  assert(axis < x->shape.rank);
  assert(qparams->n_channels == (axis < 0 ? 1 : x->shape.dim[axis]));
  (void)y, (void)dtype, (void)x, (void)axis;
}

static void fake_quantize_run(float *y, const float *x, int64_t n, const struct mq_qparams *qparams,
                              int64_t channel) {
  struct mq_fake_quant fq = {.scale = qparams->scale[channel],
                             .zero_point = (float)qparams->zero_point[channel],
                             .quant_min = (float)qparams->quant_min,
                             .quant_max = (float)qparams->quant_max};
  mq_loop_fake_quantize(y, x, n, &fq);
}

/* Both tensors densely packed in one and the same order, one scale. */
static bool is_one_run(const struct mq_tensor *y, const struct mq_tensor *x) {
  return (mq_tensor_is_row_major(y) && mq_tensor_is_row_major(x)) ||
         (mq_tensor_is_channels_last(y) && mq_tensor_is_channels_last(x));
}

void mq_fake_quantize(struct mq_tensor *y, const struct mq_tensor *x, const struct mq_qparams *qparams) {
  check_tensors(y, MQ_F32, x, qparams);
  int64_t n = mq_shape_count(&x->shape);
  if (n == 0) return;
  float *to = y->data;
  const float *from = x->data;
  if (qparams->channel_axis < 0 && is_one_run(y, x)) {
    fake_quantize_run(to, from, n, qparams, 0);
    return;
  }
  if (qparams->channel_axis == 0 && mq_tensor_is_row_major(y) && mq_tensor_is_row_major(x)) {
    int64_t row = n / qparams->n_channels;
    for (int64_t c = 0; c < qparams->n_channels; c++)
      fake_quantize_run(to + c * row, from + c * row, row, qparams, c);
    return;
  }
  struct walk walk = {0};
  do {
    int64_t c = qparams->channel_axis < 0 ? 0 : walk.index[qparams->channel_axis];
    to[walk.at_y] = mq_fake_quantize_value(from[walk.at_x], qparams->scale[c], qparams->zero_point[c],
                                           qparams->quant_min, qparams->quant_max);
  } while (walk_next(&walk, y, x));
}

void mq_quantize(struct mq_tensor *q, const struct mq_tensor *x, const struct mq_qparams *qparams) {
  check_tensors(q, MQ_I32, x, qparams);
  if (mq_shape_count(&x->shape) == 0) return;
  int32_t *to = q->data;
  const float *from = x->data;
  struct walk walk = {0};
  do {
    int64_t c = qparams->channel_axis < 0 ? 0 : walk.index[qparams->channel_axis];
    to[walk.at_y] = mq_quantize_value(from[walk.at_x], qparams->scale[c], qparams->zero_point[c],
                                      qparams->quant_min, qparams->quant_max);
  } while (walk_next(&walk, q, x));
}
