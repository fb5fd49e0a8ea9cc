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

/* ---- Weights ---------------------------------------------------------------------------------------- */
/* One for each output channel, or one. */
static mq_status check_scales(const struct exact_group *group, int64_t n_outputs, struct mq_err *err) {
  const struct mq_qparams *q = &group->weights->qparams;
  return q->n_channels == 1 || q->n_channels == n_outputs
             ? MQ_OK
             : engine_fail_unsupported(group->head, err, "weights with %lld scales, expected 1 or %lld",
                                       (long long)q->n_channels, (long long)n_outputs);
}

/* Codes in the order O, I / groups, KH, KW. */
static void order_codes(int32_t *ordered, const struct exact_geometry *g, const struct mq_node *layer,
                        const struct mq_tensor *codes) {
  const struct mq_shape *form = &g->weights;
  for (int64_t o = 0; o < form->dim[0]; o++) {
    for (int64_t i = 0; i < form->dim[1]; i++) {
      for (int64_t tap = 0; tap < form->dim[2] * form->dim[3]; tap++) {
        *ordered++ = ((const int32_t *)codes->data)[exact_weight_at(g, layer, codes, o, i, tap)];
      }
    }
  }
}

static mq_status make_weights(struct exact_sums_options *options, struct engine_compiler *c,
                              const struct exact_group *group, struct mq_err *err) {
  const struct mq_tensor *w = group->weight_values;
  const struct mq_qparams *q = &group->weights->qparams;
  struct mq_tensor codes = {0};
  void *ordered, *zero_point;
  int64_t n_outputs = options->g.weights.dim[0];
  mq_status status = check_scales(group, n_outputs, err);
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
  order_codes(ordered, &options->g, group->head, &codes);
  mq_tensor_deinit(&codes);
  for (int64_t o = 0; o < n_outputs; o++) {
    ((int32_t *)zero_point)[o] = q->zero_point[q->n_channels > 1 ? o : 0];
  }
  options->codes = ordered;
  options->zero_point = zero_point;
  options->code_min = q->quant_min;
  options->code_max = q->quant_max;
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
static mq_status make_state(struct layer_state *s, struct engine_compiler *c, const struct exact_group *group,
                            struct mq_err *err) {
  struct exact_sums_options o = {.x = exact_grid(group->x[0])};
  mq_status status = exact_geometry_init(&o.g, c, group->head, group->weight_values, group->output, err);
  if (status == MQ_OK) {
    status = make_weights(&o, c, group, err);
  }
  if (status == MQ_OK) {
    status = exact_sums_create(&s->sums, c, &o, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  s->arithmetic = c->exact->arithmetic;
  s->n_channels = o.g.output.dim[1];
  s->n_pixels = mq_shape_count(&o.g.output) / s->n_channels;
  s->sums_bytes = (exact_sums_scratch_bytes(s->sums) + 63) / 64 * 64;
  s->has_codes = group->y != NULL;
  if (group->y) {
    s->y = exact_output_grid(c, group);
  }
  return make_channels(s, c, group, err);
}

mq_status exact_compile_layer(struct engine_compiler *c, const struct exact_group *group,
                              struct mq_err *err) {
  int x, y;
  void *state;
  mq_status status = exact_layer_places(&x, &y, c, group->head, group->output, err);
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
  engine_bind(c, group->output, y);
  struct engine_step step = {
      .function = &layer_function,
      .state = s,
      .release = release_layer,
      .inputs = &x,
      .n_inputs = 1,
      .outputs = &y,
      .n_outputs = 1,
      .scratch_bytes = s->sums_bytes + (size_t)s->n_channels * (sizeof(int64_t) + sizeof(int32_t))};
  return engine_emit(c, &step, err);
}
