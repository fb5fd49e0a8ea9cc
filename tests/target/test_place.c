/* Graph rules, case by case: what targets.md says in one sentence each. */
#include "help_graphs.h"
#include "mqbench/target.h"
#include "target/read.h"

struct placed {
  struct mq_target *target;
  struct mq_placement *placements;
  struct mq_island *islands;
  size_t n_placements, n_islands;
};

static void place(struct placed *p, struct net *net, const char *target) {
  struct mq_err err;
  assert_ok(mq_target_load(&p->target, target, &err));
  assert_ok(mq_target_place(&p->placements, &p->n_placements, &p->islands, &p->n_islands, p->target,
                            net->graph, &err));
}

static void end(struct placed *p, struct net *net) {
  mq_target_destroy(p->target);
  mq_graph_destroy(net->graph);
}

/* Activation points only; NULL if there is none on this tensor. */
static const struct mq_placement *point_of(const struct placed *p, const char *tensor) {
  for (size_t i = 0; i < p->n_placements; i++) {
    if (!strcmp(p->placements[i].value->name, tensor)) return &p->placements[i];
  }
  return NULL;
}

/* Names of activation points in order, blank-separated. */
static const char *activations(const struct placed *p) {
  static char text[2048];
  text[0] = 0;
  for (size_t i = 0; i < p->n_placements; i++) {
    if (p->placements[i].is_weight) continue;
    if (text[0]) strcat(text, " ");
    strcat(text, p->placements[i].value->name);
  }
  return text;
}

static const char *islands(const struct placed *p) {
  static char text[2048];
  text[0] = 0;
  for (size_t i = 0; i < p->n_islands; i++) {
    if (text[0]) strcat(text, " ");
    strcat(text, p->islands[i].node->name);
  }
  return text;
}

static void check_points(struct net *net, const char *target, const char *points, const char *float_ops) {
  struct placed p;
  place(&p, net, target);
  assert_string_equal(activations(&p), points);
  assert_string_equal(islands(&p), float_ops);
  mq_target_destroy(p.target);
}

static struct mq_value *start(struct net *net) {
  net_begin(net, "net");
  return net_input(net, "x", net_shape(4, 8, 8));
}

static void finish(struct net *net, struct mq_value *y) {
  net_output(net, net_conv(net, y, "end", 2, 1, 1, 1));
}

/* ---- Adds ------------------------------------------------------------------------------------------- */

/* Both operands come straight from convs: the longer path is the main branch. */
static void main_branch_is_the_longer_path(void **state) {
  (void)state;
  struct net net;
  struct mq_value *x = start(&net);
  struct mq_value *down = net_conv(&net, x, "down", 4, 1, 1, 1);
  struct mq_value *deep = net_conv(&net, net_conv(&net, x, "c1", 4, 3, 1, 1), "c2", 4, 3, 1, 1);
  finish(&net, net_binary(&net, MQ_OP_Add, "add", down, deep));
  check_points(&net, "tensorrt", "x down_out c1_out add_out", "");
  check_points(&net, "snpe", "x down_out c1_out c2_out add_out end_out", "");
  mq_graph_destroy(net.graph);
}

static void main_branch_at_equal_length_is_the_first_operand(void **state) {
  (void)state;
  struct net net;
  struct mq_value *x = start(&net);
  struct mq_value *a = net_conv(&net, x, "a", 4, 1, 1, 1), *b = net_conv(&net, x, "b", 4, 1, 1, 1);
  finish(&net, net_binary(&net, MQ_OP_Add, "add", b, a));
  check_points(&net, "tensorrt", "x a_out add_out", "");
  mq_graph_destroy(net.graph);
}

/* A conv with an activation function, or another consumer, cannot go into the add's 32-bit sum. */
static void main_branch_needs_a_bare_conv(void **state) {
  (void)state;
  struct net net;
  struct mq_value *x = start(&net);
  struct mq_value *a = net_unary(&net, MQ_OP_Relu, "relu", net_conv(&net, x, "a", 4, 1, 1, 1));
  struct mq_value *add = net_binary(&net, MQ_OP_Add, "add", a, x);
  struct mq_value *b = net_conv(&net, add, "b", 4, 1, 1, 1);
  struct mq_value *add2 = net_binary(&net, MQ_OP_Add, "add2", b, add);
  finish(&net, net_binary(&net, MQ_OP_Add, "add3", add2, net_conv(&net, b, "c", 4, 1, 1, 1)));
  check_points(&net, "tensorrt", "x relu_out add_out b_out add2_out c_out add3_out", "");
  mq_graph_destroy(net.graph);
}

static void sum_of_three_follows_rule_3(void **state) {
  (void)state;
  struct net net;
  struct mq_value *x = start(&net);
  struct mq_value *a = net_conv(&net, x, "a", 4, 1, 1, 1), *b = net_conv(&net, x, "b", 4, 1, 1, 1);
  struct mq_value *inner = net_binary(&net, MQ_OP_Add, "inner", a, b);
  finish(&net, net_binary(&net, MQ_OP_Add, "outer", inner, x));
  check_points(&net, "tensorrt", "x a_out b_out inner_out outer_out", "");
  mq_graph_destroy(net.graph);
}

static void doubling_and_broadcasting_adds_follow_rule_3(void **state) {
  (void)state;
  struct net net;
  struct mq_value *x = start(&net);
  struct mq_value *a = net_conv(&net, x, "a", 4, 1, 1, 1);
  struct mq_value *twice = net_binary(&net, MQ_OP_Add, "twice", a, a);
  struct mq_value *mean = net_global_pool(&net, x, "mean");
  struct mq_value *small = net_conv(&net, mean, "small", 4, 1, 1, 1);
  finish(&net, net_binary(&net, MQ_OP_Add, "wide", twice, small));
  check_points(&net, "tensorrt", "x a_out twice_out mean_out small_out wide_out", "");
  mq_graph_destroy(net.graph);
}

static void shortcut_of_moved_values_keeps_its_scale(void **state) {
  (void)state;
  struct net net;
  struct mq_value *x = start(&net);
  struct mq_value *a = net_conv(&net, x, "a", 4, 3, 1, 1);
  struct mq_value *same = net_unary(&net, MQ_OP_Identity, "same", x);
  finish(&net, net_binary(&net, MQ_OP_Add, "add", same, a));
  check_points(&net, "tensorrt", "x add_out", "");
  check_points(&net, "snpe", "x a_out add_out end_out", "");
  check_points(&net, "academic", "x add_out", "");
  mq_graph_destroy(net.graph);
}

/* ---- Concat ----------------------------------------------------------------------------------------- */

static void nested_concats_share_one_scale(void **state) {
  (void)state;
  struct net net;
  struct placed p;
  struct mq_value *x = start(&net);
  struct mq_value *a = net_conv(&net, x, "a", 4, 1, 1, 1), *b = net_conv(&net, x, "b", 4, 1, 1, 1);
  struct mq_value *inner[] = {a, b}, *outer[2];
  outer[0] = net_concat(&net, "inner", inner, 2);
  outer[1] = net_conv(&net, outer[0], "c", 4, 1, 1, 1);
  struct mq_value *y = net_concat(&net, "outer", outer, 2);
  finish(&net, net_conv(&net, y, "d", 4, 1, 1, 1));
  place(&p, &net, "snpe");
  assert_string_equal(activations(&p), "x a_out b_out c_out d_out end_out");
  assert_int_equal(point_of(&p, "a_out")->share, 0);
  assert_int_equal(point_of(&p, "b_out")->share, 0);
  assert_int_equal(point_of(&p, "c_out")->share, 0);
  assert_int_equal(point_of(&p, "x")->share, -1);
  assert_int_equal(point_of(&p, "d_out")->share, -1);
  end(&p, &net);
}

static void concat_of_islands_and_points(void **state) {
  (void)state;
  struct net net;
  struct placed p;
  struct mq_value *x = start(&net);
  struct mq_value *soft = net_unary(&net, MQ_OP_Sigmoid, "soft", x);
  struct mq_value *hard = net_unary(&net, MQ_OP_HardSwish, "hard", soft);
  struct mq_value *mixed[] = {net_conv(&net, x, "a", 4, 1, 1, 1), hard}, *floats[] = {soft, hard};
  finish(&net, net_concat(&net, "mixed", mixed, 2));
  net_output(&net, net_conv(&net, net_concat(&net, "floats", floats, 2), "end2", 2, 1, 1, 1));
  place(&p, &net, "snpe");
  /* Only floats: one point behind the concat is enough. */
  assert_string_equal(activations(&p), "x a_out hard_out end_out floats_out end2_out");
  assert_int_equal(point_of(&p, "hard_out")->share, point_of(&p, "a_out")->share);
  assert_int_equal(point_of(&p, "hard_out")->n_consumers, 1);
  assert_string_equal(point_of(&p, "hard_out")->consumers[0]->name, "mixed");
  assert_string_equal(islands(&p), "soft hard");
  end(&p, &net);
}

/* Option A shortcuts may be exported as a concat with zeros, which every scale represents. */
static void concat_of_constants(void **state) {
  (void)state;
  struct net net;
  struct mq_value *x = start(&net);
  struct mq_shape shape = {.rank = 4, .dim = {1, 4, 8, 8}};
  struct mq_value *zeros[] = {x, net_constant(&net, "zeros", shape, 0, 0)};
  struct mq_value *noise[] = {x, net_constant(&net, "noise", shape, 1, 2)};
  finish(&net, net_concat(&net, "padded", zeros, 2));
  net_output(&net, net_conv(&net, net_concat(&net, "noisy", noise, 2), "end2", 2, 1, 1, 1));
  check_points(&net, "snpe", "x end_out noisy_out end2_out", "noisy");
  mq_graph_destroy(net.graph);
}

/* ---- Ops that move values, pools -------------------------------------------------------------------- */

static void pad_passes_only_exact_values(void **state) {
  (void)state;
  struct net net;
  struct mq_value *x = start(&net);
  const int64_t pads[] = {0, 0, 1, 1, 0, 0, 1, 1};
  struct mq_value *amounts = net_ints(&net, "amounts", pads, 8);
  struct mq_value *zero[] = {x, amounts}, *one[3] = {x, amounts};
  one[2] = net_constant(&net, "one", (struct mq_shape){.rank = 0}, 1, 1);
  finish(&net, net_node(&net, MQ_OP_Pad, "pad0", zero, 2, net_shape(4, 10, 10)));
  struct mq_value *y = net_node(&net, MQ_OP_Pad, "pad1", one, 3, net_shape(4, 10, 10));
  net_output(&net, net_conv(&net, y, "end2", 2, 1, 1, 1));
  check_points(&net, "snpe", "x end_out pad1_out end2_out", "pad1");
  mq_graph_destroy(net.graph);
}

static void activation_on_its_own(void **state) {
  (void)state;
  struct net net;
  struct mq_value *x = start(&net);
  struct mq_value *a = net_conv(&net, x, "a", 4, 1, 1, 1);
  struct mq_value *relu = net_unary(&net, MQ_OP_Relu, "relu", a);
  struct mq_value *clip = net_clip(&net, a, "clip", 0, 6);
  finish(&net, net_binary(&net, MQ_OP_Add, "add", relu, clip));
  check_points(&net, "snpe", "x a_out clip_out add_out end_out", "");
  mq_graph_destroy(net.graph);
}

/* The same mean in three forms; other averages pass their input's scale on for snpe only. */
static void averages(void **state) {
  (void)state;
  struct net net;
  const int64_t axes[] = {2, 3};
  struct mq_value *x = start(&net);
  struct mq_value *half = net_window(&net, MQ_OP_AveragePool, x, "half", 2);
  struct mq_value *whole = net_window(&net, MQ_OP_AveragePool, half, "whole", 4);
  struct mq_value *mean = net_node(&net, MQ_OP_ReduceMean, "mean", &half, 1, net_shape(4, 1, 1));
  assert_int_equal(mq_node_set_ints(net.graph, mean->producer, "axes", axes, 2, &net.err), MQ_OK);
  struct mq_value *channels = net_node(&net, MQ_OP_ReduceMean, "channels", &half, 1, net_shape(1, 4, 4));
  assert_int_equal(mq_node_set_ints(net.graph, channels->producer, "axes", axes, 1, &net.err), MQ_OK);
  finish(&net, whole);
  net_output(&net, net_conv(&net, mean, "end2", 2, 1, 1, 1));
  net_output(&net, channels);
  check_points(&net, "snpe", "x whole_out mean_out end_out end2_out", "channels");
  check_points(&net, "tvm", "x half_out whole_out mean_out end_out end2_out", "channels");
  check_points(&net, "tensorrt", "x half_out whole_out mean_out", "channels");
  check_points(&net, "fbgemm", "x end_out end2_out", "channels");
  check_points(&net, "acl", "whole_out mean_out", "");
  mq_graph_destroy(net.graph);
}

/* ---- Layers ----------------------------------------------------------------------------------------- */

/* MatMul + Add(constant) of rank 3 cannot be a Gemm, but is a linear layer with a bias all the same. */
static void matmul_with_bias_is_one_layer(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "net");
  struct mq_shape shape = {.rank = 3, .dim = {MQ_DIM_BATCH, 5, 4}};
  struct mq_value *x = net_input(&net, "x", shape);
  struct mq_value *w = net_constant(&net, "w", (struct mq_shape){.rank = 2, .dim = {4, 4}}, -1, 1);
  struct mq_value *y = net_binary(&net, MQ_OP_MatMul, "matmul", x, w);
  y = net_binary(&net, MQ_OP_Add, "bias", net_vector(&net, "b", 4, -1, 1), y);
  y->shape = shape;
  y = net_unary(&net, MQ_OP_Relu, "relu", y);
  struct mq_value *product = net_binary(&net, MQ_OP_MatMul, "attention", y, y);
  net_output(&net, product);
  check_points(&net, "snpe", "x relu_out", "attention");
  mq_graph_destroy(net.graph);
}

/* The weights' axis is the one that counts output channels. */
static void weight_points(void **state) {
  (void)state;
  struct net net;
  struct placed p;
  struct mq_value *x = start(&net);
  struct mq_value *w = net_constant(&net, "w", (struct mq_shape){.rank = 4, .dim = {4, 4, 1, 1}}, -1, 1);
  struct mq_value *first[] = {x, w};
  struct mq_value *y = net_node(&net, MQ_OP_Conv, "a", first, 2, net_shape(4, 8, 8));
  struct mq_value *second[] = {y, w};
  finish(&net, net_node(&net, MQ_OP_ConvTranspose, "b", second, 2, net_shape(4, 8, 8)));
  place(&p, &net, "tensorrt");
  size_t n = 0;
  for (size_t i = 0; i < p.n_placements; i++)
    n += p.placements[i].is_weight;
  assert_int_equal(n, 3); /* one per reading op */
  assert_string_equal(point_of(&p, "w")->op->name, "a");
  assert_string_equal(point_of(&p, "w")->reason, "weights of Conv a");
  end(&p, &net);
}

/* Graph 1: the add reads the float tensor, the convs the quantized one. */
static void graph_1_quantizes_inputs_only(void **state) {
  (void)state;
  struct net net;
  struct placed p;
  struct mq_value *x = start(&net);
  struct mq_value *relu = net_unary(&net, MQ_OP_Relu, "relu", net_conv(&net, x, "a", 4, 1, 1, 1));
  struct mq_value *b = net_conv(&net, relu, "b", 4, 1, 1, 1), *c = net_conv(&net, relu, "c", 4, 1, 1, 1);
  struct mq_value *sum = net_binary(&net, MQ_OP_Add, "add", relu, net_binary(&net, MQ_OP_Add, "add2", b, c));
  finish(&net, net_unary(&net, MQ_OP_Sigmoid, "sigmoid", sum));
  place(&p, &net, "academic");
  assert_string_equal(activations(&p), "x relu_out sigmoid_out");
  assert_int_equal(p.n_islands, 0);
  assert_null(point_of(&p, "x")->consumers);
  assert_int_equal(point_of(&p, "relu_out")->n_consumers, 2);
  assert_string_equal(point_of(&p, "relu_out")->reason, "input of Conv b");
  end(&p, &net);
}

/* ---- Ends of the network ---------------------------------------------------------------------------- */

static void final_softmax_is_behind_the_network(void **state) {
  (void)state;
  struct net net;
  struct placed p;
  struct mq_value *x = start(&net);
  x = net_gemm(&net, net_flatten(&net, x, "flatten"), "fc", 4);
  net_output(&net, net_unary(&net, MQ_OP_Softmax, "softmax", x));
  place(&p, &net, "tensorrt");
  assert_string_equal(activations(&p), "x");
  assert_int_equal(p.n_islands, 1);
  assert_true(p.islands[0].is_tolerated);
  mq_target_destroy(p.target);
  place(&p, &net, "snpe");
  assert_string_equal(activations(&p), "x fc_out");
  assert_true(p.islands[0].is_tolerated);
  end(&p, &net);
}

static void softmax_inside_is_an_island(void **state) {
  (void)state;
  struct net net;
  struct placed p;
  struct mq_value *x = start(&net);
  finish(&net, net_unary(&net, MQ_OP_Softmax, "softmax", net_conv(&net, x, "a", 4, 1, 1, 1)));
  place(&p, &net, "tensorrt");
  assert_string_equal(activations(&p), "x a_out softmax_out");
  assert_false(p.islands[0].is_tolerated);
  end(&p, &net);
}

static void activation_of_an_island_belongs_to_it(void **state) {
  (void)state;
  struct net net;
  struct mq_value *x = start(&net);
  struct mq_value *y = net_unary(&net, MQ_OP_Relu, "relu", net_binary(&net, MQ_OP_Mul, "square", x, x));
  finish(&net, y);
  check_points(&net, "snpe", "x relu_out end_out", "square relu");
  mq_graph_destroy(net.graph);
}

/* Inputs of layers, of adds and of averages, and nothing else. */
static void inputs_of_operators(void **state) {
  (void)state;
  struct net net;
  struct mq_value *x = start(&net);
  struct mq_value *a = net_unary(&net, MQ_OP_Relu, "relu", net_conv(&net, x, "a", 4, 1, 1, 1));
  struct mq_value *b = net_conv(&net, a, "b", 4, 1, 1, 1);
  struct mq_value *pool =
      net_window(&net, MQ_OP_AveragePool, net_binary(&net, MQ_OP_Add, "add", a, b), "pool", 2);
  finish(&net, pool);
  check_points(&net, "openvino", "x relu_out b_out add_out pool_out", "");
  check_points(&net, "academic_nlp", "", "");
  mq_graph_destroy(net.graph);
}

static void both_operands_of_products(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "net");
  struct mq_shape shape = {.rank = 3, .dim = {MQ_DIM_BATCH, 4, 4}};
  struct mq_value *x = net_input(&net, "x", shape), *y[3];
  for (int i = 0; i < 3; i++) {
    static const char *const names[] = {"q", "k", "v"};
    struct mq_value *w = net_constant(&net, names[i], (struct mq_shape){.rank = 2, .dim = {4, 4}}, -1, 1);
    char name[16];
    snprintf(name, sizeof name, "%s_layer", names[i]);
    y[i] = net_binary(&net, MQ_OP_MatMul, name, x, w);
    y[i]->shape = shape;
  }
  struct mq_value *scores = net_binary(&net, MQ_OP_MatMul, "scores", y[0], y[1]);
  struct mq_value *weights = net_unary(&net, MQ_OP_Softmax, "softmax", scores);
  struct mq_value *mixed = net_binary(&net, MQ_OP_MatMul, "mixed", weights, y[2]);
  net_output(&net, net_binary(&net, MQ_OP_Add, "add", mixed, x));
  check_points(&net, "academic_nlp", "x q_layer_out k_layer_out softmax_out v_layer_out", "");
  check_points(&net, "tensorrt_nlp", "x q_layer_out k_layer_out softmax_out v_layer_out mixed_out", "");
  check_points(&net, "snpe", "x q_layer_out k_layer_out v_layer_out mixed_out add_out",
               "scores softmax mixed");
  mq_graph_destroy(net.graph);
}

static void unary_functions_with_points(void **state) {
  (void)state;
  struct net net;
  struct mq_value *x = start(&net);
  struct mq_value *y = net_unary(&net, MQ_OP_HardSwish, "swish", net_conv(&net, x, "a", 4, 1, 1, 1));
  y = net_unary(&net, MQ_OP_Sigmoid, "sigmoid", net_conv(&net, y, "b", 4, 1, 1, 1));
  finish(&net, net_binary(&net, MQ_OP_Mul, "mul", y, y));
  check_points(&net, "tengine_u8", "x a_out swish_out b_out sigmoid_out mul_out end_out", "mul");
  check_points(&net, "snpe", "x a_out swish_out b_out mul_out end_out", "swish sigmoid mul");
  mq_graph_destroy(net.graph);
}

/* fbgemm_lib: at most 7 bits where the groups have one input channel. */
static void depthwise_weights(void **state) {
  (void)state;
  struct net net;
  struct placed p;
  struct mq_scheme scheme;
  bool keep_float;
  struct mq_err err;
  struct mq_value *x = start(&net);
  finish(&net, net_conv(&net, net_conv(&net, x, "deep", 4, 3, 1, 4), "plain", 4, 3, 1, 1));
  place(&p, &net, "fbgemm_lib");
  for (size_t i = 0; i < p.n_placements; i++) {
    const struct mq_placement *placement = &p.placements[i];
    bool is_deep = placement->is_weight && !strcmp(placement->op->name, "deep");
    assert_ok(mq_target_scheme(&scheme, &keep_float, p.target, net.graph, placement, &err));
    assert_int_equal(scheme.bits, is_deep ? 7 : 8);
  }
  p.target->weights.bits = 4; /* what a run asks for */
  for (size_t i = 0; i < p.n_placements; i++) {
    if (!p.placements[i].is_weight) continue;
    assert_ok(mq_target_scheme(&scheme, &keep_float, p.target, net.graph, &p.placements[i], &err));
    assert_int_equal(scheme.bits, 4);
  }
  end(&p, &net);
}

static void graph_axis_of_a_plan(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_target *target = NULL;
  assert_ok(mq_target_load(&target, "fbgemm", &err));
  assert_ok(mq_target_set_graph_rule(target, 2, &err));
  assert_string_equal(target->points.name, "graph2");
  assert_int_equal(target->points.add, MQ_ADD_EPILOGUE);
  assert_int_equal(target->points.pool, MQ_POOL_INPUT_SCALE_GLOBAL);
  assert_true(target->points.network_output);
  assert_ok(mq_target_set_graph_rule(target, 1, &err));
  assert_int_equal(target->points.output_ops, 0);
  assert_false(target->points.network_output);
  assert_fails(MQ_BAD_USAGE, "expected 1, 2 or 3", mq_target_set_graph_rule(target, 4, &err));
  mq_target_destroy(target);
}

static void quantized_models_are_refused(void **state) {
  (void)state;
  struct net net;
  struct mq_target *target = NULL;
  struct mq_placement *placements;
  struct mq_island *found;
  size_t n, n_found;
  struct mq_err err;
  struct mq_value *x = start(&net);
  finish(&net, net_unary(&net, MQ_OP_FakeQuantize, "fq", x));
  assert_ok(mq_target_load(&target, "snpe", &err));
  assert_fails(MQ_BAD_INPUT, "node 'fq' is FakeQuantize",
               mq_target_place(&placements, &n, &found, &n_found, target, net.graph, &err));
  mq_target_destroy(target);
  mq_graph_destroy(net.graph);
}

/* Overrides that are fine alone and come to a scheme that is none for the points they meet at. */
static void overrides_that_meet(void **state) {
  (void)state;
  static const char text[] =
      "name: meeting\n"
      "describes: two overrides\n"
      "weights: {bits: 8, signed: true, symmetric: true, granularity: tensor}\n"
      "activations: {bits: 8, signed: %s, symmetric: true, granularity: tensor, scale: %s}\n"
      "overrides: [{role: activation, op: last, symmetric: false}]\n"
      "points: graph3\n"
      "fold_bn: true\n"
      "bias: float32\n";
  static const struct {
    const char *is_signed, *scale, *says;
  } cases[] = {{"true", "float", NULL},
               {"true", "pot", "tensor 'x' scale: pot with symmetric: false, expected symmetric: true"},
               {"adaptive", "float", "tensor 'x' signed: adaptive with symmetric: false, expected"}};
  struct net net;
  finish(&net, start(&net));
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char yaml[600];
    struct placed p = {0};
    struct mq_scheme scheme;
    bool keep_float;
    struct mq_err err;
    snprintf(yaml, sizeof yaml, text, cases[i].is_signed, cases[i].scale);
    assert_ok(mq_target_parse(&p.target, yaml, strlen(yaml), "meeting.yaml", &err));
    assert_ok(
        mq_target_place(&p.placements, &p.n_placements, &p.islands, &p.n_islands, p.target, net.graph, &err));
    mq_status status = mq_target_scheme(&scheme, &keep_float, p.target, net.graph, point_of(&p, "x"), &err);
    assert_int_equal(status, cases[i].says ? MQ_BAD_INPUT : MQ_OK);
    assert_true(!cases[i].says || strstr(err.message, cases[i].says));
    mq_target_destroy(p.target);
  }
  mq_graph_destroy(net.graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(main_branch_is_the_longer_path),
      cmocka_unit_test(main_branch_at_equal_length_is_the_first_operand),
      cmocka_unit_test(main_branch_needs_a_bare_conv),
      cmocka_unit_test(sum_of_three_follows_rule_3),
      cmocka_unit_test(doubling_and_broadcasting_adds_follow_rule_3),
      cmocka_unit_test(shortcut_of_moved_values_keeps_its_scale),
      cmocka_unit_test(nested_concats_share_one_scale),
      cmocka_unit_test(concat_of_islands_and_points),
      cmocka_unit_test(concat_of_constants),
      cmocka_unit_test(pad_passes_only_exact_values),
      cmocka_unit_test(activation_on_its_own),
      cmocka_unit_test(averages),
      cmocka_unit_test(matmul_with_bias_is_one_layer),
      cmocka_unit_test(weight_points),
      cmocka_unit_test(graph_1_quantizes_inputs_only),
      cmocka_unit_test(final_softmax_is_behind_the_network),
      cmocka_unit_test(softmax_inside_is_an_island),
      cmocka_unit_test(activation_of_an_island_belongs_to_it),
      cmocka_unit_test(graph_axis_of_a_plan),
      cmocka_unit_test(inputs_of_operators),
      cmocka_unit_test(both_operands_of_products),
      cmocka_unit_test(unary_functions_with_points),
      cmocka_unit_test(depthwise_weights),
      cmocka_unit_test(quantized_models_are_refused),
      cmocka_unit_test(overrides_that_meet),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
