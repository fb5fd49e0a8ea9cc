/* A model of an old opset in the forms of opset 13 or 21: what was an attribute becomes an input. */
#include <math.h>
#include <string.h>

#include "deploy/export.h"

struct raise {
  struct deploy_edit *edit;
  struct mq_node *node;
  int from, to;
};

static struct mq_value *add_list(const struct raise *r, const char *suffix, const int64_t *ints, size_t n) {
  struct mq_shape shape = {.rank = 1, .dim = {(int64_t)n}};
  return deploy_edit_constant(r->edit, deploy_edit_name(r->edit, r->node->name, suffix), MQ_I64, &shape,
                              ints);
}

/* An absent input is NULL; those before it are filled up with absent ones. */
static void set_input(const struct raise *r, int input, struct mq_value *value) {
  while (r->edit->status == MQ_OK && r->node->n_inputs < input) {
    deploy_edit_set_input(r->edit, r->node, r->node->n_inputs, NULL);
  }
  deploy_edit_set_input(r->edit, r->node, input, value);
}

/* The list attribute `name`, if there is one, becomes input `input`. */
static void move_list(const struct raise *r, const char *name, int input) {
  const int64_t *ints = NULL;
  size_t n = 0;
  if (r->edit->status != MQ_OK || !mq_node_find_attr(r->node, name)) {
    return;
  }
  r->edit->status = mq_node_get_ints(&ints, &n, r->node, name, r->edit->err);
  if (r->edit->status == MQ_OK) {
    set_input(r, input, add_list(r, name, ints, n));
    mq_node_remove_attr(r->node, name);
  }
}

static void raise_clip(const struct raise *r) {
  float bounds[2] = {0, 0};
  if (r->from >= 11) {
    return;
  }
  r->edit->status = mq_node_get_clip(&bounds[0], &bounds[1], r->node, r->edit->err);
  for (int i = 0; i < 2 && r->edit->status == MQ_OK; i++) {
    mq_node_remove_attr(r->node, i ? "max" : "min");
    if (isfinite(bounds[i])) {
      const char *name = deploy_edit_name(r->edit, r->node->name, i ? "_max" : "_min");
      set_input(r, 1 + i, deploy_edit_floats(r->edit, name, &bounds[i], 1, true));
    }
  }
}

static void raise_pad(const struct raise *r) {
  float value = 0;
  if (r->from >= 11) {
    return;
  }
  r->edit->status = mq_node_get_float(&value, r->node, "value", 0, r->edit->err);
  move_list(r, "pads", 1);
  mq_node_remove_attr(r->node, "value");
  set_input(r, 2,
            deploy_edit_floats(r->edit, deploy_edit_name(r->edit, r->node->name, "_value"), &value, 1, true));
}

static void raise_slice(const struct raise *r) {
  if (r->from < 10) {
    move_list(r, "starts", 1);
    move_list(r, "ends", 2);
    move_list(r, "axes", 3);
  }
}

static void raise_squeeze(const struct raise *r) {
  if (r->from < 13) {
    move_list(r, "axes", 1);
  }
}

static void raise_split(const struct raise *r) {
  if (r->from < 13) {
    move_list(r, "split", 1);
  }
  bool has_split = r->node->n_inputs > 1 && r->node->inputs[1];
  if (r->edit->status == MQ_OK && r->from < 18 && r->to >= 18 && !has_split) {
    r->edit->status =
        mq_node_set_int(r->edit->graph, r->node, "num_outputs", r->node->n_outputs, r->edit->err);
  }
}

static void raise_mean(const struct raise *r) {
  if (r->from < 18 && r->to >= 18) {
    move_list(r, "axes", 1);
  }
}

/* Before 13 all axes from `axis` on were normalised together: the same where only one of them is not 1. */
static void raise_softmax(const struct raise *r) {
  int first = 0, last = 0, axis = -1, n_wide = 0;
  if (r->from >= 13) {
    return;
  }
  r->edit->status = mq_node_get_softmax(&first, &last, r->node, r->edit->err);
  for (int i = first; i <= last && r->edit->status == MQ_OK; i++) {
    bool is_wide = r->node->inputs[0]->shape.dim[i] != 1;
    axis = is_wide || axis < 0 ? i : axis;
    n_wide += is_wide;
  }
  if (r->edit->status == MQ_OK) {
    r->edit->status = n_wide > 1
                          ? mq_fail(r->edit->err, MQ_BAD_INPUT,
                                    "node '%.200s' (%s): normalises over %d axes, expected one (opset %d)",
                                    r->node->name, mq_op_get(r->node->op)->name, n_wide, r->to)
                          : mq_node_set_int(r->edit->graph, r->node, "axis", axis, r->edit->err);
  }
}

/* Opset 10: asymmetric coordinates, rounded down. */
static void raise_resize(const struct raise *r) {
  if (r->from >= 11) {
    return;
  }
  struct mq_value *scales = r->node->inputs[1];
  set_input(r, 2, scales);
  deploy_edit_set_input(r->edit, r->node, 1, NULL);
  if (r->edit->status == MQ_OK) {
    r->edit->status = mq_node_set_string(r->edit->graph, r->node, "coordinate_transformation_mode",
                                         "asymmetric", r->edit->err);
  }
  if (r->edit->status == MQ_OK) {
    r->edit->status = mq_node_set_string(r->edit->graph, r->node, "nearest_mode", "floor", r->edit->err);
  }
}

static void raise_bn(const struct raise *r) {
  mq_node_remove_attr(r->node, "spatial");
}

static void (*const raisers[MQ_OP_COUNT])(const struct raise *r) = {
    [MQ_OP_BatchNormalization] = raise_bn, [MQ_OP_Clip] = raise_clip,
    [MQ_OP_LogSoftmax] = raise_softmax,    [MQ_OP_Pad] = raise_pad,
    [MQ_OP_ReduceMean] = raise_mean,       [MQ_OP_Resize] = raise_resize,
    [MQ_OP_Slice] = raise_slice,           [MQ_OP_Softmax] = raise_softmax,
    [MQ_OP_Split] = raise_split,           [MQ_OP_Squeeze] = raise_squeeze,
    [MQ_OP_Unsqueeze] = raise_squeeze,
};

void deploy_edit_raise_opset(struct deploy_edit *edit, int opset) {
  if (edit->status != MQ_OK || edit->graph->opset >= opset) {
    return;
  }
  struct raise raise = {.edit = edit, .from = edit->graph->opset, .to = opset};
  for (size_t i = 0, n = edit->graph->n_nodes; i < n && edit->status == MQ_OK; i++) {
    raise.node = edit->graph->nodes[i];
    if (raisers[raise.node->op]) {
      raisers[raise.node->op](&raise);
    }
  }
  edit->graph->opset = opset;
}
