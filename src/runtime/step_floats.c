/* Functions, operations and averages of floats. */
#include <string.h>

#include "kernel/simd/elementwise.h"
#include "runtime/broadcast.h"
#include "runtime/ops.h"
#include "runtime/simd/floats.h"

static const float *floats_at(const unsigned char *data) {
  return (const float *)(const void *)data;
}

static const struct runtime_floats *loops(const struct runtime_frame *frame) {
  return runtime_floats_at(runtime_simd(frame->runtime->level));
}

static mq_status cut_rows(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  (void)err;
  step->n_units = runtime_output(runtime, step->step)->rows;
  return MQ_OK;
}

/* ---- Functions ----------------------------------------------------------------------------------------- */
static bool can_unary(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  (void)runtime;
  return step->kind == MQ_STEP_UNARY && step->as.unary.kind != MQ_PROGRAM_CLIP;
}

static mq_unary unary_of(mq_program_unary kind) {
  return kind == MQ_PROGRAM_SIGMOID        ? MQ_UNARY_SIGMOID
         : kind == MQ_PROGRAM_HARD_SIGMOID ? MQ_UNARY_HARD_SIGMOID
         : kind == MQ_PROGRAM_HARD_SWISH   ? MQ_UNARY_HARD_SWISH
                                           : MQ_UNARY_LEAKY_RELU;
}

/* The engine's own loops: the program's functions are theirs. */
static void run_unary(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                      int64_t last) {
  const struct mq_program_step *s = step->step;
  const struct runtime_layout *y = runtime_output(frame->runtime, s);
  const int64_t at = first * y->row_bytes, n = (last - first) * y->columns * y->channels;
  mq_simd_elementwise_at(runtime_simd(frame->runtime->level))
      ->unary((float *)(void *)(frame->data[s->output] + at), floats_at(frame->data[s->inputs[0]] + at), n,
              unary_of(s->as.unary.kind), s->as.unary.alpha, s->as.unary.beta);
}

const struct runtime_op runtime_op_unary = {
    .name = "unary", .can = can_unary, .prepare = cut_rows, .run = run_unary};

/* ---- Two operands ----------------------------------------------------------------------------------------
 */
static bool can_binary(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  return step->kind == MQ_STEP_BINARY && runtime_broadcast_can(runtime, step);
}

static mq_status prepare_binary(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  runtime_want_scratch(runtime, runtime_broadcast_bytes(runtime, step->step));
  return cut_rows(step, runtime, err);
}

static void run_binary(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                       int64_t last) {
  const struct mq_program_step *s = step->step;
  const struct runtime_layout *y = runtime_output(frame->runtime, s);
  struct runtime_operand a = runtime_operand_of(step, frame, 0, frame->scratch);
  struct runtime_operand b = runtime_operand_of(step, frame, 1, frame->scratch);
  for (int64_t row = first; row < last; row++)
    loops(frame)->binary((float *)(void *)runtime_pixel(y, frame->data[s->output], row, 0),
                         floats_at(runtime_operand_row(&a, row)), floats_at(runtime_operand_row(&b, row)),
                         y->columns * y->channels, (runtime_binary)s->as.binary.kind, s->clip_lo, s->clip_hi);
}

const struct runtime_op runtime_op_binary = {
    .name = "binary", .can = can_binary, .prepare = prepare_binary, .run = run_binary};

/* ---- Means ------------------------------------------------------------------------------------------------
 */
static bool can_mean(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  return step->kind == MQ_STEP_MEAN && program_is_float(program_output(runtime->program, step)) &&
         program_is_float(program_input(runtime->program, step, 0));
}

static mq_status prepare_mean(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  (void)err;
  runtime_want_scratch(runtime, (size_t)runtime_output(runtime, step->step)->channels * sizeof(double));
  return MQ_OK;
}

/* Summed in double, rounded once. */
static void run_mean(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                     int64_t last) {
  const struct mq_program_step *s = step->step;
  const struct runtime_layout *x = runtime_input(frame->runtime, s, 0);
  double *sums = (double *)(void *)frame->scratch;
  float *y = (float *)(void *)frame->data[s->output];
  (void)first;
  (void)last;
  memset(sums, 0, (size_t)x->channels * sizeof *sums);
  loops(frame)->sum_pixels(sums, floats_at(frame->data[s->inputs[0]]), x->rows * x->columns, x->channels);
  for (int64_t c = 0; c < x->channels; c++)
    y[c] = (float)(sums[c] / (double)(x->rows * x->columns));
}

const struct runtime_op runtime_op_mean = {
    .name = "mean of floats", .can = can_mean, .prepare = prepare_mean, .run = run_mean};
