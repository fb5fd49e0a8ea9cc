/* Changing a graph: inputs, uses, names, removal. */
#include <assert.h>
#include <string.h>

#include "graph/internal.h"

/* The last use takes the place of the removed one. */
static void remove_use(struct mq_node *node, int input) {
  struct mq_value *value = node->inputs[input];
  size_t slot = node->use_slots[input];
  assert(slot < value->n_uses && value->uses[slot].node == node);
  struct mq_use last = value->uses[--value->n_uses];
  value->uses[slot] = last;
  last.node->use_slots[last.input] = slot;
}

static mq_status append_input(struct mq_graph *graph, struct mq_node *node, struct mq_err *err) {
  size_t n = (size_t)node->n_inputs;
  struct mq_value **inputs = mq_arena_alloc(&graph->arena, n + 1, sizeof(struct mq_value *));
  size_t *slots = mq_arena_alloc(&graph->arena, n + 1, sizeof *slots);
  if (!inputs || !slots) {
    return mq_fail_memory(err, "inputs of a node");
  }
  if (n) {
    memcpy(inputs, node->inputs, n * sizeof *inputs);
    memcpy(slots, node->use_slots, n * sizeof *slots);
  }
  node->inputs = inputs;
  node->use_slots = slots;
  node->n_inputs++;
  return MQ_OK;
}

mq_status mq_graph_set_input(struct mq_graph *graph, struct mq_node *node, int input, struct mq_value *value,
                             struct mq_err *err) {
  assert(input >= 0 && input <= node->n_inputs && node->graph == graph);
  if (input == node->n_inputs) {
    mq_status status = append_input(graph, node, err);
    if (status != MQ_OK) {
      return status;
    }
  }
  if (node->inputs[input]) {
    remove_use(node, input);
  }
  node->inputs[input] = value;
  return value ? graph_add_use(graph, node, input, err) : MQ_OK;
}

static bool reserve_uses(struct mq_graph *graph, struct mq_value *value, size_t n_more) {
  size_t needed = value->n_uses + n_more;
  if (needed <= value->capacity_uses) {
    return true;
  }
  size_t capacity = needed > value->capacity_uses * 2 ? needed : value->capacity_uses * 2;
  struct mq_use *larger = mq_arena_alloc(&graph->arena, capacity, sizeof *larger);
  if (!larger) {
    return false;
  }
  if (value->n_uses) {
    memcpy(larger, value->uses, value->n_uses * sizeof *larger);
  }
  value->uses = larger;
  value->capacity_uses = capacity;
  return true;
}

static void replace_outputs(struct mq_graph *graph, struct mq_value *from, struct mq_value *to) {
  if (!from->is_output) {
    return;
  }
  for (size_t i = 0; i < graph->n_outputs; i++) {
    if (graph->outputs[i] == from) {
      graph->outputs[i] = to;
    }
  }
  from->is_output = false;
  to->is_output = true;
}

mq_status mq_graph_replace_uses(struct mq_graph *graph, struct mq_value *from, struct mq_value *to,
                                const struct mq_node *except, struct mq_err *err) {
  if (from == to) {
    return MQ_OK;
  }
  if (!reserve_uses(graph, to, from->n_uses)) {
    return mq_fail_memory(err, "uses of a value");
  }
  size_t n_kept = 0;
  for (size_t i = 0; i < from->n_uses; i++) {
    struct mq_use use = from->uses[i];
    if (use.node == except) {
      use.node->use_slots[use.input] = n_kept;
      from->uses[n_kept++] = use;
      continue;
    }
    use.node->inputs[use.input] = to;
    use.node->use_slots[use.input] = to->n_uses;
    to->uses[to->n_uses++] = use;
  }
  from->n_uses = n_kept;
  replace_outputs(graph, from, to);
  return MQ_OK;
}

void mq_graph_remove_node(struct mq_graph *graph, struct mq_node *node) {
  assert(node->graph == graph);
  if (node->op == MQ_OP_NONE) {
    return;
  }
  for (int i = 0; i < node->n_inputs; i++) {
    if (node->inputs[i]) {
      remove_use(node, i);
    }
  }
  for (int i = 0; i < node->n_outputs; i++) {
    if (node->outputs[i]) {
      node->outputs[i]->producer = NULL;
    }
  }
  graph_names_point(graph->node_names, node->name, NULL);
  node->op = MQ_OP_NONE;
  node->n_inputs = node->n_outputs = 0;
}

mq_status mq_graph_rename_value(struct mq_graph *graph, struct mq_value *value, const char *name,
                                struct mq_err *err) {
  if (strcmp(value->name, name) == 0) {
    return MQ_OK;
  }
  const char *claimed;
  mq_status status =
      graph_names_claim(&claimed, graph->value_names, &graph->arena, name, "value", value, err);
  if (status == MQ_OK) {
    graph_names_point(graph->value_names, value->name, NULL);
    value->name = claimed;
  }
  return status;
}

void mq_graph_swap_names(struct mq_graph *graph, struct mq_value *a, struct mq_value *b) {
  const char *name = a->name;
  a->name = b->name;
  b->name = name;
  graph_names_point(graph->value_names, a->name, a);
  graph_names_point(graph->value_names, b->name, b);
}

void graph_compact_nodes(struct mq_graph *graph) {
  size_t n = 0;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    struct mq_node *node = graph->nodes[i];
    if (node->op != MQ_OP_NONE) {
      node->index = n;
      graph->nodes[n++] = node;
    }
  }
  /* graph_append takes a power of two for "full": what lies behind n is free to be copied over. */
  graph->n_nodes = n;
}

static bool is_dead(const struct mq_node *node) {
  if (node->op == MQ_OP_NONE) {
    return false;
  }
  for (int i = 0; i < node->n_outputs; i++) {
    const struct mq_value *output = node->outputs[i];
    if (output && (output->n_uses || output->is_output)) {
      return false;
    }
  }
  return true;
}

/* The stack is linked through node->link; the lowest links to itself, so NULL means "not on the stack". */
static void push_dead(struct mq_node **top, struct mq_node *node) {
  if (!node->link && is_dead(node)) {
    node->link = *top ? *top : node;
    *top = node;
  }
}

static struct mq_node *pop(struct mq_node **top) {
  struct mq_node *node = *top;
  if (node) {
    *top = node->link == node ? NULL : node->link;
    node->link = NULL;
  }
  return node;
}

/* Removes what nobody uses; that may leave the producers of its inputs without a use, and so on. */
static void remove_dead_nodes(struct mq_graph *graph) {
  struct mq_node *top = NULL, *node;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    push_dead(&top, graph->nodes[i]);
  }
  while ((node = pop(&top))) {
    int n_inputs = node->n_inputs;
    mq_graph_remove_node(graph, node);
    for (int i = 0; i < n_inputs; i++) {
      if (node->inputs[i] && node->inputs[i]->producer) {
        push_dead(&top, node->inputs[i]->producer);
      }
    }
  }
  graph_compact_nodes(graph);
}

static void remove_idle_values(struct mq_graph *graph) {
  size_t n = 0;
  for (size_t i = 0; i < graph->n_values; i++) {
    struct mq_value *value = graph->values[i];
    if (value->producer || value->n_uses || value->is_input || value->is_output) {
      value->index = n;
      graph->values[n++] = value;
    } else {
      graph_names_point(graph->value_names, value->name, NULL);
    }
  }
  graph->n_values = n;
}

void mq_graph_prune(struct mq_graph *graph) {
  remove_dead_nodes(graph);
  remove_idle_values(graph);
}
