#include "graph/help_graph.h"

#include <string.h>

void help_ok(mq_status status, const struct mq_err *err) {
  if (status != MQ_OK) {
    print_error("%s\n", err->message);
  }
  assert_int_equal(status, MQ_OK);
}

struct mq_graph *help_create(int opset) {
  struct mq_err err;
  struct mq_graph *graph;
  help_ok(mq_graph_create(&graph, "g.onnx", &err), &err);
  graph->opset = opset;
  return graph;
}

struct mq_value *help_typed_input(struct mq_graph *graph, const char *name, mq_dtype dtype,
                                  struct mq_shape shape) {
  struct mq_err err;
  struct mq_value *value;
  help_ok(mq_graph_add_value(&value, graph, name, dtype, &shape, &err), &err);
  help_ok(mq_graph_add_input(graph, value, &err), &err);
  return value;
}

struct mq_value *help_input(struct mq_graph *graph, const char *name, struct mq_shape shape) {
  return help_typed_input(graph, name, MQ_F32, shape);
}

static struct mq_value *add_constant(struct mq_graph *graph, const char *name,
                                     const struct mq_tensor *tensor) {
  struct mq_err err;
  struct mq_value *value;
  help_ok(mq_graph_add_constant(&value, graph, name, tensor, &err), &err);
  return value;
}

struct mq_value *help_weights(struct mq_graph *graph, struct mq_shape shape) {
  struct mq_err err;
  struct mq_tensor tensor = {0};
  help_ok(mq_tensor_init(&tensor, MQ_F32, &shape, &err), &err);
  struct mq_value *value = add_constant(graph, "w", &tensor);
  mq_tensor_deinit(&tensor);
  return value;
}

struct mq_value *help_floats(struct mq_graph *graph, const float *floats, struct mq_shape shape) {
  float copy[256];
  memcpy(copy, floats, (size_t)mq_shape_count(&shape) * sizeof *copy);
  struct mq_tensor tensor = mq_tensor_view(copy, MQ_F32, &shape, NULL);
  return add_constant(graph, "f", &tensor);
}

struct mq_value *help_ints(struct mq_graph *graph, const int64_t *ints, int n) {
  int64_t copy[64] = {0};
  memcpy(copy, ints, (size_t)n * sizeof *copy);
  struct mq_shape shape = DIMS(n);
  struct mq_tensor tensor = mq_tensor_view(copy, MQ_I64, &shape, NULL);
  return add_constant(graph, "i", &tensor);
}

struct mq_value *help_int(struct mq_graph *graph, int64_t i) {
  struct mq_shape shape = SCALAR;
  struct mq_tensor tensor = mq_tensor_view(&i, MQ_I64, &shape, NULL);
  return add_constant(graph, "i", &tensor);
}

struct mq_value *help_node(struct mq_graph *graph, mq_op op, struct mq_value **inputs, int n_inputs) {
  struct mq_err err;
  struct mq_value *output;
  struct mq_node *node;
  help_ok(mq_graph_add_value(&output, graph, "y", (mq_dtype)0, NULL, &err), &err);
  help_ok(mq_graph_add_node(&node, graph, op, "n", inputs, n_inputs, &output, 1, &err), &err);
  return output;
}

void help_set_ints(struct mq_value *output, const char *name, const int64_t *ints, int n) {
  struct mq_err err;
  help_ok(mq_node_set_ints(output->producer->graph, output->producer, name, ints, (size_t)n, &err), &err);
}

void help_set_int(struct mq_value *output, const char *name, int64_t i) {
  struct mq_err err;
  help_ok(mq_node_set_int(output->producer->graph, output->producer, name, i, &err), &err);
}

void help_set_string(struct mq_value *output, const char *name, const char *s) {
  struct mq_err err;
  help_ok(mq_node_set_string(output->producer->graph, output->producer, name, s, &err), &err);
}

void help_set_float(struct mq_value *output, const char *name, float f) {
  struct mq_err err;
  help_ok(mq_node_set_float(output->producer->graph, output->producer, name, f, &err), &err);
}

static void expect(struct mq_graph *graph, struct mq_value *output, struct mq_shape shape, bool is_free) {
  struct mq_err err;
  if (!output->is_output) {
    help_ok(mq_graph_add_output(graph, output, &err), &err);
  }
  help_ok(mq_graph_infer(graph, is_free, &err), &err);
  help_ok(mq_graph_verify(graph, &err), &err);
  char found[200], expected[200];
  assert_string_equal(mq_shape_format(found, sizeof found, &output->shape),
                      mq_shape_format(expected, sizeof expected, &shape));
}

void help_expect(struct mq_graph *graph, struct mq_value *output, struct mq_shape shape) {
  expect(graph, output, shape, true);
  expect(graph, output, shape, true); /* again: the result is a fixed point */
}

void help_expect_fixed(struct mq_graph *graph, struct mq_value *output, struct mq_shape shape) {
  expect(graph, output, shape, false);
}

void help_expect_failure(struct mq_graph *graph, const char *text) {
  struct mq_err err = {0};
  assert_int_equal(mq_graph_infer(graph, true, &err), MQ_BAD_INPUT);
  if (!strstr(err.message, text)) {
    print_error("message: %s\nexpected: %s\n", err.message, text);
  }
  assert_non_null(strstr(err.message, text));
  assert_null(strchr(err.message, '\n'));
  mq_graph_destroy(graph);
}

void help_expect_ints(const struct mq_value *value, const int64_t *ints, int n) {
  assert_non_null(value->constant);
  assert_int_equal(value->constant->dtype, MQ_I64);
  assert_int_equal(mq_shape_count(&value->constant->shape), n);
  assert_memory_equal(value->constant->data, ints, (size_t)n * sizeof *ints);
}
