/* Small networks built by hand, for tests of target/ and prepare/. A node NAME makes the tensor NAME_out and
 * reads the weights NAME.weight; shapes are filled in here. Any failure ends the test. */
#ifndef MQ_TESTS_HELP_GRAPHS_H
#define MQ_TESTS_HELP_GRAPHS_H

#include "common.h"
#include "mqbench/graph.h"

struct net {
  struct mq_graph *graph;
  struct mq_err err;
  uint64_t draws;
};

static inline void net_check(struct net *net, mq_status status) {
  if (status) fail_msg("status %d: %s", status, net->err.message);
}

static inline void net_begin(struct net *net, const char *name) {
  *net = (struct net){0};
  net_check(net, mq_graph_create(&net->graph, name, &net->err));
}

static inline struct mq_shape net_shape(int64_t c, int64_t h, int64_t w) {
  return (struct mq_shape){.rank = 4, .dim = {MQ_DIM_BATCH, c, h, w}};
}

static inline struct mq_value *net_value(struct net *net, const char *name, struct mq_shape shape) {
  struct mq_value *value = NULL;
  net_check(net, mq_graph_add_value(&value, net->graph, name, MQ_F32, &shape, &net->err));
  return value;
}

static inline struct mq_value *net_input(struct net *net, const char *name, struct mq_shape shape) {
  struct mq_value *value = net_value(net, name, shape);
  net_check(net, mq_graph_add_input(net->graph, value, &net->err));
  return value;
}

static inline void net_output(struct net *net, struct mq_value *value) {
  net_check(net, mq_graph_add_output(net->graph, value, &net->err));
}

/* Random values in [lo, hi); every call draws others. */
static inline struct mq_value *net_constant(struct net *net, const char *name, struct mq_shape shape,
                                            float lo, float hi) {
  struct mq_tensor tensor = {0};
  struct mq_value *value = NULL;
  struct mq_rng rng;
  mq_rng_init(&rng, 1, MQ_RNG_TEST, net->draws++, 0);
  net_check(net, mq_tensor_init(&tensor, MQ_F32, &shape, &net->err));
  int64_t n = mq_shape_count(&shape);
  for (int64_t i = 0; i < n; i++)
    ((float *)tensor.data)[i] = lo + (hi - lo) * mq_rng_float(&rng);
  net_check(net, mq_graph_add_constant(&value, net->graph, name, &tensor, &net->err));
  mq_tensor_deinit(&tensor);
  return value;
}

static inline struct mq_value *net_vector(struct net *net, const char *name, int64_t n, float lo, float hi) {
  return net_constant(net, name, (struct mq_shape){.rank = 1, .dim = {n}}, lo, hi);
}

static inline struct mq_value *net_ints(struct net *net, const char *name, const int64_t *ints, int64_t n) {
  struct mq_shape shape = {.rank = 1, .dim = {n}};
  struct mq_value *value = NULL;
  int64_t copy[16];
  memcpy(copy, ints, (size_t)n * sizeof *ints);
  struct mq_tensor tensor = mq_tensor_view(copy, MQ_I64, &shape, NULL);
  net_check(net, mq_graph_add_constant(&value, net->graph, name, &tensor, &net->err));
  return value;
}

/* Any op: output `NAME_out` of the given shape. */
static inline struct mq_value *net_node(struct net *net, mq_op op, const char *name,
                                        struct mq_value *const *inputs, int n_inputs, struct mq_shape shape) {
  char text[128];
  struct mq_node *node = NULL;
  snprintf(text, sizeof text, "%s_out", name);
  struct mq_value *out = net_value(net, text, shape);
  net_check(net, mq_graph_add_node(&node, net->graph, op, name, inputs, n_inputs, &out, 1, &net->err));
  return out;
}

static inline struct mq_value *net_unary(struct net *net, mq_op op, const char *name, struct mq_value *x) {
  return net_node(net, op, name, &x, 1, x->shape);
}

static inline struct mq_value *net_binary(struct net *net, mq_op op, const char *name, struct mq_value *a,
                                          struct mq_value *b) {
  struct mq_value *inputs[] = {a, b};
  return net_node(net, op, name, inputs, 2, a->shape);
}

static inline struct mq_value *net_conv(struct net *net, struct mq_value *x, const char *name, int64_t c_out,
                                        int64_t kernel, int64_t stride, int64_t group) {
  char text[128];
  int64_t pad = kernel / 2, pads[] = {pad, pad, pad, pad}, strides[] = {stride, stride};
  int64_t h = (x->shape.dim[2] + 2 * pad - kernel) / stride + 1,
          w = (x->shape.dim[3] + 2 * pad - kernel) / stride + 1;
  struct mq_shape shape = {.rank = 4, .dim = {c_out, x->shape.dim[1] / group, kernel, kernel}};
  snprintf(text, sizeof text, "%s.weight", name);
  struct mq_value *inputs[] = {x, net_constant(net, text, shape, -1, 1)};
  struct mq_value *y = net_node(net, MQ_OP_Conv, name, inputs, 2, net_shape(c_out, h, w));
  net_check(net, mq_node_set_ints(net->graph, y->producer, "pads", pads, 4, &net->err));
  net_check(net, mq_node_set_ints(net->graph, y->producer, "strides", strides, 2, &net->err));
  net_check(net, mq_node_set_int(net->graph, y->producer, "group", group, &net->err));
  return y;
}

static inline struct mq_value *net_bn(struct net *net, struct mq_value *x, const char *name) {
  static const char *const suffixes[] = {"weight", "bias", "running_mean", "running_var"};
  static const float ranges[][2] = {{-1, 2}, {-1, 1}, {-1, 1}, {0.1f, 2}};
  char text[128];
  struct mq_value *inputs[5] = {x};
  for (int i = 0; i < 4; i++) {
    snprintf(text, sizeof text, "%s.%s", name, suffixes[i]);
    inputs[i + 1] = net_vector(net, text, x->shape.dim[1], ranges[i][0], ranges[i][1]);
  }
  return net_node(net, MQ_OP_BatchNormalization, name, inputs, 5, x->shape);
}

static inline struct mq_value *net_clip(struct net *net, struct mq_value *x, const char *name, float lo,
                                        float hi) {
  char text[128];
  struct mq_shape scalar = {.rank = 0};
  snprintf(text, sizeof text, "%s.lo", name);
  struct mq_value *low = net_constant(net, text, scalar, lo, lo);
  snprintf(text, sizeof text, "%s.hi", name);
  struct mq_value *inputs[] = {x, low, net_constant(net, text, scalar, hi, hi)};
  return net_node(net, MQ_OP_Clip, name, inputs, 3, x->shape);
}

static inline struct mq_value *net_concat(struct net *net, const char *name, struct mq_value *const *inputs,
                                          int n) {
  struct mq_shape shape = inputs[0]->shape;
  for (int i = 1; i < n; i++)
    shape.dim[1] += inputs[i]->shape.dim[1];
  struct mq_value *y = net_node(net, MQ_OP_Concat, name, inputs, n, shape);
  net_check(net, mq_node_set_int(net->graph, y->producer, "axis", 1, &net->err));
  return y;
}

static inline struct mq_value *net_global_pool(struct net *net, struct mq_value *x, const char *name) {
  return net_node(net, MQ_OP_GlobalAveragePool, name, &x, 1, net_shape(x->shape.dim[1], 1, 1));
}

static inline struct mq_value *net_window(struct net *net, mq_op op, struct mq_value *x, const char *name,
                                          int64_t kernel) {
  int64_t kernels[] = {kernel, kernel};
  struct mq_value *y = net_node(
      net, op, name, &x, 1, net_shape(x->shape.dim[1], x->shape.dim[2] / kernel, x->shape.dim[3] / kernel));
  net_check(net, mq_node_set_ints(net->graph, y->producer, "kernel_shape", kernels, 2, &net->err));
  net_check(net, mq_node_set_ints(net->graph, y->producer, "strides", kernels, 2, &net->err));
  return y;
}

static inline struct mq_value *net_flatten(struct net *net, struct mq_value *x, const char *name) {
  int64_t n = x->shape.dim[1] * x->shape.dim[2] * x->shape.dim[3];
  return net_node(net, MQ_OP_Flatten, name, &x, 1, (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, n}});
}

/* y = x W' + b with W [n_out, n_in]. */
static inline struct mq_value *net_gemm(struct net *net, struct mq_value *x, const char *name,
                                        int64_t n_out) {
  char text[128];
  struct mq_shape shape = {.rank = 2, .dim = {n_out, x->shape.dim[1]}};
  snprintf(text, sizeof text, "%s.weight", name);
  struct mq_value *inputs[3] = {x, net_constant(net, text, shape, -1, 1)};
  snprintf(text, sizeof text, "%s.bias", name);
  inputs[2] = net_vector(net, text, n_out, -1, 1);
  struct mq_value *y =
      net_node(net, MQ_OP_Gemm, name, inputs, 3, (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, n_out}});
  net_check(net, mq_node_set_int(net->graph, y->producer, "transB", 1, &net->err));
  return y;
}

static inline struct mq_value *net_conv_bn(struct net *net, struct mq_value *x, const char *name,
                                           const char *bn, int64_t c_out, int64_t kernel, int64_t stride,
                                           int64_t group) {
  return net_bn(net, net_conv(net, x, name, c_out, kernel, stride, group), bn);
}

/* Global pool, flatten, fc: the usual end. */
static inline void net_classify(struct net *net, struct mq_value *x) {
  net_output(net, net_gemm(net, net_flatten(net, net_global_pool(net, x, "pool"), "flatten"), "fc", 10));
}

/* ---- The blocks of the golden lists ------------------------------------------------------------------ */

/* Stem, one basic residual block (with a projection on its shortcut if is_down), classifier. */
static inline void net_residual(struct net *net, bool is_down) {
  net_begin(net, is_down ? "residual_projection" : "residual");
  struct mq_value *x = net_input(net, "input", net_shape(3, 8, 8));
  x = net_unary(net, MQ_OP_Relu, "relu0", net_conv_bn(net, x, "conv0", "bn0", 4, 3, 1, 1));
  int64_t c = is_down ? 8 : 4, stride = is_down ? 2 : 1;
  struct mq_value *main_branch =
      net_unary(net, MQ_OP_Relu, "relu1", net_conv_bn(net, x, "conv1", "bn1", c, 3, stride, 1));
  main_branch = net_conv_bn(net, main_branch, "conv2", "bn2", c, 3, 1, 1);
  if (is_down) x = net_conv_bn(net, x, "down", "bn3", c, 1, stride, 1);
  x = net_unary(net, MQ_OP_Relu, "relu2", net_binary(net, MQ_OP_Add, "add", main_branch, x));
  net_classify(net, x);
}

/* Two MobileNetV2 blocks: the first ends in a linear bottleneck that feeds the second and its add. */
static inline void net_inverted(struct net *net) {
  net_begin(net, "inverted_residual");
  struct mq_value *x = net_input(net, "input", net_shape(3, 8, 8));
  x = net_clip(net, net_conv_bn(net, x, "stem", "stem_bn", 4, 3, 2, 1), "stem_relu6", 0, 6);
  x = net_clip(net, net_conv_bn(net, x, "dw1", "dw1_bn", 4, 3, 1, 4), "dw1_relu6", 0, 6);
  struct mq_value *bottleneck = net_conv_bn(net, x, "pw1", "pw1_bn", 4, 1, 1, 1);
  x = net_clip(net, net_conv_bn(net, bottleneck, "ex2", "ex2_bn", 24, 1, 1, 1), "ex2_relu6", 0, 6);
  x = net_clip(net, net_conv_bn(net, x, "dw2", "dw2_bn", 24, 3, 1, 24), "dw2_relu6", 0, 6);
  x = net_conv_bn(net, x, "pw2", "pw2_bn", 4, 1, 1, 1);
  x = net_binary(net, MQ_OP_Add, "add2", bottleneck, x);
  x = net_clip(net, net_conv_bn(net, x, "head", "head_bn", 16, 1, 1, 1), "head_relu6", 0, 6);
  net_classify(net, x);
}

static inline struct mq_value *net_deconv(struct net *net, struct mq_value *x, const char *name,
                                          int64_t c_out, int64_t group) {
  char text[128];
  int64_t strides[] = {2, 2};
  struct mq_shape shape = {.rank = 4, .dim = {x->shape.dim[1], c_out / group, 2, 2}};
  snprintf(text, sizeof text, "%s.weight", name);
  struct mq_value *inputs[] = {x, net_constant(net, text, shape, -1, 1)};
  struct mq_value *y = net_node(net, MQ_OP_ConvTranspose, name, inputs, 2,
                                net_shape(c_out, 2 * x->shape.dim[2], 2 * x->shape.dim[3]));
  net_check(net, mq_node_set_ints(net->graph, y->producer, "strides", strides, 2, &net->err));
  net_check(net, mq_node_set_int(net->graph, y->producer, "group", group, &net->err));
  return y;
}

/* Every place of a batch normalisation that folding knows: behind a conv with a bias of its own, behind a
 * grouped and a plain ConvTranspose, on its own behind a pool, behind Gemms with W and with W'. */
static inline void net_norms(struct net *net) {
  net_begin(net, "norms");
  struct mq_value *x = net_conv(net, net_input(net, "input", net_shape(3, 8, 8)), "conv", 4, 3, 2, 1);
  struct mq_value *bias = net_vector(net, "conv.bias", 4, -1, 1);
  net_check(net, mq_graph_set_input(net->graph, x->producer, 2, bias, &net->err));
  x = net_unary(net, MQ_OP_Relu, "relu0", net_bn(net, x, "bn0"));
  x = net_unary(net, MQ_OP_Relu, "relu1", net_bn(net, net_deconv(net, x, "grouped", 6, 2), "bn1"));
  x = net_unary(net, MQ_OP_Relu, "relu2",
                net_bn(net, net_window(net, MQ_OP_MaxPool, x, "maxpool", 2), "alone"));
  x = net_unary(net, MQ_OP_Relu, "relu3", net_bn(net, net_deconv(net, x, "deconv", 5, 1), "bn3"));
  x = net_gemm(net, net_flatten(net, net_global_pool(net, x, "pool"), "flatten"), "fc1", 7);
  x = net_unary(net, MQ_OP_Relu, "relu4", net_bn(net, x, "bn4"));
  struct mq_value *inputs[] = {
      x, net_constant(net, "fc2.weight", (struct mq_shape){.rank = 2, .dim = {7, 10}}, -1, 1)};
  x = net_node(net, MQ_OP_MatMul, "fc2", inputs, 2, (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, 10}});
  net_output(net, net_bn(net, x, "bn5"));
}

/* SqueezeNet's fire with a max-pooled branch, then a concat of that concat. */
static inline void net_concats(struct net *net) {
  net_begin(net, "concat");
  struct mq_value *x = net_input(net, "input", net_shape(3, 8, 8));
  struct mq_value *s = net_unary(net, MQ_OP_Relu, "s_relu", net_conv(net, x, "squeeze", 4, 1, 1, 1));
  struct mq_value *a = net_unary(net, MQ_OP_Relu, "a_relu", net_conv(net, s, "expand1", 8, 1, 1, 1));
  struct mq_value *b = net_unary(net, MQ_OP_Relu, "b_relu", net_conv(net, s, "expand3", 8, 3, 1, 1));
  struct mq_value *inner[] = {a, b};
  struct mq_value *cat = net_window(net, MQ_OP_MaxPool, net_concat(net, "cat1", inner, 2), "maxpool", 2);
  struct mq_value *c = net_conv(net, cat, "grow", 4, 3, 1, 1);
  struct mq_value *outer[] = {cat, c};
  x = net_concat(net, "cat2", outer, 2);
  x = net_window(net, MQ_OP_AveragePool, x, "avgpool", 2);
  x = net_conv(net, x, "last", 10, 1, 1, 1);
  net_output(net, net_flatten(net, net_global_pool(net, x, "pool"), "flatten"));
}

/* A MobileNetV3-like block: hard-swish, squeeze and excite by Sigmoid and Mul, an add, a final Softmax. */
static inline void net_squeeze_excite(struct net *net) {
  net_begin(net, "squeeze_excite");
  struct mq_value *x = net_input(net, "input", net_shape(3, 8, 8));
  x = net_unary(net, MQ_OP_HardSwish, "hswish", net_conv_bn(net, x, "stem", "stem_bn", 8, 3, 1, 1));
  struct mq_value *y = net_unary(net, MQ_OP_Relu, "relu1", net_conv_bn(net, x, "dw", "dw_bn", 8, 3, 1, 8));
  struct mq_value *s = net_global_pool(net, y, "se_pool");
  s = net_unary(net, MQ_OP_Relu, "se_relu", net_conv(net, s, "se_down", 4, 1, 1, 1));
  s = net_unary(net, MQ_OP_Sigmoid, "se_sigmoid", net_conv(net, s, "se_up", 8, 1, 1, 1));
  y = net_binary(net, MQ_OP_Mul, "se_mul", y, s);
  y = net_conv_bn(net, y, "project", "project_bn", 8, 1, 1, 1);
  x = net_binary(net, MQ_OP_Add, "add", x, y);
  x = net_flatten(net, net_global_pool(net, x, "pool"), "flatten");
  net_output(net, net_unary(net, MQ_OP_Softmax, "softmax", net_gemm(net, x, "fc", 10)));
}

#endif
