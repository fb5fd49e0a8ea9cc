#include "target/roles.h"

#include <math.h>
#include <string.h>

#include "target/override.h"

static int64_t get_int(const struct mq_node *node, const char *name, int64_t fallback) {
  int64_t value = fallback;
  return mq_node_get_int(&value, node, name, fallback, NULL) ? fallback : value;
}

static const struct mq_value *input_at(const struct mq_node *node, int i) {
  return i < node->n_inputs ? node->inputs[i] : NULL;
}

static bool is_variable(const struct mq_value *value) {
  return value && !value->constant;
}

/* ---- What a node is, whatever the target says ------------------------------------------------------- */

static bool is_linear(const struct mq_node *node) {
  const struct mq_value *weight = input_at(node, 1);
  if (weight->shape.rank != 2) return false;
  if (node->op == MQ_OP_MatMul) return true;
  const struct mq_value *bias = input_at(node, 2);
  return get_int(node, "transA", 0) == 0 && (!bias || bias->constant);
}

bool mq_is_layer(mq_quant_op *op, const struct mq_node *node) {
  bool is_conv = node->op == MQ_OP_Conv || node->op == MQ_OP_ConvTranspose;
  if (!is_conv && node->op != MQ_OP_Gemm && node->op != MQ_OP_MatMul) return false;
  const struct mq_value *data = input_at(node, 0), *weight = input_at(node, 1);
  if (!is_variable(data) || !weight || !weight->constant || weight->constant->dtype != MQ_F32) return false;
  if (!is_conv && !is_linear(node)) return false;
  *op = is_conv ? MQ_QUANT_CONV : MQ_QUANT_LINEAR;
  return true;
}

/* ReduceMean over exactly the last two of four dimensions. */
static bool is_plane_mean(const struct mq_node *node) {
  int64_t axes[MQ_MAX_RANK];
  int n = 0;
  const struct mq_value *x = input_at(node, 0);
  if (!x || x->shape.rank != 4 || mq_node_get_axes(axes, &n, node, 4, NULL)) return false;
  return n == 2 && axes[0] + axes[1] == 5 && axes[0] * axes[1] == 6;
}

/* An AveragePool whose one window is the whole plane. */
static bool covers_plane(const struct mq_node *node) {
  struct mq_window window;
  const struct mq_value *x = input_at(node, 0);
  if (!x || x->shape.rank != 4 || mq_node_get_window(&window, node, NULL)) return false;
  for (int i = 0; i < 2; i++) {
    if (window.kernel[i] != x->shape.dim[2 + i] || window.pad_begin[i] || window.pad_end[i]) return false;
  }
  return true;
}

bool mq_is_global_pool(const struct mq_node *node) {
  return node->op == MQ_OP_GlobalAveragePool || (node->op == MQ_OP_ReduceMean && is_plane_mean(node)) ||
         (node->op == MQ_OP_AveragePool && covers_plane(node));
}

bool mq_quant_op_of(mq_quant_op *op, const struct mq_node *node) {
  if (mq_is_layer(op, node)) return true;
  if (node->op == MQ_OP_Add) {
    *op = MQ_QUANT_ADD;
    return is_variable(node->inputs[0]) && is_variable(node->inputs[1]);
  }
  *op = MQ_QUANT_POOL;
  return node->op == MQ_OP_AveragePool || mq_is_global_pool(node);
}

static bool is_zero_constant(const struct mq_value *value) {
  int64_t n = mq_shape_count(&value->constant->shape);
  for (int64_t i = 0; i < n; i++) {
    if (mq_tensor_get_double(value->constant, i) != 0) return false;
  }
  return true;
}

/* Zero is the one value that every scheme represents exactly. */
static bool pads_exactly(const struct mq_node *node) {
  struct mq_padding padding;
  if (mq_node_get_padding(&padding, node, NULL)) return false;
  return padding.mode != MQ_PAD_CONSTANT || padding.value == 0;
}

static bool resizes_by_copying(const struct mq_node *node) {
  struct mq_resize resize;
  if (mq_node_get_resize(&resize, node, NULL)) return false;
  return resize.mode == MQ_RESIZE_NEAREST && resize.coordinates != MQ_COORDINATES_TF_CROP_AND_RESIZE;
}

/* max(x, 0) of a grid that holds 0 stays on the grid; other bounds need not lie on it. */
static bool clips_on_grid(const struct mq_node *node) {
  float lo = 0, hi = 0;
  if (mq_node_get_clip(&lo, &hi, node, NULL)) return false;
  return (lo == 0 || lo == -INFINITY) && hi == INFINITY;
}

bool mq_moves_values(const struct mq_node *node) {
  if (node->op == MQ_OP_NONE || !is_variable(input_at(node, 0))) return false;
  if (node->op == MQ_OP_Pad) return pads_exactly(node);
  if (node->op == MQ_OP_Resize) return resizes_by_copying(node);
  mq_op_kind kind = mq_op_get(node->op)->kind;
  return kind == MQ_KIND_ACTIVATION ? clips_on_grid(node) : kind == MQ_KIND_PASSTHROUGH;
}

int mq_weight_axis(const struct mq_node *layer) {
  int64_t group = get_int(layer, "group", 1);
  switch (layer->op) {
    case MQ_OP_Conv:
      return 0;
    case MQ_OP_ConvTranspose: /* [Cin, Cout/group, kh, kw]; depthwise: Cin counts the outputs as well */
      if (group == 1) return 1;
      return layer->inputs[1]->shape.dim[0] == group && layer->inputs[1]->shape.dim[1] == 1 ? 0 : -1;
    case MQ_OP_Gemm:
      return get_int(layer, "transB", 0) ? 0 : 1;
    default:
      return 1;
  }
}

/* ---- Roles of single nodes -------------------------------------------------------------------------- */

static bool is_quantized_op(const struct mq_target *target, mq_quant_op op) {
  return (target->points.input_ops | target->points.output_ops) & (1u << op);
}

static void set_island(struct mq_node_role *r, const char *reason) {
  r->role = MQ_ROLE_ISLAND;
  r->reason = reason;
}

static void role_of_layer(struct mq_node_role *r, const struct mq_target *target,
                          const struct mq_node *node) {
  mq_quant_op op;
  bool is_product = node->op == MQ_OP_MatMul && is_variable(node->inputs[0]) && is_variable(node->inputs[1]);
  if (mq_is_layer(&op, node)) {
    r->role = is_quantized_op(target, op) ? MQ_ROLE_LAYER : MQ_ROLE_ISLAND;
    r->reason = "the target does not quantize this op";
  } else if (is_product && is_quantized_op(target, MQ_QUANT_PRODUCT)) {
    r->role = MQ_ROLE_PRODUCT;
  } else {
    set_island(r, "its weights are not a constant matrix or filter");
  }
}

static void role_of_add(struct mq_node_role *r, const struct mq_target *target, const struct mq_node *node) {
  if (!is_variable(node->inputs[0]) || !is_variable(node->inputs[1])) {
    set_island(r, "one operand is a constant");
  } else if (target->points.add == MQ_ADD_NONE) {
    set_island(r, "the target leaves adds in float");
  } else {
    r->role = MQ_ROLE_ADD;
  }
}

static void role_of_pool(struct mq_node_role *r, const struct mq_target *target, const struct mq_node *node) {
  bool is_global = mq_is_global_pool(node);
  if (node->op == MQ_OP_ReduceMean && !is_global) {
    set_island(r, "a mean over other axes than H and W");
    return;
  }
  switch (target->points.pool) {
    case MQ_POOL_NONE:
      set_island(r, "the target leaves averages in float");
      break;
    case MQ_POOL_OUTPUT:
      r->role = MQ_ROLE_POOL;
      break;
    case MQ_POOL_INPUT_SCALE:
      r->role = is_global ? MQ_ROLE_POOL : MQ_ROLE_POOL_PASS;
      break;
    case MQ_POOL_INPUT_SCALE_GLOBAL:
      r->role = MQ_ROLE_POOL_PASS;
      break;
  }
}

static void role_of_concat(struct mq_node_role *r, const struct mq_target *target,
                           const struct mq_node *node) {
  r->role = MQ_ROLE_CONCAT;
  if (target->points.concat == MQ_CONCAT_NONE) set_island(r, "the target leaves concats in float");
  for (int i = 0; i < node->n_inputs && r->role == MQ_ROLE_CONCAT; i++) {
    const struct mq_value *x = node->inputs[i];
    if (x && x->constant && !is_zero_constant(x)) set_island(r, "it joins a constant other than zeros");
  }
}

static void role_of_other(struct mq_node_role *r, const struct mq_target *target,
                          const struct mq_node *node) {
  bool is_unary = node->op == MQ_OP_HardSwish || node->op == MQ_OP_Sigmoid || node->op == MQ_OP_HardSigmoid;
  if (is_unary && is_quantized_op(target, MQ_QUANT_UNARY)) {
    r->role = MQ_ROLE_CLIP;
    return;
  }
  if (mq_moves_values(node)) {
    r->role = MQ_ROLE_PASS;
    return;
  }
  switch (node->op) {
    case MQ_OP_Clip:
    case MQ_OP_Relu:
      r->role = MQ_ROLE_CLIP;
      break;
    case MQ_OP_Pad:
      set_island(r, "it pads with a value that need not be on the grid");
      break;
    case MQ_OP_Resize:
      set_island(r, "it interpolates");
      break;
    case MQ_OP_BatchNormalization:
      set_island(r, "no conv or linear before it takes it in");
      break;
    default:
      set_island(r, "there is no rule for this op");
      break;
  }
}

/* Role of a node by itself; fusing comes after. */
static void role_of_node(struct mq_node_role *r, const struct mq_target *target, const struct mq_graph *graph,
                         const struct mq_node *node) {
  *r = (struct mq_node_role){.main_input = -1};
  if (node->op == MQ_OP_NONE || node->n_outputs == 0 || !node->outputs[0] || node->outputs[0]->constant ||
      node->outputs[0]->dtype != MQ_F32) {
    return;
  }
  r->result = node->outputs[0];
  switch (node->op) {
    case MQ_OP_Conv:
    case MQ_OP_ConvTranspose:
    case MQ_OP_Gemm:
    case MQ_OP_MatMul:
      role_of_layer(r, target, node);
      break;
    case MQ_OP_Add:
      role_of_add(r, target, node);
      break;
    case MQ_OP_AveragePool:
    case MQ_OP_GlobalAveragePool:
    case MQ_OP_ReduceMean:
      role_of_pool(r, target, node);
      break;
    case MQ_OP_Concat:
      role_of_concat(r, target, node);
      break;
    default:
      role_of_other(r, target, node);
      break;
  }
  if (mq_override_keeps_op_float(target, graph, node)) {
    set_island(r, "kept float by an override");
    r->is_kept_float = true;
  }
  /* Where outputs are no points, everything between the listed ops is float by rule. */
  if (r->role == MQ_ROLE_ISLAND && !target->points.output_ops) r->role = MQ_ROLE_FLOAT;
}

/* ---- Fusing ----------------------------------------------------------------------------------------- */

/* The bias of a MatMul that could not become a Gemm: Add of a constant along the last axis. */
static bool is_bias_add(const struct mq_node *add, const struct mq_value *x) {
  if (add->op != MQ_OP_Add) return false;
  const struct mq_value *other = add->inputs[add->inputs[0] == x ? 1 : 0];
  if (!other->constant || other->shape.rank > x->shape.rank) return false;
  for (int i = 0; i + 1 < other->shape.rank; i++) {
    if (other->shape.dim[i] != 1) return false;
  }
  return true;
}

static bool is_fusable(const struct mq_node_role *maker, const struct mq_node *node, const struct mq_value *x,
                       const struct mq_node *next) {
  if (next->op == MQ_OP_Relu || next->op == MQ_OP_Clip) return next->inputs[0] == x;
  if (maker->role != MQ_ROLE_LAYER || maker->activation) return false;
  if (next->op == MQ_OP_BatchNormalization) return next->inputs[0] == x;
  return node->op == MQ_OP_MatMul && is_bias_add(next, x);
}

/* "The activation function belongs to the op before it", as do a BN that was kept and a MatMul's bias. */
static void fuse_followers(struct mq_node_role *roles, const struct mq_node *node) {
  struct mq_node_role *r = &roles[node->index];
  if (r->role != MQ_ROLE_LAYER && r->role != MQ_ROLE_ADD && r->role != MQ_ROLE_POOL) return;
  while (r->result->n_uses == 1 && !r->result->is_output) {
    const struct mq_node *next = r->result->uses[0].node;
    struct mq_node_role *follower = &roles[next->index];
    if (follower->is_kept_float || !is_fusable(r, node, r->result, next)) return;
    follower->role = MQ_ROLE_FUSED;
    if (mq_op_get(next->op)->kind == MQ_KIND_ACTIVATION) r->activation = next;
    r->result = next->outputs[0];
  }
}

/* ---- Adds ------------------------------------------------------------------------------------------- */

/* The layer whose own output (before any activation function) is `x`, read by the add alone. */
static const struct mq_node *epilogue_layer(const struct mq_node_role *roles, const struct mq_value *x) {
  if (x->n_uses != 1 || x->is_output) return NULL;
  const struct mq_node *node = x->producer;
  while (node && roles[node->index].role == MQ_ROLE_FUSED &&
         mq_op_get(node->op)->kind != MQ_KIND_ACTIVATION) {
    int data = node->inputs[0]->constant ? 1 : 0;
    node = node->inputs[data]->producer;
  }
  return node && roles[node->index].role == MQ_ROLE_LAYER ? node : NULL;
}

/* a + b + c: an add that another add reads, and nothing else. */
static bool is_sum_of_three(const struct mq_node_role *roles, const struct mq_node *add) {
  const struct mq_value *y = add->outputs[0];
  if (y->n_uses == 1 && !y->is_output && roles[y->uses[0].node->index].role == MQ_ROLE_ADD) return true;
  for (int i = 0; i < 2; i++) {
    const struct mq_value *x = add->inputs[i];
    if (x->n_uses == 1 && !x->is_output && x->producer && roles[x->producer->index].role == MQ_ROLE_ADD) {
      return true;
    }
  }
  return false;
}

static int depth_of(const struct mq_node_role *roles, const struct mq_value *value) {
  return value->producer ? roles[value->producer->index].depth : 0;
}

/* Main branch of an add (graph 2): made by a conv or linear whose only consumer is the add; of two, the one
 * on the longer path, at equal length the first operand. -1: the add follows rule 3. */
static int find_main_input(const struct mq_node_role *roles, const struct mq_node *add) {
  const struct mq_value *a = add->inputs[0], *b = add->inputs[1], *y = add->outputs[0];
  if (a == b || !mq_shape_equal(&a->shape, &y->shape) || !mq_shape_equal(&b->shape, &y->shape) ||
      is_sum_of_three(roles, add)) {
    return -1;
  }
  bool is_a = epilogue_layer(roles, a), is_b = epilogue_layer(roles, b);
  if (is_a && is_b) return depth_of(roles, b) > depth_of(roles, a) ? 1 : 0;
  return is_a ? 0 : is_b ? 1 : -1;
}

static void set_depth(struct mq_node_role *roles, const struct mq_node *node) {
  struct mq_node_role *r = &roles[node->index];
  for (int i = 0; i < node->n_inputs; i++) {
    int depth = node->inputs[i] ? depth_of(roles, node->inputs[i]) : 0;
    if (depth > r->depth) r->depth = depth;
  }
  mq_quant_op op;
  if (r->role != MQ_ROLE_FUSED && mq_quant_op_of(&op, node)) r->depth++;
}

mq_status mq_roles_assign(struct mq_node_role *roles, const struct mq_target *target,
                          const struct mq_graph *graph, struct mq_err *err) {
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    if (node->op != MQ_OP_NONE && mq_op_get(node->op)->kind == MQ_KIND_QUANTIZE) {
      return mq_fail(err, MQ_BAD_INPUT,
                     "%s: node '%s' is %s: the model is quantized already, expected a float model",
                     graph->name, node->name, mq_op_get(node->op)->name);
    }
    role_of_node(&roles[i], target, graph, node);
  }
  for (size_t i = 0; i < graph->n_nodes; i++)
    fuse_followers(roles, graph->nodes[i]);
  for (size_t i = 0; i < graph->n_nodes; i++)
    set_depth(roles, graph->nodes[i]);
  for (size_t i = 0; i < graph->n_nodes && target->points.add == MQ_ADD_EPILOGUE; i++) {
    if (roles[i].role == MQ_ROLE_ADD) roles[i].main_input = find_main_input(roles, graph->nodes[i]);
  }
  return MQ_OK;
}
