/* Constants that contain the batch: [MQ_DIM_BATCH, 32, -1] behind a Reshape becomes [0, 32, -1] (0: as the
 * input has it) or [-1, ...]; everywhere else the number is computed in the model, from the shape of an
 * input:
 *
 *   input -> Shape -> Gather(0) -> Concat(parts before, batch, parts after) -> the constant's name
 *
 * which reading folds into the same constant again. */
#include <string.h>

#include "load/onnx_write.h"

/* Position of MQ_DIM_BATCH in a constant, or -1. */
static int64_t find_batch(const struct mq_tensor *tensor) {
  const int64_t *ints = tensor->data;
  int64_t n = tensor->dtype == MQ_I64 ? mq_shape_count(&tensor->shape) : 0;
  for (int64_t i = 0; i < n; i++) {
    if (ints[i] == MQ_DIM_BATCH) {
      return i;
    }
  }
  return -1;
}

bool mq_onnx_has_batch(const struct mq_value *value) {
  return value->constant && find_batch(value->constant) >= 0;
}

static bool has_element(const struct mq_tensor *tensor, int64_t element) {
  const int64_t *ints = tensor->data;
  for (int64_t i = 0; i < mq_shape_count(&tensor->shape); i++) {
    if (ints[i] == element) {
      return true;
    }
  }
  return false;
}

/* What stands for the batch when all uses are shapes of Reshape: 0, -1, or 1 if neither does. */
static int64_t reshape_literal(const struct mq_value *value) {
  bool can_copy = find_batch(value->constant) == 0, is_reshape = value->n_uses > 0 && !value->is_output;
  for (size_t i = 0; i < value->n_uses; i++) {
    const struct mq_node *node = value->uses[i].node;
    const struct mq_attr *allow = mq_node_find_attr(node, "allowzero");
    is_reshape = is_reshape && node->op == MQ_OP_Reshape && value->uses[i].input == 1;
    const struct mq_shape *data = node->inputs[0] ? &node->inputs[0]->shape : NULL;
    can_copy = can_copy && is_reshape && data && data->rank > 0 && data->dim[0] == MQ_DIM_BATCH &&
               !(allow && allow->kind == MQ_ATTR_INT && allow->as.i);
  }
  return !is_reshape ? 1 : can_copy ? 0 : has_element(value->constant, -1) ? 1 : -1;
}

/* A copy of n ints in the arena as a rank-1 tensor called "<name>/<suffix>". */
static mq_status append_ints(char **name, struct mq_onnx_writer *writer, const struct mq_value *value,
                             const char *suffix, const int64_t *ints, int64_t n, struct mq_err *err) {
  int64_t *copy = mq_arena_alloc(&writer->arena, (size_t)n + 1, sizeof *copy);
  *name = mq_arena_printf(&writer->arena, "%s/%s", value->name, suffix);
  if (!copy || !*name) {
    return mq_fail_memory(err, "constant of an ONNX model");
  }
  memcpy(copy, ints, (size_t)n * sizeof *copy);
  struct mq_shape shape = {.rank = 1, .dim = {n}};
  struct mq_tensor view = mq_tensor_view(copy, MQ_I64, &shape, NULL);
  return mq_onnx_append_tensor(writer, *name, &view, err);
}

/* Appends a node "<constant>/<suffix>" with one output; with `has_axis` an attribute axis = 0. */
static mq_status append_node(struct mq_onnx_writer *writer, const struct mq_value *value, const char *op_type,
                             const char *suffix, char **inputs, size_t n_inputs, char *output, bool has_axis,
                             struct mq_err *err) {
  Onnx__NodeProto *node;
  char *name = mq_arena_printf(&writer->arena, "%s/%s", value->name, suffix);
  if (!name || !output) {
    return mq_fail_memory(err, "node of an ONNX model");
  }
  mq_status status = mq_onnx_new_node(&node, writer, op_type, name, n_inputs, 1, err);
  if (status != MQ_OK) {
    return status;
  }
  memcpy(node->input, inputs, n_inputs * sizeof *inputs);
  node->output[0] = output;
  if (has_axis) {
    Onnx__AttributeProto *axis = mq_arena_alloc(&writer->arena, 1, sizeof *axis);
    node->attribute = mq_arena_alloc(&writer->arena, 1, sizeof *node->attribute);
    if (!axis || !node->attribute) {
      return mq_fail_memory(err, "node of an ONNX model");
    }
    onnx__attribute_proto__init(axis);
    axis->name = (char *)(uintptr_t) "axis";
    axis->has_type = axis->has_i = 1;
    axis->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    node->n_attribute = 1;
    node->attribute[0] = axis;
  }
  return mq_onnx_append_node(writer, node, err);
}

static const struct mq_value *find_batched_input(int64_t *position, const struct mq_graph *graph) {
  for (size_t i = 0; i < graph->n_inputs; i++) {
    for (int d = 0; d < graph->inputs[i]->shape.rank; d++) {
      if (graph->inputs[i]->shape.dim[d] == MQ_DIM_BATCH) {
        *position = d;
        return graph->inputs[i];
      }
    }
  }
  return NULL;
}

/* The batch as a one-element tensor: Gather(Shape(input), [position]). */
static mq_status append_batch(char **batch, struct mq_onnx_writer *writer, const struct mq_value *value,
                              const struct mq_value *input, int64_t position, struct mq_err *err) {
  char *shape = mq_arena_printf(&writer->arena, "%s/shape", value->name), *index;
  *batch = mq_arena_printf(&writer->arena, "%s/batch", value->name);
  mq_status status = append_node(writer, value, "Shape", "shape", &(char *){(char *)(uintptr_t)input->name},
                                 1, shape, false, err);
  if (status == MQ_OK) {
    status = append_ints(&index, writer, value, "index", &position, 1, err);
  }
  if (status == MQ_OK) {
    status = append_node(writer, value, "Gather", "batch", (char *[]){shape, index}, 2, *batch, true, err);
  }
  return status;
}

static mq_status append_computed(struct mq_onnx_writer *writer, const struct mq_value *value,
                                 struct mq_err *err) {
  const int64_t *ints = value->constant->data;
  int64_t n = mq_shape_count(&value->constant->shape), at = find_batch(value->constant), position = 0;
  const struct mq_value *input = find_batched_input(&position, writer->graph);
  if (!input || value->constant->shape.rank != 1) {
    return mq_fail(err, MQ_BAD_INPUT,
                   "%s: constant '%.100s' contains the batch, which cannot be written here", writer->name,
                   value->name);
  }
  char *parts[3];
  size_t n_parts = 0;
  mq_status status = MQ_OK;
  if (at > 0) {
    status = append_ints(&parts[n_parts++], writer, value, "before", ints, at, err);
  }
  if (status == MQ_OK) {
    status = append_batch(&parts[n_parts++], writer, value, input, position, err);
  }
  if (status == MQ_OK && at + 1 < n) {
    status = append_ints(&parts[n_parts++], writer, value, "after", ints + at + 1, n - at - 1, err);
  }
  if (status == MQ_OK) {
    status = append_node(writer, value, "Concat", "concat", parts, n_parts, (char *)(uintptr_t)value->name,
                         true, err);
  }
  return status;
}

mq_status mq_onnx_write_batch_constant(struct mq_onnx_writer *writer, const struct mq_value *value,
                                       struct mq_err *err) {
  int64_t literal = reshape_literal(value);
  if (literal > 0) {
    return append_computed(writer, value, err);
  }
  size_t n_bytes = (size_t)mq_shape_count(&value->constant->shape) * sizeof(int64_t);
  int64_t *copy = mq_arena_alloc(&writer->arena, n_bytes, 1);
  if (!copy) {
    return mq_fail_memory(err, "constant of an ONNX model");
  }
  memcpy(copy, value->constant->data, n_bytes);
  copy[find_batch(value->constant)] = literal;
  struct mq_tensor view = mq_tensor_view(copy, MQ_I64, &value->shape, NULL);
  return mq_onnx_append_tensor(writer, value->name, &view, err);
}
