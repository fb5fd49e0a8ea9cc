/* Sums of two tensors of codes, and of floats of the same shape. */
#include <math.h>

#include "runtime/broadcast.h"
#include "runtime/ops.h"
#include "runtime/simd/points.h"

static bool has_same_shapes(const struct mq_program *program, const struct mq_program_step *step) {
  const struct mq_program_tensor *y = program_output(program, step);
  return program_same_shape(program_input(program, step, 0), y) &&
         program_same_shape(program_input(program, step, 1), y);
}

/* Shifts that leave 32 bits, and scales far from the ends of the exponents. */
static bool has_fitting_scales(const struct mq_program *program, const struct mq_program_step *step) {
  const struct mq_program_tensor *a = program_input(program, step, 0), *b = program_input(program, step, 1);
  const struct mq_program_tensor *y = program_output(program, step);
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(step->arithmetic);
  struct mq_program_add add;
  const float least = 0x1p-40f, most = 0x1p40f;
  if (arithmetic->make_add(&add, a, b, y, NULL) != MQ_PROGRAM_OK) return false;
  if (step->arithmetic == MQ_ARITHMETIC_POT_SHIFT || step->arithmetic == MQ_ARITHMETIC_POT_SHIFT_EVEN)
    return add.a.shift <= 20 && add.b.shift <= 20 && add.y.shift <= 31;
  return a->scale > least && a->scale < most && b->scale > least && b->scale < most && y->scale > least &&
         y->scale < most;
}

static bool can_add(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  const struct mq_program *program = runtime->program;
  return step->kind == MQ_STEP_ADD && program_is_byte(program_input(program, step, 0)) &&
         program_is_byte(program_input(program, step, 1)) && program_is_byte(program_output(program, step)) &&
         runtime_broadcast_can(runtime, step) && has_fitting_scales(program, step);
}

static runtime_add_form form_of(mq_arithmetic_kind kind) {
  switch (kind) {
    case MQ_ARITHMETIC_TFLITE:
      return RUNTIME_ADD_FIXED;
    case MQ_ARITHMETIC_XNNPACK:
      return RUNTIME_ADD_SHIFT_DOWN;
    case MQ_ARITHMETIC_FBGEMM:
      return RUNTIME_ADD_BIASED;
    case MQ_ARITHMETIC_ORT:
      return RUNTIME_ADD_FUSED;
    case MQ_ARITHMETIC_POT_SHIFT:
      return RUNTIME_ADD_UP;
    case MQ_ARITHMETIC_POT_SHIFT_EVEN:
      return RUNTIME_ADD_EVEN;
    case MQ_ARITHMETIC_TRT:
    case MQ_ARITHMETIC_DEQUANT_F32:
    case MQ_ARITHMETIC_END:
      break;
  }
  return RUNTIME_ADD_REAL;
}

/* What is taken from codes as they are stored, and added to what was rounded. */
static void set_zeros(struct runtime_add *add, const struct mq_runtime *runtime,
                      const struct mq_program_step *step) {
  const struct runtime_layout *a = runtime_input(runtime, step, 0), *b = runtime_input(runtime, step, 1);
  const bool has_plain_codes = add->form == RUNTIME_ADD_BIASED || add->form == RUNTIME_ADD_FUSED;
  const int32_t zero = program_output(runtime->program, step)->zero_point;
  add->a_zero = has_plain_codes ? a->flip : a->zero;
  add->b_zero = has_plain_codes ? b->flip : b->zero;
  add->zero = runtime_output(runtime, step)->flip + (add->form == RUNTIME_ADD_FUSED ? 0 : zero);
  add->lo = step->lo - (add->form == RUNTIME_ADD_FUSED ? 0 : zero);
  add->hi = step->hi - (add->form == RUNTIME_ADD_FUSED ? 0 : zero);
}

static void set_factors(struct runtime_add *add, const struct mq_program_add *from,
                        const struct mq_program_tensor *y) {
  const bool is_pot = add->form == RUNTIME_ADD_UP || add->form == RUNTIME_ADD_EVEN;
  const int32_t sign = add->form == RUNTIME_ADD_FIXED ? -1 : 1; /* tflite_ref counts to the left */
  add->a_multiplier = from->a.multiplier;
  add->b_multiplier = from->b.multiplier;
  add->y_multiplier = from->y.multiplier;
  add->a_shift = is_pot ? from->a.shift : sign * from->a.shift;
  add->b_shift = is_pot ? from->b.shift : sign * from->b.shift;
  add->y_shift = sign * from->y.shift;
  add->a_factor = from->a.factor;
  add->b_factor = from->b.factor;
  add->a_offset = from->a.offset;
  add->b_offset = from->b.offset;
  add->y_factor = from->y.factor;
  add->y_offset = from->y.offset;
  add->scale = y->scale;
  add->reciprocal = 1.0f / y->scale;
  /* xnnpack: zero points stand in the operands here, so that only the rounding is left of its bias. */
  if (add->form == RUNTIME_ADD_SHIFT_DOWN) add->y_multiplier = 1 << (from->y.shift - 1);
}

/* Sums of floats are at most what 256 steps of both operands and their offsets come to; zero points lie
 * within the codes, so that bytes hold the clamped codes. */
static void set_bytes(struct runtime_add *add) {
  const double a = 256 * (double)add->a_factor + fabs((double)add->a_offset);
  const double b = 256 * (double)add->b_factor + fabs((double)add->b_offset);
  const double most = add->form == RUNTIME_ADD_REAL     ? (a + b) / (double)add->scale
                      : add->form == RUNTIME_ADD_BIASED ? (a + b) * (double)add->y_factor
                                                        : a + b + fabs((double)add->y_offset);
  add->is_quick = most < 0x1p30;
  add->least = (uint8_t)(program_round_even(add->f_lo) + add->zero);
  add->most = (uint8_t)(program_round_even(add->f_hi) + add->zero);
}

static mq_status prepare_add(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  const struct mq_program_step *s = step->step;
  const struct mq_program_tensor *y = program_output(runtime->program, s);
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(s->arithmetic);
  struct mq_program_add from;
  struct runtime_add *add = mq_arena_alloc(&runtime->arena, 1, sizeof *add);
  if (add == NULL) return mq_fail_memory(err, "an addition");
  if (arithmetic->make_add(&from, program_input(runtime->program, s, 0),
                           program_input(runtime->program, s, 1), y, NULL) != MQ_PROGRAM_OK)
    return mq_fail(err, MQ_BAD_INPUT, "step '%s': scales that cannot be added", s->name);
  add->form = form_of(s->arithmetic);
  set_zeros(add, runtime, s);
  set_factors(add, &from, y);
  add->f_lo = (float)add->lo;
  add->f_hi = (float)add->hi;
  if (add->form == RUNTIME_ADD_REAL) {
    const float u = s->clip_lo / y->scale, v = s->clip_hi / y->scale;
    add->f_lo = program_clip(u, (float)add->lo, (float)add->hi);
    add->f_hi = program_clip(v, (float)add->lo, (float)add->hi);
  }
  set_bytes(add);
  step->own = add;
  runtime_want_scratch(runtime, runtime_broadcast_bytes(runtime, s));
  step->n_units = runtime_output(runtime, s)->rows;
  return MQ_OK;
}

static void run_add(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                    int64_t last) {
  const struct mq_program_step *s = step->step;
  const struct mq_runtime *runtime = frame->runtime;
  const struct runtime_layout *y = runtime_output(runtime, s);
  const struct runtime_points *points = runtime_points_at(runtime_simd(runtime->level));
  struct runtime_operand a = runtime_operand_of(step, frame, 0, frame->scratch);
  struct runtime_operand b = runtime_operand_of(step, frame, 1, frame->scratch);
  for (int64_t row = first; row < last; row++)
    points->add(runtime_pixel(y, frame->data[s->output], row, 0), runtime_operand_row(&a, row),
                runtime_operand_row(&b, row), y->columns * y->channels, step->own);
}

const struct runtime_op runtime_op_add = {
    .name = "add", .can = can_add, .prepare = prepare_add, .run = run_add};

/* ---- Floats ------------------------------------------------------------------------------------------ */
static bool can_add_floats(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  return step->kind == MQ_STEP_BINARY && step->as.binary.kind == MQ_PROGRAM_ADD &&
         has_same_shapes(runtime->program, step);
}

static mq_status prepare_floats(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  (void)err;
  step->n_units = runtime_output(runtime, step->step)->rows;
  return MQ_OK;
}

static void run_add_floats(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                           int64_t last) {
  const struct mq_program_step *s = step->step;
  const struct runtime_layout *y = runtime_output(frame->runtime, s);
  const int64_t at = first * y->columns * y->channels, n = (last - first) * y->columns * y->channels;
  const float *a = (const float *)(const void *)frame->data[s->inputs[0]];
  const float *b = (const float *)(const void *)frame->data[s->inputs[1]];
  float *to = (float *)(void *)frame->data[s->output];
  runtime_points_at(runtime_simd(frame->runtime->level))
      ->add_floats(to + at, a + at, b + at, n, s->clip_lo, s->clip_hi);
}

const struct runtime_op runtime_op_add_floats = {
    .name = "add floats", .can = can_add_floats, .prepare = prepare_floats, .run = run_add_floats};
