/* Batch normalisation re-estimated with quantized weights and activations; see tune.h for what is estimated.
 * A layer whose batch normalisation was folded is treated as if one still followed: its statistics in the
 * float graph take the place of beta and gamma. */
#include <math.h>
#include <string.h>

#include "tune/feed.h"
#include "tune/points.h"

#define GAIN_LIMIT 2.0

/* A node that normalises. */
struct site {
  const struct mq_node *node;
  const struct mq_point *weights; /* of a folded layer whose gain may change; else NULL */
  size_t weight_point;
  int64_t n_channels;
  double epsilon;                      /* of a kept BN */
  double *float_mean, *float_variance; /* of a folded layer, per channel */
  double *mean, *variance;             /* being estimated: sums over batches, then the mean */
};

struct bn_run {
  struct tune_feed feed; /* first: the engine's fill function finds it here */
  struct mq_prepared *prepared;
  struct site *sites;
  const struct mq_node **nodes; /* of the sites */
  size_t n_sites, n_batches;
  bool is_float; /* the pass over the float graph */
  struct mq_arena arena;
};

/* ---- Where -------------------------------------------------------------------------------------- */
static bool is_kept_bn(const struct mq_node *node) {
  bool is_constant = node->op == MQ_OP_BatchNormalization;
  for (int i = 1; i < 5 && is_constant; i++) {
    is_constant = node->inputs[i] && node->inputs[i]->constant;
  }
  return is_constant;
}

static size_t weight_point_of(const struct mq_prepared *prepared, const struct mq_node *node) {
  const struct mq_node *quantizer = node->n_inputs > 1 && node->inputs[1] ? node->inputs[1]->producer : NULL;
  return quantizer && quantizer->op == MQ_OP_FakeQuantize ? tune_point_behind(prepared, node->inputs[1])
                                                          : SIZE_MAX;
}

static bool is_read_by_bn(const struct mq_value *value) {
  for (size_t u = 0; u < value->n_uses; u++) {
    if (is_kept_bn(value->uses[u].node)) {
      return true;
    }
  }
  return false;
}

/* Conv, ConvTranspose and Gemm with quantized constant weights, a bias per channel (or none) and no BN
 * behind. */
static bool is_folded_layer(const struct mq_prepared *prepared, const struct mq_node *node) {
  if (node->op != MQ_OP_Conv && node->op != MQ_OP_ConvTranspose && node->op != MQ_OP_Gemm) {
    return false;
  }
  int64_t channels = node->outputs[0]->shape.dim[1];
  const struct mq_value *bias = node->n_inputs > 2 ? node->inputs[2] : NULL;
  bool has_bias_form = !bias || (bias->constant && bias->shape.rank == 1 && bias->shape.dim[0] == channels);
  size_t point = weight_point_of(prepared, node);
  return has_bias_form && point != SIZE_MAX && prepared->points[point].qparams.n_channels > 0 &&
         tune_constant_behind(node->inputs[1]) && !is_read_by_bn(node->outputs[0]);
}

/* The weights may be rescaled when their scales are floats per channel of their own layer only. */
static bool can_rescale(const struct mq_point *point, const struct mq_node *node) {
  const struct mq_value *quantized = node->inputs[1], *weights = quantized->producer->inputs[0];
  return point->kind == MQ_POINT_WEIGHT && point->qparams.n_channels == node->outputs[0]->shape.dim[1] &&
         point->qparams.n_channels > 1 && point->scheme.scale_form == MQ_SCALE_FLOAT &&
         quantized->n_uses == 1 && weights->n_uses == 1 && node->op == MQ_OP_Conv;
}

static mq_status add_site(struct bn_run *run, const struct mq_node *node, struct mq_err *err) {
  struct site *site = &run->sites[run->n_sites];
  float epsilon = 0;
  size_t n = (size_t)node->outputs[0]->shape.dim[1];
  *site = (struct site){.node = node, .n_channels = (int64_t)n, .weight_point = SIZE_MAX};
  if (node->op == MQ_OP_BatchNormalization) {
    mq_status status = mq_node_get_float(&epsilon, node, "epsilon", 1e-5f, err);
    if (status != MQ_OK) {
      return status;
    }
  } else {
    const struct mq_point *point = &run->prepared->points[weight_point_of(run->prepared, node)];
    site->weight_point = (size_t)(point - run->prepared->points);
    site->weights = can_rescale(point, node) ? point : NULL;
  }
  site->epsilon = (double)epsilon;
  double *numbers = mq_arena_alloc(&run->arena, n, 4 * sizeof(double));
  if (!numbers) {
    return mq_fail_memory(err, "batch normalisation");
  }
  site->mean = numbers;
  site->variance = numbers + n;
  site->float_mean = numbers + 2 * n;
  site->float_variance = numbers + 3 * n;
  run->nodes[run->n_sites++] = node;
  return MQ_OK;
}

static mq_status find_sites(struct bn_run *run, struct mq_err *err) {
  const struct mq_graph *graph = run->prepared->graph;
  run->sites = mq_arena_alloc(&run->arena, graph->n_nodes, sizeof *run->sites);
  run->nodes = mq_arena_alloc(&run->arena, graph->n_nodes, sizeof(struct mq_node *));
  if (!run->sites || !run->nodes) {
    return mq_fail_memory(err, "batch normalisation");
  }
  mq_status status = MQ_OK;
  for (size_t i = 0; i < graph->n_nodes && status == MQ_OK; i++) {
    const struct mq_node *node = graph->nodes[i];
    if (is_kept_bn(node) || is_folded_layer(run->prepared, node)) {
      status = add_site(run, node, err);
    }
  }
  return status;
}

/* ---- Statistics --------------------------------------------------------------------------------- */
static double unbiased(double variance, int64_t count) {
  return count > 1 ? variance * (double)count / (double)(count - 1) : variance;
}

static double parameter(const struct site *site, int input, int64_t channel) {
  return mq_tensor_get_double(site->node->inputs[input]->constant, channel);
}

/* g = sd_f / sd_q for layers that can be rescaled. */
static double gain_of(const struct site *site, int64_t channel, double variance) {
  if (!site->weights || !(variance > 0) || !(site->float_variance[channel] > 0)) {
    return 1;
  }
  double gain = sqrt(site->float_variance[channel] / variance);
  return gain < 1 / GAIN_LIMIT ? 1 / GAIN_LIMIT : gain > GAIN_LIMIT ? GAIN_LIMIT : gain;
}

/* Adds a batch's statistics and answers how the batch itself is normalised. */
static mq_status exchange(void *context, size_t group, size_t index, const struct mq_channel_statistics *s,
                          float *gain, float *shift, struct mq_err *err) {
  (void)group;
  (void)err;
  const struct bn_run *run = context;
  const struct site *site = &run->sites[index];
  bool is_bn = site->node->op == MQ_OP_BatchNormalization;
  for (int64_t c = 0; c < s->n_channels; c++) {
    double variance = unbiased(s->variance[c], s->count), g = 1, target = s->mean[c];
    site->mean[c] += s->mean[c];
    site->variance[c] += variance;
    if (is_bn && run->is_float) { /* the float graph keeps its own statistics */
      g = parameter(site, 1, c) / sqrt(parameter(site, 4, c) + site->epsilon);
      target = parameter(site, 2, c) + g * (s->mean[c] - parameter(site, 3, c));
    } else if (is_bn) {
      g = parameter(site, 1, c) / sqrt(s->variance[c] + site->epsilon);
      target = parameter(site, 2, c);
    } else if (!run->is_float) {
      g = gain_of(site, c, variance);
      target = site->float_mean[c];
    }
    gain[c] = (float)g;
    shift[c] = (float)(target - g * s->mean[c]);
  }
  return MQ_OK;
}

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                      struct mq_err *err) {
  (void)worker;
  struct bn_run *run = context;
  return tune_feed_fill(&run->feed, slice, inputs, NULL, err);
}

static int64_t count_valid(void *context, size_t slice) {
  const struct bn_run *run = context;
  return tune_feed_valid(&run->feed, slice);
}

static mq_status init_feed(struct bn_run *run, size_t *batch_slices, struct mq_dataset *data,
                           const struct mq_calibrate_options *options, struct mq_err *err) {
  int64_t batch = options->batch > 0 ? options->batch : 32;
  int64_t slice = options->slice_images > 0 ? options->slice_images : 8;
  slice = batch % slice == 0 ? slice : batch;
  int64_t n = options->n_indices >= batch ? options->n_indices / batch * batch : options->n_indices;
  struct tune_feed_options feed = {.indices = options->indices, .n_images = n, .slice_images = slice};
  mq_status status = tune_feed_init(&run->feed, run->prepared->graph, data, &feed, err);
  if (status == MQ_OK) {
    *batch_slices = (size_t)((batch + run->feed.slice_images - 1) / run->feed.slice_images);
    run->n_batches = (run->feed.n_slices + *batch_slices - 1) / *batch_slices;
  }
  return status;
}

/* One pass over the images; afterwards every site holds the mean of the batches' statistics. */
static mq_status estimate(struct bn_run *run, struct mq_dataset *data,
                          const struct mq_calibrate_options *options, struct mq_pool *pool,
                          struct mq_err *err) {
  struct mq_engine *engine = NULL;
  size_t batch_slices = 1;
  mq_status status = init_feed(run, &batch_slices, data, options, err);
  if (status == MQ_OK) {
    struct mq_engine_options engine_options = {.slice_images = run->feed.slice_images,
                                               .simulates = !run->is_float,
                                               .points = run->prepared->points,
                                               .n_points = run->prepared->n_points,
                                               .exchanges = run->nodes,
                                               .n_exchanges = run->n_sites,
                                               .group_slices = batch_slices};
    status = mq_engine_create(&engine, run->prepared->graph, &engine_options, pool, err);
  }
  for (size_t i = 0; i < run->n_sites; i++) {
    memset(run->sites[i].mean, 0, (size_t)run->sites[i].n_channels * 2 * sizeof(double));
  }
  if (status == MQ_OK) {
    struct mq_engine_job job = {.context = run,
                                .n_slices = run->feed.n_slices,
                                .fill = fill,
                                .exchange = exchange,
                                .count_valid = count_valid};
    status = mq_engine_run(engine, &job, err);
  }
  for (size_t i = 0; i < run->n_sites && status == MQ_OK; i++) {
    for (int64_t c = 0; c < 2 * run->sites[i].n_channels; c++) {
      run->sites[i].mean[c] /= (double)run->n_batches; /* variance lies behind mean */
    }
  }
  mq_engine_destroy(engine);
  tune_feed_deinit(&run->feed);
  return status;
}

/* ---- New constants ------------------------------------------------------------------------------ */
/* The node's input becomes `values`: in place where only this node reads it, else a constant of its own. */
static mq_status set_vector(struct mq_graph *graph, struct mq_node *node, int input, const float *values,
                            int64_t n, struct mq_err *err) {
  struct mq_value *old = input < node->n_inputs ? node->inputs[input] : NULL;
  if (old && old->n_uses == 1 && !old->is_output) {
    memcpy(old->constant->data, values, (size_t)n * sizeof *values);
    return MQ_OK;
  }
  const struct mq_shape shape = {.rank = 1, .dim = {n}};
  struct mq_tensor tensor = mq_tensor_view((void *)(uintptr_t)values, MQ_F32, &shape, NULL); /* is copied */
  const char *name = old ? old->name : mq_arena_printf(&graph->arena, "%s.bias", node->name);
  struct mq_value *value;
  if (!name) {
    return mq_fail_memory(err, "a name");
  }
  mq_status status = mq_graph_add_constant(&value, graph, name, &tensor, err);
  return status == MQ_OK ? mq_graph_set_input(graph, node, input, value, err) : status;
}

static mq_status write_kept(struct mq_graph *graph, const struct site *site, float *row, struct mq_err *err) {
  struct mq_node *node = graph->nodes[site->node->index];
  for (int64_t c = 0; c < site->n_channels; c++) {
    row[c] = (float)site->mean[c];
  }
  mq_status status = set_vector(graph, node, 3, row, site->n_channels, err);
  for (int64_t c = 0; c < site->n_channels; c++) {
    row[c] = (float)site->variance[c];
  }
  return status == MQ_OK ? set_vector(graph, node, 4, row, site->n_channels, err) : status;
}

/* s' = g s; w' = s' (q - z): on its grid, so that the integers stay what they were. */
static void rescale_weights(struct mq_prepared *prepared, const struct site *site, const double *gain) {
  struct mq_point *point = &prepared->points[site->weight_point];
  struct mq_qparams *q = &point->qparams;
  struct mq_tensor *weights = site->node->inputs[1]->producer->inputs[0]->constant;
  int64_t row_count = mq_shape_count(&weights->shape) / q->n_channels; /* Conv: channels are dimension 0 */
  float *w = weights->data;
  for (int64_t c = 0; c < q->n_channels; c++) {
    float old = q->scale[c], new = (float)((double)old * gain[c]);
    for (int64_t i = 0; i < row_count; i++, w++) {
      int32_t n = mq_quantize_value(*w, old, q->zero_point[c], q->quant_min, q->quant_max);
      *w = new *(float)(n - q->zero_point[c]);
    }
    q->scale[c] = new;
  }
}

static mq_status write_folded(struct mq_prepared *prepared, const struct site *site, float *row,
                              struct mq_err *err) {
  struct mq_node *node = prepared->graph->nodes[site->node->index];
  const struct mq_tensor *bias = node->n_inputs > 2 && node->inputs[2] ? node->inputs[2]->constant : NULL;
  double *gain = mq_alloc((size_t)site->n_channels + 1, sizeof *gain);
  if (!gain) {
    return mq_fail_memory(err, "batch normalisation");
  }
  for (int64_t c = 0; c < site->n_channels; c++) {
    double b = bias ? mq_tensor_get_double(bias, c) : 0;
    gain[c] = gain_of(site, c, site->variance[c]);
    row[c] = (float)(gain[c] * (b - site->mean[c]) + site->float_mean[c]);
  }
  if (site->weights) {
    rescale_weights(prepared, site, gain);
  }
  mq_free(gain);
  return set_vector(prepared->graph, node, 2, row, site->n_channels, err);
}

static mq_status write_sites(const struct bn_run *run, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < run->n_sites && status == MQ_OK; i++) {
    const struct site *site = &run->sites[i];
    float *row = mq_alloc((size_t)site->n_channels + 1, sizeof *row);
    if (!row) {
      return mq_fail_memory(err, "batch normalisation");
    }
    status = site->node->op == MQ_OP_BatchNormalization ? write_kept(run->prepared->graph, site, row, err)
                                                        : write_folded(run->prepared, site, row, err);
    mq_free(row);
  }
  return status;
}

/* ---- All of it ---------------------------------------------------------------------------------- */
static bool has_folded(const struct bn_run *run) {
  for (size_t i = 0; i < run->n_sites; i++) {
    if (run->sites[i].node->op != MQ_OP_BatchNormalization) {
      return true;
    }
  }
  return false;
}

static mq_status estimate_float(struct bn_run *run, struct mq_dataset *data,
                                const struct mq_calibrate_options *options, struct mq_pool *pool,
                                struct mq_err *err) {
  run->is_float = true;
  mq_status status = estimate(run, data, options, pool, err);
  for (size_t i = 0; i < run->n_sites && status == MQ_OK; i++) {
    size_t bytes = (size_t)run->sites[i].n_channels * 2 * sizeof(double);
    memcpy(run->sites[i].float_mean, run->sites[i].mean, bytes);
  }
  run->is_float = false;
  return status;
}

mq_status mq_bn_calibrate(struct mq_prepared *prepared, struct mq_dataset *data,
                          const struct mq_calibrate_options *options, struct mq_pool *pool,
                          struct mq_err *err) {
  struct bn_run run = {.prepared = prepared};
  mq_arena_init(&run.arena, 0);
  mq_status status = MQ_OK;
  if (options->n_indices < 1) {
    status = mq_fail(err, MQ_BAD_USAGE, "BN calibration needs at least one image, found %lld",
                     (long long)options->n_indices);
  }
  if (status == MQ_OK) {
    status = mq_check_model_data(prepared->graph, data, err);
  }
  if (status == MQ_OK) {
    status = find_sites(&run, err);
  }
  if (status == MQ_OK && has_folded(&run)) {
    status = estimate_float(&run, data, options, pool, err);
  }
  if (status == MQ_OK && run.n_sites > 0) {
    status = estimate(&run, data, options, pool, err);
  }
  if (status == MQ_OK) {
    status = write_sites(&run, err);
  }
  mq_arena_deinit(&run.arena);
  return status;
}
