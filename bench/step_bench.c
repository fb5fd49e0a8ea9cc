/* Milliseconds of a training step on random images, medians, and the memory it takes.
 * Usage: step_bench MODEL.onnx|ARCHITECTURE TARGET|float [METHOD [bits [batch [steps [OPTION...]]]]]
 * Options: bf16 (products backward), floats (no products on integers), bn (BN stays behind the
 * layers), fold4 (folding strategy 4), sliceN (images of a slice; 8).
 * Processor time divided by the cores is the figure to compare where other programs share them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mqbench/kernel.h"
#include "mqbench/load.h"
#include "mqbench/tune.h"
#include "mqbench/zoo.h"

struct work {
  struct mq_graph *graph;
  struct mq_target *target;
  struct mq_prepared prepared;
  struct mq_pool *pool;
  struct mq_trainer *trainer;
  int64_t slice;
};

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs, int64_t *labels,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  const struct work *work = context;
  int64_t n = mq_shape_count(&inputs[0].shape);
  float *x = inputs[0].data;
  uint32_t r = (uint32_t)slice + 1;
  for (int64_t i = 0; i < n; i++) {
    r = r * 1664525 + 1013904223;
    x[i] = (float)(int32_t)r * 1e-9f;
  }
  for (int64_t i = 0; i < work->slice; i++)
    labels[i] = i % 10;
  return MQ_OK;
}

/* Scales do not matter for time: every point from the range -2..2 (activations also 0..2 by their sign). */
static mq_status calibrate(struct mq_prepared *prepared, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < prepared->n_points && status == MQ_OK; i++) {
    struct mq_point *point = &prepared->points[i];
    status = mq_qparams_init(&point->qparams, point->n_channels, point->channel_axis, err);
    struct mq_range *range = calloc((size_t)point->n_channels, sizeof *range);
    bool is_after_relu = strstr(point->reason, "elu") != NULL;
    for (int64_t c = 0; c < point->n_channels && status == MQ_OK; c++)
      range[c] = (struct mq_range){.lo = is_after_relu ? 0 : -2, .hi = 2};
    if (status == MQ_OK) mq_qparams_from_range(&point->qparams, &point->scheme, range, NULL);
    free(range);
  }
  return status;
}

static mq_status assign(struct mq_prepared *prepared, const char *method, struct mq_err *err) {
  struct mq_method m = {.quantizer = mq_quantizer_find(method), .option = 0.0 / 0.0};
  if (!m.quantizer) return mq_fail(err, MQ_BAD_USAGE, "no method %s", method);
  return mq_assign_quantizers(prepared, &m, err);
}

/* Quantizers begin on the form that is deployed; a folding strategy's own form takes them over. */
static mq_status prepare(struct work *work, const char *target, const char *method, int bits, mq_bn_fold fold,
                         struct mq_err *err) {
  const bool is_strategy = fold == MQ_BN_FOLD_4;
  struct mq_prepare_options options = {
      .w_bits = bits, .a_bits = bits, .bn_fold = is_strategy ? MQ_BN_FOLD_0 : fold};
  struct mq_prepared deployed = {0};
  mq_status status = mq_target_load(&work->target, target, err);
  if (status == MQ_OK) status = mq_prepare(&deployed, work->graph, work->target, &options, err);
  if (status == MQ_OK) status = calibrate(&deployed, err);
  if (status == MQ_OK) status = assign(&deployed, method, err);
  if (status == MQ_OK && is_strategy) {
    options.bn_fold = fold;
    status = mq_prepare(&work->prepared, work->graph, work->target, &options, err);
    if (status == MQ_OK) status = mq_copy_quantizers(&work->prepared, &deployed, err);
    mq_prepared_deinit(&deployed);
  } else {
    work->prepared = deployed;
  }
  return status;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double processor_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static mq_status run(struct work *work, int n_steps, struct mq_err *err) {
  const struct mq_trainer_job job = {.context = work, .fill = fill};
  double *seconds = calloc(2 * (size_t)n_steps, sizeof *seconds), *processor = seconds + n_steps;
  mq_status status = MQ_OK;
  for (int i = -2; i < n_steps && status == MQ_OK; i++) {
    struct mq_trainer_result result;
    double start = mq_now(), used = processor_seconds();
    status = mq_trainer_step(&result, work->trainer, &job, 1e-4, err);
    if (i >= 0) {
      seconds[i] = mq_now() - start;
      processor[i] = processor_seconds() - used;
    }
    if (i == n_steps - 1) printf("loss %.4f, ", result.loss);
  }
  qsort(seconds, (size_t)n_steps, sizeof *seconds, by_value);
  qsort(processor, (size_t)n_steps, sizeof *processor, by_value);
  if (status == MQ_OK)
    printf("%.1f ms (best %.1f), processor %.1f ms (best %.1f), %.0f MB\n", 1e3 * seconds[n_steps / 2],
           1e3 * seconds[0], 1e3 * processor[n_steps / 2], 1e3 * processor[0],
           (double)mq_trainer_memory_bytes(work->trainer) / 1e6);
  free(seconds);
  return status;
}

static bool has_option(int argc, char **argv, const char *name) {
  for (int i = 7; i < argc; i++)
    if (strcmp(argv[i], name) == 0) return true;
  return false;
}

static int64_t slice_of(int argc, char **argv) {
  for (int i = 7; i < argc; i++)
    if (strncmp(argv[i], "slice", 5) == 0) return atoi(argv[i] + 5);
  return 8;
}

static mq_status read_model(struct mq_graph **graph, const char *name, struct mq_err *err) {
  bool is_arch = mq_zoo_find(name) != NULL;
  return is_arch ? mq_zoo_build(graph, name, NULL, err) : mq_onnx_read(graph, name, NULL, err);
}

int main(int argc, char **argv) {
  struct mq_err err = {0};
  struct work work = {.slice = slice_of(argc, argv)};
  if (argc < 3) return 2;
  bool is_float = strcmp(argv[2], "float") == 0;
  int bits = argc > 4 ? atoi(argv[4]) : 8, batch = argc > 5 ? atoi(argv[5]) : 128;
  int n_steps = argc > 6 ? atoi(argv[6]) : 5;
  mq_bn_fold fold = has_option(argc, argv, "fold4") ? MQ_BN_FOLD_4
                    : has_option(argc, argv, "bn")  ? MQ_BN_FOLD_NONE
                                                    : MQ_BN_FOLD_TARGET;
  bool is_bf16 = has_option(argc, argv, "bf16");
  mq_status status = mq_kernel_start(MQ_ISA_NATIVE, &err);
  if (status == MQ_OK) status = read_model(&work.graph, argv[1], &err);
  if (status == MQ_OK) status = mq_prepare_canonical(work.graph, &err);
  if (status == MQ_OK && !is_float)
    status = prepare(&work, argv[2], argc > 3 ? argv[3] : "lsq", bits, fold, &err);
  if (status == MQ_OK) status = mq_pool_create(&work.pool, 0, mq_kernel_start_worker, &err);
  if (status == MQ_OK) {
    struct mq_trainer_options options = {.batch = batch,
                                         .slice_images = work.slice,
                                         .points = is_float ? NULL : work.prepared.points,
                                         .n_points = work.prepared.n_points,
                                         .momentum = 0.9,
                                         .is_nesterov = true,
                                         .weight_decay = 1e-4,
                                         .has_float_forward = has_option(argc, argv, "floats"),
                                         .backward = is_bf16 ? MQ_PRECISION_BF16 : MQ_PRECISION_F32};
    status = mq_trainer_create(&work.trainer, is_float ? work.graph : work.prepared.graph, &options,
                               work.pool, &err);
  }
  if (status == MQ_OK) status = run(&work, n_steps, &err);
  if (status != MQ_OK) fprintf(stderr, "%s\n", err.message);
  mq_trainer_destroy(work.trainer);
  mq_pool_destroy(work.pool);
  mq_prepared_deinit(&work.prepared);
  mq_target_destroy(work.target);
  mq_graph_destroy(work.graph);
  return status == MQ_OK ? 0 : 1;
}
