#include "tune/observation.h"

#include <math.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)4 << 20) /* states held at a time: few, so that they stay in cache */
#define CHUNK_SLICES_PER_WORKER 2     /* at least */
#define MOST_CHUNK_BYTES ((size_t)64 << 20)
#define LINE 64

mq_status tune_choose_observer(const struct mq_observer_ops **observer, struct mq_observer_config *config,
                               const struct mq_point *point, const struct mq_calibrate_options *options,
                               struct mq_err *err) {
  bool is_weight = point->kind != MQ_POINT_ACTIVATION;
  const char *name = is_weight ? options->w_observer : options->a_observer;
  double parameter = is_weight ? options->w_parameter : options->a_parameter;
  if (point->observer) {
    name = point->observer;
    parameter = NAN;
  }
  name = name ? name : "minmax";
  *observer = mq_observer_find(name);
  if (!*observer) {
    return mq_fail(err, MQ_BAD_USAGE, "observer %s is unknown (mqbench list observers)", name);
  }
  if (is_weight ? !(*observer)->is_for_weights : !(*observer)->is_for_activations) {
    return mq_fail(err, MQ_BAD_USAGE, "observer %s is not for %s (tensor %s)", name,
                   is_weight ? "weights" : "activations", point->tensor);
  }
  *config = (struct mq_observer_config){.scheme = point->scheme,
                                        .is_weight = is_weight,
                                        .is_published = options->is_published,
                                        .n_channels = is_weight ? point->n_channels : 1,
                                        .parameter = parameter,
                                        .parameter2 = NAN};
  return MQ_OK;
}

/* ---- Setting up --------------------------------------------------------------------------------- */
static size_t find_share(const struct tune_observation *o, size_t point) {
  const struct mq_point *points = o->prepared->points;
  for (size_t i = 0; i < point && points[point].share >= 0; i++) {
    if (points[i].share == points[point].share && o->unit_of[i] != SIZE_MAX) {
      return o->unit_of[i];
    }
  }
  return SIZE_MAX;
}

static mq_status add_unit(struct tune_observation *o, size_t point, const struct mq_value *value,
                          struct mq_err *err) {
  size_t shared = find_share(o, point);
  if (shared != SIZE_MAX) {
    o->unit_of[point] = shared;
    return MQ_OK;
  }
  struct tune_unit *unit = &o->units[o->n_units];
  mq_status status =
      tune_choose_observer(&unit->observer, &unit->config, &o->prepared->points[point], o->options, err);
  if (status != MQ_OK) {
    return status;
  }
  unit->config.is_network_input = value->is_input;
  unit->span = unit->observer->span ? unit->observer->span(&unit->config) : MQ_SPAN_SLICE;
  unit->state_bytes = (unit->observer->state_bytes(&unit->config) + LINE - 1) / LINE * LINE;
  unit->first_point = point;
  unit->running = mq_alloc(unit->state_bytes, 1);
  o->unit_of[point] = o->n_units++;
  return unit->running ? MQ_OK : mq_fail_memory(err, "observer");
}

static mq_status collect_units(struct tune_observation *o, const struct mq_node *const *nodes,
                               struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < o->prepared->n_points && status == MQ_OK; i++) {
    const struct mq_node *node = nodes[i];
    o->unit_of[i] = SIZE_MAX;
    if (!node || o->prepared->points[i].kind != MQ_POINT_ACTIVATION || node->inputs[0]->constant) {
      continue;
    }
    o->taps[o->n_taps] = node->inputs[0];
    o->tap_point[o->n_taps++] = i;
    status = add_unit(o, i, node->inputs[0], err);
  }
  return status;
}

static int64_t common_divisor(int64_t a, int64_t b) {
  while (b != 0) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

static mq_status init_feed(struct tune_observation *o, struct mq_dataset *data, struct mq_err *err) {
  const struct mq_calibrate_options *options = o->options;
  int64_t batch = options->batch > 0 ? options->batch : 32;
  int64_t slice = options->slice_images > 0 ? options->slice_images : 8;
  struct tune_feed_options feed = {.indices = options->indices,
                                   .n_images = options->n_indices,
                                   .slice_images = common_divisor(batch, slice)};
  mq_status status = tune_feed_init(&o->feed, o->prepared->graph, data, &feed, err);
  if (status != MQ_OK) {
    return status;
  }
  o->batch_slices = (size_t)(batch / o->feed.slice_images);
  o->batch_slices = o->batch_slices ? o->batch_slices : 1;
  o->n_batches = (o->feed.n_slices + o->batch_slices - 1) / o->batch_slices;
  return MQ_OK;
}

/* ---- States -------------------------------------------------------------------------------------- */
/* How many a unit has for each batch of a chunk. */
static size_t states_per_batch(const struct tune_observation *o, const struct tune_unit *unit) {
  bool is_shared = unit->span == MQ_SPAN_BATCH && o->n_workers < o->batch_slices;
  return is_shared ? o->n_workers : o->batch_slices;
}

static size_t states_per_chunk(const struct tune_observation *o, const struct tune_unit *unit) {
  return unit->span == MQ_SPAN_ALL ? o->n_workers : o->chunk_batches * states_per_batch(o, unit);
}

static char *state_at(const struct tune_observation *o, const struct tune_unit *unit, size_t index) {
  return o->states + unit->offset + index * unit->state_bytes;
}

/* Where a worker observes a slice of the chunk: nobody else does at the same time. */
static char *state_of(const struct tune_observation *o, const struct tune_unit *unit, size_t slice,
                      unsigned worker) {
  size_t per_batch = states_per_batch(o, unit);
  if (unit->span == MQ_SPAN_ALL) {
    return state_at(o, unit, worker);
  }
  return state_at(o, unit,
                  per_batch == o->batch_slices ? slice : slice / o->batch_slices * per_batch + worker);
}

static void start_states(const struct tune_observation *o, const struct tune_unit *unit, size_t first,
                         size_t n) {
  memset(state_at(o, unit, first), 0, n * unit->state_bytes);
  for (size_t i = 0; i < n; i++) {
    unit->observer->init(state_at(o, unit, first + i), &unit->config);
  }
}

/* Observers that need no batches need no chunks either. */
static void choose_chunk(struct tune_observation *o) {
  size_t batch_bytes = 0, least;
  for (size_t i = 0; i < o->n_units; i++) {
    const struct tune_unit *unit = &o->units[i];
    batch_bytes += unit->span == MQ_SPAN_ALL ? 0 : states_per_batch(o, unit) * unit->state_bytes;
  }
  least = (CHUNK_SLICES_PER_WORKER * o->n_workers + o->batch_slices - 1) / o->batch_slices;
  o->chunk_batches = o->n_batches;
  if (batch_bytes > 0) {
    size_t batches = CHUNK_BYTES / batch_bytes, most = MOST_CHUNK_BYTES / batch_bytes;
    batches = batches < least ? least : batches;
    batches = batches > most ? most : batches;
    o->chunk_batches = batches > o->n_batches ? o->n_batches : batches;
  }
  o->chunk_batches = o->chunk_batches ? o->chunk_batches : 1;
}

static mq_status init_states(struct tune_observation *o, struct mq_err *err) {
  size_t bytes = 0;
  choose_chunk(o);
  for (size_t i = 0; i < o->n_units; i++) {
    o->units[i].offset = bytes;
    bytes += states_per_chunk(o, &o->units[i]) * o->units[i].state_bytes;
  }
  o->states = mq_alloc(bytes + 1, 1);
  if (!o->states) {
    return mq_fail_memory(err, "observers");
  }
  for (size_t i = 0; i < o->n_units; i++) {
    start_states(o, &o->units[i], 0, states_per_chunk(o, &o->units[i]));
    o->units[i].observer->init(o->units[i].running, &o->units[i].config);
  }
  return MQ_OK;
}

mq_status tune_observation_init(struct tune_observation *o, struct mq_prepared *prepared,
                                struct mq_dataset *data, const struct mq_node *const *nodes,
                                const struct mq_calibrate_options *options, struct mq_pool *pool,
                                struct mq_err *err) {
  size_t n = prepared->n_points + 1;
  *o =
      (struct tune_observation){.prepared = prepared, .options = options, .n_workers = mq_pool_workers(pool)};
  o->units = mq_alloc(n, sizeof *o->units);
  o->unit_of = mq_alloc(n, sizeof *o->unit_of);
  o->taps = mq_alloc(n, sizeof *o->taps);
  o->tap_point = mq_alloc(n, sizeof *o->tap_point);
  o->dense = mq_alloc(o->n_workers, sizeof *o->dense);
  o->dense_elements = mq_alloc(o->n_workers, sizeof *o->dense_elements);
  bool is_whole = o->units && o->unit_of && o->taps && o->tap_point && o->dense && o->dense_elements;
  mq_status status = is_whole ? collect_units(o, nodes, err) : mq_fail_memory(err, "observers");
  if (status == MQ_OK) {
    status = init_feed(o, data, err);
  }
  if (status == MQ_OK) {
    status = init_states(o, err);
  }
  if (status != MQ_OK) {
    tune_observation_deinit(o);
  }
  return status;
}

void tune_observation_deinit(struct tune_observation *o) {
  for (size_t i = 0; i < o->n_units; i++) {
    mq_free(o->units[i].running);
  }
  for (unsigned i = 0; i < o->n_workers && o->dense; i++) {
    mq_free(o->dense[i]);
  }
  tune_feed_deinit(&o->feed);
  mq_free(o->units);
  mq_free(o->unit_of);
  mq_free(o->taps);
  mq_free(o->tap_point);
  mq_free(o->states);
  mq_free(o->dense);
  mq_free(o->dense_elements);
  *o = (struct tune_observation){0};
}

/* ---- A slice ------------------------------------------------------------------------------------ */
static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                      struct mq_err *err) {
  (void)worker;
  struct tune_observation *o = context;
  mq_progress_add(&o->progress, (uint64_t)tune_feed_valid(&o->feed, slice));
  return tune_feed_fill(&o->feed, slice, inputs, NULL, err);
}

/* Does each image lie in one piece? The order within does not matter to an observer, only that it is fixed.
 */
static bool is_rows(const struct mq_tensor *value, int64_t row_count) {
  int64_t expected = 1;
  bool is_counted[MQ_MAX_RANK] = {false};
  for (;;) {
    int next = -1;
    for (int i = 1; i < value->shape.rank; i++) {
      if (!is_counted[i] && value->shape.dim[i] > 1 && value->stride[i] == expected) {
        next = i;
      }
    }
    if (next < 0) {
      return expected == row_count && (value->shape.dim[0] == 1 || value->stride[0] >= row_count);
    }
    is_counted[next] = true;
    expected *= value->shape.dim[next];
  }
}

static mq_status make_dense(struct mq_tensor *dense, struct tune_observation *o, unsigned worker,
                            const struct mq_tensor *value, struct mq_err *err) {
  size_t n = (size_t)mq_shape_count(&value->shape);
  if (o->dense_elements[worker] < n) {
    mq_free(o->dense[worker]);
    o->dense_elements[worker] = 0;
    o->dense[worker] = mq_alloc(n, sizeof(float));
    if (!o->dense[worker]) {
      return mq_fail_memory(err, "observed values");
    }
    o->dense_elements[worker] = n;
  }
  *dense = mq_tensor_view(o->dense[worker], MQ_F32, &value->shape, NULL);
  mq_tensor_copy(dense, value);
  return MQ_OK;
}

static mq_status tap(void *context, size_t slice, unsigned worker, size_t index, int64_t first_image,
                     const struct mq_tensor *value, struct mq_err *err) {
  struct tune_observation *o = context;
  const struct tune_unit *unit = &o->units[o->unit_of[o->tap_point[index]]];
  const struct mq_shape *shape = &o->taps[index]->shape;
  int64_t n = mq_shape_count(&value->shape), n_rows = tune_feed_valid(&o->feed, slice) - first_image;
  bool has_images = shape->rank > 0 && shape->dim[0] == MQ_DIM_BATCH;
  struct mq_tensor rows = *value;
  if (n == 0 || (has_images ? n_rows <= 0 : first_image > 0)) {
    return MQ_OK;
  }
  int64_t row_count = has_images ? n / value->shape.dim[0] : n;
  n_rows = has_images && n_rows < value->shape.dim[0] ? n_rows : has_images ? value->shape.dim[0] : 1;
  mq_status status = MQ_OK;
  if (!has_images || !is_rows(value, row_count)) {
    status = make_dense(&rows, o, worker, value, err);
  }
  if (status == MQ_OK) {
    unit->observer->observe(state_of(o, unit, slice, worker), &unit->config, rows.data, n_rows, row_count,
                            has_images ? rows.stride[0] : row_count);
  }
  return status;
}

/* ---- Batches ------------------------------------------------------------------------------------ */
struct fold {
  struct tune_observation *o;
  size_t first_batch, n_slices; /* of the chunk */
  bool is_last;
};

/* Merges states first..first+n into the first one, as a binary tree. */
static void merge_tree(const struct tune_observation *o, const struct tune_unit *unit, size_t first,
                       size_t n) {
  for (size_t step = 1; step < n; step *= 2) {
    for (size_t i = 0; i + step < n; i += 2 * step) {
      unit->observer->merge(state_at(o, unit, first + i), state_at(o, unit, first + i + step), &unit->config);
    }
  }
}

static void fold_states(const struct tune_observation *o, const struct tune_unit *unit, size_t first,
                        size_t n, bool is_first) {
  merge_tree(o, unit, first, n);
  unit->observer->batch_end(unit->running, state_at(o, unit, first), &unit->config, is_first);
}

/* One unit's batches of the chunk, in order: units are independent of each other. */
static mq_status fold_unit(void *context, size_t task, unsigned worker, struct mq_err *err) {
  (void)worker;
  (void)err;
  const struct fold *fold = context;
  const struct tune_observation *o = fold->o;
  const struct tune_unit *unit = &o->units[task];
  size_t per_batch = states_per_batch(o, unit), batch = 0, n_states = states_per_chunk(o, unit);
  if (unit->span == MQ_SPAN_ALL) {
    if (fold->is_last) {
      fold_states(o, unit, 0, n_states, true);
    }
    return MQ_OK;
  }
  for (size_t first = 0; first < fold->n_slices; first += o->batch_slices, batch++) {
    fold_states(o, unit, batch * per_batch, per_batch, fold->first_batch + batch == 0);
  }
  if (!fold->is_last) {
    start_states(o, unit, 0, batch * per_batch);
  }
  return MQ_OK;
}

static mq_status run_chunk(struct tune_observation *o, struct mq_engine *engine, size_t first_batch,
                           struct mq_pool *pool, struct mq_err *err) {
  size_t first = first_batch * o->batch_slices, n = o->chunk_batches * o->batch_slices;
  n = o->feed.n_slices - first < n ? o->feed.n_slices - first : n;
  o->feed.first_slice = first;
  struct mq_engine_job job = {.context = o, .n_slices = n, .fill = fill, .tap = tap};
  mq_status status = mq_engine_run(engine, &job, err);
  if (status != MQ_OK) {
    return status;
  }
  struct fold fold = {
      .o = o, .first_batch = first_batch, .n_slices = n, .is_last = first + n == o->feed.n_slices};
  return mq_pool_run(pool, o->n_units, fold_unit, &fold, err);
}

mq_status tune_observation_run(struct tune_observation *o, struct mq_pool *pool, struct mq_err *err) {
  struct mq_engine *engine;
  struct mq_engine_options options = {
      .slice_images = o->feed.slice_images, .taps = o->taps, .n_taps = o->n_taps};
  mq_status status = mq_engine_create(&engine, o->prepared->graph, &options, pool, err);
  mq_progress_init(&o->progress, "calibrate", (uint64_t)o->feed.n_images);
  for (size_t batch = 0; batch < o->n_batches && status == MQ_OK; batch += o->chunk_batches) {
    status = run_chunk(o, engine, batch, pool, err);
  }
  mq_progress_end(&o->progress);
  mq_engine_destroy(engine);
  return status;
}
