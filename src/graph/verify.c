/* The invariants of a graph. A violation after a rewrite is a bug of the rewrite; after load, a bad file. */
#include "graph/internal.h"

static mq_status fail(const struct mq_graph *graph, const struct mq_value *value, const char *what,
                      struct mq_err *err) {
  return mq_fail(err, MQ_BAD_INPUT, "%s%stensor '%.100s': %s", graph->name, *graph->name ? ": " : "",
                 value->name, what);
}

static const char *check_shape(const struct mq_value *value) {
  const struct mq_shape *shape = &value->shape;
  if (shape->rank < -1 || shape->rank > MQ_MAX_RANK) {
    return "its rank is not 0 to 8";
  }
  int n_batch = 0;
  for (int i = 0; i < shape->rank; i++) {
    bool is_open = value->is_input && shape->dim[i] == -1;
    if (shape->dim[i] < 0 && shape->dim[i] != MQ_DIM_BATCH && !is_open) {
      return "it has a negative dimension";
    }
    n_batch += shape->dim[i] == MQ_DIM_BATCH;
  }
  if (n_batch > 1) {
    return "more than one of its dimensions is the batch";
  }
  if (shape->rank >= 0 && (value->dtype < MQ_F32 || value->dtype >= MQ_DTYPE_COUNT)) {
    return "its shape is known, but not its element type";
  }
  const struct mq_tensor *constant = value->constant;
  if (constant && (constant->dtype != value->dtype || !mq_shape_equal(&constant->shape, shape) ||
                   !mq_tensor_is_row_major(constant))) {
    return "its constant has another type, shape or layout";
  }
  return NULL;
}

static const char *check_links(const struct mq_graph *graph, const struct mq_value *value) {
  if (graph_names_find(graph->value_names, value->name) != value) {
    return "its name is not unique";
  }
  const struct mq_node *producer = value->producer;
  if (producer && (producer->op == MQ_OP_NONE || value->producer_output >= producer->n_outputs ||
                   producer->outputs[value->producer_output] != value)) {
    return "its producer does not produce it";
  }
  if ((producer != NULL) + (value->constant != NULL) + value->is_input > 1) {
    return "it has more than one origin (node, graph input, constant)";
  }
  for (size_t i = 0; i < value->n_uses; i++) {
    const struct mq_use *use = &value->uses[i];
    if (use->node->op == MQ_OP_NONE || use->input >= use->node->n_inputs ||
        use->node->inputs[use->input] != value || use->node->use_slots[use->input] != i) {
      return "its list of uses names a node that does not use it";
    }
  }
  return NULL;
}

static mq_status check_values(const struct mq_graph *graph, struct mq_err *err) {
  for (size_t i = 0; i < graph->n_values; i++) {
    const struct mq_value *value = graph->values[i];
    if (value->index != i) {
      return fail(graph, value, "its index is not its place", err);
    }
    const char *what = check_shape(value);
    what = what ? what : check_links(graph, value);
    if (what) {
      return fail(graph, value, what, err);
    }
  }
  return MQ_OK;
}

static mq_status check_input(const struct mq_graph *graph, const struct mq_node *node, int i,
                             struct mq_err *err) {
  const struct mq_value *value = node->inputs[i];
  if (!value) {
    return i < mq_op_get(node->op)->min_inputs ? graph_fail(err, node, "input %d is missing", i) : MQ_OK;
  }
  if (value->index >= graph->n_values || graph->values[value->index] != value) {
    return graph_fail(err, node, "input '%.100s' is not a tensor of the graph", value->name);
  }
  if (!value->producer && !value->constant && !value->is_input) {
    return graph_fail(err, node, "input '%.100s' is neither produced nor a constant nor a graph input",
                      value->name);
  }
  if (value->producer && value->producer->index >= node->index) {
    return graph_fail(err, node, "comes before the node '%.100s' that makes its input '%.100s'",
                      value->producer->name, value->name);
  }
  if (node->use_slots[i] >= value->n_uses || value->uses[node->use_slots[i]].node != node ||
      value->uses[node->use_slots[i]].input != i) {
    return graph_fail(err, node, "is not in the list of uses of its input '%.100s'", value->name);
  }
  return MQ_OK;
}

mq_status graph_check_arity(const struct mq_node *node, struct mq_err *err) {
  const struct mq_op_traits *traits = mq_op_get(node->op);
  if (node->n_inputs < traits->min_inputs ||
      (traits->max_inputs >= 0 && node->n_inputs > traits->max_inputs)) {
    char most[16] = "or more";
    if (traits->max_inputs >= 0) {
      snprintf(most, sizeof most, "to %d", traits->max_inputs);
    }
    return graph_fail(err, node, "%d inputs, expected %d %s", node->n_inputs, traits->min_inputs, most);
  }
  int n_outputs = 0;
  for (int i = 0; i < node->n_outputs; i++) {
    n_outputs = node->outputs[i] ? i + 1 : n_outputs;
  }
  if (n_outputs < 1 || (traits->n_outputs >= 0 && n_outputs > traits->n_outputs)) {
    return graph_fail(err, node, "%d outputs, expected 1 to %d", n_outputs, traits->n_outputs);
  }
  for (int i = 0; i < traits->min_inputs; i++) {
    if (!node->inputs[i]) {
      return graph_fail(err, node, "input %d is missing", i);
    }
  }
  return MQ_OK;
}

static mq_status check_node(const struct mq_graph *graph, const struct mq_node *node, struct mq_err *err) {
  if (graph_names_find(graph->node_names, node->name) != node) {
    return graph_fail(err, node, "its name is not unique");
  }
  mq_status status = graph_check_arity(node, err);
  for (int i = 0; i < node->n_inputs && status == MQ_OK; i++) {
    status = check_input(graph, node, i, err);
  }
  for (int i = 0; i < node->n_outputs && status == MQ_OK; i++) {
    const struct mq_value *output = node->outputs[i];
    if (output && (output->producer != node || output->producer_output != i)) {
      status = graph_fail(err, node, "output '%.100s' names another producer", output->name);
    }
  }
  return status;
}

static mq_status check_ends(const struct mq_graph *graph, struct mq_err *err) {
  for (size_t i = 0; i < graph->n_inputs; i++) {
    if (!graph->inputs[i]->is_input) {
      return fail(graph, graph->inputs[i], "is a graph input without saying so", err);
    }
  }
  for (size_t i = 0; i < graph->n_outputs; i++) {
    const struct mq_value *value = graph->outputs[i];
    if (!value->is_output) {
      return fail(graph, value, "is a graph output without saying so", err);
    }
    if (!value->producer && !value->constant && !value->is_input) {
      return fail(graph, value, "is a graph output that no node produces", err);
    }
  }
  return MQ_OK;
}

mq_status mq_graph_verify(const struct mq_graph *graph, struct mq_err *err) {
  mq_status status = check_values(graph, err);
  for (size_t i = 0; i < graph->n_nodes && status == MQ_OK; i++) {
    const struct mq_node *node = graph->nodes[i];
    if (node->op == MQ_OP_NONE) {
      continue;
    }
    status =
        node->index == i ? check_node(graph, node, err) : graph_fail(err, node, "its index is not its place");
  }
  return status == MQ_OK ? check_ends(graph, err) : status;
}
