/* Accuracy, loss and logits of a model over a data set, float or with simulated quantization. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "mqbench/kernel.h"
#include "tune/exact.h"
#include "tune/observing.h"

/* What the model's first output is: a network may end in its own softmax. */
typedef enum output_form {
  OUTPUT_LOGITS,
  OUTPUT_PROBABILITIES,
  OUTPUT_LOG_PROBABILITIES,
} output_form;

struct evaluate_run {
  struct tune_feed feed;
  struct mq_evaluation *evaluation; /* NULL: predict */
  double *losses;                   /* by image */
  uint8_t *hits;                    /* by image: 1 top-1, 2 top-5, 4 pixels or logits not finite */
  float *logits;                    /* predict: n_images x n_classes */
  int64_t n_classes;
  output_form form;
  struct mq_progress progress;
};

/* ---- The output's form -------------------------------------------------------------------------- */

/* Operators that leave the numbers what they are, or round them: an image's values stay its classes'. */
static bool hands_through(const struct mq_node *node) {
  switch (node->op) {
    case MQ_OP_Identity:
    case MQ_OP_Dropout:
    case MQ_OP_Cast:
    case MQ_OP_Flatten:
    case MQ_OP_Reshape:
    case MQ_OP_Squeeze:
    case MQ_OP_Unsqueeze:
    case MQ_OP_QuantizeLinear:
    case MQ_OP_DequantizeLinear:
    case MQ_OP_FakeQuantize:
      return true;
    default:
      return false;
  }
}

/* Does it normalise over the classes, all of them, and nothing else? */
static bool is_over_classes(const struct mq_node *softmax, int64_t n_classes) {
  const struct mq_shape *shape = &softmax->outputs[0]->shape;
  int first = 0, last = 0;
  if (mq_node_get_softmax(&first, &last, softmax, NULL) != MQ_OK || first < 1) {
    return false;
  }
  int64_t n = 1;
  for (int i = first; i <= last; i++) {
    n *= shape->dim[i];
  }
  return n == n_classes;
}

static output_form find_form(const struct mq_graph *graph) {
  const struct mq_value *output = graph->outputs[0];
  const struct mq_node *node = output->producer;
  while (node && hands_through(node)) {
    node = node->inputs[0]->producer;
  }
  bool is_log = node && node->op == MQ_OP_LogSoftmax;
  if (!node || (!is_log && node->op != MQ_OP_Softmax) || !is_over_classes(node, output->shape.dim[1])) {
    return OUTPUT_LOGITS;
  }
  return is_log ? OUTPUT_LOG_PROBABILITIES : OUTPUT_PROBABILITIES;
}

/* ---- One image ---------------------------------------------------------------------------------- */
struct row {
  const float *x;
  int64_t n, stride;
};

static float at(const struct row *row, int64_t i) {
  return row->x[i * row->stride];
}

static int32_t argmax(const struct row *row) {
  int64_t best = 0;
  for (int64_t i = 1; i < row->n; i++) {
    best = at(row, i) > at(row, best) ? i : best;
  }
  return (int32_t)best;
}

/* How many classes come before `label`; equal logits: the lower index first. NaN is before everything. */
static int64_t rank_of(const struct row *row, int64_t label) {
  float own = at(row, label);
  int64_t rank = 0;
  for (int64_t i = 0; i < row->n; i++) {
    bool is_behind = i < label ? at(row, i) < own : at(row, i) <= own;
    rank += i != label && !is_behind;
  }
  return rank;
}

static bool is_finite_row(const struct row *row) {
  for (int64_t i = 0; i < row->n; i++) {
    if (!isfinite(at(row, i))) {
      return false;
    }
  }
  return true;
}

/* Sum of exp(x_i - max) over i in [first, first + n) as a binary tree. */
static double sum_of_exp(const struct row *row, double max, int64_t first, int64_t n) {
  if (n == 1) {
    return mq_exp((double)at(row, first) - max);
  }
  int64_t half = 1;
  while (2 * half < n) {
    half *= 2;
  }
  return sum_of_exp(row, max, first, half) + sum_of_exp(row, max, first + half, n - half);
}

/* -log of the label's probability, in double: of softmax(x) for logits. A probability that was rounded to
 * nothing counts as the least normal float32 (a loss of 87.3). */
static double cross_entropy(const struct row *row, int64_t label, output_form form) {
  if (form == OUTPUT_LOG_PROBABILITIES) {
    return -(double)at(row, label);
  }
  if (form == OUTPUT_PROBABILITIES) {
    return -mq_log(fmax((double)at(row, label), (double)FLT_MIN));
  }
  double max = (double)at(row, argmax(row));
  return mq_log(sum_of_exp(row, max, 0, row->n)) + max - (double)at(row, label);
}

static void judge(struct evaluate_run *run, const struct row *row, int64_t image) {
  int64_t label = mq_dataset_label(run->feed.data, image);
  run->evaluation->predicted[image] = argmax(row);
  run->hits[image] |= is_finite_row(row) ? 0 : 4;
  if (label < 0 || label >= row->n) {
    return;
  }
  int64_t rank = rank_of(row, label);
  run->hits[image] |= (uint8_t)((rank < 1 ? 1 : 0) | (rank < 5 ? 2 : 0));
  run->losses[image] = run->hits[image] & 4 ? NAN : cross_entropy(row, label, run->form);
}

/* ---- The job ------------------------------------------------------------------------------------ */
static bool is_finite_block(const float *x, int64_t n) {
  float min, max;
  mq_loop_min_max(&min, &max, x, n);
  return n == 0 || (isfinite(min) && isfinite(max));
}

/* A NaN need not reach the logits (a ReLU may make 0 of it), so it is looked for where it comes in. */
static void mark_pixels(struct evaluate_run *run, size_t slice, const struct mq_tensor *input) {
  int64_t first = (int64_t)slice * run->feed.slice_images, n = tune_feed_valid(&run->feed, slice);
  int64_t pixels = mq_shape_count(&run->feed.image);
  for (int64_t i = 0; i < n; i++) {
    if (!is_finite_block((const float *)input->data + i * input->stride[0], pixels)) {
      run->hits[first + i] = 4;
    }
  }
}

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                      struct mq_err *err) {
  (void)worker;
  struct evaluate_run *run = context;
  mq_status status = tune_feed_fill(&run->feed, slice, inputs, NULL, err);
  if (status == MQ_OK && run->evaluation) {
    mark_pixels(run, slice, &inputs[0]);
  }
  return status;
}

static mq_status take(void *context, size_t slice, unsigned worker, const struct mq_tensor *outputs,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  struct evaluate_run *run = context;
  const struct mq_tensor *y = &outputs[0];
  int64_t first = (int64_t)slice * run->feed.slice_images, n = tune_feed_valid(&run->feed, slice);
  for (int64_t i = 0; i < n; i++) {
    struct row row = {(const float *)y->data + i * y->stride[0], run->n_classes, y->stride[1]};
    if (run->evaluation) {
      judge(run, &row, first + i);
      continue;
    }
    for (int64_t k = 0; k < row.n; k++) {
      run->logits[(first + i) * row.n + k] = at(&row, k);
    }
  }
  mq_progress_add(&run->progress, (uint64_t)n);
  return MQ_OK;
}

static mq_status execute(struct evaluate_run *run, double *engine_seconds, const struct mq_graph *graph,
                         struct mq_dataset *data, int64_t n_images, const struct mq_evaluate_options *options,
                         struct mq_pool *pool, struct mq_err *err) {
  struct mq_engine *engine = NULL;
  struct tune_exact exact = {0};
  struct mq_engine_options engine_options = {
      .simulates = options->points != NULL, .points = options->points, .n_points = options->n_points};
  struct tune_feed_options feed = {
      .n_images = n_images, .slice_images = options->slice_images, .loader_threads = options->loader_threads};
  feed.loader_threads = options->observing ? 0 : feed.loader_threads; /* it takes slices several times */
  mq_status status = tune_feed_init(&run->feed, graph, data, &feed, err);
  if (status == MQ_OK && options->exact) {
    status = tune_exact_init(&exact, options->exact, err);
    engine_options.exact = &exact.engine;
  }
  mq_progress_init(&run->progress, options->label ? options->label : "evaluate", (uint64_t)n_images);
  if (status == MQ_OK) {
    engine_options.slice_images = run->feed.slice_images;
    run->n_classes = graph->outputs[0]->shape.dim[1];
    run->form = find_form(graph);
    const struct mq_engine_job job = {
        .context = run, .n_slices = run->feed.n_slices, .fill = fill, .take = take};
    if (options->observing) {
      status = tune_observing_run(options->observing, graph, &engine_options, &job, &run->feed, pool, err);
    } else {
      status = mq_engine_create(&engine, graph, &engine_options, pool, err);
      status = status == MQ_OK ? mq_engine_run(engine, &job, err) : status;
    }
  }
  if (status == MQ_OK && engine_seconds && engine) {
    *engine_seconds = tune_alone_seconds(mq_engine_busy_seconds(engine), run->feed.n_slices,
                                         mq_pool_workers(pool), mq_cores());
  }
  mq_progress_end(&run->progress);
  mq_engine_destroy(engine);
  tune_exact_deinit(&exact);
  tune_feed_deinit(&run->feed);
  return status;
}

/* ---- Evaluation --------------------------------------------------------------------------------- */
/* Operators in whose constants infinity has a meaning: no limit, or nothing for a maximum to take. */
static bool may_be_infinite(const struct mq_node *node) {
  return node->op == MQ_OP_Clip || node->op == MQ_OP_Pad || node->op == MQ_OP_Min || node->op == MQ_OP_Max ||
         node->op == MQ_OP_Where;
}

static bool has_finite_weights(const struct mq_graph *graph) {
  for (size_t i = 0; i < graph->n_values; i++) {
    const struct mq_value *value = graph->values[i];
    const struct mq_tensor *constant = value->constant;
    bool is_weight = false;
    for (size_t u = 0; constant && u < value->n_uses; u++) {
      is_weight = is_weight || !may_be_infinite(value->uses[u].node);
    }
    if (is_weight && constant->dtype == MQ_F32 &&
        !is_finite_block(constant->data, mq_shape_count(&constant->shape))) {
      return false;
    }
  }
  return true;
}

static void sum_up(struct mq_evaluation *e, const struct evaluate_run *run, const struct mq_graph *graph,
                   const struct mq_dataset *data) {
  size_t n_losses = 0;
  e->is_finite = has_finite_weights(graph);
  for (int64_t i = 0; i < e->n_images; i++) {
    uint8_t hits = run->hits[i];
    bool is_labelled = mq_dataset_label(data, i) >= 0;
    e->n_labelled += is_labelled;
    e->correct += hits & 1;
    e->correct5 += (hits >> 1) & 1;
    e->is_finite = e->is_finite && !(hits & 4);
    e->is_correct[i / 8] |= (uint8_t)((hits & 1) << (i % 8));
    if (is_labelled) {
      run->losses[n_losses++] = run->losses[i];
    }
  }
  e->loss = n_losses ? tune_tree_sum(run->losses, n_losses) / (double)n_losses : NAN;
}

static mq_status begin(struct evaluate_run *run, struct mq_evaluation *evaluation, int64_t n,
                       struct mq_err *err) {
  *run = (struct evaluate_run){.evaluation = evaluation};
  *evaluation = (struct mq_evaluation){.n_images = n};
  evaluation->is_correct = mq_alloc((size_t)n / 8 + 1, 1);
  evaluation->predicted = mq_alloc((size_t)n + 1, sizeof(int32_t));
  run->losses = mq_alloc((size_t)n + 1, sizeof(double));
  run->hits = mq_alloc((size_t)n + 1, 1);
  bool is_there = evaluation->is_correct && evaluation->predicted && run->losses && run->hits;
  return is_there ? MQ_OK : mq_fail_memory(err, "evaluation");
}

static void end(struct evaluate_run *run, mq_status status) {
  mq_free(run->losses);
  mq_free(run->hits);
  if (status != MQ_OK) {
    mq_evaluation_deinit(run->evaluation);
  }
}

mq_status mq_evaluate(struct mq_evaluation *evaluation, const struct mq_graph *graph, struct mq_dataset *data,
                      const struct mq_evaluate_options *options, struct mq_pool *pool, struct mq_err *err) {
  double start = mq_now();
  int64_t n = mq_dataset_get_info(data)->n_images;
  struct evaluate_run run;
  *evaluation = (struct mq_evaluation){0};
  mq_status status = mq_check_model_data(graph, data, err);
  if (status != MQ_OK) {
    return status;
  }
  status = begin(&run, evaluation, n, err);
  if (status == MQ_OK) {
    status = execute(&run, &evaluation->engine_seconds, graph, data, n, options, pool, err);
  }
  if (status == MQ_OK) {
    sum_up(evaluation, &run, graph, data);
    evaluation->seconds = mq_now() - start;
  }
  end(&run, status);
  return status;
}

mq_status mq_evaluate_logits(struct mq_evaluation *evaluation, const struct mq_tensor *logits,
                             const struct mq_graph *graph, struct mq_dataset *data, struct mq_err *err) {
  struct evaluate_run run;
  int64_t n = logits->shape.dim[0];
  mq_status status = begin(&run, evaluation, n, err);
  if (status == MQ_OK) {
    run.feed.data = data;
    run.n_classes = logits->shape.dim[1];
    run.form = find_form(graph);
    for (int64_t i = 0; i < n; i++) {
      struct row row = {(const float *)logits->data + i * logits->stride[0], run.n_classes,
                        logits->stride[1]};
      judge(&run, &row, i);
    }
    sum_up(evaluation, &run, graph, data);
  }
  end(&run, status);
  return status;
}

void mq_evaluation_deinit(struct mq_evaluation *evaluation) {
  mq_free(evaluation->is_correct);
  mq_free(evaluation->predicted);
  *evaluation = (struct mq_evaluation){0};
}

mq_status mq_predict(struct mq_tensor *logits, const struct mq_graph *graph, struct mq_dataset *data,
                     int64_t n_images, const struct mq_evaluate_options *options, struct mq_pool *pool,
                     struct mq_err *err) {
  int64_t n = mq_dataset_get_info(data)->n_images;
  n = n_images > 0 && n_images < n ? n_images : n;
  struct evaluate_run run = {0};
  *logits = (struct mq_tensor){0};
  mq_status status = mq_check_model_data(graph, data, err);
  if (status == MQ_OK) {
    struct mq_shape shape = {.rank = 2, .dim = {n, graph->outputs[0]->shape.dim[1]}};
    status = mq_tensor_init(logits, MQ_F32, &shape, err);
  }
  if (status == MQ_OK) {
    run.logits = logits->data;
    status = execute(&run, NULL, graph, data, n, options, pool, err);
  }
  if (status != MQ_OK) {
    mq_tensor_deinit(logits);
  }
  return status;
}
