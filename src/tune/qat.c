/* Quantization-aware training: calibrate the deployed form, train the folding strategy's form, deploy what
 * was learned. */
#include <math.h>
#include <string.h>

#include "mqbench/tune.h"

struct qat {
  const struct mq_qat_options *options;
  const struct mq_target *target;
  struct mq_dataset *data, *eval_data;
  struct mq_pool *pool;
  struct mq_prepare_options prepare; /* of the form that is trained */
  struct mq_graph *base;             /* the float model; its constants have the names of what learns */
  struct mq_prepared training;       /* the form that is trained */
  struct mq_qat_result *result;
  size_t record_capacity;
  uint8_t *notes; /* the records as bytes */
  /* the last judgement: what was judged, after how many steps, and how it did */
  struct mq_prepared judged;
  struct mq_evaluation evaluation;
  int64_t judged_step;            /* 0: none */
  struct mq_observing *observing; /* of the form deployed last; NULL: observers are done */
};

/* ---- Forms -------------------------------------------------------------------------------------- */
/* Where the target folds and the run leaves the strategy open: 4, the paper's choice. */
static struct mq_prepare_options training_options(const struct mq_qat_options *asked,
                                                  const struct mq_target *target) {
  struct mq_prepare_options options = asked->prepare;
  if (options.bn_fold == MQ_BN_FOLD_TARGET) {
    options.bn_fold = target->folds_bn ? MQ_BN_FOLD_4 : MQ_BN_FOLD_NONE;
  }
  bool is_frozen =
      asked->is_published_fold && (options.bn_fold == MQ_BN_FOLD_2 || options.bn_fold == MQ_BN_FOLD_3);
  if (is_frozen) {
    options.bn_fold = MQ_BN_FOLD_1;
  }
  return options;
}

/* What the network is deployed in: a float BN stays only where the training keeps it too. What was trained
 * folded is handed over folded, whether the target would have folded it or not. */
static struct mq_prepare_options deployed_options(const struct qat *q) {
  struct mq_prepare_options options = q->prepare;
  if (options.bn_fold != MQ_BN_FOLD_NONE) {
    options.bn_fold = MQ_BN_FOLD_0;
  }
  return options;
}

/* The canonical model. Strategy 0 trains the folded weights: nothing is left to fold afterwards. */
static mq_status make_base(struct qat *q, const struct mq_graph *model, struct mq_err *err) {
  mq_status status = mq_graph_clone(&q->base, model, err);
  if (status == MQ_OK) {
    status = mq_prepare_canonical(q->base, err);
  }
  if (status == MQ_OK && q->prepare.bn_fold == MQ_BN_FOLD_0) {
    status = mq_prepare_fold_bn(q->base, true, err);
  }
  return status;
}

static mq_status make_forms(struct qat *q, struct mq_err *err) {
  const struct mq_prepare_options deployed = deployed_options(q);
  struct mq_prepared *prepared = &q->result->prepared;
  mq_status status = mq_prepare(prepared, q->base, q->target, &deployed, err);
  if (status == MQ_OK) {
    struct mq_calibrate_result result = {0};
    status = mq_calibrate(&result, prepared, q->data, &q->options->calibrate, q->pool, err);
    q->result->calibrate_seconds = result.seconds;
  }
  if (status == MQ_OK) {
    status = mq_assign_quantizers(prepared, &q->options->method, err);
  }
  if (status == MQ_OK) {
    status = mq_prepare(&q->training, q->base, q->target, &q->prepare, err);
  }
  return status == MQ_OK ? mq_copy_quantizers(&q->training, prepared, err) : status;
}

/* The deployed form of what was learned: `base` and the training form's points hold it. */
static mq_status deploy(struct mq_prepared *deployed, struct qat *q, struct mq_err *err) {
  const struct mq_prepare_options options = deployed_options(q);
  mq_status status = mq_prepare(deployed, q->base, q->target, &options, err);
  if (status != MQ_OK) {
    return status;
  }
  status = mq_copy_quantizers(deployed, &q->training, err);
  mq_observing_destroy(q->observing);
  q->observing = NULL;
  if (status == MQ_OK && q->options->observes_in_evaluation) {
    status = mq_observing_create(&q->observing, deployed, q->options->train.batch, err);
  }
  if (status == MQ_OK) {
    status = mq_freeze_quantizers(deployed, q->target->bias, err);
  }
  if (status != MQ_OK) {
    mq_prepared_deinit(deployed);
  }
  return status;
}

/* Whether a method has a grid does not depend on what it learns. */
static mq_status check_grids(struct qat *q, struct mq_err *err) {
  struct mq_prepared deployed;
  if (q->options->observes_in_evaluation) {
    return mq_fail(
        err, MQ_BAD_USAGE,
        "variant observer_eval: what it measures is not what a bundle does, so there is none; expected "
        "the other parts of published by name, or mqbench bench");
  }
  mq_status status = deploy(&deployed, q, err);
  if (status != MQ_OK) {
    return status;
  }
  for (size_t i = 0; i < deployed.n_points && status == MQ_OK; i++) {
    const struct mq_point *point = &deployed.points[i];
    if (point->quantizer) {
      status = mq_fail(err, MQ_BAD_USAGE,
                       "method %s quantizes %s on no integer grid: there is no bundle of it, mqbench bench "
                       "measures its accuracy",
                       point->quantizer->name, point->tensor);
    }
  }
  mq_prepared_deinit(&deployed);
  return status;
}

/* ---- Judging ------------------------------------------------------------------------------------ */
/* One more record, of n_points ranges; *ranges is to be filled. */
static mq_status add_record(struct mq_range **ranges, struct qat *q, size_t n_points, int64_t step,
                            struct mq_err *err) {
  struct mq_qat_result *r = q->result;
  if (r->n_records == q->record_capacity) {
    size_t capacity = q->record_capacity ? 2 * q->record_capacity : 16;
    struct mq_range_record *records = mq_realloc(r->records, capacity, sizeof *records);
    if (!records) {
      return mq_fail_memory(err, "clipping ranges");
    }
    r->records = records;
    q->record_capacity = capacity;
  }
  *ranges = mq_alloc(n_points + 1, sizeof **ranges);
  if (!*ranges) {
    return mq_fail_memory(err, "clipping ranges");
  }
  r->records[r->n_records++] = (struct mq_range_record){.step = step, .ranges = *ranges};
  return MQ_OK;
}

static mq_status record_ranges(struct qat *q, const struct mq_prepared *deployed, int64_t step,
                               struct mq_err *err) {
  struct mq_range *ranges = NULL;
  mq_status status = add_record(&ranges, q, deployed->n_points, step, err);
  for (size_t i = 0; i < deployed->n_points && status == MQ_OK; i++) {
    double lo, hi;
    mq_qparams_clip_range(&lo, &hi, &deployed->points[i].qparams);
    ranges[i] = (struct mq_range){.lo = (float)lo, .hi = (float)hi};
  }
  return status;
}

/* mq_train_options.note and .recall: of each record its step, then its ranges; as many as there are points.
 */
static mq_status note_records(void **bytes, size_t *n, void *context, struct mq_err *err) {
  struct qat *q = context;
  const struct mq_qat_result *r = q->result;
  size_t range_bytes = r->prepared.n_points * sizeof(struct mq_range);
  uint8_t *to = mq_realloc(q->notes, r->n_records * (sizeof(int64_t) + range_bytes) + 1, 1);
  if (!to) {
    return mq_fail_memory(err, "clipping ranges");
  }
  *bytes = q->notes = to;
  for (size_t i = 0; i < r->n_records; i++) {
    memcpy(to, &r->records[i].step, sizeof(int64_t));
    memcpy(to + sizeof(int64_t), r->records[i].ranges, range_bytes);
    to += sizeof(int64_t) + range_bytes;
  }
  *n = (size_t)(to - q->notes);
  return MQ_OK;
}

static mq_status recall_records(void *context, const void *bytes, size_t n, struct mq_err *err) {
  struct qat *q = context;
  size_t n_points = q->result->prepared.n_points, range_bytes = n_points * sizeof(struct mq_range);
  const uint8_t *from = bytes, *end = from + n;
  mq_status status = MQ_OK;
  if (n % (sizeof(int64_t) + range_bytes) != 0) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: clipping ranges of another number of points than %zu",
                   q->options->train.checkpoint, n_points);
  }
  for (; from < end && status == MQ_OK; from += sizeof(int64_t) + range_bytes) {
    struct mq_range *ranges = NULL;
    int64_t step;
    memcpy(&step, from, sizeof step);
    status = add_record(&ranges, q, n_points, step, err);
    if (status == MQ_OK) {
      memcpy(ranges, from + sizeof step, range_bytes);
    }
  }
  return status;
}

static mq_status evaluate(double *top1, struct qat *q, const struct mq_prepared *deployed,
                          struct mq_err *err) {
  const struct mq_evaluate_options options = {.points = deployed->points,
                                              .n_points = deployed->n_points,
                                              .slice_images = q->options->train.slice_images,
                                              .loader_threads = q->options->train.loader_threads,
                                              .label = "evaluate",
                                              .observing = q->observing};
  const struct mq_evaluation *e = &q->evaluation;
  mq_evaluation_deinit(&q->evaluation);
  mq_status status = mq_evaluate(&q->evaluation, deployed->graph, q->eval_data, &options, q->pool, err);
  if (status == MQ_OK) {
    *top1 = e->n_labelled > 0 ? (double)e->correct / (double)e->n_labelled : (double)NAN;
  }
  return status;
}

/* mq_train_options.evaluate: the deployed form as it would be handed over now. */
static mq_status judge(void *context, struct mq_trainer *trainer, double *top1, struct mq_err *err) {
  struct qat *q = context;
  struct mq_prepared deployed;
  mq_status status = mq_trainer_export(trainer, q->base, q->training.points, err);
  if (status == MQ_OK) {
    status = deploy(&deployed, q, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  status = record_ranges(q, &deployed, mq_trainer_steps(trainer), err);
  if (status == MQ_OK) {
    status = evaluate(top1, q, &deployed, err);
  }
  mq_prepared_deinit(&q->judged);
  q->judged = deployed;
  q->judged_step = status == MQ_OK ? mq_trainer_steps(trainer) : 0;
  return status;
}

/* ---- The whole ---------------------------------------------------------------------------------- */
/* mq_train wrote what it learned into the training form: on to the model, by name. */
static mq_status take_weights(struct qat *q, struct mq_err *err) {
  for (size_t i = 0; i < q->base->n_values; i++) {
    struct mq_value *to = q->base->values[i];
    const struct mq_value *from = to->constant ? mq_graph_find_value(q->training.graph, to->name) : NULL;
    if (!from || !from->constant) {
      continue; /* folded away, or no constant of the training form */
    }
    if (!mq_shape_equal(&from->shape, &to->shape) || from->dtype != to->dtype) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: constant %s has another shape in the training form",
                     q->base->name, to->name);
    }
    mq_tensor_copy(to->constant, from->constant);
  }
  return MQ_OK;
}

/* What was judged after the last step is what is handed over, with its judgement. */
static void take_judged(struct qat *q) {
  q->result->prepared = q->judged;
  q->result->evaluation = q->evaluation;
  q->result->is_evaluated = q->eval_data != NULL;
  q->judged = (struct mq_prepared){.graph = NULL};
  q->evaluation = (struct mq_evaluation){0};
}

static mq_status hand_over(struct qat *q, struct mq_err *err) {
  mq_status status = take_weights(q, err);
  if (status != MQ_OK) {
    return status;
  }
  mq_prepared_deinit(&q->result->prepared);
  if (q->judged_step != q->result->train.steps) { /* taken up after the last step */
    double top1;
    mq_prepared_deinit(&q->judged);
    status = deploy(&q->judged, q, err);
    if (status == MQ_OK && q->eval_data) {
      status = evaluate(&top1, q, &q->judged, err);
    }
  }
  if (status == MQ_OK) {
    take_judged(q);
  }
  return status;
}

mq_status mq_qat(struct mq_qat_result *result, const struct mq_graph *model, const struct mq_target *target,
                 struct mq_dataset *data, struct mq_dataset *eval_data, const struct mq_qat_options *options,
                 struct mq_pool *pool, struct mq_err *err) {
  struct qat q = {.options = options,
                  .target = target,
                  .prepare = training_options(options, target),
                  .data = data,
                  .eval_data = eval_data,
                  .pool = pool,
                  .result = result};
  struct mq_train_options train = options->train;
  train.context = &q;
  train.evaluate = eval_data ? judge : NULL;
  train.note = note_records;
  train.recall = recall_records;
  *result = (struct mq_qat_result){0};
  mq_status status = make_base(&q, model, err);
  if (status == MQ_OK) status = make_forms(&q, err);
  if (status == MQ_OK && options->is_handed_over) status = check_grids(&q, err);
  if (status == MQ_OK) {
    status = mq_train(&result->train, q.training.graph, q.training.points, q.training.n_points, data, &train,
                      pool, err);
  }
  if (status == MQ_OK && !result->train.is_diverged) { /* what is not finite cannot be folded */
    status = hand_over(&q, err);
  }
  if (status == MQ_OK) {
    result->trained = q.base;
    q.base = NULL;
  }
  mq_prepared_deinit(&q.training);
  mq_prepared_deinit(&q.judged);
  mq_evaluation_deinit(&q.evaluation);
  mq_observing_destroy(q.observing);
  mq_graph_destroy(q.base);
  mq_free(q.notes);
  if (status != MQ_OK) mq_qat_result_deinit(result);
  return status;
}

void mq_qat_result_deinit(struct mq_qat_result *result) {
  mq_prepared_deinit(&result->prepared);
  mq_graph_destroy(result->trained);
  mq_train_result_deinit(&result->train);
  mq_evaluation_deinit(&result->evaluation);
  for (size_t i = 0; i < result->n_records; i++) {
    mq_free(result->records[i].ranges);
  }
  mq_free(result->records);
  *result = (struct mq_qat_result){0};
}
