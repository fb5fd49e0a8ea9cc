/* The step that makes codes of an activation or a weight, with what stands before it: a normalisation, the
 * addition of another branch and a clip whose results nobody else reads are made part by part, stay in the
 * cache, and are made again going backward instead of being kept. */
#include <math.h>
#include <string.h>

#include "engine/train/codes.h"

#define ALIGNMENT 64
#define PART 4096 /* values, or a row of channels where that is more */

/* ---- Floats of codes: inputs {codes, grid}, outputs {y} -------------------------------------------- */
static void decode(float *y, const struct mq_tensor *codes, int64_t at, int64_t count, const double *grid) {
  mq_loop_dequantize_codes(y, (const char *)codes->data + at, codes->dtype == MQ_I8, count, (float)grid[0],
                           (float)grid[1]);
}

static mq_status forward_decode(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  const struct mq_tensor *codes = engine_input(step, frame, 0);
  decode(engine_output(step, frame, 0)->data, codes, 0, mq_shape_count(&codes->shape),
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

static const struct engine_function decode_function = {
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
    status = engine_emit_simple(c, &decode_function, NULL, inputs, 2, *known, err);
  }
  c->scope = scope;
  return status;
}

/* ---- Taking over -------------------------------------------------------------------------------- */
static const struct engine_step *last_step(const struct engine_compiler *c) {
  return c->engine->n_steps > 0 ? &c->engine->steps[c->engine->n_steps - 1] : NULL;
}

/* The node that makes the value, whose step was emitted last and whose result at `place` has one reader. */
static const struct mq_node *last_before(const struct engine_compiler *c, const struct mq_value *value,
                                         int place) {
  const struct engine_step *last = last_step(c);
  bool is_only = value->producer && value->n_uses == 1 && !value->is_output;
  return is_only && last && last->scope == ENGINE_SLICE && last->n_outputs == 1 && last->outputs[0] == place
             ? value->producer
             : NULL;
}

/* Its result is not stored. */
static int drop_last(struct engine_compiler *c) {
  const struct engine_step *last = &c->engine->steps[--c->engine->n_steps];
  c->engine->buffers[c->engine->places[last->outputs[0]].buffer].bytes = 0;
  return last->inputs[0];
}

/* Does nobody else add to the gradient of what is read now? Then it may take the place of the codes'. */
static bool is_only_reader(const struct engine_compiler *c, const struct mq_value *value, int x) {
  const struct engine_place *places = c->engine->places;
  size_t n_sharing = 0; /* views of one value share its gradient */
  for (size_t i = 0; i < c->engine->n_places; i++) {
    n_sharing += places[i].gradient == places[x].gradient;
  }
  return value->producer && value->n_uses == 1 && !value->is_output && n_sharing == 1;
}

/* The normalisation's sums go backward over that same memory. */
static void share_gradient_of_sums(struct engine_compiler *c, int normalised) {
  for (size_t i = c->engine->n_steps; i-- > 0;) {
    struct engine_step *step = &c->engine->steps[i];
    if (step->n_outputs == 2 && step->outputs[1] == normalised && step->function == &engine_sums_function) {
      step->function = &engine_sums_in_place_function;
      return;
    }
  }
}

/* Of a value at place x, which is to be read next: value and x become what is read instead. */
static mq_status take_clip(const struct mq_value **value, int *x, struct engine_quantizer *s,
                           struct engine_compiler *c, struct mq_err *err) {
  const struct mq_node *before = last_before(c, *value, *x);
  if (!before || (before->op != MQ_OP_Relu && before->op != MQ_OP_Clip) ||
      last_step(c)->function != engine_op_get(before->op)->function) {
    return MQ_OK;
  }
  s->has_clip = true;
  *x = drop_last(c);
  *value = before->inputs[0];
  return mq_node_get_clip(&s->lo, &s->hi, before, err);
}

/* Floats that were just made of codes for this sum alone: the codes are read instead. */
static bool take_codes(struct engine_quantizer *s, struct engine_compiler *c, const struct mq_node *add,
                       const int operands[2], const struct mq_value **value, int *x) {
  const struct engine_step *last = last_step(c);
  for (int i = 0; i < 2; i++) {
    if (last->function == &decode_function && last->outputs[0] == operands[i]) {
      s->other = last->inputs[0];
      s->other_grid = last->inputs[1];
      drop_last(c);
      engine_bind(c, add->inputs[i], s->other);
      *x = operands[1 - i];
      *value = add->inputs[1 - i];
      return true;
    }
  }
  return false;
}

static void take_sum(const struct mq_value **value, int *x, struct engine_quantizer *s,
                     struct engine_compiler *c) {
  const struct mq_node *before = last_before(c, *value, *x);
  if (!before || last_step(c)->function != &engine_add_function || before->inputs[0] == before->inputs[1]) {
    return;
  }
  const int operands[2] = {last_step(c)->inputs[0], last_step(c)->inputs[1]};
  drop_last(c);
  if (take_codes(s, c, before, operands, value, x)) {
    return;
  }
  int own = 0; /* the operand to go on with: what was made last, or else what nobody else reads */
  for (int i = 0; i < 2; i++) {
    own = is_only_reader(c, before->inputs[i], operands[i]) ? i : own;
  }
  for (int i = 0; i < 2; i++) {
    own = last_before(c, before->inputs[i], operands[i]) ? i : own;
  }
  *x = operands[own];
  *value = before->inputs[own];
  s->other = operands[1 - own];
}

static void take_normalisation(const struct mq_value **value, int *x, struct engine_quantizer *s,
                               struct engine_compiler *c) {
  const struct mq_node *before = last_before(c, *value, *x);
  if (!before || last_step(c)->function != &engine_normalise_function) {
    return;
  }
  s->normalised = *x;
  s->gain = last_step(c)->inputs[1];
  s->n_channels = engine_tensor(c, *x)->shape.dim[1];
  *x = drop_last(c);
  *value = before->inputs[0];
}

mq_status engine_take_over(int *x, struct engine_quantizer *s, struct engine_compiler *c,
                           const struct mq_node *node, struct mq_err *err) {
  const struct mq_value *value = node->inputs[0];
  mq_status status = take_clip(&value, x, s, c, err);
  if (status != MQ_OK) {
    return status;
  }
  take_sum(&value, x, s, c);
  take_normalisation(&value, x, s, c);
  s->is_in_place = value != node->inputs[0] && is_only_reader(c, value, *x);
  if (s->is_in_place && s->normalised >= 0) {
    share_gradient_of_sums(c, s->normalised);
  }
  return MQ_OK;
}

/* ---- Parts -------------------------------------------------------------------------------------- */
static int64_t part_of(const struct engine_quantizer *s) {
  int64_t n = s->n_rows * s->row_count, unit = s->n_channels > 0 ? s->n_channels : 1;
  int64_t part = PART / unit > 0 ? PART / unit * unit : unit;
  return part < n ? part : n;
}

static size_t part_bytes(const struct engine_quantizer *s) {
  return ((size_t)part_of(s) * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t larger(size_t a, size_t b) {
  return a > b ? a : b;
}

/* Weights: a grid to read, or a gradient nobody wants. Activations: three parts, and sums per channel. */
size_t engine_codes_scratch_bytes(const struct engine_quantizer *s) {
  size_t grid = (size_t)s->config.n_channels * (sizeof(float) + sizeof(int32_t));
  size_t whole = s->config.is_weight ? (size_t)(s->n_rows * s->row_count) * sizeof(float) : 0;
  size_t sums = 2 * (size_t)s->n_channels * sizeof(double);
  return larger(larger(grid, whole), 3 * part_bytes(s) + sums);
}

/* What it reads besides the form; NULL where there is none. */
struct operands {
  const float *x, *gain, *other;
  const struct mq_tensor *other_codes; /* and their grid, and a part where they become floats */
  const double *other_grid;
  float *other_part;
};

static int other_input(const struct engine_quantizer *s) {
  return s->gain >= 0 ? 3 : 2;
}

static struct operands operands_of(const struct engine_step *step, struct engine_frame *frame) {
  const struct engine_quantizer *s = step->state;
  struct operands o = {.x = engine_input(step, frame, 0)->data,
                       .gain = s->gain >= 0 ? engine_input(step, frame, 2)->data : NULL};
  if (s->other_grid >= 0) {
    o.other_codes = engine_input(step, frame, other_input(s));
    o.other_grid = engine_input(step, frame, other_input(s) + 1)->data;
    o.other_part = (float *)(void *)((char *)frame->scratch + 2 * part_bytes(s));
  } else if (s->other >= 0) {
    o.other = engine_input(step, frame, other_input(s))->data;
  }
  return o;
}

/* What is added to the `count` values from `at` on; NULL: nothing. */
static const float *other_at(const struct operands *o, int64_t at, int64_t count) {
  if (o->other_codes) {
    decode(o->other_part, o->other_codes, at, count, o->other_grid);
    return o->other_part;
  }
  return o->other ? o->other + at : NULL;
}

/* What the quantizer sees of the `count` values from `at` on; rounded where the steps by themselves would. */
static const float *prepare(float *part, const struct engine_quantizer *s, const struct operands *o,
                            int64_t at, int64_t count) {
  const float lo = s->has_clip ? s->lo : -INFINITY, hi = s->has_clip ? s->hi : INFINITY, *x = o->x + at;
  const float *other = other_at(o, at, count);
  if (o->gain) {
    mq_loop_affine(part, x, count / s->n_channels, s->n_channels, o->gain, o->gain + s->n_channels,
                   other ? -INFINITY : lo, other ? INFINITY : hi);
    x = part;
  }
  if (other) {
    mq_loop_add(part, x, other, count, lo, hi);
  } else if (s->has_clip && !o->gain) {
    mq_loop_clip(part, x, count, lo, hi);
  }
  return o->gain || other || s->has_clip ? part : x;
}

/* ---- Forward ------------------------------------------------------------------------------------ */
/* Scales and zero points as they stand. */
static mq_status read_grid(double *grid, struct mq_qparams *qparams, const struct engine_quantizer *s,
                           const double *form, void *scratch, struct mq_err *err) {
  int64_t n = s->config.n_channels;
  struct mq_qparams q = {.n_channels = n, .channel_axis = -1, .scale = scratch};
  q.zero_point = (int32_t *)(void *)(q.scale + n);
  if (!s->ops->grid(&q, &s->config, form)) {
    return mq_fail(err, MQ_FAILED, "quantizer %s left the integer grid it had at first", s->ops->name);
  }
  *qparams = q;
  for (int64_t c = 0; c < n; c++) {
    bool has_scale = isfinite(q.scale[c]) && q.scale[c] > 0;
    grid[c] = has_scale ? (double)q.scale[c] : (double)NAN;
    grid[n + c] = has_scale ? (double)q.zero_point[c] : 0;
  }
  return MQ_OK;
}

/* A code cannot tell of NaN: the scale does instead. */
static void note_nan(double *scale, const float *x, int64_t count) {
  float min, max;
  mq_loop_min_max(&min, &max, x, count);
  if (isnan(min)) {
    *scale = (double)NAN;
  }
}

static bool is_valid(const double *grid, int64_t n_channels) {
  bool is_valid = true;
  for (int64_t c = 0; c < n_channels; c++) {
    is_valid = is_valid && !isnan(grid[c]);
  }
  return is_valid;
}

static void quantize_weight(const struct engine_quantizer *s, float *y, uint8_t *codes, double *grid,
                            const double *form, const float *x) {
  for (int64_t r = 0; r < s->n_rows; r++) {
    note_nan(&grid[s->config.n_channels > 1 ? r : 0], x + r * s->row_count, s->row_count);
  }
  s->ops->forward(y, codes, &s->config, form, x, s->n_rows, s->row_count);
}

static void quantize_parts(const struct engine_quantizer *s, float *y, uint8_t *codes, double *grid,
                           const double *form, const struct operands *o, float *scratch) {
  int64_t n = s->n_rows * s->row_count, part = part_of(s);
  for (int64_t at = 0; at < n; at += part) {
    int64_t count = n - at < part ? n - at : part;
    const float *seen = prepare(scratch, s, o, at, count);
    note_nan(grid, seen, count);
    s->ops->forward(y ? y + at : NULL, codes + at, &s->config, form, seen, 1, count);
  }
}

static mq_status forward_codes(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  const struct engine_quantizer *s = step->state;
  const struct operands o = operands_of(step, frame);
  const double *form = engine_input(step, frame, 1)->data;
  uint8_t *codes = engine_output(step, frame, 0)->data;
  double *grid = engine_output(step, frame, 1)->data;
  float *y = step->n_outputs > 2 ? engine_output(step, frame, 2)->data : NULL;
  struct mq_qparams qparams;
  mq_status status = read_grid(grid, &qparams, s, form, frame->scratch, err);
  if (status != MQ_OK) {
    return status;
  }
  if (!is_valid(grid, s->config.n_channels)) { /* a method whose parameters are lost leaves codes alone */
    memset(codes, 0, (size_t)(s->n_rows * s->row_count));
  }
  if (s->config.is_weight) {
    quantize_weight(s, y, codes, grid, form, o.x);
  } else {
    quantize_parts(s, y, codes, grid, form, &o, frame->scratch);
  }
  return MQ_OK;
}

/* ---- Backward ----------------------------------------------------------------------------------- */
static double *begin_sums(const struct engine_step *step, struct engine_frame *frame) {
  struct mq_tensor *sums = engine_input_gradient(step, frame, 1);
  if (!step->adds[1]) {
    memset(sums->data, 0, (size_t)mq_shape_count(&sums->shape) * sizeof(double));
  }
  return sums->data;
}

static void backward_weight(const struct engine_step *step, struct engine_frame *frame, double *sums) {
  const struct engine_quantizer *s = step->state;
  float *dx = engine_input_gradient(step, frame, 0)->data;
  s->ops->backward(dx ? dx : frame->scratch, dx && step->adds[0], sums, &s->config,
                   engine_input(step, frame, 1)->data, engine_output_gradient(step, frame, 0)->data,
                   engine_input(step, frame, 0)->data, s->n_rows, s->row_count);
}

/* The gradient goes on to x (NULL: not wanted, or there already) or to what was added. */
static void pass_on(float *to, bool adds, const float *g, int64_t count) {
  if (to && adds) {
    mq_loop_add(to, to, g, count, -INFINITY, INFINITY);
  } else if (to) {
    memcpy(to, g, (size_t)count * sizeof *g);
  }
}

/* The gradient at what is added; `data` NULL where there is none. */
static float *other_gradient(bool *adds, const struct engine_step *step, struct engine_frame *frame) {
  const struct engine_quantizer *s = step->state;
  float *d = s->other >= 0 ? engine_input_gradient(step, frame, other_input(s))->data : NULL;
  *adds = d && step->adds[other_input(s)];
  return d;
}

/* d = the gradient at gain x + shift, for that at the codes; may lie over it. */
static void backward_part(float *d, const struct engine_quantizer *s, double *sums, const double *form,
                          const float *g, const float *seen, int64_t count) {
  s->ops->backward(d, false, sums, &s->config, form, g, seen, 1, count);
  if (s->has_clip) {
    mq_loop_clip_backward(d, false, d, seen, count, s->lo, s->hi);
  }
}

static mq_status backward_codes(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  const struct engine_quantizer *s = step->state;
  double *sums = begin_sums(step, frame);
  if (s->config.is_weight) {
    backward_weight(step, frame, sums);
    return MQ_OK;
  }
  const struct operands o = operands_of(step, frame);
  const float *g = engine_output_gradient(step, frame, 0)->data;
  const double *form = engine_input(step, frame, 1)->data;
  float *dx = engine_input_gradient(step, frame, 0)->data;
  int64_t n = s->n_rows * s->row_count, part = part_of(s);
  float *seen_part = frame->scratch, *d_part = (float *)(void *)((char *)frame->scratch + part_bytes(s));
  float *direct = s->is_in_place || !step->adds[0] ? dx : NULL, *added = direct ? NULL : dx;
  bool adds_other;
  float *d_other = other_gradient(&adds_other, step, frame);
  for (int64_t at = 0; at < n; at += part) {
    int64_t count = n - at < part ? n - at : part;
    const float *seen = prepare(seen_part, s, &o, at, count);
    float *d = direct ? direct + at : d_part;
    backward_part(d, s, sums, form, g + at, seen, count);
    pass_on(added ? added + at : NULL, true, d, count);
    pass_on(d_other ? d_other + at : NULL, adds_other, d, count);
  }
  return MQ_OK;
}

/* In place: the gradient of the codes becomes that of the normalised values, which the normalisation's own
 * sums see (op_norm.c). Answered to gain and shift: sum g and sum g x per channel. */
static mq_status backward_normalised(const struct engine_step *step, struct engine_frame *frame,
                                     struct mq_err *err) {
  (void)err;
  const struct engine_quantizer *s = step->state;
  const struct operands o = operands_of(step, frame);
  const double *form = engine_input(step, frame, 1)->data;
  float *g = engine_output_gradient(step, frame, 0)->data;
  double *totals = engine_input_gradient(step, frame, 2)->data, *sums = begin_sums(step, frame);
  int64_t n = s->n_rows * s->row_count, part = part_of(s), channels = s->n_channels;
  double *own = (double *)(void *)((char *)frame->scratch + 3 * part_bytes(s));
  bool adds_other;
  float *d_other = other_gradient(&adds_other, step, frame);
  memset(totals, 0, 2 * (size_t)channels * sizeof *totals);
  for (int64_t at = 0; at < n; at += part) {
    int64_t count = n - at < part ? n - at : part;
    const float *seen = prepare(frame->scratch, s, &o, at, count);
    backward_part(g + at, s, sums, form, g + at, seen, count);
    pass_on(d_other ? d_other + at : NULL, adds_other, g + at, count);
    mq_loop_channel_products(own, own + channels, g + at, o.x + at, count / channels, channels);
    for (int64_t i = 0; i < 2 * channels; i++) {
      totals[i] += own[i];
    }
  }
  return MQ_OK;
}

const struct engine_function engine_codes_function = {
    .forward = forward_codes, .backward = backward_codes, .keeps_inputs = true};
const struct engine_function engine_normalised_codes_function = {
    .forward = forward_codes, .backward = backward_normalised, .keeps_inputs = true, .ignores = 1u << 0};

/* ---- Values on another's grid: inputs {x, form}, outputs {codes, grid} ---------------------------- */
static mq_status forward_recode(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  const struct engine_quantizer *s = step->state;
  const struct mq_tensor *x = engine_input(step, frame, 0);
  struct mq_tensor *codes = engine_output(step, frame, 0);
  double *grid = engine_output(step, frame, 1)->data;
  struct mq_qparams qparams;
  mq_status status = read_grid(grid, &qparams, s, engine_input(step, frame, 1)->data, frame->scratch, err);
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
