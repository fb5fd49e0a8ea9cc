/* A graph's independent copy. */
#include <string.h>

#include "graph/internal.h"

static mq_status copy_values(struct mq_graph *copy, const struct mq_graph *graph, struct mq_err *err) {
  for (size_t i = 0; i < graph->n_values; i++) {
    const struct mq_value *from = graph->values[i];
    struct mq_value *to;
    mq_status status = from->constant
                           ? mq_graph_add_constant(&to, copy, from->name, from->constant, err)
                           : mq_graph_add_value(&to, copy, from->name, from->dtype, &from->shape, err);
    if (status != MQ_OK) {
      return status;
    }
    to->packed_bits = from->packed_bits;
  }
  return MQ_OK;
}

mq_status mq_node_copy_attrs(struct mq_graph *copy, struct mq_node *to, const struct mq_node *from,
                             struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < from->n_attrs && status == MQ_OK; i++) {
    const struct mq_attr *attr = &from->attrs[i];
    switch (attr->kind) {
      case MQ_ATTR_INT:
        status = mq_node_set_int(copy, to, attr->name, attr->as.i, err);
        break;
      case MQ_ATTR_FLOAT:
        status = mq_node_set_float(copy, to, attr->name, attr->as.f, err);
        break;
      case MQ_ATTR_STRING:
        status = mq_node_set_string(copy, to, attr->name, attr->as.s, err);
        break;
      case MQ_ATTR_INTS:
        status = mq_node_set_ints(copy, to, attr->name, attr->as.ints, attr->n, err);
        break;
      case MQ_ATTR_FLOATS:
        status = mq_node_set_floats(copy, to, attr->name, attr->as.floats, attr->n, err);
        break;
      case MQ_ATTR_TENSOR:
        status = mq_node_set_tensor(copy, to, attr->name, attr->as.tensor, err);
        break;
    }
  }
  return status;
}

/* The copies of `values`, NULL where absent, in `found`. */
static void map_values(struct mq_value **found, const struct mq_graph *copy, struct mq_value *const *values,
                       size_t n) {
  for (size_t i = 0; i < n; i++) {
    found[i] = values[i] ? copy->values[values[i]->index] : NULL;
  }
}

static mq_status copy_node(struct mq_graph *copy, const struct mq_node *from, struct mq_err *err) {
  size_t n_inputs = (size_t)from->n_inputs, n_outputs = (size_t)from->n_outputs;
  struct mq_value **values = mq_alloc(n_inputs + n_outputs, sizeof(struct mq_value *));
  if (!values) {
    return mq_fail_memory(err, "copy of a graph");
  }
  map_values(values, copy, from->inputs, n_inputs);
  map_values(values + n_inputs, copy, from->outputs, n_outputs);
  struct mq_node *to;
  mq_status status = mq_graph_add_node(&to, copy, from->op, from->name, values, from->n_inputs,
                                       values + n_inputs, from->n_outputs, err);
  if (status == MQ_OK) {
    status = mq_node_copy_attrs(copy, to, from, err);
  }
  mq_free(values);
  return status;
}

static mq_status copy_ends(struct mq_graph *copy, const struct mq_graph *graph, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < graph->n_inputs && status == MQ_OK; i++) {
    status = mq_graph_add_input(copy, copy->values[graph->inputs[i]->index], err);
  }
  for (size_t i = 0; i < graph->n_outputs && status == MQ_OK; i++) {
    status = mq_graph_add_output(copy, copy->values[graph->outputs[i]->index], err);
  }
  return status;
}

mq_status mq_graph_clone(struct mq_graph **copy, const struct mq_graph *graph, struct mq_err *err) {
  *copy = NULL;
  struct mq_graph *g = NULL;
  mq_status status = mq_graph_create(&g, graph->name, err);
  if (status != MQ_OK) {
    return status;
  }
  g->opset = graph->opset;
  g->file_batch = graph->file_batch;
  status = copy_values(g, graph, err);
  if (status == MQ_OK) {
    status = copy_ends(g, graph, err);
  }
  for (size_t i = 0; i < graph->n_nodes && status == MQ_OK; i++) {
    if (graph->nodes[i]->op != MQ_OP_NONE) {
      status = copy_node(g, graph->nodes[i], err);
    }
  }
  if (status != MQ_OK) {
    mq_graph_destroy(g);
    return status;
  }
  *copy = g;
  return MQ_OK;
}
