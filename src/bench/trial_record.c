/* What a trial found, into its run. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "bench/training.h"
#include "bench/trial.h"

double mq_trial_share(int64_t part, int64_t whole) {
  return whole > 0 ? (double)part / (double)whole : (double)NAN;
}

mq_status mq_trial_record_evaluation(struct trial *t, struct mq_err *err) {
  const struct mq_evaluation *e = &t->evaluation;
  struct mq_run *run = &t->result->run;
  run->images = e->n_images;
  run->loss = e->loss;
  run->eval_seconds = e->seconds;
  run->status = e->is_finite ? "done" : "nc";
  if (!e->is_finite) {
    run->message = "a pixel, weight or logit is not finite";
  }
  if (e->n_labelled == 0) {
    return MQ_OK;
  }
  run->correct = e->correct;
  run->top1 = mq_trial_share(e->correct, e->n_labelled);
  run->top5 = mq_trial_share(e->correct5, e->n_labelled);
  size_t bytes = (size_t)(e->n_images + 7) / 8;
  if (mq_cell_trains(t->cell) && e->is_finite &&
      mq_train_is_chance(e->correct, e->n_labelled, mq_dataset_get_info(t->eval->dataset)->n_classes)) {
    run->status = "nc";
    run->message = "the accuracy is not above what guessing reaches (99.9% bound)";
  }
  uint8_t *bits = mq_arena_alloc(t->arena, bytes ? bytes : 1, 1);
  if (!bits) {
    return mq_fail_memory(err, "run");
  }
  memcpy(bits, e->is_correct, bytes);
  run->is_correct = bits;
  return MQ_OK;
}

mq_status mq_trial_record_points(struct trial *t, struct mq_err *err) {
  static const char *const kinds[] = {
      [MQ_POINT_WEIGHT] = "weight", [MQ_POINT_ACTIVATION] = "activation", [MQ_POINT_BIAS] = "bias"};
  size_t n = t->prepared.n_points;
  struct mq_run_point *points = mq_arena_alloc(t->arena, n ? n : 1, sizeof *points);
  if (!points) {
    return mq_fail_memory(err, "points of a run");
  }
  for (size_t i = 0; i < n; i++) {
    const struct mq_point *from = &t->prepared.points[i];
    size_t n_channels = (size_t)from->qparams.n_channels;
    float *scale = mq_arena_alloc(t->arena, n_channels ? n_channels : 1, sizeof *scale);
    int32_t *zero_point = mq_arena_alloc(t->arena, n_channels ? n_channels : 1, sizeof *zero_point);
    points[i] = (struct mq_run_point){.tensor = mq_arena_strdup(t->arena, from->tensor),
                                      .kind = kinds[from->kind],
                                      .bits = from->scheme.bits,
                                      .scale = scale,
                                      .zero_point = zero_point,
                                      .n_channels = from->qparams.n_channels};
    if (!scale || !zero_point || !points[i].tensor) {
      return mq_fail_memory(err, "points of a run");
    }
    if (n_channels) {
      memcpy(scale, from->qparams.scale, n_channels * sizeof *scale);
      memcpy(zero_point, from->qparams.zero_point, n_channels * sizeof *zero_point);
    }
    mq_qparams_clip_range(&points[i].lo, &points[i].hi, &from->qparams);
  }
  t->result->points = points;
  t->result->n_points = n;
  return MQ_OK;
}

/* ---- Bit by bit ------------------------------------------------------------------------------------- */
static void hash_floats(struct mq_sha256 *hash, const char *name, const void *data, size_t bytes) {
  mq_sha256_update(hash, name, strlen(name) + 1);
  mq_sha256_update(hash, data, bytes);
}

static void hash_graph(struct mq_sha256 *hash, const struct mq_graph *graph) {
  for (size_t i = 0; i < graph->n_values; i++) {
    const struct mq_tensor *constant = graph->values[i]->constant;
    if (constant && constant->dtype == MQ_F32) {
      hash_floats(hash, graph->values[i]->name, constant->data,
                  (size_t)mq_shape_count(&constant->shape) * sizeof(float));
    }
  }
}

mq_status mq_trial_record_result(struct trial *t, struct mq_err *err) {
  struct mq_sha256 *hash = NULL;
  char hex[65];
  mq_status status = mq_sha256_create(&hash, err);
  if (status != MQ_OK) {
    return status;
  }
  const struct mq_graph *measured = t->trained ? t->trained : t->model->graph;
  hash_graph(hash, t->is_prepared ? t->prepared.graph : measured);
  for (size_t i = 0; t->is_prepared && i < t->prepared.n_points; i++) {
    const struct mq_point *point = &t->prepared.points[i];
    size_t n = (size_t)point->qparams.n_channels;
    if (n == 0) continue;
    hash_floats(hash, point->tensor, point->qparams.scale, n * sizeof *point->qparams.scale);
    mq_sha256_update(hash, point->qparams.zero_point, n * sizeof *point->qparams.zero_point);
  }
  mq_sha256_finish(hex, hash);
  t->result->run.result_sha256 = mq_arena_strdup(t->arena, hex);
  return t->result->run.result_sha256 ? MQ_OK : mq_fail_memory(err, "run");
}
