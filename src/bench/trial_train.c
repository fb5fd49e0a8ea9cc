/* A trial of a method that trains. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "bench/training.h"
#include "bench/trial.h"
#include "bench/variant.h"

/* ---- Options ---------------------------------------------------------------------------------------- */
static struct mq_augment augment_of(const struct trial *t) {
  struct mq_augment augment = {.pad = 0};
  switch (t->cell->augment) {
    case MQ_AUGMENTS_STANDARD:
      return mq_augment_default(t->calib->dataset);
    case MQ_AUGMENTS_NOT:
      break;
    case MQ_AUGMENTS_CROP_FLIP:
      augment = (struct mq_augment){.flips = true, .pad = 4};
      break;
    case MQ_AUGMENTS_RESIZED_CROP:
      augment = (struct mq_augment){.flips = true, .resized_crop = true};
      break;
    case MQ_AUGMENTS_RESIZED_CROP_JITTER:
      augment = (struct mq_augment){.flips = true,
                                    .resized_crop = true,
                                    .brightness = 0.2,
                                    .contrast = 0.2,
                                    .saturation = 0.2,
                                    .hue = 0.1};
      break;
  }
  return augment;
}

/* One file for each run beside the store: DIRECTORY/<identity>. */
static void name_checkpoint(char path[PATH_MAX], const char *directory, const struct mq_run *run) {
  snprintf(path, PATH_MAX, "%s/%s.checkpoint", directory, run->identity);
}

static mq_status checkpoint_path(const char **path, const struct trial *t, struct mq_err *err) {
  char text[PATH_MAX];
  const char *directory = t->options->checkpoints;
  *path = NULL;
  if (!directory) {
    return MQ_OK;
  }
  mq_status status = mq_file_make_directories(directory, err);
  if (status == MQ_OK) {
    name_checkpoint(text, directory, &t->result->run);
    *path = mq_arena_strdup(t->arena, text);
    status = *path ? MQ_OK : mq_fail_memory(err, "run");
  }
  return status;
}

void mq_trial_remove_checkpoint(const char *checkpoints, const struct mq_run *run) {
  char path[PATH_MAX];
  if (checkpoints && run->identity) {
    name_checkpoint(path, checkpoints, run);
    (void)unlink(path);       /* there may be none */
    (void)rmdir(checkpoints); /* once it is empty */
  }
}

static struct mq_train_options train_options(const struct trial *t, const struct mq_augment *augment,
                                             const char *checkpoint) {
  struct mq_train_options options = t->cell->train;
  options.slice_images = t->cell->slice_images;
  options.seed = t->cell->seed;
  options.has_published_variance = mq_variant_has(t->cell->variant, MQ_VARIANT_BN_VARIANCE);
  options.collective = t->options->ranks;
  options.augment = t->cell->augment == MQ_AUGMENTS_NOT ? NULL : augment;
  options.loader_threads = mq_pool_workers(t->options->pool);
  options.checkpoint = checkpoint;
  options.checkpoint_seconds = 30;
  options.resumes = true;
  options.identity = t->result->run.identity;
  options.label = t->label;
  return options;
}

static struct mq_qat_options qat_options(const struct trial *t) {
  const struct mq_cell *cell = t->cell;
  return (struct mq_qat_options){
      .prepare = mq_trial_prepare_options(cell),
      .calibrate = mq_trial_calibrate_options(t),
      .method = {.quantizer = mq_quantizer_find(cell->method),
                 .option = cell->method_option,
                 .is_published = mq_variant_has(cell->variant, MQ_VARIANT_QUANTIZER),
                 .is_own_observer = cell->has_own_observers},
      .is_handed_over = t->options->bundle != NULL,
      .observes_in_evaluation =
          mq_variant_observes(cell->method) && mq_variant_has(cell->variant, MQ_VARIANT_OBSERVER_EVAL),
      .is_published_fold = mq_variant_has(cell->variant, MQ_VARIANT_BN_FOLD)};
}

/* ---- What it recorded ------------------------------------------------------------------------------- */
static mq_status record_curve(struct mq_run_history *history, struct trial *t,
                              const struct mq_train_result *result, struct mq_err *err) {
  struct mq_run_curve *curve = mq_arena_alloc(t->arena, result->n_curve + 1, sizeof *curve);
  if (!curve) {
    return mq_fail_memory(err, "run");
  }
  for (size_t i = 0; i < result->n_curve; i++) {
    const struct mq_curve_point *p = &result->curve[i];
    curve[i] = (struct mq_run_curve){.step = p->step,
                                     .epoch = p->epoch,
                                     .rate = p->rate,
                                     .loss = p->loss,
                                     .train_top1 = p->train_top1,
                                     .test_top1 = p->test_top1};
  }
  history->curve = curve;
  history->n_curve = result->n_curve;
  return MQ_OK;
}

static mq_status record_ranges(struct mq_run_history *history, struct trial *t,
                               const struct mq_qat_result *result, struct mq_err *err) {
  size_t n_points = result->prepared.n_points, n = 0;
  struct mq_run_range *ranges = mq_arena_alloc(t->arena, result->n_records * n_points + 1, sizeof *ranges);
  if (!ranges) {
    return mq_fail_memory(err, "run");
  }
  for (size_t i = 0; i < result->n_records; i++) {
    for (size_t p = 0; p < n_points; p++) {
      const struct mq_range *range = &result->records[i].ranges[p];
      ranges[n++] = (struct mq_run_range){.step = result->records[i].step,
                                          .point = (int64_t)p,
                                          .lo = (double)range->lo,
                                          .hi = (double)range->hi};
    }
  }
  history->ranges = ranges;
  history->n_ranges = n;
  return MQ_OK;
}

static mq_status record_training(struct mq_run_history **history, struct trial *t,
                                 const struct mq_train_result *result, struct mq_err *err) {
  struct mq_run *run = &t->result->run;
  *history = mq_arena_alloc(t->arena, 1, sizeof **history);
  mq_status status = *history ? record_curve(*history, t, result, err) : mq_fail_memory(err, "run");
  run->history = *history;
  run->train_seconds = result->seconds;
  run->best_top1 = result->best_top1;
  if (result->is_diverged) {
    t->is_diverged = true;
    run->status = "nc";
    run->message = mq_arena_printf(t->arena, "the loss or a parameter was not finite at step %lld",
                                   (long long)result->steps);
  }
  return status;
}

/* ---- Quantized -------------------------------------------------------------------------------------- */
mq_status mq_trial_train(struct trial *t, struct mq_err *err) {
  const struct mq_augment augment = augment_of(t);
  const char *checkpoint = NULL;
  struct mq_run_history *history = NULL;
  struct mq_qat_result result;
  mq_status status = checkpoint_path(&checkpoint, t, err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_qat_options options = qat_options(t);
  options.train = train_options(t, &augment, checkpoint);
  status = mq_qat(&result, t->model->graph, t->target, t->calib->dataset, t->eval->dataset, &options,
                  t->options->pool, err);
  if (status != MQ_OK) {
    return status;
  }
  t->result->run.calib_seconds = result.calibrate_seconds;
  status = record_training(&history, t, &result.train, err);
  if (status == MQ_OK) {
    status = record_ranges(history, t, &result, err);
  }
  t->prepared = result.prepared;
  t->is_prepared = true;
  t->trained = result.trained;
  t->evaluation = result.evaluation;
  t->is_evaluated = result.is_evaluated;
  result.prepared = (struct mq_prepared){.graph = NULL};
  result.evaluation = (struct mq_evaluation){0};
  result.trained = NULL;
  mq_qat_result_deinit(&result);
  return status;
}

/* ---- Float ------------------------------------------------------------------------------------------ */
struct float_training {
  struct trial *t;
  int64_t judged_step; /* t->evaluation is of the network after so many steps */
};

/* mq_train_options.evaluate: the network as it stands, in inference. */
static mq_status judge_float(void *context, struct mq_trainer *trainer, double *top1, struct mq_err *err) {
  struct float_training *training = context;
  struct trial *t = training->t;
  const struct mq_evaluate_options options = {.slice_images = t->cell->slice_images,
                                              .loader_threads = mq_pool_workers(t->options->pool),
                                              .label = "evaluate"};
  mq_status status = mq_trainer_export(trainer, t->trained, NULL, err);
  mq_evaluation_deinit(&t->evaluation);
  if (status == MQ_OK) {
    status = mq_evaluate(&t->evaluation, t->trained, t->eval->dataset, &options, t->options->pool, err);
  }
  if (status == MQ_OK) {
    *top1 = mq_trial_share(t->evaluation.correct, t->evaluation.n_labelled);
    training->judged_step = mq_trainer_steps(trainer);
  }
  return status;
}

mq_status mq_trial_train_float(struct trial *t, struct mq_err *err) {
  const struct mq_augment augment = augment_of(t);
  const char *checkpoint = NULL;
  struct mq_run_history *history = NULL;
  struct mq_train_result result;
  mq_status status = checkpoint_path(&checkpoint, t, err);
  if (status == MQ_OK) {
    status = mq_graph_clone(&t->trained, t->model->graph, err);
  }
  if (status == MQ_OK) {
    status = mq_prepare_canonical(t->trained, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct mq_train_options options = train_options(t, &augment, checkpoint);
  struct float_training training = {.t = t};
  options.context = &training;
  options.evaluate = judge_float;
  status = mq_train(&result, t->trained, NULL, 0, t->calib->dataset, &options, t->options->pool, err);
  if (status == MQ_OK) {
    status = record_training(&history, t, &result, err);
    t->is_evaluated = training.judged_step == result.steps;
    mq_train_result_deinit(&result);
  }
  return status;
}
