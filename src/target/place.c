/* Where quantization points are: one sweep over the graph in topological order.
 *
 * Every float value is either on a grid (it carries a scale: it is a point, or values only moved since one)
 * or float. Ops with a rule need their inputs on a grid and put points on their outputs; a float input
 * becomes a point for the ops that need it ("demanded"), and stays float for everyone else. Concat joins
 * grids into one class: points of one class share their scale. */
#include <stdio.h>
#include <string.h>

#include "target/roles.h"

struct value_state {
  int grid;               /* class of the scale this value carries; -1: float */
  int demanded;           /* placement that quantizes it for some of its uses; -1: none */
  bool reaches_quantized; /* some quantized op reads it, directly or through others */
};

struct placer {
  const struct mq_target *target;
  struct mq_graph *graph;
  struct mq_arena scratch;
  struct mq_node_role *roles;
  struct value_state *values;
  int *parent; /* union-find over classes */
  int n_classes;
  struct mq_placement *placements;
  int *classes; /* of each placement */
  size_t n_placements;
  struct mq_island *islands;
  size_t n_islands;
  struct mq_err *err;
};

/* ---- Classes of scales ------------------------------------------------------------------------------ */

static int find_class(struct placer *p, int class) {
  while (p->parent[class] != class) {
    p->parent[class] = p->parent[p->parent[class]];
    class = p->parent[class];
  }
  return class;
}

/* The older class stays. */
static int join_classes(struct placer *p, int a, int b) {
  a = find_class(p, a);
  b = find_class(p, b);
  int older = a < b ? a : b;
  p->parent[a] = p->parent[b] = older;
  return older;
}

static struct value_state *state_of(struct placer *p, const struct mq_value *value) {
  return &p->values[value->index];
}

/* The class of a value's quantized form; -1: it has none. */
static int class_of(struct placer *p, const struct mq_value *value) {
  const struct value_state *s = state_of(p, value);
  return s->grid >= 0 ? s->grid : s->demanded >= 0 ? p->classes[s->demanded] : -1;
}

/* ---- What reaches a quantized op -------------------------------------------------------------------- */

static bool needs_grid(const struct placer *p, const struct mq_node *node) {
  mq_quant_op op;
  uint32_t input_ops = p->target->points.input_ops;
  switch (p->roles[node->index].role) {
    case MQ_ROLE_LAYER:
      return mq_is_layer(&op, node) && (input_ops & (1u << op));
    case MQ_ROLE_ADD:
      return input_ops & (1u << MQ_QUANT_ADD);
    case MQ_ROLE_PRODUCT:
      return input_ops & (1u << MQ_QUANT_PRODUCT);
    case MQ_ROLE_POOL:
    case MQ_ROLE_POOL_PASS:
      return input_ops & (1u << MQ_QUANT_POOL);
    default:
      return false;
  }
}

static bool is_quantized_role(mq_role role) {
  return role == MQ_ROLE_LAYER || role == MQ_ROLE_ADD || role == MQ_ROLE_PRODUCT || role == MQ_ROLE_POOL ||
         role == MQ_ROLE_POOL_PASS;
}

/* Against the order of the nodes, so that every use is settled before its value. */
static void mark_reaching(struct placer *p) {
  for (size_t i = p->graph->n_nodes; i-- > 0;) {
    const struct mq_node *node = p->graph->nodes[i];
    bool reaches = is_quantized_role(p->roles[i].role);
    for (int k = 0; k < node->n_outputs && !reaches; k++) {
      reaches = node->outputs[k] && state_of(p, node->outputs[k])->reaches_quantized;
    }
    for (int k = 0; k < node->n_inputs && reaches; k++) {
      if (node->inputs[k]) state_of(p, node->inputs[k])->reaches_quantized = true;
    }
  }
}

/* After the last quantized op, on a target whose last output is float. */
static bool is_float_tail(struct placer *p, const struct mq_value *value) {
  return !p->target->points.network_output && !state_of(p, value)->reaches_quantized;
}

/* ---- Adding points and islands ---------------------------------------------------------------------- */

static const char *op_name(const struct mq_node *node) {
  return mq_op_get(node->op)->name;
}

static mq_status add_placement(struct placer *p, struct mq_value *value, const char *reason, int class) {
  if (!reason) return mq_fail_memory(p->err, "points of a graph");
  struct mq_placement *placement = &p->placements[p->n_placements];
  *placement = (struct mq_placement){.value = value, .reason = reason, .share = -1};
  p->classes[p->n_placements++] = class;
  return MQ_OK;
}

static int new_class(struct placer *p) {
  p->parent[p->n_classes] = p->n_classes;
  return p->n_classes++;
}

static mq_status add_island(struct placer *p, const struct mq_node *node, const char *reason,
                            bool is_tolerated) {
  const char *copy = mq_arena_strdup(&p->graph->arena, reason);
  if (!copy) return mq_fail_memory(p->err, "islands of a graph");
  p->islands[p->n_islands++] = (struct mq_island){.node = node, .reason = copy, .is_tolerated = is_tolerated};
  return MQ_OK;
}

/* "output of Conv conv1 after Relu relu1 (shortcut of Add add1)" */
static const char *describe_output(struct placer *p, const struct mq_node *node) {
  const struct mq_node_role *r = &p->roles[node->index];
  bool is_last = !state_of(p, r->result)->reaches_quantized;
  bool is_own = r->role == MQ_ROLE_CLIP || !r->activation;
  char where[600] = "";
  if (r->result->n_uses == 1 && p->roles[r->result->uses[0].node->index].role == MQ_ROLE_ADD) {
    const struct mq_node *add = r->result->uses[0].node;
    snprintf(where, sizeof where, ", %s of Add %.500s",
             p->roles[add->index].main_input >= 0 ? "shortcut" : "operand", add->name);
  }
  return mq_arena_printf(&p->graph->arena, "output of %s %s%s%s%s%s%s%s", op_name(node), node->name,
                         is_own ? "" : " after ", is_own ? "" : op_name(r->activation), is_own ? "" : " ",
                         is_own ? "" : r->activation->name, where, is_last ? " (network output)" : "");
}

/* "input of Conv conv2, from float Sigmoid sigmoid1" */
static const char *describe_input(struct placer *p, const struct mq_value *value,
                                  const struct mq_node *node) {
  const struct mq_node *from = value->producer;
  bool is_whole = p->target->points.output_ops != 0;
  if (!from || !is_whole) {
    return mq_arena_printf(&p->graph->arena, "input of %s %s", op_name(node), node->name);
  }
  return mq_arena_printf(&p->graph->arena, "input of %s %s, from float %s %s", op_name(node), node->name,
                         op_name(from), from->name);
}

/* Makes `value` quantized for `node`: nothing to do when it carries a scale. */
static mq_status demand(struct placer *p, struct mq_value *value, struct mq_node *node) {
  struct value_state *s = state_of(p, value);
  if (value->constant || s->grid >= 0) return MQ_OK;
  if (s->demanded < 0) {
    int index = (int)p->n_placements;
    mq_status status = add_placement(p, value, describe_input(p, value, node), new_class(p));
    if (status) return status;
    struct mq_placement *placement = &p->placements[index];
    placement->consumers = mq_arena_alloc(&p->graph->arena, value->n_uses + 1, sizeof(struct mq_node *));
    if (!placement->consumers) return mq_fail_memory(p->err, "points of a graph");
    s->demanded = index;
  }
  struct mq_placement *placement = &p->placements[s->demanded];
  size_t n = placement->n_consumers;
  if (n && placement->consumers[n - 1] == node) return MQ_OK; /* x + x */
  placement->consumers[placement->n_consumers++] = node;
  return MQ_OK;
}

/* A point on the output of a quantized op (after what is fused to it), where the rules want one. */
static mq_status put_output(struct placer *p, struct mq_node *node, mq_quant_op op) {
  struct mq_value *result = p->roles[node->index].result;
  if (!(p->target->points.output_ops & (1u << op)) || is_float_tail(p, result)) return MQ_OK;
  int class = new_class(p);
  state_of(p, result)->grid = class;
  return add_placement(p, result, describe_output(p, node), class);
}

/* ---- One function per role -------------------------------------------------------------------------- */

static mq_status place_weight(struct placer *p, struct mq_node *node) {
  const char *reason = mq_arena_printf(&p->graph->arena, "weights of %s %s", op_name(node), node->name);
  size_t index = p->n_placements;
  mq_status status = add_placement(p, node->inputs[1], reason, new_class(p));
  if (status) return status;
  struct mq_placement *placement = &p->placements[index];
  placement->is_weight = true;
  placement->op = node;
  placement->consumers = mq_arena_alloc(&p->graph->arena, 1, sizeof(struct mq_node *));
  if (!placement->consumers) return mq_fail_memory(p->err, "points of a graph");
  placement->consumers[0] = node;
  placement->n_consumers = 1;
  return MQ_OK;
}

/* Graph 2: this layer's output goes into the add's 32-bit sum as it is. */
static bool is_main_branch(const struct placer *p, const struct mq_value *result) {
  if (result->n_uses != 1) return false;
  const struct mq_use *use = &result->uses[0];
  const struct mq_node_role *r = &p->roles[use->node->index];
  return r->role == MQ_ROLE_ADD && r->main_input == use->input;
}

static mq_status place_layer(struct placer *p, struct mq_node *node) {
  mq_quant_op op = MQ_QUANT_CONV;
  mq_status status = MQ_OK;
  if (!mq_is_layer(&op, node)) return MQ_OK;
  if (needs_grid(p, node)) status = demand(p, node->inputs[0], node);
  if (!status) status = place_weight(p, node);
  if (status || is_main_branch(p, p->roles[node->index].result)) return status;
  return put_output(p, node, op);
}

static mq_status place_add(struct placer *p, struct mq_node *node) {
  int main_input = p->roles[node->index].main_input;
  for (int i = 0; i < 2 && needs_grid(p, node); i++) {
    mq_status status = i == main_input ? MQ_OK : demand(p, node->inputs[i], node);
    if (status) return status;
  }
  return put_output(p, node, MQ_QUANT_ADD);
}

static mq_status place_product(struct placer *p, struct mq_node *node) {
  for (int i = 0; i < 2 && needs_grid(p, node); i++) {
    mq_status status = demand(p, node->inputs[i], node);
    if (status) return status;
  }
  return put_output(p, node, MQ_QUANT_PRODUCT);
}

static mq_status place_pool(struct placer *p, struct mq_node *node) {
  mq_status status = needs_grid(p, node) ? demand(p, node->inputs[0], node) : MQ_OK;
  if (status) return status;
  if (p->roles[node->index].role == MQ_ROLE_POOL) return put_output(p, node, MQ_QUANT_POOL);
  if (p->target->points.output_ops) state_of(p, node->outputs[0])->grid = class_of(p, node->inputs[0]);
  return MQ_OK;
}

/* All inputs of a concat get one scale, as soon as one of them has one. Where all are float, so is the
 * output: one point behind the concat does. */
static mq_status place_concat(struct placer *p, struct mq_node *node) {
  bool has_grid = false;
  for (int i = 0; i < node->n_inputs; i++)
    has_grid |= state_of(p, node->inputs[i])->grid >= 0;
  if (!has_grid || is_float_tail(p, node->outputs[0])) return MQ_OK;
  int class = -1;
  for (int i = 0; i < node->n_inputs; i++) {
    struct mq_value *x = node->inputs[i];
    mq_status status = demand(p, x, node);
    if (status) return status;
    if (!x->constant) class = class < 0 ? class_of(p, x) : join_classes(p, class, class_of(p, x));
  }
  state_of(p, node->outputs[0])->grid = class;
  return MQ_OK;
}

static bool is_island(const struct placer *p, const struct mq_node *node) {
  return node && p->roles[node->index].role == MQ_ROLE_ISLAND;
}

/* An activation function that belongs to an island's op is part of the island. */
static mq_status place_float_activation(struct placer *p, struct mq_node *node) {
  const struct mq_node *from = node->inputs[0]->producer;
  if (!is_island(p, from) || mq_op_get(node->op)->kind != MQ_KIND_ACTIVATION) return MQ_OK;
  struct mq_node_role *r = &p->roles[node->index];
  r->role = MQ_ROLE_ISLAND;
  r->is_kept_float = p->roles[from->index].is_kept_float;
  char reason[600];
  snprintf(reason, sizeof reason, "it belongs to float %s %.500s", op_name(from), from->name);
  return add_island(p, node, reason, r->is_kept_float);
}

static mq_status place_pass(struct placer *p, struct mq_node *node) {
  int grid = state_of(p, node->inputs[0])->grid;
  if (grid < 0) return place_float_activation(p, node);
  for (int i = 0; i < node->n_outputs; i++) {
    if (node->outputs[i]) state_of(p, node->outputs[i])->grid = grid;
  }
  return MQ_OK;
}

static mq_status place_clip(struct placer *p, struct mq_node *node) {
  if (state_of(p, node->inputs[0])->grid < 0) return place_float_activation(p, node);
  if (is_float_tail(p, node->outputs[0])) return MQ_OK;
  int class = new_class(p);
  state_of(p, node->outputs[0])->grid = class;
  return add_placement(p, node->outputs[0], describe_output(p, node), class);
}

static mq_status place_island(struct placer *p, struct mq_node *node) {
  const struct mq_node_role *r = &p->roles[node->index];
  bool is_final = (node->op == MQ_OP_Softmax || node->op == MQ_OP_LogSoftmax) &&
                  !state_of(p, node->outputs[0])->reaches_quantized;
  return add_island(p, node, is_final ? "after the last layer" : r->reason, is_final || r->is_kept_float);
}

static mq_status place_node(struct placer *p, struct mq_node *node) {
  switch (p->roles[node->index].role) {
    case MQ_ROLE_LAYER:
      return place_layer(p, node);
    case MQ_ROLE_ADD:
      return place_add(p, node);
    case MQ_ROLE_PRODUCT:
      return place_product(p, node);
    case MQ_ROLE_POOL:
    case MQ_ROLE_POOL_PASS:
      return place_pool(p, node);
    case MQ_ROLE_CONCAT:
      return place_concat(p, node);
    case MQ_ROLE_PASS:
      return place_pass(p, node);
    case MQ_ROLE_CLIP:
      return place_clip(p, node);
    case MQ_ROLE_ISLAND:
      return place_island(p, node);
    case MQ_ROLE_FUSED: /* its op's business */
    case MQ_ROLE_FLOAT:
    case MQ_ROLE_NONE:
      return MQ_OK;
  }
  return MQ_OK;
}

static mq_status place_inputs(struct placer *p) {
  for (size_t i = 0; i < p->graph->n_inputs && p->target->points.network_input; i++) {
    struct mq_value *x = p->graph->inputs[i];
    if (x->dtype != MQ_F32 || is_float_tail(p, x)) continue;
    int class = new_class(p);
    state_of(p, x)->grid = class;
    mq_status status = add_placement(p, x, mq_arena_strdup(&p->graph->arena, "network input"), class);
    if (status) return status;
  }
  return MQ_OK;
}

/* ---- Afterwards ------------------------------------------------------------------------------------- */

/* Uses that every consumer covers need no list. */
static void simplify_consumers(struct mq_placement *placement) {
  if (!placement->consumers || placement->is_weight || placement->value->is_output) return;
  size_t n_uses = 0;
  for (size_t i = 0; i < placement->n_consumers; i++) {
    const struct mq_node *node = placement->consumers[i];
    for (int k = 0; k < node->n_inputs; k++)
      n_uses += node->inputs[k] == placement->value;
  }
  if (n_uses < placement->value->n_uses) return;
  placement->consumers = NULL;
  placement->n_consumers = 0;
}

/* Share ids count the classes that hold more than one point, in order. */
static mq_status number_shares(struct placer *p) {
  int *n_members = mq_arena_alloc(&p->scratch, (size_t)p->n_classes + 1, sizeof *n_members);
  int *share = mq_arena_alloc(&p->scratch, (size_t)p->n_classes + 1, sizeof *share);
  if (!n_members || !share) return mq_fail_memory(p->err, "points of a graph");
  int n_shares = 0;
  for (size_t i = 0; i < p->n_placements; i++)
    n_members[find_class(p, p->classes[i])]++;
  for (size_t i = 0; i < p->n_placements; i++) {
    int class = find_class(p, p->classes[i]);
    if (n_members[class] < 2) continue;
    if (!share[class]) share[class] = ++n_shares;
    p->placements[i].share = share[class] - 1;
  }
  return MQ_OK;
}

/* A node adds at most a point per input (concat), a weight and an output. */
static size_t count_placements(const struct mq_graph *graph) {
  size_t n = graph->n_inputs;
  for (size_t i = 0; i < graph->n_nodes; i++)
    n += (size_t)graph->nodes[i]->n_inputs + 2;
  return n;
}

static mq_status allocate(struct placer *p) {
  size_t n_nodes = p->graph->n_nodes, n_values = p->graph->n_values, n = count_placements(p->graph);
  p->roles = mq_arena_alloc(&p->scratch, n_nodes + 1, sizeof *p->roles);
  p->values = mq_arena_alloc(&p->scratch, n_values + 1, sizeof *p->values);
  p->parent = mq_arena_alloc(&p->scratch, n + 1, sizeof *p->parent);
  p->classes = mq_arena_alloc(&p->scratch, n + 1, sizeof *p->classes);
  p->placements = mq_arena_alloc(&p->graph->arena, n + 1, sizeof *p->placements);
  p->islands = mq_arena_alloc(&p->graph->arena, n_nodes + 1, sizeof *p->islands);
  if (!p->roles || !p->values || !p->parent || !p->classes || !p->placements || !p->islands) {
    return mq_fail_memory(p->err, "points of a graph");
  }
  for (size_t i = 0; i < n_values; i++) {
    p->values[i] = (struct value_state){.grid = -1, .demanded = -1};
  }
  return MQ_OK;
}

mq_status mq_target_place(struct mq_placement **placements, size_t *n_placements, struct mq_island **islands,
                          size_t *n_islands, const struct mq_target *target, struct mq_graph *graph,
                          struct mq_err *err) {
  struct placer p = {.target = target, .graph = graph, .err = err};
  *placements = NULL;
  *islands = NULL;
  *n_placements = *n_islands = 0;
  mq_arena_init(&p.scratch, 0);
  mq_status status = allocate(&p);
  if (!status) status = mq_roles_assign(p.roles, target, graph, err);
  if (status) goto done;
  mark_reaching(&p);
  status = place_inputs(&p);
  for (size_t i = 0; i < graph->n_nodes && !status; i++)
    status = place_node(&p, graph->nodes[i]);
  if (!status) status = number_shares(&p);
  if (status) goto done;
  for (size_t i = 0; i < p.n_placements; i++)
    simplify_consumers(&p.placements[i]);
  *placements = p.placements;
  *n_placements = p.n_placements;
  *islands = p.islands;
  *n_islands = p.n_islands;
done:
  mq_arena_deinit(&p.scratch);
  return status;
}
