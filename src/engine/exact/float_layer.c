/* Layers that were kept out of quantization, as the integer program has them: f(sum + bias), the exact
 * products of floats added in double, by row, column and channel of the weights; taps outside the image are
 * left out. */
#include "engine/exact/exact.h"

struct float_state {
  struct exact_layer_shape shape;
  const float *weights; /* [O][KH][KW][I / groups] */
  const float *bias;    /* O */
};

/* ---- Running ---------------------------------------------------------------------------------------- */
/* The input pixel that tap `t` of output `o` reads along an axis, or -1. */
static int64_t pixel_of(const struct exact_layer_shape *s, int axis, int64_t o, int64_t t) {
  const struct mq_window *w = &s->window;
  int64_t n = s->x.dim[2 + axis], at = o * w->stride[axis] + t * w->dilation[axis] - w->pad_begin[axis];
  if (s->is_transposed) {
    int64_t back = o + w->pad_begin[axis] - t * w->dilation[axis];
    at = back % w->stride[axis] == 0 ? back / w->stride[axis] : -1;
  }
  return at < n ? at : -1;
}

static void add_tap(double *sums, const struct float_state *s, const float *x, int64_t tap) {
  const int64_t *form = s->shape.weights.dim, inputs = form[1], taps = form[2] * form[3];
  int64_t n = form[0] / s->shape.window.groups;
  for (int64_t o = 0; o < form[0]; o++) {
    const float *w = s->weights + (o * taps + tap) * inputs, *from = x + o / n * inputs;
    double sum = sums[o];
    for (int64_t i = 0; i < inputs; i++) {
      sum += (double)from[i] * (double)w[i];
    }
    sums[o] = sum;
  }
}

static void sum_pixel(double *sums, const struct float_state *s, const float *image, int64_t row,
                      int64_t column) {
  const int64_t *form = s->shape.weights.dim;
  for (int64_t o = 0; o < form[0]; o++) {
    sums[o] = 0;
  }
  for (int64_t kh = 0; kh < form[2]; kh++) {
    int64_t from_row = pixel_of(&s->shape, 0, row, kh);
    for (int64_t kw = 0; kw < form[3] && from_row >= 0; kw++) {
      int64_t from_column = pixel_of(&s->shape, 1, column, kw);
      if (from_column >= 0) {
        int64_t at = (from_row * s->shape.x.dim[3] + from_column) * s->shape.x.dim[1];
        add_tap(sums, s, image + at, kh * form[3] + kw);
      }
    }
  }
}

static mq_status forward_float(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const struct float_state *s = step->state;
  const int64_t *x = s->shape.x.dim, *y = s->shape.y.dim, n_pixels = y[2] * y[3];
  const float *from = engine_input(step, frame, 0)->data;
  float *to = engine_output(step, frame, 0)->data;
  double *sums = frame->scratch;
  for (int64_t i = 0; i < y[0] * n_pixels; i++, to += y[1]) {
    int64_t pixel = i % n_pixels;
    sum_pixel(sums, s, from + i / n_pixels * x[1] * x[2] * x[3], pixel / y[3], pixel % y[3]);
    for (int64_t o = 0; o < y[1]; o++) {
      to[o] = (float)(sums[o] + (double)s->bias[o]);
    }
  }
  return MQ_OK;
}

static const struct engine_function float_function = {.forward = forward_float};

/* ---- Compilation ------------------------------------------------------------------------------------ */
static mq_status make_weights(struct float_state *s, struct engine_compiler *c,
                              const struct exact_group *group, struct mq_err *err) {
  const struct mq_shape *form = &s->shape.weights;
  const float *from = group->weight_values->data;
  int64_t taps = form->dim[2] * form->dim[3], at = 0;
  void *block;
  mq_status status = engine_alloc(&block, c, (size_t)mq_shape_count(form) + 1, sizeof(float), err);
  if (status != MQ_OK) {
    return status;
  }
  float *weights = block;
  for (int64_t o = 0; o < form->dim[0]; o++) {
    for (int64_t tap = 0; tap < taps; tap++) {
      for (int64_t i = 0; i < form->dim[1]; i++, at++) {
        weights[at] = from[exact_weight_at(group, form, o, i, tap)];
      }
    }
  }
  s->weights = weights;
  return MQ_OK;
}

/* A node's own bias, or that of the addition behind a MatMul. */
static mq_status make_bias(struct float_state *s, struct engine_compiler *c, const struct exact_group *group,
                           struct mq_err *err) {
  const int64_t n = s->shape.y.dim[1];
  const float *values;
  void *block;
  mq_status status = exact_read_bias(&values, group, n, err);
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, (size_t)n + 1, sizeof(float), err);
  }
  if (status != MQ_OK) {
    return status;
  }
  float *bias = block;
  bool is_one = values && mq_shape_count(&group->bias->shape) == 1;
  for (int64_t o = 0; o < n; o++) {
    bias[o] = values ? values[is_one ? 0 : o] : 0;
  }
  s->bias = bias;
  return MQ_OK;
}

mq_status exact_compile_float_layer(struct engine_compiler *c, const struct exact_group *group,
                                    struct mq_err *err) {
  int x;
  void *block = NULL;
  mq_status status = exact_read_input(&x, c, group, err);
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, 1, sizeof(struct float_state), err);
  }
  struct float_state *s = block;
  if (status == MQ_OK) {
    status = exact_layer_shape(&s->shape, c, group, err);
  }
  if (status == MQ_OK) {
    status = make_weights(s, c, group, err);
  }
  if (status == MQ_OK) {
    status = make_bias(s, c, group, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct engine_step step = {
      .function = &float_function, .state = s, .scratch_bytes = (size_t)s->shape.y.dim[1] * sizeof(double)};
  return exact_emit_layer(c, group, &step, x, err);
}
