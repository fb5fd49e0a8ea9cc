/* From images to scales: the float graph runs once with every activation point observed, then all points are
 * answered, activations first because an int32 bias needs their scales. */
#include <math.h>
#include <string.h>

#include "tune/observation.h"
#include "tune/points.h"

/* An observer knows no names. */
static mq_status name_tensor(mq_status status, const struct mq_point *point, struct mq_err *err) {
  if (status == MQ_OK || !err) {
    return status;
  }
  struct mq_err inner = *err;
  return mq_fail(err, status, "tensor %s: %.800s", point->tensor, inner.message);
}

/* ---- Activations -------------------------------------------------------------------------------- */
static mq_status answer_unit(void *context, size_t task, unsigned worker, struct mq_err *err) {
  (void)worker;
  const struct tune_observation *o = context;
  const struct tune_unit *unit = &o->units[task];
  struct mq_point *point = &o->prepared->points[unit->first_point];
  mq_qparams_deinit(&point->qparams);
  mq_status status = mq_qparams_init(&point->qparams, 1, -1, err);
  if (status == MQ_OK) {
    status = unit->observer->answer(&point->qparams, unit->running, &unit->config, NULL, 0, NULL, err);
  }
  return name_tensor(status, point, err);
}

static mq_status share_answers(const struct tune_observation *o, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < o->prepared->n_points && status == MQ_OK; i++) {
    if (o->unit_of[i] == SIZE_MAX || o->units[o->unit_of[i]].first_point == i) {
      continue;
    }
    struct mq_point *point = &o->prepared->points[i];
    mq_qparams_deinit(&point->qparams);
    status = mq_qparams_copy(&point->qparams,
                             &o->prepared->points[o->units[o->unit_of[i]].first_point].qparams, err);
  }
  return status;
}

/* ---- Weights (and constants that are activations of their consumers) ---------------------------- */
struct weights_run {
  struct mq_prepared *prepared;
  const struct mq_node *const *nodes;
  const struct mq_calibrate_options *options;
};

static mq_status answer_constant(void *context, size_t index, unsigned worker, struct mq_err *err) {
  (void)worker;
  const struct weights_run *run = context;
  struct mq_point *point = &run->prepared->points[index];
  const struct mq_node *node = run->nodes[index];
  const struct mq_observer_ops *observer;
  struct mq_observer_config config;
  const float *rows;
  float *owned = NULL, *least = NULL;
  int64_t row_count;
  if (!node || !node->inputs[0]->constant) {
    return MQ_OK;
  }
  mq_status status = tune_choose_observer(&observer, &config, point, run->options, err);
  if (status == MQ_OK) {
    status = tune_least_scales(&least, run->prepared, node, point, run->options->bias, err);
  }
  if (status == MQ_OK) {
    status = tune_weight_rows(&rows, &owned, &row_count, node->inputs[0]->constant, point->n_channels,
                              point->channel_axis, err);
  }
  if (status == MQ_OK) {
    mq_qparams_deinit(&point->qparams);
    status = mq_qparams_init(&point->qparams, point->n_channels, point->channel_axis, err);
  }
  if (status == MQ_OK) {
    status = mq_observe_weights(&point->qparams, observer, &config, rows, row_count, least, err);
    status = name_tensor(status, point, err);
  }
  mq_free(owned);
  mq_free(least);
  return status;
}

/* ---- All of it ---------------------------------------------------------------------------------- */
static mq_status check_options(const struct mq_calibrate_options *options, struct mq_err *err) {
  if (options->n_indices < 1) {
    return mq_fail(err, MQ_BAD_USAGE, "calibration needs at least one image, found %lld",
                   (long long)options->n_indices);
  }
  return MQ_OK;
}

mq_status mq_calibrate(struct mq_calibrate_result *result, struct mq_prepared *prepared,
                       struct mq_dataset *data, const struct mq_calibrate_options *options,
                       struct mq_pool *pool, struct mq_err *err) {
  double start = mq_now();
  struct tune_observation observation = {0};
  const struct mq_node **nodes = mq_alloc(prepared->n_points + 1, sizeof *nodes);
  *result = (struct mq_calibrate_result){.n_images = options->n_indices};
  mq_status status = nodes ? check_options(options, err) : mq_fail_memory(err, "points");
  if (status == MQ_OK) {
    status = mq_check_model_data(prepared->graph, data, err);
  }
  if (status == MQ_OK) {
    status = tune_find_nodes(nodes, prepared, err);
  }
  if (status == MQ_OK) {
    status = tune_observation_init(&observation, prepared, data, nodes, options, pool, err);
  }
  if (status == MQ_OK) {
    status = tune_observation_run(&observation, pool, err);
  }
  if (status == MQ_OK) {
    status = mq_pool_run(pool, observation.n_units, answer_unit, &observation, err);
  }
  if (status == MQ_OK) {
    status = share_answers(&observation, err);
  }
  if (status == MQ_OK) {
    struct weights_run weights = {.prepared = prepared, .nodes = nodes, .options = options};
    status = mq_pool_run(pool, prepared->n_points, answer_constant, &weights, err);
  }
  tune_observation_deinit(&observation);
  mq_free(nodes);
  result->seconds = mq_now() - start;
  return status;
}
