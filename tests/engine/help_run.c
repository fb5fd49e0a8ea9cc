#include "help_run.h"

#include <math.h>

#include "mqbench/kernel.h"

struct run {
  const struct mq_graph *graph;
  const struct mq_tensor *inputs;
  struct mq_tensor *outputs;
  int64_t slice_images, n_images;
  size_t n_slices;
  bool is_backwards;
};

/* Image rows [first, first + n) of dimension 0. */
static struct mq_tensor rows_of(const struct mq_tensor *tensor, int64_t first, int64_t n) {
  struct mq_tensor view = *tensor;
  view.shape.dim[0] = n;
  view.data = (char *)tensor->data + first * tensor->stride[0] * mq_dtype_get(tensor->dtype)->bytes;
  view.owned = NULL;
  return view;
}

static int64_t first_image(const struct run *run, size_t slice, int64_t *n) {
  size_t at = run->is_backwards ? run->n_slices - 1 - slice : slice;
  int64_t first = (int64_t)at * run->slice_images, left = run->n_images - first;
  *n = left < run->slice_images ? left : run->slice_images;
  return first;
}

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  const struct run *run = context;
  int64_t n, first = first_image(run, slice, &n);
  for (size_t i = 0; i < run->graph->n_inputs; i++) {
    if (!mq_shape_has_batch(&run->graph->inputs[i]->shape)) {
      mq_tensor_copy(&inputs[i], &run->inputs[i]);
      continue;
    }
    double zero = 0;
    struct mq_tensor zeros = mq_tensor_view(&zero, MQ_F64, &inputs[i].shape, NULL);
    memset(zeros.stride, 0, sizeof zeros.stride);
    mq_tensor_copy(&inputs[i], &zeros);
    struct mq_tensor to = rows_of(&inputs[i], 0, n), from = rows_of(&run->inputs[i], first, n);
    mq_tensor_copy(&to, &from);
  }
  return MQ_OK;
}

static mq_status take(void *context, size_t slice, unsigned worker, const struct mq_tensor *outputs,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  struct run *run = context;
  int64_t n, first = first_image(run, slice, &n);
  for (size_t i = 0; i < run->graph->n_outputs; i++) {
    if (!mq_shape_has_batch(&run->graph->outputs[i]->shape)) {
      mq_tensor_copy(&run->outputs[i], &outputs[i]);
      continue;
    }
    struct mq_tensor to = rows_of(&run->outputs[i], first, n), from = rows_of(&outputs[i], 0, n);
    mq_tensor_copy(&to, &from);
  }
  return MQ_OK;
}

static mq_status start(struct run *run, struct mq_err *err) {
  bool has_batch = false;
  for (size_t i = 0; i < run->graph->n_inputs; i++) {
    if (mq_shape_has_batch(&run->graph->inputs[i]->shape)) {
      has_batch = true;
      run->n_images = run->inputs[i].shape.dim[0];
    }
  }
  run->n_slices = has_batch ? (size_t)((run->n_images + run->slice_images - 1) / run->slice_images) : 1;
  mq_status status = mq_kernel_start(MQ_ISA_NATIVE, err);
  for (size_t i = 0; i < run->graph->n_outputs && status == MQ_OK; i++) {
    const struct mq_value *value = run->graph->outputs[i];
    struct mq_shape shape = mq_shape_at_batch(&value->shape, run->n_images);
    status = mq_tensor_init(&run->outputs[i], value->dtype, &shape, err);
  }
  return status;
}

mq_status run_graph(struct mq_tensor *outputs, const struct mq_graph *graph, const struct mq_tensor *inputs,
                    const struct run_options *options, struct mq_err *err) {
  struct run run = {.graph = graph,
                    .inputs = inputs,
                    .outputs = outputs,
                    .slice_images = options->slice_images ? options->slice_images : 8,
                    .is_backwards = options->is_backwards};
  struct mq_engine_options engine_options = {.slice_images = run.slice_images,
                                             .simulates = options->simulates,
                                             .points = options->points,
                                             .n_points = options->n_points,
                                             .memory = options->memory};
  struct mq_pool *pool = NULL;
  struct mq_engine *engine = NULL;
  mq_status status = start(&run, err);
  if (status == MQ_OK) {
    status = mq_pool_create(&pool, options->workers ? options->workers : 1, mq_kernel_start_worker, err);
  }
  if (status == MQ_OK) {
    status = mq_engine_create(&engine, graph, &engine_options, pool, err);
  }
  if (status == MQ_OK) {
    struct mq_engine_job job = {.context = &run, .n_slices = run.n_slices, .fill = fill, .take = take};
    status = mq_engine_run(engine, &job, err);
  }
  mq_engine_destroy(engine);
  mq_pool_destroy(pool);
  return status;
}

double largest_error(const struct mq_tensor *a, const struct mq_tensor *b, double relative, double absolute) {
  double largest = 0;
  if (!mq_shape_equal(&a->shape, &b->shape)) {
    return INFINITY;
  }
  int64_t n = mq_shape_count(&a->shape);
  for (int64_t i = 0; i < n; i++) {
    double x = mq_tensor_get_double(a, i), y = mq_tensor_get_double(b, i);
    if (x == y || (isnan(x) && isnan(y))) {
      continue;
    }
    double error = fabs(x - y) / (absolute + relative * fabs(y));
    largest = !(error <= largest) ? error : largest;
    if (isnan(largest)) {
      return INFINITY;
    }
  }
  return largest;
}

bool same_bits(const struct mq_tensor *a, const struct mq_tensor *b) {
  size_t bytes = (size_t)mq_shape_count(&a->shape) * mq_dtype_get(a->dtype)->bytes;
  return mq_shape_equal(&a->shape, &b->shape) && memcmp(a->data, b->data, bytes) == 0;
}
