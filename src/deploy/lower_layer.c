/* Convolutions and linear layers: weights in 8 bits, biases, multipliers; the norm behind them. */
#include <math.h>

#include "deploy/lower.h"

/* ---- Weights ------------------------------------------------------------------------------------------- */

/* A layer's weights as one index space: output channel o, tap t of n_taps, input i of its group. */
struct layer_shape {
  int64_t outputs, inputs, taps; /* inputs: of a group */
  int64_t groups;
  bool is_transposed; /* [I][O / groups][taps] */
  bool is_columns;    /* [I][O]: MatMul, Gemm without transB */
};

static int64_t weight_at(const struct layer_shape *s, int64_t o, int64_t t, int64_t i) {
  if (s->is_columns) {
    return i * s->outputs + o;
  }
  if (!s->is_transposed) {
    return (o * s->inputs + i) * s->taps + t;
  }
  int64_t group_outputs = s->outputs / s->groups, group = o / group_outputs;
  return ((group * s->inputs + i) * group_outputs + o % group_outputs) * s->taps + t;
}

/* Unsigned codes are stored less 128, which their zero point follows. */
static int32_t container_offset(const struct mq_qparams *q) {
  return q->is_signed ? 0 : 128;
}

/* [O][taps][I] of floats. */
static const float *make_float_weights(struct lowering *l, const struct layer_shape *s,
                                       const struct mq_tensor *w) {
  int64_t at = 0;
  float *weights = lower_alloc(l, (size_t)(s->outputs * s->taps * s->inputs), sizeof *weights);
  for (int64_t o = 0; weights && o < s->outputs; o++) {
    for (int64_t t = 0; t < s->taps; t++) {
      for (int64_t i = 0; i < s->inputs; i++, at++) {
        weights[at] = (float)mq_tensor_get_double(w, weight_at(s, o, t, i));
      }
    }
  }
  return weights;
}

/* [O][taps][I] */
static const int8_t *make_weights(struct lowering *l, const struct layer_shape *s, const struct mq_tensor *w,
                                  const struct mq_qparams *q) {
  struct mq_tensor codes = {0};
  int64_t n = s->outputs * s->taps * s->inputs, at = 0;
  int8_t *weights = lower_alloc(l, (size_t)n, 1);
  if (!weights) {
    return NULL;
  }
  l->status = mq_tensor_init(&codes, MQ_I32, &w->shape, l->err);
  if (l->status == MQ_OK) {
    mq_quantize(&codes, w, q);
    const int32_t *from = codes.data;
    for (int64_t o = 0; o < s->outputs; o++) {
      for (int64_t t = 0; t < s->taps; t++) {
        for (int64_t i = 0; i < s->inputs; i++, at++) {
          weights[at] = (int8_t)(from[weight_at(s, o, t, i)] - container_offset(q));
        }
      }
    }
  }
  mq_tensor_deinit(&codes);
  return weights;
}

/* ---- Biases and channels ------------------------------------------------------------------------------- */

/* One number, or one for each output channel. */
static bool is_bias(const struct mq_value *value, int64_t outputs) {
  if (!value) {
    return true;
  }
  int64_t n = value->constant ? mq_shape_count(&value->constant->shape) : 0;
  return value->constant && value->dtype == MQ_F32 && (n == 1 || n == outputs);
}

static double bias_of(const struct mq_value *value, int64_t o) {
  bool is_one = value && mq_shape_count(&value->constant->shape) == 1;
  return value ? mq_tensor_get_double(value->constant, is_one ? 0 : o) : 0;
}

static const struct mq_value *own_bias(struct lowering *l, const struct lower_chain *chain, int64_t outputs) {
  const struct mq_value *own = chain->base->n_inputs > 2 ? chain->base->inputs[2] : NULL;
  if (!is_bias(own, outputs)) {
    lower_fail(l, "its bias is no constant vector of %lld", (long long)outputs);
    return NULL;
  }
  return own;
}

static const struct mq_program_channel *make_channels(struct lowering *l, const struct lower_chain *chain,
                                                      int64_t outputs, const struct mq_qparams *q,
                                                      const struct mq_program_tensor *x, float y_scale,
                                                      const struct mq_program_arithmetic *arithmetic) {
  const struct mq_node *node = chain->base;
  const struct mq_value *own = own_bias(l, chain, outputs);
  struct mq_program_channel *channels = lower_alloc(l, (size_t)outputs, sizeof *channels);
  for (int64_t o = 0; o < outputs && l->status == MQ_OK; o++) {
    int64_t c = q->n_channels > 1 ? o : 0;
    struct mq_program_err why = {{0}};
    const struct mq_program_layer layer = {.x_scale = x->scale,
                                           .w_scale = q->scale[c],
                                           .y_scale = y_scale,
                                           .w_zero_point = q->zero_point[c] - container_offset(q),
                                           .bias = bias_of(own, o) + bias_of(chain->bias, o),
                                           .is_linear = node->op == MQ_OP_Gemm || node->op == MQ_OP_MatMul,
                                           .is_per_tensor = q->n_channels == 1};
    if (arithmetic->make_channel(&channels[o], &layer, &why) != MQ_PROGRAM_OK) {
      lower_fail(l, "output channel %lld: %s", (long long)o, why.message);
    }
  }
  return channels;
}

/* ---- The step ------------------------------------------------------------------------------------------ */

/* Behind a layer whose output is float: f(f(x g) + h), g = gamma / sqrt(v + e), h = beta - g mu, made in
 * double and rounded once, as in the simulation. */
static void emit_norm(struct lowering *l, const struct lower_chain *chain, const struct mq_node *norm,
                      uint32_t x, lower_form form) {
  const struct mq_value *y = chain->result;
  int64_t n = y->shape.rank > 1 ? y->shape.dim[1] : 0;
  float epsilon = 1e-5f, *gain = lower_alloc(l, (size_t)n, sizeof *gain);
  float *shift = lower_alloc(l, (size_t)n, sizeof *shift);
  const struct mq_node *before = l->node;
  l->node = norm;
  if (mq_node_get_float(&epsilon, norm, "epsilon", 1e-5f, NULL) != MQ_OK) {
    lower_fail(l, "its epsilon is no number");
  }
  for (int i = 1; i < 5; i++) {
    const struct mq_value *value = norm->inputs[i];
    if (!value || !value->constant || mq_shape_count(&value->constant->shape) != n) {
      lower_fail(l, "input %d is no constant of %lld numbers", i, (long long)n);
    }
  }
  for (int64_t c = 0; c < n && l->status == MQ_OK; c++) {
    double variance = mq_tensor_get_double(norm->inputs[4]->constant, c);
    double g = mq_tensor_get_double(norm->inputs[1]->constant, c) / sqrt(variance + (double)epsilon);
    gain[c] = (float)g;
    shift[c] = (float)(mq_tensor_get_double(norm->inputs[2]->constant, c) -
                       g * mq_tensor_get_double(norm->inputs[3]->constant, c));
  }
  struct mq_program_step *step = lower_step(l, MQ_STEP_AFFINE, &x, 1, lower_make(l, y, NULL, form));
  step->as.affine.gain = gain;
  step->as.affine.shift = shift;
  step->clip_lo = chain->clip_lo;
  step->clip_hi = chain->clip_hi;
  l->node = before;
}

static void emit_layer(struct lowering *l, const struct lower_chain *chain, const struct layer_shape *s,
                       const struct mq_program_window *window, mq_step_kind kind) {
  const struct mq_point *weights = lower_weights_of(l, chain->base);
  const struct mq_value *w = chain->base->inputs[1]->producer->inputs[0];
  const lower_form form = kind == MQ_STEP_CONV ? LOWER_IMAGE : LOWER_PLAIN;
  uint32_t inputs[2] = {lower_read(l, chain->base->inputs[0], LOWER_CODES, form), LOWER_NONE};
  if (chain->shortcut) {
    inputs[1] = lower_read(l, chain->shortcut, LOWER_CODES, form);
  }
  /* Floats in a program of codes: every arithmetic but dequant_f32 and trt_model leaves them to that one. */
  bool is_own = chain->point || l->arithmetic->dequantize;
  mq_arithmetic_kind arithmetic = is_own ? l->kind : MQ_ARITHMETIC_DEQUANT_F32;
  const struct mq_value *result = chain->norm ? chain->base->outputs[0] : chain->result;
  uint32_t y = lower_make(l, result, chain->point, form);
  struct mq_program_step *step = lower_step(l, kind, inputs, chain->shortcut ? 2 : 1, y);
  if (l->status != MQ_OK) {
    return;
  }
  if (chain->point) {
    lower_clamp(l, step, chain->clip_lo, chain->clip_hi);
  } else if (!chain->norm) {
    step->clip_lo = chain->clip_lo;
    step->clip_hi = chain->clip_hi;
  }
  step->arithmetic = arithmetic;
  step->as.conv = (struct mq_program_conv){.window = *window,
                                           .groups = lower_int(l, s->groups),
                                           .is_transposed = s->is_transposed,
                                           .is_per_tensor = weights->qparams.n_channels == 1,
                                           .w_name = mq_arena_strdup(l->arena, weights->tensor),
                                           .weights = make_weights(l, s, w->constant, &weights->qparams)};
  step->as.conv.channels =
      make_channels(l, chain, s->outputs, &weights->qparams, &l->tensors[inputs[0]],
                    chain->point ? l->tensors[y].scale : 0, mq_program_arithmetic_get(arithmetic));
  if (chain->norm) {
    emit_norm(l, chain, chain->norm, y, form);
  }
}

/* A layer that was kept out of quantization, or stands behind floats: as it is. */
static void emit_float_layer(struct lowering *l, const struct lower_chain *chain, const struct layer_shape *s,
                             const struct mq_program_window *window, mq_step_kind kind) {
  const struct mq_value *w = chain->base->inputs[1], *own = own_bias(l, chain, s->outputs);
  const lower_form form = kind == MQ_STEP_CONV_FLOAT ? LOWER_IMAGE : LOWER_PLAIN;
  const struct mq_value *result = chain->norm ? chain->base->outputs[0] : chain->result;
  uint32_t x = lower_read(l, chain->base->inputs[0], LOWER_FLOATS, form);
  float *bias = lower_alloc(l, (size_t)s->outputs, sizeof *bias);
  for (int64_t o = 0; bias && o < s->outputs; o++) {
    bias[o] = (float)(bias_of(own, o) + bias_of(chain->bias, o));
  }
  uint32_t y = lower_make(l, result, NULL, form);
  struct mq_program_step *step = lower_step(l, kind, &x, 1, y);
  if (l->status != MQ_OK) {
    return;
  }
  if (!chain->norm) {
    step->clip_lo = chain->clip_lo;
    step->clip_hi = chain->clip_hi;
  }
  step->as.conv_float = (struct mq_program_conv_float){.window = *window,
                                                       .groups = lower_int(l, s->groups),
                                                       .is_transposed = s->is_transposed,
                                                       .w_name = mq_arena_strdup(l->arena, w->name),
                                                       .weights = make_float_weights(l, s, w->constant),
                                                       .bias = bias};
  if (chain->norm) {
    emit_norm(l, chain, chain->norm, y, form);
  }
}

/* Codes times codes, or floats times floats. */
static bool is_quantized(struct lowering *l, const struct mq_node *node) {
  const struct mq_point *weights = lower_weights_of(l, node);
  if (weights && weights->qparams.n_channels < 1) {
    lower_fail(l, "its weights lie on no grid of integers");
  } else if (weights && !lower_grid_of(l, node->inputs[0])) {
    lower_fail(l,
               "its weights are quantized and its input '%.100s' is not: an integer program has no such step",
               node->inputs[0]->name);
  } else if (!weights && (!node->inputs[1]->constant || node->inputs[1]->dtype != MQ_F32)) {
    lower_fail(l, "it multiplies two tensors that are computed: an integer program has no such step");
  }
  return weights && l->status == MQ_OK;
}

static void emit_conv(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  struct mq_window window;
  struct mq_program_window to;
  bool has_codes = is_quantized(l, node);
  if (l->status != MQ_OK) {
    return;
  }
  l->status = mq_node_get_window(&window, node, l->err);
  if (l->status != MQ_OK) {
    return;
  }
  lower_set_window(l, &to, &window);
  const struct mq_shape *shape = &node->inputs[1]->shape;
  bool is_transposed = node->op == MQ_OP_ConvTranspose;
  struct layer_shape s = {.outputs = node->outputs[0]->shape.dim[1],
                          .inputs = node->inputs[0]->shape.dim[1] / window.groups,
                          .taps = window.kernel[0] * window.kernel[1],
                          .groups = window.groups,
                          .is_transposed = is_transposed};
  if (s.outputs * s.inputs * s.taps != mq_shape_count(shape)) {
    lower_fail(l, "its weights do not fit its input and output");
  } else if (has_codes) {
    emit_layer(l, chain, &s, &to, MQ_STEP_CONV);
  } else {
    emit_float_layer(l, chain, &s, &to, MQ_STEP_CONV_FLOAT);
  }
}

static void emit_linear(struct lowering *l, const struct lower_chain *chain) {
  static const struct mq_program_window ones = {
      .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .pad_begin = {0, 0}, .pad_end = {0, 0}};
  const struct mq_node *node = chain->base;
  int64_t trans_a = 0, trans_b = 0;
  float alpha = 1, beta = 1;
  bool has_codes = is_quantized(l, node);
  if (l->status != MQ_OK) {
    return;
  }
  if (mq_node_get_int(&trans_a, node, "transA", 0, NULL) != MQ_OK ||
      mq_node_get_int(&trans_b, node, "transB", 0, NULL) != MQ_OK ||
      mq_node_get_float(&alpha, node, "alpha", 1, NULL) != MQ_OK ||
      mq_node_get_float(&beta, node, "beta", 1, NULL) != MQ_OK || trans_a || alpha != 1 || beta != 1) {
    lower_fail(l, "found transA, alpha or beta, expected 0, 1 and 1");
  }
  const struct mq_shape *w = &node->inputs[1]->shape, *x = &node->inputs[0]->shape;
  bool is_columns = node->op == MQ_OP_MatMul || !trans_b;
  struct layer_shape s = {.outputs = w->dim[is_columns ? 1 : 0],
                          .inputs = w->dim[is_columns ? 0 : 1],
                          .taps = 1,
                          .groups = 1,
                          .is_columns = is_columns};
  if (w->rank != 2 || x->rank < 2 || x->dim[x->rank - 1] != s.inputs) {
    lower_fail(l, "its weights do not fit its input");
  }
  if (l->status == MQ_OK && has_codes) {
    emit_layer(l, chain, &s, &ones, MQ_STEP_LINEAR);
  } else if (l->status == MQ_OK) {
    emit_float_layer(l, chain, &s, &ones, MQ_STEP_LINEAR_FLOAT);
  }
}

static void emit_batch_norm(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_value *x = chain->base->inputs[0];
  lower_form form = x->shape.rank > 2 ? LOWER_IMAGE : LOWER_PLAIN;
  emit_norm(l, chain, chain->base, lower_read(l, x, LOWER_FLOATS, form), form);
}

/* What dequant_f32 makes stays float, and so does what a kept norm makes. */
static bool layer_makes_codes(const struct lowering *l, const struct lower_chain *chain) {
  return l->arithmetic->requantize && !chain->norm && lower_weights_of(l, chain->base) &&
         !lower_is_island(l, chain->base);
}

const struct lower_op deploy_lower_Conv = {
    .is_layer = true, .takes_clip = true, .makes_codes = layer_makes_codes, .emit = emit_conv};
const struct lower_op deploy_lower_ConvTranspose = {
    .is_layer = true, .takes_clip = true, .makes_codes = layer_makes_codes, .emit = emit_conv};
const struct lower_op deploy_lower_Gemm = {
    .is_layer = true, .takes_clip = true, .makes_codes = layer_makes_codes, .emit = emit_linear};
const struct lower_op deploy_lower_MatMul = {
    .is_layer = true, .takes_clip = true, .makes_codes = layer_makes_codes, .emit = emit_linear};
const struct lower_op deploy_lower_BatchNormalization = {.takes_clip = true, .emit = emit_batch_norm};
