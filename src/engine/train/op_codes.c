/* The step that makes codes of an activation or a weight, with what stands before it: a normalisation, the
 * addition of another branch and a clip whose results nobody else reads are made part by part, stay in the
 * cache, and are made again going backward instead of being kept. */
#include <math.h>
#include <string.h>

#include "engine/train/codes.h"

#define ALIGNMENT 64
#define PART 4096 /* values, or a row of channels where that is more */

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
    engine_decode_part(o->other_part, o->other_codes, at, count, o->other_grid);
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
mq_status engine_read_grid(double *grid, struct mq_qparams *qparams, const struct engine_quantizer *s,
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
  mq_status status = engine_read_grid(grid, &qparams, s, form, frame->scratch, err);
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
