/* quant.json (and, behind a line of "----", preprocess.json) from anywhere, with model.onnx a small fixed
 * one: never crash, one line of message, and what is accepted is a set of points that can be used. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct mq_graph *graph;

static struct mq_value *add_value(const char *name, const struct mq_shape *shape) {
  struct mq_value *value = NULL;
  return mq_graph_add_value(&value, graph, name, MQ_F32, shape, NULL) ? NULL : value;
}

static struct mq_value *add_node(mq_op op, const char *name, const char *out_name, struct mq_value *a,
                                 struct mq_value *b) {
  struct mq_value *inputs[] = {a, b}, *out = add_value(out_name, &a->shape);
  struct mq_node *node = NULL;
  return mq_graph_add_node(&node, graph, op, name, inputs, b ? 2 : 1, &out, 1, NULL) ? NULL : out;
}

/* x -> conv c1 (weights w) -> relu r1 -> conv c2 (weights v) -> add x: y, and r is an output too */
static int build_graph(void) {
  static float zeros[16];
  const struct mq_shape shape = {.rank = 4, .dim = {MQ_DIM_BATCH, 4, 4, 4}};
  const struct mq_shape w_shape = {.rank = 4, .dim = {4, 4, 1, 1}};
  struct mq_tensor tensor = mq_tensor_view(zeros, MQ_F32, &w_shape, NULL);
  struct mq_value *w = NULL, *v = NULL;
  if (mq_graph_create(&graph, "fuzz", NULL) || mq_graph_add_constant(&w, graph, "w", &tensor, NULL) ||
      mq_graph_add_constant(&v, graph, "v", &tensor, NULL)) {
    return 1;
  }
  struct mq_value *x = add_value("x", &shape);
  if (!x || mq_graph_add_input(graph, x, NULL)) {
    return 1;
  }
  struct mq_value *r = add_node(MQ_OP_Relu, "r1", "r", add_node(MQ_OP_Conv, "c1", "c", x, w), NULL);
  struct mq_value *y = add_node(MQ_OP_Add, "a1", "y", add_node(MQ_OP_Conv, "c2", "d", r, v), x);
  return !y || mq_graph_add_output(graph, y, NULL) || mq_graph_add_output(graph, r, NULL);
}

static void check_point(const struct mq_point *point) {
  const struct mq_qparams *q = &point->qparams;
  bool is_good = q->n_channels >= 1 && q->quant_min <= 0 && q->quant_max >= 1 && q->quant_min >= -32768 &&
                 q->quant_max <= 65535 && (q->is_signed || q->quant_min == 0) &&
                 q->quant_max - q->quant_min <= 65535;
  for (int64_t i = 0; is_good && i < q->n_channels; i++) {
    is_good = isnormal(q->scale[i]) && q->scale[i] > 0 && q->zero_point[i] >= q->quant_min &&
              q->zero_point[i] <= q->quant_max;
  }
  if (!is_good) {
    abort();
  }
}

static void check_bundle(const struct mq_bundle *bundle) {
  struct mq_graph *handover = NULL;
  const struct mq_prepared *prepared = &bundle->prepared;
  size_t n_nodes = 0;
  if (prepared->n_points == 0 || mq_graph_verify(prepared->graph, NULL)) {
    abort();
  }
  for (size_t i = 0; i < prepared->n_points; i++) {
    check_point(&prepared->points[i]);
  }
  for (size_t i = 0; i < prepared->graph->n_nodes; i++) {
    n_nodes += prepared->graph->nodes[i]->op == MQ_OP_FakeQuantize;
  }
  if (n_nodes != prepared->n_points || mq_prepare_handover(&handover, prepared, NULL)) {
    abort();
  }
  mq_graph_destroy(handover);
}

static void read_both(const json_t *quant, const json_t *preprocess) {
  struct mq_bundle bundle = {0};
  struct mq_err err = {0};
  if (mq_graph_clone(&bundle.prepared.graph, graph, NULL)) {
    abort();
  }
  mq_status status = json_is_object(quant) ? deploy_read_quant(&bundle, quant, "d", &err) : MQ_OK;
  if (status == MQ_OK && json_is_object(quant)) {
    check_bundle(&bundle);
  }
  if (status == MQ_OK && json_is_object(preprocess)) {
    status = deploy_read_preprocess(&bundle, preprocess, "d", &err);
  }
  if (status != MQ_OK && (!err.message[0] || strchr(err.message, '\n') || !strstr(err.message, "expected"))) {
    abort();
  }
  mq_bundle_deinit(&bundle);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  static const char rule[] = "\n----\n";
  if (!graph && build_graph()) {
    abort();
  }
  const uint8_t *second = n ? memmem(bytes, n, rule, sizeof rule - 1) : NULL;
  size_t n_first = second ? (size_t)(second - bytes) : n;
  json_t *quant = json_loadb((const char *)bytes, n_first, JSON_REJECT_DUPLICATES, NULL), *preprocess = NULL;
  if (second) {
    second += sizeof rule - 1;
    preprocess = json_loadb((const char *)second, (size_t)(bytes + n - second), JSON_REJECT_DUPLICATES, NULL);
  }
  read_both(quant, preprocess);
  json_decref(quant);
  json_decref(preprocess);
  return 0;
}
