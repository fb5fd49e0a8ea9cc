/* BN folding and the canonical form, against plain double formulas on the constants of the graph before. */
#include <math.h>

#include "help_graphs.h"
#include "mqbench/prepare.h"

static const struct mq_tensor *constant(const struct mq_graph *graph, const char *name) {
  const struct mq_value *value = mq_graph_find_value(graph, name);
  if (!value || !value->constant) fail_msg("no constant '%s'", name);
  return value->constant;
}

static struct mq_node *node_of(const struct mq_graph *graph, const char *name) {
  for (size_t i = 0; i < graph->n_nodes; i++) {
    if (!strcmp(graph->nodes[i]->name, name)) return graph->nodes[i];
  }
  return NULL;
}

/* f = gamma / sqrt(v + e), floored. */
static double factor(const struct mq_graph *graph, const char *bn, int64_t c, double epsilon) {
  char name[64];
  snprintf(name, sizeof name, "%s.weight", bn);
  double gamma = mq_tensor_get_double(constant(graph, name), c);
  snprintf(name, sizeof name, "%s.running_var", bn);
  double f = gamma / sqrt(mq_tensor_get_double(constant(graph, name), c) + epsilon);
  return fabs(f) >= 1e-6 ? f : f < 0 ? -1e-6 : 1e-6;
}

/* beta - f (mu - b) */
static double shift(const struct mq_graph *graph, const char *bn, int64_t c, double f, double b) {
  char name[64];
  snprintf(name, sizeof name, "%s.bias", bn);
  double beta = mq_tensor_get_double(constant(graph, name), c);
  snprintf(name, sizeof name, "%s.running_mean", bn);
  return beta - f * (mq_tensor_get_double(constant(graph, name), c) - b);
}

/* The default epsilon is the float32 nearest to 1e-5. */
static const double epsilon = (double)1e-5f;

static struct mq_graph *fold(struct net *net, bool fold_others) {
  struct mq_graph *copy = NULL;
  struct mq_err err;
  assert_ok(mq_graph_clone(&copy, net->graph, &err));
  assert_ok(mq_prepare_fold_bn(copy, fold_others, &err));
  assert_ok(mq_graph_verify(copy, &err));
  return copy;
}

static void conv_with_bn(void **state) {
  (void)state;
  struct net net;
  net_residual(&net, true);
  struct mq_graph *g = fold(&net, true);
  const struct mq_tensor *before = constant(net.graph, "conv1.weight"), *after = constant(g, "conv1.weight");
  const struct mq_tensor *bias = constant(g, "conv1.bias");
  assert_int_equal(bias->shape.dim[0], 8);
  int64_t per_channel = 4 * 3 * 3;
  for (int64_t c = 0; c < 8; c++) {
    double f = factor(net.graph, "bn1", c, epsilon);
    for (int64_t i = c * per_channel; i < (c + 1) * per_channel; i++) {
      assert_true(((const float *)after->data)[i] == (float)(mq_tensor_get_double(before, i) * f));
    }
    assert_true(((const float *)bias->data)[c] == (float)shift(net.graph, "bn1", c, f, 0));
  }
  assert_null(node_of(g, "bn1"));
  assert_string_equal(node_of(g, "conv1")->outputs[0]->name, "bn1_out"); /* the name people see survives */
  assert_null(mq_graph_find_value(g, "conv1_out"));
  assert_null(mq_graph_find_value(g, "bn1.running_var"));
  mq_graph_destroy(g);
  mq_graph_destroy(net.graph);
}

static void tiny_gammas_are_floored(void **state) {
  (void)state;
  struct net net;
  net_residual(&net, false);
  float *gamma = constant(net.graph, "bn0.weight")->data;
  gamma[0] = 0;
  gamma[1] = -1e-30f;
  struct mq_graph *g = fold(&net, true);
  const float *before = constant(net.graph, "conv0.weight")->data, *after = constant(g, "conv0.weight")->data;
  assert_true(after[0] == (float)((double)before[0] * 1e-6));
  assert_true(after[27] == (float)((double)before[27] * -1e-6));
  mq_graph_destroy(g);
  mq_graph_destroy(net.graph);
}

/* Weights of ConvTranspose are [Cin, Cout/group, kh, kw]; a bias b of the layer adds f b. */
static void grouped_conv_transpose_with_bias(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "net");
  struct mq_value *x = net_input(&net, "x", net_shape(4, 4, 4));
  struct mq_value *inputs[] = {
      x, net_constant(&net, "up.weight", (struct mq_shape){.rank = 4, .dim = {4, 3, 2, 2}}, -1, 1),
      net_vector(&net, "up.bias", 6, -1, 1)};
  struct mq_value *y = net_node(&net, MQ_OP_ConvTranspose, "up", inputs, 3, net_shape(6, 5, 5));
  assert_int_equal(mq_node_set_int(net.graph, y->producer, "group", 2, &net.err), MQ_OK);
  net_output(&net, net_bn(&net, y, "bn"));
  struct mq_graph *g = fold(&net, true);
  const struct mq_tensor *before = constant(net.graph, "up.weight");
  const float *after = constant(g, "up.weight")->data, *bias = constant(g, "up.bias")->data;
  for (int64_t i = 0; i < 4 * 3 * 4; i++) {
    int64_t in = i / 12, out = in / 2 * 3 + i / 4 % 3;
    assert_true(after[i] == (float)(mq_tensor_get_double(before, i) * factor(net.graph, "bn", out, epsilon)));
  }
  for (int64_t c = 0; c < 6; c++) {
    double b = mq_tensor_get_double(constant(net.graph, "up.bias"), c);
    assert_true(bias[c] == (float)shift(net.graph, "bn", c, factor(net.graph, "bn", c, epsilon), b));
  }
  assert_string_equal(g->outputs[0]->name, "bn_out");
  mq_graph_destroy(g);
  mq_graph_destroy(net.graph);
}

static void linear_with_bn(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "net");
  struct mq_value *x = net_input(&net, "x", (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, 5}});
  x = net_bn(&net, net_gemm(&net, x, "fc", 3), "bn");
  struct mq_value *w = net_constant(&net, "w", (struct mq_shape){.rank = 2, .dim = {3, 2}}, -1, 1);
  struct mq_value *inputs[] = {x, w};
  x = net_node(&net, MQ_OP_MatMul, "mm", inputs, 2, (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, 2}});
  net_output(&net, net_bn(&net, x, "bn2"));
  struct mq_graph *g = fold(&net, true);
  assert_int_equal(g->n_nodes, 2);
  const float *after = constant(g, "fc.weight")->data; /* transB: [N, K] */
  for (int64_t i = 0; i < 15; i++) {
    double f = factor(net.graph, "bn", i / 5, epsilon);
    assert_true(after[i] == (float)(mq_tensor_get_double(constant(net.graph, "fc.weight"), i) * f));
  }
  assert_int_equal(node_of(g, "mm")->op, MQ_OP_Gemm); /* it has a bias now */
  after = constant(g, "w")->data;                     /* [K, N] */
  for (int64_t i = 0; i < 6; i++) {
    double f = factor(net.graph, "bn2", i % 2, epsilon);
    assert_true(after[i] == (float)(mq_tensor_get_double(constant(net.graph, "w"), i) * f));
  }
  assert_int_equal(constant(g, "w_bias")->shape.dim[0], 2);
  mq_graph_destroy(g);
  mq_graph_destroy(net.graph);
}

/* DenseNet's BN before its conv, and one whose conv has another reader. */
static void bn_on_its_own_becomes_depthwise(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "net");
  struct mq_value *x = net_input(&net, "x", net_shape(4, 4, 4));
  struct mq_value *y = net_unary(&net, MQ_OP_Relu, "relu", net_bn(&net, x, "bn"));
  struct mq_value *c = net_conv(&net, y, "conv", 4, 1, 1, 1);
  net_output(&net, net_binary(&net, MQ_OP_Add, "add", net_bn(&net, c, "bn2"), c));
  struct mq_graph *kept = fold(&net, false), *g = fold(&net, true);
  assert_int_equal(node_of(kept, "bn")->op, MQ_OP_BatchNormalization);
  struct mq_node *node = node_of(g, "bn");
  int64_t group = 0;
  struct mq_err err;
  assert_int_equal(node->op, MQ_OP_Conv);
  assert_int_equal(node->n_inputs, 3);
  assert_ok(mq_node_get_int(&group, node, "group", 1, &err));
  assert_int_equal(group, 4);
  const struct mq_tensor *w = constant(g, "bn.weight"), *b = constant(g, "bn.bias");
  assert_int_equal(w->shape.rank, 4);
  for (int64_t i = 0; i < 4; i++) {
    double f = factor(net.graph, "bn", i, epsilon);
    assert_true(((const float *)w->data)[i] == (float)f);
    assert_true(((const float *)b->data)[i] == (float)shift(net.graph, "bn", i, f, 0));
  }
  assert_int_equal(node_of(g, "bn2")->op, MQ_OP_Conv);
  mq_graph_destroy(kept);
  mq_graph_destroy(g);
  mq_graph_destroy(net.graph);
}

/* Two convs that read the same weights, each before a BN of its own. */
static void shared_weights_part(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "net");
  struct mq_value *x = net_input(&net, "x", net_shape(4, 4, 4));
  struct mq_value *w = net_constant(&net, "w", (struct mq_shape){.rank = 4, .dim = {4, 4, 1, 1}}, -1, 1);
  struct mq_value *a[] = {x, w};
  x = net_bn(&net, net_node(&net, MQ_OP_Conv, "a", a, 2, x->shape), "bn_a");
  struct mq_value *b[] = {x, w};
  net_output(&net, net_bn(&net, net_node(&net, MQ_OP_Conv, "b", b, 2, x->shape), "bn_b"));
  struct mq_graph *g = fold(&net, true);
  const struct mq_value *w_a = node_of(g, "a")->inputs[1], *w_b = node_of(g, "b")->inputs[1];
  assert_ptr_not_equal(w_a, w_b);
  double before = mq_tensor_get_double(constant(net.graph, "w"), 5);
  assert_true(((float *)w_a->constant->data)[5] == (float)(before * factor(net.graph, "bn_a", 1, epsilon)));
  assert_true(((float *)w_b->constant->data)[5] == (float)(before * factor(net.graph, "bn_b", 1, epsilon)));
  mq_graph_destroy(g);
  mq_graph_destroy(net.graph);
}

static void negative_variance_is_refused(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  net_residual(&net, false);
  ((float *)constant(net.graph, "bn1.running_var")->data)[2] = -1;
  assert_fails(MQ_BAD_INPUT, "node 'bn1' (BatchNormalization): variance + epsilon of channel 2",
               mq_prepare_fold_bn(net.graph, true, &err));
  mq_graph_destroy(net.graph);
}

/* ---- Canonical form --------------------------------------------------------------------------------- */

static void idle_nodes_go(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  net_begin(&net, "net");
  struct mq_value *x = net_input(&net, "x", net_shape(4, 4, 4));
  struct mq_value *y = net_unary(&net, MQ_OP_Identity, "i1", x);
  y = net_unary(&net, MQ_OP_Dropout, "drop", net_conv(&net, y, "conv", 4, 1, 1, 1));
  y = net_unary(&net, MQ_OP_Relu, "relu", y);
  net_output(&net, net_unary(&net, MQ_OP_Identity, "logits", y));
  net_output(&net, net_unary(&net, MQ_OP_Identity, "copy", x));
  assert_ok(mq_prepare_canonical(net.graph, &err));
  assert_ok(mq_graph_verify(net.graph, &err));
  assert_int_equal(net.graph->n_nodes, 3); /* conv, relu, and the copy from input to output */
  assert_string_equal(net.graph->outputs[0]->name, "logits_out");
  assert_string_equal(net.graph->outputs[0]->producer->name, "relu");
  assert_string_equal(net.graph->outputs[1]->producer->name, "copy");
  assert_string_equal(node_of(net.graph, "relu")->inputs[0]->name, "conv_out");
  mq_graph_destroy(net.graph);
}

static void biases_join_their_layer(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  net_begin(&net, "net");
  struct mq_value *x = net_input(&net, "x", net_shape(4, 4, 4));
  struct mq_value *b = net_constant(&net, "b", (struct mq_shape){.rank = 4, .dim = {1, 4, 1, 1}}, -1, 1);
  double second = mq_tensor_get_double(b->constant, 1);
  x = net_binary(&net, MQ_OP_Add, "bias", net_conv(&net, x, "conv", 4, 1, 1, 1), b);
  x = net_flatten(&net, x, "flatten");
  struct mq_value *w = net_constant(&net, "w", (struct mq_shape){.rank = 2, .dim = {64, 3}}, -1, 1);
  struct mq_value *inputs[] = {x, w};
  struct mq_shape shape = {.rank = 2, .dim = {MQ_DIM_BATCH, 3}};
  x = net_node(&net, MQ_OP_MatMul, "matmul", inputs, 2, shape);
  struct mq_value *v = net_vector(&net, "v", 3, -1, 1);
  struct mq_value *sum[] = {v, x};
  net_output(&net, net_node(&net, MQ_OP_Add, "add", sum, 2, shape));
  assert_ok(mq_prepare_canonical(net.graph, &err));
  assert_ok(mq_graph_verify(net.graph, &err));
  assert_int_equal(net.graph->n_nodes, 3);
  const struct mq_node *conv = node_of(net.graph, "conv"), *gemm = node_of(net.graph, "matmul");
  assert_int_equal(conv->n_inputs, 3);
  assert_int_equal(conv->inputs[2]->shape.rank, 1);
  assert_true(mq_tensor_get_double(conv->inputs[2]->constant, 1) == second);
  assert_string_equal(conv->outputs[0]->name, "bias_out");
  assert_int_equal(gemm->op, MQ_OP_Gemm);
  assert_string_equal(gemm->inputs[2]->name, "v");
  assert_string_equal(gemm->outputs[0]->name, "add_out");
  mq_graph_destroy(net.graph);
}

static void gemm_factors_are_absorbed(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  net_begin(&net, "net");
  struct mq_value *x = net_input(&net, "x", (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, 5}});
  struct mq_value *y = net_gemm(&net, x, "fc", 3);
  net_output(&net, y);
  assert_ok(mq_node_set_float(net.graph, y->producer, "alpha", 0.5f, &err));
  assert_ok(mq_node_set_float(net.graph, y->producer, "beta", 3, &err));
  double w = mq_tensor_get_double(constant(net.graph, "fc.weight"), 4);
  double b = mq_tensor_get_double(constant(net.graph, "fc.bias"), 2);
  assert_ok(mq_prepare_canonical(net.graph, &err));
  assert_null(mq_node_find_attr(net.graph->nodes[0], "alpha"));
  assert_null(mq_node_find_attr(net.graph->nodes[0], "beta"));
  assert_true(((float *)constant(net.graph, "fc.weight")->data)[4] == (float)(w * 0.5));
  assert_true(((float *)constant(net.graph, "fc.bias")->data)[2] == (float)(b * 3));
  mq_graph_destroy(net.graph);
}

static void double_activations_merge(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  net_begin(&net, "net");
  struct mq_value *x = net_input(&net, "x", net_shape(4, 4, 4));
  struct mq_value *a = net_clip(&net, net_unary(&net, MQ_OP_Relu, "r1", x), "c1", 0, 6);  /* the Clip stays */
  struct mq_value *b = net_unary(&net, MQ_OP_Relu, "r2", net_clip(&net, x, "c2", 0, 6));  /* the Clip stays */
  struct mq_value *c = net_clip(&net, net_unary(&net, MQ_OP_Relu, "r3", x), "c3", -1, 6); /* both stay */
  net_output(&net, a);
  net_output(&net, b);
  net_output(&net, c);
  assert_ok(mq_prepare_canonical(net.graph, &err));
  assert_ok(mq_graph_verify(net.graph, &err));
  assert_int_equal(net.graph->n_nodes, 4);
  assert_string_equal(net.graph->outputs[0]->producer->name, "c1");
  assert_string_equal(net.graph->outputs[1]->producer->name, "c2");
  assert_string_equal(net.graph->outputs[1]->name, "r2_out");
  assert_string_equal(net.graph->outputs[2]->producer->name, "c3");
  mq_graph_destroy(net.graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(conv_with_bn),
      cmocka_unit_test(tiny_gammas_are_floored),
      cmocka_unit_test(grouped_conv_transpose_with_bias),
      cmocka_unit_test(linear_with_bn),
      cmocka_unit_test(bn_on_its_own_becomes_depthwise),
      cmocka_unit_test(shared_weights_part),
      cmocka_unit_test(negative_variance_is_refused),
      cmocka_unit_test(idle_nodes_go),
      cmocka_unit_test(biases_join_their_layer),
      cmocka_unit_test(gemm_factors_are_absorbed),
      cmocka_unit_test(double_activations_merge),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
