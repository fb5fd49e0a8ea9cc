/* Operators of graphs made for training: batch normalisation taken apart. */
#include "graph/infer/infer.h"

static mq_status require_vector(const struct mq_node *node, int input, int64_t n, struct mq_err *err) {
  const struct mq_shape *shape = graph_shape(node, input);
  if (shape->rank != 1 || shape->dim[0] != n) {
    return graph_fail(err, node, "input %d ('%.100s') is not a vector of %lld channels", input,
                      node->inputs[input]->name, (long long)n);
  }
  return graph_require_float(node, input, err);
}

mq_status graph_infer_BatchStatistics(struct mq_node *node, struct mq_err *err) {
  const struct mq_shape *x = graph_shape(node, 0);
  if (x->rank < 2) {
    return graph_fail(err, node, "input has %d dimensions, expected 2 or more", x->rank);
  }
  mq_status status = graph_require_float(node, 0, err);
  for (int i = 1; i < 3 && status == MQ_OK; i++) {
    status = require_vector(node, i, x->dim[1], err);
  }
  for (int i = 0; i < 4 && status == MQ_OK; i++) {
    status = graph_set_output(node, i, MQ_F32, graph_shape(node, 1), err);
  }
  return status;
}

/* All inputs are vectors of one length. */
static mq_status infer_vectors(struct mq_node *node, struct mq_err *err) {
  const struct mq_shape *first = graph_shape(node, 0);
  mq_status status = MQ_OK;
  for (int i = 0; i < node->n_inputs && status == MQ_OK; i++) {
    status = node->inputs[i] ? require_vector(node, i, first->dim[0], err) : MQ_OK;
  }
  return status == MQ_OK ? graph_set_output(node, 0, MQ_F32, first, err) : status;
}

mq_status graph_infer_FoldFactor(struct mq_node *node, struct mq_err *err) {
  return infer_vectors(node, err);
}

mq_status graph_infer_FoldBias(struct mq_node *node, struct mq_err *err) {
  return infer_vectors(node, err);
}

/* Grouped weights have their factors per run of dimension 0. */
static mq_status require_groups(const struct mq_node *node, int64_t groups, int axis, struct mq_err *err) {
  const struct mq_shape *x = graph_shape(node, 0);
  if (groups < 1 || groups > (int64_t)1 << 31 || (groups > 1 && (axis == 0 || x->dim[0] % groups != 0))) {
    return graph_fail(err, node, "groups %lld do not divide dimension 0 before axis %d", (long long)groups,
                      axis);
  }
  return MQ_OK;
}

mq_status graph_infer_ScaleChannels(struct mq_node *node, struct mq_err *err) {
  const struct mq_shape *x = graph_shape(node, 0);
  int64_t groups = 1;
  int axis = 0;
  mq_status status = graph_require_float(node, 0, err);
  if (status == MQ_OK) {
    status = mq_node_get_axis(&axis, node, 1, x->rank, err);
  }
  if (status == MQ_OK) {
    status = mq_node_get_int(&groups, node, "groups", 1, err);
  }
  if (status == MQ_OK) {
    status = require_groups(node, groups, axis, err);
  }
  for (int i = 1; i < node->n_inputs && status == MQ_OK; i++) {
    status = node->inputs[i] ? require_vector(node, i, x->dim[axis] * groups, err) : MQ_OK;
  }
  return status == MQ_OK ? graph_set_output(node, 0, MQ_F32, x, err) : status;
}
