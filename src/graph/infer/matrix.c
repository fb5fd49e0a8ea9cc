/* Matrix products, normalisations and reductions. */
#include "graph/infer/infer.h"

static mq_status contract(const struct mq_node *node, int64_t a, int64_t b, struct mq_err *err) {
  if (a == MQ_DIM_BATCH || b == MQ_DIM_BATCH) {
    return graph_fail(err, node, "sums over the images of the batch");
  }
  return a == b ? MQ_OK
                : graph_fail(err, node, "inner dimensions are %lld and %lld, expected equal ones",
                             (long long)a, (long long)b);
}

static mq_status require_floats(const struct mq_node *node, int n, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (int i = 0; i < n && i < node->n_inputs && status == MQ_OK; i++) {
    status = node->inputs[i] ? graph_require_float(node, i, err) : MQ_OK;
  }
  return status;
}

/* y[m x n] = alpha a b + beta c, a and b transposed or not, c broadcast to y. */
mq_status graph_infer_Gemm(struct mq_node *node, struct mq_err *err) {
  const struct mq_shape *a = graph_shape(node, 0), *b = graph_shape(node, 1);
  int64_t a_transposed, b_transposed;
  mq_status status = require_floats(node, 3, err);
  if (status == MQ_OK) {
    status = mq_node_get_int(&a_transposed, node, "transA", 0, err);
  }
  if (status == MQ_OK) {
    status = mq_node_get_int(&b_transposed, node, "transB", 0, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  if (a->rank != 2 || b->rank != 2) {
    return graph_fail(err, node, "inputs have %d and %d dimensions, expected 2 and 2", a->rank, b->rank);
  }
  struct mq_shape out = {.rank = 2, .dim = {a->dim[a_transposed != 0], b->dim[b_transposed == 0]}};
  status = contract(node, a->dim[a_transposed == 0], b->dim[b_transposed != 0], err);
  if (status == MQ_OK && out.dim[1] == MQ_DIM_BATCH) {
    return graph_fail(err, node, "input B holds the images of the batch, expected weights");
  }
  if (status == MQ_OK && graph_has_input(node, 2)) {
    struct mq_shape sum;
    status = graph_broadcast(&sum, node, &out, graph_shape(node, 2), err);
    if (status == MQ_OK && !mq_shape_equal(&sum, &out)) {
      return graph_fail(err, node, "input C does not broadcast to the output");
    }
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &out, err) : status;
}

/* NumPy's matmul: a 1-D operand is a row (left) or a column (right) whose dimension is dropped again. */
mq_status graph_infer_MatMul(struct mq_node *node, struct mq_err *err) {
  struct mq_shape a = *graph_shape(node, 0), b = *graph_shape(node, 1), out;
  mq_status status = require_floats(node, 2, err);
  if (status != MQ_OK) {
    return status;
  }
  if (a.rank < 1 || b.rank < 1) {
    return graph_fail(err, node, "an input is a scalar");
  }
  bool is_row = a.rank == 1, is_column = b.rank == 1;
  if (is_row) {
    a = (struct mq_shape){.rank = 2, .dim = {1, a.dim[0]}};
  }
  if (is_column) {
    b = (struct mq_shape){.rank = 2, .dim = {b.dim[0], 1}};
  }
  int64_t m = a.dim[a.rank - 2], k = a.dim[a.rank - 1], n = b.dim[b.rank - 1];
  status = contract(node, k, b.dim[b.rank - 2], err);
  if (status == MQ_OK && n == MQ_DIM_BATCH) {
    return graph_fail(err, node,
                      "the images of the batch are the columns of input B, expected rows of input A");
  }
  a.rank -= 2;
  b.rank -= 2;
  if (status == MQ_OK) {
    status = graph_broadcast(&out, node, &a, &b, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  if (!is_row) {
    out.dim[out.rank++] = m;
  }
  if (!is_column) {
    out.dim[out.rank++] = n;
  }
  return graph_set_output(node, 0, graph_dtype(node, 0), &out, err);
}

static mq_status reject_training(const struct mq_node *node, struct mq_err *err) {
  int64_t is_training, is_spatial;
  mq_status status = mq_node_get_int(&is_training, node, "training_mode", 0, err);
  if (status == MQ_OK) {
    status = mq_node_get_int(&is_spatial, node, "spatial", 1, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  if (is_training) {
    return graph_fail(err, node, "training_mode is on, expected a model exported for inference");
  }
  return is_spatial ? MQ_OK : graph_fail(err, node, "spatial is 0, expected statistics per channel");
}

mq_status graph_infer_BatchNormalization(struct mq_node *node, struct mq_err *err) {
  const struct mq_shape *in = graph_shape(node, 0);
  mq_status status = require_floats(node, 5, err);
  if (status == MQ_OK) {
    status = reject_training(node, err);
  }
  if (status == MQ_OK && in->rank < 2) {
    return graph_fail(err, node, "input has %d dimensions, expected 2 or more", in->rank);
  }
  for (int i = 1; i < 5 && status == MQ_OK; i++) {
    const struct mq_shape *shape = graph_shape(node, i);
    if (shape->rank != 1 || shape->dim[0] != in->dim[1]) {
      status = graph_fail(err, node, "input %d ('%.100s') does not have one element per channel", i,
                          node->inputs[i]->name);
    }
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), in, err) : status;
}

static mq_status softmax(struct mq_node *node, struct mq_err *err) {
  int first, last;
  mq_status status = graph_require_float(node, 0, err);
  if (status == MQ_OK) {
    status = mq_node_get_softmax(&first, &last, node, err);
  }
  for (int i = 0; status == MQ_OK && i <= last; i++) {
    status = i >= first ? graph_require_no_batch(node, i, "normalises", err) : MQ_OK;
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), graph_shape(node, 0), err)
                         : status;
}

mq_status graph_infer_Softmax(struct mq_node *node, struct mq_err *err) {
  return softmax(node, err);
}

mq_status graph_infer_LogSoftmax(struct mq_node *node, struct mq_err *err) {
  return softmax(node, err);
}

static mq_status reduction(struct mq_node *node, struct mq_err *err) {
  const struct mq_shape *in = graph_shape(node, 0);
  int64_t axes[MQ_MAX_RANK], keeps_dims;
  int n_axes, next = 0;
  mq_status status = mq_node_get_axes(axes, &n_axes, node, in->rank, err);
  if (status == MQ_OK) {
    status = mq_node_get_int(&keeps_dims, node, "keepdims", 1, err);
  }
  struct mq_shape out = {.rank = 0};
  for (int i = 0; i < in->rank && status == MQ_OK; i++) {
    bool is_reduced = next < n_axes && axes[next] == i;
    if (is_reduced) {
      next++;
      status = graph_require_no_batch(node, i, "reduces", err);
    }
    if (!is_reduced || keeps_dims) {
      out.dim[out.rank++] = is_reduced ? 1 : in->dim[i];
    }
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &out, err) : status;
}

mq_status graph_infer_ReduceMean(struct mq_node *node, struct mq_err *err) {
  return reduction(node, err);
}

mq_status graph_infer_ReduceProd(struct mq_node *node, struct mq_err *err) {
  return reduction(node, err);
}
