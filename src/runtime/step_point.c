/* Between floats and codes, tables, and reshapes of what lies in one piece. */
#include <string.h>

#include "runtime/ops.h"
#include "runtime/simd/points.h"

static const struct runtime_points *points(const struct runtime_frame *frame) {
  return runtime_points_at(runtime_simd(frame->runtime->level));
}

static mq_status cut_rows(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  (void)err;
  step->n_units = runtime_output(runtime, step->step)->rows;
  return MQ_OK;
}

/* Input and output of the same shape, row by row, or many rows as one where there are no pads. */
struct rows {
  const struct runtime_layout *x, *y;
  unsigned char *from, *to;
  int64_t n_rows, n; /* n: elements of a row */
};

static struct rows find_rows(const struct runtime_step *step, const struct runtime_frame *frame,
                             int64_t first, int64_t last) {
  const struct mq_program_step *s = step->step;
  struct rows rows = {.x = runtime_input(frame->runtime, s, 0), .y = runtime_output(frame->runtime, s)};
  rows.from = runtime_pixel(rows.x, frame->data[s->inputs[0]], first, 0);
  rows.to = runtime_pixel(rows.y, frame->data[s->output], first, 0);
  rows.n_rows = last - first;
  rows.n = rows.y->columns * rows.y->channels;
  if (rows.x->side == 0 && rows.y->side == 0 && rows.n_rows > 0) {
    rows.n *= rows.n_rows;
    rows.n_rows = 1;
  }
  return rows;
}

/* ---- Quantize ---------------------------------------------------------------------------------------- */
static bool can_quantize(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  return step->kind == MQ_STEP_QUANTIZE && program_is_byte(program_output(runtime->program, step));
}

static void run_quantize(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                         int64_t last) {
  const struct mq_program_step *s = step->step;
  const struct mq_program_tensor *y = program_output(frame->runtime->program, s);
  const struct rows rows = find_rows(step, frame, first, last);
  const bool is_product = s->arithmetic == MQ_ARITHMETIC_XNNPACK || s->arithmetic == MQ_ARITHMETIC_FBGEMM;
  const struct runtime_quantize q = {
      .rounding = s->arithmetic == MQ_ARITHMETIC_TFLITE ? RUNTIME_DIVIDE_AWAY
                  : is_product                          ? RUNTIME_TIMES_EVEN
                                                        : RUNTIME_DIVIDE_EVEN,
      .scale = y->scale,
      .lo = (float)(s->lo - y->zero_point),
      .hi = (float)(s->hi - y->zero_point),
      .zero = y->zero_point + rows.y->flip,
  };
  for (int64_t r = 0; r < rows.n_rows; r++)
    points(frame)->quantize(rows.to + r * rows.y->row_bytes,
                            (const float *)(const void *)(rows.from + r * rows.x->row_bytes), rows.n, &q);
}

const struct runtime_op runtime_op_quantize = {
    .name = "quantize", .can = can_quantize, .prepare = cut_rows, .run = run_quantize};

/* ---- Dequantize -------------------------------------------------------------------------------------- */
static bool can_dequantize(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  return step->kind == MQ_STEP_DEQUANTIZE && program_is_byte(program_input(runtime->program, step, 0));
}

static void run_dequantize(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                           int64_t last) {
  const struct mq_program_tensor *x = program_input(frame->runtime->program, step->step, 0);
  const struct rows rows = find_rows(step, frame, first, last);
  for (int64_t r = 0; r < rows.n_rows; r++)
    points(frame)->dequantize((float *)(void *)(rows.to + r * rows.y->row_bytes),
                              rows.from + r * rows.x->row_bytes, rows.n, x->zero_point + rows.x->flip,
                              x->scale);
}

const struct runtime_op runtime_op_dequantize = {
    .name = "dequantize", .can = can_dequantize, .prepare = cut_rows, .run = run_dequantize};

/* ---- Table: entries by the code as stored, and stored likewise ---------------------------------------- */
static bool can_look_up(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  return step->kind == MQ_STEP_TABLE && program_is_byte(program_output(runtime->program, step));
}

static mq_status prepare_table(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  const unsigned char *entries = step->step->as.table.entries;
  unsigned char *own = mq_arena_alloc(&runtime->arena, 256, 1);
  if (own == NULL) return mq_fail_memory(err, "a table");
  /* The least code is stored as 0 in both types. */
  for (int i = 0; i < 256; i++)
    own[i] = entries[i] ^ runtime_output(runtime, step->step)->flip;
  step->own = own;
  return cut_rows(step, runtime, err);
}

static void run_look_up(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                        int64_t last) {
  const struct rows rows = find_rows(step, frame, first, last);
  for (int64_t r = 0; r < rows.n_rows; r++)
    points(frame)->look_up(rows.to + r * rows.y->row_bytes, rows.from + r * rows.x->row_bytes, rows.n,
                           step->own);
}

const struct runtime_op runtime_op_table = {
    .name = "table", .can = can_look_up, .prepare = prepare_table, .run = run_look_up};

/* ---- Reshape ----------------------------------------------------------------------------------------- */
static bool can_reshape(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  (void)runtime;
  return step->kind == MQ_STEP_RESHAPE;
}

static mq_status prepare_reshape(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  (void)err;
  runtime_want_scratch(runtime, mq_program_tensor_bytes(program_output(runtime->program, step->step)));
  return MQ_OK;
}

static void run_reshape(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                        int64_t last) {
  (void)first;
  (void)last;
  const struct mq_program_step *s = step->step;
  const struct runtime_layout *x = runtime_input(frame->runtime, s, 0),
                              *y = runtime_output(frame->runtime, s);
  unsigned char *from = frame->data[s->inputs[0]], *to = frame->data[s->output];
  if (x->side == 0 && y->side == 0) {
    memcpy(to, from, (size_t)(y->rows * y->row_bytes));
    return;
  }
  runtime_fetch(x, frame->scratch, from);
  runtime_store(y, to, frame->scratch);
}

const struct runtime_op runtime_op_reshape = {
    .name = "reshape", .can = can_reshape, .prepare = prepare_reshape, .run = run_reshape};

/* ---- Floats ------------------------------------------------------------------------------------------ */
static bool can_affine(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  (void)runtime;
  return step->kind == MQ_STEP_AFFINE;
}

static void run_affine(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                       int64_t last) {
  const struct mq_program_step *s = step->step;
  const struct runtime_layout *y = runtime_output(frame->runtime, s);
  const struct rows rows = find_rows(step, frame, first, last);
  const float *x = (const float *)(const void *)rows.from;
  float *to = (float *)(void *)rows.to;
  for (int64_t i = 0; i < rows.n_rows * rows.n; i += y->channels)
    points(frame)->affine(to + i, x + i, s->as.affine.gain, s->as.affine.shift, y->channels, s->clip_lo,
                          s->clip_hi);
}

const struct runtime_op runtime_op_affine = {
    .name = "affine", .can = can_affine, .prepare = cut_rows, .run = run_affine};

static bool can_clip(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  (void)runtime;
  return step->kind == MQ_STEP_UNARY && step->as.unary.kind == MQ_PROGRAM_CLIP;
}

static void run_clip(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                     int64_t last) {
  const struct rows rows = find_rows(step, frame, first, last);
  points(frame)->clip((float *)(void *)rows.to, (const float *)(const void *)rows.from, rows.n_rows * rows.n,
                      step->step->clip_lo, step->step->clip_hi);
}

const struct runtime_op runtime_op_clip = {
    .name = "clip", .can = can_clip, .prepare = cut_rows, .run = run_clip};
