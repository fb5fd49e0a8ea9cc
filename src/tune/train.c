/* The training pipeline: epochs of shuffled, augmented images through a trainer, with its schedule, curve,
 * judgements and checkpoints. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "tune/average.h"
#include "tune/checkpoint.h"
#include "tune/feed.h"

enum {
  CURVE_POINTS = 100 /* beside those where the network is judged */
};

struct training {
  const struct mq_train_options *options;
  struct mq_dataset *data;
  const struct mq_graph *graph;
  struct mq_pool *pool;
  struct mq_trainer *trainer;
  struct tune_feed feed; /* of the epoch under way */
  int64_t *order;        /* its images */
  int64_t slice_images, steps_per_epoch, n_steps;
  struct tune_progress progress;
  struct mq_progress bar;
  double checkpoint_time; /* when the last one was written */
  double seconds;         /* spent on steps */
  struct mq_train_result *result;
};

/* ---- Before the first step ---------------------------------------------------------------------- */
static mq_status check_options(const struct mq_train_options *o, struct mq_err *err) {
  if (!(o->epochs > 0) || o->epochs > 1e6) {
    return mq_fail(err, MQ_BAD_USAGE, "epochs %g, expected more than 0", o->epochs);
  }
  if (!(o->rate > 0) || !isfinite(o->rate)) {
    return mq_fail(err, MQ_BAD_USAGE, "learning rate %g, expected more than 0", o->rate);
  }
  if (!(o->warmup_epochs >= 0) || !(o->warmup_rate >= 0) || !(o->evaluate_epochs >= 0)) {
    return mq_fail(err, MQ_BAD_USAGE, "warm-up of %g epochs from rate %g, expected 0 or more",
                   o->warmup_epochs, o->warmup_rate);
  }
  if (!(o->ema >= 0) || o->ema >= 1) {
    return mq_fail(err, MQ_BAD_USAGE, "ema %g, expected 0 to below 1", o->ema);
  }
  return MQ_OK;
}

static mq_status measure_epochs(struct training *t, struct mq_err *err) {
  const struct mq_dataset_info *info = mq_dataset_get_info(t->data);
  if (!info->has_labels) {
    return mq_fail(err, MQ_BAD_INPUT, "the training data have no labels: training needs them");
  }
  t->steps_per_epoch = info->n_images / t->options->batch;
  if (t->steps_per_epoch < 1) {
    return mq_fail(err, MQ_BAD_INPUT,
                   "the training data hold %lld images, expected at least one batch of %lld",
                   (long long)info->n_images, (long long)t->options->batch);
  }
  t->n_steps = (int64_t)floor(t->options->epochs * (double)t->steps_per_epoch + 0.5);
  t->n_steps = t->n_steps > 0 ? t->n_steps : 1;
  return MQ_OK;
}

static mq_status create_trainer(struct training *t, struct mq_point *points, size_t n_points,
                                struct mq_err *err) {
  const struct mq_train_options *o = t->options;
  const struct mq_trainer_options options = {.batch = o->batch,
                                             .slice_images = t->slice_images,
                                             .bn_groups = o->bn_groups,
                                             .batch_per_gpu = o->batch_per_gpu,
                                             .points = points,
                                             .n_points = n_points,
                                             .label_smoothing = o->label_smoothing,
                                             .backward = o->precision,
                                             .has_float_forward = o->has_float_forward,
                                             .has_published_variance = o->has_published_variance,
                                             .optimiser = o->optimiser,
                                             .momentum = o->momentum,
                                             .is_nesterov = o->is_nesterov,
                                             .weight_decay = o->weight_decay,
                                             .bias_decay = o->bias_decay,
                                             .collective = o->collective,
                                             .bn_decay = o->bn_decay,
                                             .quantizer_decay = o->quantizer_decay,
                                             .scale_decay = o->scale_decay};
  return mq_trainer_create(&t->trainer, t->graph, &options, t->pool, err);
}

static mq_status allocate(struct training *t, struct mq_err *err) {
  struct tune_progress *p = &t->progress;
  double judged = t->options->evaluate_epochs > 0
                      ? fmin(t->options->epochs / t->options->evaluate_epochs, (double)t->n_steps)
                      : t->options->epochs;
  p->capacity = (size_t)judged + 2 * CURVE_POINTS + 8;
  p->curve = mq_alloc(p->capacity, sizeof *p->curve);
  if (t->options->ema > 0) {
    p->n_average = tune_average_count(t->trainer);
    p->average = mq_alloc(p->n_average + 1, sizeof *p->average);
  }
  if (!p->curve || (t->options->ema > 0 && !p->average)) {
    return mq_fail_memory(err, "training");
  }
  if (p->average) tune_average_begin(p->average, t->trainer);
  return MQ_OK;
}

/* Ranks that do not see the same file would go apart. */
static mq_status agree_on_step(const struct training *t, struct mq_err *err) {
  struct mq_collective *ranks = t->options->collective;
  size_t n = (size_t)mq_collective_size(ranks);
  int64_t *steps = mq_alloc(n, sizeof *steps);
  if (!steps) {
    return mq_fail_memory(err, "ranks");
  }
  mq_status status =
      mq_collective_gather_equal(ranks, steps, &t->progress.step, sizeof t->progress.step, err);
  for (size_t i = 1; i < n && status == MQ_OK; i++) {
    if (steps[i] != steps[0]) {
      status = mq_fail(err, MQ_BAD_INPUT,
                       "%s: rank %zu is at step %lld, rank 0 at %lld: expected one file that all "
                       "ranks see",
                       t->options->checkpoint, i, (long long)steps[i], (long long)steps[0]);
    }
  }
  mq_free(steps);
  return status;
}

static mq_status resume(struct training *t, struct mq_err *err) {
  const struct mq_train_options *o = t->options;
  if (!o->resumes || !o->checkpoint || !mq_file_exists(o->checkpoint)) {
    return MQ_OK;
  }
  const char *identity = o->identity ? o->identity : "";
  mq_status status = tune_checkpoint_read(o->checkpoint, identity, t->trainer, &t->progress, err);
  if (status == MQ_OK && o->recall) {
    status = o->recall(o->context, t->progress.notes, t->progress.n_notes, err);
  }
  mq_free(t->progress.notes);
  t->progress.notes = NULL;
  t->progress.n_notes = 0;
  if (status == MQ_OK && t->progress.step > t->n_steps) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: a checkpoint after %lld steps of a run of %lld", o->checkpoint,
                     (long long)t->progress.step, (long long)t->n_steps);
  }
  if (status == MQ_OK) {
    t->result->is_resumed = true;
    mq_log_info("going on after step %lld of %lld", (long long)t->progress.step, (long long)t->n_steps);
  }
  return status;
}

/* ---- Epochs ------------------------------------------------------------------------------------- */
static void close_epoch(struct training *t) {
  if (t->order) {
    tune_feed_deinit(&t->feed);
  }
  mq_free(t->order);
  t->order = NULL;
}

/* With other ranks a part of the slices is not taken here, so they are decoded where they are.
 * The rest of the epoch that the next step belongs to, in that epoch's order. */
static mq_status open_epoch(struct training *t, struct mq_err *err) {
  const struct mq_train_options *o = t->options;
  int64_t epoch = t->progress.step / t->steps_per_epoch, done = t->progress.step % t->steps_per_epoch;
  int ranks = mq_collective_size(o->collective);
  close_epoch(t);
  mq_status status = mq_dataset_shuffle(&t->order, t->data, o->seed, (uint64_t)epoch, err);
  if (status != MQ_OK) {
    return status;
  }
  const struct tune_feed_options feed = {.indices = t->order + done * o->batch,
                                         .n_images = (t->steps_per_epoch - done) * o->batch,
                                         .slice_images = t->slice_images,
                                         .loader_threads = ranks == 1 ? o->loader_threads : 0,
                                         .augment = o->augment,
                                         .seed = o->seed,
                                         .epoch = (uint64_t)epoch};
  return tune_feed_init(&t->feed, t->graph, t->data, &feed, err);
}

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs, int64_t *labels,
                      struct mq_err *err) {
  (void)worker;
  struct training *t = context;
  return tune_feed_fill(&t->feed, slice, inputs, labels, err);
}

/* ---- After a step ------------------------------------------------------------------------------- */
static bool ends_interval(int64_t step, int64_t n_steps, double n_intervals) {
  double now = floor((double)step * n_intervals / (double)n_steps);
  double before = floor((double)(step - 1) * n_intervals / (double)n_steps);
  return step == n_steps || now > before;
}

static bool ends_evaluation(const struct training *t) {
  const struct mq_train_options *o = t->options;
  double epochs = o->evaluate_epochs > 0 ? o->evaluate_epochs : 1;
  return o->evaluate && ends_interval(t->progress.step, t->n_steps,
                                      (double)t->n_steps / (double)t->steps_per_epoch / epochs);
}

static mq_status judge(double *top1, struct training *t, struct mq_err *err) {
  const struct mq_train_options *o = t->options;
  float *average = t->progress.average;
  if (average) tune_average_swap(average, t->trainer);
  mq_status status = o->evaluate(o->context, t->trainer, top1, err);
  if (average) tune_average_swap(average, t->trainer);
  return status;
}

/* Of a training that ends here: NaN where the loss is a number but a parameter is none. */
static double last_loss(double loss) {
  return isfinite(loss) ? (double)NAN : loss;
}

/* A point of the curve where one is due, and where the network is judged. */
static mq_status record(struct training *t, double rate, double loss, struct mq_err *err) {
  struct tune_progress *p = &t->progress;
  bool is_judged = !t->result->is_diverged && ends_evaluation(t);
  if (!is_judged && !t->result->is_diverged && !ends_interval(p->step, t->n_steps, CURVE_POINTS)) {
    return MQ_OK;
  }
  if (p->n_curve == p->capacity) {
    return mq_fail(err, MQ_FAILED, "training: more than %zu points of the curve", p->capacity);
  }
  double images = (double)p->interval.images;
  struct mq_curve_point *point = &p->curve[p->n_curve];
  *point =
      (struct mq_curve_point){.step = p->step,
                              .epoch = (double)p->step / (double)t->steps_per_epoch,
                              .rate = rate,
                              .loss = t->result->is_diverged ? last_loss(loss) : p->interval.loss / images,
                              .train_top1 = (double)p->interval.correct / images,
                              .test_top1 = (double)NAN};
  mq_status status = is_judged ? judge(&point->test_top1, t, err) : MQ_OK;
  if (status == MQ_OK) {
    p->n_curve++;
    p->interval = (struct tune_interval){0};
  }
  return status;
}

static mq_status keep(struct training *t, struct mq_err *err) {
  const struct mq_train_options *o = t->options;
  bool is_epoch_end = t->progress.step % t->steps_per_epoch == 0 || t->progress.step == t->n_steps;
  bool is_late = o->checkpoint_seconds > 0 && mq_now() - t->checkpoint_time >= o->checkpoint_seconds;
  if (!o->checkpoint || !(is_epoch_end || is_late) || mq_collective_rank(o->collective) > 0) {
    return MQ_OK;
  }
  const char *identity = o->identity ? o->identity : "";
  struct tune_progress progress = t->progress;
  mq_status status = o->note ? o->note(&progress.notes, &progress.n_notes, o->context, err) : MQ_OK;
  if (status == MQ_OK) {
    status = tune_checkpoint_write(o->checkpoint, identity, t->trainer, &progress, err);
  }
  t->checkpoint_time = mq_now();
  return status;
}

/* ---- The loop ----------------------------------------------------------------------------------- */
static mq_status step(struct training *t, struct mq_err *err) {
  struct tune_progress *p = &t->progress;
  const struct mq_trainer_job job = {.context = t, .fill = fill};
  struct mq_trainer_result r;
  double start = mq_now(), rate = mq_train_rate(t->options, p->step, t->n_steps, t->steps_per_epoch);
  mq_status status = mq_trainer_step(&r, t->trainer, &job, rate, err);
  t->seconds += mq_now() - start;
  if (status != MQ_OK) {
    return status;
  }
  t->feed.first_slice += mq_trainer_slices(t->trainer);
  t->result->is_diverged = !r.is_finite;
  p->step++;
  p->interval.loss += r.loss * (double)r.images;
  p->interval.correct += r.correct;
  p->interval.images += r.images;
  t->result->images += r.images;
  if (p->average && r.is_finite) tune_average_add(p->average, t->trainer, t->options->ema);
  mq_progress_add(&t->bar, (uint64_t)t->options->batch);
  return record(t, rate, r.loss, err);
}

static mq_status run(struct training *t, struct mq_err *err) {
  const struct tune_progress *p = &t->progress;
  mq_status status = MQ_OK;
  while (status == MQ_OK && p->step < t->n_steps && !t->result->is_diverged) {
    if (!t->order || p->step % t->steps_per_epoch == 0) {
      status = open_epoch(t, err);
    }
    if (status == MQ_OK) {
      status = step(t, err);
    }
    if (status == MQ_OK && !t->result->is_diverged) {
      status = keep(t, err);
    }
  }
  return status;
}

static void sum_up(struct training *t) {
  struct mq_train_result *r = t->result;
  r->curve = t->progress.curve;
  r->n_curve = t->progress.n_curve;
  t->progress.curve = NULL;
  r->steps = t->progress.step;
  r->seconds = t->seconds;
  r->images_per_second = t->seconds > 0 ? (double)r->images / t->seconds : 0;
  r->last_top1 = r->best_top1 = (double)NAN;
  for (size_t i = 0; i < r->n_curve; i++) {
    r->loss = r->curve[i].loss;
    if (!isnan(r->curve[i].test_top1)) {
      r->last_top1 = r->curve[i].test_top1;
      r->best_top1 = fmax(r->best_top1, r->last_top1); /* of NaN and a number: the number */
    }
  }
}

mq_status mq_train(struct mq_train_result *result, struct mq_graph *graph, struct mq_point *points,
                   size_t n_points, struct mq_dataset *data, const struct mq_train_options *options,
                   struct mq_pool *pool, struct mq_err *err) {
  struct training t = {.options = options, .data = data, .graph = graph, .pool = pool, .result = result};
  t.slice_images = options->slice_images > 0 ? options->slice_images : MQ_TRAIN_SLICE_IMAGES;
  t.checkpoint_time = mq_now();
  *result = (struct mq_train_result){0};
  mq_status status = check_options(options, err);
  if (status == MQ_OK) status = mq_check_model_data(graph, data, err);
  if (status == MQ_OK) status = create_trainer(&t, points, n_points, err);
  if (status == MQ_OK) status = measure_epochs(&t, err);
  if (status == MQ_OK) status = allocate(&t, err);
  if (status == MQ_OK) status = resume(&t, err);
  if (status == MQ_OK) status = agree_on_step(&t, err);
  if (status == MQ_OK) {
    int64_t left = (t.n_steps - t.progress.step) * options->batch;
    mq_progress_init(&t.bar, options->label ? options->label : "train", (uint64_t)left);
    status = run(&t, err);
    mq_progress_end(&t.bar);
  }
  if (status == MQ_OK && t.progress.average) tune_average_swap(t.progress.average, t.trainer);
  if (status == MQ_OK) status = mq_trainer_export(t.trainer, graph, points, err);
  if (status == MQ_OK) sum_up(&t);
  close_epoch(&t);
  mq_free(t.progress.curve);
  mq_free(t.progress.average);
  mq_trainer_destroy(t.trainer);
  if (status != MQ_OK) mq_train_result_deinit(result);
  return status;
}

void mq_train_result_deinit(struct mq_train_result *result) {
  mq_free(result->curve);
  *result = (struct mq_train_result){0};
}
