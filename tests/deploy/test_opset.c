/* Models of old opsets in the forms of newer ones: what each operator does stays what it was. */
#include <math.h>

#include "deploy/export.h"
#include "help_bundle.h"
#include "help_graphs.h"

static struct net net;
static struct mq_err err;

/* Runs the raise on a copy of the net, as an exporter does. */
static struct deploy_edit raise_to(int from, int to) {
  struct deploy_edit edit;
  static struct mq_bundle bundle;
  net_check(&net, mq_graph_sort(net.graph, &net.err));
  net.graph->opset = from;
  bundle.prepared.graph = net.graph;
  deploy_edit_begin(&edit, &bundle, &err);
  deploy_edit_raise_opset(&edit, to);
  if (edit.status != MQ_OK) {
    fail_msg("opset %d to %d: %s", from, to, err.message);
  }
  assert_int_equal(edit.graph->opset, to);
  return edit;
}

static struct mq_node *only_node(const struct deploy_edit *edit) {
  assert_int_equal(edit->graph->n_nodes, 1);
  return edit->graph->nodes[0];
}

static struct mq_node *begin(mq_op op, struct mq_shape shape) {
  net_begin(&net, "old");
  struct mq_value *x = net_input(&net, "x", net_shape(4, 6, 5));
  net_output(&net, net_node(&net, op, "node", &x, 1, shape));
  return net.graph->nodes[0];
}

static void end(const struct deploy_edit *edit) {
  mq_graph_destroy(edit->graph);
  mq_graph_destroy(net.graph);
}

static void set_ints(struct mq_node *node, const char *name, const int64_t *ints, size_t n) {
  net_check(&net, mq_node_set_ints(net.graph, node, name, ints, n, &net.err));
}

static void clip(void **state) {
  (void)state;
  for (int which = 1; which < 4; which++) {
    float lo, hi;
    struct mq_node *node = begin(MQ_OP_Clip, net_shape(4, 6, 5));
    if (which & 1) net_check(&net, mq_node_set_float(net.graph, node, "min", -0.5f, &net.err));
    if (which & 2) net_check(&net, mq_node_set_float(net.graph, node, "max", 6, &net.err));
    struct deploy_edit edit = raise_to(7, 13);
    node = only_node(&edit);
    assert_int_equal(node->n_attrs, 0);
    assert_ok(mq_node_get_clip(&lo, &hi, node, &err));
    assert_true(lo == (which & 1 ? -0.5f : -INFINITY) && hi == (which & 2 ? 6 : INFINITY));
    end(&edit);
  }
}

static void pad(void **state) {
  (void)state;
  const int64_t pads[] = {0, 1, 2, 0, 0, 0, 3, 1};
  struct mq_padding padding;
  struct mq_node *node = begin(MQ_OP_Pad, net_shape(5, 11, 6));
  set_ints(node, "pads", pads, 8);
  net_check(&net, mq_node_set_float(net.graph, node, "value", 0.25f, &net.err));
  struct deploy_edit edit = raise_to(9, 13);
  node = only_node(&edit);
  assert_int_equal(node->n_attrs, 0);
  assert_ok(mq_node_get_padding(&padding, node, &err));
  for (int i = 0; i < 4; i++) {
    assert_true(padding.begin[i] == pads[i] && padding.end[i] == pads[4 + i]);
  }
  assert_true(padding.value == 0.25 && padding.mode == MQ_PAD_CONSTANT);
  end(&edit);
}

static void slice(void **state) {
  (void)state;
  const int64_t starts[] = {1, -4}, ends[] = {3, INT64_MAX}, axes[] = {1, 3};
  struct mq_slicing before, behind;
  struct mq_node *node = begin(MQ_OP_Slice, net_shape(2, 6, 4));
  set_ints(node, "starts", starts, 2);
  set_ints(node, "ends", ends, 2);
  set_ints(node, "axes", axes, 2);
  net.graph->opset = 9;
  net_check(&net, mq_node_get_slicing(&before, node, &net.err));
  struct deploy_edit edit = raise_to(9, 13);
  node = only_node(&edit);
  assert_int_equal(node->n_attrs, 0);
  assert_ok(mq_node_get_slicing(&behind, node, &err));
  assert_memory_equal(before.start, behind.start, 4 * sizeof *before.start);
  assert_memory_equal(before.count, behind.count, 4 * sizeof *before.count);
  assert_int_equal(behind.start[1], 1);
  assert_int_equal(behind.count[3], 4);
  end(&edit);
}

static void lists_of_axes(void **state) {
  (void)state;
  static const mq_op ops[] = {MQ_OP_Unsqueeze, MQ_OP_ReduceMean, MQ_OP_ReduceMean};
  const int64_t axes[] = {2, 3};
  for (size_t i = 0; i < 3; i++) {
    int64_t found[MQ_MAX_RANK];
    int n;
    struct mq_shape out = net_shape(4, 1, 1);
    if (ops[i] == MQ_OP_Unsqueeze) {
      out = (struct mq_shape){.rank = 6, .dim = {MQ_DIM_BATCH, 4, 1, 1, 6, 5}};
    }
    struct mq_node *node = begin(ops[i], out);
    set_ints(node, "axes", axes, 2);
    struct deploy_edit edit = raise_to(11, i == 2 ? 21 : 13);
    node = only_node(&edit);
    bool is_moved = ops[i] == MQ_OP_Unsqueeze || i == 2; /* ReduceMean: from 18 on */
    assert_int_equal(node->n_inputs, is_moved ? 2 : 1);
    assert_int_equal(node->n_attrs, is_moved ? 0 : 1);
    assert_ok(mq_node_get_axes(found, &n, node, out.rank, &err));
    assert_true(n == 2 && found[0] == 2 && found[1] == 3);
    end(&edit);
  }
}

/* Axis 1 of N x 4 x 1 x 1 together with those behind it is axis 1 alone; of N x 4 x 6 x 5 it is not. */
static void softmax(void **state) {
  (void)state;
  struct deploy_edit edit;
  int first, last;
  net_begin(&net, "old");
  struct mq_value *x = net_input(&net, "x", net_shape(4, 1, 1));
  net_output(&net, net_node(&net, MQ_OP_Softmax, "node", &x, 1, net_shape(4, 1, 1)));
  edit = raise_to(11, 13);
  assert_ok(mq_node_get_softmax(&first, &last, only_node(&edit), &err));
  assert_true(first == 1 && last == 1);
  end(&edit);
  struct mq_bundle bundle = {.has_preprocess = false};
  begin(MQ_OP_Softmax, net_shape(4, 6, 5));
  net.graph->opset = 11;
  bundle.prepared.graph = net.graph;
  deploy_edit_begin(&edit, &bundle, &err);
  deploy_edit_raise_opset(&edit, 13);
  assert_int_equal(edit.status, MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "'node' (Softmax): normalises over 3 axes, expected one"));
  end(&edit);
}

static void split(void **state) {
  (void)state;
  for (int to = 13; to <= 21; to += 8) {
    const int64_t *parts;
    int axis;
    struct mq_node *node = NULL;
    net_begin(&net, "old");
    struct mq_value *x = net_input(&net, "x", net_shape(4, 6, 5));
    struct mq_value *y[] = {net_value(&net, "a", net_shape(2, 6, 5)),
                            net_value(&net, "b", net_shape(2, 6, 5))};
    net_check(&net, mq_graph_add_node(&node, net.graph, MQ_OP_Split, "node", &x, 1, y, 2, &net.err));
    net_check(&net, mq_node_set_int(net.graph, node, "axis", 1, &net.err));
    net_output(&net, y[0]);
    net_output(&net, y[1]);
    struct deploy_edit edit = raise_to(11, to);
    node = only_node(&edit);
    assert_int_equal(mq_node_find_attr(node, "num_outputs") != NULL, to == 21);
    assert_ok(mq_node_get_split(&axis, &parts, node, &err));
    assert_true(axis == 1 && parts[0] == 2 && parts[1] == 2);
    end(&edit);
  }
}

static void resize(void **state) {
  (void)state;
  const float scales[] = {1, 1, 2, 2};
  const struct mq_shape four = {.rank = 1, .dim = {4}};
  struct mq_tensor tensor = mq_tensor_view((void *)(uintptr_t)scales, MQ_F32, &four, NULL);
  struct mq_value *inputs[2];
  struct mq_resize resize;
  net_begin(&net, "old");
  inputs[0] = net_input(&net, "x", net_shape(4, 6, 5));
  net_check(&net, mq_graph_add_constant(&inputs[1], net.graph, "scales", &tensor, &net.err));
  net_output(&net, net_node(&net, MQ_OP_Resize, "node", inputs, 2, net_shape(4, 12, 10)));
  struct deploy_edit edit = raise_to(10, 13);
  assert_ok(mq_node_get_resize(&resize, only_node(&edit), &err));
  assert_int_equal(resize.coordinates, MQ_COORDINATES_ASYMMETRIC);
  assert_int_equal(resize.nearest, MQ_NEAREST_FLOOR);
  assert_int_equal(resize.mode, MQ_RESIZE_NEAREST);
  assert_true(resize.size[2] == 12 && resize.size[3] == 10);
  end(&edit);
}

/* A new model is left as it is. */
static void nothing_to_raise(void **state) {
  (void)state;
  struct mq_bundle bundle = {.has_preprocess = false};
  struct deploy_edit edit;
  begin(MQ_OP_Relu, net_shape(4, 6, 5));
  net.graph->opset = 17;
  bundle.prepared.graph = net.graph;
  deploy_edit_begin(&edit, &bundle, &err);
  deploy_edit_raise_opset(&edit, 13);
  assert_true(edit.status == MQ_OK && edit.graph->opset == 17);
  end(&edit);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(clip),    cmocka_unit_test(pad),
      cmocka_unit_test(slice),   cmocka_unit_test(lists_of_axes),
      cmocka_unit_test(softmax), cmocka_unit_test(split),
      cmocka_unit_test(resize),  cmocka_unit_test(nothing_to_raise),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
