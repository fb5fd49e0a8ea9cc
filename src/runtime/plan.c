/* Where tensors lie in a worker's memory: each in the first gap between those that live at the same time. */
#include "runtime/internal.h"

#define END UINT32_MAX

/* Tensors that live now, by offset: a list through `next`. */
struct plan {
  struct mq_runtime *runtime;
  uint32_t first, *next;
  uint64_t bytes;
};

static void place(struct plan *plan, uint32_t tensor) {
  struct runtime_layout *layouts = plan->runtime->layouts, *l = &layouts[tensor];
  uint32_t *link = &plan->first;
  uint64_t at = 0;
  for (; *link != END && layouts[*link].offset < at + (uint64_t)l->bytes; link = &plan->next[*link])
    at = layouts[*link].offset + (uint64_t)layouts[*link].bytes;
  l->offset = (size_t)at;
  plan->next[tensor] = *link;
  *link = tensor;
  if (at + (uint64_t)l->bytes > plan->bytes) plan->bytes = at + (uint64_t)l->bytes;
}

static void release(struct plan *plan, uint32_t step) {
  uint32_t *link = &plan->first;
  while (*link != END)
    if (plan->runtime->program->tensors[*link].last_step <= step)
      *link = plan->next[*link];
    else
      link = &plan->next[*link];
}

mq_status runtime_plan(struct mq_runtime *runtime, struct mq_err *err) {
  const struct mq_program *program = runtime->program;
  struct plan plan = {.runtime = runtime, .first = END};
  plan.next = mq_alloc(program->n_tensors, sizeof *plan.next);
  if (plan.next == NULL) return mq_fail_memory(err, "the plan of a program's memory");
  for (uint32_t i = 0; i < program->n_inputs; i++)
    if (!runtime->layouts[program->inputs[i]].is_lent) place(&plan, program->inputs[i]);
  for (uint32_t s = 0; s < program->n_steps; s++) {
    place(&plan, program->steps[s].output);
    release(&plan, s);
  }
  mq_free(plan.next);
  runtime->tensors_bytes = (size_t)plan.bytes;
  if (plan.bytes <= SIZE_MAX / 4) return MQ_OK;
  return mq_fail(err, MQ_BAD_INPUT, "program %s: an image takes %llu bytes", program->name,
                 (unsigned long long)plan.bytes);
}
