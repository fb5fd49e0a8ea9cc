/* mq_graph_infer: inputs, then every node in order: shapes, folding. And what the operators' functions share.
 */
#include "graph/infer/infer.h"

#include <string.h>

#include "graph/fold/fold.h"

static const graph_infer_fn infer_table[MQ_OP_COUNT] = {
#define MQ_OP(name, min_inputs, max_inputs, n_outputs, kind) [MQ_OP_##name] = graph_infer_##name,
#include "mqbench/ops.def"
#undef MQ_OP
};

mq_status graph_set_output(struct mq_node *node, int output, mq_dtype dtype, const struct mq_shape *shape,
                           struct mq_err *err) {
  if (output >= node->n_outputs || !node->outputs[output]) {
    return MQ_OK;
  }
  if (shape->rank > MQ_MAX_RANK) {
    return graph_fail(err, node, "output has %d dimensions, expected %d at most", shape->rank, MQ_MAX_RANK);
  }
  int n_batch = 0;
  for (int i = 0; i < shape->rank; i++) {
    n_batch += shape->dim[i] == MQ_DIM_BATCH;
  }
  if (n_batch > 1) {
    return graph_fail(err, node, "combines every image of the batch with every other");
  }
  struct mq_shape one_image = mq_shape_at_batch(shape, 1);
  int64_t n;
  if (mq_shape_elements(&n, &one_image, "", NULL) != MQ_OK) {
    char text[200];
    return graph_fail(err, node, "output shape %s is not possible",
                      mq_shape_format(text, sizeof text, shape));
  }
  node->outputs[output]->dtype = dtype;
  node->outputs[output]->shape = *shape;
  return MQ_OK;
}

mq_status graph_broadcast(struct mq_shape *out, const struct mq_node *node, const struct mq_shape *a,
                          const struct mq_shape *b, struct mq_err *err) {
  if (mq_shape_broadcast(out, a, b, "", NULL) == MQ_OK) {
    return MQ_OK;
  }
  char left[200], right[200];
  return graph_fail(err, node, "shapes %s and %s do not broadcast", mq_shape_format(left, sizeof left, a),
                    mq_shape_format(right, sizeof right, b));
}

mq_status graph_merge_dims(int64_t *product, const struct mq_node *node, const struct mq_shape *shape,
                           int first, int last, struct mq_err *err) {
  bool has_batch = false;
  int64_t n = 1;
  for (int i = first; i < last; i++) {
    if (shape->dim[i] == MQ_DIM_BATCH) {
      has_batch = true;
    } else if (__builtin_mul_overflow(n, shape->dim[i], &n) || n > MQ_MAX_ELEMENTS) {
      return graph_fail(err, node, "more than 2^40 elements");
    }
  }
  if (has_batch && n != 1) {
    char text[200];
    return graph_fail(err, node, "merges the batch with other dimensions of %s",
                      mq_shape_format(text, sizeof text, shape));
  }
  *product = has_batch ? MQ_DIM_BATCH : n;
  return MQ_OK;
}

mq_status graph_require_float(const struct mq_node *node, int input, struct mq_err *err) {
  mq_dtype dtype = graph_dtype(node, input);
  return mq_dtype_get(dtype)->is_float
             ? MQ_OK
             : graph_fail(err, node, "input %d ('%.100s') is %s, expected float32", input,
                          node->inputs[input]->name, mq_dtype_get(dtype)->name);
}

mq_status graph_require_no_batch(const struct mq_node *node, int axis, const char *what, struct mq_err *err) {
  return graph_shape(node, 0)->dim[axis] != MQ_DIM_BATCH
             ? MQ_OK
             : graph_fail(err, node, "%s over the images of the batch (axis %d)", what, axis);
}

mq_status graph_set_constant_ints(struct mq_node *node, int input, const int64_t *ints, size_t n,
                                  struct mq_err *err) {
  struct mq_shape shape = {.rank = 1, .dim = {(int64_t)n}};
  int64_t data[MQ_MAX_RANK] = {0};
  memcpy(data, ints, n * sizeof *ints);
  struct mq_tensor tensor = mq_tensor_view(data, MQ_I64, &shape, NULL);
  const char *old = graph_has_input(node, input) ? node->inputs[input]->name : node->name;
  struct mq_value *value;
  mq_status status = mq_graph_add_constant(&value, node->graph, old, &tensor, err);
  return status == MQ_OK ? mq_graph_set_input(node->graph, node, input, value, err) : status;
}

struct mq_shape mq_shape_at_batch(const struct mq_shape *shape, int64_t batch) {
  struct mq_shape result = *shape;
  for (int i = 0; i < shape->rank; i++) {
    result.dim[i] = shape->dim[i] == MQ_DIM_BATCH ? batch : shape->dim[i];
  }
  return result;
}

bool mq_shape_has_batch(const struct mq_shape *shape) {
  for (int i = 0; i < shape->rank; i++) {
    if (shape->dim[i] == MQ_DIM_BATCH) {
      return true;
    }
  }
  return false;
}

/* ---- Graph inputs ------------------------------------------------------------------------------------- */

static bool carries_images(const struct mq_value *input) {
  return input->shape.rank >= 2 && input->dtype &&
         (mq_dtype_get(input->dtype)->is_float || mq_dtype_get(input->dtype)->bytes <= 2) &&
         input->dtype != MQ_BOOL;
}

/* Open first dimensions are the batch; false if there is none. */
static bool name_open_batch(struct mq_graph *graph) {
  bool has_open = false;
  for (size_t i = 0; i < graph->n_inputs; i++) {
    struct mq_value *input = graph->inputs[i];
    if (carries_images(input) && input->shape.dim[0] < 0) {
      input->shape.dim[0] = MQ_DIM_BATCH;
      has_open = true;
    }
  }
  return has_open;
}

/* In a file without an open one, the first input tells the batch's size; an input of another first dimension
 * is no batch of the same images. */
static void free_literal_batch(struct mq_graph *graph) {
  for (size_t i = 0; i < graph->n_inputs; i++) {
    struct mq_value *input = graph->inputs[i];
    int64_t *dim = &input->shape.dim[0];
    if (carries_images(input) && *dim > 0) {
      graph->file_batch = graph->file_batch ? graph->file_batch : *dim;
      *dim = *dim == graph->file_batch ? MQ_DIM_BATCH : *dim;
    }
  }
}

static mq_status check_dims(const struct mq_graph *graph, const struct mq_value *input, bool batch_is_free,
                            struct mq_err *err) {
  const char *prefix = graph->name, *colon = *graph->name ? ": " : "";
  if (input->shape.rank < 0 || !input->dtype) {
    return mq_fail(err, MQ_BAD_INPUT, "%s%sgraph input '%.100s' has no shape or type", prefix, colon,
                   input->name);
  }
  for (int i = 0; i < input->shape.rank; i++) {
    if (input->shape.dim[i] < 0 && input->shape.dim[i] != MQ_DIM_BATCH) {
      return mq_fail(err, MQ_BAD_INPUT,
                     "%s%sgraph input '%.100s': dimension %d is symbolic, expected a number%s", prefix, colon,
                     input->name, i,
                     batch_is_free ? " (only dimension 0, the batch, may be symbolic: export the model with "
                                     "fixed sizes)"
                                   : "");
    }
  }
  return MQ_OK;
}

static mq_status infer_inputs(struct mq_graph *graph, bool batch_is_free, struct mq_err *err) {
  if (batch_is_free && !name_open_batch(graph)) {
    free_literal_batch(graph);
  }
  for (size_t i = 0; i < graph->n_inputs; i++) {
    mq_status status = check_dims(graph, graph->inputs[i], batch_is_free, err);
    if (status != MQ_OK) {
      return status;
    }
  }
  return MQ_OK;
}

/* ---- Nodes -------------------------------------------------------------------------------------------- */

static mq_status check_inputs(const struct mq_node *node, struct mq_err *err) {
  mq_status status = graph_check_arity(node, err);
  for (int i = 0; i < node->n_inputs && status == MQ_OK; i++) {
    const struct mq_value *input = node->inputs[i];
    if (input && (input->shape.rank < 0 || !input->dtype)) {
      status = graph_fail(err, node, "input '%.100s' is produced by no node", input->name);
    }
  }
  return status;
}

static mq_status infer_node(struct graph_folding *folding, struct mq_node *node, struct mq_err *err) {
  mq_status status = check_inputs(node, err);
  if (status == MQ_OK) {
    status = infer_table[node->op](node, err);
  }
  bool is_folded = false;
  if (status == MQ_OK) {
    status = graph_fold_node(&is_folded, folding, node, err);
  }
  if (status == MQ_OK && !is_folded && mq_op_get(node->op)->kind == MQ_KIND_SHAPE) {
    return graph_fail(err, node, "depends on the data; this operator works on constants and shapes only");
  }
  return status;
}

mq_status mq_graph_infer(struct mq_graph *graph, bool batch_is_free, struct mq_err *err) {
  struct graph_folding folding;
  graph_folding_init(&folding, graph);
  mq_status status = mq_graph_sort(graph, err);
  if (status == MQ_OK) {
    status = infer_inputs(graph, batch_is_free, err);
  }
  for (size_t i = 0; i < graph->n_nodes && status == MQ_OK; i++) {
    status = infer_node(&folding, graph->nodes[i], err);
  }
  return status == MQ_OK ? mq_graph_sort(graph, err) : status;
}
