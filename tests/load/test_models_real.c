/* The real networks beside the sources: what they are made of once shape computations are folded away. */
#include "help_model.h"
#include "mqbench/load.h"

static int count(const struct mq_graph *graph, mq_op op) {
  int n = 0;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    n += graph->nodes[i]->op == op;
  }
  return n;
}

static void assert_shape(const struct mq_shape *shape, const char *expected) {
  char text[128];
  assert_string_equal(mq_shape_format(text, sizeof text, shape), expected);
}

static struct mq_graph *load(const char *path) {
  struct mq_err err = {0};
  struct mq_graph *graph;
  assert_ok(mq_onnx_read(&graph, path, NULL, &err));
  mq_graph_dump_text(stdout, graph);
  for (size_t i = 0; i < graph->n_nodes; i++) {
    assert_int_not_equal(mq_op_get(graph->nodes[i]->op)->kind, MQ_KIND_SHAPE);
  }
  return graph;
}

static void resnet20(void **state) {
  (void)state;
  struct mq_graph *graph = load(shared_data("models/resnet20_cifar10.onnx"));
  assert_int_equal(graph->opset, 13);
  assert_int_equal(graph->n_inputs, 1);
  assert_string_equal(graph->inputs[0]->name, "input");
  assert_shape(&graph->inputs[0]->shape, "Nx3x32x32");
  assert_string_equal(graph->outputs[0]->name, "logits");
  assert_shape(&graph->outputs[0]->shape, "Nx10");
  assert_int_equal(count(graph, MQ_OP_Conv), 19);
  assert_int_equal(count(graph, MQ_OP_BatchNormalization), 19);
  assert_int_equal(count(graph, MQ_OP_Relu), 19);
  assert_int_equal(count(graph, MQ_OP_Add), 9);
  assert_int_equal(count(graph, MQ_OP_Gemm), 1);
  assert_int_equal(graph->n_nodes, 67 + 8); /* and 2 x (2 Slice + Pad), GlobalAveragePool, Flatten */
  mq_graph_destroy(graph);
}

static void mobilenet(void **state) {
  (void)state;
  struct mq_graph *graph = load(shared_data("models/mobilenet_v1_0.5_160.onnx"));
  assert_int_equal(graph->n_inputs, 1);
  assert_shape(&graph->inputs[0]->shape, "Nx3x160x160");
  assert_shape(&graph->outputs[0]->shape, "Nx1001");
  assert_int_equal(count(graph, MQ_OP_Conv), 28);
  assert_int_equal(count(graph, MQ_OP_Clip), 27);
  assert_int_equal(graph->n_nodes, 55 + 2); /* and GlobalAveragePool, Flatten */
  mq_graph_destroy(graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(resnet20),
      cmocka_unit_test(mobilenet),
  };
  if (!shared_data("models/resnet20_cifar10.onnx") || !shared_data("models/mobilenet_v1_0.5_160.onnx")) {
    printf("skipped: the shared models are not there\n");
    return MQ_TEST_SKIPPED;
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
