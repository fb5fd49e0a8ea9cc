/* Gradients of convolutions, pools and batch normalisation: of the data and of every parameter. */
#include "help_gradients.h"
#include "mqbench/kernel.h"

/* Of the largest gradient of a tensor: sums of floats of a few hundred terms. */
#define TOLERANCE 2e-6

/* ---- Convolutions ---------------------------------------------------------------------------- */
struct conv_case {
  const char *name;
  int64_t in, out, height, width, kernel[2], stride[2], dilation[2], pads[4], output_pad[2], groups;
  bool has_bias, is_transposed;
};

static const struct conv_case convs[] = {
    {"conv_odd", 5, 13, 4, 5, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, {0, 0}, 1, true, false},
    {"conv_13_to_5", 13, 5, 4, 4, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, {0, 0}, 1, false, false},
    {"conv_strides", 3, 5, 6, 7, {3, 2}, {2, 3}, {1, 1}, {1, 0, 0, 1}, {0, 0}, 1, true, false},
    {"conv_dilation", 5, 3, 6, 6, {3, 3}, {1, 1}, {2, 2}, {2, 2, 2, 2}, {0, 0}, 1, true, false},
    {"conv_strides_dilation", 3, 5, 7, 8, {2, 3}, {2, 1}, {2, 3}, {1, 2, 0, 3}, {0, 0}, 1, false, false},
    {"conv_groups", 6, 10, 4, 4, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, {0, 0}, 2, true, false},
    {"conv_groups_odd", 15, 5, 3, 3, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, {0, 0}, 5, true, false},
    {"depthwise", 13, 13, 4, 4, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, {0, 0}, 13, true, false},
    {"depthwise_stride", 5, 5, 7, 6, {5, 5}, {2, 2}, {1, 1}, {2, 2, 2, 2}, {0, 0}, 5, false, false},
    {"depthwise_dilation", 5, 5, 6, 6, {3, 3}, {1, 1}, {2, 2}, {2, 2, 2, 2}, {0, 0}, 5, false, false},
    {"depthwise_multiplier", 5, 10, 4, 4, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, {0, 0}, 5, true, false},
    {"pointwise", 13, 7, 3, 3, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}, {0, 0}, 1, true, false},
    {"pointwise_stride", 5, 7, 5, 5, {1, 1}, {2, 2}, {1, 1}, {0, 0, 0, 0}, {0, 0}, 1, true, false},
    {"first_layer", 3, 13, 6, 6, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, {0, 0}, 1, true, false},
    {"transposed", 5, 3, 3, 4, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, {0, 0}, 1, true, true},
    {"transposed_stride", 5, 3, 3, 3, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 1, true, true},
    {"transposed_uneven", 3, 5, 3, 3, {2, 4}, {2, 3}, {1, 1}, {0, 1, 1, 0}, {0, 2}, 1, false, true},
    {"transposed_dilation", 3, 5, 4, 4, {3, 2}, {1, 2}, {2, 1}, {1, 0, 1, 0}, {0, 0}, 1, true, true},
    {"transposed_groups", 6, 10, 3, 3, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, {0, 0}, 2, true, true},
    {"transposed_depthwise", 5, 5, 3, 3, {4, 4}, {2, 2}, {1, 1}, {1, 1, 1, 1}, {0, 0}, 5, true, true},
};

static void build_conv(struct gradient_case *made, struct net *net, const void *parameters) {
  const struct conv_case *c = parameters;
  int64_t rows = c->is_transposed ? c->in : c->out, columns = (c->is_transposed ? c->out : c->in) / c->groups;
  made->x = net_data(net, "x", DIMS(c->in, c->height, c->width));
  struct mq_value *inputs[3] = {
      made->x, net_constant(net, "w", DIMS(rows, columns, c->kernel[0], c->kernel[1]), -0.5f, 0.5f)};
  if (c->has_bias) inputs[2] = net_vector(net, "b", c->out, -1, 1);
  made->y =
      net_op(net, c->is_transposed ? MQ_OP_ConvTranspose : MQ_OP_Conv, "conv", inputs, c->has_bias ? 3 : 2);
  net_set_ints(net, made->y, "strides", 2, c->stride);
  net_set_ints(net, made->y, "dilations", 2, c->dilation);
  net_set_ints(net, made->y, "pads", 4, c->pads);
  net_set_int(net, made->y, "group", c->groups);
  if (c->is_transposed) net_set_ints(net, made->y, "output_padding", 2, c->output_pad);
}

static void test_convs(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof convs / sizeof *convs; i++)
    check_gradients(convs[i].name, build_conv, &convs[i], TOLERANCE);
}

static void build_conv_1d(struct gradient_case *made, struct net *net, const void *parameters) {
  bool is_transposed = *(const bool *)parameters;
  made->x = net_data(net, "x", DIMS(5, 9));
  struct mq_value *inputs[3] = {
      made->x, net_constant(net, "w", is_transposed ? DIMS(5, 3, 3) : DIMS(3, 5, 3), -0.5f, 0.5f),
      net_vector(net, "b", 3, -1, 1)};
  made->y = net_op(net, is_transposed ? MQ_OP_ConvTranspose : MQ_OP_Conv, "conv", inputs, 3);
  SET_INTS(net, made->y, "strides", 2);
  SET_INTS(net, made->y, "dilations", 2);
  SET_INTS(net, made->y, "pads", 1, 2);
}

static void test_convs_1d(void **state) {
  (void)state;
  static const bool is_transposed[] = {false, true};
  for (int i = 0; i < 2; i++)
    check_gradients("conv_1d", build_conv_1d, &is_transposed[i], TOLERANCE);
}

/* Weights that two convolutions share: their gradients add up. */
static void build_shared_weights(struct gradient_case *made, struct net *net, const void *parameters) {
  (void)parameters;
  made->x = net_data(net, "x", DIMS(5, 4, 4));
  struct mq_value *w = net_constant(net, "w", DIMS(5, 5, 3, 3), -0.5f, 0.5f);
  struct mq_value *y = net_op2(net, MQ_OP_Conv, "first", made->x, w);
  SET_INTS(net, y, "pads", 1, 1, 1, 1);
  made->y = net_op2(net, MQ_OP_Conv, "second", y, w);
}

static void test_shared_weights(void **state) {
  (void)state;
  check_gradients("shared_weights", build_shared_weights, NULL, TOLERANCE);
}

/* ---- Pools ----------------------------------------------------------------------------------- */
struct pool_case {
  const char *name;
  mq_op op;
  int64_t channels, height, width, kernel[2], stride[2], dilation[2], pads[4];
  bool ceil_mode, count_include_pad;
};

static const struct pool_case pools[] = {
    {"max", MQ_OP_MaxPool, 5, 6, 6, {2, 2}, {2, 2}, {1, 1}, {0, 0, 0, 0}, false, false},
    {"max_overlap", MQ_OP_MaxPool, 13, 5, 5, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, false, false},
    {"max_ceil", MQ_OP_MaxPool, 5, 6, 7, {3, 2}, {2, 3}, {1, 1}, {0, 0, 0, 0}, true, false},
    {"max_ceil_pads", MQ_OP_MaxPool, 5, 6, 5, {3, 3}, {2, 2}, {1, 1}, {1, 0, 1, 1}, true, false},
    {"max_dilation", MQ_OP_MaxPool, 5, 7, 7, {2, 3}, {1, 2}, {2, 2}, {1, 1, 0, 2}, false, false},
    {"average", MQ_OP_AveragePool, 5, 6, 6, {2, 3}, {2, 3}, {1, 1}, {0, 0, 0, 0}, false, false},
    {"average_pads", MQ_OP_AveragePool, 13, 5, 5, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, false, false},
    {"average_counts", MQ_OP_AveragePool, 13, 5, 5, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, false, true},
    {"average_ceil", MQ_OP_AveragePool, 5, 6, 7, {3, 3}, {2, 2}, {1, 1}, {1, 1, 0, 0}, true, false},
    {"average_ceil_counts", MQ_OP_AveragePool, 5, 6, 6, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, true, true},
};

static void build_pool(struct gradient_case *made, struct net *net, const void *parameters) {
  const struct pool_case *c = parameters;
  made->x = net_data(net, "x", DIMS(c->channels, c->height, c->width));
  made->y = net_op1(net, c->op, "pool", made->x);
  net_set_ints(net, made->y, "kernel_shape", 2, c->kernel);
  net_set_ints(net, made->y, "strides", 2, c->stride);
  net_set_ints(net, made->y, "pads", 4, c->pads);
  net_set_int(net, made->y, "ceil_mode", c->ceil_mode);
  if (c->op == MQ_OP_MaxPool) net_set_ints(net, made->y, "dilations", 2, c->dilation);
  if (c->op == MQ_OP_AveragePool) net_set_int(net, made->y, "count_include_pad", c->count_include_pad);
}

static void test_pools(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof pools / sizeof *pools; i++)
    check_gradients(pools[i].name, build_pool, &pools[i], TOLERANCE);
}

static void build_pool_1d(struct gradient_case *made, struct net *net, const void *parameters) {
  made->x = net_data(net, "x", DIMS(5, 9));
  made->y = net_op1(net, *(const mq_op *)parameters, "pool", made->x);
  SET_INTS(net, made->y, "kernel_shape", 3);
  SET_INTS(net, made->y, "strides", 2);
  SET_INTS(net, made->y, "pads", 1, 1);
}

static void build_global(struct gradient_case *made, struct net *net, const void *parameters) {
  made->x = net_data(net, "x", DIMS(13, 3, 5));
  made->y = net_op1(net, *(const mq_op *)parameters, "pool", made->x);
}

static void test_other_pools(void **state) {
  (void)state;
  static const mq_op windows[] = {MQ_OP_MaxPool, MQ_OP_AveragePool},
                     wholes[] = {MQ_OP_GlobalMaxPool, MQ_OP_GlobalAveragePool};
  for (int i = 0; i < 2; i++) {
    check_gradients("pool_1d", build_pool_1d, &windows[i], TOLERANCE);
    check_gradients("global", build_global, &wholes[i], TOLERANCE);
  }
}

/* The second output, where each maximum was, is an output of the graph: the gradient goes by it. */
static void build_indices(struct gradient_case *made, struct net *net, const void *parameters) {
  const struct mq_shape unknown = {.rank = -1};
  struct mq_node *node;
  made->x = net_data(net, "x", DIMS(3, 5, 6));
  struct mq_value *outputs[2] = {net_value(net, "pool_out", unknown), NULL};
  net_check(net, mq_graph_add_value(&outputs[1], net->graph, "indices", MQ_I64, &unknown, &net->err));
  net_check(net,
            mq_graph_add_node(&node, net->graph, MQ_OP_MaxPool, "pool", &made->x, 1, outputs, 2, &net->err));
  made->y = outputs[0];
  SET_INTS(net, made->y, "kernel_shape", 3, 2);
  SET_INTS(net, made->y, "strides", 2, 1);
  SET_INTS(net, made->y, "pads", 1, 0, 1, 1);
  net_set_int(net, made->y, "storage_order", *(const int *)parameters);
}

/* make_logits makes the logits the first output; the indices come after them. */
static void build_indices_read(struct gradient_case *made, struct net *net, const void *parameters) {
  build_indices(made, net, parameters);
  struct mq_value *indices = made->y->producer->outputs[1];
  struct mq_value *same = net_op1(net, MQ_OP_Identity, "where", indices); /* read, not learned from */
  same->dtype = MQ_I64;
}

static void test_indices(void **state) {
  (void)state;
  static const int orders[] = {0, 1};
  for (int i = 0; i < 2; i++)
    check_gradients("max_with_indices", build_indices_read, &orders[i], TOLERANCE);
}

/* ---- Batch normalisation --------------------------------------------------------------------- */
static void build_norm(struct gradient_case *made, struct net *net, const void *parameters) {
  struct mq_shape image = *(const struct mq_shape *)parameters;
  /* Without the sigmoid a shift would change nothing behind the normalisation. */
  made->x = net_op1(net, MQ_OP_Sigmoid, "sigmoid", net_data(net, "x", image));
  struct mq_value *inputs[5] = {made->x, net_vector(net, "gamma", image.dim[0], 0.5f, 2),
                                net_vector(net, "beta", image.dim[0], -1, 1),
                                net_vector(net, "running_mean", image.dim[0], -1, 1),
                                net_vector(net, "running_var", image.dim[0], 0.5f, 2)};
  made->y = net_op(net, MQ_OP_BatchNormalization, "bn", inputs, 5);
  net_set_float(net, made->y, "epsilon", 1e-3f);
}

static void test_norms(void **state) {
  (void)state;
  const struct mq_shape images[] = {DIMS(5, 3, 4), DIMS(13, 2, 2), DIMS(5, 7), DIMS(13)};
  for (size_t i = 0; i < sizeof images / sizeof *images; i++)
    for (int64_t n_groups = 1; n_groups <= 2; n_groups++)
      check_gradients_in_groups("batch_norm", build_norm, &images[i], 10 * TOLERANCE, n_groups);
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_convs), cmocka_unit_test(test_convs_1d),    cmocka_unit_test(test_shared_weights),
      cmocka_unit_test(test_pools), cmocka_unit_test(test_other_pools), cmocka_unit_test(test_indices),
      cmocka_unit_test(test_norms),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
