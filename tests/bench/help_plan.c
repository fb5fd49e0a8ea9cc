#include "bench/help_plan.h"

struct mq_plan *help_plan(const char *text, const char *file) {
  struct mq_plan *plan = NULL;
  struct mq_err err = {0};
  if (mq_plan_parse(&plan, text, strlen(text), file, &err) != MQ_OK) {
    fail_msg("%s", err.message);
  }
  return plan;
}

char *help_plan_list(const struct mq_plan *plan) {
  char *text = NULL;
  size_t n = 0;
  FILE *out = open_memstream(&text, &n);
  for (size_t i = 0; i < plan->n_cells; i++) {
    const struct mq_cell *cell = &plan->cells[i];
    fprintf(out, "%s %s", cell->model_name, cell->method);
    if (cell->target) {
      fprintf(out, "%s%s %s w%da%d %s/%s seed %d", cell->variant ? " " : "",
              cell->variant ? cell->variant : "", cell->target, cell->w_bits, cell->a_bits, cell->w_observer,
              cell->a_observer, (int)cell->seed);
    }
    fputc('\n', out);
  }
  fclose(out);
  return text;
}
