/* Plans from anywhere: never crash, and every cell of a plan that is accepted has a canonical text. */
#include <stdlib.h>

#include "mqbench/bench.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  struct mq_plan *plan = NULL;
  struct mq_err err = {0};
  mq_log_set_level(MQ_LOG_QUIET);
  mq_memory_set_limit((size_t)1 << 30);
  if (mq_plan_parse(&plan, (const char *)bytes, n, "fuzz.yaml", &err) != MQ_OK) {
    return 0;
  }
  struct mq_arena arena;
  mq_arena_init(&arena, 0);
  size_t n_tried = plan->n_cells < 64 ? plan->n_cells : 64;
  for (size_t i = 0; i < n_tried; i++) {
    const char *text = NULL;
    if (mq_cell_format(&text, &plan->cells[i], &arena, &err) != MQ_OK || plan->n_cells == 0) {
      abort();
    }
  }
  mq_arena_deinit(&arena);
  mq_plan_destroy(plan);
  return 0;
}
