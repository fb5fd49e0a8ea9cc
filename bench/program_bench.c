/* Milliseconds of an integer program in the fast executor, on random images.
 * Usage: program_bench BUNDLE|ARCHITECTURE TARGET [batch [threads [seconds [cut]]]]
 *        program_bench --write ARCHITECTURE MODEL.onnx
 * TARGET is of no account for a bundle. An architecture has drawn weights, and scales as if every value lay
 * in -2..2. cut: auto, images, within. --write: the float model, for quantize and for other engines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mqbench/deploy.h"
#include "mqbench/kernel.h"
#include "mqbench/load.h"
#include "mqbench/runtime.h"
#include "mqbench/zoo.h"

struct work {
  struct mq_bundle bundle;
  struct mq_graph *graph;
  struct mq_target *target;
  struct mq_prepared prepared;
  struct mq_lowered lowered;
  const struct mq_program *program;
  struct mq_pool *pool;
  struct mq_runtime *runtime;
  void **inputs, **outputs;
};

static mq_status calibrate(struct mq_prepared *prepared, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < prepared->n_points && status == MQ_OK; i++) {
    struct mq_point *point = &prepared->points[i];
    status = mq_qparams_init(&point->qparams, point->n_channels, point->channel_axis, err);
    struct mq_range *range = calloc((size_t)point->n_channels, sizeof *range);
    const bool is_after_relu = strstr(point->reason, "elu") != NULL;
    for (int64_t c = 0; c < point->n_channels && status == MQ_OK; c++)
      range[c] = (struct mq_range){.lo = is_after_relu ? 0 : -2, .hi = 2};
    if (status == MQ_OK) mq_qparams_from_range(&point->qparams, &point->scheme, range, NULL);
    free(range);
  }
  return status;
}

static mq_status load(struct work *work, const char *model, const char *target, struct mq_err *err) {
  if (mq_bundle_is(model)) {
    mq_status status = mq_bundle_read(&work->bundle, model, err);
    work->program = work->bundle.program;
    if (status == MQ_OK && work->program == NULL)
      status = mq_fail(err, MQ_BAD_INPUT, "%s has no program: %s", model, work->bundle.no_program);
    return status;
  }
  const struct mq_prepare_options options = {0};
  mq_status status = mq_zoo_build(&work->graph, model, NULL, err);
  if (status == MQ_OK) status = mq_target_load(&work->target, target, err);
  if (status == MQ_OK) status = mq_prepare(&work->prepared, work->graph, work->target, &options, err);
  if (status == MQ_OK) status = calibrate(&work->prepared, err);
  if (status == MQ_OK) status = mq_lower(&work->lowered, &work->prepared, work->target, err);
  work->program = &work->lowered.program;
  return status;
}

static mq_status make_images(struct work *work, int64_t batch, struct mq_err *err) {
  const struct mq_program *program = work->program;
  uint32_t r = 1;
  work->inputs = calloc(program->n_inputs, sizeof *work->inputs);
  work->outputs = calloc(program->n_outputs, sizeof *work->outputs);
  for (uint32_t i = 0; i < program->n_inputs; i++) {
    const struct mq_program_tensor *t = &program->tensors[program->inputs[i]];
    const int64_t n = batch * mq_program_elements(t);
    if (t->type != MQ_PROGRAM_F32) return mq_fail(err, MQ_BAD_INPUT, "input %u: expected floats", i);
    float *x = work->inputs[i] = mq_alloc((size_t)n, sizeof(float));
    for (int64_t k = 0; k < n; k++) {
      r = r * 1664525 + 1013904223;
      x[k] = (float)(int32_t)r * 1e-9f;
    }
  }
  for (uint32_t i = 0; i < program->n_outputs; i++)
    work->outputs[i] =
        mq_alloc((size_t)batch, mq_program_tensor_bytes(&program->tensors[program->outputs[i]]));
  return MQ_OK;
}

static int by_size(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

#define MOST 10000

static mq_status measure(struct work *work, int64_t batch, double seconds, struct mq_err *err) {
  static double times[MOST];
  const struct mq_program_run run = {
      .inputs = (const void *const *)work->inputs, .outputs = work->outputs, .n_images = batch};
  mq_status status = MQ_OK;
  const double start = mq_now();
  int n = 0;
  for (int round = 0; round < 3 && status == MQ_OK; round++)
    status = mq_runtime_run(work->runtime, &run, err);
  while (status == MQ_OK && n < MOST && (n < 3 || mq_now() - start < seconds)) {
    const double begin = mq_now();
    status = mq_runtime_run(work->runtime, &run, err);
    times[n++] = mq_now() - begin;
  }
  if (status != MQ_OK) return status;
  qsort(times, (size_t)n, sizeof *times, by_size);
  const struct mq_runtime_info info = mq_runtime_get_info(work->runtime);
  printf(
      "%s, %s, batch %lld: median %.3f ms, p90 %.3f ms, least %.3f ms, %.0f images/s; %s, %u of %u steps by "
      "the "
      "reference, %.1f MB of weights, %.1f MB a worker\n",
      work->program->name, work->program->target, (long long)batch, 1e3 * times[n / 2],
      1e3 * times[n * 9 / 10], 1e3 * times[0], (double)batch / times[n / 2], info.loops, info.n_reference,
      info.n_steps, (double)info.weights_bytes * 1e-6, (double)info.worker_bytes * 1e-6);
  return MQ_OK;
}

static mq_status write_model(const char *architecture, const char *path, struct mq_err *err) {
  struct mq_graph *graph = NULL;
  mq_status status = mq_zoo_build(&graph, architecture, NULL, err);
  if (status == MQ_OK) status = mq_onnx_write(path, graph, err);
  mq_graph_destroy(graph);
  return status;
}

static mq_runtime_cut find_cut(const char *text) {
  return strcmp(text, "images") == 0   ? MQ_RUNTIME_IMAGES
         : strcmp(text, "within") == 0 ? MQ_RUNTIME_WITHIN
                                       : MQ_RUNTIME_AUTO;
}

static mq_status bench(struct work *work, int argc, char **argv, struct mq_err *err) {
  const int64_t batch = argc > 3 ? atoll(argv[3]) : 1;
  const unsigned threads = argc > 4 ? (unsigned)atoi(argv[4]) : 0;
  struct mq_runtime_options options = {.cut = argc > 6 ? find_cut(argv[6]) : MQ_RUNTIME_AUTO};
  const char *isa_text = getenv("MQ_BENCH_ISA");
  mq_isa isa = MQ_ISA_NATIVE;
  mq_status status = isa_text != NULL ? mq_isa_parse(&isa, isa_text, err) : MQ_OK;
  if (status == MQ_OK) status = mq_kernel_start(isa, err);
  if (status == MQ_OK) status = load(work, argv[1], argv[2], err);
  if (status == MQ_OK) status = mq_pool_create(&work->pool, threads, mq_kernel_start_worker, err);
  options.pool = work->pool;
  if (status == MQ_OK) status = mq_runtime_create(&work->runtime, work->program, &options, err);
  if (status == MQ_OK) status = make_images(work, batch, err);
  if (status == MQ_OK) status = measure(work, batch, argc > 5 ? atof(argv[5]) : 2, err);
  return status;
}

static void drop(struct work *work) {
  for (uint32_t i = 0; work->inputs != NULL && i < work->program->n_inputs; i++)
    mq_free(work->inputs[i]);
  for (uint32_t i = 0; work->outputs != NULL && i < work->program->n_outputs; i++)
    mq_free(work->outputs[i]);
  free(work->inputs);
  free(work->outputs);
  mq_runtime_destroy(work->runtime);
  mq_pool_destroy(work->pool);
  mq_lowered_deinit(&work->lowered);
  mq_prepared_deinit(&work->prepared);
  mq_target_destroy(work->target);
  mq_graph_destroy(work->graph);
  mq_bundle_deinit(&work->bundle);
}

int main(int argc, char **argv) {
  struct mq_err err = {0};
  struct work work = {0};
  mq_status status = MQ_BAD_USAGE;
  if (argc == 4 && strcmp(argv[1], "--write") == 0)
    status = write_model(argv[2], argv[3], &err);
  else if (argc >= 3)
    status = bench(&work, argc, argv, &err);
  else
    mq_fail(&err, MQ_BAD_USAGE,
            "usage: program_bench BUNDLE|ARCHITECTURE TARGET [batch [threads [seconds [cut]]]]");
  drop(&work);
  if (status != MQ_OK) fprintf(stderr, "program_bench: %s\n", err.message);
  return (int)status;
}
