/* Whether a program keeps the rules of mqbench/program.h. */
#include "program/ops.h"

#define NOT_MADE UINT32_MAX

static mq_program_status fail_tensor(struct mq_program_err *err, const struct mq_program *program,
                                     uint32_t tensor, const char *what, long long found,
                                     const char *expected) {
  const char *name = program->tensors[tensor].name;
  return program_fail(err, MQ_PROGRAM_INVALID, "tensor %lld '%s': %s %lld, expected %s", (long long)tensor,
                      name, what, found, expected);
}

static mq_program_status check_codes(const struct mq_program *program, uint32_t tensor,
                                     struct mq_program_err *err) {
  const struct mq_program_tensor *t = &program->tensors[tensor];
  if (!(t->scale > 0 && program_is_finite(t->scale)))
    return program_fail(err, MQ_PROGRAM_INVALID, "tensor %lld '%s': scale %g, expected a finite one above 0",
                        (long long)tensor, t->name, (double)t->scale);
  const int32_t least = program_type_min(t->type), most = program_type_max(t->type);
  if (t->code_min < least || t->code_max > most)
    return program_fail(err, MQ_PROGRAM_INVALID,
                        "tensor %lld '%s': codes [%lld, %lld], expected them within [%lld, %lld]",
                        (long long)tensor, t->name, (long long)t->code_min, (long long)t->code_max,
                        (long long)least, (long long)most);
  if (t->zero_point < t->code_min || t->zero_point > t->code_max)
    return fail_tensor(err, program, tensor, "zero point", t->zero_point, "one within its codes");
  return MQ_PROGRAM_OK;
}

mq_program_status program_check_tensor(const struct mq_program *program, uint32_t tensor,
                                       struct mq_program_err *err) {
  const struct mq_program_tensor *t = &program->tensors[tensor];
  int64_t n = 1;
  if (t->name == NULL)
    return program_fail(err, MQ_PROGRAM_INVALID, "tensor %lld: no name, expected one or \"\"",
                        (long long)tensor);
  if (mq_program_type_bytes(t->type) == 0)
    return fail_tensor(err, program, tensor, "type", t->type, "1 to 5");
  if (t->rank < 0 || t->rank > MQ_PROGRAM_MAX_RANK)
    return fail_tensor(err, program, tensor, "rank", t->rank, "0 to 6");
  for (int32_t i = 0; i < t->rank; i++) {
    if (t->dim[i] < 1 || t->dim[i] > MQ_PROGRAM_MAX_DIM)
      return fail_tensor(err, program, tensor, "dimension", t->dim[i], "1 to 2^24");
    n *= t->dim[i];
    if (n > MQ_PROGRAM_MAX_ELEMENTS) return fail_tensor(err, program, tensor, "elements", n, "at most 2^28");
  }
  if (program_is_code(t)) return check_codes(program, tensor, err);
  if (program_float_bits(t->scale) != 0 || t->zero_point != 0 || t->code_min != 0 || t->code_max != 0)
    return fail_tensor(err, program, tensor, "scale, zero point and codes of type", t->type, "zeros");
  return MQ_PROGRAM_OK;
}

static mq_program_status check_constant(const struct mq_program *program, uint32_t tensor,
                                        struct mq_program_err *err) {
  const struct mq_program_tensor *t = &program->tensors[tensor];
  if (t->constant == NULL || !program_is_code(t)) return MQ_PROGRAM_OK;
  for (int64_t i = 0, n = mq_program_elements(t); i < n; i++) {
    const int32_t code = program_get_code(t->constant, t->type, i);
    if (code < t->code_min || code > t->code_max)
      return fail_tensor(err, program, tensor, "constant code", code, "one within its codes");
  }
  return MQ_PROGRAM_OK;
}

/* ---- Steps ------------------------------------------------------------------------------------------- */
static mq_program_status check_range(const struct mq_program *program, const struct mq_program_step *step,
                                     bool has_codes, struct mq_program_err *err) {
  const struct mq_program_tensor *y = program_output(program, step);
  const int32_t least = has_codes ? y->code_min : 0, most = has_codes ? y->code_max : 0;
  if (step->lo >= least && step->lo <= step->hi && step->hi <= most) return MQ_PROGRAM_OK;
  return program_fail_step(err, program, step,
                           "codes clamped to [%lld, %lld], expected a range within [%lld, %lld]",
                           (long long)step->lo, (long long)step->hi, (long long)least, (long long)most);
}

static mq_program_status check_clip(const struct mq_program *program, const struct mq_program_step *step,
                                    bool may_clip, struct mq_program_err *err) {
  if (may_clip && step->clip_lo <= step->clip_hi) return MQ_PROGRAM_OK;
  if (step->clip_lo == -PROGRAM_INFINITY && step->clip_hi == PROGRAM_INFINITY) return MQ_PROGRAM_OK;
  return program_fail_step(err, program, step, "floats clipped to [%g, %g], expected %s",
                           (double)step->clip_lo, (double)step->clip_hi,
                           may_clip ? "a range" : "infinities: it has no such clip");
}

static mq_program_status check_rounding(const struct mq_program *program, const struct mq_program_step *step,
                                        const struct program_op *op, struct mq_program_err *err) {
  const struct mq_program_tensor *y = program_output(program, step);
  const bool is_layer = step->kind == MQ_STEP_CONV || step->kind == MQ_STEP_LINEAR;
  const bool has_codes = op->rounds && program_is_code(y), rounds = has_codes || is_layer;
  const bool clips_before =
      has_codes && step->arithmetic == MQ_ARITHMETIC_TRT && step->kind != MQ_STEP_QUANTIZE;
  if (rounds ? mq_program_arithmetic_get(step->arithmetic) == NULL : step->arithmetic != 0)
    return program_fail_step(err, program, step, "arithmetic %lld, expected %s", (long long)step->arithmetic,
                             rounds ? "one there is" : "0: it rounds nothing");
  const mq_program_status status = check_range(program, step, has_codes, err);
  if (status != MQ_PROGRAM_OK) return status;
  return check_clip(program, step, op->clips || (is_layer && !has_codes) || clips_before, err);
}

mq_program_status program_check_step(const struct mq_program *program, const struct mq_program_step *step,
                                     struct mq_program_err *err) {
  const struct program_op *op = program_op_get(step->kind);
  if (op == NULL)
    return program_fail_step(err, program, step, "kind %lld, expected 1 to %lld", (long long)step->kind,
                             (long long)MQ_STEP_END - 1);
  if (step->name == NULL) return program_fail_step(err, program, step, "no name, expected one or \"\"");
  if (step->n_inputs < op->min_inputs || step->n_inputs > op->max_inputs)
    return program_fail_step(err, program, step, "%lld inputs, expected %lld to %lld",
                             (long long)step->n_inputs, (long long)op->min_inputs, (long long)op->max_inputs);
  for (uint32_t i = 0; i < step->n_inputs; i++)
    if (step->inputs[i] >= program->n_tensors)
      return program_fail_step(err, program, step, "input tensor %lld, expected less than %lld",
                               (long long)step->inputs[i], (long long)program->n_tensors);
  if (step->output >= program->n_tensors)
    return program_fail_step(err, program, step, "output tensor %lld, expected less than %lld",
                             (long long)step->output, (long long)program->n_tensors);
  const mq_program_status status = check_rounding(program, step, op, err);
  return status == MQ_PROGRAM_OK ? op->check(program, step, err) : status;
}

/* ---- The whole --------------------------------------------------------------------------------------- */
static mq_program_status check_counts(const struct mq_program *program, struct mq_program_err *err) {
  if (program->n_tensors == 0 || program->n_tensors > MQ_PROGRAM_MAX_ITEMS || program->n_steps == 0 ||
      program->n_steps > MQ_PROGRAM_MAX_ITEMS)
    return program_fail(err, MQ_PROGRAM_INVALID, "%lld tensors and %lld steps, expected 1 to %lld of each",
                        (long long)program->n_tensors, (long long)program->n_steps,
                        (long long)MQ_PROGRAM_MAX_ITEMS);
  if (program->n_inputs == 0 || program->n_inputs > program->n_tensors || program->n_outputs == 0 ||
      program->n_outputs > program->n_tensors)
    return program_fail(err, MQ_PROGRAM_INVALID, "%lld inputs and %lld outputs, expected 1 to %lld of each",
                        (long long)program->n_inputs, (long long)program->n_outputs,
                        (long long)program->n_tensors);
  if (mq_program_arithmetic_get(program->arithmetic) == NULL)
    return program_fail(err, MQ_PROGRAM_INVALID, "arithmetic %lld, expected 1 to %lld",
                        (long long)program->arithmetic, (long long)MQ_ARITHMETIC_END - 1);
  if (program->name == NULL || program->target == NULL || program->producer == NULL)
    return program_fail(err, MQ_PROGRAM_INVALID,
                        "name, target or producer is missing, expected them or \"\"");
  return MQ_PROGRAM_OK;
}

static mq_program_status begin_tensors(struct mq_program *program, struct mq_program_err *err) {
  mq_program_status status = MQ_PROGRAM_OK;
  for (uint32_t t = 0; t < program->n_tensors && status == MQ_PROGRAM_OK; t++) {
    struct mq_program_tensor *tensor = &program->tensors[t];
    status = program_check_tensor(program, t, err);
    if (status == MQ_PROGRAM_OK) status = check_constant(program, t, err);
    tensor->first_step = tensor->constant != NULL ? 0 : NOT_MADE;
    tensor->last_step = 0;
    tensor->offset = 0;
    tensor->next_in_arena = 0;
  }
  for (uint32_t i = 0; i < program->n_inputs && status == MQ_PROGRAM_OK; i++) {
    const uint32_t t = program->inputs[i];
    if (t >= program->n_tensors || program->tensors[t].first_step != NOT_MADE)
      return program_fail(err, MQ_PROGRAM_INVALID,
                          "input %lld is tensor %lld, expected one there is, once, not a constant",
                          (long long)i, (long long)t);
    program->tensors[t].first_step = 0;
  }
  return status;
}

static mq_program_status trace_step(struct mq_program *program, uint32_t s, struct mq_program_err *err) {
  const struct mq_program_step *step = &program->steps[s];
  for (uint32_t i = 0; i < step->n_inputs; i++) {
    struct mq_program_tensor *x = &program->tensors[step->inputs[i]];
    if (x->first_step == NOT_MADE)
      return program_fail_step(err, program, step, "reads tensor %lld '%s' before it is made",
                               (long long)step->inputs[i], x->name);
    x->last_step = s;
  }
  struct mq_program_tensor *y = &program->tensors[step->output];
  if (y->first_step != NOT_MADE)
    return program_fail_step(err, program, step, "makes tensor %lld '%s', which there is already",
                             (long long)step->output, y->name);
  y->first_step = y->last_step = s;
  return MQ_PROGRAM_OK;
}

static mq_program_status check_steps(struct mq_program *program, struct mq_program_err *err) {
  mq_program_status status = MQ_PROGRAM_OK;
  program->work = 0;
  for (uint32_t s = 0; s < program->n_steps && status == MQ_PROGRAM_OK; s++) {
    const struct mq_program_step *step = &program->steps[s];
    status = program_check_step(program, step, err);
    if (status == MQ_PROGRAM_OK) status = trace_step(program, s, err);
    if (status != MQ_PROGRAM_OK) break;
    const struct program_op *op = program_op_get(step->kind);
    if (op->check_data != NULL) status = op->check_data(program, step, err);
    const uint64_t elements = (uint64_t)mq_program_elements(program_output(program, step));
    program->work = program_plus(program->work, op->work != NULL ? op->work(program, step) : elements);
  }
  return status;
}

/* Outputs are kept until the end. */
static mq_program_status end_tensors(struct mq_program *program, struct mq_program_err *err) {
  for (uint32_t t = 0; t < program->n_tensors; t++)
    if (program->tensors[t].first_step == NOT_MADE)
      return program_fail(err, MQ_PROGRAM_INVALID, "tensor %lld '%s' is never made", (long long)t,
                          program->tensors[t].name);
  for (uint32_t i = 0; i < program->n_outputs; i++) {
    const uint32_t t = program->outputs[i];
    if (t >= program->n_tensors)
      return program_fail(err, MQ_PROGRAM_INVALID, "output %lld is tensor %lld, expected less than %lld",
                          (long long)i, (long long)t, (long long)program->n_tensors);
    program->tensors[t].last_step = program->n_steps;
  }
  return MQ_PROGRAM_OK;
}

mq_program_status mq_program_finish(struct mq_program *program, struct mq_program_err *err) {
  mq_program_status status = check_counts(program, err);
  if (status == MQ_PROGRAM_OK) status = begin_tensors(program, err);
  if (status == MQ_PROGRAM_OK) status = check_steps(program, err);
  if (status == MQ_PROGRAM_OK) status = end_tensors(program, err);
  return status == MQ_PROGRAM_OK ? program_plan(program, err) : status;
}
