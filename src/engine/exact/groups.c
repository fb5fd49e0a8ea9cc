/* Which nodes make a code together. Read off the graph alone: where points are, and whose result reaches one
 * on a way that nothing else reads. */
#include <math.h>
#include <string.h>

#include "engine/exact/exact.h"

/* ---- Which values lie on a grid ------------------------------------------------------------------- */
static const struct mq_qparams *grid_of(const struct engine_compiler *c, const struct mq_value *value) {
  return c->exact->grids[value->index];
}

static bool same_grid(const struct mq_qparams *a, const struct mq_qparams *b) {
  return a == b || (a && b && memcmp(a->scale, b->scale, sizeof *a->scale) == 0 &&
                    a->zero_point[0] == b->zero_point[0] && a->quant_min == b->quant_min &&
                    a->quant_max == b->quant_max);
}

static bool is_zero(const struct mq_tensor *constant) {
  int64_t n = mq_shape_count(&constant->shape);
  for (int64_t i = 0; i < n; i++) {
    if (mq_tensor_get_double(constant, i) != 0) {
      return false;
    }
  }
  return true;
}

/* Zeros lie on every grid. */
static const struct mq_qparams *grid_of_concat(const struct engine_compiler *c, const struct mq_node *node) {
  const struct mq_qparams *grid = NULL;
  for (int i = 0; i < node->n_inputs; i++) {
    const struct mq_value *x = node->inputs[i];
    if (x->constant && is_zero(x->constant)) {
      continue;
    }
    const struct mq_qparams *other = grid_of(c, x);
    if (!other || (grid && !same_grid(grid, other))) {
      return NULL;
    }
    grid = other;
  }
  return grid;
}

/* max(x, 0) stays on a grid that holds 0. */
static bool keeps_grid(const struct mq_node *node) {
  float lo, hi;
  struct mq_padding padding;
  struct mq_resize resize;
  switch (node->op) {
    case MQ_OP_Relu:
    case MQ_OP_Clip:
      return mq_node_get_clip(&lo, &hi, node, NULL) == MQ_OK && (lo == 0 || lo == -INFINITY) &&
             hi == INFINITY;
    case MQ_OP_Pad:
      return mq_node_get_padding(&padding, node, NULL) == MQ_OK &&
             (padding.mode != MQ_PAD_CONSTANT || padding.value == 0);
    case MQ_OP_Resize:
      return mq_node_get_resize(&resize, node, NULL) == MQ_OK && resize.mode == MQ_RESIZE_NEAREST &&
             resize.coordinates != MQ_COORDINATES_TF_CROP_AND_RESIZE;
    default:
      return mq_op_get(node->op)->kind == MQ_KIND_PASSTHROUGH;
  }
}

static void set_grid(struct engine_compiler *c, const struct mq_value *value, const struct mq_qparams *grid) {
  if (value && value->dtype == MQ_F32) {
    c->exact->grids[value->index] = grid;
  }
}

static void pass_grid(struct engine_compiler *c, const struct mq_node *node) {
  const struct mq_value *x = node->n_inputs > 0 ? node->inputs[0] : NULL;
  const struct mq_qparams *grid = NULL;
  if (node->op == MQ_OP_Concat) {
    grid = grid_of_concat(c, node);
  } else if (x && keeps_grid(node)) {
    grid = grid_of(c, x);
  }
  for (int i = 0; grid && i < node->n_outputs; i++) {
    set_grid(c, node->outputs[i], grid);
  }
}

/* ---- From a head to its point --------------------------------------------------------------------- */
static const struct mq_node *only_reader(const struct mq_value *value) {
  return value->n_uses == 1 && !value->is_output ? value->uses[0].node : NULL;
}

/* A point of activations that is calibrated; NULL: none. */
static mq_status find_point(const struct mq_point **point, const struct engine_compiler *c,
                            const struct mq_node *node_or_null, struct mq_err *err) {
  *point = NULL;
  if (!node_or_null || node_or_null->op != MQ_OP_FakeQuantize || node_or_null->inputs[0]->constant) {
    return MQ_OK;
  }
  return engine_fake_quantize_point(point, c, node_or_null, err);
}

/* The activation functions and the point behind `value`, when nothing else reads what is between. */
static mq_status find_end(struct exact_group *group, const struct engine_compiler *c,
                          const struct mq_value *value, struct mq_err *err) {
  const struct mq_point *point;
  const struct mq_node *next = only_reader(value);
  float clip_lo = -INFINITY, clip_hi = INFINITY, lo, hi;
  mq_status status = MQ_OK;
  while (next && (next->op == MQ_OP_Relu || next->op == MQ_OP_Clip) && status == MQ_OK) {
    status = mq_node_get_clip(&lo, &hi, next, err);
    clip_lo = fminf(fmaxf(clip_lo, lo), hi);
    clip_hi = fminf(fmaxf(clip_hi, lo), hi);
    next = only_reader(next->outputs[0]);
  }
  if (status == MQ_OK) {
    status = find_point(&point, c, next, err);
  }
  if (status == MQ_OK && point) {
    group->clip_lo = clip_lo;
    group->clip_hi = clip_hi;
    group->output = next->outputs[0];
    group->y = &point->qparams;
  }
  return status;
}

static mq_status add_group(struct engine_compiler *c, const struct exact_group *group, struct mq_err *err) {
  struct exact_group *added = mq_arena_alloc(&c->arena, 1, sizeof *added);
  struct engine_chain *chain = mq_arena_alloc(&c->arena, 1, sizeof *chain);
  if (!added || !chain) {
    return mq_fail_memory(err, "engine compiler");
  }
  *added = *group;
  c->exact->groups[group->head->index] = added;
  set_grid(c, group->output, group->y);
  const struct mq_node *tail = group->output->producer;
  *chain = (struct engine_chain){.head = group->head, .tail = tail, .output = group->output};
  for (const struct mq_node *node = tail; node != group->head;) {
    c->chains[node->index] = chain;
    node = node->inputs[node->inputs[0]->constant ? 1 : 0]->producer;
  }
  if (tail != group->head) {
    c->chains[group->head->index] = chain;
  }
  return MQ_OK;
}

static bool is_kept_float(const struct engine_compiler *c, const struct mq_node *node) {
  const struct mq_engine_exact *options = c->options->exact;
  for (size_t i = 0; i < options->n_float_nodes; i++) {
    if (options->float_nodes[i] == node) {
      return true;
    }
  }
  return false;
}

/* ---- Layers --------------------------------------------------------------------------------------- */
/* The weights behind input 1, and their point where they are quantized. */
static mq_status find_weights(struct exact_group *group, const struct engine_compiler *c,
                              const struct mq_node *node, struct mq_err *err) {
  const struct mq_node *maker = node->inputs[1]->producer;
  group->weight_values = node->inputs[1]->constant;
  if (!maker || maker->op != MQ_OP_FakeQuantize || !maker->inputs[0]->constant) {
    return MQ_OK;
  }
  group->weight_values = maker->inputs[0]->constant;
  return engine_fake_quantize_point(&group->weights, c, maker, err);
}

/* y = x W + b with W [K, N] or [N, K] and a row b, and nothing else. */
static bool is_linear(const struct mq_node *node) {
  int64_t is_a_transposed = 0;
  float alpha = 1, beta = 1;
  if (node->inputs[1]->shape.rank != 2 || node->op == MQ_OP_MatMul) {
    return node->inputs[1]->shape.rank == 2;
  }
  return mq_node_get_int(&is_a_transposed, node, "transA", 0, NULL) == MQ_OK && !is_a_transposed &&
         mq_node_get_float(&alpha, node, "alpha", 1, NULL) == MQ_OK && alpha == 1 &&
         mq_node_get_float(&beta, node, "beta", 1, NULL) == MQ_OK && beta == 1;
}

static bool is_layer(const struct mq_node *node) {
  bool is_conv = node->op == MQ_OP_Conv || node->op == MQ_OP_ConvTranspose;
  return is_conv || ((node->op == MQ_OP_Gemm || node->op == MQ_OP_MatMul) && is_linear(node));
}

/* The Add of a constant along the last axis that alone reads a MatMul. */
static const struct mq_node *find_bias(const struct mq_value **bias, const struct mq_node *matmul) {
  const struct mq_value *y = matmul->outputs[0];
  const struct mq_node *add = only_reader(y);
  if (matmul->op != MQ_OP_MatMul || !add || add->op != MQ_OP_Add) {
    return NULL;
  }
  const struct mq_value *other = add->inputs[add->inputs[0] == y ? 1 : 0];
  int64_t n = y->shape.dim[y->shape.rank - 1];
  if (!other->constant || other->shape.rank > y->shape.rank ||
      (mq_shape_count(&other->shape) != n && mq_shape_count(&other->shape) != 1)) {
    return NULL;
  }
  if (other->shape.rank > 0 && other->shape.dim[other->shape.rank - 1] != mq_shape_count(&other->shape)) {
    return NULL;
  }
  *bias = other;
  return add;
}

static mq_status plan_layer(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  const struct mq_exact_arithmetic *arithmetic = c->exact->arithmetic;
  struct exact_group group = {
      .kind = EXACT_LAYER, .head = node, .output = node->outputs[0], .x = {grid_of(c, node->inputs[0])}};
  mq_status status = is_layer(node) ? find_weights(&group, c, node, err) : MQ_OK;
  if (status != MQ_OK || !group.weight_values || group.weight_values->dtype != MQ_F32 ||
      (group.weights && !group.x[0])) {
    return status;
  }
  group.kind = group.weights ? EXACT_LAYER : EXACT_FLOAT_LAYER;
  group.bias = node->n_inputs > 2 ? node->inputs[2] : NULL;
  const struct mq_node *add = group.bias ? NULL : find_bias(&group.bias, node);
  group.output = add ? add->outputs[0] : group.output;
  if (arithmetic->requantize && group.weights) {
    status = find_end(&group, c, group.output, err);
  }
  return status == MQ_OK ? add_group(c, &group, err) : status;
}

/* ---- Adds ----------------------------------------------------------------------------------------- */
static mq_status plan_add(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  struct exact_group group = {
      .kind = EXACT_ADD, .head = node, .x = {grid_of(c, node->inputs[0]), grid_of(c, node->inputs[1])}};
  if (!c->exact->arithmetic->add || !group.x[0] || !group.x[1] || is_kept_float(c, node)) {
    return MQ_OK;
  }
  mq_status status = find_end(&group, c, node->outputs[0], err);
  return status == MQ_OK && group.y ? add_group(c, &group, err) : status;
}

/* ---- Averages ------------------------------------------------------------------------------------- */
/* Over H and W of N C H W. */
static bool is_plane_mean(const struct mq_node *node) {
  int64_t axes[MQ_MAX_RANK];
  int n;
  return node->inputs[0]->shape.rank == 4 && mq_node_get_axes(axes, &n, node, 4, NULL) == MQ_OK && n == 2 &&
         axes[0] == 2 && axes[1] == 3;
}

static bool covers_plane(const struct mq_node *node) {
  struct mq_window window;
  const struct mq_shape *x = &node->inputs[0]->shape;
  bool is_whole = x->rank == 4 && mq_node_get_window(&window, node, NULL) == MQ_OK;
  for (int i = 0; i < 2 && is_whole; i++) {
    is_whole = window.kernel[i] == x->dim[2 + i] && !window.pad_begin[i] && !window.pad_end[i];
  }
  return is_whole;
}

static mq_status plan_average(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  const struct mq_engine_exact *options = c->options->exact;
  struct exact_group group = {.kind = EXACT_AVERAGE, .head = node, .x = {grid_of(c, node->inputs[0])}};
  group.is_mean = node->op == MQ_OP_GlobalAveragePool ||
                  (node->op == MQ_OP_ReduceMean ? is_plane_mean(node) : covers_plane(node));
  if (!c->exact->arithmetic->average || options->has_float_averages || !group.x[0] ||
      is_kept_float(c, node) || (node->op == MQ_OP_ReduceMean && !group.is_mean)) {
    return MQ_OK;
  }
  if (group.is_mean ? options->means_keep_scale : options->averages_keep_scale) {
    group.output = node->outputs[0];
    group.y = group.x[0];
    group.clip_lo = -INFINITY;
    group.clip_hi = INFINITY;
    return add_group(c, &group, err);
  }
  mq_status status = find_end(&group, c, node->outputs[0], err);
  return status == MQ_OK && group.y ? add_group(c, &group, err) : status;
}

/* ---- Points --------------------------------------------------------------------------------------- */
static mq_status plan_point(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  const struct mq_point *point;
  struct exact_group group = {.kind = EXACT_POINT, .head = node, .output = node->outputs[0]};
  mq_status status = find_point(&point, c, node, err);
  if (status != MQ_OK || !point || c->chains[node->index]) {
    return status;
  }
  group.y = &point->qparams;
  return add_group(c, &group, err);
}

static mq_status plan_node(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  switch (node->op) {
    case MQ_OP_Conv:
    case MQ_OP_ConvTranspose:
    case MQ_OP_Gemm:
    case MQ_OP_MatMul:
      return plan_layer(c, node, err);
    case MQ_OP_Add:
      return plan_add(c, node, err);
    case MQ_OP_AveragePool:
    case MQ_OP_GlobalAveragePool:
    case MQ_OP_ReduceMean:
      return plan_average(c, node, err);
    case MQ_OP_FakeQuantize:
      return plan_point(c, node, err);
    default:
      pass_grid(c, node);
      return MQ_OK;
  }
}

/* A method's own values, on no grid of integers. */
static mq_status check_points(const struct engine_compiler *c, struct mq_err *err) {
  for (size_t i = 0; i < c->options->n_points; i++) {
    const struct mq_point *point = &c->options->points[i];
    bool is_off_grid = point->quantizer && point->parameters && point->kind == MQ_POINT_ACTIVATION;
    if (is_off_grid || point->qparams.n_channels == 0) {
      return mq_fail(err, MQ_BAD_INPUT,
                     "%s: tensor '%s' has no scale on a grid of integers, expected one for the exact "
                     "simulation",
                     c->graph->name, point->tensor);
    }
    if (point->kind == MQ_POINT_ACTIVATION && point->qparams.n_channels > 1) {
      return mq_fail(err, MQ_BAD_INPUT,
                     "%s: tensor '%s' has %lld scales along axis %d, expected one for the exact simulation",
                     c->graph->name, point->tensor, (long long)point->qparams.n_channels,
                     point->qparams.channel_axis);
    }
  }
  return MQ_OK;
}

mq_status engine_exact_plan(struct engine_compiler *c, struct mq_err *err) {
  struct engine_exact *exact = mq_arena_alloc(&c->arena, 1, sizeof *exact);
  if (!exact) {
    return mq_fail_memory(err, "engine compiler");
  }
  c->exact = exact;
  exact->arithmetic = c->options->exact->arithmetic;
  exact->groups = mq_arena_alloc(&c->arena, c->graph->n_nodes, sizeof(struct exact_group *));
  exact->grids = mq_arena_alloc(&c->arena, c->graph->n_values, sizeof(const struct mq_qparams *));
  if (!exact->groups || !exact->grids) {
    return mq_fail_memory(err, "engine compiler");
  }
  mq_status status = check_points(c, err);
  for (size_t i = 0; i < c->graph->n_nodes && status == MQ_OK; i++) {
    const struct mq_node *node = c->graph->nodes[i];
    if (node->op != MQ_OP_NONE && !c->chains[i]) {
      status = plan_node(c, node, err);
    }
  }
  return status;
}

mq_status engine_exact_compile(bool *is_taken, struct engine_compiler *c, const struct mq_node *node,
                               struct mq_err *err) {
  const struct exact_group *group = c->exact->groups[node->index];
  *is_taken = group != NULL;
  if (!group) {
    return MQ_OK;
  }
  switch (group->kind) {
    case EXACT_LAYER:
      return exact_compile_layer(c, group, err);
    case EXACT_FLOAT_LAYER:
      return exact_compile_float_layer(c, group, err);
    case EXACT_ADD:
      return exact_compile_add(c, group, err);
    case EXACT_AVERAGE:
      return exact_compile_average(c, group, err);
    case EXACT_POINT:
      return exact_compile_point(c, group, err);
  }
  return MQ_OK;
}
