/* Operators that work element by element, with NumPy's broadcasting. */
#include "graph/infer/infer.h"

static mq_status same_as_input(struct mq_node *node, struct mq_err *err) {
  return graph_set_output(node, 0, graph_dtype(node, 0), graph_shape(node, 0), err);
}

static mq_status float_unary(struct mq_node *node, struct mq_err *err) {
  mq_status status = graph_require_float(node, 0, err);
  return status == MQ_OK ? same_as_input(node, err) : status;
}

/* All inputs from `first` on broadcast together and have one dtype. */
static mq_status broadcast_inputs(struct mq_shape *shape, const struct mq_node *node, int first,
                                  struct mq_err *err) {
  *shape = *graph_shape(node, first);
  for (int i = first + 1; i < node->n_inputs; i++) {
    if (!node->inputs[i]) {
      return graph_fail(err, node, "input %d is missing", i);
    }
    if (graph_dtype(node, i) != graph_dtype(node, first)) {
      return graph_fail(err, node, "inputs are %s and %s, expected one type",
                        mq_dtype_get(graph_dtype(node, first))->name,
                        mq_dtype_get(graph_dtype(node, i))->name);
    }
    mq_status status = graph_broadcast(shape, node, shape, graph_shape(node, i), err);
    if (status != MQ_OK) {
      return status;
    }
  }
  return MQ_OK;
}

static mq_status arithmetic(struct mq_node *node, struct mq_err *err) {
  struct mq_shape shape;
  mq_status status = graph_match_batch(node, err);
  if (status == MQ_OK) {
    status = broadcast_inputs(&shape, node, 0, err);
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &shape, err) : status;
}

static mq_status comparison(struct mq_node *node, struct mq_err *err) {
  struct mq_shape shape;
  mq_status status = broadcast_inputs(&shape, node, 0, err);
  return status == MQ_OK ? graph_set_output(node, 0, MQ_BOOL, &shape, err) : status;
}

mq_status graph_infer_Add(struct mq_node *node, struct mq_err *err) {
  return arithmetic(node, err);
}
mq_status graph_infer_Sub(struct mq_node *node, struct mq_err *err) {
  return arithmetic(node, err);
}
mq_status graph_infer_Mul(struct mq_node *node, struct mq_err *err) {
  return arithmetic(node, err);
}
mq_status graph_infer_Div(struct mq_node *node, struct mq_err *err) {
  return arithmetic(node, err);
}
mq_status graph_infer_Mod(struct mq_node *node, struct mq_err *err) {
  return arithmetic(node, err);
}
/* Of two inputs the one that is a single float and no more than that; -1 if neither or both are. */
static int scalar_input(const struct mq_node *node) {
  int found = -1;
  for (int i = 0; i < node->n_inputs && node->n_inputs == 2; i++) {
    const struct mq_value *value = node->inputs[i], *other = node->inputs[1 - i];
    bool is_scalar = value && other && value->constant && !other->constant && value->dtype == MQ_F32 &&
                     mq_shape_count(&value->shape) == 1 && value->shape.rank <= other->shape.rank;
    found = is_scalar ? i : found;
  }
  return found;
}

/* ReLU6 written as Min(Relu(x), 6), ReLU as Max(x, 0): bounds of a Clip, as attributes before opset 11. */
static mq_status bound_as_clip(struct mq_node *node, int scalar, bool is_min, struct mq_err *err) {
  struct mq_graph *graph = node->graph;
  struct mq_value *x = node->inputs[1 - scalar], *bound = NULL;
  struct mq_tensor one = *node->inputs[scalar]->constant;
  one.shape = (struct mq_shape){.rank = 0};
  const float value = *(const float *)one.data;
  node->op = MQ_OP_Clip;
  mq_status status = mq_graph_set_input(graph, node, 0, x, err);
  if (graph->opset < 11) {
    if (status == MQ_OK) {
      status = mq_graph_set_input(graph, node, 1, NULL, err);
      node->n_inputs = 1;
    }
    return status == MQ_OK ? mq_node_set_float(graph, node, is_min ? "max" : "min", value, err) : status;
  }
  if (status == MQ_OK) {
    status = mq_graph_add_constant(&bound, graph, node->name, &one, err);
  }
  if (status == MQ_OK) {
    status = mq_graph_set_input(graph, node, 1, is_min ? NULL : bound, err);
  }
  return status == MQ_OK && is_min ? mq_graph_set_input(graph, node, 2, bound, err) : status;
}

static mq_status extremum(struct mq_node *node, bool is_min, struct mq_err *err) {
  int scalar = scalar_input(node);
  if (scalar < 0) {
    return arithmetic(node, err);
  }
  mq_status status = bound_as_clip(node, scalar, is_min, err);
  return status == MQ_OK ? same_as_input(node, err) : status;
}
mq_status graph_infer_Max(struct mq_node *node, struct mq_err *err) {
  return extremum(node, false, err);
}
mq_status graph_infer_Min(struct mq_node *node, struct mq_err *err) {
  return extremum(node, true, err);
}
mq_status graph_infer_Equal(struct mq_node *node, struct mq_err *err) {
  return comparison(node, err);
}
mq_status graph_infer_Less(struct mq_node *node, struct mq_err *err) {
  return comparison(node, err);
}
mq_status graph_infer_Greater(struct mq_node *node, struct mq_err *err) {
  return comparison(node, err);
}
mq_status graph_infer_And(struct mq_node *node, struct mq_err *err) {
  return comparison(node, err);
}
mq_status graph_infer_Or(struct mq_node *node, struct mq_err *err) {
  return comparison(node, err);
}
mq_status graph_infer_Xor(struct mq_node *node, struct mq_err *err) {
  return comparison(node, err);
}
mq_status graph_infer_Not(struct mq_node *node, struct mq_err *err) {
  return graph_set_output(node, 0, MQ_BOOL, graph_shape(node, 0), err);
}

mq_status graph_infer_Where(struct mq_node *node, struct mq_err *err) {
  struct mq_shape shape;
  mq_status status = broadcast_inputs(&shape, node, 1, err);
  if (status == MQ_OK) {
    status = graph_broadcast(&shape, node, &shape, graph_shape(node, 0), err);
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 1), &shape, err) : status;
}

mq_status graph_infer_Relu(struct mq_node *node, struct mq_err *err) {
  return same_as_input(node, err);
}
mq_status graph_infer_Neg(struct mq_node *node, struct mq_err *err) {
  return same_as_input(node, err);
}
mq_status graph_infer_Identity(struct mq_node *node, struct mq_err *err) {
  return same_as_input(node, err);
}
/* Its maker knows its outputs. */
mq_status graph_infer_Foreign(struct mq_node *node, struct mq_err *err) {
  for (int i = 0; i < node->n_outputs; i++) {
    if (node->outputs[i] && (node->outputs[i]->dtype == 0 || node->outputs[i]->shape.rank < 0)) {
      return graph_fail(err, node, "output %d has no type and shape", i);
    }
  }
  return MQ_OK;
}

mq_status graph_infer_FakeQuantize(struct mq_node *node, struct mq_err *err) {
  return float_unary(node, err);
}
mq_status graph_infer_Ceil(struct mq_node *node, struct mq_err *err) {
  return float_unary(node, err);
}
mq_status graph_infer_Floor(struct mq_node *node, struct mq_err *err) {
  return float_unary(node, err);
}
mq_status graph_infer_HardSigmoid(struct mq_node *node, struct mq_err *err) {
  return float_unary(node, err);
}
mq_status graph_infer_HardSwish(struct mq_node *node, struct mq_err *err) {
  return float_unary(node, err);
}
mq_status graph_infer_LeakyRelu(struct mq_node *node, struct mq_err *err) {
  return float_unary(node, err);
}
mq_status graph_infer_Sigmoid(struct mq_node *node, struct mq_err *err) {
  return float_unary(node, err);
}

mq_status graph_infer_Clip(struct mq_node *node, struct mq_err *err) {
  float lo, hi;
  mq_status status = mq_node_get_clip(&lo, &hi, node, err);
  return status == MQ_OK ? same_as_input(node, err) : status;
}

mq_status graph_infer_PRelu(struct mq_node *node, struct mq_err *err) {
  struct mq_shape shape;
  mq_status status = graph_broadcast(&shape, node, graph_shape(node, 0), graph_shape(node, 1), err);
  if (status == MQ_OK && !mq_shape_equal(&shape, graph_shape(node, 0))) {
    return graph_fail(err, node, "the slope has more dimensions than the input");
  }
  return status == MQ_OK ? float_unary(node, err) : status;
}

mq_status graph_infer_Cast(struct mq_node *node, struct mq_err *err) {
  mq_dtype to;
  mq_status status = mq_node_get_cast(&to, node, err);
  return status == MQ_OK ? graph_set_output(node, 0, to, graph_shape(node, 0), err) : status;
}

/* Inference only: training_mode (an input since opset 12) must be off, or nothing be dropped. */
static mq_status reject_training(const struct mq_node *node, struct mq_err *err) {
  float is_training = 0, ratio = 0.5f;
  mq_status status = MQ_OK;
  if (graph_has_input(node, 2)) {
    status = mq_node_get_constant_float(&is_training, node, 2, err);
  }
  if (status == MQ_OK && is_training != 0 && graph_has_input(node, 1)) {
    status = mq_node_get_constant_float(&ratio, node, 1, err);
  }
  if (status == MQ_OK && is_training != 0 && ratio != 0) {
    return graph_fail(err, node, "training_mode is on, expected a model exported for inference");
  }
  return status;
}

mq_status graph_infer_Dropout(struct mq_node *node, struct mq_err *err) {
  mq_status status = reject_training(node, err);
  if (status == MQ_OK) {
    status = same_as_input(node, err);
  }
  return status == MQ_OK ? graph_set_output(node, 1, MQ_BOOL, graph_shape(node, 0), err) : status;
}
