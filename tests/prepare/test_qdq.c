/* Q/DQ models made by hand: where points come to lie, and every way in which a file may be wrong. The graphs
 * are given as they are, without the checks that reading a file does before. */
#include <math.h>

#include "help_graphs.h"
#include "mqbench/prepare.h"

/* ---- Building ---- */

struct grid {
  float scale[8];
  int64_t n_scales;
  int32_t zero[8];
  int64_t n_zeros;
  mq_dtype dtype; /* 0: uint8 */
  bool has_axis;
  int64_t axis;
  bool is_computed; /* the scale is an activation */
};

static const struct grid plain = {.scale = {0.25f}, .n_scales = 1, .zero = {3}, .n_zeros = 1};

static struct mq_value *numbers(struct net *net, const char *name, mq_dtype dtype, const float *x,
                                struct mq_shape shape) {
  struct mq_tensor tensor = {0};
  struct mq_value *value = NULL;
  const struct mq_tensor from = mq_tensor_view((void *)(uintptr_t)x, MQ_F32, &shape, NULL);
  net_check(net, mq_tensor_init(&tensor, dtype, &shape, &net->err));
  mq_tensor_copy(&tensor, &from);
  net_check(net, mq_graph_add_constant(&value, net->graph, name, &tensor, &net->err));
  mq_tensor_deinit(&tensor);
  return value;
}

static struct mq_shape list_of(int64_t n) {
  return n == 1 ? (struct mq_shape){.rank = 0} : (struct mq_shape){.rank = 1, .dim = {n}};
}

static struct mq_value *pair_node(struct net *net, mq_op op, const char *name, struct mq_value *x,
                                  const struct grid *g) {
  float zeros[8];
  char text[64];
  mq_dtype dtype = g->dtype ? g->dtype : MQ_U8;
  for (int i = 0; i < 8; i++)
    zeros[i] = (float)g->zero[i];
  snprintf(text, sizeof text, "%s.scale", name);
  struct mq_value *scale =
      g->is_computed ? net->graph->inputs[0] : numbers(net, text, MQ_F32, g->scale, list_of(g->n_scales));
  snprintf(text, sizeof text, "%s.zero", name);
  struct mq_value *inputs[] = {x, scale,
                               g->n_zeros ? numbers(net, text, dtype, zeros, list_of(g->n_zeros)) : NULL};
  struct mq_value *y = net_node(net, op, name, inputs, g->n_zeros ? 3 : 2, x->shape);
  y->dtype = op == MQ_OP_QuantizeLinear ? dtype : MQ_F32;
  if (g->has_axis) net_check(net, mq_node_set_int(net->graph, y->producer, "axis", g->axis, &net->err));
  return y;
}

static struct mq_value *quantize(struct net *net, const char *name, struct mq_value *x,
                                 const struct grid *g) {
  return pair_node(net, MQ_OP_QuantizeLinear, name, x, g);
}

static struct mq_value *dequantize(struct net *net, const char *name, struct mq_value *x,
                                   const struct grid *g) {
  return pair_node(net, MQ_OP_DequantizeLinear, name, x, g);
}

static struct mq_value *begin(struct net *net) {
  net_begin(net, "hand.onnx");
  return net_input(net, "x", net_shape(4, 6, 6));
}

static void prepare(struct net *net, struct mq_prepared *prepared, struct mq_value *y) {
  net_output(net, y);
  net_check(net, mq_graph_sort(net->graph, &net->err));
  net_check(net, mq_prepare_qdq(prepared, net->graph, &net->err));
}

static void refuse(struct net *net, struct mq_value *y, const char *says) {
  struct mq_prepared prepared;
  net_output(net, y);
  net_check(net, mq_graph_sort(net->graph, &net->err));
  mq_status status = mq_prepare_qdq(&prepared, net->graph, &net->err);
  if (status != MQ_BAD_INPUT || !strstr(net->err.message, says) || strchr(net->err.message, '\n') ||
      prepared.graph || prepared.points) {
    fail_msg("expected '%s', status %d: %s", says, status, net->err.message);
  }
  mq_graph_destroy(net->graph);
}

static void end(struct net *net, struct mq_prepared *prepared) {
  mq_prepared_deinit(prepared);
  mq_graph_destroy(net->graph);
}

static int64_t count(const struct mq_graph *graph, mq_op op) {
  int64_t n = 0;
  for (size_t i = 0; i < graph->n_nodes; i++)
    n += graph->nodes[i]->op == op;
  return n;
}

/* ---- Points ---- */

static void one_pair_is_one_point(void **state) {
  (void)state;
  struct net net;
  struct mq_prepared p;
  struct mq_value *x = begin(&net), *q = quantize(&net, "q", x, &plain);
  struct mq_value *a = dequantize(&net, "a", q, &plain), *b = dequantize(&net, "b", q, &plain);
  struct mq_value *again = dequantize(&net, "c", quantize(&net, "q2", x, &plain), &plain);
  struct mq_value *sum = net_binary(&net, MQ_OP_Add, "add", a, b);
  prepare(&net, &p, net_binary(&net, MQ_OP_Add, "add2", sum, again));
  assert_true(mq_is_qdq(net.graph) && !mq_is_qdq(p.graph));
  assert_int_equal(p.n_points, 1);
  assert_int_equal(count(p.graph, MQ_OP_FakeQuantize), 1);
  assert_string_equal(p.points[0].tensor, "x");
  assert_int_equal(p.points[0].kind, MQ_POINT_ACTIVATION);
  assert_int_equal(p.points[0].qparams.zero_point[0], 3);
  assert_true(p.points[0].qparams.scale[0] == 0.25f);
  assert_int_equal(p.points[0].qparams.quant_max, 255);
  assert_false(p.points[0].scheme.is_symmetric || p.points[0].scheme.is_signed);
  assert_int_equal(p.n_islands, 2); /* sums whose outputs are float */
  end(&net, &p);
}

/* Two grids of a tensor, one behind the other, and codes that are the network's output. */
static void other_numbers_are_another_point(void **state) {
  (void)state;
  struct net net;
  struct mq_prepared p;
  struct grid other = plain;
  other.scale[0] = 0.5f;
  struct mq_value *x = begin(&net);
  struct mq_value *a = dequantize(&net, "a", quantize(&net, "q", x, &plain), &plain);
  struct mq_value *b = dequantize(&net, "b", quantize(&net, "r", x, &other), &other);
  struct mq_value *c = dequantize(&net, "c", quantize(&net, "s", a, &other), &other);
  struct mq_value *sum = net_binary(&net, MQ_OP_Add, "add", b, c);
  prepare(&net, &p, quantize(&net, "t", sum, &plain));
  assert_int_equal(p.n_points, 4);
  const char *names[4];
  for (int i = 0; i < 4; i++)
    names[i] = p.points[i].tensor;
  for (int i = 0; i < 4; i++) {
    for (int k = 0; k < i; k++)
      assert_string_not_equal(names[i], names[k]);
  }
  const struct mq_value *y = p.graph->outputs[0];
  assert_string_equal(y->name, "t_out");
  assert_int_equal(y->dtype, MQ_F32);
  assert_int_equal(y->producer->op, MQ_OP_FakeQuantize);
  end(&net, &p);
}

/* Integers from outside become real numbers, which the network rounds itself. */
static void an_input_of_integers_becomes_real(void **state) {
  (void)state;
  struct net net;
  struct mq_prepared p;
  struct mq_value *x = begin(&net);
  x->dtype = MQ_U8;
  prepare(&net, &p, net_unary(&net, MQ_OP_Relu, "relu", dequantize(&net, "a", x, &plain)));
  assert_int_equal(p.graph->inputs[0]->dtype, MQ_F32);
  assert_int_equal(p.n_points, 1);
  assert_string_equal(p.points[0].tensor, "x");
  end(&net, &p);
}

/* Between the two nodes: what moves integers, and a Clip that makes them fewer bits. */
static void integers_may_move(void **state) {
  (void)state;
  struct net net;
  struct mq_prepared p;
  const struct grid s8 = {.scale = {0.25f}, .n_scales = 1, .n_zeros = 1, .dtype = MQ_I8};
  static const float bounds[] = {-7, 7};
  struct mq_value *x = begin(&net), *q = quantize(&net, "q", x, &s8);
  struct mq_value *inputs[] = {q, numbers(&net, "lo", MQ_I8, &bounds[0], list_of(1)),
                               numbers(&net, "hi", MQ_I8, &bounds[1], list_of(1))};
  struct mq_value *clipped = net_node(&net, MQ_OP_Clip, "clip", inputs, 3, x->shape);
  clipped->dtype = MQ_I8;
  struct mq_value *pooled = net_window(&net, MQ_OP_MaxPool, clipped, "pool", 2);
  pooled->dtype = MQ_I8;
  struct mq_value *both[] = {pooled, pooled};
  struct mq_value *joined = net_concat(&net, "concat", both, 2);
  joined->dtype = MQ_I8;
  prepare(&net, &p, dequantize(&net, "a", joined, &s8));
  assert_int_equal(p.n_points, 1);
  assert_int_equal(p.points[0].scheme.bits, 4);
  assert_true(p.points[0].scheme.is_narrow && p.points[0].scheme.is_signed &&
              p.points[0].scheme.is_symmetric);
  assert_int_equal(p.points[0].qparams.quant_min, -7);
  assert_int_equal(count(p.graph, MQ_OP_Clip), 0);
  for (size_t i = 0; i < p.graph->n_values; i++) {
    if (p.graph->values[i]->producer) assert_int_equal(p.graph->values[i]->dtype, MQ_F32);
  }
  end(&net, &p);
}

/* ---- Weights ---- */

static struct mq_value *codes(struct net *net, const char *name, mq_dtype dtype, struct mq_shape shape) {
  float x[512];
  int64_t n = mq_shape_count(&shape);
  assert_true(n <= 512);
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)(i * 37 % 200 - (dtype == MQ_U8 ? 0 : 100));
  return numbers(net, name, dtype, x, shape);
}

static const struct mq_shape conv_shape = {.rank = 4, .dim = {2, 4, 3, 3}};
static const struct mq_shape conv_output = {.rank = 4, .dim = {MQ_DIM_BATCH, 2, 4, 4}};
static const struct grid per_channel = {
    .scale = {0.5f, 0.25f}, .n_scales = 2, .zero = {1, -2}, .n_zeros = 2, .dtype = MQ_I8, .has_axis = true};

static struct mq_value *conv_of(struct net *net, struct mq_value *w) {
  struct mq_value *x = dequantize(net, "a", quantize(net, "q", net->graph->inputs[0], &plain), &plain);
  struct mq_value *inputs[] = {x, w};
  return net_node(net, MQ_OP_Conv, "conv", inputs, 2, conv_output);
}

static const struct mq_point *weights_of(const struct mq_prepared *p, const struct mq_tensor **w) {
  for (size_t i = 0; i < p->graph->n_nodes; i++) {
    const struct mq_node *node = p->graph->nodes[i];
    int64_t index = -1;
    if (node->op != MQ_OP_FakeQuantize || !node->inputs[0]->constant) continue;
    *w = node->inputs[0]->constant;
    assert_int_equal(mq_node_get_int(&index, node, "point", -1, NULL), MQ_OK);
    assert_int_equal(p->points[index].kind, MQ_POINT_WEIGHT);
    return &p->points[index];
  }
  fail_msg("no weights");
  return NULL;
}

static void weights_are_a_point_along_their_axis(void **state) {
  (void)state;
  struct net net;
  struct mq_prepared p;
  const struct mq_tensor *w = NULL;
  begin(&net);
  struct mq_value *q = codes(&net, "w_quantized", MQ_I8, conv_shape);
  prepare(&net, &p, conv_of(&net, dequantize(&net, "d", q, &per_channel)));
  const struct mq_point *point = weights_of(&p, &w);
  assert_string_equal(point->tensor, "w");
  assert_int_equal(point->channel_axis, 0);
  assert_int_equal(point->n_channels, 2);
  assert_true(point->scheme.is_per_channel && !point->scheme.is_symmetric);
  for (int64_t i = 0; i < 72; i++) {
    double code = (double)(i * 37 % 200 - 100);
    double expected = i < 36 ? 0.5 * (code - 1) : 0.25 * (code + 2);
    assert_true(mq_tensor_get_double(w, i) == expected);
  }
  assert_int_equal(p.n_islands, 0);
  end(&net, &p);
}

/* Stored [inputs][outputs] and turned, by a Transpose or a Reshape; quantized each time, too. */
static void constants_are_moved_with_their_scales(void **state) {
  (void)state;
  static const int64_t turn[] = {1, 0};
  for (int quantizes = 0; quantizes < 2; quantizes++) {
    struct net net;
    struct mq_prepared p;
    const struct mq_tensor *w = NULL;
    struct grid g = per_channel;
    g.axis = -1;
    begin(&net);
    const struct mq_shape stored = {.rank = 2, .dim = {36, 2}}, turned = {.rank = 2, .dim = {2, 36}};
    struct mq_value *q = codes(&net, "w_quantized", quantizes ? MQ_F32 : MQ_I8, stored);
    if (quantizes) q = quantize(&net, "wq", q, &g);
    struct mq_value *d = dequantize(&net, "d", q, &g);
    struct mq_value *t = net_node(&net, MQ_OP_Transpose, "t", &d, 1, turned);
    net_check(&net, mq_node_set_ints(net.graph, t->producer, "perm", turn, 2, &net.err));
    struct mq_value *r = net_node(&net, MQ_OP_Reshape, "r", &t, 1, conv_shape);
    prepare(&net, &p, conv_of(&net, r));
    const struct mq_point *point = weights_of(&p, &w);
    assert_string_equal(point->tensor, "w");
    assert_int_equal(point->channel_axis, 0);
    assert_true(mq_shape_equal(&w->shape, &conv_shape));
    for (int64_t i = 0; i < 72; i++) {
      int64_t c = i / 36, k = i % 36;
      double s = (double)g.scale[c], z = g.zero[c], code = (double)((k * 2 + c) * 37 % 200 - 100);
      if (quantizes) code = fmax(-128, fmin(127, rint(code / s) + z)); /* real numbers, rounded here */
      assert_true(mq_tensor_get_double(w, i) == s * (code - z));
    }
    end(&net, &p);
  }
}

/* int32 with a scale for each channel: one rounding, whatever is read of them then. */
static void biases_become_floats(void **state) {
  (void)state;
  struct net net;
  struct mq_prepared p;
  static const float ints[] = {1000000, -7};
  const struct grid g = {.scale = {0.125f, 0.0625f}, .n_scales = 2, .has_axis = true};
  begin(&net);
  struct mq_value *w = dequantize(&net, "d", codes(&net, "w", MQ_I8, conv_shape), &per_channel);
  struct mq_value *b = dequantize(&net, "bd", numbers(&net, "b", MQ_I32, ints, list_of(2)), &g);
  struct mq_value *y = conv_of(&net, w);
  net_check(&net, mq_graph_set_input(net.graph, y->producer, 2, b, &net.err));
  prepare(&net, &p, y);
  const struct mq_value *bias = NULL;
  for (size_t i = 0; i < p.graph->n_nodes; i++) {
    if (p.graph->nodes[i]->op == MQ_OP_Conv) bias = p.graph->nodes[i]->inputs[2];
  }
  assert_non_null(bias->constant);
  assert_true(mq_tensor_get_double(bias->constant, 0) == 125000);
  assert_true(mq_tensor_get_double(bias->constant, 1) == -0.4375);
  assert_int_equal(p.n_points, 2);
  end(&net, &p);
}

/* ---- Activations with a scale for each channel ---- */

/* x -> conv -> Clip(0, 6) -> four scales -> depthwise; weights with scales 1/2, 1/4, 1/8, 1/16. */
struct chain {
  struct net net;
  struct grid grid;
  struct mq_value *between, *y; /* behind the four scales; behind the depthwise convolution */
};

static const struct grid four = {
    .scale = {0.5f, 0.25f, 0.125f, 0.0625f}, .n_scales = 4, .n_zeros = 4, .dtype = MQ_I8, .has_axis = true};

static struct mq_value *quantized_conv(struct net *net, struct mq_value *x, const char *name, int64_t group) {
  char text[64];
  struct mq_value *y = net_conv(net, x, name, 4, 3, 1, group);
  const struct mq_shape shape = y->producer->inputs[1]->shape;
  snprintf(text, sizeof text, "%s.codes", name);
  struct mq_value *w = codes(net, text, MQ_I8, shape);
  snprintf(text, sizeof text, "%s.dequantize", name);
  net_check(net, mq_graph_set_input(net->graph, y->producer, 1, dequantize(net, text, w, &four), &net->err));
  struct mq_value *bias = net_vector(net, "bias", 4, 1, 1);
  net_check(net, mq_graph_set_input(net->graph, y->producer, 2, bias, &net->err));
  return y;
}

static void build_chain(struct chain *c, const struct grid *grid) {
  struct mq_value *x = begin(&c->net);
  c->grid = *grid;
  x = dequantize(&c->net, "a", quantize(&c->net, "q", x, &plain), &plain);
  x = net_clip(&c->net, quantized_conv(&c->net, x, "conv", 1), "relu6", 0, 6);
  c->between = dequantize(&c->net, "d", quantize(&c->net, "channels", x, grid), grid);
  c->y = quantized_conv(&c->net, c->between, "depthwise", 4);
}

static const struct mq_node *find(const struct mq_prepared *p, const char *name) {
  for (size_t i = 0; i < p->graph->n_nodes; i++) {
    if (!strcmp(p->graph->nodes[i]->name, name)) return p->graph->nodes[i];
  }
  fail_msg("no node %s", name);
  return NULL;
}

static const struct mq_qparams *qparams_of(const struct mq_prepared *p, const struct mq_value *value) {
  int64_t index = -1;
  assert_int_equal(value->producer->op, MQ_OP_FakeQuantize);
  assert_int_equal(mq_node_get_int(&index, value->producer, "point", -1, NULL), MQ_OK);
  return &p->points[index].qparams;
}

/* The layer's scales are those of `four` times the factors; its integers are the file's. */
static void check_layer(const struct mq_prepared *p, const char *name, const float *factors) {
  const struct mq_value *w = find(p, name)->inputs[1];
  const struct mq_qparams *q = qparams_of(p, w);
  const struct mq_tensor *reals = w->producer->inputs[0]->constant;
  int64_t n = mq_shape_count(&reals->shape);
  assert_int_equal(q->n_channels, 4);
  for (int64_t i = 0; i < n; i++) {
    int64_t c = i / (n / 4);
    assert_true(q->scale[c] == four.scale[c] * factors[c]);
    assert_true(mq_tensor_get_double(reals, i) == (double)q->scale[c] * (double)(i * 37 % 200 - 100));
  }
}

static const struct grid uneven = {
    .scale = {0x1p-6f, 0x1p-7f, 0x1p-6f, 0x1p-9f}, .n_scales = 4, .n_zeros = 4};

static void scales_of_channels_move_into_layers(void **state) {
  (void)state;
  static const float up[] = {1, 2, 1, 8}, down[] = {1, 0.5f, 1, 0.125f};
  struct chain c;
  struct mq_prepared p;
  build_chain(&c, &uneven);
  prepare(&c.net, &p, c.y);
  const struct mq_qparams *q = qparams_of(&p, find(&p, "depthwise")->inputs[0]);
  assert_int_equal(q->n_channels, 1);
  assert_true(q->scale[0] == 0x1p-6f && q->zero_point[0] == 0 && q->quant_max == 255);
  check_layer(&p, "conv", up);
  check_layer(&p, "depthwise", down);
  for (int64_t i = 0; i < 4; i++) {
    assert_true(mq_tensor_get_double(find(&p, "conv")->inputs[2]->constant, i) == (double)up[i]);
    assert_true(mq_tensor_get_double(find(&p, "depthwise")->inputs[2]->constant, i) == 1);
  }
  assert_int_equal(count(p.graph, MQ_OP_Clip), 0); /* 255 steps of no channel reach 6 */
  assert_int_equal(count(p.graph, MQ_OP_Mul), 0);
  end(&c.net, &p);
}

/* 6 is less than 255 steps of a channel: the function is not that of the scaled tensor. */
static void what_cannot_be_scaled_is_multiplied(void **state) {
  (void)state;
  static const float down[] = {1, 0.25f, 0.5f, 0.0625f}, same[] = {1, 1, 1, 1};
  struct grid grid = uneven;
  grid.scale[0] = 0x1p-5f;
  struct chain c;
  struct mq_prepared p;
  build_chain(&c, &grid);
  prepare(&c.net, &p, c.y);
  const struct mq_node *point = find(&p, "depthwise")->inputs[0]->producer;
  assert_int_equal(point->inputs[0]->producer->op, MQ_OP_Mul);
  const struct mq_tensor *factors = point->inputs[0]->producer->inputs[1]->constant;
  assert_int_equal(factors->shape.dim[1], 4);
  for (int64_t i = 0; i < 4; i++)
    assert_true(mq_tensor_get_double(factors, i) * (double)down[i] == 1);
  assert_int_equal(count(p.graph, MQ_OP_Clip), 1);
  check_layer(&p, "conv", same);
  check_layer(&p, "depthwise", down);
  end(&c.net, &p);
}

/* Another reader, zero points that differ, an output, scales too far apart: the simulation alone can do that.
 */
static void other_scales_of_channels_stay(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    struct grid grid = uneven;
    struct chain c;
    struct mq_prepared p;
    grid.zero[2] = i == 0 ? 7 : 0;
    if (i == 3) grid.scale[1] = 0x1p-70f;
    build_chain(&c, &grid);
    if (i == 1) c.y = net_binary(&c.net, MQ_OP_Add, "add", c.y, c.between);
    if (i == 2) net_output(&c.net, c.between);
    prepare(&c.net, &p, c.y);
    const struct mq_qparams *q = qparams_of(&p, find(&p, "depthwise")->inputs[0]);
    assert_int_equal(q->n_channels, 4);
    assert_int_equal(q->channel_axis, 1);
    assert_true(q->scale[3] == 0x1p-9f);
    end(&c.net, &p);
  }
}

/* ---- Files that are wrong ---- */

static void scales_and_zero_points_are_checked(void **state) {
  (void)state;
  const struct {
    struct grid grid;
    const char *says;
  } cases[] = {
      {{.scale = {NAN}, .n_scales = 1}, "scale 0 is nan"},
      {{.scale = {INFINITY}, .n_scales = 1}, "scale 0 is inf"},
      {{.scale = {0}, .n_scales = 1}, "scale 0 is 0"},
      {{.scale = {-1}, .n_scales = 1}, "scale 0 is -1"},
      {{.scale = {1e-40f}, .n_scales = 1}, "scale 0 is "},
      {{.scale = {3e38f}, .n_scales = 1}, "whose range is finite"},
      {{.scale = {1}, .n_scales = 1, .is_computed = true}, "is no constant of floats"},
      {{.scale = {1, 1, 1}, .n_scales = 3}, "3 scales, expected one, or one for each index of axis 1"},
      {{.scale = {1, 1, 1, 1, 1, 1}, .n_scales = 6, .has_axis = true, .axis = 2},
       "6 scales along axis 2 of an activation, expected one, or along axis 1"},
      {{.scale = {1, 1}, .n_scales = 2, .has_axis = true, .axis = 4}, "axis"},
      {{.scale = {1, 1}, .n_scales = 2, .has_axis = true, .axis = -5}, "axis"},
      {{.scale = {1, 1}, .n_scales = 2, .has_axis = true, .axis = INT64_MIN}, "axis"},
      {{.n_scales = 0}, "0 scales"},
      {{.scale = {1}, .n_scales = 1, .n_zeros = 2}, "2 zero points, expected 1"},
      {{.scale = {1}, .n_scales = 1, .n_zeros = 1, .dtype = MQ_I32}, "are int32"},
      {{.scale = {1}, .n_scales = 1, .n_zeros = 1, .dtype = MQ_F32}, "are float32"},
      {{.scale = {1}, .n_scales = 1, .n_zeros = 1, .dtype = MQ_I64}, "are int64"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct net net;
    struct mq_value *x = begin(&net), *q = quantize(&net, "q", x, &cases[i].grid);
    refuse(&net, dequantize(&net, "a", q, &cases[i].grid), cases[i].says);
  }
}

static void types_that_do_not_fit_are_refused(void **state) {
  (void)state;
  struct net net;
  struct grid other = plain, wide = {.scale = {1}, .n_scales = 1, .zero = {5}, .n_zeros = 1, .dtype = MQ_I32};
  other.scale[0] = 0.5f;
  struct mq_value *x = begin(&net);
  refuse(&net, dequantize(&net, "a", quantize(&net, "q", x, &plain), &other),
         "integers that change their meaning");
  other = plain;
  other.dtype = MQ_I8;
  x = begin(&net);
  refuse(&net, dequantize(&net, "a", quantize(&net, "q", x, &plain), &other), "its zero point");
  x = begin(&net);
  refuse(&net, quantize(&net, "r", quantize(&net, "q", x, &plain), &plain), "is quantized already");
  begin(&net);
  refuse(&net, conv_of(&net, dequantize(&net, "d", codes(&net, "w", MQ_I32, conv_shape), &wide)),
         "zero point 0 is 5, expected 0 to 0");
  begin(&net);
  wide.zero[0] = 0;
  refuse(&net, conv_of(&net, dequantize(&net, "d", codes(&net, "w", MQ_I32, conv_shape), &wide)),
         "have 32 bits, expected 2 to 8");
}

static void weights_along_another_axis_are_refused(void **state) {
  (void)state;
  struct net net;
  struct grid g = {.scale = {1, 1, 1, 1}, .n_scales = 4, .n_zeros = 4, .dtype = MQ_I8};
  begin(&net);
  refuse(&net, conv_of(&net, dequantize(&net, "d", codes(&net, "w", MQ_I8, conv_shape), &g)),
         "have their scales along axis 1, expected along axis 0");
  /* A reshape that mixes the channels. */
  begin(&net);
  struct mq_value *d =
      dequantize(&net, "d", codes(&net, "w", MQ_I8, (struct mq_shape){.rank = 2, .dim = {36, 2}}),
                 &(struct grid){.scale = {1, 1}, .n_scales = 2, .dtype = MQ_I8, .has_axis = true, .axis = 1});
  refuse(&net, conv_of(&net, net_node(&net, MQ_OP_Reshape, "r", &d, 1, conv_shape)),
         "it breaks up axis 1 of 'w'");
}

static void computing_on_integers_is_refused(void **state) {
  (void)state;
  struct net net;
  struct mq_value *x = begin(&net), *q = quantize(&net, "q", x, &plain);
  struct mq_value *r = net_unary(&net, MQ_OP_Relu, "relu", q);
  refuse(&net, dequantize(&net, "a", r, &plain), "node 'relu' (Relu): it computes on integers");
  struct grid other = plain;
  other.zero[0] = 4;
  x = begin(&net);
  struct mq_value *two[] = {quantize(&net, "q", x, &plain), quantize(&net, "r", x, &other)};
  refuse(&net, dequantize(&net, "a", net_concat(&net, "concat", two, 2), &plain),
         "input 1 'r_out' has another scale");
  x = begin(&net);
  x->dtype = MQ_U8;
  refuse(&net, dequantize(&net, "a", net_unary(&net, MQ_OP_Identity, "i", x), &plain),
         "that no QuantizeLinear made");
  x = begin(&net);
  static const float bounds[] = {5, 9};
  struct mq_value *inputs[] = {quantize(&net, "q", x, &plain),
                               numbers(&net, "lo", MQ_U8, &bounds[0], list_of(1)),
                               numbers(&net, "hi", MQ_U8, &bounds[1], list_of(1))};
  refuse(&net, dequantize(&net, "a", net_node(&net, MQ_OP_Clip, "clip", inputs, 3, x->shape), &plain),
         "expected a range that holds the zero point 3");
  x = begin(&net);
  struct mq_value *channels = quantize(&net, "q", x, &uneven);
  struct mq_value *moved = net_unary(&net, MQ_OP_Transpose, "turn", channels);
  refuse(&net, dequantize(&net, "a", moved, &uneven), "it moves integers with a scale for each channel");
  /* Nothing but constants. */
  begin(&net);
  struct mq_value *d = dequantize(&net, "d", codes(&net, "w", MQ_I8, conv_shape), &per_channel);
  refuse(&net, net_binary(&net, MQ_OP_Add, "add", net_input(&net, "z", conv_shape), d),
         "no activation and no layer's weights are quantized");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_pair_is_one_point),
      cmocka_unit_test(other_numbers_are_another_point),
      cmocka_unit_test(an_input_of_integers_becomes_real),
      cmocka_unit_test(integers_may_move),
      cmocka_unit_test(weights_are_a_point_along_their_axis),
      cmocka_unit_test(constants_are_moved_with_their_scales),
      cmocka_unit_test(biases_become_floats),
      cmocka_unit_test(scales_of_channels_move_into_layers),
      cmocka_unit_test(what_cannot_be_scaled_is_multiplied),
      cmocka_unit_test(other_scales_of_channels_stay),
      cmocka_unit_test(scales_and_zero_points_are_checked),
      cmocka_unit_test(types_that_do_not_fit_are_refused),
      cmocka_unit_test(weights_along_another_axis_are_refused),
      cmocka_unit_test(computing_on_integers_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
