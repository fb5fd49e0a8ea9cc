/* The fast executor beside the reference: the same bits in every tensor. */
#include <string.h>

#include "mqbench/runtime.h"
#include "verify/compare.h"

struct comparing {
  const struct compare *compare;
  size_t slot;
  struct compare_fast *counts; /* of the worker, by tensor */
};

static void see(void *context, const struct mq_program *program, uint32_t tensor, int64_t image,
                const void *data) {
  const struct comparing *s = context;
  const struct mq_program_tensor *t = &program->tensors[tensor];
  const size_t bytes = mq_program_type_bytes(t->type), n = (size_t)mq_program_elements(t);
  const unsigned char *made = compare_made(s->compare, s->slot, image, tensor), *fast = data;
  struct compare_fast *count = &s->counts[tensor];
  count->elements += (int64_t)n;
  if (memcmp(made, fast, n * bytes) == 0) {
    return;
  }
  for (size_t i = 0; i < n; i++) {
    count->mismatches += memcmp(made + i * bytes, fast + i * bytes, bytes) != 0;
  }
}

mq_status compare_run_fast(void *context, size_t slot, unsigned worker, struct mq_err *err) {
  struct compare *c = context;
  struct comparing comparing = {
      .compare = c, .slot = slot, .counts = c->fast_counts + (size_t)worker * c->program->n_tensors};
  const void *inputs[] = {c->slots[slot].pixels};
  const struct mq_program_run job = {.inputs = inputs,
                                     .outputs = c->outputs + (size_t)worker * c->program->n_outputs,
                                     .n_images = compare_valid(c, slot),
                                     .see = see,
                                     .context = &comparing};
  return mq_runtime_run_worker(c->runtime, worker, &job, err);
}
