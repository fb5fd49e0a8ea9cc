/* Steps at a quantization point: from floats to codes, back, and tables. */
#include "program/arith.h"
#include "program/file.h"

static mq_program_status check_types(const struct mq_program *program, const struct mq_program_step *step,
                                     bool is_right, const char *expected, struct mq_program_err *err) {
  if (!is_right) return program_fail_step(err, program, step, "expected %s", expected);
  if (program_same_shape(program_input(program, step, 0), program_output(program, step)))
    return MQ_PROGRAM_OK;
  return program_fail_step(err, program, step, "input and output differ in shape, expected the same");
}

/* ---- Quantize ---------------------------------------------------------------------------------------- */
static mq_program_status check_quantize(const struct mq_program *program, const struct mq_program_step *step,
                                        struct mq_program_err *err) {
  const bool is_right =
      program_is_float(program_input(program, step, 0)) && program_is_code(program_output(program, step));
  return check_types(program, step, is_right, "floats in and codes out", err);
}

static void run_quantize(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *y = program_output(frame->program, step);
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(step->arithmetic);
  const struct mq_program_output output = mq_program_get_output(frame->program, step);
  const float *x = program_read(frame, step->inputs[0]);
  for (int64_t i = 0, n = mq_program_elements(y); i < n; i++)
    program_put_code(program_write_to(frame, step), y->type, i, arithmetic->quantize(x[i], &output));
}

const struct program_op program_op_quantize = {
    .name = "quantize",
    .min_inputs = 1,
    .max_inputs = 1,
    .rounds = true,
    .check = check_quantize,
    .run = run_quantize,
};

/* ---- Dequantize -------------------------------------------------------------------------------------- */
static mq_program_status check_dequantize(const struct mq_program *program,
                                          const struct mq_program_step *step, struct mq_program_err *err) {
  const bool is_right =
      program_is_code(program_input(program, step, 0)) && program_is_float(program_output(program, step));
  return check_types(program, step, is_right, "codes in and floats out", err);
}

static void run_dequantize(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *x = program_input(frame->program, step, 0);
  const void *codes = program_read(frame, step->inputs[0]);
  float *y = program_write_to(frame, step);
  for (int64_t i = 0, n = mq_program_elements(x); i < n; i++)
    y[i] = (float)(program_get_code(codes, x->type, i) - x->zero_point) * x->scale;
}

const struct program_op program_op_dequantize = {
    .name = "dequantize",
    .min_inputs = 1,
    .max_inputs = 1,
    .check = check_dequantize,
    .run = run_dequantize,
};

/* ---- Table ------------------------------------------------------------------------------------------- */
#define TABLE_ENTRIES 256

static mq_program_status check_table(const struct mq_program *program, const struct mq_program_step *step,
                                     struct mq_program_err *err) {
  const bool is_right = program_is_byte(program_input(program, step, 0)) &&
                        program_output(program, step)->type != MQ_PROGRAM_S32;
  return check_types(program, step, is_right, "8-bit codes in, codes or floats out", err);
}

static void table_constants(struct program_codec *codec, const struct mq_program *program,
                            struct mq_program_step *step) {
  const size_t bytes = mq_program_type_bytes(program_output(program, step)->type);
  step->as.table.entries = program_field_constant(codec, step->as.table.entries, TABLE_ENTRIES, bytes);
}

static mq_program_status check_entries(const struct mq_program *program, const struct mq_program_step *step,
                                       struct mq_program_err *err) {
  const struct mq_program_tensor *y = program_output(program, step);
  for (int i = 0; i < TABLE_ENTRIES && program_is_code(y); i++) {
    const int32_t code = program_get_code(step->as.table.entries, y->type, i);
    if (code < y->code_min || code > y->code_max)
      return program_fail_step(err, program, step, "entry %lld is %lld, expected a code in [%lld, %lld]",
                               (long long)i, (long long)code, (long long)y->code_min, (long long)y->code_max);
  }
  return MQ_PROGRAM_OK;
}

static void run_table(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *x = program_input(frame->program, step, 0);
  const size_t bytes = mq_program_type_bytes(program_output(frame->program, step)->type);
  const void *codes = program_read(frame, step->inputs[0]);
  const unsigned char *entries = step->as.table.entries;
  unsigned char *y = program_write_to(frame, step);
  for (int64_t i = 0, n = mq_program_elements(x); i < n; i++) {
    const int32_t entry = program_get_code(codes, x->type, i) - program_type_min(x->type);
    program_copy(y + (size_t)i * bytes, entries + (size_t)entry * bytes, bytes);
  }
}

const struct program_op program_op_table = {
    .name = "table",
    .min_inputs = 1,
    .max_inputs = 1,
    .check = check_table,
    .check_data = check_entries,
    .constants = table_constants,
    .run = run_table,
};
