/* A data set through an integer program: slices of images over the worker pool. */
#include <math.h>
#include <stdatomic.h>

#include "mqbench/runtime.h"
#include "mqbench/verify.h"
#include "tune/feed.h"

struct program_run {
  const struct mq_program *program;
  struct mq_runtime *runtime; /* NULL: the reference executor */
  const struct mq_graph *graph;
  struct tune_feed feed;
  float *logits; /* n_images x n_classes */
  int64_t n_classes;
  unsigned char *memory; /* worker_bytes for each worker */
  size_t worker_bytes, input_bytes, output_bytes, arena_bytes;
  _Atomic int64_t busy_ns;
  atomic_bool has_odd_pixels; /* NaN or infinite */
  struct mq_progress progress;
};

static size_t align(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

/* The program's input as the graph's, for the feed to fill. */
static struct mq_tensor view_input(const struct program_run *run, void *data) {
  const struct mq_program_tensor *x = &run->program->tensors[run->program->inputs[0]];
  struct mq_shape shape = run->graph->inputs[0]->shape;
  int64_t stride[MQ_MAX_RANK];
  shape.dim[0] = run->feed.slice_images;
  if (x->is_channels_last) {
    mq_stride_channels_last(stride, &shape);
  } else {
    mq_stride_row_major(stride, &shape);
  }
  return mq_tensor_view(data, MQ_F32, &shape, stride);
}

static void look_at_pixels(struct program_run *run, const float *pixels, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    if (!isfinite(pixels[i])) {
      atomic_store(&run->has_odd_pixels, true);
      return;
    }
  }
}

static mq_status run_slice(void *context, size_t slice, unsigned worker, struct mq_err *err) {
  struct program_run *run = context;
  const struct mq_program *program = run->program;
  unsigned char *input = run->memory + worker * run->worker_bytes, *output = input + run->input_bytes;
  struct mq_tensor view = view_input(run, input);
  mq_status status = tune_feed_fill(&run->feed, slice, &view, NULL, err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_program_err why = {{0}};
  const void *inputs[] = {input};
  void *outputs[] = {output};
  const int64_t n = tune_feed_valid(&run->feed, slice), first = (int64_t)slice * run->feed.slice_images;
  const struct mq_program_run job = {.inputs = inputs,
                                     .outputs = outputs,
                                     .n_images = n,
                                     .arena = output + run->output_bytes,
                                     .arena_bytes = program->arena_bytes};
  double start = mq_now();
  look_at_pixels(run, view.data, n * mq_shape_count(&run->feed.image));
  if (run->runtime) {
    status = mq_runtime_run_worker(run->runtime, worker, &job, err);
  } else if (mq_program_run_reference(program, &job, &why) != MQ_PROGRAM_OK) {
    status = mq_fail(err, MQ_FAILED, "%s: %s", program->name, why.message);
  }
  if (status != MQ_OK) {
    return status;
  }
  atomic_fetch_add(&run->busy_ns, (int64_t)((mq_now() - start) * 1e9));
  const struct mq_program_tensor *y = &program->tensors[program->outputs[0]];
  for (int64_t i = 0; i < n * run->n_classes; i++) {
    run->logits[first * run->n_classes + i] = mq_program_value(y, output, i);
  }
  mq_progress_add(&run->progress, (uint64_t)n);
  return MQ_OK;
}

static mq_status check_fit(const struct mq_program *program, const struct mq_graph *graph,
                           const struct mq_dataset *data, struct mq_err *err) {
  mq_status status = mq_check_model_data(graph, data, err);
  if (status != MQ_OK) {
    return status;
  }
  const struct mq_program_tensor *x = &program->tensors[program->inputs[0]];
  const struct mq_program_tensor *y = &program->tensors[program->outputs[0]];
  int64_t pixels = mq_shape_count(&mq_dataset_get_info(data)->image);
  if (program->n_inputs != 1 || program->n_outputs != 1 || x->type != MQ_PROGRAM_F32 ||
      mq_program_elements(x) != pixels || mq_program_elements(y) != graph->outputs[0]->shape.dim[1]) {
    return mq_fail(err, MQ_BAD_INPUT,
                   "program %s has %u inputs of %lld elements and %u outputs of %lld, expected one of %lld "
                   "floats and one of %lld",
                   program->name, program->n_inputs, (long long)mq_program_elements(x), program->n_outputs,
                   (long long)mq_program_elements(y), (long long)pixels,
                   (long long)graph->outputs[0]->shape.dim[1]);
  }
  return MQ_OK;
}

static mq_status make_memory(struct program_run *run, unsigned n_workers, struct mq_err *err) {
  const struct mq_program *program = run->program;
  const size_t n = (size_t)run->feed.slice_images;
  run->input_bytes = align(n * mq_program_tensor_bytes(&program->tensors[program->inputs[0]]));
  run->output_bytes = align(n * mq_program_tensor_bytes(&program->tensors[program->outputs[0]]));
  run->worker_bytes = run->input_bytes + run->output_bytes + align(program->arena_bytes);
  run->memory = mq_alloc(n_workers, run->worker_bytes);
  return run->memory ? MQ_OK : mq_fail_memory(err, "an integer program's tensors");
}

static mq_status execute(struct program_run *run, struct mq_dataset *data, int64_t n_images,
                         const struct mq_program_evaluate_options *options, struct mq_pool *pool,
                         struct mq_err *err) {
  const struct tune_feed_options feed = {
      .n_images = n_images, .slice_images = options->slice_images, .loader_threads = options->loader_threads};
  mq_status status = tune_feed_init(&run->feed, run->graph, data, &feed, err);
  if (status == MQ_OK) {
    status = make_memory(run, mq_pool_workers(pool), err);
  }
  if (status == MQ_OK && options->is_fast) {
    const struct mq_runtime_options of_runtime = {.pool = pool, .cut = MQ_RUNTIME_IMAGES};
    status = mq_runtime_create(&run->runtime, run->program, &of_runtime, err);
  }
  mq_progress_init(&run->progress, options->label ? options->label : "evaluate", (uint64_t)n_images);
  if (status == MQ_OK) {
    status = mq_pool_run(pool, run->feed.n_slices, run_slice, run, err);
  }
  mq_progress_end(&run->progress);
  mq_runtime_destroy(run->runtime);
  mq_free(run->memory);
  return status;
}

static mq_status predict(struct program_run *run, struct mq_tensor *logits, struct mq_dataset *data,
                         int64_t n_images, const struct mq_program_evaluate_options *options,
                         struct mq_pool *pool, struct mq_err *err) {
  int64_t n = mq_dataset_get_info(data)->n_images;
  n = n_images > 0 && n_images < n ? n_images : n;
  *logits = (struct mq_tensor){0};
  mq_status status = check_fit(run->program, run->graph, data, err);
  if (status == MQ_OK) {
    struct mq_shape shape = {.rank = 2, .dim = {n, run->graph->outputs[0]->shape.dim[1]}};
    status = mq_tensor_init(logits, MQ_F32, &shape, err);
  }
  if (status == MQ_OK) {
    run->logits = logits->data;
    run->n_classes = logits->shape.dim[1];
    status = execute(run, data, n, options, pool, err);
  }
  if (status != MQ_OK) {
    mq_tensor_deinit(logits);
  }
  return status;
}

mq_status mq_program_predict(struct mq_tensor *logits, const struct mq_program *program,
                             const struct mq_graph *graph, struct mq_dataset *data, int64_t n_images,
                             const struct mq_program_evaluate_options *options, struct mq_pool *pool,
                             struct mq_err *err) {
  struct program_run run = {.program = program, .graph = graph};
  mq_status status = predict(&run, logits, data, n_images, options, pool, err);
  tune_feed_deinit(&run.feed);
  return status;
}

mq_status mq_program_evaluate(struct mq_evaluation *evaluation, const struct mq_program *program,
                              const struct mq_graph *graph, struct mq_dataset *data,
                              const struct mq_program_evaluate_options *options, struct mq_pool *pool,
                              struct mq_err *err) {
  struct program_run run = {.program = program, .graph = graph};
  struct mq_tensor logits;
  double start = mq_now();
  *evaluation = (struct mq_evaluation){0};
  mq_status status = predict(&run, &logits, data, 0, options, pool, err);
  if (status == MQ_OK) {
    status = mq_evaluate_logits(evaluation, &logits, graph, data, err);
  }
  if (status == MQ_OK) {
    evaluation->is_finite = evaluation->is_finite && !atomic_load(&run.has_odd_pixels);
    evaluation->seconds = mq_now() - start;
    evaluation->engine_seconds = tune_alone_seconds((double)atomic_load(&run.busy_ns) * 1e-9,
                                                    run.feed.n_slices, mq_pool_workers(pool), mq_cores());
  }
  mq_tensor_deinit(&logits);
  tune_feed_deinit(&run.feed);
  return status;
}
