/* The training forms of folding strategies 1 to 4: strategy 0's points, the model's constants. What they
 * compute is tested in tests/tune/test_folding.c. */
#include "help_graphs.h"
#include "mqbench/prepare.h"

static const char *const targets[] = {"tensorrt", "snpe", "fbgemm", "academic"};

/* For nets with a layer "c". */
static const struct mq_layer_override narrow_c = {.layer = "c", .w_bits = 4};

static void prepare(struct mq_prepared *prepared, const struct net *net, const char *target,
                    mq_bn_fold fold) {
  struct mq_err err = {0};
  struct mq_target *loaded;
  bool has_c = mq_graph_find_value(net->graph, "c_out") != NULL;
  const struct mq_prepare_options options = {
      .bn_fold = fold, .overrides = &narrow_c, .n_overrides = has_c ? 1 : 0};
  char path[600];
  snprintf(path, sizeof path, MQ_SOURCE_DIRECTORY "/targets/%s.yaml", target);
  assert_ok(mq_target_load(&loaded, path, &err));
  assert_ok(mq_prepare(prepared, net->graph, loaded, &options, &err));
  mq_target_destroy(loaded);
}

static void check_points(const struct mq_prepared *a, const struct mq_prepared *b) {
  assert_int_equal(a->n_points, b->n_points);
  for (size_t i = 0; i < a->n_points; i++) {
    const struct mq_point *p = &a->points[i], *q = &b->points[i];
    assert_string_equal(p->tensor, q->tensor);
    assert_string_equal(p->reason, q->reason);
    assert_int_equal(p->kind, q->kind);
    assert_memory_equal(&p->scheme, &q->scheme, sizeof p->scheme);
    assert_int_equal(p->n_channels, q->n_channels);
    assert_int_equal(p->channel_axis, q->channel_axis);
    assert_int_equal(p->share, q->share);
    assert_int_equal(p->is_at_end, q->is_at_end);
  }
  assert_int_equal(a->n_islands, b->n_islands);
}

static const struct mq_value *float_constant(const struct mq_graph *graph, const char *name) {
  const struct mq_value *value = mq_graph_find_value(graph, name);
  if (!value || !value->constant || value->dtype != MQ_F32)
    fail_msg("%s: no constant '%s'", graph->name, name);
  return value;
}

/* The graph has the model's float constants, unchanged, and no others: what learns is named in the model. */
static void check_constants(const struct mq_graph *graph, const struct mq_graph *model) {
  for (size_t i = 0; i < model->n_values; i++) {
    const struct mq_value *value = model->values[i];
    if (!value->constant || value->dtype != MQ_F32) continue;
    const struct mq_value *found = float_constant(graph, value->name);
    int64_t n = mq_shape_count(&value->shape);
    assert_int_equal(mq_shape_count(&found->shape), n);
    assert_memory_equal(found->constant->data, value->constant->data, (size_t)n * sizeof(float));
  }
  for (size_t i = 0; i < graph->n_values; i++) {
    const struct mq_value *value = graph->values[i];
    if (value->constant && value->dtype == MQ_F32) float_constant(model, value->name);
  }
}

static size_t count_nodes(const struct mq_graph *graph, mq_op op) {
  size_t n = 0;
  for (size_t i = 0; i < graph->n_nodes; i++)
    n += graph->nodes[i]->op == op;
  return n;
}

/* Shapes that the rewrite filled in itself are those that inference finds. */
static void check_shapes(struct mq_graph *graph) {
  struct mq_err err = {0};
  struct mq_graph *copy = NULL;
  assert_ok(mq_graph_clone(&copy, graph, &err));
  assert_ok(mq_graph_infer(copy, true, &err));
  for (size_t i = 0; i < graph->n_values; i++) {
    const struct mq_value *value = mq_graph_find_value(copy, graph->values[i]->name);
    if (value) assert_true(mq_shape_equal(&value->shape, &graph->values[i]->shape));
  }
  mq_graph_destroy(copy);
}

static void check_net(struct net *net) {
  struct mq_err err = {0};
  assert_ok(mq_graph_sort(net->graph, &err));
  assert_ok(mq_prepare_canonical(net->graph, &err));
  size_t n_bn = count_nodes(net->graph, MQ_OP_BatchNormalization);
  for (size_t t = 0; t < sizeof targets / sizeof *targets; t++) {
    struct mq_prepared folded;
    prepare(&folded, net, targets[t], MQ_BN_FOLD_0);
    assert_int_equal(count_nodes(folded.graph, MQ_OP_BatchNormalization), 0);
    for (int fold = MQ_BN_FOLD_1; fold <= MQ_BN_FOLD_4; fold++) {
      struct mq_prepared prepared;
      prepare(&prepared, net, targets[t], (mq_bn_fold)fold);
      check_points(&prepared, &folded);
      check_constants(prepared.graph, net->graph);
      check_shapes(prepared.graph);
      bool finds_statistics = fold == MQ_BN_FOLD_2 || fold == MQ_BN_FOLD_3;
      assert_int_equal(count_nodes(prepared.graph, MQ_OP_BatchStatistics), finds_statistics ? n_bn : 0);
      assert_int_equal(count_nodes(prepared.graph, MQ_OP_BatchNormalization),
                       fold == MQ_BN_FOLD_4 ? n_bn : 0);
      assert_int_equal(count_nodes(prepared.graph, MQ_OP_FakeQuantize),
                       count_nodes(folded.graph, MQ_OP_FakeQuantize));
      mq_prepared_deinit(&prepared);
    }
    mq_prepared_deinit(&folded);
  }
  mq_graph_destroy(net->graph);
}

static void residual(void **state) {
  (void)state;
  struct net net;
  net_residual(&net, true);
  check_net(&net);
}

static void inverted(void **state) {
  (void)state;
  struct net net;
  net_inverted(&net);
  check_net(&net);
}

static void norms(void **state) {
  (void)state;
  struct net net;
  net_norms(&net);
  check_net(&net);
}

/* One constant, read by a conv with a BN, by one without and (with other bits) by a third. */
static void shared_weights(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "shared");
  struct mq_value *x = net_input(&net, "input", net_shape(3, 8, 8));
  struct mq_value *a = net_conv_bn(&net, x, "a", "bn", 3, 3, 1, 1);
  struct mq_value *b = net_conv(&net, a, "b", 3, 3, 1, 1), *c = net_conv(&net, b, "c", 3, 3, 1, 1);
  struct mq_value *weight = mq_graph_find_value(net.graph, "a.weight");
  net_check(&net, mq_graph_set_input(net.graph, b->producer, 1, weight, &net.err));
  net_check(&net, mq_graph_set_input(net.graph, c->producer, 1, weight, &net.err));
  net_output(&net, c);
  mq_graph_prune(net.graph);
  check_net(&net);
}

static void scalar_biases_become_vectors(void **state) {
  (void)state;
  struct net net;
  struct mq_err err = {0};
  net_begin(&net, "scalar");
  struct mq_value *x = net_input(&net, "input", (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, 5}});
  struct mq_value *a = net_gemm(&net, x, "a", 4), *b = net_gemm(&net, a, "b", 3);
  struct mq_value *scalar = net_constant(&net, "scalar", (struct mq_shape){.rank = 0}, 0.5f, 0.5f);
  struct mq_value *row = net_constant(&net, "row", (struct mq_shape){.rank = 2, .dim = {1, 3}}, -1, 1);
  net_check(&net, mq_graph_set_input(net.graph, a->producer, 2, scalar, &net.err));
  net_check(&net, mq_graph_set_input(net.graph, b->producer, 2, row, &net.err));
  net_output(&net, b);
  float first = ((const float *)row->constant->data)[2];
  assert_ok(mq_prepare_canonical(net.graph, &err));
  const struct mq_value *found = mq_graph_find_value(net.graph, "scalar");
  assert_int_equal(found->shape.rank, 1);
  assert_int_equal(found->shape.dim[0], 4);
  for (int i = 0; i < 4; i++)
    assert_true(((const float *)found->constant->data)[i] == 0.5f);
  found = mq_graph_find_value(net.graph, "row");
  assert_int_equal(found->shape.rank, 1);
  assert_true(((const float *)found->constant->data)[2] == first);
  mq_graph_destroy(net.graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(residual),
      cmocka_unit_test(inverted),
      cmocka_unit_test(norms),
      cmocka_unit_test(shared_weights),
      cmocka_unit_test(scalar_biases_become_vectors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
