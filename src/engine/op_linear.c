/* QuantizeLinear and DequantizeLinear. inputs: x, scale, zero point (maybe). Scale and zero point: one
 * element, or one per index of the axis. The two of them one after the other, with the same constants, are
 * one step of fake quantization. */
#include <string.h>

#include "engine/compile.h"

#define BLOCK 1024 /* elements converted at a time: they stay in the first cache */

/* ---- Runs of elements with one scale ------------------------------------------------------------ */
struct linear_run {
  float scale;
  int32_t zero_point, quant_min, quant_max;
};

typedef void (*linear_fn)(void *y, mq_dtype y_dtype, const void *x, mq_dtype x_dtype, int64_t n,
                          const struct linear_run *run);

static void narrow(void *y, mq_dtype dtype, const int32_t *q, int64_t n) {
  switch (dtype) {
    case MQ_U8:
      for (int64_t i = 0; i < n; i++) {
        ((uint8_t *)y)[i] = (uint8_t)q[i];
      }
      break;
    case MQ_I8:
      for (int64_t i = 0; i < n; i++) {
        ((int8_t *)y)[i] = (int8_t)q[i];
      }
      break;
    case MQ_U16:
      for (int64_t i = 0; i < n; i++) {
        ((uint16_t *)y)[i] = (uint16_t)q[i];
      }
      break;
    default: /* MQ_I16: set_bounds lets no other through */
      for (int64_t i = 0; i < n; i++) {
        ((int16_t *)y)[i] = (int16_t)q[i];
      }
  }
}

static void widen(int32_t *q, const void *x, mq_dtype dtype, int64_t n) {
  switch (dtype) {
    case MQ_U8:
      for (int64_t i = 0; i < n; i++) {
        q[i] = ((const uint8_t *)x)[i];
      }
      break;
    case MQ_I8:
      for (int64_t i = 0; i < n; i++) {
        q[i] = ((const int8_t *)x)[i];
      }
      break;
    case MQ_U16:
      for (int64_t i = 0; i < n; i++) {
        q[i] = ((const uint16_t *)x)[i];
      }
      break;
    default: /* MQ_I16 */
      for (int64_t i = 0; i < n; i++) {
        q[i] = ((const int16_t *)x)[i];
      }
  }
}

static struct mq_tensor row_of(const void *data, mq_dtype dtype, int64_t n) {
  const struct mq_shape shape = {.rank = 1, .dim = {n}};
  return mq_tensor_view((void *)(uintptr_t)data, dtype, &shape, NULL);
}

/* clip(rne(x / s) + z, n, p): rne is monotone and keeps integers, so clipping x / s to the integers n - z and
 * p - z first is the same and bounds what is rounded; below 2^22 adding 1.5 * 2^23 rounds, half to even. What
 * is no number becomes the zero point. */
static void codes_of(int32_t *q, const float *x, int64_t n, const struct linear_run *run) {
  const float scale = run->scale, shifter = 12582912.0f;
  const float lo = (float)(run->quant_min - run->zero_point), hi = (float)(run->quant_max - run->zero_point);
  for (int64_t i = 0; i < n; i++) {
    float v = x[i] / scale;
    v = v == v ? v : 0.0f;
    v = v < lo ? lo : v;
    v = v > hi ? hi : v;
    q[i] = (int32_t)((v + shifter) - shifter) + run->zero_point;
  }
}

static void quantize_run(void *y, mq_dtype y_dtype, const void *x, mq_dtype x_dtype, int64_t n,
                         const struct linear_run *run) {
  int64_t x_bytes = mq_dtype_get(x_dtype)->bytes, y_bytes = mq_dtype_get(y_dtype)->bytes;
  float floats[BLOCK];
  int32_t q[BLOCK];
  for (int64_t first = 0; first < n; first += BLOCK) {
    int64_t count = n - first < BLOCK ? n - first : BLOCK;
    const void *from = (const char *)x + first * x_bytes;
    if (x_dtype != MQ_F32) {
      struct mq_tensor wide = row_of(floats, MQ_F32, count), narrow_x = row_of(from, x_dtype, count);
      mq_tensor_copy(&wide, &narrow_x);
      from = floats;
    }
    codes_of(q, from, count, run);
    narrow((char *)y + first * y_bytes, y_dtype, q, count);
  }
}

static bool is_narrow(mq_dtype dtype) {
  return dtype == MQ_U8 || dtype == MQ_I8 || dtype == MQ_U16 || dtype == MQ_I16;
}

/* Wide integers (biases): q - z may need more than 32 bits. */
static void dequantize_wide(float *y, const void *x, mq_dtype dtype, int64_t n,
                            const struct linear_run *run) {
  const struct mq_tensor row = row_of(x, dtype, n);
  for (int64_t i = 0; i < n; i++) {
    y[i] = (float)(mq_tensor_get_int(&row, i) - run->zero_point) * run->scale;
  }
}

static void dequantize_run(void *y, mq_dtype y_dtype, const void *x, mq_dtype x_dtype, int64_t n,
                           const struct linear_run *run) {
  (void)y_dtype;
  if (!is_narrow(x_dtype)) {
    dequantize_wide(y, x, x_dtype, n, run);
    return;
  }
  int32_t q[BLOCK];
  int64_t x_bytes = mq_dtype_get(x_dtype)->bytes;
  for (int64_t first = 0; first < n; first += BLOCK) {
    int64_t count = n - first < BLOCK ? n - first : BLOCK;
    float *to = (float *)y + first;
    widen(q, (const char *)x + first * x_bytes, x_dtype, count);
    for (int64_t i = 0; i < count; i++) {
      to[i] = (float)(q[i] - run->zero_point) * run->scale;
    }
  }
}

/* ---- Whole tensors ------------------------------------------------------------------------------ */
struct linear_state {
  int axis; /* where there are several scales */
  int32_t quant_min, quant_max;
};

static struct linear_run run_at(const struct engine_step *step, struct engine_frame *frame, int64_t channel) {
  const struct linear_state *s = step->state;
  int32_t zero_point =
      step->n_inputs > 2 ? (int32_t)mq_tensor_get_int(engine_input(step, frame, 2), channel) : 0;
  return (struct linear_run){.scale = (float)mq_tensor_get_double(engine_input(step, frame, 1), channel),
                             .zero_point = zero_point,
                             .quant_min = s->quant_min,
                             .quant_max = s->quant_max};
}

/* x and y are dense and lie alike, so an index along the axis is a run of `stride` elements that comes again
 * every stride * dimension elements. */
static void for_each_run(const struct engine_step *step, struct engine_frame *frame, linear_fn function) {
  const struct linear_state *s = step->state;
  const struct mq_tensor *x = engine_input(step, frame, 0), *y = engine_output(step, frame, 0);
  int64_t n = mq_shape_count(&x->shape), n_scales = mq_shape_count(&engine_input(step, frame, 1)->shape);
  int64_t x_bytes = mq_dtype_get(x->dtype)->bytes, y_bytes = mq_dtype_get(y->dtype)->bytes;
  int64_t length = n_scales > 1 ? x->stride[s->axis] : n, period = length * n_scales;
  for (int64_t c = 0; c < n_scales && n > 0; c++) {
    struct linear_run run = run_at(step, frame, c);
    for (int64_t i = c * length; i < n; i += period) {
      function((char *)y->data + i * y_bytes, y->dtype, (const char *)x->data + i * x_bytes, x->dtype, length,
               &run);
    }
  }
}

static mq_status forward_quantize(const struct engine_step *step, struct engine_frame *frame,
                                  struct mq_err *err) {
  (void)err;
  for_each_run(step, frame, quantize_run);
  return MQ_OK;
}

static const struct engine_function quantize_function = {.forward = forward_quantize};

static mq_status forward_dequantize(const struct engine_step *step, struct engine_frame *frame,
                                    struct mq_err *err) {
  (void)err;
  for_each_run(step, frame, dequantize_run);
  return MQ_OK;
}

static const struct engine_function dequantize_function = {.forward = forward_dequantize};

/* ---- QuantizeLinear and DequantizeLinear as one step -------------------------------------------- */
/* Fake quantization lets NaN through; by way of integers it is the zero point, hence 0. */
static void clear_nans(float *y, int64_t n, float scale) {
  int32_t n_nans = 0;
  for (int64_t i = 0; i < n; i++) {
    n_nans |= y[i] != y[i];
  }
  for (int64_t i = 0; i < n && n_nans; i++) {
    y[i] = y[i] == y[i] ? y[i] : 0 * scale;
  }
}

static mq_status forward_pair(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  (void)err;
  const struct mq_fake_quant *fq = step->state;
  const struct mq_tensor *tensor = engine_input(step, frame, 0);
  const float *x = tensor->data;
  float *y = engine_output(step, frame, 0)->data;
  int64_t n = mq_shape_count(&tensor->shape);
  for (int64_t first = 0; first < n; first += BLOCK) {
    int64_t count = n - first < BLOCK ? n - first : BLOCK;
    mq_loop_fake_quantize(y + first, x + first, count, fq);
    clear_nans(y + first, count, fq->scale);
  }
  return MQ_OK;
}

static const struct engine_function pair_function = {.forward = forward_pair};

/* The one scale and zero point of a node, where they are constants. */
static bool find_constants(struct linear_run *run, const struct engine_compiler *c,
                           const struct mq_node *node) {
  const struct mq_value *zero_value = node->n_inputs > 2 ? node->inputs[2] : NULL;
  const struct mq_tensor *scale = engine_constant(c, node->inputs[1]);
  const struct mq_tensor *zero_point = zero_value ? engine_constant(c, zero_value) : NULL;
  if (!scale || scale->dtype != MQ_F32 || mq_shape_count(&scale->shape) != 1 ||
      (zero_value && (!zero_point || mq_shape_count(&zero_point->shape) != 1))) {
    return false;
  }
  run->scale = *(const float *)scale->data;
  run->zero_point = zero_point ? (int32_t)mq_tensor_get_int(zero_point, 0) : 0;
  return true;
}

/* Nobody sees the integers but nodes that turn each into what it stood for. */
static bool is_paired(struct linear_run *run, const struct engine_compiler *c,
                      const struct mq_node *quantize) {
  const struct mq_value *q = quantize->outputs[0];
  if (quantize->op != MQ_OP_QuantizeLinear || quantize->inputs[0]->dtype != MQ_F32 || c->training ||
      c->options->memory != MQ_MEMORY_FORWARD || q->is_output || c->is_tapped[q->index] ||
      c->exchange_of[quantize->index] || c->is_constant[q->index] || !find_constants(run, c, quantize)) {
    return false;
  }
  for (size_t u = 0; u < q->n_uses; u++) {
    const struct mq_use *use = &q->uses[u];
    struct linear_run other;
    if (use->node->op != MQ_OP_DequantizeLinear || use->input != 0 || !find_constants(&other, c, use->node) ||
        memcmp(&other.scale, &run->scale, sizeof run->scale) != 0 || other.zero_point != run->zero_point) {
      return false;
    }
  }
  return q->n_uses > 0;
}

/* The place of the integers holds the floats they stand for: all of their readers know. */
static mq_status compile_pair(struct engine_compiler *c, const struct mq_node *quantize,
                              const struct linear_run *run, struct mq_err *err) {
  void *block;
  int x, y;
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct mq_fake_quant), err);
  if (status == MQ_OK) {
    status = engine_read(&x, c, quantize->inputs[0], ENGINE_DENSE, err);
  }
  if (status == MQ_OK) {
    status = engine_like(&y, c, x, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  *(struct mq_fake_quant *)block = (struct mq_fake_quant){.scale = run->scale,
                                                          .zero_point = (float)run->zero_point,
                                                          .quant_min = (float)run->quant_min,
                                                          .quant_max = (float)run->quant_max};
  engine_bind(c, quantize->outputs[0], y);
  return engine_emit_simple(c, &pair_function, block, &x, 1, y, err);
}

/* ---- Compilation -------------------------------------------------------------------------------- */
static mq_status set_bounds(struct linear_state *state, const struct mq_node *node, struct mq_err *err) {
  switch (node->outputs[0]->dtype) {
    case MQ_U8:
      state->quant_max = UINT8_MAX;
      return MQ_OK;
    case MQ_I8:
      state->quant_min = INT8_MIN;
      state->quant_max = INT8_MAX;
      return MQ_OK;
    case MQ_U16:
      state->quant_max = UINT16_MAX;
      return MQ_OK;
    case MQ_I16:
      state->quant_min = INT16_MIN;
      state->quant_max = INT16_MAX;
      return MQ_OK;
    default:
      return engine_fail_unsupported(node, err, "output is %s, expected an integer of 8 or 16 bits",
                                     mq_dtype_get(node->outputs[0]->dtype)->name);
  }
}

/* One scale and zero point, or one for every index of the axis (-1: one). */
static mq_status check_counts(const struct engine_compiler *c, const struct mq_node *node, int axis,
                              struct mq_err *err) {
  struct mq_shape shape = engine_shape(c, node->inputs[0]);
  int64_t expected = axis < 0 ? 1 : shape.dim[axis];
  for (int i = 1; i < node->n_inputs; i++) {
    int64_t found = node->inputs[i] ? mq_shape_count(&node->inputs[i]->shape) : expected;
    if (found != expected) {
      return engine_fail_unsupported(node, err, "%s has %lld elements, expected %lld",
                                     i == 1 ? "scale" : "zero point", (long long)found, (long long)expected);
    }
  }
  return MQ_OK;
}

static mq_status emit_linear(struct engine_compiler *c, const struct mq_node *node,
                             const struct linear_state *state, struct mq_err *err) {
  int inputs[3], n_inputs = node->n_inputs > 2 && node->inputs[2] ? 3 : 2, y;
  mq_status status = MQ_OK;
  for (int i = 0; i < n_inputs && status == MQ_OK; i++) {
    status = engine_read(&inputs[i], c, node->inputs[i], i == 0 ? ENGINE_DENSE : ENGINE_ANY, err);
  }
  if (status == MQ_OK) {
    struct mq_tensor like = *engine_tensor(c, inputs[0]);
    status = engine_new_output(&y, c, node, 0, like.stride, err);
  }
  return status == MQ_OK
             ? engine_emit_simple(c, engine_op_get(node->op)->function, state, inputs, n_inputs, y, err)
             : status;
}

static mq_status compile_linear(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  void *block;
  if (node->op == MQ_OP_DequantizeLinear && mq_dtype_get(node->inputs[0]->dtype)->is_float) {
    return engine_fail_unsupported(node, err, "input is %s, expected an integer",
                                   mq_dtype_get(node->inputs[0]->dtype)->name);
  }
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct linear_state), err);
  if (status != MQ_OK) {
    return status;
  }
  struct linear_state *state = block;
  bool is_per_channel = mq_shape_count(&node->inputs[1]->shape) > 1;
  if (is_per_channel) {
    status = mq_node_get_axis(&state->axis, node, 1, node->inputs[0]->shape.rank, err);
  }
  if (status == MQ_OK) {
    status = check_counts(c, node, is_per_channel ? state->axis : -1, err);
  }
  if (status == MQ_OK && node->op == MQ_OP_QuantizeLinear) {
    status = set_bounds(state, node, err);
  }
  struct linear_run run = {.quant_min = state->quant_min, .quant_max = state->quant_max};
  if (status == MQ_OK && is_paired(&run, c, node)) {
    return compile_pair(c, node, &run, err);
  }
  return status == MQ_OK ? emit_linear(c, node, state, err) : status;
}

/* What a pair's first half left is the result already. */
static mq_status compile_dequantize(struct engine_compiler *c, const struct mq_node *node,
                                    struct mq_err *err) {
  int place = c->place_of[node->inputs[0]->index];
  if (place >= 0 && engine_tensor(c, place)->dtype == MQ_F32) {
    engine_bind(c, node->outputs[0], place);
    return MQ_OK;
  }
  return compile_linear(c, node, err);
}

const struct engine_op engine_op_QuantizeLinear = {.compile = compile_linear, .function = &quantize_function};
const struct engine_op engine_op_DequantizeLinear = {.compile = compile_dequantize,
                                                     .function = &dequantize_function};
