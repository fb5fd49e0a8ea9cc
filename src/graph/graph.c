/* Creating graphs and adding to them. */
#include <assert.h>
#include <string.h>

#include "graph/internal.h"

mq_status mq_graph_create(struct mq_graph **graph, const char *name, struct mq_err *err) {
  *graph = NULL;
  struct mq_graph *g = mq_alloc(1, sizeof *g);
  if (!g) {
    return mq_fail_memory(err, "graph");
  }
  mq_arena_init(&g->arena, 0);
  g->opset = 17;
  g->name = mq_arena_strdup(&g->arena, name ? name : "");
  g->value_names = mq_arena_alloc(&g->arena, 1, sizeof *g->value_names);
  g->node_names = mq_arena_alloc(&g->arena, 1, sizeof *g->node_names);
  if (!g->name || !g->value_names || !g->node_names) {
    mq_graph_destroy(g);
    return mq_fail_memory(err, "graph");
  }
  *graph = g;
  return MQ_OK;
}

void mq_graph_destroy(struct mq_graph *graph) {
  if (graph) {
    mq_arena_deinit(&graph->arena);
    mq_free(graph);
  }
}

bool graph_append(struct mq_arena *arena, void *array, size_t *n, size_t item_bytes, const void *item) {
  char *items;
  memcpy(&items, array, sizeof items);
  if ((*n & (*n - 1)) == 0) { /* 0 or a power of two: full */
    char *larger = mq_arena_alloc(arena, *n ? *n * 2 : 1, item_bytes);
    if (!larger) {
      return false;
    }
    if (*n) {
      memcpy(larger, items, *n * item_bytes);
    }
    items = larger;
    memcpy(array, &items, sizeof items);
  }
  memcpy(items + *n * item_bytes, item, item_bytes);
  (*n)++;
  return true;
}

mq_status mq_graph_add_value(struct mq_value **value, struct mq_graph *graph, const char *name,
                             mq_dtype dtype, const struct mq_shape *shape, struct mq_err *err) {
  *value = NULL;
  struct mq_value *v = mq_arena_alloc(&graph->arena, 1, sizeof *v);
  if (!v) {
    return mq_fail_memory(err, "value of a graph");
  }
  v->dtype = dtype;
  v->shape = shape ? *shape : (struct mq_shape){.rank = -1};
  mq_status status = graph_names_claim(&v->name, graph->value_names, &graph->arena, name, "value", v, err);
  if (status != MQ_OK) {
    return status;
  }
  v->index = graph->n_values;
  if (!graph_append(&graph->arena, &graph->values, &graph->n_values, sizeof(struct mq_value *), &v)) {
    graph_names_point(graph->value_names, v->name, NULL);
    return mq_fail_memory(err, "values of a graph");
  }
  *value = v;
  return MQ_OK;
}

mq_status graph_new_tensor(struct mq_tensor **tensor, struct mq_arena *arena, mq_dtype dtype,
                           const struct mq_shape *shape, struct mq_err *err) {
  *tensor = NULL;
  int64_t n;
  mq_status status = mq_shape_elements(&n, shape, "constant", err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_tensor *t = mq_arena_alloc(arena, 1, sizeof *t);
  void *data = mq_arena_alloc(arena, (size_t)n + 1, mq_dtype_get(dtype)->bytes);
  if (!t || !data) {
    char text[128];
    return mq_fail(err, MQ_FAILED, "out of memory: constant %s %s", mq_dtype_get(dtype)->name,
                   mq_shape_format(text, sizeof text, shape));
  }
  *t = mq_tensor_view(data, dtype, shape, NULL);
  *tensor = t;
  return MQ_OK;
}

mq_status graph_copy_tensor(struct mq_tensor **copy, struct mq_arena *arena, const struct mq_tensor *tensor,
                            struct mq_err *err) {
  mq_status status = graph_new_tensor(copy, arena, tensor->dtype, &tensor->shape, err);
  if (status == MQ_OK) {
    mq_tensor_copy(*copy, tensor);
  }
  return status;
}

mq_status mq_graph_add_constant(struct mq_value **value, struct mq_graph *graph, const char *name,
                                const struct mq_tensor *tensor, struct mq_err *err) {
  *value = NULL;
  struct mq_tensor *copy = NULL;
  mq_status status = graph_copy_tensor(&copy, &graph->arena, tensor, err);
  if (status != MQ_OK) {
    return status;
  }
  status = mq_graph_add_value(value, graph, name, tensor->dtype, &tensor->shape, err);
  if (status == MQ_OK) {
    (*value)->constant = copy;
  }
  return status;
}

mq_status mq_graph_add_input(struct mq_graph *graph, struct mq_value *value, struct mq_err *err) {
  assert(!value->is_input && !value->producer && !value->constant);
  if (!graph_append(&graph->arena, &graph->inputs, &graph->n_inputs, sizeof(struct mq_value *), &value)) {
    return mq_fail_memory(err, "inputs of a graph");
  }
  value->is_input = true;
  return MQ_OK;
}

mq_status mq_graph_add_output(struct mq_graph *graph, struct mq_value *value, struct mq_err *err) {
  if (!graph_append(&graph->arena, &graph->outputs, &graph->n_outputs, sizeof(struct mq_value *), &value)) {
    return mq_fail_memory(err, "outputs of a graph");
  }
  value->is_output = true;
  return MQ_OK;
}

mq_status graph_add_use(struct mq_graph *graph, struct mq_node *node, int input, struct mq_err *err) {
  struct mq_value *value = node->inputs[input];
  struct mq_use use = {.node = node, .input = input};
  node->use_slots[input] = value->n_uses;
  if (value->n_uses < value->capacity_uses) {
    value->uses[value->n_uses++] = use;
    return MQ_OK;
  }
  size_t capacity = value->capacity_uses ? value->capacity_uses * 2 : 2;
  struct mq_use *larger = mq_arena_alloc(&graph->arena, capacity, sizeof *larger);
  if (!larger) {
    return mq_fail_memory(err, "uses of a value");
  }
  if (value->n_uses) {
    memcpy(larger, value->uses, value->n_uses * sizeof *larger);
  }
  value->uses = larger;
  value->capacity_uses = capacity;
  value->uses[value->n_uses++] = use;
  return MQ_OK;
}

static const char *origin(const struct mq_value *value) {
  return value->producer   ? "produced"
         : value->is_input ? "a graph input"
         : value->constant ? "a constant"
                           : NULL;
}

/* Hostile files name an output twice, or give it a second origin. */
static mq_status link_outputs(struct mq_node *node, struct mq_err *err) {
  for (int i = 0; i < node->n_outputs; i++) {
    struct mq_value *output = node->outputs[i];
    if (output && origin(output)) {
      mq_status status = graph_fail(err, node, "output '%.100s' is %s already", output->name, origin(output));
      while (--i >= 0) {
        if (node->outputs[i]) {
          node->outputs[i]->producer = NULL;
        }
      }
      return status;
    }
    if (output) {
      output->producer = node;
      output->producer_output = i;
    }
  }
  return MQ_OK;
}

static mq_status link_inputs(struct mq_graph *graph, struct mq_node *node, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (int i = 0; i < node->n_inputs && status == MQ_OK; i++) {
    if (node->inputs[i]) {
      status = graph_add_use(graph, node, i, err);
    }
  }
  return status;
}

mq_status mq_graph_add_node(struct mq_node **node, struct mq_graph *graph, mq_op op, const char *name,
                            struct mq_value *const *inputs, int n_inputs, struct mq_value *const *outputs,
                            int n_outputs, struct mq_err *err) {
  assert(op > MQ_OP_NONE && op < MQ_OP_COUNT && n_inputs >= 0 && n_outputs >= 0);
  *node = NULL;
  struct mq_arena *arena = &graph->arena;
  struct mq_node *n = mq_arena_alloc(arena, 1, sizeof *n);
  if (!n) {
    return mq_fail_memory(err, "node of a graph");
  }
  *n = (struct mq_node){.graph = graph, .op = op, .n_inputs = n_inputs, .n_outputs = n_outputs};
  n->inputs = mq_arena_alloc(arena, (size_t)n_inputs, sizeof *n->inputs);
  n->use_slots = mq_arena_alloc(arena, (size_t)n_inputs, sizeof *n->use_slots);
  n->outputs = mq_arena_alloc(arena, (size_t)n_outputs, sizeof *n->outputs);
  if (!n->inputs || !n->use_slots || !n->outputs) {
    return mq_fail_memory(err, "node of a graph");
  }
  for (int i = 0; i < n_inputs; i++) {
    n->inputs[i] = inputs[i];
  }
  for (int i = 0; i < n_outputs; i++) {
    n->outputs[i] = outputs[i];
  }
  n->name = name && *name ? name : mq_op_get(op)->name;
  mq_status status = link_outputs(n, err);
  if (status != MQ_OK) {
    return status;
  }
  status = graph_names_claim(&n->name, graph->node_names, arena, name, mq_op_get(op)->name, n, err);
  if (status != MQ_OK) {
    return status;
  }
  n->index = graph->n_nodes;
  if (!graph_append(arena, &graph->nodes, &graph->n_nodes, sizeof(struct mq_node *), &n)) {
    graph_names_point(graph->node_names, n->name, NULL);
    return mq_fail_memory(err, "nodes of a graph");
  }
  status = link_inputs(graph, n, err);
  *node = status == MQ_OK ? n : NULL;
  return status;
}

struct mq_value *mq_graph_find_value(const struct mq_graph *graph, const char *name) {
  return graph_names_find(graph->value_names, name);
}
