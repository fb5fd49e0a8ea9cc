/* Rewriting a copy of a bundle's graph, and finding the points in it. */
#include <string.h>

#include "deploy/export.h"
#include "target/roles.h"

/* ---- Editing --------------------------------------------------------------------------------------- */

void deploy_edit_begin(struct deploy_edit *edit, const struct mq_bundle *bundle, struct mq_err *err) {
  *edit = (struct deploy_edit){.bundle = bundle, .err = err};
  edit->status = mq_graph_clone(&edit->graph, bundle->prepared.graph, err);
}

void deploy_edit_end(struct deploy_edit *edit) {
  if (edit->status == MQ_OK) {
    edit->status = mq_graph_sort(edit->graph, edit->err);
  }
  if (edit->status == MQ_OK) {
    mq_graph_prune(edit->graph);
    edit->status = mq_graph_verify(edit->graph, edit->err);
  }
}

const char *deploy_edit_name(struct deploy_edit *edit, const char *name, const char *suffix) {
  if (edit->status != MQ_OK) {
    return NULL;
  }
  const char *text = mq_arena_printf(&edit->graph->arena, "%s%s", name, suffix);
  if (!text) {
    edit->status = mq_fail_memory(edit->err, "a name");
  }
  return text;
}

struct mq_value *deploy_edit_constant(struct deploy_edit *edit, const char *name, mq_dtype dtype,
                                      const struct mq_shape *shape, const void *data) {
  struct mq_value *value = NULL;
  if (edit->status == MQ_OK) {
    struct mq_tensor view = mq_tensor_view((void *)(uintptr_t)data, dtype, shape, NULL);
    edit->status = mq_graph_add_constant(&value, edit->graph, name, &view, edit->err);
  }
  return value;
}

static struct mq_shape shape_of(int64_t n, bool is_scalar) {
  struct mq_shape shape = {.rank = is_scalar ? 0 : 1};
  shape.dim[0] = is_scalar ? 0 : n;
  return shape;
}

struct mq_value *deploy_edit_floats(struct deploy_edit *edit, const char *name, const float *x, int64_t n,
                                    bool is_scalar) {
  struct mq_shape shape = shape_of(n, is_scalar);
  return deploy_edit_constant(edit, name, MQ_F32, &shape, x);
}

struct mq_value *deploy_edit_ints(struct deploy_edit *edit, const char *name, mq_dtype dtype,
                                  const int32_t *x, int64_t n, bool is_scalar) {
  struct mq_shape shape = shape_of(n, is_scalar);
  struct mq_tensor ints = {0};
  struct mq_value *value = NULL;
  if (edit->status == MQ_OK) {
    edit->status = mq_tensor_init(&ints, dtype, &shape, edit->err);
  }
  if (edit->status == MQ_OK) {
    const struct mq_tensor view = mq_tensor_view((void *)(uintptr_t)x, MQ_I32, &shape, NULL);
    mq_tensor_copy(&ints, &view);
    value = deploy_edit_constant(edit, name, dtype, &shape, ints.data);
  }
  mq_tensor_deinit(&ints);
  return value;
}

struct mq_node *deploy_edit_node(struct deploy_edit *edit, mq_op op, const char *name,
                                 struct mq_value *const *inputs, int n_inputs, mq_dtype dtype,
                                 struct mq_value *output) {
  struct mq_node *node = NULL;
  if (edit->status == MQ_OK && !output) {
    edit->status = mq_graph_add_value(&output, edit->graph, name, dtype, inputs[0] ? &inputs[0]->shape : NULL,
                                      edit->err);
  }
  if (edit->status == MQ_OK) {
    edit->status = mq_graph_add_node(&node, edit->graph, op, name, inputs, n_inputs, &output, 1, edit->err);
  }
  return node;
}

void deploy_edit_set_input(struct deploy_edit *edit, struct mq_node *node, int input,
                           struct mq_value *value) {
  if (edit->status == MQ_OK) {
    edit->status = mq_graph_set_input(edit->graph, node, input, value, edit->err);
  }
}

void deploy_edit_rename(struct deploy_edit *edit, struct mq_value *value, const char *name) {
  if (edit->status == MQ_OK && strcmp(value->name, name) != 0) {
    edit->status = mq_graph_rename_value(edit->graph, value, name, edit->err);
  }
}

void deploy_edit_name_output(struct deploy_edit *edit, struct mq_value *x, struct mq_value *y) {
  if (edit->status == MQ_OK && y->is_output && !x->is_input && !x->is_output) {
    const char *name = deploy_edit_name(edit, x->name, "");
    deploy_edit_rename(edit, x, deploy_edit_name(edit, x->name, "_float"));
    deploy_edit_rename(edit, y, name);
  }
}

/* Bounds were attributes before opset 11. */
struct mq_value *deploy_edit_clip(struct deploy_edit *edit, const char *name, struct mq_value *x, float lo,
                                  float hi, struct mq_value *output) {
  bool has_inputs = edit->status == MQ_OK && edit->graph->opset >= 11;
  struct mq_value *inputs[] = {x, NULL, NULL};
  if (has_inputs) {
    inputs[1] = deploy_edit_floats(edit, deploy_edit_name(edit, name, "_min"), &lo, 1, true);
    inputs[2] = deploy_edit_floats(edit, deploy_edit_name(edit, name, "_max"), &hi, 1, true);
  }
  struct mq_node *node = deploy_edit_node(edit, MQ_OP_Clip, name, inputs, has_inputs ? 3 : 1, MQ_F32, output);
  if (edit->status == MQ_OK && !has_inputs) {
    edit->status = mq_node_set_float(edit->graph, node, "min", lo, edit->err);
  }
  if (edit->status == MQ_OK && !has_inputs) {
    edit->status = mq_node_set_float(edit->graph, node, "max", hi, edit->err);
  }
  return node ? node->outputs[0] : NULL;
}

/* ---- Points ---------------------------------------------------------------------------------------- */

const struct mq_point *deploy_point_of(const struct mq_bundle *bundle, const struct mq_node *node) {
  int64_t index = -1;
  if (node->op != MQ_OP_FakeQuantize || mq_node_get_int(&index, node, "point", -1, NULL) != MQ_OK ||
      index < 0 || (size_t)index >= bundle->prepared.n_points) {
    return NULL;
  }
  return &bundle->prepared.points[index];
}

static bool is_same_grid(const struct mq_point *a, const struct mq_point *b) {
  const struct mq_qparams *p = &a->qparams, *q = &b->qparams;
  return p->n_channels == 1 && q->n_channels == 1 && p->scale[0] == q->scale[0] &&
         p->zero_point[0] == q->zero_point[0] && p->quant_min == q->quant_min &&
         p->quant_max == q->quant_max && p->is_signed == q->is_signed;
}

/* An input of each concat further up; the other inputs must lie on its grid. */
#define GRID_DEPTH 32
static struct mq_node *find_grid(const struct mq_bundle *bundle, const struct mq_value *value, int depth) {
  struct mq_node *node = value ? value->producer : NULL;
  while (node && node->op != MQ_OP_FakeQuantize && node->op != MQ_OP_Concat) {
    mq_quant_op op;
    bool keeps = mq_moves_values(node) || (mq_quant_op_of(&op, node) && op == MQ_QUANT_POOL);
    node = keeps ? node->inputs[0]->producer : NULL;
  }
  if (!node || node->op == MQ_OP_FakeQuantize) {
    return node;
  }
  struct mq_node *first = NULL;
  for (int i = 0; i < node->n_inputs && depth < GRID_DEPTH; i++) {
    struct mq_node *grid = find_grid(bundle, node->inputs[i], depth + 1);
    first = i == 0 ? grid : first;
    if (!grid || !first || !is_same_grid(deploy_point_of(bundle, first), deploy_point_of(bundle, grid))) {
      return NULL;
    }
  }
  return first;
}

struct mq_node *deploy_grid_of(const struct mq_bundle *bundle, const struct mq_value *value) {
  return find_grid(bundle, value, 0);
}

const struct mq_point *deploy_layer_weights(const struct mq_bundle *bundle, const struct mq_node *node) {
  bool is_layer = node->op == MQ_OP_Conv || node->op == MQ_OP_ConvTranspose || node->op == MQ_OP_Gemm ||
                  node->op == MQ_OP_MatMul;
  const struct mq_node *producer =
      is_layer && node->n_inputs > 1 && node->inputs[1] ? node->inputs[1]->producer : NULL;
  const struct mq_point *point = producer ? deploy_point_of(bundle, producer) : NULL;
  return point && point->kind == MQ_POINT_WEIGHT ? point : NULL;
}

/* Averages, and what only moves values, keep what their input has. */
bool deploy_is_non_negative(const struct mq_bundle *bundle, const char *tensor) {
  float lo = 0, hi = 0;
  mq_quant_op op;
  const struct mq_value *value = mq_graph_find_value(bundle->prepared.graph, tensor);
  const struct mq_node *node = value ? value->producer : NULL;
  while (node && (node->op == MQ_OP_FakeQuantize || mq_moves_values(node) ||
                  (mq_quant_op_of(&op, node) && op == MQ_QUANT_POOL))) {
    if (node->op == MQ_OP_Relu) {
      return true;
    }
    node = node->inputs[0]->producer;
  }
  return node && (node->op == MQ_OP_Relu || node->op == MQ_OP_Clip) &&
         mq_node_get_clip(&lo, &hi, node, NULL) == MQ_OK && lo >= 0;
}

bool deploy_fills(const struct mq_qparams *q, int bits, bool allows_narrow) {
  const struct mq_scheme scheme = {.bits = (uint8_t)bits, .is_signed = q->is_signed};
  int32_t lo, hi;
  mq_scheme_bounds(&lo, &hi, &scheme);
  return q->quant_max == hi &&
         (q->quant_min == lo || (allows_narrow && q->is_signed && q->quant_min == lo + 1));
}
