/* Evaluation in which the observers of activations go on. A batch is run until the ranges of all watched
 * points are known for it: those of a point depend on the values before it alone, so in the order of the
 * graph each is found from a run in which all before it are final. Then it runs once more for its outputs. */
#include "tune/observing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mqbench/kernel.h"
#include "tune/points.h"

/* A point as training left it. */
struct watched {
  size_t point, position; /* position: of its node in the graph */
  const struct mq_quantizer_ops *ops;
  struct mq_quantizer_config config;
  struct mq_scheme scheme; /* of the point, before sign adaptation */
  float *parameters;
  size_t n_parameters;
};

struct mq_observing {
  struct watched *watched; /* by position */
  size_t n;
  int64_t batch;
};

/* A watched point while it is evaluated. */
struct live {
  const struct watched *from;
  struct mq_quantizer_config config;
  float *parameters;
  struct mq_qparams qparams;
  size_t n_statistics;
  double *statistics; /* of each slice of the batch */
  float *least;       /* the least value of each */
};

struct observed_run {
  const struct mq_observing *observing;
  const struct mq_graph *graph;
  struct mq_engine_options options;
  const struct mq_engine_job *job;
  const struct tune_feed *feed;
  struct mq_pool *pool;
  struct mq_point *points; /* copies, with live ranges */
  const struct mq_value **taps;
  struct live *live;
  size_t batch_slices, first, n_slices; /* the batch under way */
};

/* ---- What is watched ------------------------------------------------------------------------------------
 */
static int compare_positions(const void *a, const void *b) {
  const struct watched *x = a, *y = b;
  return (x->position > y->position) - (x->position < y->position);
}

static size_t position_of(const struct mq_graph *graph, const struct mq_node *node) {
  size_t i = 0;
  while (graph->nodes[i] != node)
    i++;
  return i;
}

static mq_status add_watched(struct mq_observing *o, const struct mq_prepared *prepared, size_t index,
                             const struct mq_node *node, struct mq_err *err) {
  const struct mq_point *point = &prepared->points[index];
  struct watched *w = &o->watched[o->n++];
  *w = (struct watched){.point = index,
                        .position = position_of(prepared->graph, node),
                        .ops = point->quantizer,
                        .config = point->quantizer_config,
                        .scheme = point->scheme};
  w->n_parameters = mq_quantizer_parameter_total(w->ops, &w->config);
  w->parameters = mq_alloc(w->n_parameters + 1, sizeof(float));
  if (!w->parameters) {
    return mq_fail_memory(err, "observers");
  }
  memcpy(w->parameters, point->parameters, w->n_parameters * sizeof(float));
  return MQ_OK;
}

mq_status mq_observing_create(struct mq_observing **observing, const struct mq_prepared *learned,
                              int64_t batch, struct mq_err *err) {
  const struct mq_node **nodes = mq_alloc(learned->n_points + 1, sizeof *nodes);
  struct mq_observing *o = mq_alloc(1, sizeof *o);
  mq_status status = MQ_OK;
  *observing = NULL;
  if (o) {
    *o = (struct mq_observing){.batch = batch};
    o->watched = mq_alloc(learned->n_points + 1, sizeof *o->watched);
  }
  if (!nodes || !o || !o->watched) {
    status = mq_fail_memory(err, "observers");
    goto done;
  }
  status = tune_find_nodes(nodes, learned, err);
  for (size_t i = 0; i < learned->n_points && status == MQ_OK; i++) {
    const struct mq_point *point = &learned->points[i];
    bool is_watched = point->kind == MQ_POINT_ACTIVATION && point->quantizer && point->share < 0 && nodes[i];
    if (is_watched && !nodes[i]->inputs[0]->constant) {
      status = add_watched(o, learned, i, nodes[i], err);
    }
  }
  if (status == MQ_OK) {
    qsort(o->watched, o->n, sizeof *o->watched, compare_positions);
  }
done:
  mq_free(nodes);
  if (status != MQ_OK) {
    mq_observing_destroy(o);
    return status;
  }
  *observing = o;
  return MQ_OK;
}

void mq_observing_destroy(struct mq_observing *o) {
  if (!o) {
    return;
  }
  for (size_t i = 0; i < o->n; i++) {
    mq_free(o->watched[i].parameters);
  }
  mq_free(o->watched);
  mq_free(o);
}

/* ---- A batch's range ------------------------------------------------------------------------------------
 */
/* May its range take in negative values, though those it was calibrated on had none? */
static bool may_turn(const struct live *live) {
  const struct mq_scheme *scheme = &live->from->scheme;
  return live->config.is_non_negative && (!scheme->is_symmetric || scheme->is_sign_adaptive);
}

/* The quantizer as it would be had there been negative values: the lower end begins as at its creation. */
static mq_status turn(struct live *live, struct mq_err *err) {
  struct mq_quantizer_config config = live->config;
  config.is_non_negative = false;
  config.scheme.is_signed = config.scheme.is_signed || config.scheme.is_symmetric;
  float *parameters = mq_alloc(mq_quantizer_parameter_total(live->from->ops, &config) + 1, sizeof(float));
  mq_status status = parameters ? MQ_OK : mq_fail_memory(err, "observers");
  if (status == MQ_OK) {
    status = live->from->ops->init(parameters, &config, &live->qparams, NULL, 0, 0, err);
  }
  if (status != MQ_OK) {
    mq_free(parameters);
    return status;
  }
  memcpy(parameters, live->parameters, live->from->n_parameters * sizeof(float));
  mq_free(live->parameters);
  live->parameters = parameters;
  live->config = config;
  return MQ_OK;
}

static bool is_same_grid(const struct mq_qparams *a, const struct mq_qparams *b) {
  return memcmp(a->scale, b->scale, sizeof *a->scale) == 0 && a->zero_point[0] == b->zero_point[0] &&
         a->quant_min == b->quant_min && a->quant_max == b->quant_max;
}

/* As the quantizer does in a step of training, without a gradient. */
static mq_status derive(struct mq_qparams *q, struct live *live, size_t n_slices, struct mq_err *err) {
  const struct mq_quantizer_ops *ops = live->from->ops;
  double *form = mq_alloc(ops->form_count(&live->config) + 1, sizeof *form);
  double *statistics = live->n_statistics > 0 ? live->statistics : NULL;
  if (!form) {
    return mq_fail_memory(err, "observers");
  }
  for (size_t s = 1; s < n_slices && statistics; s++) {
    ops->merge(statistics, statistics + s * live->n_statistics, &live->config);
  }
  ops->derive(form, &live->config, live->parameters, statistics, NULL);
  if (statistics && ops->update) {
    ops->update(live->parameters, &live->config, form, statistics, NULL);
  }
  (void)ops->grid(q, &live->config, form);
  mq_free(form);
  return MQ_OK;
}

static mq_status settle(bool *is_changed, struct live *live, size_t n_slices, struct mq_err *err) {
  struct mq_qparams q = {0};
  float least = INFINITY;
  for (size_t s = 0; s < n_slices; s++) {
    least = fminf(least, live->least[s]);
  }
  mq_status status = may_turn(live) && least < 0 ? turn(live, err) : MQ_OK;
  if (status == MQ_OK) {
    status = mq_qparams_init(&q, 1, -1, err);
  }
  if (status == MQ_OK) {
    q.is_non_negative = live->config.is_non_negative;
    status = derive(&q, live, n_slices, err);
  }
  if (status == MQ_OK) {
    *is_changed = !is_same_grid(&q, &live->qparams);
    mq_qparams_deinit(&live->qparams);
    live->qparams = q;
    q = (struct mq_qparams){0};
  }
  mq_qparams_deinit(&q);
  return status;
}

/* ---- Running --------------------------------------------------------------------------------------------
 */
static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                      struct mq_err *err) {
  const struct observed_run *run = context;
  return run->job->fill(run->job->context, run->first + slice, worker, inputs, err);
}

static mq_status take(void *context, size_t slice, unsigned worker, const struct mq_tensor *outputs,
                      struct mq_err *err) {
  const struct observed_run *run = context;
  return run->job->take(run->job->context, run->first + slice, worker, outputs, err);
}

/* Images that only fill the last slice up do not count. */
static mq_status tap(void *context, size_t slice, unsigned worker, size_t index, int64_t first_image,
                     const struct mq_tensor *value, struct mq_err *err) {
  (void)worker;
  const struct observed_run *run = context;
  struct live *live = &run->live[index];
  int64_t n = value->shape.dim[0], n_valid = tune_feed_valid(run->feed, run->first + slice) - first_image;
  n_valid = n_valid < n ? n_valid : n;
  if (n_valid <= 0) {
    return MQ_OK;
  }
  int64_t count = mq_shape_count(&value->shape) / n;
  float least, most, *dense = mq_alloc((size_t)(n * count) + 1, sizeof *dense);
  if (!dense) {
    return mq_fail_memory(err, "observed values");
  }
  struct mq_tensor to = mq_tensor_view(dense, MQ_F32, &value->shape, NULL);
  mq_tensor_copy(&to, value);
  mq_loop_min_max(&least, &most, dense, n_valid * count);
  live->least[slice] = fminf(live->least[slice], least);
  if (live->n_statistics > 0) {
    live->from->ops->observe(live->statistics + slice * live->n_statistics, &live->config, dense, n_valid,
                             count);
  }
  mq_free(dense);
  return MQ_OK;
}

static mq_status run_batch(struct observed_run *run, bool is_final, struct mq_err *err) {
  struct mq_engine *engine = NULL;
  struct mq_engine_options options = run->options;
  const struct mq_engine_job job = {.context = run,
                                    .n_slices = run->n_slices,
                                    .fill = fill,
                                    .take = is_final ? take : NULL,
                                    .tap = is_final ? NULL : tap};
  options.taps = is_final ? NULL : run->taps;
  options.n_taps = is_final ? 0 : run->observing->n;
  for (size_t i = 0; i < run->observing->n; i++) {
    struct live *live = &run->live[i];
    run->points[live->from->point].qparams = live->qparams; /* borrowed */
    memset(live->statistics, 0, run->batch_slices * live->n_statistics * sizeof *live->statistics);
    for (size_t s = 0; s < run->batch_slices; s++) {
      live->least[s] = INFINITY;
    }
  }
  mq_status status = mq_engine_create(&engine, run->graph, &options, run->pool, err);
  if (status == MQ_OK) {
    status = mq_engine_run(engine, &job, err);
  }
  mq_engine_destroy(engine);
  return status;
}

/* Points from `n_settled` on, as far as the last run's values before them are final. */
static mq_status settle_points(size_t *n_settled, struct observed_run *run, struct mq_err *err) {
  bool is_changed = false;
  mq_status status = MQ_OK;
  while (status == MQ_OK && *n_settled < run->observing->n && !is_changed) {
    status = settle(&is_changed, &run->live[*n_settled], run->n_slices, err);
    ++*n_settled;
  }
  return status;
}

static mq_status observe_batch(struct observed_run *run, struct mq_err *err) {
  size_t n_settled = 0;
  mq_status status = MQ_OK;
  while (status == MQ_OK && n_settled < run->observing->n) {
    status = run_batch(run, false, err);
    if (status == MQ_OK) {
      status = settle_points(&n_settled, run, err);
    }
  }
  return status == MQ_OK ? run_batch(run, true, err) : status;
}

/* ---- The whole ------------------------------------------------------------------------------------------
 */
static mq_status begin_live(struct live *live, const struct watched *from, const struct mq_point *point,
                            size_t batch_slices, struct mq_err *err) {
  *live = (struct live){.from = from, .config = from->config};
  live->n_statistics = from->ops->statistics_count ? from->ops->statistics_count(&from->config) : 0;
  live->parameters = mq_alloc(from->n_parameters + 1, sizeof(float));
  live->statistics = mq_alloc(batch_slices * live->n_statistics + 1, sizeof(double));
  live->least = mq_alloc(batch_slices, sizeof(float));
  if (!live->parameters || !live->statistics || !live->least) {
    return mq_fail_memory(err, "observers");
  }
  memcpy(live->parameters, from->parameters, from->n_parameters * sizeof(float));
  return mq_qparams_copy(&live->qparams, &point->qparams, err);
}

static mq_status begin(struct observed_run *run, struct mq_err *err) {
  const struct mq_observing *o = run->observing;
  size_t n_points = run->options.n_points;
  run->points = mq_alloc(n_points + 1, sizeof *run->points);
  run->taps = mq_alloc(o->n + 1, sizeof *run->taps);
  run->live = mq_alloc(o->n + 1, sizeof *run->live);
  if (!run->points || !run->taps || !run->live) {
    return mq_fail_memory(err, "observers");
  }
  memcpy(run->points, run->options.points, n_points * sizeof *run->points);
  mq_status status = MQ_OK;
  for (size_t i = 0; i < o->n && status == MQ_OK; i++) {
    const struct watched *w = &o->watched[i];
    run->taps[i] = run->graph->nodes[w->position]->inputs[0];
    status = begin_live(&run->live[i], w, &run->points[w->point], run->batch_slices, err);
  }
  run->options.points = run->points;
  return status;
}

static void end(struct observed_run *run) {
  for (size_t i = 0; i < run->observing->n && run->live; i++) {
    mq_free(run->live[i].parameters);
    mq_free(run->live[i].statistics);
    mq_free(run->live[i].least);
    mq_qparams_deinit(&run->live[i].qparams);
  }
  mq_free(run->live);
  mq_free(run->taps);
  mq_free(run->points);
}

mq_status tune_observing_run(const struct mq_observing *observing, const struct mq_graph *graph,
                             const struct mq_engine_options *options, const struct mq_engine_job *job,
                             const struct tune_feed *feed, struct mq_pool *pool, struct mq_err *err) {
  int64_t slices = (observing->batch + feed->slice_images - 1) / feed->slice_images;
  struct observed_run run = {.observing = observing,
                             .graph = graph,
                             .options = *options,
                             .job = job,
                             .feed = feed,
                             .pool = pool,
                             .batch_slices = slices > 0 ? (size_t)slices : 1};
  mq_status status = begin(&run, err);
  for (; status == MQ_OK && run.first < feed->n_slices; run.first += run.batch_slices) {
    size_t left = feed->n_slices - run.first;
    run.n_slices = left < run.batch_slices ? left : run.batch_slices;
    status = observe_batch(&run, err);
  }
  end(&run);
  return status;
}
