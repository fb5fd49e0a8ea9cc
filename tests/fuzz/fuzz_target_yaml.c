/* Target files from anywhere: never crash, and a target that loads can place points. */
#include <stdlib.h>
#include <string.h>

#include "target/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct mq_graph *graph;

static struct mq_value *add_value(const char *name, const struct mq_shape *shape) {
  struct mq_value *value = NULL;
  return mq_graph_add_value(&value, graph, name, MQ_F32, shape, NULL) ? NULL : value;
}

static struct mq_value *add_node(mq_op op, const char *name, struct mq_value *a, struct mq_value *b) {
  struct mq_value *inputs[] = {a, b}, *out = add_value(name, &a->shape);
  struct mq_node *node = NULL;
  return mq_graph_add_node(&node, graph, op, name, inputs, b ? 2 : 1, &out, 1, NULL) ? NULL : out;
}

/* x -> conv -> relu -> conv2 -> add x -> sigmoid -> concat with x -> mean */
static int build_graph(void) {
  static float zeros[16];
  const struct mq_shape shape = {.rank = 4, .dim = {MQ_DIM_BATCH, 4, 4, 4}};
  const struct mq_shape w_shape = {.rank = 4, .dim = {4, 4, 1, 1}};
  struct mq_tensor tensor = mq_tensor_view(zeros, MQ_F32, &w_shape, NULL);
  struct mq_value *x, *w = NULL, *y;
  if (mq_graph_create(&graph, "fuzz", NULL) || mq_graph_add_constant(&w, graph, "w", &tensor, NULL)) return 1;
  x = add_value("x", &shape);
  if (!x || mq_graph_add_input(graph, x, NULL)) return 1;
  y = add_node(MQ_OP_Relu, "relu", add_node(MQ_OP_Conv, "conv", x, w), NULL);
  y = add_node(MQ_OP_Add, "add", add_node(MQ_OP_Conv, "conv2", y, w), x);
  y = add_node(MQ_OP_Concat, "concat", add_node(MQ_OP_Sigmoid, "sigmoid", y, NULL), x);
  y = add_node(MQ_OP_GlobalAveragePool, "pool", y, NULL);
  return !y || mq_graph_add_output(graph, y, NULL);
}

static void place(const struct mq_target *target) {
  struct mq_graph *copy = NULL;
  struct mq_placement *placements;
  struct mq_island *islands;
  size_t n, n_islands;
  struct mq_scheme scheme;
  bool keep_float;
  struct mq_err err;
  if (mq_graph_clone(&copy, graph, &err)) return;
  if (!mq_target_place(&placements, &n, &islands, &n_islands, target, copy, &err)) {
    for (size_t i = 0; i < n; i++) {
      if (mq_target_scheme(&scheme, &keep_float, target, copy, &placements[i], &err)) break;
    }
  }
  mq_graph_destroy(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  struct mq_err err = {0};
  struct mq_target *target = NULL;
  if (!graph && build_graph()) abort();
  if (!mq_target_parse(&target, (const char *)bytes, n, "fuzz.yaml", &err)) {
    if (mq_target_set_graph_rule(target, 1 + (int)(n % 3), &err)) abort();
    place(target);
  } else if (strchr(err.message, '\n') || !err.message[0]) {
    abort();
  }
  mq_target_destroy(target);
  return 0;
}
