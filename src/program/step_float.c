/* Steps on floats: islands of a program of codes, and what dequant_f32 leaves between its layers. Every
 * operation is rounded to float32. */
#include "program/file.h"

static mq_program_status check_floats(const struct mq_program *program, const struct mq_program_step *step,
                                      struct mq_program_err *err) {
  const struct mq_program_tensor *y = program_output(program, step);
  for (uint32_t i = 0; i < step->n_inputs; i++) {
    const struct mq_program_tensor *x = program_input(program, step, i);
    if (!program_is_float(x) || !program_is_float(y) ||
        !(step->n_inputs > 1 ? program_broadcasts(x, y) : program_same_shape(x, y)))
      return program_fail_step(err, program, step, "input %lld: expected floats of the output's shape",
                               (long long)i);
  }
  return MQ_PROGRAM_OK;
}

/* ---- Affine ------------------------------------------------------------------------------------------ */
static void affine_constants(struct program_codec *codec, const struct mq_program *program,
                             struct mq_program_step *step) {
  const int64_t channels = program_last_dim(program_output(program, step));
  step->as.affine.gain = program_field_constant(codec, step->as.affine.gain, channels, sizeof(float));
  step->as.affine.shift = program_field_constant(codec, step->as.affine.shift, channels, sizeof(float));
}

static void run_affine(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *y = program_output(frame->program, step);
  const int64_t channels = program_last_dim(y);
  const float *from = program_read(frame, step->inputs[0]);
  float *to = program_write_to(frame, step);
  for (int64_t i = 0, n = mq_program_elements(y); i < n; i++) {
    const float scaled = from[i] * step->as.affine.gain[i % channels];
    to[i] = program_clip_float(scaled + step->as.affine.shift[i % channels], step->clip_lo, step->clip_hi);
  }
}

const struct program_op program_op_affine = {
    .name = "affine",
    .min_inputs = 1,
    .max_inputs = 1,
    .clips = true,
    .check = check_floats,
    .constants = affine_constants,
    .run = run_affine,
};

/* ---- Unary ------------------------------------------------------------------------------------------- */
static mq_program_status check_unary(const struct mq_program *program, const struct mq_program_step *step,
                                     struct mq_program_err *err) {
  const mq_program_unary kind = step->as.unary.kind;
  if (kind < 1 || kind >= MQ_PROGRAM_UNARY_END)
    return program_fail_step(err, program, step, "function %lld, expected 1 to %lld", (long long)kind,
                             (long long)MQ_PROGRAM_UNARY_END - 1);
  if (kind != MQ_PROGRAM_CLIP && (step->clip_lo != -PROGRAM_INFINITY || step->clip_hi != PROGRAM_INFINITY))
    return program_fail_step(err, program, step, "a clip, expected one with function 1 only");
  return check_floats(program, step, err);
}

static void unary_fields(struct program_codec *codec, struct mq_program_step *step) {
  int32_t kind = (int32_t)step->as.unary.kind;
  program_field(codec, &kind);
  step->as.unary.kind = (mq_program_unary)kind;
  program_field_float(codec, &step->as.unary.alpha);
  program_field_float(codec, &step->as.unary.beta);
}

static float unary_value(const struct mq_program_step *step, float x) {
  switch (step->as.unary.kind) {
    case MQ_PROGRAM_CLIP:
      return program_clip_float(x, step->clip_lo, step->clip_hi);
    case MQ_PROGRAM_SIGMOID:
      return program_sigmoid(x);
    case MQ_PROGRAM_HARD_SIGMOID: {
      const float scaled = step->as.unary.alpha * x;
      return program_clip_float(scaled + step->as.unary.beta, 0, 1);
    }
    case MQ_PROGRAM_HARD_SWISH: {
      const float sixth = x / 6.0f;
      return x * program_clip_float(sixth + 0.5f, 0, 1);
    }
    case MQ_PROGRAM_LEAKY_RELU:
      return x >= 0 ? x : step->as.unary.alpha * x;
    case MQ_PROGRAM_UNARY_END:
      break;
  }
  return x;
}

static void run_unary(const struct program_frame *frame, const struct mq_program_step *step) {
  const float *from = program_read(frame, step->inputs[0]);
  float *to = program_write_to(frame, step);
  for (int64_t i = 0, n = mq_program_elements(program_output(frame->program, step)); i < n; i++)
    to[i] = unary_value(step, from[i]);
}

const struct program_op program_op_unary = {
    .name = "unary",
    .min_inputs = 1,
    .max_inputs = 1,
    .clips = true,
    .check = check_unary,
    .fields = unary_fields,
    .run = run_unary,
};

/* ---- Binary ------------------------------------------------------------------------------------------ */
static mq_program_status check_binary(const struct mq_program *program, const struct mq_program_step *step,
                                      struct mq_program_err *err) {
  const mq_program_binary kind = step->as.binary.kind;
  if (kind >= 1 && kind < MQ_PROGRAM_BINARY_END) return check_floats(program, step, err);
  return program_fail_step(err, program, step, "operation %lld, expected 1 to %lld", (long long)kind,
                           (long long)MQ_PROGRAM_BINARY_END - 1);
}

static void binary_fields(struct program_codec *codec, struct mq_program_step *step) {
  int32_t kind = (int32_t)step->as.binary.kind;
  program_field(codec, &kind);
  step->as.binary.kind = (mq_program_binary)kind;
}

static float binary_value(mq_program_binary kind, float a, float b) {
  switch (kind) {
    case MQ_PROGRAM_ADD:
      return a + b;
    case MQ_PROGRAM_SUB:
      return a - b;
    case MQ_PROGRAM_MUL:
      return a * b;
    case MQ_PROGRAM_DIV:
      return a / b;
    case MQ_PROGRAM_PRELU:
      return a >= 0 ? a : a * b;
    case MQ_PROGRAM_BINARY_END:
      break;
  }
  return a;
}

static void run_binary(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *y = program_output(frame->program, step);
  const float *a = program_read(frame, step->inputs[0]), *b = program_read(frame, step->inputs[1]);
  struct program_walk at_a = program_walk_broadcast(y, program_input(frame->program, step, 0));
  struct program_walk at_b = program_walk_broadcast(y, program_input(frame->program, step, 1));
  float *to = program_write_to(frame, step);
  for (int64_t i = 0, n = mq_program_elements(y); i < n; i++) {
    const float value = binary_value(step->as.binary.kind, a[at_a.at], b[at_b.at]);
    to[i] = program_clip_float(value, step->clip_lo, step->clip_hi);
    program_walk_next(&at_a);
    program_walk_next(&at_b);
  }
}

const struct program_op program_op_binary = {
    .name = "binary",
    .min_inputs = 2,
    .max_inputs = 2,
    .clips = true,
    .check = check_binary,
    .fields = binary_fields,
    .run = run_binary,
};

/* ---- Softmax ----------------------------------------------------------------------------------------- */
static void run_softmax(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *y = program_output(frame->program, step);
  const int64_t n = program_last_dim(y), rows = mq_program_elements(y) / n;
  const float *from = program_read(frame, step->inputs[0]);
  float *to = program_write_to(frame, step);
  for (int64_t row = 0; row < rows; row++)
    program_softmax(to + row * n, from + row * n, n);
}

const struct program_op program_op_softmax = {
    .name = "softmax",
    .min_inputs = 1,
    .max_inputs = 1,
    .check = check_floats,
    .run = run_softmax,
};
