/* A loaded model -> a graph with FakeQuantize nodes and the table of their points. */
#include <stdio.h>
#include <string.h>

#include "prepare/overrides.h"
#include "prepare/points.h"

static mq_status check_options(const struct mq_prepare_options *options, struct mq_err *err) {
  if (options->w_bits && (options->w_bits < 2 || options->w_bits > 8)) {
    return mq_fail(err, MQ_BAD_USAGE, "weight bits: found %d, expected 2 to 8", options->w_bits);
  }
  if (options->a_bits && options->a_bits != 16 && (options->a_bits < 2 || options->a_bits > 8)) {
    return mq_fail(err, MQ_BAD_USAGE, "activation bits: found %d, expected 2 to 8, or 16", options->a_bits);
  }
  return MQ_OK;
}

static bool folds_bn(const struct mq_target *target, mq_bn_fold fold) {
  return fold >= MQ_BN_FOLD_0 || (fold == MQ_BN_FOLD_TARGET && target->folds_bn);
}

static bool is_training_form(mq_bn_fold fold) {
  return fold >= MQ_BN_FOLD_1;
}

static mq_status rewrite(struct mq_graph *graph, bool folds, struct mq_rename_log *log,
                         struct mq_fold_log *folded, struct mq_err *err) {
  mq_status status = mq_rewrite_canonical(graph, log, err);
  if (!status && folds) status = mq_rewrite_fold_bn(graph, true, folded, err);
  return status;
}

/* The target with the run's bits and overrides; shares everything else with `target`. */
static mq_status adapt_target(struct mq_target *working, const struct mq_target *target,
                              const struct mq_prepare_options *options, struct mq_graph *graph,
                              const struct mq_graph *model, struct mq_err *err) {
  *working = *target;
  if (options->w_bits) working->weights.bits = (uint8_t)options->w_bits;
  if (options->a_bits) working->activations.bits = (uint8_t)options->a_bits;
  return mq_overrides_apply(working, options, graph, model, err);
}

static mq_status check_strict(const struct mq_prepared *prepared, const struct mq_target *target,
                              struct mq_err *err) {
  char list[600] = "";
  size_t n_islands = 0;
  for (size_t i = 0; i < prepared->n_islands; i++) {
    const struct mq_island *island = &prepared->islands[i];
    if (island->is_tolerated) continue;
    size_t n = strlen(list);
    if (n_islands++ < 4) {
      snprintf(list + n, sizeof list - n, "%s%s %.100s (%.80s)", n ? ", " : "",
               mq_op_get(island->node->op)->name, island->node->name, island->reason);
    }
  }
  if (!n_islands) return MQ_OK;
  return mq_fail(err, MQ_BAD_INPUT, "%s: %zu float island%s under target %s, expected none (strict): %s%s",
                 prepared->graph->name, n_islands, n_islands > 1 ? "s" : "", target->name, list,
                 n_islands > 4 ? ", ..." : "");
}

/* ---- Renamed and vanished tensors ------------------------------------------------------------------- */

static const char *find_new_name(const struct mq_graph *graph, const struct mq_rename_log *log,
                                 const char *name) {
  for (size_t i = 0; i < log->n; i++) { /* in order of the rewrites: follow the chain */
    if (!strcmp(log->items[i].from, name) && strcmp(log->items[i].to, name) != 0) name = log->items[i].to;
  }
  return mq_graph_find_value(graph, name) ? name : NULL;
}

static mq_status list_renames(struct mq_prepared *prepared, const struct mq_graph *model,
                              const struct mq_rename_log *log, struct mq_err *err) {
  struct mq_graph *graph = prepared->graph;
  struct mq_rename *renames = mq_arena_alloc(&graph->arena, model->n_values + log->n + 1, sizeof *renames);
  if (!renames) return mq_fail_memory(err, "renamed tensors");
  size_t n = 0;
  for (size_t i = 0; i < model->n_values; i++) {
    const char *name = model->values[i]->name;
    if (mq_graph_find_value(graph, name)) continue;
    renames[n].from = mq_arena_strdup(&graph->arena, name);
    if (!renames[n].from) return mq_fail_memory(err, "renamed tensors");
    renames[n++].to = find_new_name(graph, log, name);
  }
  for (size_t i = 0; i < log->n; i++) { /* constants that were doubled: the old name is still there */
    if (mq_graph_find_value(graph, log->items[i].from)) renames[n++] = log->items[i];
  }
  prepared->renames = renames;
  prepared->n_renames = n;
  return MQ_OK;
}

mq_status mq_prepare(struct mq_prepared *prepared, const struct mq_graph *model,
                     const struct mq_target *target, const struct mq_prepare_options *options,
                     struct mq_err *err) {
  struct mq_rename_log log = {0};
  struct mq_fold_log folded = {0};
  struct mq_target working;
  struct mq_placement *placements = NULL;
  size_t n_placements = 0;
  *prepared = (struct mq_prepared){0};
  mq_status status = check_options(options, err);
  if (!status) status = mq_graph_clone(&prepared->graph, model, err);
  if (!status) status = rewrite(prepared->graph, folds_bn(target, options->bn_fold), &log, &folded, err);
  if (!status) status = adapt_target(&working, target, options, prepared->graph, model, err);
  if (!status) {
    status = mq_target_place(&placements, &n_placements, &prepared->islands, &prepared->n_islands, &working,
                             prepared->graph, err);
  }
  if (!status && options->is_strict) status = check_strict(prepared, target, err);
  if (!status) status = mq_points_insert(prepared, &working, placements, n_placements, &log, err);
  /* The points are strategy 0's; only then the training forms part. */
  if (!status && is_training_form(options->bn_fold)) {
    status = mq_rewrite_unfold_bn(prepared->graph, &folded, &log, options->bn_fold, err);
  }
  if (!status) status = mq_graph_sort(prepared->graph, err);
  if (!status) {
    mq_graph_prune(prepared->graph);
    status = list_renames(prepared, model, &log, err);
  }
  if (!status) status = mq_graph_verify(prepared->graph, err);
  mq_rename_log_deinit(&log);
  mq_fold_log_deinit(&folded);
  if (status) mq_prepared_deinit(prepared);
  return status;
}

void mq_prepared_deinit(struct mq_prepared *prepared) {
  for (size_t i = 0; i < prepared->n_points; i++) {
    mq_qparams_deinit(&prepared->points[i].qparams);
    mq_free(prepared->points[i].parameters);
  }
  mq_free(prepared->points);
  mq_graph_destroy(prepared->graph);
  *prepared = (struct mq_prepared){0};
}
