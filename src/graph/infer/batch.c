/* Constants that spell the file's batch, as a number in a shape, or because an exporter that knew the batch
 * size folded "the same for every image" (zeros that widen a shortcut, a class token) into one constant for
 * all of them. */
#include <string.h>

#include "graph/fold/fold.h"
#include "graph/infer/infer.h"

static mq_status replace_in_attribute(struct mq_node *node, const char *name, size_t at, int64_t value,
                                      struct mq_err *err) {
  const int64_t *ints;
  int64_t copy[MQ_MAX_RANK];
  size_t n;
  mq_status status = mq_node_get_ints(&ints, &n, node, name, err);
  if (status != MQ_OK) {
    return status;
  }
  memcpy(copy, ints, n * sizeof *copy);
  copy[at] = value;
  return mq_node_set_ints(node->graph, node, name, copy, n, err);
}

mq_status graph_replace_literal(struct mq_node *node, const char *name, int input, size_t at, int64_t value,
                                struct mq_err *err) {
  if (!graph_has_input(node, input)) {
    return replace_in_attribute(node, name, at, value, err);
  }
  const struct mq_value *old = node->inputs[input];
  struct mq_value *own;
  mq_status status = mq_graph_add_constant(&own, node->graph, old->name, old->constant, err);
  if (status != MQ_OK) {
    return status;
  }
  bool is_batch = value == MQ_DIM_BATCH;
  int64_t most = own->dtype == MQ_I32 ? INT32_MAX : INT64_MAX;
  graph_store(own->constant, (int64_t)at,
              (struct graph_number){.is_batch = is_batch, .i = value < most ? value : most});
  return mq_graph_set_input(node->graph, node, input, own, err);
}

static int batch_axis(const struct mq_shape *shape) {
  for (int i = 0; i < shape->rank; i++) {
    if (shape->dim[i] == MQ_DIM_BATCH) {
      return i;
    }
  }
  return -1;
}

static bool is_same_for_all(const struct mq_tensor *tensor, int axis) {
  size_t bytes = (size_t)tensor->stride[axis] * mq_dtype_get(tensor->dtype)->bytes; /* of one image's run */
  int64_t n = tensor->shape.dim[axis];
  int64_t n_runs = mq_shape_count(&tensor->shape) / (n * tensor->stride[axis]);
  for (int64_t run = 0; run < n_runs; run++) {
    const char *first = (const char *)tensor->data + (size_t)(run * n) * bytes;
    for (int64_t i = 1; i < n; i++) {
      if (memcmp(first, first + (size_t)i * bytes, bytes) != 0) {
        return false;
      }
    }
  }
  return true;
}

/* *value: a new constant of one image, or NULL if the input does not repeat one for every image. */
static mq_status take_one_image(struct mq_value **value, struct mq_node *node, int input, int axis,
                                struct mq_err *err) {
  *value = NULL;
  const struct mq_value *all = node->inputs[input];
  int64_t size = node->graph->file_batch;
  bool has_axis = all && all->constant && size > 0 && axis >= 0 && axis < all->shape.rank;
  if (!has_axis || all->shape.dim[axis] != size || mq_shape_count(&all->shape) == 0 ||
      !is_same_for_all(all->constant, axis)) {
    return MQ_OK;
  }
  struct mq_tensor one = *all->constant;
  one.shape.dim[axis] = 1;
  return mq_graph_add_constant(value, node->graph, all->name, &one, err);
}

mq_status graph_match_batch(struct mq_node *node, struct mq_err *err) {
  int from_end = -1; /* where the batch is, counted from the last dimension */
  for (int i = 0; i < node->n_inputs; i++) {
    int axis = node->inputs[i] ? batch_axis(graph_shape(node, i)) : -1;
    from_end = axis >= 0 ? graph_shape(node, i)->rank - axis : from_end;
  }
  mq_status status = MQ_OK;
  for (int i = 0; i < node->n_inputs && status == MQ_OK && from_end > 0; i++) {
    struct mq_value *one;
    int axis = node->inputs[i] ? graph_shape(node, i)->rank - from_end : -1;
    bool is_one = axis >= 0 && graph_shape(node, i)->dim[axis] == 1; /* broadcasts as it is */
    status = is_one ? MQ_OK : take_one_image(&one, node, i, axis, err);
    if (status == MQ_OK && !is_one && one) {
      status = mq_graph_set_input(node->graph, node, i, one, err);
    }
  }
  return status;
}

/* Expand(one, shape with the batch at `axis`) becomes the input. */
static mq_status expand_input(struct mq_node *node, int input, struct mq_value *one, int axis,
                              struct mq_err *err) {
  struct mq_graph *graph = node->graph;
  struct mq_shape shape = one->shape;
  shape.dim[axis] = MQ_DIM_BATCH;
  struct mq_value *output;
  struct mq_node *expand;
  mq_status status = mq_graph_add_value(&output, graph, node->inputs[input]->name, one->dtype, &shape, err);
  if (status == MQ_OK) {
    status = mq_graph_add_node(&expand, graph, MQ_OP_Expand, output->name, (struct mq_value *[]){one, one}, 2,
                               &output, 1, err);
  }
  if (status == MQ_OK) {
    status = graph_set_constant_ints(expand, 1, shape.dim, (size_t)shape.rank, err);
  }
  return status == MQ_OK ? mq_graph_set_input(graph, node, input, output, err) : status;
}

mq_status graph_expand_constants(struct mq_node *node, struct mq_err *err) {
  int axis = -1;
  for (int i = 0; i < node->n_inputs && axis < 0; i++) {
    axis = node->inputs[i] ? batch_axis(graph_shape(node, i)) : -1;
  }
  mq_status status = MQ_OK;
  for (int i = 0; i < node->n_inputs && status == MQ_OK && axis >= 0; i++) {
    struct mq_value *one;
    status = take_one_image(&one, node, i, axis, err);
    if (status == MQ_OK && one) {
      status = expand_input(node, i, one, axis, err);
    }
  }
  return status;
}
