/* Topological order. */
#include "graph/internal.h"

enum colour {
  UNSEEN,
  OPEN,
  DONE
};

struct walk {
  struct mq_graph *graph;
  struct mq_node **order; /* what is DONE */
  size_t n_order;
  struct mq_node **stack; /* nodes whose inputs are being visited */
  size_t n_stack;
  int *next_input; /* by node index: where the visit of a node on the stack goes on */
  uint8_t *colour; /* by node index */
};

static void push(struct walk *walk, struct mq_node *node) {
  walk->colour[node->index] = OPEN;
  walk->stack[walk->n_stack++] = node;
}

/* Depth first from `root` with a stack of its own (graphs from files may be chains of any length). Roots are
 * taken in the old order and inputs before their node, so an order that is topological stays as it is. */
static mq_status visit(struct walk *walk, struct mq_node *root, struct mq_err *err) {
  push(walk, root);
  while (walk->n_stack) {
    struct mq_node *node = walk->stack[walk->n_stack - 1];
    int i = walk->next_input[node->index]++;
    if (i >= node->n_inputs) {
      walk->colour[node->index] = DONE;
      walk->order[walk->n_order++] = node;
      walk->n_stack--;
      continue;
    }
    struct mq_node *producer = node->inputs[i] ? node->inputs[i]->producer : NULL;
    if (!producer || walk->colour[producer->index] == DONE) {
      continue;
    }
    if (walk->colour[producer->index] == OPEN) {
      return graph_fail(err, producer, "its output '%.100s' depends on itself: the graph has a cycle",
                        node->inputs[i]->name);
    }
    push(walk, producer);
  }
  return MQ_OK;
}

/* Use lists in the order of nodes: rewrites shuffle them. Capacities suffice, nothing can fail. */
static void rebuild_uses(struct mq_graph *graph) {
  for (size_t i = 0; i < graph->n_values; i++) {
    graph->values[i]->n_uses = 0;
  }
  for (size_t i = 0; i < graph->n_nodes; i++) {
    struct mq_node *node = graph->nodes[i];
    for (int k = 0; k < node->n_inputs; k++) {
      struct mq_value *value = node->inputs[k];
      if (value) {
        node->use_slots[k] = value->n_uses;
        value->uses[value->n_uses++] = (struct mq_use){.node = node, .input = k};
      }
    }
  }
}

mq_status mq_graph_sort(struct mq_graph *graph, struct mq_err *err) {
  mq_status status = MQ_OK;
  graph_compact_nodes(graph);
  size_t n = graph->n_nodes;
  struct walk walk = {.graph = graph};
  walk.order = mq_alloc(n + 1, sizeof *walk.order);
  walk.stack = mq_alloc(n + 1, sizeof *walk.stack);
  walk.next_input = mq_alloc(n + 1, sizeof *walk.next_input);
  walk.colour = mq_alloc(n + 1, sizeof *walk.colour);
  if (!walk.order || !walk.stack || !walk.next_input || !walk.colour) {
    status = mq_fail_memory(err, "order of a graph's nodes");
    goto done;
  }
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    if (walk.colour[i] == UNSEEN) {
      status = visit(&walk, graph->nodes[i], err);
    }
  }
  if (status == MQ_OK) {
    for (size_t i = 0; i < n; i++) {
      graph->nodes[i] = walk.order[i];
      graph->nodes[i]->index = i;
    }
    rebuild_uses(graph);
  }
done:
  mq_free(walk.order);
  mq_free(walk.stack);
  mq_free(walk.next_input);
  mq_free(walk.colour);
  return status;
}
