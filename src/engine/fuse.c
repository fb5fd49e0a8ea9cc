/* What is computed together with a convolution or matrix product: batch normalisation and other constants per
 * channel, a residual add, a clip, in this order. A value that somebody else reads, taps or gets as an output
 * ends the chain; so does a calibrated quantization point. */
#include <math.h>
#include <string.h>

#include "engine/compile.h"

struct engine_chain engine_chain_get(const struct engine_compiler *c, const struct mq_node *head) {
  const struct engine_chain *chain = c->chains[head->index];
  return chain ? *chain : (struct engine_chain){.head = head, .tail = head, .output = head->outputs[0]};
}

mq_status engine_fake_quantize_point(const struct mq_point **point_or_null, const struct engine_compiler *c,
                                     const struct mq_node *node, struct mq_err *err) {
  *point_or_null = NULL;
  int64_t index;
  mq_status status = mq_node_get_int(&index, node, "point", -1, err);
  if (status != MQ_OK || !c->options->simulates) {
    return status;
  }
  if (index < 0 || (uint64_t)index >= c->options->n_points) {
    return engine_fail_unsupported(node, err, "point %lld, expected 0 to %zu", (long long)index,
                                   c->options->n_points);
  }
  const struct mq_point *point = &c->options->points[index];
  *point_or_null = point->qparams.n_channels > 0 ? point : NULL;
  return MQ_OK;
}

/* ---- Batch normalisation ------------------------------------------------------------------------ */
static mq_status channel_constant(const struct mq_tensor **tensor, const struct mq_node *node, int input,
                                  int64_t n, struct mq_err *err) {
  static const char *const roles[] = {"input", "scale", "bias", "mean", "variance"};
  *tensor = node->inputs[input] ? node->inputs[input]->constant : NULL;
  if (!*tensor) {
    return engine_fail_unsupported(node, err, "%s is computed, expected a constant", roles[input]);
  }
  if (mq_shape_count(&(*tensor)->shape) != n) {
    return engine_fail_unsupported(node, err, "%s has %lld elements, expected %lld", roles[input],
                                   (long long)mq_shape_count(&(*tensor)->shape), (long long)n);
  }
  return MQ_OK;
}

mq_status engine_batch_norm(double **gain, double **shift, int64_t *n, struct mq_arena *arena,
                            const struct mq_node *node, struct mq_err *err) {
  const struct mq_tensor *parameters[5] = {NULL};
  int64_t is_training, channels = node->inputs[0]->shape.rank > 1 ? node->inputs[0]->shape.dim[1] : 1;
  float epsilon;
  mq_status status = mq_node_get_float(&epsilon, node, "epsilon", 1e-5f, err);
  if (status == MQ_OK) {
    status = mq_node_get_int(&is_training, node, "training_mode", 0, err);
  }
  if (status == MQ_OK && is_training) {
    return engine_fail_unsupported(node, err, "training_mode is 1, expected 0");
  }
  for (int i = 1; i < 5 && status == MQ_OK; i++) {
    status = channel_constant(&parameters[i], node, i, channels, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  *n = channels;
  *gain = mq_arena_alloc(arena, (size_t)channels, sizeof **gain);
  *shift = mq_arena_alloc(arena, (size_t)channels, sizeof **shift);
  if (!*gain || !*shift) {
    return mq_fail_memory(err, "batch normalisation");
  }
  for (int64_t i = 0; i < channels; i++) {
    double variance = mq_tensor_get_double(parameters[4], i);
    (*gain)[i] = mq_tensor_get_double(parameters[1], i) / sqrt(variance + (double)epsilon);
    (*shift)[i] =
        mq_tensor_get_double(parameters[2], i) - mq_tensor_get_double(parameters[3], i) * (*gain)[i];
  }
  return MQ_OK;
}

/* ---- Growing a chain ---------------------------------------------------------------------------- */
static bool is_constant(const struct engine_compiler *c, const struct mq_value *value) {
  return c->is_constant[value->index];
}

static bool is_head(const struct engine_compiler *c, const struct mq_node *node) {
  if (is_constant(c, node->outputs[0])) {
    return false;
  }
  switch (node->op) {
    case MQ_OP_Conv:
    case MQ_OP_ConvTranspose:
      return true;
    case MQ_OP_MatMul:
      return node->inputs[1]->shape.rank == 2 && is_constant(c, node->inputs[1]);
    case MQ_OP_Gemm: { /* a bias that is not one row is added in a step of its own */
      const struct mq_value *bias = node->n_inputs > 2 ? node->inputs[2] : NULL;
      const struct mq_shape *shape = bias ? &bias->shape : NULL;
      int64_t columns = node->outputs[0]->shape.dim[1];
      return is_constant(c, node->inputs[1]) &&
             (!bias || (is_constant(c, bias) && shape->rank <= 2 && (shape->rank < 2 || shape->dim[0] == 1) &&
                        (mq_shape_count(shape) == 1 || mq_shape_count(shape) == columns)));
    }
    default:
      return false;
  }
}

/* The channel axis of a head's output: where gains and shifts apply. */
static int channel_axis(const struct engine_chain *chain) {
  return chain->head->op == MQ_OP_MatMul ? chain->output->shape.rank - 1 : 1;
}

static bool has_constant_weights(const struct engine_compiler *c, const struct mq_node *head) {
  return is_constant(c, head->inputs[1]) &&
         (head->n_inputs < 3 || !head->inputs[2] || is_constant(c, head->inputs[2]));
}

static bool can_fold(const struct engine_compiler *c, const struct engine_chain *chain) {
  return !c->options->simulates && chain->n_posts == 0 && !chain->fold_gain &&
         has_constant_weights(c, chain->head) && chain->head->op == MQ_OP_Conv;
}

static bool is_ready_for(const struct engine_chain *chain, mq_post_kind kind) {
  static const int order[] = {[MQ_POST_AFFINE] = 0, [MQ_POST_ADD] = 1, [MQ_POST_CLIP] = 2};
  if (chain->n_posts == 0) {
    return true;
  }
  return chain->n_posts < MQ_MAX_POSTS && order[chain->posts[chain->n_posts - 1].kind] < order[kind];
}

static mq_status add_affine(bool *is_added, struct engine_compiler *c, struct engine_chain *chain,
                            const double *gain, const double *shift, int64_t n, struct mq_err *err) {
  void *block;
  mq_status status = engine_alloc(&block, c, (size_t)n, 2 * sizeof(float), err);
  if (status != MQ_OK) {
    return status;
  }
  float *gains = block, *shifts = gains + n;
  for (int64_t i = 0; i < n; i++) {
    gains[i] = (float)gain[i];
    shifts[i] = (float)shift[i];
  }
  chain->posts[chain->n_posts++] = (struct mq_post){.kind = MQ_POST_AFFINE, .gain = gains, .shift = shifts};
  *is_added = true;
  return MQ_OK;
}

static mq_status try_batch_norm(bool *is_added, struct engine_compiler *c, struct engine_chain *chain,
                                const struct mq_node *node, struct mq_err *err) {
  if (channel_axis(chain) != 1 || !is_ready_for(chain, MQ_POST_AFFINE)) {
    return MQ_OK;
  }
  double *gain, *shift;
  int64_t n;
  mq_status status = engine_batch_norm(&gain, &shift, &n, &c->arena, node, err);
  if (status != MQ_OK) {
    return status;
  }
  if (can_fold(c, chain)) {
    chain->fold_gain = gain;
    chain->fold_shift = shift;
    *is_added = true;
    return MQ_OK;
  }
  return add_affine(is_added, c, chain, gain, shift, n, err);
}

/* A constant of one element per channel, as exporters write biases and scales of their own. */
static bool is_per_channel(const struct mq_value *value, const struct engine_chain *chain) {
  const struct mq_shape *shape = &value->shape;
  int axis = channel_axis(chain) - (chain->output->shape.rank - shape->rank); /* of the constant */
  if (!value->constant || value->dtype != MQ_F32 || shape->rank > chain->output->shape.rank || axis < 0) {
    return false;
  }
  for (int i = 0; i < shape->rank; i++) {
    int64_t expected = i == axis ? chain->output->shape.dim[channel_axis(chain)] : 1;
    if (shape->dim[i] != expected) {
      return false;
    }
  }
  return true;
}

static mq_status try_channel_constant(bool *is_added, struct engine_compiler *c, struct engine_chain *chain,
                                      const struct mq_node *node, const struct mq_value *constant,
                                      struct mq_err *err) {
  if (!is_ready_for(chain, MQ_POST_AFFINE)) {
    return MQ_OK;
  }
  int64_t n = mq_shape_count(&constant->shape);
  double *gain = mq_arena_alloc(&c->arena, (size_t)n, sizeof *gain);
  double *shift = mq_arena_alloc(&c->arena, (size_t)n, sizeof *shift);
  if (!gain || !shift) {
    return mq_fail_memory(err, "constant per channel");
  }
  for (int64_t i = 0; i < n; i++) {
    double x = mq_tensor_get_double(constant->constant, i);
    gain[i] = node->op == MQ_OP_Mul ? x : 1;
    shift[i] = node->op == MQ_OP_Mul ? 0 : x;
  }
  return add_affine(is_added, c, chain, gain, shift, n, err);
}

static mq_status try_binary(bool *is_added, struct engine_compiler *c, struct engine_chain *chain,
                            const struct mq_node *node, int input, struct mq_err *err) {
  const struct mq_value *other = node->inputs[1 - input];
  if (is_per_channel(other, chain)) {
    return try_channel_constant(is_added, c, chain, node, other, err);
  }
  if (node->op == MQ_OP_Add && other != chain->output && !other->constant && other->dtype == MQ_F32 &&
      mq_shape_equal(&other->shape, &chain->output->shape) && is_ready_for(chain, MQ_POST_ADD) &&
      !chain->residual) {
    chain->residual = other;
    chain->posts[chain->n_posts++] = (struct mq_post){.kind = MQ_POST_ADD};
    *is_added = true;
  }
  return MQ_OK;
}

static mq_status try_clip(bool *is_added, struct engine_chain *chain, const struct mq_node *node,
                          struct mq_err *err) {
  struct mq_post post = {.kind = MQ_POST_CLIP};
  if (!is_ready_for(chain, MQ_POST_CLIP)) {
    return MQ_OK;
  }
  mq_status status = mq_node_get_clip(&post.lo, &post.hi, node, err);
  if (status == MQ_OK) {
    chain->posts[chain->n_posts++] = post;
    *is_added = true;
  }
  return status;
}

static mq_status try_node(bool *is_added, struct engine_compiler *c, struct engine_chain *chain,
                          const struct mq_use *use, struct mq_err *err) {
  const struct mq_node *node = use->node;
  const struct mq_point *point;
  mq_status status = MQ_OK;
  switch (node->op) {
    case MQ_OP_FakeQuantize:
      status = engine_fake_quantize_point(&point, c, node, err);
      *is_added = status == MQ_OK && !point;
      return status;
    case MQ_OP_BatchNormalization:
      return use->input == 0 ? try_batch_norm(is_added, c, chain, node, err) : MQ_OK;
    case MQ_OP_Add:
    case MQ_OP_Mul:
      return try_binary(is_added, c, chain, node, use->input, err);
    case MQ_OP_Relu:
    case MQ_OP_Clip:
      return use->input == 0 ? try_clip(is_added, chain, node, err) : MQ_OK;
    default:
      return MQ_OK;
  }
}

/* Statistics are exchanged at the chain's last node, or at the next one. */
static bool is_exchanged(const struct engine_compiler *c, const struct engine_chain *chain,
                         const struct mq_value *value) {
  return c->exchange_of[chain->tail->index] || c->exchange_of[value->uses[0].node->index];
}

static mq_status grow(struct engine_compiler *c, struct engine_chain *chain, struct mq_err *err) {
  for (;;) {
    const struct mq_value *value = chain->output;
    if (value->n_uses != 1 || value->is_output || c->is_tapped[value->index] ||
        is_exchanged(c, chain, value) || value->dtype != MQ_F32 || c->options->memory == MQ_MEMORY_KEEP_ALL ||
        c->chains[value->uses[0].node->index]) {
      return MQ_OK;
    }
    bool is_added = false;
    mq_status status = try_node(&is_added, c, chain, &value->uses[0], err);
    if (status != MQ_OK || !is_added) {
      return status;
    }
    chain->tail = value->uses[0].node;
    chain->output = chain->tail->outputs[0];
    c->chains[chain->tail->index] = chain;
  }
}

mq_status engine_find_chains(struct engine_compiler *c, struct mq_err *err) {
  for (size_t i = 0; i < c->graph->n_nodes; i++) {
    const struct mq_node *node = c->graph->nodes[i];
    if (node->op == MQ_OP_NONE || !is_head(c, node)) {
      continue;
    }
    struct engine_chain *chain = mq_arena_alloc(&c->arena, 1, sizeof *chain);
    if (!chain) {
      return mq_fail_memory(err, "engine compiler");
    }
    *chain = (struct engine_chain){.head = node, .tail = node, .output = node->outputs[0]};
    c->chains[i] = chain;
    mq_status status = grow(c, chain, err);
    if (status != MQ_OK) {
      return status;
    }
  }
  return MQ_OK;
}

mq_status engine_chain_output(int *y, struct engine_compiler *c, const struct engine_chain *chain, int x,
                              int residual, const int64_t *stride, struct mq_err *err) {
  const struct engine_place *places = c->engine->places;
  mq_status status;
  if (residual >= 0 && engine_can_overwrite(c, residual) && places[residual].buffer != places[x].buffer) {
    struct mq_tensor tensor = places[residual].tensor;
    status = engine_new_view(y, c, residual, &tensor, 0, err);
  } else {
    struct mq_shape shape = engine_shape(c, chain->output);
    status = engine_new_place(y, c, MQ_F32, &shape, stride, err);
  }
  if (status == MQ_OK) {
    engine_bind(c, chain->output, *y);
  }
  return status;
}
