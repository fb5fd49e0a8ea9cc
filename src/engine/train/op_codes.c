/* The step that makes codes of an activation or a weight, with what stands before it: a normalisation and a
 * clip whose results nobody else reads are made part by part, stay in the cache, and are made again going
 * backward instead of being kept. */
#include <math.h>
#include <string.h>

#include "engine/train/codes.h"

#define PART 8192 /* values, or a row of channels where that is more */

/* ---- Taking over -------------------------------------------------------------------------------- */
/* The node whose only reader is `reader` and whose step was emitted last. */
static const struct mq_node *last_before(const struct engine_compiler *c, const struct mq_node *reader,
                                         int place) {
  const struct mq_value *value = reader->inputs[0];
  const struct engine_step *last = c->engine->n_steps > 0 ? &c->engine->steps[c->engine->n_steps - 1] : NULL;
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

static const struct engine_function *last_function(const struct engine_compiler *c) {
  return c->engine->steps[c->engine->n_steps - 1].function;
}

/* Does nobody else add to the gradient of what is read now? Then it may take the place of the codes'. */
static bool is_only_reader(const struct engine_compiler *c, const struct mq_node *reader, int x) {
  const struct mq_value *value = reader->inputs[0];
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

mq_status engine_take_over(int *x, struct engine_quantizer *s, struct engine_compiler *c,
                           const struct mq_node *node, struct mq_err *err) {
  const struct mq_node *before = last_before(c, node, *x);
  mq_status status = MQ_OK;
  if (before && (before->op == MQ_OP_Relu || before->op == MQ_OP_Clip) &&
      last_function(c) == engine_op_get(before->op)->function) {
    status = mq_node_get_clip(&s->lo, &s->hi, before, err);
    s->has_clip = true;
    *x = drop_last(c);
    s->is_in_place = is_only_reader(c, before, *x);
    before = last_before(c, before, *x);
  }
  if (status == MQ_OK && before && last_function(c) == &engine_normalise_function) {
    s->normalised = *x;
    s->gain = c->engine->steps[c->engine->n_steps - 1].inputs[1];
    s->n_channels = engine_tensor(c, *x)->shape.dim[1];
    *x = drop_last(c);
    s->is_in_place = is_only_reader(c, before, *x);
    if (s->is_in_place) {
      share_gradient_of_sums(c, s->normalised);
    }
  }
  return status;
}

/* ---- Parts -------------------------------------------------------------------------------------- */
static int64_t part_of(const struct engine_quantizer *s) {
  int64_t n = s->n_rows * s->row_count, unit = s->n_channels > 0 ? s->n_channels : 1;
  int64_t part = PART / unit > 0 ? PART / unit * unit : unit;
  return part < n ? part : n;
}

static size_t part_bytes(const struct engine_quantizer *s) {
  return (size_t)part_of(s) * sizeof(float);
}

static size_t larger(size_t a, size_t b) {
  return a > b ? a : b;
}

/* Weights: a grid to read, or a gradient nobody wants. Activations: two parts, and sums per channel. */
size_t engine_codes_scratch_bytes(const struct engine_quantizer *s) {
  size_t grid = (size_t)s->config.n_channels * (sizeof(float) + sizeof(int32_t));
  size_t whole = s->config.is_weight ? (size_t)(s->n_rows * s->row_count) * sizeof(float) : 0;
  size_t sums = 2 * (size_t)s->n_channels * sizeof(double);
  return larger(larger(grid, whole), 2 * part_bytes(s) + sums);
}

/* What the quantizer sees of the values from `at` on. */
static const float *prepare(float *part, const struct engine_quantizer *s, const float *x, int64_t count,
                            const float *gain) {
  float lo = s->has_clip ? s->lo : -INFINITY, hi = s->has_clip ? s->hi : INFINITY;
  if (gain) {
    mq_loop_affine(part, x, count / s->n_channels, s->n_channels, gain, gain + s->n_channels, lo, hi);
    return part;
  }
  if (s->has_clip) {
    mq_loop_clip(part, x, count, lo, hi);
    return part;
  }
  return x;
}

/* ---- Forward ------------------------------------------------------------------------------------ */
/* Scales and zero points as they stand. */
static mq_status read_grid(double *grid, const struct engine_quantizer *s, const double *form, void *scratch,
                           struct mq_err *err) {
  int64_t n = s->config.n_channels;
  struct mq_qparams q = {.n_channels = n, .channel_axis = -1, .scale = scratch};
  q.zero_point = (int32_t *)(void *)(q.scale + n);
  if (!s->ops->grid(&q, &s->config, form)) {
    return mq_fail(err, MQ_FAILED, "quantizer %s left the integer grid it had at first", s->ops->name);
  }
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
                           const double *form, const float *x, const float *gain, float *scratch) {
  int64_t n = s->n_rows * s->row_count, part = part_of(s);
  for (int64_t at = 0; at < n; at += part) {
    int64_t count = n - at < part ? n - at : part;
    const float *seen = prepare(scratch, s, x + at, count, gain);
    note_nan(grid, seen, count);
    s->ops->forward(y ? y + at : NULL, codes + at, &s->config, form, seen, 1, count);
  }
}

static mq_status forward_codes(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  const struct engine_quantizer *s = step->state;
  const float *x = engine_input(step, frame, 0)->data;
  const double *form = engine_input(step, frame, 1)->data;
  const float *gain = step->n_inputs > 2 ? engine_input(step, frame, 2)->data : NULL;
  uint8_t *codes = engine_output(step, frame, 0)->data;
  double *grid = engine_output(step, frame, 1)->data;
  float *y = step->n_outputs > 2 ? engine_output(step, frame, 2)->data : NULL;
  mq_status status = read_grid(grid, s, form, frame->scratch, err);
  if (status != MQ_OK) {
    return status;
  }
  if (!is_valid(grid, s->config.n_channels)) { /* a method whose parameters are lost leaves codes alone */
    memset(codes, 0, (size_t)(s->n_rows * s->row_count));
  }
  if (s->config.is_weight) {
    quantize_weight(s, y, codes, grid, form, x);
  } else {
    quantize_parts(s, y, codes, grid, form, x, gain, frame->scratch);
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

static mq_status backward_codes(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  const struct engine_quantizer *s = step->state;
  double *sums = begin_sums(step, frame);
  if (s->config.is_weight) {
    backward_weight(step, frame, sums);
    return MQ_OK;
  }
  const float *x = engine_input(step, frame, 0)->data, *g = engine_output_gradient(step, frame, 0)->data;
  const double *form = engine_input(step, frame, 1)->data;
  float *dx = engine_input_gradient(step, frame, 0)->data;
  int64_t n = s->n_rows * s->row_count, part = part_of(s);
  float *seen_part = frame->scratch, *d_part = seen_part + part;
  bool adds = dx && step->adds[0] && !s->is_in_place;
  for (int64_t at = 0; at < n; at += part) {
    int64_t count = n - at < part ? n - at : part;
    const float *seen = prepare(seen_part, s, x + at, count, NULL);
    bool is_direct = dx && (!s->has_clip || s->is_in_place);
    float *d = is_direct ? dx + at : d_part;
    s->ops->backward(d, is_direct && adds, sums, &s->config, form, g + at, seen, 1, count);
    if (dx && s->has_clip) {
      mq_loop_clip_backward(dx + at, adds, d, seen, count, s->lo, s->hi);
    }
  }
  return MQ_OK;
}

/* In place: the gradient of the codes becomes that of the normalised values, which the normalisation's own
 * sums see (op_norm.c). Answered to gain and shift: sum g and sum g x per channel. */
static mq_status backward_normalised(const struct engine_step *step, struct engine_frame *frame,
                                     struct mq_err *err) {
  (void)err;
  const struct engine_quantizer *s = step->state;
  const float *x = engine_input(step, frame, 0)->data, *gain = engine_input(step, frame, 2)->data;
  const double *form = engine_input(step, frame, 1)->data;
  float *g = engine_output_gradient(step, frame, 0)->data;
  double *totals = engine_input_gradient(step, frame, 2)->data, *sums = begin_sums(step, frame);
  int64_t n = s->n_rows * s->row_count, part = part_of(s), channels = s->n_channels;
  float *seen = frame->scratch;
  double *own = (double *)(void *)((char *)frame->scratch + part_bytes(s));
  memset(totals, 0, 2 * (size_t)channels * sizeof *totals);
  for (int64_t at = 0; at < n; at += part) {
    int64_t count = n - at < part ? n - at : part;
    prepare(seen, s, x + at, count, gain);
    s->ops->backward(g + at, false, sums, &s->config, form, g + at, seen, 1, count);
    if (s->has_clip) {
      mq_loop_clip_backward(g + at, false, g + at, seen, count, s->lo, s->hi);
    }
    mq_loop_channel_products(own, own + channels, g + at, x + at, count / channels, channels);
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
