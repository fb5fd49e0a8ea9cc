/* A simulation that is watched: every point and every output, image by image. */
#include "tune/exact.h"
#include "tune/feed.h"

/* What one tap of the engine shows. */
struct view {
  const struct mq_point *point; /* NULL: an output */
  const char *tensor;
  const struct mq_value *value;
  int batch_dim; /* -1: none */
  int64_t count; /* elements of an image */
};

struct see_run {
  const struct mq_see_options *options;
  struct tune_feed feed;
  struct view *views;
  const struct mq_value **taps; /* of the views */
  size_t n_views;
  void **memory; /* of each worker: codes, then values of one image */
  int64_t largest;
};

/* ---- What there is to see ------------------------------------------------------------------------- */
static const struct mq_point *point_of(const struct mq_node *node, const struct mq_see_options *options) {
  int64_t index = -1;
  if (!node || node->op != MQ_OP_FakeQuantize || node->inputs[0]->constant ||
      mq_node_get_int(&index, node, "point", -1, NULL) != MQ_OK || index < 0 ||
      (uint64_t)index >= options->n_points || options->points[index].qparams.n_channels == 0) {
    return NULL;
  }
  return &options->points[index];
}

static mq_status add_view(struct see_run *run, const struct mq_value *value, const struct mq_point *point,
                          struct mq_err *err) {
  struct view view = {
      .point = point, .tensor = point ? point->tensor : value->name, .value = value, .batch_dim = -1};
  for (int i = 0; i < value->shape.rank; i++) {
    view.batch_dim = value->shape.dim[i] == MQ_DIM_BATCH ? i : view.batch_dim;
  }
  if (view.batch_dim < 0 && run->feed.slice_images != 1) {
    return mq_fail(err, MQ_BAD_INPUT, "tensor %s has no dimension that counts images", view.tensor);
  }
  struct mq_shape shape = mq_shape_at_batch(&value->shape, 1);
  view.count = mq_shape_count(&shape);
  run->largest = view.count > run->largest ? view.count : run->largest;
  run->taps[run->n_views] = value;
  run->views[run->n_views++] = view;
  return MQ_OK;
}

/* What is rounded, in floats; what came of it, in the exact simulation, which may not round anything. */
static mq_status list_views(struct see_run *run, const struct mq_graph *graph, struct mq_err *err) {
  size_t most = graph->n_nodes + graph->n_outputs + 1;
  run->views = mq_alloc(most, sizeof *run->views);
  run->taps = mq_alloc(most, sizeof(const struct mq_value *));
  mq_status status = run->views && run->taps ? MQ_OK : mq_fail_memory(err, "views of a simulation");
  for (size_t i = 0; i < graph->n_nodes && status == MQ_OK; i++) {
    const struct mq_node *node = graph->nodes[i];
    const struct mq_point *point = point_of(node, run->options);
    if (point) {
      status = add_view(run, run->options->exact ? node->outputs[0] : node->inputs[0], point, err);
    }
  }
  for (size_t i = 0; i < graph->n_outputs && status == MQ_OK; i++) {
    const struct mq_value *output = graph->outputs[i];
    if (!point_of(output->producer, run->options) && output->dtype == MQ_F32) {
      status = add_view(run, output, NULL, err);
    }
  }
  return status;
}

/* ---- Showing -------------------------------------------------------------------------------------- */
static struct mq_tensor image_of(const struct mq_tensor *chunk, const struct view *view, int64_t image) {
  struct mq_tensor tensor = *chunk;
  tensor.owned = NULL;
  if (view->batch_dim >= 0) {
    tensor.shape.dim[view->batch_dim] = 1;
    tensor.data = (float *)chunk->data + image * chunk->stride[view->batch_dim];
  }
  return tensor;
}

static mq_status show(const struct see_run *run, const struct view *view, int64_t index, unsigned worker,
                      struct mq_tensor *tensor, struct mq_err *err) {
  const struct mq_see_options *options = run->options;
  struct mq_seen seen = {.point = view->point, .tensor = view->tensor, .image = index, .values = *tensor};
  if (view->point) {
    int32_t *codes = run->memory[worker];
    seen.codes = mq_tensor_view(codes, MQ_I32, &tensor->shape, NULL);
    mq_quantize(&seen.codes, tensor, &view->point->qparams);
    if (!options->exact) {
      seen.before = *tensor;
      seen.values = mq_tensor_view(codes + run->largest, MQ_F32, &tensor->shape, NULL);
      mq_fake_quantize(&seen.values, tensor, &view->point->qparams);
    }
  }
  mq_status status = options->see(options->context, &seen, worker, err);
  if (status == MQ_OK && options->replaces && view->point && !options->exact) {
    mq_tensor_copy(tensor, &seen.values); /* rounding keeps what is on the grid */
  }
  return status;
}

static mq_status tap(void *context, size_t slice, unsigned worker, size_t index, int64_t first_image,
                     const struct mq_tensor *value, struct mq_err *err) {
  const struct see_run *run = context;
  const struct view *view = &run->views[index];
  int64_t n = view->batch_dim >= 0 ? value->shape.dim[view->batch_dim] : 1;
  int64_t valid = tune_feed_valid(&run->feed, slice);
  mq_status status = MQ_OK;
  for (int64_t i = 0; i < n && first_image + i < valid && status == MQ_OK; i++) {
    struct mq_tensor tensor = image_of(value, view, i);
    status = show(run, view, (int64_t)slice * run->feed.slice_images + first_image + i, worker, &tensor, err);
  }
  return status;
}

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                      struct mq_err *err) {
  (void)worker;
  return tune_feed_fill(&((struct see_run *)context)->feed, slice, inputs, NULL, err);
}

/* ---- The run -------------------------------------------------------------------------------------- */
static mq_status make_memory(struct see_run *run, unsigned n_workers, struct mq_err *err) {
  run->memory = mq_alloc(n_workers, sizeof *run->memory);
  bool is_there = run->memory != NULL;
  for (unsigned i = 0; i < n_workers && is_there; i++) {
    run->memory[i] = mq_alloc((size_t)run->largest + 1, sizeof(int32_t) + sizeof(float));
    is_there = run->memory[i] != NULL;
  }
  return is_there ? MQ_OK : mq_fail_memory(err, "views of a simulation");
}

static void deinit(struct see_run *run, unsigned n_workers) {
  for (unsigned i = 0; run->memory && i < n_workers; i++) {
    mq_free(run->memory[i]);
  }
  mq_free(run->memory);
  mq_free(run->views);
  mq_free(run->taps);
  tune_feed_deinit(&run->feed);
}

static mq_status execute(struct see_run *run, const struct mq_graph *graph, struct mq_pool *pool,
                         struct mq_err *err) {
  const struct mq_see_options *options = run->options;
  struct tune_exact exact = {0};
  struct mq_engine *engine = NULL;
  const struct mq_engine_job job = {.context = run, .n_slices = run->feed.n_slices, .fill = fill, .tap = tap};
  struct mq_engine_options engine_options = {.slice_images = run->feed.slice_images,
                                             .simulates = true,
                                             .points = options->points,
                                             .n_points = options->n_points,
                                             .taps = run->taps,
                                             .n_taps = run->n_views};
  mq_status status = options->exact ? tune_exact_init(&exact, options->exact, err) : MQ_OK;
  if (status == MQ_OK) {
    engine_options.exact = options->exact ? &exact.engine : NULL;
    status = mq_engine_create(&engine, graph, &engine_options, pool, err);
  }
  if (status == MQ_OK) {
    status = mq_engine_run(engine, &job, err);
  }
  mq_engine_destroy(engine);
  tune_exact_deinit(&exact);
  return status;
}

mq_status mq_simulate_and_see(const struct mq_graph *graph, struct mq_dataset *data,
                              const struct mq_see_options *options, struct mq_pool *pool,
                              struct mq_err *err) {
  int64_t n = mq_dataset_get_info(data)->n_images;
  const struct tune_feed_options feed = {
      .n_images = options->n_images > 0 && options->n_images < n ? options->n_images : n,
      .slice_images = options->slice_images};
  struct see_run run = {.options = options};
  mq_status status = mq_check_model_data(graph, data, err);
  if (status == MQ_OK) {
    status = tune_feed_init(&run.feed, graph, data, &feed, err);
  }
  if (status == MQ_OK) {
    status = list_views(&run, graph, err);
  }
  if (status == MQ_OK) {
    status = make_memory(&run, mq_pool_workers(pool), err);
  }
  if (status == MQ_OK) {
    status = execute(&run, graph, pool, err);
  }
  deinit(&run, mq_pool_workers(pool));
  return status;
}
