/* Preparing: options and overrides, FakeQuantize nodes and their names, strictness, the handed-over graph. */
#include "help_graphs.h"
#include "mqbench/prepare.h"

static mq_status prepare(struct mq_prepared *prepared, const struct net *net, const char *name,
                         const struct mq_prepare_options *options, struct mq_err *err) {
  struct mq_target *target = NULL;
  mq_status status = mq_target_load(&target, name, err);
  *prepared = (struct mq_prepared){0};
  if (!status) status = mq_prepare(prepared, net->graph, target, options, err);
  mq_target_destroy(target);
  return status;
}

static const struct mq_point *point_of(const struct mq_prepared *prepared, const char *tensor) {
  for (size_t i = 0; i < prepared->n_points; i++) {
    if (!strcmp(prepared->points[i].tensor, tensor)) return &prepared->points[i];
  }
  return NULL;
}

static int bits_of(const struct mq_prepared *prepared, const char *tensor) {
  const struct mq_point *point = point_of(prepared, tensor);
  return point ? point->scheme.bits : 0;
}

static struct mq_node *node_of(const struct mq_graph *graph, const char *name) {
  for (size_t i = 0; i < graph->n_nodes; i++) {
    if (!strcmp(graph->nodes[i]->name, name)) return graph->nodes[i];
  }
  return NULL;
}

/* ---- Bits and overrides ----------------------------------------------------------------------------- */

static void bits_replace_the_targets(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  struct mq_prepared p;
  net_residual(&net, false);
  assert_ok(prepare(&p, &net, "snpe", &(struct mq_prepare_options){.w_bits = 4, .a_bits = 3}, &err));
  for (size_t i = 0; i < p.n_points; i++) {
    assert_int_equal(p.points[i].scheme.bits, p.points[i].kind == MQ_POINT_WEIGHT ? 4 : 3);
  }
  mq_prepared_deinit(&p);
  assert_fails(MQ_BAD_USAGE, "weight bits: found 9",
               prepare(&p, &net, "snpe", &(struct mq_prepare_options){.w_bits = 9}, &err));
  assert_fails(MQ_BAD_USAGE, "activation bits: found 12",
               prepare(&p, &net, "snpe", &(struct mq_prepare_options){.a_bits = 12}, &err));
  mq_graph_destroy(net.graph);
}

/* Academic setting: weights and input of the first and last layer keep 8 bits. */
static void first_and_last_layer_keep_8_bits(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  struct mq_prepared p;
  net_residual(&net, false);
  assert_ok(prepare(&p, &net, "academic", &(struct mq_prepare_options){.w_bits = 4, .a_bits = 4}, &err));
  assert_int_equal(bits_of(&p, "input"), 8);
  assert_int_equal(bits_of(&p, "conv0.weight"), 8);
  assert_int_equal(bits_of(&p, "relu0_out"), 4);
  assert_int_equal(bits_of(&p, "conv1.weight"), 4);
  assert_int_equal(bits_of(&p, "conv2.weight"), 4);
  assert_int_equal(bits_of(&p, "flatten_out"), 8);
  assert_int_equal(bits_of(&p, "fc.weight"), 8);
  assert_non_null(node_of(p.graph, "bn0")); /* kept */
  for (size_t i = 0; i < p.n_points; i++)
    assert_true(p.points[i].is_at_end == (p.points[i].scheme.bits == 8));
  mq_prepared_deinit(&p);
  assert_ok(prepare(&p, &net, "tensorrt", &(struct mq_prepare_options){.w_bits = 4}, &err));
  for (size_t i = 0; i < p.n_points; i++)
    assert_false(p.points[i].is_at_end); /* this target makes nothing of them */
  mq_prepared_deinit(&p);
  mq_graph_destroy(net.graph);
}

/* A layer by node name, a tensor by its own name, by expression, by the stem of its weights. */
static void layers_have_bits_of_their_own(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  struct mq_prepared p;
  net_residual(&net, false);
  const struct mq_layer_override overrides[] = {
      {.layer = "conv1", .w_bits = 4, .a_bits = 4},     /* weights and what it reads */
      {.layer = "conv0.weight", .w_bits = 3},           /* only this */
      {.layer = "relu2_out", .a_bits = 5, .w_bits = 5}, /* only this */
      {.layer = "/^fc/", .w_bits = 2},
      {.layer = "conv2_out", .w_bits = 6}, /* vanished into bn2_out, which is no point: its layer is meant */
  };
  const struct mq_prepare_options options = {.overrides = overrides, .n_overrides = 5};
  assert_ok(prepare(&p, &net, "tensorrt", &options, &err));
  assert_int_equal(bits_of(&p, "conv1.weight"), 4);
  assert_int_equal(bits_of(&p, "relu0_out"), 4);
  assert_int_equal(bits_of(&p, "relu1_out"), 8);
  assert_int_equal(bits_of(&p, "conv0.weight"), 3);
  assert_int_equal(bits_of(&p, "input"), 8);
  assert_int_equal(bits_of(&p, "relu2_out"), 5);
  assert_int_equal(bits_of(&p, "fc.weight"), 2);
  assert_int_equal(bits_of(&p, "pool_out"), 8);
  assert_int_equal(bits_of(&p, "conv2.weight"), 6);
  mq_prepared_deinit(&p);
  mq_graph_destroy(net.graph);
}

/* A layer reads its input through ops that only move values. */
static void last_layers_input_is_found_through_flatten(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  struct mq_prepared p;
  net_residual(&net, false);
  const struct mq_layer_override override = {.layer = "fc", .w_bits = 4, .a_bits = 4};
  assert_ok(prepare(&p, &net, "snpe", &(struct mq_prepare_options){.overrides = &override, .n_overrides = 1},
                    &err));
  assert_int_equal(bits_of(&p, "pool_out"), 4);
  assert_int_equal(bits_of(&p, "relu2_out"), 8);
  mq_prepared_deinit(&p);
  mq_graph_destroy(net.graph);
}

static void layers_can_stay_float(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  struct mq_prepared p;
  net_residual(&net, false);
  const struct mq_layer_override overrides[] = {{.layer = "conv1", .keep_float = true},
                                                {.layer = "pool_out", .keep_float = true}};
  struct mq_prepare_options options = {.overrides = overrides, .n_overrides = 2, .is_strict = true};
  assert_ok(prepare(&p, &net, "snpe", &options, &err)); /* strict: what is asked for is no island */
  assert_null(point_of(&p, "conv1.weight"));
  assert_null(point_of(&p, "pool_out"));
  assert_non_null(point_of(&p, "relu0_out")); /* the shortcut reads it */
  assert_non_null(point_of(&p, "relu1_out")); /* conv2 needs it quantized */
  assert_int_equal(p.n_islands, 2);
  assert_string_equal(p.islands[0].node->name, "conv1");
  assert_string_equal(p.islands[1].node->name, "relu1");
  mq_prepared_deinit(&p);
  mq_graph_destroy(net.graph);
}

static void overrides_that_match_nothing(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  struct mq_prepared p;
  net_residual(&net, false);
  static const struct {
    struct mq_layer_override override;
    const char *message;
  } cases[] = {
      {{.layer = "conv9", .w_bits = 4},
       "layer override 'conv9' matches no layer and no quantized tensor of residual"},
      {{.layer = "conv9", .keep_float = true}, "close: conv0, conv1, conv2"},
      {{.layer = "/^nothing/", .w_bits = 4}, "matches no layer"},
      {{.layer = "/[/", .w_bits = 4}, "layer override '/[/': "},
      {{.layer = "conv1", .w_bits = 9}, "9 bits, expected 2 to 8"},
      {{.layer = "conv1", .a_bits = 12}, "12 bits, expected 2 to 8 or 16"},
      {{.layer = "flatten", .w_bits = 4}, "matches no layer"},
      {{.layer = "conv1"}, "layer override 'conv1' sets nothing, expected bits or keep_float"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const struct mq_prepare_options options = {.overrides = &cases[i].override, .n_overrides = 1};
    assert_fails(MQ_BAD_USAGE, cases[i].message, prepare(&p, &net, "snpe", &options, &err));
    assert_null(p.graph);
  }
  /* Adds are float under academic's rule, so there is nothing to keep; under snpe there is. */
  const struct mq_layer_override add = {.layer = "add", .keep_float = true};
  const struct mq_prepare_options options = {.overrides = &add, .n_overrides = 1};
  assert_fails(MQ_BAD_USAGE,
               "layer override 'add' matches no layer and no quantized tensor of residual under "
               "target academic",
               prepare(&p, &net, "academic", &options, &err));
  assert_ok(prepare(&p, &net, "snpe", &options, &err));
  mq_prepared_deinit(&p);
  /* The same where the node's output is called like the node: no layer behind it is meant. */
  const struct mq_node *node = node_of(net.graph, "add");
  assert_ok(mq_graph_rename_value(net.graph, node->outputs[0], "add", &err));
  assert_fails(MQ_BAD_USAGE, "layer override 'add' matches no layer",
               prepare(&p, &net, "academic", &options, &err));
  mq_graph_destroy(net.graph);
}

/* Overrides of the target's file: a layer must be there, a class of ops need not. */
static void overrides_of_the_target_that_match_nothing(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  struct mq_prepared p;
  struct mq_target *target = NULL;
  net_residual(&net, false);
  assert_ok(mq_target_load(&target, "snpe", &err));
  struct mq_scheme_override o[2];
  for (int i = 0; i < 2; i++) {
    o[i] = (struct mq_scheme_override){.is_for_weights = true,
                                       .is_for_activations = i == 1,
                                       .op = -1,
                                       .is_signed = -1,
                                       .is_symmetric = -1,
                                       .is_narrow = -1,
                                       .is_per_channel = -1,
                                       .scale_form = -1,
                                       .keep_float = i == 1 ? 1 : -1,
                                       .bits = i == 0 ? 4 : -1};
  }
  target->overrides = o;
  target->n_overrides = 2;
  o[0].layer = "conv1";
  o[1].layer = "pool_out"; /* drops a point, which is no reason to miss it */
  assert_ok(mq_prepare(&p, net.graph, target, &(struct mq_prepare_options){0}, &err));
  assert_int_equal(bits_of(&p, "conv1.weight"), 4);
  mq_prepared_deinit(&p);
  o[0].layer = "conv9";
  assert_fails(MQ_BAD_USAGE, "layer override 'conv9' matches no layer",
               mq_prepare(&p, net.graph, target, &(struct mq_prepare_options){0}, &err));
  o[0].layer = NULL;
  o[0].op = MQ_QUANT_POOL; /* pools have no weights */
  assert_ok(mq_prepare(&p, net.graph, target, &(struct mq_prepare_options){0}, &err));
  mq_prepared_deinit(&p);
  mq_target_destroy(target);
  mq_graph_destroy(net.graph);
}

static void tensors_of_a_concat_keep_one_scheme(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  struct mq_prepared p;
  net_concats(&net);
  const struct mq_layer_override override = {.layer = "grow_out", .a_bits = 6};
  const struct mq_prepare_options options = {.a_bits = 4, .overrides = &override, .n_overrides = 1};
  assert_ok(prepare(&p, &net, "snpe", &options, &err));
  assert_int_equal(bits_of(&p, "a_relu_out"), 6);
  assert_int_equal(bits_of(&p, "b_relu_out"), 6);
  assert_int_equal(bits_of(&p, "grow_out"), 6);
  assert_int_equal(bits_of(&p, "s_relu_out"), 4);
  mq_prepared_deinit(&p);
  mq_graph_destroy(net.graph);
}

/* ---- The graph -------------------------------------------------------------------------------------- */

static void strict_refuses_islands(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  struct mq_prepared p;
  net_squeeze_excite(&net);
  assert_fails(MQ_BAD_INPUT, "3 float islands under target snpe, expected none (strict): HardSwish hswish",
               prepare(&p, &net, "snpe", &(struct mq_prepare_options){.is_strict = true}, &err));
  assert_ok(prepare(&p, &net, "academic", &(struct mq_prepare_options){.is_strict = true}, &err));
  mq_prepared_deinit(&p);
  mq_graph_destroy(net.graph);
}

static void every_point_has_its_node(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  struct mq_prepared p;
  net_residual(&net, true);
  assert_ok(prepare(&p, &net, "snpe", &(struct mq_prepare_options){0}, &err));
  size_t n = 0;
  for (size_t i = 0; i < p.graph->n_nodes; i++) {
    const struct mq_node *node = p.graph->nodes[i];
    int64_t index = -1;
    if (node->op != MQ_OP_FakeQuantize) continue;
    n++;
    assert_ok(mq_node_get_int(&index, node, "point", -1, &err));
    assert_in_range(index, 0, p.n_points - 1);
    const struct mq_point *point = &p.points[index];
    bool is_output = node->outputs[0]->is_output;
    assert_string_equal((is_output ? node->outputs[0] : node->inputs[0])->name, point->tensor);
    assert_int_equal(node->inputs[0]->constant != NULL, point->kind == MQ_POINT_WEIGHT);
    assert_int_equal(point->qparams.n_channels, 0);
  }
  assert_int_equal(n, p.n_points);
  assert_string_equal(p.graph->outputs[0]->name, "fc_out");
  assert_int_equal(p.graph->outputs[0]->producer->op, MQ_OP_FakeQuantize);
  mq_prepared_deinit(&p);
  mq_graph_destroy(net.graph);
}

/* Graph 1: the float tensor goes on to everyone who is not quantized. */
static void only_listed_consumers_read_the_point(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  struct mq_prepared p;
  net_residual(&net, false);
  assert_ok(prepare(&p, &net, "acl", &(struct mq_prepare_options){0}, &err));
  assert_string_equal(node_of(p.graph, "conv1")->inputs[0]->producer->name, "relu0_out_fq");
  assert_string_equal(node_of(p.graph, "add")->inputs[1]->name, "relu0_out");
  assert_string_equal(node_of(p.graph, "add")->inputs[0]->name, "bn2_out");
  mq_prepared_deinit(&p);
  mq_graph_destroy(net.graph);
}

static struct mq_graph *shared_weight_net(struct net *net) {
  net_begin(net, "net");
  struct mq_value *x = net_input(net, "x", net_shape(4, 4, 4));
  struct mq_value *w = net_constant(net, "w", (struct mq_shape){.rank = 4, .dim = {4, 4, 1, 1}}, -1, 1);
  for (int i = 0; i < 3; i++) {
    char name[8];
    snprintf(name, sizeof name, "c%d", i);
    struct mq_value *inputs[] = {x, w};
    x = net_node(net, MQ_OP_Conv, name, inputs, 2, x->shape);
  }
  net_output(net, x);
  return net->graph;
}

static void shared_weights_share_a_point_where_schemes_agree(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  struct mq_prepared p;
  struct mq_graph *graph = shared_weight_net(&net);
  const struct mq_layer_override override = {.layer = "c1", .w_bits = 4};
  assert_ok(prepare(&p, &net, "snpe", &(struct mq_prepare_options){.overrides = &override, .n_overrides = 1},
                    &err));
  assert_int_equal(bits_of(&p, "w"), 8);
  assert_int_equal(bits_of(&p, "w_1"), 4);
  assert_ptr_equal(node_of(p.graph, "c0")->inputs[1], node_of(p.graph, "c2")->inputs[1]);
  assert_int_equal(p.n_points, 2 + 4); /* w, w_1; x and three outputs */
  assert_int_equal(p.n_renames, 1);
  assert_string_equal(p.renames[0].from, "w");
  assert_string_equal(p.renames[0].to, "w_1");
  mq_prepared_deinit(&p);
  mq_graph_destroy(graph);
}

/* ---- Handover --------------------------------------------------------------------------------------- */

static void calibrate_weights(struct mq_prepared *p) {
  struct mq_err err;
  for (size_t i = 0; i < p->n_points; i++) {
    struct mq_point *point = &p->points[i];
    struct mq_range range[64];
    if (point->kind != MQ_POINT_WEIGHT) continue;
    for (int64_t c = 0; c < point->n_channels; c++)
      range[c] = (struct mq_range){-0.9f - (float)c / 16, 0.8f};
    assert_ok(mq_qparams_init(&point->qparams, point->n_channels, point->channel_axis, &err));
    mq_qparams_from_range(&point->qparams, &point->scheme, range, NULL);
  }
}

static void check_on_grid(const struct mq_graph *handed, const struct mq_prepared *p) {
  struct mq_err err;
  for (size_t i = 0; i < p->n_points; i++) {
    const struct mq_point *point = &p->points[i];
    if (point->kind != MQ_POINT_WEIGHT) continue;
    const struct mq_tensor *w = mq_graph_find_value(handed, point->tensor)->constant;
    const struct mq_tensor *from = mq_graph_find_value(p->graph, point->tensor)->constant;
    struct mq_tensor expected = {0};
    assert_ok(mq_tensor_init(&expected, MQ_F32, &w->shape, &err));
    mq_fake_quantize(&expected, from, &point->qparams);
    size_t bytes = (size_t)mq_shape_count(&w->shape) * sizeof(float);
    assert_memory_equal(w->data, expected.data, bytes);
    mq_fake_quantize(&expected, w, &point->qparams); /* the grid is a fixed point */
    assert_memory_equal(w->data, expected.data, bytes);
    mq_tensor_deinit(&expected);
  }
}

/* Preparing what was handed over finds the same points under the same names. */
static void handover_is_idempotent(struct net *net, const char *target) {
  struct mq_err err;
  struct mq_prepared p, again;
  struct mq_graph *handed = NULL;
  const struct mq_prepare_options options = {.w_bits = 4};
  assert_ok(prepare(&p, net, target, &options, &err));
  calibrate_weights(&p);
  assert_ok(mq_prepare_handover(&handed, &p, &err));
  check_on_grid(handed, &p);
  assert_string_equal(handed->outputs[0]->name, net->graph->outputs[0]->name);
  for (size_t i = 0; i < handed->n_nodes; i++)
    assert_int_not_equal(handed->nodes[i]->op, MQ_OP_FakeQuantize);
  struct net second = {.graph = handed};
  assert_ok(prepare(&again, &second, target, &options, &err));
  assert_int_equal(again.n_points, p.n_points);
  assert_int_equal(again.n_renames, 0);
  for (size_t i = 0; i < p.n_points; i++) {
    assert_string_equal(again.points[i].tensor, p.points[i].tensor);
    assert_string_equal(again.points[i].reason, p.points[i].reason);
    assert_int_equal(again.points[i].scheme.bits, p.points[i].scheme.bits);
    assert_int_equal(again.points[i].channel_axis, p.points[i].channel_axis);
    assert_int_equal(again.points[i].share, p.points[i].share);
  }
  mq_prepared_deinit(&again);
  mq_graph_destroy(handed);
  mq_prepared_deinit(&p);
}

static void handover_of_every_target(void **state) {
  (void)state;
  static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
  for (size_t i = 0; i < 6; i++) {
    struct net net;
    net_residual(&net, true);
    handover_is_idempotent(&net, targets[i]);
    mq_graph_destroy(net.graph);
    net_squeeze_excite(&net);
    handover_is_idempotent(&net, targets[i]);
    mq_graph_destroy(net.graph);
  }
}

/* DenseNet's pre-activation BN: a depthwise layer with points of its own. */
static void bn_without_conv_has_points(void **state) {
  (void)state;
  struct net net;
  struct mq_err err;
  struct mq_prepared p;
  net_begin(&net, "dense");
  struct mq_value *x = net_input(&net, "x", net_shape(4, 4, 4));
  x = net_unary(&net, MQ_OP_Relu, "relu", net_bn(&net, x, "bn"));
  net_output(&net, net_conv(&net, x, "conv", 4, 1, 1, 1));
  assert_ok(prepare(&p, &net, "tensorrt", &(struct mq_prepare_options){0}, &err));
  assert_string_equal(point_of(&p, "relu_out")->reason, "output of Conv bn after Relu relu");
  assert_int_equal(point_of(&p, "bn.weight")->n_channels, 4);
  assert_int_equal(p.n_islands, 0);
  mq_prepared_deinit(&p);
  assert_ok(prepare(&p, &net, "tensorrt", &(struct mq_prepare_options){.bn_fold = MQ_BN_FOLD_NONE}, &err));
  assert_int_equal(p.n_islands, 2); /* BN and its Relu */
  mq_prepared_deinit(&p);
  assert_ok(prepare(&p, &net, "academic", &(struct mq_prepare_options){.bn_fold = MQ_BN_FOLD_0}, &err));
  assert_int_equal(node_of(p.graph, "bn")->op, MQ_OP_Conv);
  mq_prepared_deinit(&p);
  mq_graph_destroy(net.graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bits_replace_the_targets),
      cmocka_unit_test(first_and_last_layer_keep_8_bits),
      cmocka_unit_test(layers_have_bits_of_their_own),
      cmocka_unit_test(last_layers_input_is_found_through_flatten),
      cmocka_unit_test(layers_can_stay_float),
      cmocka_unit_test(overrides_that_match_nothing),
      cmocka_unit_test(overrides_of_the_target_that_match_nothing),
      cmocka_unit_test(tensors_of_a_concat_keep_one_scheme),
      cmocka_unit_test(strict_refuses_islands),
      cmocka_unit_test(every_point_has_its_node),
      cmocka_unit_test(only_listed_consumers_read_the_point),
      cmocka_unit_test(shared_weights_share_a_point_where_schemes_agree),
      cmocka_unit_test(handover_of_every_target),
      cmocka_unit_test(bn_without_conv_has_points),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
