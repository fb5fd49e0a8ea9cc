#include "bench/target_check.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "bench/training.h"
#include "mqbench/deploy.h"
#include "mqbench/load.h"
#include "verify/scratch.h"

#define PLAN "plans/target_check.yaml"
#define MAX_PROBLEMS 256

struct checking {
  const struct mq_target_check_options *options;
  struct mq_target_check *check;
  struct mq_arena *arena; /* of the check */
  struct mq_trial_cache *cache;
  const char *eval_data;
};

mq_status mq_target_check_plan(struct mq_plan **plan, struct mq_err *err) {
  char *path = mq_path_join(mq_share_directory(), PLAN);
  *plan = NULL;
  mq_status status = path ? mq_plan_load(plan, path, err) : mq_fail_memory(err, PLAN);
  mq_free(path);
  return status;
}

/* ---- Problems --------------------------------------------------------------------------------------- */

/* NULL text is exhausted memory. What does not fit is left out: the first ones say enough. */
static mq_status add_problem(struct checking *c, const char *text, struct mq_err *err) {
  struct mq_target_check *check = c->check;
  if (!text) {
    return mq_fail_memory(err, "a problem");
  }
  if (check->n_problems < MAX_PROBLEMS) {
    check->problems[check->n_problems++] = text;
  }
  return MQ_OK;
}

/* ---- Points and islands ----------------------------------------------------------------------------- */

static const char *const kinds[] = {
    [MQ_POINT_WEIGHT] = "weight", [MQ_POINT_ACTIVATION] = "activation", [MQ_POINT_BIAS] = "bias"};

static mq_status count_points(struct mq_checked_model *model, const struct mq_prepared *prepared,
                              struct checking *c, struct mq_err *err) {
  model->points = mq_arena_alloc(c->arena, prepared->n_points + 1, sizeof *model->points);
  if (!model->points) {
    return mq_fail_memory(err, "points");
  }
  model->n_points = 0;
  for (size_t i = 0; i < prepared->n_points; i++) {
    const char *kind = kinds[prepared->points[i].kind];
    char scheme[128];
    size_t k = 0;
    mq_scheme_format(scheme, sizeof scheme, &prepared->points[i].scheme);
    while (k < model->n_points &&
           (strcmp(model->points[k].kind, kind) != 0 || strcmp(model->points[k].scheme, scheme) != 0))
      k++;
    if (k == model->n_points) {
      const char *copy = mq_arena_strdup(c->arena, scheme);
      if (!copy) {
        return mq_fail_memory(err, "points");
      }
      model->points[model->n_points++] = (struct mq_checked_points){.kind = kind, .scheme = copy};
    }
    model->points[k].count++;
  }
  return MQ_OK;
}

static mq_status list_islands(struct mq_checked_model *model, const struct mq_prepared *prepared,
                              struct checking *c, struct mq_err *err) {
  model->islands = mq_arena_alloc(c->arena, prepared->n_islands + 1, sizeof *model->islands);
  if (!model->islands) {
    return mq_fail_memory(err, "islands");
  }
  size_t n_counted = 0;
  const struct mq_checked_island *first = NULL;
  for (size_t i = 0; i < prepared->n_islands; i++) {
    const struct mq_island *island = &prepared->islands[i];
    struct mq_checked_island *to = &model->islands[model->n_islands++];
    *to = (struct mq_checked_island){.node = mq_arena_strdup(c->arena, island->node->name),
                                     .op = mq_op_get(island->node->op)->name,
                                     .reason = mq_arena_strdup(c->arena, island->reason),
                                     .is_tolerated = island->is_tolerated};
    if (!to->node || !to->reason) {
      return mq_fail_memory(err, "islands");
    }
    n_counted += !to->is_tolerated;
    first = first || to->is_tolerated ? first : to;
  }
  return c->options->is_strict && first
             ? add_problem(c,
                           mq_arena_printf(c->arena, "%s: %zu operators stay float, the first: %s %s: %s",
                                           model->name, n_counted, first->op, first->node, first->reason),
                           err)
             : MQ_OK;
}

/* Where the target puts its points: no data is needed. *fits: it can at all. */
static mq_status place(bool *fits, struct mq_checked_model *model, const struct mq_cell *cell,
                       struct checking *c, struct mq_err *err) {
  struct mq_graph *graph = NULL;
  struct mq_prepared prepared = {0};
  struct mq_err why = {0};
  const struct mq_prepare_options options = {0};
  *fits = false;
  mq_status status = mq_onnx_read(&graph, cell->model_path, NULL, err);
  if (status == MQ_OK) {
    status = mq_prepare(&prepared, graph, c->check->target, &options, &why);
    *fits = status == MQ_OK;
    if (status == MQ_BAD_INPUT) {
      status = add_problem(c, mq_arena_strdup(c->arena, why.message), err);
    } else if (status != MQ_OK) {
      status = mq_fail(err, status, "%s", why.message);
    }
  }
  if (status == MQ_OK && *fits) {
    status = count_points(model, &prepared, c, err);
  }
  if (status == MQ_OK && *fits) {
    status = list_islands(model, &prepared, c, err);
  }
  mq_prepared_deinit(&prepared);
  mq_graph_destroy(graph);
  return status;
}

/* ---- Program and exports ---------------------------------------------------------------------------- */

static mq_status check_artefacts(struct mq_checked_model *model, const struct mq_bundle *bundle,
                                 struct checking *c, struct mq_err *err) {
  const struct mq_target *target = c->check->target;
  model->artefacts = mq_arena_alloc(c->arena, target->n_artefacts + 1, sizeof *model->artefacts);
  mq_status status = model->artefacts ? MQ_OK : mq_fail_memory(err, "artefacts");
  for (size_t i = 0; i < target->n_artefacts && status == MQ_OK; i++) {
    struct mq_checked_artefact *artefact = &model->artefacts[model->n_artefacts++];
    const struct mq_exporter *exporter = mq_exporter_find(target->artefacts[i]);
    struct mq_err why = {0};
    *artefact = (struct mq_checked_artefact){.format = target->artefacts[i]};
    if (!exporter) {
      artefact->reason = "not in this version";
    } else if (mq_export_check(exporter, bundle, &why) != MQ_OK) {
      artefact->reason = mq_arena_strdup(c->arena, why.message);
      status = add_problem(
          c, mq_arena_printf(c->arena, "%s: no %s export: %s", model->name, artefact->format, why.message),
          err);
    }
  }
  return status;
}

static int64_t weight_bytes(const struct mq_program *program) {
  int64_t bytes = 0;
  for (uint32_t i = 0; i < program->n_steps; i++) {
    const struct mq_program_step *step = &program->steps[i];
    if (step->kind != MQ_STEP_CONV && step->kind != MQ_STEP_LINEAR) continue;
    const struct mq_program_tensor *x = &program->tensors[step->inputs[0]];
    const struct mq_program_tensor *y = &program->tensors[step->output];
    const int32_t *kernel = step->as.conv.window.kernel;
    bytes +=
        (int64_t)y->dim[y->rank - 1] * kernel[0] * kernel[1] * (x->dim[x->rank - 1] / step->as.conv.groups);
  }
  return bytes;
}

/* What must be the same and is not: how much, and the first tensor. */
static mq_status add_mismatches(const struct mq_checked_model *model, const struct mq_verification *v,
                                struct checking *c, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (int side = 0; side < 2; side++) {
    const int64_t n = side ? v->exact_mismatches : v->fast_mismatches;
    size_t i = 0;
    if (n == 0 || status != MQ_OK) continue;
    while (i + 1 < v->n_tensors && !(side ? v->tensors[i].exact_mismatches : v->tensors[i].fast_mismatches))
      i++;
    status = add_problem(
        c,
        mq_arena_printf(c->arena, "%s: the %s differs from the program in %lld values, first in %s (%s)",
                        model->name, side ? "exact simulation" : "fast executor", (long long)n,
                        v->tensors[i].name, v->tensors[i].step),
        err);
  }
  const int64_t unexplained = v->whole.causes[MQ_CAUSE_UNEXPLAINED] + v->local.causes[MQ_CAUSE_UNEXPLAINED];
  if (status == MQ_OK && unexplained > 0) {
    status = add_problem(
        c,
        mq_arena_printf(c->arena,
                        "%s: the simulation differs from the program in %lld values without an explanation",
                        model->name, (long long)unexplained),
        err);
  }
  return status;
}

static mq_status compare(struct mq_checked_model *model, const struct mq_bundle *bundle,
                         struct mq_dataset *data, struct checking *c, struct mq_err *err) {
  const struct mq_exact_rules rules = {.arithmetic = bundle->arithmetic,
                                       .pot_half_even = bundle->pot_half_even,
                                       .pool = bundle->pool,
                                       .islands = bundle->prepared.islands,
                                       .n_islands = bundle->prepared.n_islands};
  const struct mq_verify_options options = {.n_images = c->options->n_compared,
                                            .loader_threads = mq_pool_workers(c->options->pool),
                                            .label = "verify",
                                            .exact = &rules};
  struct mq_verification v = {.n_images = 0};
  struct mq_checked_program *to = &model->program;
  mq_status status = mq_verify(&v, &bundle->prepared, bundle->program, data, &options, c->options->pool, err);
  if (status == MQ_OK) {
    to->n_images = v.n_images;
    to->n_agree = v.n_agree;
    to->elements = v.elements;
    to->fast_elements = v.fast_elements;
    to->fast_mismatches = v.fast_mismatches;
    to->exact_elements = v.exact_elements;
    to->exact_mismatches = v.exact_mismatches;
    to->simulation = v.whole;
    status = add_mismatches(model, &v, c, err);
  }
  mq_verification_deinit(&v);
  return status;
}

static mq_status open_data(struct mq_dataset **dataset, const char *argument, struct mq_err *err) {
  struct mq_data_spec spec = {0};
  mq_status status = mq_data_spec_parse(&spec, argument, err);
  if (status == MQ_OK) {
    status = mq_dataset_open(dataset, &spec, err);
  }
  mq_data_spec_deinit(&spec);
  return status;
}

static mq_status check_program(struct mq_checked_model *model, const struct mq_bundle *bundle,
                               struct checking *c, struct mq_err *err) {
  const struct mq_program *program = bundle->program;
  struct mq_checked_program *to = &model->program;
  struct mq_dataset *dataset = NULL;
  if (!c->check->target->arithmetic) {
    to->reason = "the target names no arithmetic";
    return MQ_OK;
  }
  if (!program) {
    to->reason = mq_arena_strdup(c->arena, bundle->no_program);
    return add_problem(
        c, mq_arena_printf(c->arena, "%s: no integer program: %s", model->name, bundle->no_program), err);
  }
  to->n_steps = program->n_steps;
  to->arena_bytes = (int64_t)program->arena_bytes;
  to->weight_bytes = weight_bytes(program);
  mq_status status = open_data(&dataset, c->eval_data, err);
  if (status == MQ_OK) {
    status = compare(model, bundle, dataset, c, err);
  }
  mq_dataset_close(dataset);
  return status;
}

/* What the first run of a model handed over. */
static mq_status check_bundle(struct mq_checked_model *model, const char *directory, struct checking *c,
                              struct mq_err *err) {
  struct mq_bundle bundle = {.has_preprocess = false};
  mq_status status = mq_bundle_read(&bundle, directory, err);
  if (status == MQ_OK) {
    status = check_artefacts(model, &bundle, c, err);
  }
  if (status == MQ_OK) {
    status = check_program(model, &bundle, c, err);
  }
  mq_bundle_deinit(&bundle);
  return status;
}

/* ---- Runs ------------------------------------------------------------------------------------------- */

static bool is_asked_for(const struct checking *c, const struct mq_cell *cell, const char *model) {
  if (strcmp(cell->model_name, model) != 0) {
    return false;
  }
  for (size_t i = 0; i < c->options->n_methods; i++) {
    if (!strcmp(cell->method, c->options->methods[i])) return true;
  }
  return false;
}

static struct mq_cell adapt_cell(const struct mq_cell *from, const struct checking *c) {
  struct mq_cell cell = *from;
  cell.target = c->options->target;
  cell.eval_data = c->eval_data;
  cell.seed = c->options->seed;
  cell.isa = c->options->isa;
  if (c->options->epochs > 0) {
    cell.train.epochs = c->options->epochs;
    cell.train.warmup_epochs = c->options->epochs / 10;
  }
  return cell;
}

static mq_status run_cell(struct mq_run *run, const struct mq_cell *cell, const char *bundle,
                          struct checking *c, struct mq_err *err) {
  const struct mq_trial_options options = {.pool = c->options->pool, .bundle = bundle, .cache = c->cache};
  struct mq_trial_result result;
  mq_status status = mq_trial_run(&result, cell, &options, c->arena, err);
  *run = result.run;
  /* That a short training does not converge says nothing of the target. */
  bool is_bad = !strcmp(run->status, "failed") || (!strcmp(run->status, "nc") && !mq_cell_trains(cell));
  if (status == MQ_OK && is_bad) {
    status = add_problem(
        c,
        mq_arena_printf(c->arena, "%s: %s %s/%s: %s", cell->model_name, cell->method, cell->w_observer,
                        cell->a_observer, run->message ? run->message : run->status),
        err);
  }
  return status;
}

static mq_status run_model(struct mq_checked_model *model, struct checking *c, struct mq_err *err) {
  const struct mq_plan *plan = c->options->plan;
  char *directory = NULL;
  bool has_bundle = false;
  model->runs = mq_arena_alloc(c->arena, plan->n_cells, sizeof *model->runs);
  mq_status status = model->runs ? scratch_create(&directory, err) : mq_fail_memory(err, "runs");
  for (size_t i = 0; i < plan->n_cells && status == MQ_OK; i++) {
    if (!is_asked_for(c, &plan->cells[i], model->name)) continue;
    const struct mq_cell cell = adapt_cell(&plan->cells[i], c);
    struct mq_run *run = &model->runs[model->n_runs++];
    status = run_cell(run, &cell, has_bundle ? NULL : directory, c, err);
    if (status == MQ_OK && !has_bundle && !strcmp(run->status, "done")) {
      has_bundle = true;
      status = check_bundle(model, directory, c, err);
    }
  }
  scratch_remove(directory);
  return status;
}

/* ---- All of it -------------------------------------------------------------------------------------- */

/* The plan's models, each once, in its order. */
static mq_status list_models(struct checking *c, struct mq_err *err) {
  const struct mq_plan *plan = c->options->plan;
  struct mq_target_check *check = c->check;
  check->models = mq_arena_alloc(c->arena, plan->n_cells, sizeof *check->models);
  check->problems = mq_arena_alloc(c->arena, MAX_PROBLEMS, sizeof *check->problems);
  if (!check->models || !check->problems) {
    return mq_fail_memory(err, "the check of a target");
  }
  for (size_t i = 0; i < plan->n_cells; i++) {
    const char *name = plan->cells[i].model_name;
    size_t n = check->n_models;
    if (n > 0 && !strcmp(check->models[n - 1].name, name)) continue;
    check->models[n] = (struct mq_checked_model){.name = mq_arena_strdup(c->arena, name)};
    check->n_models = check->models[n].name ? n + 1 : n;
  }
  return MQ_OK;
}

static mq_status choose_images(struct checking *c, struct mq_err *err) {
  struct mq_data_spec spec = {0};
  char *text = NULL;
  mq_status status = mq_data_spec_parse(&spec, c->options->plan->cells[0].eval_data, err);
  if (status == MQ_OK) {
    spec.limit = c->options->n_images;
    status = mq_data_spec_format(&text, &spec, err);
  }
  if (status == MQ_OK) {
    c->eval_data = mq_arena_strdup(c->arena, text);
    status = c->eval_data ? MQ_OK : mq_fail_memory(err, "a data argument");
  }
  mq_free(text);
  mq_data_spec_deinit(&spec);
  return status;
}

static const struct mq_cell *first_cell(const struct mq_plan *plan, const char *model) {
  size_t i = 0;
  while (strcmp(plan->cells[i].model_name, model) != 0)
    i++;
  return &plan->cells[i];
}

static mq_status check_models(struct checking *c, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < c->check->n_models && status == MQ_OK; i++) {
    struct mq_checked_model *model = &c->check->models[i];
    bool fits;
    status = place(&fits, model, first_cell(c->options->plan, model->name), c, err);
    if (status == MQ_OK && fits) {
      status = run_model(model, c, err);
    }
  }
  return status;
}

mq_status mq_target_check_run(struct mq_target_check *check, const struct mq_target_check_options *options,
                              struct mq_err *err) {
  struct checking c = {.options = options, .check = check, .arena = &check->arena};
  *check = (struct mq_target_check){.n_models = 0};
  mq_arena_init(&check->arena, 0);
  mq_status status = mq_target_load(&check->target, options->target, err);
  if (status == MQ_OK) {
    status = list_models(&c, err);
  }
  if (status == MQ_OK) {
    status = choose_images(&c, err);
  }
  if (status == MQ_OK) {
    status = mq_trial_cache_create(&c.cache, NULL, err);
  }
  if (status == MQ_OK) {
    status = check_models(&c, err);
  }
  mq_trial_cache_destroy(c.cache);
  if (status != MQ_OK) {
    mq_target_check_deinit(check);
  }
  return status;
}

void mq_target_check_deinit(struct mq_target_check *check) {
  mq_target_destroy(check->target);
  mq_arena_deinit(&check->arena);
  *check = (struct mq_target_check){.n_models = 0};
}
