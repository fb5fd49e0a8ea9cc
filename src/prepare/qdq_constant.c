/* Constants on a grid: weights and biases, stored as integers or as floats that are quantized each time. They
 * become the real numbers that their codes stand for. */
#include <string.h>

#include "prepare/qdq.h"

/* The user's name of a constant, as far as it can be told: the one in the file, unless others read that too.
 * ONNX Runtime writes NAME_quantized. */
static mq_status name_after(struct qdq *qdq, struct mq_value *made, struct mq_value *source) {
  static const char suffix[] = "_quantized";
  const size_t n = strlen(source->name), tail = sizeof suffix - 1;
  if (source->n_uses > 0 || source->is_output || made->is_output) return MQ_OK;
  mq_graph_swap_names(qdq->graph, made, source);
  if (n <= tail || strcmp(made->name + n - tail, suffix) != 0) return MQ_OK;
  const char *name = mq_arena_printf(&qdq->graph->arena, "%.*s", (int)(n - tail), made->name);
  if (!name) return mq_fail_memory(qdq->err, "a name");
  return mq_graph_find_value(qdq->graph, name) ? MQ_OK
                                               : mq_graph_rename_value(qdq->graph, made, name, qdq->err);
}

/* The result of `node` is a constant from now on. */
static mq_status replace(struct qdq *qdq, struct mq_node *node, const struct mq_tensor *tensor,
                         struct qdq_state state) {
  struct mq_value *made = NULL, *x = node->inputs[0], *y = node->outputs[0];
  mq_status status = mq_graph_add_constant(&made, qdq->graph, y->name, tensor, qdq->err);
  if (status) return status;
  mq_graph_remove_node(qdq->graph, node);
  mq_graph_swap_names(qdq->graph, made, y);
  *qdq_state_of(qdq, made) = state;
  status = mq_graph_replace_uses(qdq->graph, y, made, NULL, qdq->err);
  return status ? status : name_after(qdq, made, x);
}

mq_status qdq_quantize_constant(struct qdq *qdq, struct mq_node *node) {
  const struct mq_tensor *x = node->inputs[0]->constant;
  struct qdq_state state = {.is_codes = true};
  struct mq_tensor y = {0};
  mq_status status = qdq_read_grid(&state.grid, qdq, node, node->outputs[0]);
  if (!status) status = mq_tensor_init(&y, MQ_F32, &x->shape, qdq->err);
  if (!status) {
    mq_fake_quantize(&y, x, &qdq_grid_at(qdq, state.grid)->q);
    status = replace(qdq, node, &y, state);
  }
  mq_tensor_deinit(&y);
  return status;
}

mq_status qdq_release_constant(struct qdq *qdq, struct mq_node *node) {
  struct mq_value *x = node->inputs[0];
  const struct qdq_state state = {.grid = qdq_state_of(qdq, x)->grid};
  return replace(qdq, node, x->constant, state);
}

/* x = s (q - z): exact but for one rounding, int32 too. `inner`: elements from one index of the axis to the
 * next. */
static void dequantize(float *x, const int32_t *codes, int64_t n, int64_t inner, const struct mq_qparams *q) {
  for (int64_t i = 0; i < n; i++) {
    int64_t c = q->n_channels > 1 ? i / inner % q->n_channels : 0;
    x[i] = (float)((double)q->scale[c] * ((double)codes[i] - q->zero_point[c]));
  }
}

static int64_t inner_count(const struct mq_shape *shape, int axis) {
  int64_t n = 1;
  for (int i = axis + 1; i < shape->rank; i++)
    n *= shape->dim[i];
  return n;
}

mq_status qdq_dequantize_constant(struct qdq *qdq, struct mq_node *node) {
  const struct mq_value *x = node->inputs[0];
  struct qdq_state state = {.is_codes = false};
  struct mq_tensor codes = {0}, reals = {0};
  mq_status status = qdq_read_grid(&state.grid, qdq, node, x);
  if (!status) status = mq_tensor_init(&codes, MQ_I32, &x->constant->shape, qdq->err);
  if (!status) status = mq_tensor_init(&reals, MQ_F32, &x->constant->shape, qdq->err);
  if (!status) {
    const struct mq_qparams *q = &qdq_grid_at(qdq, state.grid)->q;
    mq_tensor_copy(&codes, x->constant);
    dequantize(reals.data, codes.data, mq_shape_count(&codes.shape),
               inner_count(&codes.shape, q->channel_axis), q);
    status = replace(qdq, node, &reals, state);
  }
  mq_tensor_deinit(&codes);
  mq_tensor_deinit(&reals);
  return status;
}

/* ---- Constants that are moved ----------------------------------------------------------------------- */

/* Where the axis is after a reshape that leaves it whole: as many elements before it, as many indices. */
static int axis_after_reshape(const struct mq_shape *from, const struct mq_shape *to, int axis) {
  int64_t before = 1, at = 1;
  for (int i = 0; i < axis; i++)
    before *= from->dim[i];
  for (int i = 0; i < to->rank; i++) {
    if (at == before && to->dim[i] == from->dim[axis]) return i;
    at *= to->dim[i];
  }
  return -1;
}

static mq_status find_axis(int *axis, const struct qdq *qdq, const struct mq_node *node,
                           const struct mq_shape *from, const int *perm) {
  const struct mq_shape *to = &node->outputs[0]->shape;
  int old = *axis;
  if (old < 0) return MQ_OK;
  *axis = perm ? -1 : axis_after_reshape(from, to, old);
  for (int i = 0; perm && i < to->rank; i++) {
    if (perm[i] == old) *axis = i;
  }
  return *axis >= 0 ? MQ_OK
                    : qdq_fail(qdq, node, "it breaks up axis %d of '%.100s', along which the scales lie", old,
                               node->inputs[0]->name);
}

static mq_status move(struct mq_tensor *moved, const struct qdq *qdq, const struct mq_tensor *x,
                      const struct mq_shape *shape, const int *perm) {
  struct mq_tensor view = *x;
  if (perm) {
    for (int i = 0; i < shape->rank; i++) {
      view.shape.dim[i] = x->shape.dim[perm[i]];
      view.stride[i] = x->stride[perm[i]];
    }
  } else {
    view = mq_tensor_view(x->data, x->dtype, shape, NULL);
  }
  mq_status status = mq_tensor_init(moved, MQ_F32, shape, qdq->err);
  if (!status) mq_tensor_copy(moved, &view);
  return status;
}

static bool is_mover(const struct mq_node *node) {
  switch (node->op) {
    case MQ_OP_Identity:
    case MQ_OP_Transpose:
    case MQ_OP_Reshape:
    case MQ_OP_Flatten:
    case MQ_OP_Squeeze:
    case MQ_OP_Unsqueeze:
      return true;
    default:
      return false;
  }
}

mq_status qdq_move_constant(bool *is_moved, struct qdq *qdq, struct mq_node *node) {
  const struct mq_value *x = node->n_inputs > 0 ? node->inputs[0] : NULL;
  *is_moved = x && x->constant && qdq_state_of(qdq, x)->grid && is_mover(node);
  if (!*is_moved) return MQ_OK;
  const struct mq_shape *shape = &node->outputs[0]->shape;
  struct qdq_state state = *qdq_state_of(qdq, x);
  struct mq_tensor moved = {0};
  int perm[MQ_MAX_RANK], axis = qdq_grid_at(qdq, state.grid)->q.channel_axis;
  const int *turns = node->op == MQ_OP_Transpose ? perm : NULL;
  mq_status status = turns ? mq_node_get_perm(perm, node, qdq->err) : MQ_OK;
  if (!status && (mq_shape_has_batch(shape) || mq_shape_count(shape) != mq_shape_count(&x->shape))) {
    status = qdq_fail(qdq, node, "it does not keep the elements of '%.100s'", x->name);
  }
  if (!status) status = find_axis(&axis, qdq, node, &x->shape, turns);
  if (!status) status = qdq_turn_grid(&state.grid, qdq, state.grid, axis);
  if (!status) status = move(&moved, qdq, x->constant, shape, turns);
  if (!status) status = replace(qdq, node, &moved, state);
  mq_tensor_deinit(&moved);
  return status;
}
