/* Layers: sums of integers, then the arithmetic's codes or floats. */
#include <math.h>
#include <string.h>

#include "engine/exact/exact.h"

struct layer_state {
  const struct mq_exact_arithmetic *arithmetic;
  struct exact_sums *sums;
  const struct mq_exact_channel *channels;
  int64_t n_pixels, n_channels;
  size_t sums_bytes; /* of scratch; a pixel's sums and codes follow */
  bool has_codes;    /* y is on a grid */
  struct mq_exact_grid y;
};

static mq_status forward_layer(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  const struct layer_state *s = step->state;
  float *y = engine_output(step, frame, 0)->data;
  int64_t *sum = (int64_t *)(void *)((char *)frame->scratch + s->sums_bytes);
  int32_t *codes = (int32_t *)(void *)(sum + s->n_channels);
  mq_status status = exact_sums_begin(s->sums, engine_input(step, frame, 0)->data, frame->scratch, err);
  for (int64_t i = 0; i < s->n_pixels && status == MQ_OK; i++, y += s->n_channels) {
    exact_sums_pixel(sum, s->sums, frame->scratch, i);
    if (s->has_codes) {
      s->arithmetic->requantize(codes, sum, s->n_channels, s->channels, &s->y);
      exact_values(y, codes, s->n_channels, &s->y);
    } else {
      s->arithmetic->dequantize(y, sum, s->n_channels, s->channels);
    }
  }
  return status;
}

static const struct engine_function layer_function = {.forward = forward_layer};

static void release_layer(void *state) {
  exact_sums_release(((struct layer_state *)state)->sums);
}

/* ---- Weights in the form O, I / groups, KH, KW ------------------------------------------------------ */
int64_t exact_weight_at(const struct exact_group *group, const struct mq_shape *form, int64_t o, int64_t i,
                        int64_t tap) {
  const struct mq_node *node = group->head;
  const struct mq_tensor *w = group->weight_values;
  int64_t is_transposed = 0, taps = form->dim[2] * form->dim[3];
  switch (node->op) {
    case MQ_OP_Conv:
      return (o * form->dim[1] + i) * taps + tap;
    case MQ_OP_ConvTranspose: { /* I, O / groups, KH, KW */
      int64_t outputs = w->shape.dim[1], part = o / outputs;
      return ((part * form->dim[1] + i) * outputs + o % outputs) * taps + tap;
    }
    case MQ_OP_Gemm:
      is_transposed = mq_node_get_int(&is_transposed, node, "transB", 0, NULL) == MQ_OK ? is_transposed : 0;
      return is_transposed ? o * form->dim[1] + i : i * form->dim[0] + o;
    default:
      return i * form->dim[0] + o;
  }
}

static struct mq_shape weight_form(const struct mq_node *node, const struct mq_tensor *w, int64_t n_outputs,
                                   int64_t groups) {
  const struct mq_shape *s = &w->shape;
  bool is_conv = node->op == MQ_OP_Conv || node->op == MQ_OP_ConvTranspose;
  if (!is_conv) {
    return (struct mq_shape){.rank = 4, .dim = {n_outputs, mq_shape_count(s) / n_outputs, 1, 1}};
  }
  int64_t inputs = node->op == MQ_OP_Conv ? s->dim[1] : s->dim[0] / groups;
  int64_t height = s->rank == 4 ? s->dim[2] : 1;
  return (struct mq_shape){.rank = 4, .dim = {n_outputs, inputs, height, s->dim[s->rank - 1]}};
}

/* The scale's index of an output channel: along the axis that counts outputs, or 0. */
static mq_status check_axis(const struct exact_group *group, int64_t n_outputs, struct mq_err *err) {
  const struct mq_qparams *q = &group->weights->qparams;
  return q->n_channels == 1 || q->n_channels == n_outputs
             ? MQ_OK
             : engine_fail_unsupported(group->head, err, "weights with %lld scales, expected 1 or %lld",
                                       (long long)q->n_channels, (long long)n_outputs);
}

static mq_status make_weights(struct exact_weights *weights, struct engine_compiler *c,
                              const struct exact_group *group, const struct mq_shape *shape,
                              struct mq_err *err) {
  int64_t n_outputs = shape->dim[0];
  const struct mq_tensor *w = group->weight_values;
  const struct mq_qparams *q = &group->weights->qparams;
  struct mq_tensor codes = {0};
  void *ordered, *zero_point;
  *weights = (struct exact_weights){.shape = *shape, .code_min = q->quant_min, .code_max = q->quant_max};
  mq_status status = check_axis(group, n_outputs, err);
  if (status == MQ_OK) {
    status = engine_alloc(&ordered, c, (size_t)mq_shape_count(&w->shape) + 1, sizeof(int32_t), err);
  }
  if (status == MQ_OK) {
    status = engine_alloc(&zero_point, c, (size_t)n_outputs + 1, sizeof(int32_t), err);
  }
  if (status == MQ_OK) {
    status = mq_tensor_init(&codes, MQ_I32, &w->shape, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  mq_quantize(&codes, w, q);
  const struct mq_shape *form = &weights->shape;
  int64_t taps = form->dim[2] * form->dim[3], at = 0;
  for (int64_t o = 0; o < n_outputs; o++) {
    ((int32_t *)zero_point)[o] = q->zero_point[q->n_channels > 1 ? o : 0];
    for (int64_t i = 0; i < form->dim[1]; i++) {
      for (int64_t tap = 0; tap < taps; tap++, at++) {
        ((int32_t *)ordered)[at] = ((const int32_t *)codes.data)[exact_weight_at(group, form, o, i, tap)];
      }
    }
  }
  weights->codes = ordered;
  weights->zero_point = zero_point;
  mq_tensor_deinit(&codes);
  return MQ_OK;
}

/* ---- Channels --------------------------------------------------------------------------------------- */
mq_status exact_read_bias(const float **values, const struct exact_group *group, int64_t n_outputs,
                          struct mq_err *err) {
  const struct mq_tensor *bias = group->bias ? group->bias->constant : NULL;
  *values = bias ? bias->data : NULL;
  if (!group->bias) {
    return MQ_OK;
  }
  if (!bias || bias->dtype != MQ_F32) {
    return engine_fail_unsupported(group->head, err, "bias %s is not a float32 constant", group->bias->name);
  }
  int64_t n = mq_shape_count(&bias->shape);
  return n == n_outputs || n == 1
             ? MQ_OK
             : engine_fail_unsupported(group->head, err, "bias of %lld elements, expected %lld", (long long)n,
                                       (long long)n_outputs);
}

static mq_status make_channels(struct layer_state *s, struct engine_compiler *c,
                               const struct exact_group *group, struct mq_err *err) {
  const struct mq_qparams *q = &group->weights->qparams;
  const float *bias;
  void *block;
  mq_status status = exact_read_bias(&bias, group, s->n_channels, err);
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, (size_t)s->n_channels + 1, sizeof(struct mq_exact_channel), err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct mq_exact_channel *channels = block;
  int64_t n_biases = bias ? mq_shape_count(&group->bias->shape) : 0;
  for (int64_t o = 0; o < s->n_channels && status == MQ_OK; o++) {
    const struct mq_exact_layer layer = {
        .x_scale = group->x[0]->scale[0],
        .w_scale = q->scale[q->n_channels > 1 ? o : 0],
        .y_scale = group->y ? group->y->scale[0] : 0,
        .bias = bias ? bias[n_biases > 1 ? o : 0] : 0,
        .is_linear = group->head->op == MQ_OP_Gemm || group->head->op == MQ_OP_MatMul,
        .is_per_tensor = !group->weights->scheme.is_per_channel,
        .largest_sum = exact_sums_largest(s->sums, o),
    };
    status = s->arithmetic->make_channel(&channels[o], &layer, err);
  }
  s->channels = channels;
  return status;
}

/* ---- Compilation ------------------------------------------------------------------------------------ */
static struct mq_shape with_height(const struct mq_shape *shape) {
  if (shape->rank == 4) {
    return *shape;
  }
  return (struct mq_shape){.rank = 4, .dim = {shape->dim[0], shape->dim[1], 1, shape->dim[2]}};
}

/* A linear layer is a convolution of 1 x 1 images, one for each row. */
static struct mq_shape rows_of(const struct mq_shape *shape) {
  int64_t n = shape->dim[shape->rank - 1];
  return (struct mq_shape){.rank = 4, .dim = {n ? mq_shape_count(shape) / n : 0, n, 1, 1}};
}

static bool is_conv(const struct exact_group *group) {
  return group->head->op == MQ_OP_Conv || group->head->op == MQ_OP_ConvTranspose;
}

mq_status exact_layer_shape(struct exact_layer_shape *s, struct engine_compiler *c,
                            const struct exact_group *group, struct mq_err *err) {
  struct mq_shape x = engine_shape(c, group->head->inputs[0]), y = engine_shape(c, group->output);
  *s = (struct exact_layer_shape){
      .window = {.stride = {1, 1}, .dilation = {1, 1}, .kernel = {1, 1}, .groups = 1},
      .is_transposed = group->head->op == MQ_OP_ConvTranspose,
      .x = is_conv(group) ? with_height(&x) : rows_of(&x),
      .y = is_conv(group) ? with_height(&y) : rows_of(&y)};
  mq_status status = is_conv(group) ? mq_node_get_window(&s->window, group->head, err) : MQ_OK;
  if (status == MQ_OK) {
    s->weights = weight_form(group->head, group->weight_values, s->y.dim[1], s->window.groups);
  }
  return status;
}

static mq_status describe(struct exact_sums_options *o, struct engine_compiler *c,
                          const struct exact_group *group, struct mq_err *err) {
  struct exact_layer_shape shape;
  mq_status status = exact_layer_shape(&shape, c, group, err);
  if (status == MQ_OK) {
    status = exact_grid(&o->x, c, group->x[0], NULL, err);
  }
  o->window = shape.window;
  o->is_transposed = shape.is_transposed;
  o->input = shape.x;
  o->output = shape.y;
  return status == MQ_OK ? make_weights(&o->weights, c, group, &shape.weights, err) : status;
}

static mq_status make_state(struct layer_state *s, struct engine_compiler *c, const struct exact_group *group,
                            struct mq_err *err) {
  struct exact_sums_options o = {0};
  mq_status status = describe(&o, c, group, err);
  if (status == MQ_OK) {
    status = exact_sums_create(&s->sums, c, &o, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  s->arithmetic = c->exact->arithmetic;
  s->n_channels = o.output.dim[1];
  s->n_pixels = mq_shape_count(&o.output) / s->n_channels;
  s->sums_bytes = (exact_sums_scratch_bytes(s->sums) + 63) / 64 * 64;
  s->has_codes = group->y != NULL;
  if (group->y) {
    status = exact_grid(&s->y, c, group->y, group->activation, err);
  }
  return status == MQ_OK ? make_channels(s, c, group, err) : status;
}

mq_status exact_read_input(int *x, struct engine_compiler *c, const struct exact_group *group,
                           struct mq_err *err) {
  return engine_read_float(x, c, group->head, 0, is_conv(group) ? ENGINE_CHANNELS_LAST : ENGINE_ROW_MAJOR,
                           err);
}

mq_status exact_emit_layer(struct engine_compiler *c, const struct exact_group *group,
                           struct engine_step *step, int x, struct mq_err *err) {
  struct mq_shape shape = engine_shape(c, group->output);
  int64_t stride[MQ_MAX_RANK];
  int y;
  if (is_conv(group)) {
    mq_stride_channels_last(stride, &shape);
  } else {
    mq_stride_row_major(stride, &shape);
  }
  mq_status status = engine_new_place(&y, c, MQ_F32, &shape, stride, err);
  if (status != MQ_OK) {
    return status;
  }
  engine_bind(c, group->output, y);
  step->inputs = &x;
  step->n_inputs = 1;
  step->outputs = &y;
  step->n_outputs = 1;
  return engine_emit(c, step, err);
}

mq_status exact_compile_layer(struct engine_compiler *c, const struct exact_group *group,
                              struct mq_err *err) {
  int x;
  void *state;
  mq_status status = exact_read_input(&x, c, group, err);
  if (status == MQ_OK) {
    status = engine_alloc(&state, c, 1, sizeof(struct layer_state), err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct layer_state *s = state;
  status = make_state(s, c, group, err);
  if (status != MQ_OK) {
    if (s->sums) {
      exact_sums_release(s->sums);
    }
    return status;
  }
  struct engine_step step = {
      .function = &layer_function,
      .state = s,
      .release = release_layer,
      .scratch_bytes = s->sums_bytes + (size_t)s->n_channels * (sizeof(int64_t) + sizeof(int32_t))};
  return exact_emit_layer(c, group, &step, x, err);
}
