/* Where tensors lie in the arena: each in the first gap between those that live at the same time. */
#include "program/ops.h"

#define ALIGNMENT 16
#define END UINT32_MAX

/* Tensors that live now, by offset: a list through next_in_arena. */
struct arena {
  struct mq_program *program;
  uint32_t first;
  uint64_t bytes;
};

static uint64_t room(const struct mq_program_tensor *tensor) {
  const uint64_t bytes = mq_program_tensor_bytes(tensor);
  return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void place(struct arena *arena, uint32_t tensor) {
  struct mq_program_tensor *tensors = arena->program->tensors, *t = &tensors[tensor];
  uint32_t *link = &arena->first;
  uint64_t at = 0;
  for (; *link != END && tensors[*link].offset < at + room(t); link = &tensors[*link].next_in_arena)
    at = tensors[*link].offset + room(&tensors[*link]);
  t->offset = (size_t)at;
  t->next_in_arena = *link;
  *link = tensor;
  if (at + room(t) > arena->bytes) arena->bytes = at + room(t);
}

static void release(struct arena *arena, uint32_t step) {
  struct mq_program_tensor *tensors = arena->program->tensors;
  uint32_t *link = &arena->first;
  while (*link != END)
    if (tensors[*link].last_step <= step)
      *link = tensors[*link].next_in_arena;
    else
      link = &tensors[*link].next_in_arena;
}

mq_program_status program_plan(struct mq_program *program, struct mq_program_err *err) {
  struct arena arena = {.program = program, .first = END};
  for (uint32_t i = 0; i < program->n_inputs; i++)
    place(&arena, program->inputs[i]);
  for (uint32_t s = 0; s < program->n_steps; s++) {
    place(&arena, program->steps[s].output);
    release(&arena, s);
  }
  program->arena_bytes = (size_t)arena.bytes;
  if (arena.bytes <= SIZE_MAX / 2) return MQ_PROGRAM_OK;
  return program_fail(err, MQ_PROGRAM_INVALID, "an image takes %lld bytes, expected at most %lld",
                      (long long)arena.bytes, (long long)(SIZE_MAX / 2));
}
