/* Between codes and floats where nothing is quantized: the floats that codes stand for, and codes of floats
 * that lie on a grid already. */
#include <math.h>

#include "engine/train/codes.h"

/* ---- Floats of codes: inputs {codes, grid}, outputs {y} -------------------------------------------- */
void engine_decode_part(float *y, const struct mq_tensor *codes, int64_t at, int64_t count,
                        const double *grid) {
  mq_loop_dequantize_codes(y, (const char *)codes->data + at, codes->dtype == MQ_I8, count, (float)grid[0],
                           (float)grid[1]);
}

static mq_status forward_decode(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  const struct mq_tensor *codes = engine_input(step, frame, 0);
  engine_decode_part(engine_output(step, frame, 0)->data, codes, 0, mq_shape_count(&codes->shape),
                     engine_input(step, frame, 1)->data);
  return MQ_OK;
}

/* Codes and what is made of them, or what they are made of, have one gradient. */
static mq_status leave_gradient(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)step;
  (void)frame;
  (void)err;
  return MQ_OK;
}

const struct engine_function engine_decode_function = {
    .forward = forward_decode, .backward = leave_gradient, .ignores = 1u << 1};

mq_status engine_decode(int *known, struct engine_compiler *c, const struct mq_value *value,
                        struct mq_err *err) {
  const struct engine_codes *codes = engine_codes_of(c, value);
  if (!codes || codes->codes != *known) {
    return MQ_OK;
  }
  const struct mq_tensor like = *engine_tensor(c, codes->codes);
  const int inputs[2] = {codes->codes, codes->grid};
  engine_scope scope = c->scope;
  c->scope = c->engine->places[codes->codes].scope;
  mq_status status = engine_new_place(known, c, MQ_F32, &like.shape, like.stride, err);
  if (status == MQ_OK) {
    c->engine->places[*known].gradient = c->engine->places[inputs[0]].gradient;
    status = engine_emit_simple(c, &engine_decode_function, NULL, inputs, 2, *known, err);
  }
  c->scope = scope;
  return status;
}

/* ---- Values on another's grid: inputs {x, form}, outputs {codes, grid} ---------------------------- */
static mq_status forward_recode(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  const struct engine_quantizer *s = step->state;
  const struct mq_tensor *x = engine_input(step, frame, 0);
  struct mq_tensor *codes = engine_output(step, frame, 0);
  double *grid = engine_output(step, frame, 1)->data;
  struct mq_qparams qparams;
  mq_status status =
      engine_read_grid(grid, &qparams, s, engine_input(step, frame, 1)->data, frame->scratch, err);
  if (status != MQ_OK) {
    return status;
  }
  const struct mq_fake_quant fq = {.scale = qparams.scale[0],
                                   .zero_point = (float)qparams.zero_point[0],
                                   .quant_min = (float)qparams.quant_min,
                                   .quant_max = (float)qparams.quant_max};
  if (!mq_loop_quantize_codes(codes->data, codes->dtype == MQ_I8, x->data, mq_shape_count(&x->shape), &fq)) {
    grid[0] = (double)NAN;
  }
  return MQ_OK;
}

static const struct engine_function recode_function = {
    .forward = forward_recode, .backward = leave_gradient, .ignores = 1u << 1};

static mq_status emit_recode(struct engine_codes *codes, struct engine_compiler *c,
                             const struct engine_quantizer *s, int x, struct mq_err *err) {
  const struct mq_shape row = {.rank = 1, .dim = {2}};
  const struct mq_tensor like = *engine_tensor(c, x);
  int outputs[2];
  mq_status status =
      engine_new_place(&outputs[0], c, codes->kind.is_signed ? MQ_I8 : MQ_U8, &like.shape, like.stride, err);
  if (status == MQ_OK) {
    status = engine_new_place(&outputs[1], c, MQ_F64, &row, NULL, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  const int inputs[2] = {x, s->form};
  c->engine->places[outputs[0]].gradient = c->engine->places[x].gradient;
  c->engine->places[outputs[1]].gradient = -1;
  codes->codes = outputs[0];
  codes->grid = outputs[1];
  const struct engine_step step = {.function = &recode_function,
                                   .state = s,
                                   .inputs = inputs,
                                   .n_inputs = 2,
                                   .outputs = outputs,
                                   .n_outputs = 2,
                                   .scratch_bytes = sizeof(float) + sizeof(int32_t)};
  return engine_emit(c, &step, err);
}

mq_status engine_recode(const struct engine_codes **codes, struct engine_compiler *c,
                        const struct mq_value *value, int x, struct mq_err *err) {
  const struct mq_node *source = engine_grid_source(value);
  const struct engine_quantizer *s =
      source && c->training->quantizer_of ? c->training->quantizer_of[source->index] : NULL;
  int64_t index;
  *codes = NULL;
  if (!s || s->config.is_weight || s->config.n_channels != 1 || c->training->has_float_forward ||
      engine_tensor(c, x)->data || c->engine->places[x].scope != ENGINE_SLICE ||
      mq_node_get_int(&index, source, "point", -1, NULL) != MQ_OK) {
    return MQ_OK;
  }
  bool is_on_grid;
  struct engine_codes made = {.n_channels = 1};
  mq_status status = engine_point_codes(&is_on_grid, &made.kind, c, &c->training->points[index], err);
  if (status != MQ_OK || !is_on_grid) {
    return status;
  }
  status = emit_recode(&made, c, s, x, err);
  if (status == MQ_OK) {
    status = engine_note_codes(c, value, &made, err);
  }
  *codes = status == MQ_OK ? engine_codes_of(c, value) : NULL;
  return status;
}
