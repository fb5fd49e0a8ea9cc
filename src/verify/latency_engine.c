/* Engines behind adapters: what they say their work took. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "verify/format.h"
#include "verify/latency.h"
#include "verify/scratch.h"

#define PROBE_SECONDS 120
#define RUN_SECONDS 1800    /* compiling counts */
#define FLOAT_FORMAT "onnx" /* of an adapter that reads the model in floats */
#define LEAST_RUNS 10
#define MOST_RUNS 2000

struct engine_timing {
  const struct latency_model *model;
  const struct latency_options *options;
  struct mq_arena arena;
  char *adapter, *directory;
  const char *file;
  struct mq_adapter_info info;
  struct mq_err *err;
};

static void skip(struct latency_row *rows, size_t n_rows, const char *reason) {
  for (size_t i = 0; i < n_rows; i++) {
    snprintf(rows[i].skipped, sizeof rows[i].skipped, "%s", reason);
  }
}

/* The file that the engine gets; *reason: why there is none. */
static mq_status choose_file(struct engine_timing *t, const char **reason, bool is_integer) {
  const struct latency_model *model = t->model;
  struct mq_err why = {.message = ""};
  if (!is_integer) {
    t->file = model->float_path;
    *reason = !t->file                                              ? "the model is known in integers only"
              : !verify_reads_format(t->info.formats, FLOAT_FORMAT) ? "reads no model in floats"
                                                                    : NULL;
    return MQ_OK;
  }
  if (!model->bundle) {
    *reason = "the model is in floats: quantize it, and name the bundle";
    return MQ_OK;
  }
  if (model->qdq && verify_reads_format(t->info.formats, "onnx_qdq")) {
    t->file = model->qdq;
    return MQ_OK;
  }
  const struct mq_exporter *exporter =
      verify_choose_format(t->info.formats, model->bundle, model->target, &why);
  if (!exporter) {
    *reason = mq_arena_printf(&t->arena, "reads %s, none of which this network can be exported to%s%s",
                              t->info.formats, why.message[0] ? ": " : "", why.message);
    return *reason ? MQ_OK : mq_fail_memory(t->err, "a reason");
  }
  mq_status status = scratch_create(&t->directory, t->err);
  const char *stem = status == MQ_OK ? mq_arena_printf(&t->arena, "%s/model", t->directory) : NULL;
  t->file = stem ? mq_arena_printf(&t->arena, "%s%s", stem, exporter->suffixes[0]) : NULL;
  if (status == MQ_OK) {
    status = t->file ? mq_export(exporter, stem, model->bundle, t->err) : mq_fail_memory(t->err, "a path");
  }
  return status;
}

static const struct mq_graph *graph_of(const struct latency_model *model) {
  return model->graph ? model->graph : model->bundle->prepared.graph;
}

static mq_status draw_images(struct engine_timing *t, struct mq_tensor *images, size_t n, int64_t batch) {
  const struct mq_graph *graph = graph_of(t->model);
  mq_status status = MQ_OK;
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    const struct mq_shape shape = mq_shape_at_batch(&graph->inputs[i]->shape, batch);
    struct mq_rng rng;
    status = mq_tensor_init(&images[i], MQ_F32, &shape, t->err);
    mq_rng_init(&rng, t->options->seed, MQ_RNG_TEST, i, 0);
    for (int64_t k = 0; status == MQ_OK && k < mq_shape_count(&shape); k++) {
      ((float *)images[i].data)[k] = 4 * mq_rng_float(&rng) - 2;
    }
  }
  return status;
}

/* One start of the engine. */
static mq_status run_engine(struct latency_row *row, struct engine_timing *t, struct mq_adapter_job *job,
                            struct mq_err *err) {
  struct mq_adapter_result result = {.n_outputs = 0};
  mq_status status = mq_adapter_run(&result, job, err);
  if (status == MQ_OK && result.n_times == 0) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: milliseconds: found no times", t->adapter);
  }
  if (status == MQ_OK) {
    snprintf(row->version, sizeof row->version, "%s", result.version);
    latency_summarise(row, result.milliseconds, result.n_times);
  }
  mq_adapter_result_deinit(&result);
  return status;
}

/* A short run tells how many passes fit into the time, a second one makes them. */
static mq_status measure_row(struct latency_row *row, struct engine_timing *t) {
  const struct mq_graph *graph = graph_of(t->model);
  const char **names = mq_arena_alloc(&t->arena, graph->n_inputs, sizeof *names);
  struct mq_tensor *images = mq_arena_alloc(&t->arena, graph->n_inputs, sizeof *images);
  struct mq_err why = {.message = ""};
  if (!names || !images) {
    return mq_fail_memory(t->err, "images");
  }
  mq_status status = draw_images(t, images, graph->n_inputs, row->batch), answer = MQ_OK;
  for (size_t i = 0; i < graph->n_inputs; i++) {
    names[i] = graph->inputs[i]->name;
  }
  struct mq_adapter_job job = {.adapter = t->adapter,
                               .model = t->file,
                               .input_names = names,
                               .inputs = images,
                               .n_inputs = graph->n_inputs,
                               .batch = row->batch,
                               .threads = t->options->threads,
                               .warmup = 1,
                               .repeat = 3,
                               .timeout_seconds = RUN_SECONDS};
  if (status == MQ_OK) {
    answer = run_engine(row, t, &job, &why);
  }
  if (status == MQ_OK && answer == MQ_OK) {
    const double fit = 1e3 * t->options->seconds / fmax(row->median_ms, 1e-3);
    job.repeat = (int64_t)fmin(fmax(fit, LEAST_RUNS), MOST_RUNS);
    job.warmup = 1 + job.repeat / 4;
    answer = run_engine(row, t, &job, &why);
  }
  for (size_t i = 0; i < graph->n_inputs; i++) {
    mq_tensor_deinit(&images[i]);
  }
  if (status == MQ_OK && answer == MQ_BAD_INPUT) {
    skip(row, 1, why.message);
  } else if (status == MQ_OK && answer != MQ_OK) {
    status = mq_fail(t->err, answer, "%s", why.message);
  }
  return status;
}

static mq_status measure_rows(struct latency_row *rows, size_t n_rows, struct engine_timing *t) {
  struct mq_err why = {.message = ""};
  const char *reason = NULL;
  mq_status status = mq_adapter_probe(&t->info, t->adapter, PROBE_SECONDS, &why);
  if (status == MQ_BAD_INPUT) {
    skip(rows, n_rows, why.message);
    return MQ_OK;
  }
  if (status != MQ_OK) {
    return mq_fail(t->err, status, "%s", why.message);
  }
  if (!t->info.is_available) {
    skip(rows, n_rows, t->info.reason);
    return MQ_OK;
  }
  status = choose_file(t, &reason, rows[0].is_integer);
  if (status == MQ_OK && reason) {
    skip(rows, n_rows, reason);
    return MQ_OK;
  }
  for (size_t i = 0; i < n_rows && status == MQ_OK; i++) {
    status = measure_row(&rows[i], t);
  }
  return status;
}

mq_status latency_measure_engine(struct latency_row *rows, size_t n_rows, const struct latency_model *model,
                                 const struct latency_options *options, struct mq_err *err) {
  struct engine_timing t = {.model = model, .options = options, .err = err};
  mq_arena_init(&t.arena, 0);
  mq_status status = mq_adapter_find(&t.adapter, rows[0].engine, err);
  if (status == MQ_OK) {
    status = measure_rows(rows, n_rows, &t);
  }
  scratch_remove(t.directory);
  mq_free(t.adapter);
  mq_arena_deinit(&t.arena);
  return status;
}
