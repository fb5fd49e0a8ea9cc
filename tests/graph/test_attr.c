/* Attributes and typed getters: values, defaults, error texts. */
#include <math.h>
#include <string.h>

#include "graph/help_graph.h"

static struct mq_node *make_node(struct mq_graph **graph, mq_op op) {
  *graph = help_create(13);
  return help_node(*graph, op, IN(help_input(*graph, "x", DIMS(-1, 3, 4, 4))))->producer;
}

static void test_round_trip(void **state) {
  (void)state;
  struct mq_graph *graph;
  struct mq_err err;
  struct mq_node *node = make_node(&graph, MQ_OP_Relu);
  help_ok(mq_node_set_int(graph, node, "i", 3, &err), &err);
  help_ok(mq_node_set_int(graph, node, "i", 4, &err), &err);
  help_ok(mq_node_set_float(graph, node, "f", 0.5f, &err), &err);
  help_ok(mq_node_set_string(graph, node, "s", "text", &err), &err);
  help_ok(mq_node_set_ints(graph, node, "is", (int64_t[]){1, 2}, 2, &err), &err);
  help_ok(mq_node_set_floats(graph, node, "fs", (float[]){1, 2, 3}, 3, &err), &err);
  struct mq_shape shape = DIMS(2);
  struct mq_tensor tensor = mq_tensor_view((float[]){7, 8}, MQ_F32, &shape, NULL);
  help_ok(mq_node_set_tensor(graph, node, "t", &tensor, &err), &err);
  assert_int_equal(node->n_attrs, 6);
  int64_t i;
  float f;
  const char *s;
  const int64_t *ints;
  const float *floats;
  const struct mq_tensor *t;
  size_t n;
  help_ok(mq_node_get_int(&i, node, "i", 9, &err), &err);
  assert_int_equal(i, 4);
  help_ok(mq_node_get_int(&i, node, "none", 9, &err), &err);
  assert_int_equal(i, 9);
  help_ok(mq_node_get_float(&f, node, "f", 1, &err), &err);
  assert_true(f == 0.5f);
  help_ok(mq_node_get_string(&s, node, "s", "", &err), &err);
  assert_string_equal(s, "text");
  help_ok(mq_node_get_ints(&ints, &n, node, "is", &err), &err);
  assert_int_equal(n, 2);
  assert_int_equal(ints[1], 2);
  help_ok(mq_node_get_floats(&floats, &n, node, "fs", &err), &err);
  assert_int_equal(n, 3);
  assert_true(floats[2] == 3);
  help_ok(mq_node_get_tensor(&t, node, "t", &err), &err);
  assert_true(mq_tensor_get_double(t, 1) == 8);
  mq_node_remove_attr(node, "f");
  mq_node_remove_attr(node, "f");
  assert_null(mq_node_find_attr(node, "f"));
  assert_int_equal(node->n_attrs, 5);
  help_ok(mq_node_get_ints(&ints, &n, node, "f", &err), &err);
  assert_true(n == 0 && !ints);
  mq_graph_destroy(graph);
}

static void test_wrong_kinds(void **state) {
  (void)state;
  struct mq_graph *graph;
  struct mq_err err;
  struct mq_node *node = make_node(&graph, MQ_OP_Relu);
  int64_t i;
  float f;
  const char *s;
  const int64_t *ints;
  size_t n;
  help_ok(mq_node_set_float(graph, node, "a", 1, &err), &err);
  help_ok(mq_node_set_int(graph, node, "b", 1, &err), &err);
  assert_int_equal(mq_node_get_int(&i, node, "a", 5, &err), MQ_BAD_INPUT);
  assert_int_equal(i, 5);
  assert_string_equal(err.message, "g.onnx: node 'n' (Relu): attribute 'a' is a float, expected an int");
  assert_int_equal(mq_node_get_ints(&ints, &n, node, "b", &err), MQ_BAD_INPUT);
  assert_string_equal(err.message,
                      "g.onnx: node 'n' (Relu): attribute 'b' is an int, expected a list of ints");
  assert_int_equal(mq_node_get_float(&f, node, "b", 5, &err), MQ_BAD_INPUT);
  assert_int_equal(mq_node_get_string(&s, node, "b", "", &err), MQ_BAD_INPUT);
  assert_string_equal(err.message, "g.onnx: node 'n' (Relu): attribute 'b' is an int, expected a string");
  mq_graph_destroy(graph);
}

static void expect_clip(struct mq_graph *graph, const struct mq_node *node, float lo, float hi) {
  struct mq_err err;
  float found_lo, found_hi;
  help_ok(mq_node_get_clip(&found_lo, &found_hi, node, &err), &err);
  assert_true(found_lo == lo && found_hi == hi);
  mq_graph_destroy(graph);
}

static void test_clip(void **state) {
  (void)state;
  struct mq_graph *graph;
  struct mq_err err;
  struct mq_node *node = make_node(&graph, MQ_OP_Relu);
  expect_clip(graph, node, 0, INFINITY);
  node = make_node(&graph, MQ_OP_Clip);
  expect_clip(graph, node, -INFINITY, INFINITY);
  node = make_node(&graph, MQ_OP_Clip); /* opset 6 */
  help_ok(mq_node_set_float(graph, node, "min", 0, &err), &err);
  help_ok(mq_node_set_float(graph, node, "max", 6, &err), &err);
  expect_clip(graph, node, 0, 6);
  node = make_node(&graph, MQ_OP_Clip); /* opset 11 */
  help_ok(mq_graph_set_input(graph, node, 1, help_floats(graph, (float[]){0}, SCALAR), &err), &err);
  help_ok(mq_graph_set_input(graph, node, 2, help_floats(graph, (float[]){6}, DIMS(1)), &err), &err);
  expect_clip(graph, node, 0, 6);
  node = make_node(&graph, MQ_OP_Clip);
  help_ok(mq_graph_set_input(graph, node, 1, NULL, &err), &err);
  help_ok(mq_graph_set_input(graph, node, 2, help_floats(graph, (float[]){3.40282347e+38f}, SCALAR), &err),
          &err);
  expect_clip(graph, node, -INFINITY, INFINITY);
  node = make_node(&graph, MQ_OP_Clip);
  help_ok(mq_graph_set_input(graph, node, 1, graph->inputs[0], &err), &err);
  help_expect_failure(graph,
                      "input 1 ('x') depends on the data (made by graph input 'x'), expected a constant");
}

static void test_constant_ints(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  const int64_t *ints;
  size_t n;
  struct mq_shape shape = DIMS(3);
  struct mq_tensor tensor = mq_tensor_view((int32_t[]){4, INT32_MIN, -1}, MQ_I32, &shape, NULL);
  struct mq_value *list;
  help_ok(mq_graph_add_constant(&list, graph, "list", &tensor, &err), &err);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3));
  struct mq_value *y = help_node(graph, MQ_OP_Reshape, IN(x, list));
  help_ok(mq_node_get_constant_ints(&ints, &n, y->producer, 1, &err), &err);
  assert_true(n == 3 && ints[0] == 4 && ints[1] == N && ints[2] == -1);
  help_ok(mq_graph_set_input(graph, y->producer, 1, help_weights(graph, DIMS(2)), &err), &err);
  assert_int_equal(mq_node_get_constant_ints(&ints, &n, y->producer, 1, &err), MQ_BAD_INPUT);
  assert_string_equal(err.message,
                      "g.onnx: node 'n' (Reshape): input 1 ('w') is float32 2, expected a list of integers");
  assert_int_equal(mq_node_get_constant_ints(&ints, &n, y->producer, 4, &err), MQ_BAD_INPUT);
  assert_string_equal(err.message, "g.onnx: node 'n' (Reshape): input 4 is missing");
  float f;
  assert_int_equal(mq_node_get_constant_float(&f, y->producer, 1, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "has 2 elements, expected one number"));
  mq_graph_destroy(graph);
}

static void test_axes(void **state) {
  (void)state;
  struct mq_graph *graph;
  struct mq_err err;
  struct mq_node *node = make_node(&graph, MQ_OP_ReduceMean);
  int64_t axes[MQ_MAX_RANK];
  int n, axis;
  help_ok(mq_node_set_ints(graph, node, "axes", (int64_t[]){-1, 1}, 2, &err), &err);
  help_ok(mq_node_get_axes(axes, &n, node, 4, &err), &err);
  assert_true(n == 2 && axes[0] == 1 && axes[1] == 3);
  help_ok(mq_node_set_ints(graph, node, "axes", (int64_t[]){4}, 1, &err), &err);
  assert_int_equal(mq_node_get_axes(axes, &n, node, 4, &err), MQ_BAD_INPUT);
  assert_string_equal(err.message, "g.onnx: node 'n' (ReduceMean): axis 4, expected -4 to 3");
  help_ok(mq_node_set_int(graph, node, "axis", INT64_MIN, &err), &err);
  assert_int_equal(mq_node_get_axis(&axis, node, 0, 4, &err), MQ_BAD_INPUT);
  mq_graph_destroy(graph);
}

static void test_op_table(void **state) {
  (void)state;
  assert_int_equal(mq_op_find("Conv"), MQ_OP_Conv);
  assert_int_equal(mq_op_find("FakeQuantize"), MQ_OP_FakeQuantize);
  assert_int_equal(mq_op_find("Loop"), MQ_OP_NONE);
  assert_int_equal(mq_op_find("None"), MQ_OP_NONE);
  assert_string_equal(mq_op_get(MQ_OP_MaxPool)->name, "MaxPool");
  assert_int_equal(mq_op_get(MQ_OP_Relu)->kind, MQ_KIND_ACTIVATION);
  assert_int_equal(mq_dtype_from_onnx(1), MQ_F32);
  assert_int_equal(mq_dtype_from_onnx(16), MQ_BF16);
  assert_int_equal(mq_dtype_from_onnx(8), 0);
  assert_int_equal(mq_dtype_from_onnx(-1), 0);
  assert_int_equal(mq_dtype_from_onnx(17), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip), cmocka_unit_test(test_wrong_kinds),
      cmocka_unit_test(test_clip),       cmocka_unit_test(test_constant_ints),
      cmocka_unit_test(test_axes),       cmocka_unit_test(test_op_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
