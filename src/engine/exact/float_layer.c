/* Layers that were kept out of quantization: f(sum + bias), products added in double in the order of the
 * weights (rows, columns, channels), as integer programs define it. The engine's own convolutions add in
 * float32, in an order that depends on the instruction set. */
#include "engine/exact/exact.h"

struct float_state {
  struct exact_geometry g;
  const double *weights; /* [KH][KW][I / groups][O]: channels side by side */
  const double *bias;
};

static void sum_tap(double *sum, const struct float_state *s, const float *x, int64_t tap) {
  const struct exact_geometry *g = &s->g;
  int64_t outputs = g->weights.dim[0];
  for (int64_t i = 0; i < g->group_inputs; i++) {
    const double *w = s->weights + (tap * g->group_inputs + i) * outputs;
    for (int64_t group = 0; group < g->window.groups; group++) {
      double value = (double)x[group * g->group_inputs + i];
      int64_t first = group * g->group_outputs;
      for (int64_t o = first; o < first + g->group_outputs; o++) {
        sum[o] += value * w[o];
      }
    }
  }
}

static mq_status forward_float(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const struct float_state *s = step->state;
  const struct exact_geometry *g = &s->g;
  const float *x = engine_input(step, frame, 0)->data;
  float *y = engine_output(step, frame, 0)->data;
  int64_t outputs = g->weights.dim[0], n_pixels = mq_shape_count(&g->output) / outputs;
  double *sum = frame->scratch;
  for (int64_t pixel = 0; pixel < n_pixels; pixel++, y += outputs) {
    for (int64_t o = 0; o < outputs; o++) {
      sum[o] = 0;
    }
    for (int64_t tap = 0; tap < g->weights.dim[2] * g->weights.dim[3]; tap++) {
      int64_t at = exact_tap_at(g, pixel, tap / g->weights.dim[3], tap % g->weights.dim[3]);
      if (at >= 0) {
        sum_tap(sum, s, x + at, tap);
      }
    }
    for (int64_t o = 0; o < outputs; o++) {
      y[o] = (float)(sum[o] + s->bias[o]);
    }
  }
  return MQ_OK;
}

static const struct engine_function float_function = {.forward = forward_float};

static mq_status make_state(struct float_state *s, struct engine_compiler *c, const struct exact_group *group,
                            struct mq_err *err) {
  const struct mq_tensor *w = group->weight_values;
  const float *bias;
  void *weights, *biases;
  mq_status status = exact_geometry_init(&s->g, c, group->head, w, group->output, err);
  if (status != MQ_OK) {
    return status;
  }
  const struct mq_shape *form = &s->g.weights;
  int64_t outputs = form->dim[0], taps = form->dim[2] * form->dim[3];
  status = exact_read_bias(&bias, group, outputs, err);
  if (status == MQ_OK) {
    status = engine_alloc(&weights, c, (size_t)mq_shape_count(form) + 1, sizeof(double), err);
  }
  if (status == MQ_OK) {
    status = engine_alloc(&biases, c, (size_t)outputs + 1, sizeof(double), err);
  }
  if (status != MQ_OK) {
    return status;
  }
  for (int64_t o = 0; o < outputs; o++) {
    bool is_one = bias && mq_shape_count(&group->bias->shape) == 1;
    ((double *)biases)[o] = bias ? (double)bias[is_one ? 0 : o] : 0;
    for (int64_t tap = 0; tap < taps; tap++) {
      for (int64_t i = 0; i < form->dim[1]; i++) {
        ((double *)weights)[(tap * form->dim[1] + i) * outputs + o] =
            (double)((const float *)w->data)[exact_weight_at(&s->g, group->head, w, o, i, tap)];
      }
    }
  }
  s->weights = weights;
  s->bias = biases;
  return MQ_OK;
}

mq_status exact_compile_float_layer(struct engine_compiler *c, const struct exact_group *group,
                                    struct mq_err *err) {
  int x, y;
  void *block;
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct float_state), err);
  if (status == MQ_OK) {
    status = make_state(block, c, group, err);
  }
  if (status == MQ_OK) {
    status = exact_layer_places(&x, &y, c, group->head, group->output, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  engine_bind(c, group->output, y);
  const struct float_state *s = block;
  struct engine_step step = {.function = &float_function,
                             .state = s,
                             .inputs = &x,
                             .n_inputs = 1,
                             .outputs = &y,
                             .n_outputs = 1,
                             .scratch_bytes = (size_t)s->g.weights.dim[0] * sizeof(double)};
  return engine_emit(c, &step, err);
}
