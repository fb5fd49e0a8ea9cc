/* A real engine beside the program: the bundle's export through its adapter, output by output. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "mqbench/runtime.h"
#include "mqbench/verify.h"
#include "tune/feed.h"
#include "verify/format.h"
#include "verify/map.h"
#include "verify/scratch.h"

#define PROBE_SECONDS 120
#define RUN_SECONDS 3600 /* of a part of the images; compiling counts */
#define PART_BYTES ((size_t)128 << 20)
#define PART_IMAGES 512
#define SLICE_IMAGES 8
#define BATCH 8

struct engine_run {
  struct mq_engine_comparison *c;
  const struct mq_bundle *bundle;
  const struct mq_verification *verification;
  const struct mq_verify_engine_options *options;
  struct mq_pool *pool;
  struct tune_feed feed;
  struct mq_tensor part; /* of images, as the network's input, row-major */
  char *adapter, *directory;
  const char *model;          /* the exported file */
  struct mq_runtime *runtime; /* in process: instead of the three above */
  struct mq_err *err;
};

static mq_status skip(const struct engine_run *run, const char *reason) {
  run->c->skipped_reason = mq_arena_strdup(&run->c->arena, reason);
  return run->c->skipped_reason ? MQ_OK : mq_fail_memory(run->err, "a reason");
}

/* What the engine or its adapter did wrong is a reason; what went wrong here is a failure. */
static mq_status skip_if_bad(const struct engine_run *run, mq_status status, const struct mq_err *why) {
  return status == MQ_BAD_INPUT ? skip(run, why->message) : mq_fail(run->err, status, "%s", why->message);
}

/* It was given the export, and did not answer. */
static mq_status fail_if_bad(const struct engine_run *run, mq_status status, const struct mq_err *why) {
  run->c->is_failed = status == MQ_BAD_INPUT;
  return skip_if_bad(run, status, why);
}

/* ---- The export ---------------------------------------------------------------------------------------- */

static mq_status export_model(struct engine_run *run, const char *formats) {
  struct mq_err why = {.message = ""};
  if (run->options->qdq && verify_reads_format(formats, "onnx_qdq")) {
    run->c->format = "onnx_qdq";
    run->model = run->options->qdq;
    return MQ_OK;
  }
  const struct mq_exporter *exporter = verify_choose_format(formats, run->bundle, run->options->target, &why);
  struct mq_arena *arena = &run->c->arena;
  if (!exporter) {
    const char *reason = mq_arena_printf(arena, "reads %s, none of which this network can be exported to%s%s",
                                         formats, why.message[0] ? ": " : "", why.message);
    return reason ? skip(run, reason) : mq_fail_memory(run->err, "a reason");
  }
  run->c->format = exporter->name;
  mq_status status = scratch_create(&run->directory, run->err);
  if (status != MQ_OK) {
    return status;
  }
  const char *stem = mq_arena_printf(arena, "%s/model", run->directory);
  run->model = stem ? mq_arena_printf(arena, "%s%s", stem, exporter->suffixes[0]) : NULL;
  return run->model ? mq_export(exporter, stem, run->bundle, run->err) : mq_fail_memory(run->err, "a path");
}

/* ---- Images -------------------------------------------------------------------------------------------- */

static int64_t choose_part(const struct engine_run *run) {
  const struct mq_shape shape = mq_shape_at_batch(&run->bundle->prepared.graph->inputs[0]->shape, 1);
  const size_t fit = PART_BYTES / ((size_t)mq_shape_count(&shape) * sizeof(float) + 1);
  const int64_t n = fit < PART_IMAGES ? (int64_t)fit : PART_IMAGES;
  return n < SLICE_IMAGES ? SLICE_IMAGES : n / SLICE_IMAGES * SLICE_IMAGES;
}

static mq_status begin_images(struct engine_run *run, struct mq_dataset *data) {
  const struct mq_graph *graph = run->bundle->prepared.graph;
  const int64_t n = run->verification->n_images, most = choose_part(run);
  const int64_t whole = (n + SLICE_IMAGES - 1) / SLICE_IMAGES * SLICE_IMAGES;
  const struct mq_shape shape = mq_shape_at_batch(&graph->inputs[0]->shape, whole < most ? whole : most);
  const struct tune_feed_options feed = {
      .n_images = n, .slice_images = SLICE_IMAGES, .loader_threads = run->options->loader_threads};
  mq_status status = mq_tensor_init(&run->part, MQ_F32, &shape, run->err);
  return status == MQ_OK ? tune_feed_init(&run->feed, graph, data, &feed, run->err) : status;
}

struct loading {
  struct engine_run *run;
  size_t first;
};

static mq_status load_slice(void *context, size_t slice, unsigned worker, struct mq_err *err) {
  const struct loading *l = context;
  struct mq_tensor *part = &l->run->part;
  struct mq_shape shape = part->shape;
  shape.dim[0] = SLICE_IMAGES;
  struct mq_tensor view = mq_tensor_view(
      (float *)part->data + (int64_t)slice * SLICE_IMAGES * part->stride[0], MQ_F32, &shape, NULL);
  (void)worker;
  return tune_feed_fill(&l->run->feed, l->first + slice, &view, NULL, err);
}

/* The next images; `images` is a view of those that count. */
static mq_status load_part(struct engine_run *run, struct mq_tensor *images, int64_t first) {
  const int64_t left = run->verification->n_images - first, most = run->part.shape.dim[0];
  struct loading loading = {.run = run, .first = (size_t)(first / SLICE_IMAGES)};
  struct mq_shape shape = run->part.shape;
  shape.dim[0] = left < most ? left : most;
  *images = mq_tensor_view(run->part.data, MQ_F32, &shape, NULL);
  return mq_pool_run(run->pool, (size_t)((shape.dim[0] + SLICE_IMAGES - 1) / SLICE_IMAGES), load_slice,
                     &loading, run->err);
}

/* ---- Comparing ----------------------------------------------------------------------------------------- */

static const struct mq_tensor *find_output(const struct mq_adapter_result *result, const char *name,
                                           size_t n_expected) {
  for (size_t i = 0; i < result->n_outputs; i++) {
    if (strcmp(result->names[i], name) == 0) {
      return &result->outputs[i];
    }
  }
  return n_expected == 1 && result->n_outputs == 1 ? &result->outputs[0] : NULL;
}

/* -1: not all are numbers. */
static int64_t class_of(const float *values, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 0; i < n && best >= 0; i++) {
    best = isnan(values[i]) ? -1 : values[i] > values[best] ? i : best;
  }
  return best;
}

/* Of an output's codes; 0: it holds floats. */
static double scale_of(const struct engine_run *run, size_t output) {
  const struct mq_program *program = run->bundle->program;
  const struct mq_prepared *prepared = &run->bundle->prepared;
  if (program) {
    const struct mq_program_tensor *t = &program->tensors[program->outputs[output]];
    return t->type == MQ_PROGRAM_F32 ? 0 : t->scale > 0 ? (double)t->scale : 1;
  }
  const struct mq_node *node = prepared->graph->outputs[output]->producer;
  const struct mq_point *point = node ? verify_point_of(prepared, node) : NULL;
  return point && point->qparams.n_channels == 1 ? (double)point->qparams.scale[0] : 0;
}

/* An image of one output. Codes are compared as codes: what the engine made of them is on the same grid. */
static void compare_image(struct mq_engine_comparison *c, double scale, const float *own, const float *theirs,
                          int64_t n) {
  const bool is_float = !(scale > 0);
  const double step = is_float ? verify_float_step(own, n) : scale;
  for (int64_t i = 0; i < n; i++) {
    const double difference = fabs((double)own[i] - (double)theirs[i]) / step;
    bool is_other = is_float ? !(difference <= 0) : !(difference < 0.25);
    c->mismatches += is_other;
    if (is_other) {
      c->max_step = difference > c->max_step || isnan(difference) ? difference : c->max_step;
    }
  }
  c->elements += n;
}

static mq_status compare_output(const struct engine_run *run, size_t output, const struct mq_tensor *theirs,
                                int64_t first) {
  const struct mq_tensor *own = &run->verification->outputs[output];
  const double scale = scale_of(run, output);
  const int64_t n_images = theirs->shape.dim[0], n = own->stride[0];
  float *row = mq_alloc((size_t)n, sizeof *row);
  if (!row) {
    return mq_fail_memory(run->err, "an output");
  }
  for (int64_t image = 0; image < n_images; image++) {
    const float *expected = (const float *)own->data + (first + image) * n;
    for (int64_t i = 0; i < n; i++) {
      row[i] = (float)mq_tensor_get_double(theirs, image * n + i);
    }
    compare_image(run->c, scale, expected, row, n);
    const int64_t class = class_of(row, n);
    run->c->n_agree += output == 0 && class >= 0 && class == class_of(expected, n);
  }
  mq_free(row);
  return MQ_OK;
}

static mq_status compare_outputs(const struct engine_run *run, const struct mq_adapter_result *result,
                                 int64_t first, int64_t n_images) {
  const struct mq_graph *graph = run->bundle->prepared.graph;
  mq_status status = MQ_OK;
  for (size_t i = 0; i < graph->n_outputs && status == MQ_OK && !run->c->skipped_reason; i++) {
    const struct mq_tensor *theirs = find_output(result, graph->outputs[i]->name, graph->n_outputs);
    if (!theirs || mq_shape_count(&theirs->shape) != run->verification->outputs[i].stride[0] * n_images) {
      const char *reason =
          mq_arena_printf(&run->c->arena, "answered %s output '%s'",
                          theirs ? "another number of values for" : "no", graph->outputs[i]->name);
      run->c->is_failed = true;
      status = reason ? skip(run, reason) : mq_fail_memory(run->err, "a reason");
    } else {
      status = compare_output(run, i, theirs, first);
    }
  }
  return status;
}

/* ---- In process ---------------------------------------------------------------------------------------- */

static void order_images(float *to, const struct mq_program_tensor *t, const struct mq_tensor *images) {
  const struct verify_order order = verify_order_of(t, images);
  for (int64_t n = 0; n < images->shape.dim[0]; n++) {
    verify_gather(to + n * mq_program_elements(t), &order,
                  (const float *)images->data + n * images->stride[0]);
  }
}

static void order_output(struct mq_tensor *to, float *row, const struct mq_program_tensor *t,
                         const char *made) {
  const struct verify_order order = verify_order_of(t, to);
  const int64_t count = mq_program_elements(t);
  for (int64_t n = 0; n < to->shape.dim[0]; n++) {
    for (int64_t i = 0; i < count; i++) {
      row[i] = verify_value(t, made + (size_t)n * mq_program_tensor_bytes(t), i);
    }
    verify_scatter((float *)to->data + n * to->stride[0], &order, row);
  }
}

/* Memory for a part: the input in the program's order, the outputs, a row of floats; all in `arena`. */
static mq_status run_program(const struct engine_run *run, struct mq_arena *arena,
                             const struct mq_tensor *images, int64_t first) {
  const struct mq_program *program = run->bundle->program;
  const struct mq_graph *graph = run->bundle->prepared.graph;
  const struct mq_program_tensor *x = &program->tensors[program->inputs[0]];
  const int64_t n = images->shape.dim[0];
  float *pixels = mq_arena_alloc(arena, (size_t)n, mq_program_tensor_bytes(x));
  void **outputs = mq_arena_alloc(arena, program->n_outputs, sizeof *outputs);
  bool is_made = pixels && outputs;
  for (uint32_t i = 0; i < program->n_outputs && is_made; i++) {
    outputs[i] =
        mq_arena_alloc(arena, (size_t)n, mq_program_tensor_bytes(&program->tensors[program->outputs[i]]));
    is_made = outputs[i];
  }
  if (!is_made) {
    return mq_fail_memory(run->err, "images");
  }
  order_images(pixels, x, images);
  const void *inputs[] = {pixels};
  const struct mq_program_run job = {.inputs = inputs, .outputs = outputs, .n_images = n};
  mq_status status = mq_runtime_run(run->runtime, &job, run->err);
  for (uint32_t i = 0; i < program->n_outputs && status == MQ_OK; i++) {
    const struct mq_program_tensor *y = &program->tensors[program->outputs[i]];
    const struct mq_shape shape = mq_shape_at_batch(&graph->outputs[i]->shape, n);
    struct mq_tensor output;
    float *row = mq_arena_alloc(arena, (size_t)mq_program_elements(y), sizeof *row);
    status = row ? mq_tensor_init(&output, MQ_F32, &shape, run->err) : mq_fail_memory(run->err, "an output");
    if (status == MQ_OK) {
      order_output(&output, row, y, outputs[i]);
      status = compare_output(run, i, &output, first);
      mq_tensor_deinit(&output);
    }
  }
  return status;
}

static mq_status run_in_process(const struct engine_run *run, const struct mq_tensor *images, int64_t first) {
  struct mq_arena arena;
  mq_arena_init(&arena, 0);
  mq_status status = run_program(run, &arena, images, first);
  mq_arena_deinit(&arena);
  return status;
}

/* ---- Running ------------------------------------------------------------------------------------------- */

static mq_status keep_nodes(const struct engine_run *run, const struct mq_adapter_result *result) {
  struct mq_engine_comparison *c = run->c;
  struct mq_adapter_node *nodes = mq_arena_alloc(&c->arena, result->n_nodes + 1, sizeof *nodes);
  bool is_kept = nodes;
  for (size_t i = 0; i < result->n_nodes && is_kept; i++) {
    nodes[i] = (struct mq_adapter_node){.name = mq_arena_strdup(&c->arena, result->nodes[i].name),
                                        .op = mq_arena_strdup(&c->arena, result->nodes[i].op),
                                        .is_integer = result->nodes[i].is_integer};
    c->n_integer += nodes[i].is_integer;
    is_kept = nodes[i].name && nodes[i].op;
  }
  c->nodes = nodes;
  c->n_nodes = result->n_nodes;
  return is_kept ? MQ_OK : mq_fail_memory(run->err, "nodes");
}

static mq_status run_adapter(const struct engine_run *run, const struct mq_tensor *images, int64_t first) {
  struct mq_adapter_result result;
  struct mq_err why = {.message = ""};
  const int64_t n = images->shape.dim[0];
  const char *input = run->bundle->prepared.graph->inputs[0]->name;
  const struct mq_adapter_job job = {.adapter = run->adapter,
                                     .model = run->model,
                                     .input_names = &input,
                                     .inputs = images,
                                     .n_inputs = 1,
                                     .batch = n < BATCH ? n : BATCH,
                                     .threads = mq_pool_workers(run->pool),
                                     .timeout_seconds = RUN_SECONDS};
  mq_status status = mq_adapter_run(&result, &job, &why);
  if (status != MQ_OK) {
    return fail_if_bad(run, status, &why);
  }
  status = compare_outputs(run, &result, first, n);
  if (status == MQ_OK && first == 0) {
    status = keep_nodes(run, &result);
  }
  mq_adapter_result_deinit(&result);
  return status;
}

static mq_status run_parts(struct engine_run *run, struct mq_dataset *data) {
  struct mq_progress progress;
  mq_status status = begin_images(run, data);
  mq_progress_init(&progress, run->options->name, (uint64_t)run->verification->n_images);
  while (status == MQ_OK && run->c->n_images < run->verification->n_images && !run->c->skipped_reason) {
    struct mq_tensor images;
    const int64_t first = run->c->n_images;
    status = load_part(run, &images, first);
    if (status == MQ_OK) {
      status = run->runtime ? run_in_process(run, &images, first) : run_adapter(run, &images, first);
      run->c->n_images += images.shape.dim[0];
      mq_progress_add(&progress, (uint64_t)images.shape.dim[0]);
    }
  }
  mq_progress_end(&progress);
  return status;
}

static mq_status start_adapter(struct engine_run *run) {
  struct mq_adapter_info info;
  struct mq_err why = {.message = ""};
  mq_status status = mq_adapter_find(&run->adapter, run->options->name, run->err);
  if (status != MQ_OK) {
    return status;
  }
  status = mq_adapter_probe(&info, run->adapter, PROBE_SECONDS, &why);
  if (status != MQ_OK) {
    return skip_if_bad(run, status, &why);
  }
  if (!info.is_available) {
    return skip(run, info.reason);
  }
  run->c->version = mq_arena_strdup(&run->c->arena, info.version);
  if (!run->c->version) {
    return mq_fail_memory(run->err, "a version");
  }
  return export_model(run, info.formats);
}

static mq_status start(struct engine_run *run) {
  const struct mq_runtime_options options = {.pool = run->pool};
  if (strcmp(run->options->name, MQ_ENGINE_IN_PROCESS) != 0) {
    return start_adapter(run);
  }
  if (!run->bundle->program) {
    return skip(run, "there is no integer program");
  }
  run->c->version = mq_kernel_onednn_version();
  return mq_runtime_create(&run->runtime, run->bundle->program, &options, run->err);
}

static void forget_figures(struct mq_engine_comparison *c) {
  c->n_images = c->elements = c->mismatches = c->n_agree = 0;
  c->max_step = 0;
}

mq_status mq_verify_engine(struct mq_engine_comparison *c, const struct mq_bundle *bundle,
                           const struct mq_verification *verification, struct mq_dataset *data,
                           const struct mq_verify_engine_options *options, struct mq_pool *pool,
                           struct mq_err *err) {
  struct engine_run run = {
      .c = c, .bundle = bundle, .verification = verification, .options = options, .pool = pool, .err = err};
  const char *twin = options->target ? options->target->twin : NULL;
  *c = (struct mq_engine_comparison){
      .version = "", .format = "", .is_twin = twin && strcmp(twin, options->name) == 0};
  c->is_twin = c->is_twin || strcmp(options->name, MQ_ENGINE_IN_PROCESS) == 0;
  mq_arena_init(&c->arena, 0);
  c->name = mq_arena_strdup(&c->arena, options->name);
  mq_status status = c->name ? start(&run) : mq_fail_memory(err, "a name");
  if (status == MQ_OK && !c->skipped_reason) {
    status = run_parts(&run, data);
  }
  if (c->skipped_reason) {
    forget_figures(c);
  }
  mq_runtime_destroy(run.runtime);
  mq_free(run.adapter);
  scratch_remove(run.directory);
  tune_feed_deinit(&run.feed);
  mq_tensor_deinit(&run.part);
  if (status != MQ_OK) {
    mq_engine_comparison_deinit(c);
  }
  return status;
}

void mq_engine_comparison_deinit(struct mq_engine_comparison *c) {
  mq_arena_deinit(&c->arena);
  *c = (struct mq_engine_comparison){.name = NULL};
}
