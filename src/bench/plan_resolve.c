/* Cells that a plan says twice in other words: what is left to the target, and the same said aloud. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "bench/plan.h"
#include "mqbench/target.h"

/* The targets of the plan, by their place in its list; loaded when a cell needs them. */
struct targets {
  struct mq_target **loaded;
  size_t n;
};

static void targets_deinit(struct targets *targets) {
  for (size_t i = 0; i < targets->n; i++) {
    mq_target_destroy(targets->loaded[i]);
  }
  mq_free(targets->loaded);
}

static mq_status targets_init(struct targets *targets, const struct mq_plan *plan, struct mq_err *err) {
  size_t n = 0;
  for (size_t i = 0; i < plan->n_cells; i++) {
    size_t position = (size_t)plan->cells[i].target_position;
    n = position + 1 > n ? position + 1 : n;
  }
  *targets = (struct targets){.loaded = mq_alloc(n + 1, sizeof(struct mq_target *)), .n = n};
  return targets->loaded ? MQ_OK : mq_fail_memory(err, "plan");
}

static bool is_same_rules(const struct mq_point_rules *a, const struct mq_point_rules *b) {
  return a->input_ops == b->input_ops && a->output_ops == b->output_ops && a->add == b->add &&
         a->pool == b->pool && a->concat == b->concat && a->network_input == b->network_input &&
         a->network_output == b->network_output;
}

/* A graph rule that gives the points which the target has anyway becomes 0, the target's. */
static mq_status resolve_graph(struct mq_cell *cell, struct mq_target *target, struct mq_err *err) {
  const struct mq_point_rules own = target->points;
  mq_status status = mq_target_set_graph_rule(target, cell->graph, err);
  if (status == MQ_OK && is_same_rules(&target->points, &own)) {
    cell->graph = 0;
  }
  target->points = own;
  return status;
}

/* What the cell leaves to its target is written out; the target is known by its content. */
static mq_status resolve(struct mq_cell *cell, struct targets *targets, struct mq_err *err) {
  struct mq_target **target = &targets->loaded[cell->target_position];
  mq_status status = *target ? MQ_OK : mq_target_load(target, cell->target, err);
  if (status != MQ_OK) {
    return status;
  }
  cell->target = (*target)->sha256;
  cell->w_bits = cell->w_bits ? cell->w_bits : (*target)->weights.bits;
  cell->a_bits = cell->a_bits ? cell->a_bits : (*target)->activations.bits;
  if (cell->bn_fold == MQ_BN_FOLD_TARGET) {
    mq_bn_fold folds = mq_cell_trains(cell) ? MQ_BN_FOLD_4 : MQ_BN_FOLD_0;
    cell->bn_fold = (*target)->folds_bn ? folds : MQ_BN_FOLD_NONE;
  }
  return cell->graph ? resolve_graph(cell, *target, err) : MQ_OK;
}

struct resolved {
  char sha256[65]; /* of the resolved cell's text */
  size_t cell;
};

static mq_status hash_resolved(struct resolved *resolved, const struct mq_cell *cell, struct targets *targets,
                               struct mq_err *err) {
  struct mq_arena arena;
  struct mq_cell copy = *cell;
  const char *text = NULL;
  mq_arena_init(&arena, 0);
  mq_status status = copy.target ? resolve(&copy, targets, err) : MQ_OK;
  if (status == MQ_OK) {
    status = mq_cell_format(&text, &copy, &arena, err);
  }
  if (status == MQ_OK) {
    mq_sha256_bytes(resolved->sha256, text, strlen(text));
  }
  mq_arena_deinit(&arena);
  return status;
}

static int compare_resolved(const void *a, const void *b) {
  const struct resolved *x = a, *y = b;
  int order = strcmp(x->sha256, y->sha256);
  return order ? order : (x->cell > y->cell) - (x->cell < y->cell);
}

/* Of equal ones the first stays, and the others' places are closed up. */
static size_t close_up(struct mq_plan *plan, const struct resolved *sorted, bool *is_again) {
  size_t n = 0;
  for (size_t i = 1; i < plan->n_cells; i++) {
    is_again[sorted[i].cell] = !strcmp(sorted[i].sha256, sorted[i - 1].sha256);
  }
  for (size_t i = 0; i < plan->n_cells; i++) {
    if (!is_again[i]) plan->cells[n++] = plan->cells[i];
  }
  size_t n_dropped = plan->n_cells - n;
  plan->n_cells = n;
  return n_dropped;
}

mq_status mq_plan_drop_repeated(struct mq_plan *plan, struct mq_err *err) {
  struct targets targets = {.loaded = NULL};
  struct resolved *resolved = mq_alloc(plan->n_cells + 1, sizeof *resolved);
  bool *is_again = mq_alloc(plan->n_cells + 1, sizeof *is_again);
  mq_status status = resolved && is_again ? targets_init(&targets, plan, err) : mq_fail_memory(err, "plan");
  for (size_t i = 0; i < plan->n_cells && status == MQ_OK; i++) {
    resolved[i].cell = i;
    status = hash_resolved(&resolved[i], &plan->cells[i], &targets, err);
  }
  if (status == MQ_OK) {
    qsort(resolved, plan->n_cells, sizeof *resolved, compare_resolved);
    size_t n = close_up(plan, resolved, is_again);
    if (n > 0) {
      mq_log_info("%s: %zu cells say in other words what another cell says; those run once", plan->file, n);
    }
  }
  targets_deinit(&targets);
  mq_free(is_again);
  mq_free(resolved);
  return status;
}
