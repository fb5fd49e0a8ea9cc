/* The reference executor: step by step, image by image. */
#include "program/ops.h"

int32_t program_get_code(const void *codes, mq_program_type type, int64_t at) {
  if (type == MQ_PROGRAM_S8) return ((const int8_t *)codes)[at];
  if (type == MQ_PROGRAM_U8) return ((const uint8_t *)codes)[at];
  return ((const int16_t *)codes)[at];
}

void program_put_code(void *codes, mq_program_type type, int64_t at, int32_t code) {
  if (type == MQ_PROGRAM_S8)
    ((int8_t *)codes)[at] = (int8_t)code;
  else if (type == MQ_PROGRAM_U8)
    ((uint8_t *)codes)[at] = (uint8_t)code;
  else
    ((int16_t *)codes)[at] = (int16_t)code;
}

void program_copy(void *to, const void *from, size_t bytes) {
  unsigned char *y = to;
  const unsigned char *x = from;
  for (size_t i = 0; i < bytes; i++)
    y[i] = x[i];
}

void program_strides(int64_t stride[MQ_PROGRAM_MAX_RANK], const struct mq_program_tensor *x) {
  int64_t n = 1;
  for (int32_t i = x->rank - 1; i >= 0; i--) {
    stride[i] = n;
    n *= x->dim[i];
  }
}

struct program_walk program_walk_broadcast(const struct mq_program_tensor *y,
                                           const struct mq_program_tensor *x) {
  struct program_walk walk = {.y = y};
  program_strides(walk.stride, x);
  for (int32_t i = 0; i < x->rank; i++)
    if (x->dim[i] == 1) walk.stride[i] = 0;
  return walk;
}

void program_walk_next(struct program_walk *walk) {
  for (int32_t i = walk->y->rank - 1; i >= 0; i--) {
    walk->at += walk->stride[i];
    if (++walk->index[i] < walk->y->dim[i]) return;
    walk->at -= walk->index[i] * walk->stride[i];
    walk->index[i] = 0;
  }
}

/* ---- An image ---------------------------------------------------------------------------------------- */
static void see(const struct program_frame *frame, const struct mq_program_run *run, uint32_t tensor,
                int64_t image) {
  if (run->see != NULL) run->see(run->context, frame->program, tensor, image, program_read(frame, tensor));
}

static mq_program_status check_input(const struct program_frame *frame, uint32_t input, int64_t image,
                                     struct mq_program_err *err) {
  const struct mq_program_tensor *t = &frame->program->tensors[frame->program->inputs[input]];
  const void *codes = frame->arena + t->offset;
  for (int64_t i = 0, n = program_is_code(t) ? mq_program_elements(t) : 0; i < n; i++) {
    const int32_t code = program_get_code(codes, t->type, i);
    if (code < t->code_min || code > t->code_max)
      return program_fail(err, MQ_PROGRAM_INVALID,
                          "input %lld, image %lld: code %lld, expected one in [%lld, %lld]", (long long)input,
                          (long long)image, (long long)code, (long long)t->code_min, (long long)t->code_max);
  }
  return MQ_PROGRAM_OK;
}

static mq_program_status read_inputs(const struct program_frame *frame, const struct mq_program_run *run,
                                     int64_t image, struct mq_program_err *err) {
  const struct mq_program *program = frame->program;
  mq_program_status status = MQ_PROGRAM_OK;
  for (uint32_t i = 0; i < program->n_inputs && status == MQ_PROGRAM_OK; i++) {
    const struct mq_program_tensor *t = &program->tensors[program->inputs[i]];
    const size_t bytes = mq_program_tensor_bytes(t);
    program_copy(frame->arena + t->offset, (const unsigned char *)run->inputs[i] + (size_t)image * bytes,
                 bytes);
    status = check_input(frame, i, image, err);
    if (status == MQ_PROGRAM_OK) see(frame, run, program->inputs[i], image);
  }
  return status;
}

static void write_outputs(const struct program_frame *frame, const struct mq_program_run *run,
                          int64_t image) {
  const struct mq_program *program = frame->program;
  for (uint32_t i = 0; i < program->n_outputs; i++) {
    const size_t bytes = mq_program_tensor_bytes(&program->tensors[program->outputs[i]]);
    program_copy((unsigned char *)run->outputs[i] + (size_t)image * bytes,
                 program_read(frame, program->outputs[i]), bytes);
  }
}

mq_program_status mq_program_run_reference(const struct mq_program *program, const struct mq_program_run *run,
                                           struct mq_program_err *err) {
  const struct program_frame frame = {.program = program, .arena = run->arena};
  mq_program_status status = MQ_PROGRAM_OK;
  if (run->arena_bytes < program->arena_bytes)
    return program_fail(err, MQ_PROGRAM_NO_ROOM, "an arena of %lld bytes, expected %lld",
                        (long long)run->arena_bytes, (long long)program->arena_bytes);
  for (int64_t image = 0; image < run->n_images && status == MQ_PROGRAM_OK; image++) {
    status = read_inputs(&frame, run, image, err);
    for (uint32_t s = 0; s < program->n_steps && status == MQ_PROGRAM_OK; s++) {
      program_op_get(program->steps[s].kind)->run(&frame, &program->steps[s]);
      see(&frame, run, program->steps[s].output, image);
    }
    if (status == MQ_PROGRAM_OK) write_outputs(&frame, run, image);
  }
  return status;
}
