/* One cell: load, prepare, calibrate, evaluate, record. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/training.h"
#include "bench/trial.h"
#include "bench/variant.h"
#include "mqbench/deploy.h"
#include "mqbench/load.h"
#include "mqbench/zoo.h"

/* ---- Recording -------------------------------------------------------------------------------------- */

static const char *or_null(const char *text) {
  return text && text[0] ? text : NULL;
}

static void fill_constants(struct mq_run *run, const struct mq_cell *cell, struct mq_arena *arena) {
  bool is_float = mq_cell_is_float(cell);
  char started[32] = "";
  time_t now = time(NULL);
  struct tm utc;
  if (gmtime_r(&now, &utc)) {
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &utc);
  }
  *run = (struct mq_run){
      .plan = cell->plan,
      .model = cell->model_name,
      .method = cell->method,
      .variant = cell->variant,
      .w_observer = is_float ? NULL : cell->w_observer,
      .a_observer = is_float ? NULL : cell->a_observer,
      .w_bits = is_float || !cell->w_bits ? -1 : cell->w_bits,
      .a_bits = is_float || !cell->a_bits ? -1 : cell->a_bits,
      .is_hardware = -1,
      .target_position = cell->target ? cell->target_position : -1,
      .seed = (int64_t)cell->seed,
      .float_top1 = (double)NAN,
      .top1 = (double)NAN,
      .top5 = (double)NAN,
      .loss = (double)NAN,
      .float_correct = -1,
      .correct = -1,
      .images = -1,
      .seconds = (double)NAN,
      .calib_seconds = (double)NAN,
      .eval_seconds = (double)NAN,
      .train_seconds = (double)NAN,
      .best_top1 = (double)NAN,
      .version = MQ_VERSION,
      .cpu = mq_kernel_cpu_name(),
      .isa = mq_isa_name(mq_kernel_isa()),
      .onednn = mq_kernel_onednn_version(),
      .started = mq_arena_strdup(arena, started),
  };
}

/* The target under its own name, and its bits where the cell leaves them open: also for a run that fails. */
static mq_status load_target(struct trial *t, struct mq_err *err) {
  const struct mq_cell *cell = t->cell;
  struct mq_run *run = &t->result->run;
  if (!cell->target) {
    return MQ_OK;
  }
  run->target = cell->target;
  mq_status status = mq_target_load(&t->target, cell->target, err);
  if (status == MQ_OK) {
    run->target = mq_arena_strdup(t->arena, t->target->name);
    run->is_hardware = t->target->n_artefacts > 0; /* something to hand over */
    run->w_bits = cell->w_bits ? cell->w_bits : t->target->weights.bits;
    run->a_bits = cell->a_bits ? cell->a_bits : t->target->activations.bits;
    status = run->target ? MQ_OK : mq_fail_memory(err, "run");
  }
  return status;
}

/* Content hashes and the identities made from them. */
static mq_status identify(struct trial *t, struct mq_err *err) {
  struct mq_run *run = &t->result->run;
  struct mq_cell_inputs inputs = {.model = ""};
  char identity[65], float_identity[65];
  mq_status status = mq_cache_identify(identity, float_identity, &inputs, t->cache, t->cell, t->arena, err);
  if (status != MQ_OK) {
    return status;
  }
  run->identity = mq_arena_strdup(t->arena, identity);
  run->float_identity = mq_arena_strdup(t->arena, float_identity);
  run->model_sha256 = or_null(mq_arena_strdup(t->arena, inputs.model));
  run->data_sha256 = or_null(mq_arena_strdup(t->arena, inputs.calib));
  run->eval_sha256 = or_null(mq_arena_strdup(t->arena, inputs.eval));
  run->target_sha256 = or_null(mq_arena_strdup(t->arena, inputs.target));
  return run->identity && run->float_identity ? MQ_OK : mq_fail_memory(err, "run");
}

/* A cell whose inputs cannot be read is known by its text alone. */
static void identify_by_text(struct trial *t) {
  const struct mq_cell_inputs unknown = {.model = "unknown"};
  char identity[65];
  if (mq_cell_identity(identity, t->cell, &unknown, t->arena, NULL) == MQ_OK) {
    t->result->run.identity = mq_arena_strdup(t->arena, identity);
  }
}

static mq_status describe(struct trial *t, struct mq_err *err) {
  struct mq_run *run = &t->result->run;
  mq_status status = mq_cell_format(&run->cell, t->cell, t->arena, err);
  if (status == MQ_OK) {
    status = mq_cell_options(&run->options, t->cell, t->arena, err);
  }
  if (status == MQ_OK) {
    status = load_target(t, err);
  }
  return status == MQ_OK ? identify(t, err) : status;
}

/* ---- Measuring -------------------------------------------------------------------------------------- */

/* An architecture takes its image and its classes from the data. */
static mq_status build_model(struct trial *t, struct mq_err *err) {
  const struct mq_dataset_info *info = mq_dataset_get_info(t->eval->dataset);
  if (info->image.dim[1] != info->image.dim[2] || info->image.dim[0] != 3 || info->n_classes < 2) {
    return mq_fail(err, MQ_BAD_INPUT,
                   "architecture %s: the data have images of %lldx%lldx%lld in %lld classes, expected square "
                   "images of 3 channels and at least 2 classes",
                   t->cell->arch, (long long)info->image.dim[0], (long long)info->image.dim[1],
                   (long long)info->image.dim[2], (long long)info->n_classes);
  }
  const struct mq_zoo_options options = {.image = info->image.dim[1],
                                         .classes = info->n_classes,
                                         .width = t->cell->arch_width,
                                         .seed = t->cell->seed};
  t->model = &t->own;
  return mq_zoo_build(&t->own.graph, t->cell->arch, &options, err);
}

static mq_status open_inputs(struct trial *t, struct mq_err *err) {
  mq_status status = mq_cache_get_data(&t->eval, t->cache, t->cell->eval_data, err);
  if (status == MQ_OK) {
    status = t->cell->arch ? build_model(t, err)
                           : mq_cache_get_model(&t->model, t->cache, t->cell->model_path, err);
  }
  if (status == MQ_OK) {
    status = mq_check_model_data(t->model->graph, t->eval->dataset, err);
  }
  if (status == MQ_OK && !t->eval->is_labels_told) {
    mq_warn_of_labels(t->model->graph, t->eval->dataset);
    t->eval->is_labels_told = true;
  }
  if (status == MQ_OK && t->cell->calib_data) {
    status = mq_cache_get_data(&t->calib, t->cache, t->cell->calib_data, err);
    if (status == MQ_OK) {
      status = mq_check_model_data(t->model->graph, t->calib->dataset, err);
    }
  }
  return status;
}

static mq_status evaluate(struct trial *t, const struct mq_graph *graph, const struct mq_point *points,
                          size_t n_points, const char *label, struct mq_err *err) {
  const struct mq_evaluate_options options = {.points = points,
                                              .n_points = n_points,
                                              .slice_images = t->cell->slice_images,
                                              .loader_threads = mq_pool_workers(t->options->pool),
                                              .label = label};
  mq_evaluation_deinit(&t->evaluation);
  return mq_evaluate(&t->evaluation, graph, t->eval->dataset, &options, t->options->pool, err);
}

/* The model's accuracy in float, measured once per model and data. */
static mq_status measure_float(struct trial *t, struct mq_err *err) {
  struct mq_run *run = &t->result->run;
  const struct mq_cache_float *known = mq_cache_find_float(t->cache, run->float_identity);
  if (!known) {
    mq_status status = evaluate(t, t->model->graph, NULL, 0, "float", err);
    if (status != MQ_OK) {
      return status;
    }
    const struct mq_evaluation *e = &t->evaluation;
    struct mq_cache_float measured = {.top1 = mq_trial_share(e->correct, e->n_labelled),
                                      .correct = e->n_labelled ? e->correct : -1,
                                      .images = e->n_images};
    snprintf(measured.identity, sizeof measured.identity, "%s", run->float_identity);
    status = mq_cache_put_float(t->cache, &measured, err);
    if (status != MQ_OK) {
      return status;
    }
    known = mq_cache_find_float(t->cache, run->float_identity);
  }
  run->float_top1 = known->top1;
  run->float_correct = known->correct;
  return MQ_OK;
}

struct mq_prepare_options mq_trial_prepare_options(const struct mq_cell *cell) {
  return (struct mq_prepare_options){.w_bits = cell->w_bits,
                                     .a_bits = cell->a_bits,
                                     .bn_fold = cell->bn_fold,
                                     .overrides = cell->overrides,
                                     .n_overrides = cell->n_overrides,
                                     .is_strict = cell->is_strict};
}

static mq_status prepare(struct trial *t, struct mq_err *err) {
  const struct mq_prepare_options options = mq_trial_prepare_options(t->cell);
  mq_status status = mq_prepare(&t->prepared, t->model->graph, t->target, &options, err);
  t->is_prepared = status == MQ_OK;
  return status;
}

/* How many of the first `n` images' labels differ: of `indices`, or all images where it is NULL. -1: no
 * memory. */
static int64_t count_classes(const struct mq_dataset *dataset, const int64_t *indices, int64_t n) {
  int64_t n_classes = mq_dataset_get_info(dataset)->n_classes, n_seen = 0;
  uint8_t *seen = mq_alloc((size_t)n_classes + 1, 1);
  if (!seen) {
    return -1;
  }
  for (int64_t i = 0; i < n; i++) {
    int64_t label = mq_dataset_label(dataset, indices ? indices[i] : i);
    if (label >= 0 && label < n_classes && !seen[label]) {
      seen[label] = 1;
      n_seen++;
    }
  }
  mq_free(seen);
  return n_seen;
}

/* The first images of a file sorted by class stand for a part of the classes only. Once per data set. */
static void warn_of_sorted(struct trial *t) {
  const struct mq_dataset *dataset = t->calib->dataset;
  const struct mq_dataset_info *info = mq_dataset_get_info(dataset);
  int64_t n = t->n_indices;
  if (!t->cell->is_calib_first || !info->has_labels || n < 2 || t->calib->is_order_told) {
    return;
  }
  int64_t held = count_classes(dataset, t->indices, n), all = count_classes(dataset, NULL, info->n_images);
  const struct mq_shape *logits = &t->model->graph->outputs[0]->shape; /* limit= hides classes, not these */
  int64_t known = logits->rank > 1 ? logits->dim[1] : 0;
  all = known > all ? known : all;
  if (held < 1 || !((held == 1 && all > 1) || (n >= 2 * all && 2 * held < all))) {
    return;
  }
  t->calib->is_order_told = true;
  mq_log_warn("the first %lld images hold %lld of %lld classes: a class-sorted file; use calib_order=sampled",
              (long long)n, (long long)held, (long long)all);
}

static mq_status sample(struct trial *t, struct mq_err *err) {
  int64_t n_images = mq_dataset_get_info(t->calib->dataset)->n_images;
  t->n_indices = t->cell->calib_images;
  if (t->n_indices > n_images) {
    if (!t->calib->is_count_told) {
      mq_log_warn("%s: calibrating on all %lld images, %lld were asked for", t->cell->calib_data,
                  (long long)n_images, (long long)t->n_indices);
    }
    t->calib->is_count_told = true;
    t->n_indices = n_images;
  }
  mq_status status = mq_dataset_sample(&t->indices, t->calib->dataset, t->n_indices, t->cell->is_calib_first,
                                       t->cell->seed, err);
  if (status == MQ_OK) {
    warn_of_sorted(t);
  }
  return status;
}

struct mq_calibrate_options mq_trial_calibrate_options(const struct trial *t) {
  const struct mq_cell *cell = t->cell;
  return (struct mq_calibrate_options){
      .w_observer = cell->w_observer,
      .a_observer = cell->a_observer,
      .w_parameter = cell->w_parameter,
      .a_parameter = cell->a_parameter,
      .is_published = mq_variant_has(cell->variant, MQ_VARIANT_OBSERVER),
      .indices = t->indices,
      .n_indices = t->n_indices,
      .batch = cell->calib_batch,
      .slice_images = cell->slice_images,
      .bias = t->target->bias,
  };
}

static mq_status calibrate(struct trial *t, struct mq_err *err) {
  struct mq_calibrate_result result = {.seconds = 0};
  const struct mq_calibrate_options options = mq_trial_calibrate_options(t);
  struct mq_pool *pool = t->options->pool;
  mq_status status = prepare(t, err);
  if (status == MQ_OK) {
    status = mq_calibrate(&result, &t->prepared, t->calib->dataset, &options, pool, err);
  }
  double start = mq_now();
  if (status == MQ_OK && t->cell->calibrates_bn) {
    status = mq_bn_calibrate(&t->prepared, t->calib->dataset, &options, pool, err);
  }
  t->result->run.calib_seconds = result.seconds + (t->cell->calibrates_bn ? mq_now() - start : 0);
  return status;
}

static mq_status quantize(struct trial *t, struct mq_err *err) {
  mq_evaluation_deinit(&t->evaluation); /* the float one */
  mq_status status = t->cell->graph ? mq_target_set_graph_rule(t->target, t->cell->graph, err) : MQ_OK;
  if (status == MQ_OK) {
    status = sample(t, err);
  }
  if (status == MQ_OK) {
    status = mq_cell_trains(t->cell) ? mq_trial_train(t, err) : calibrate(t, err);
  }
  if (status == MQ_OK && !t->is_diverged && !t->is_evaluated) {
    status = evaluate(t, t->prepared.graph, t->prepared.points, t->prepared.n_points, t->label, err);
  }
  return status == MQ_OK ? mq_trial_record_points(t, err) : status;
}

static mq_status write_bundle(struct trial *t, struct mq_err *err) {
  const struct mq_run *run = &t->result->run;
  const struct mq_data_spec *spec = &t->calib->spec;
  const struct mq_bundle_contents contents = {
      .prepared = &t->prepared,
      .float_graph = t->trained ? t->trained : t->model->graph,
      .target = t->target,
      .preprocess = spec->has_preprocess || spec->kind != MQ_DATA_NPY ? &spec->preprocess : NULL,
      .record = {.cell = run->cell,
                 .method = run->method,
                 .w_observer = run->w_observer,
                 .a_observer = run->a_observer,
                 .w_parameter = t->cell->w_parameter,
                 .a_parameter = t->cell->a_parameter,
                 .variant = t->cell->variant,
                 .model_path = t->cell->model_path,
                 .model_sha256 = run->model_sha256,
                 .data = t->cell->calib_data,
                 .data_sha256 = run->data_sha256,
                 .eval_data = t->cell->eval_data,
                 .eval_sha256 = run->eval_sha256,
                 .cpu = run->cpu,
                 .isa = run->isa,
                 .onednn = run->onednn,
                 .started = run->started,
                 .seed = t->cell->seed,
                 .calibration = t->calib->dataset,
                 .indices = t->indices,
                 .n_indices = t->n_indices,
                 .float_top1 = run->float_top1,
                 .top1 = run->top1,
                 .correct = run->correct,
                 .images = run->images,
                 .seconds = run->seconds,
                 .calib_seconds = run->calib_seconds}};
  return mq_bundle_write(t->options->bundle, &contents, err);
}

/* As it is, or trained first. */
static mq_status evaluate_float(struct trial *t, struct mq_err *err) {
  mq_status status = t->cell->trains_float ? mq_trial_train_float(t, err) : MQ_OK;
  if (status != MQ_OK || t->is_diverged || t->is_evaluated) {
    return status;
  }
  return evaluate(t, t->trained ? t->trained : t->model->graph, NULL, 0, t->label, err);
}

/* `seconds` of a quantizing run leaves out the float accuracy, which other cells share. */
static mq_status measure(struct trial *t, struct mq_err *err) {
  bool is_float = mq_cell_is_float(t->cell);
  struct mq_run *run = &t->result->run;
  double start = mq_now();
  mq_status status = open_inputs(t, err);
  double float_start = mq_now();
  if (status == MQ_OK && !is_float) {
    status = measure_float(t, err);
    start += mq_now() - float_start;
  }
  if (status == MQ_OK) {
    status = is_float ? evaluate_float(t, err) : quantize(t, err);
  }
  if (status == MQ_OK && !t->is_diverged) {
    status = mq_trial_record_evaluation(t, err);
  }
  if (status == MQ_OK) {
    status = mq_trial_record_result(t, err);
  }
  run->seconds = mq_now() - start;
  if (status == MQ_OK && is_float) {
    run->float_top1 = run->top1;
    run->float_correct = run->correct;
  }
  if (status == MQ_OK && t->options->trained && t->trained && !t->is_diverged) {
    status = mq_onnx_write(t->options->trained, t->trained, err);
  }
  return status == MQ_OK && t->options->bundle && !is_float && !t->is_diverged ? write_bundle(t, err)
                                                                               : status;
}

static void clean_up(struct trial *t) {
  mq_evaluation_deinit(&t->evaluation);
  if (t->is_prepared) {
    mq_prepared_deinit(&t->prepared);
  }
  mq_graph_destroy(t->trained);
  mq_graph_destroy(t->own.graph);
  mq_free(t->indices);
  mq_target_destroy(t->target);
  if (t->cache != t->options->cache) {
    mq_trial_cache_destroy(t->cache);
  }
}

/* What went wrong is the run's own outcome, unless there is not even a run to put it in. */
static mq_status fail_run(struct trial *t, mq_status status, const struct mq_err *why, struct mq_err *err) {
  struct mq_run *run = &t->result->run;
  if (!run->identity) {
    identify_by_text(t);
  }
  t->result->failure = status;
  run->status = "failed";
  run->message = mq_arena_strdup(t->arena, why->message);
  if (status == MQ_CANCELLED || !run->cell || !run->identity || !run->message) {
    return mq_fail(err, status, "%s", why->message);
  }
  return MQ_OK;
}

mq_status mq_trial_run(struct mq_trial_result *result, const struct mq_cell *cell,
                       const struct mq_trial_options *options, struct mq_arena *arena, struct mq_err *err) {
  struct trial t = {.cell = cell,
                    .options = options,
                    .cache = options->cache,
                    .arena = arena,
                    .result = result,
                    .label = options->label};
  struct mq_err why = {.status = MQ_OK};
  *result = (struct mq_trial_result){.points = NULL};
  fill_constants(&result->run, cell, arena);
  mq_status status = t.cache ? MQ_OK : mq_trial_cache_create(&t.cache, NULL, &why);
  if (status == MQ_OK && !t.label) {
    status = mq_cell_label(&t.label, cell, arena, &why);
  }
  if (status == MQ_OK) {
    status = describe(&t, &why);
  }
  if (status == MQ_OK) {
    status = measure(&t, &why);
  }
  if (status != MQ_OK) {
    status = fail_run(&t, status, &why, err);
  }
  clean_up(&t);
  return status;
}
