/* Gradients of batch normalisation taken apart, as the folding strategies put it together. */
#include "help_gradients.h"
#include "mqbench/kernel.h"

/* Of the largest gradient of a tensor. Means and variances are rounded to floats where they are handed on. */
#define TOLERANCE 2e-5

#define CHANNELS 5

struct parts {
  struct mq_value *mean, *variance, *factor, *bias;
};

static struct mq_value *conv(struct net *net, const char *name, struct mq_value *x, struct mq_value *w,
                             struct mq_value *bias) {
  struct mq_value *inputs[] = {x, w, bias};
  struct mq_value *y = net_op(net, MQ_OP_Conv, name, inputs, bias ? 3 : 2);
  SET_INTS(net, y, "pads", 1, 1, 1, 1);
  return y;
}

/* Statistics of x, and the factor and bias that they and learned gamma, beta and bias come to. */
static struct parts take_apart(struct net *net, struct mq_value *x, bool has_bias) {
  static const char *const names[4] = {"mean", "variance", "next_mean", "next_variance"};
  struct mq_value *inputs[4] = {x, net_vector(net, "running_mean", CHANNELS, -1, 1),
                                net_vector(net, "running_var", CHANNELS, 0.5f, 2)};
  struct mq_value *outputs[4];
  struct mq_node *node;
  struct parts parts;
  for (int i = 0; i < 4; i++)
    outputs[i] = net_value(net, names[i], (struct mq_shape){.rank = -1});
  net_check(net, mq_graph_add_node(&node, net->graph, MQ_OP_BatchStatistics, "statistics", inputs, 3, outputs,
                                   4, &net->err));
  parts.mean = outputs[0];
  parts.variance = outputs[1];
  parts.factor =
      net_op2(net, MQ_OP_FoldFactor, "factor", parts.variance, net_vector(net, "gamma", CHANNELS, 0.5f, 2));
  struct mq_value *of_bias[4] = {net_vector(net, "beta", CHANNELS, -1, 1), parts.factor, parts.mean, NULL};
  if (has_bias) of_bias[3] = net_vector(net, "bias", CHANNELS, -1, 1);
  parts.bias = net_op(net, MQ_OP_FoldBias, "fold_bias", of_bias, has_bias ? 4 : 3);
  return parts;
}

static struct mq_value *weights(struct net *net) {
  return net_constant(net, "w", DIMS(CHANNELS, 3, 3, 3), -0.5f, 0.5f);
}

/* The normalisation itself, after the convolution. */
static void build_normalise(struct gradient_case *made, struct net *net, const void *parameters) {
  made->x = net_data(net, "x", DIMS(3, 4, 4));
  struct mq_value *z = conv(net, "conv", made->x, weights(net), NULL);
  struct parts parts = take_apart(net, z, *(const bool *)parameters);
  struct mq_value *inputs[] = {z, parts.factor, parts.bias};
  made->y = net_op(net, MQ_OP_ScaleChannels, "scale", inputs, 3);
  net_set_int(net, made->y, "axis", 1);
}

/* Weights scaled by the batch's factor: the convolution runs twice. */
static void build_fold(struct gradient_case *made, struct net *net, const void *parameters) {
  made->x = net_data(net, "x", DIMS(3, 4, 4));
  struct mq_value *w = weights(net);
  struct parts parts = take_apart(net, conv(net, "first", made->x, w, NULL), *(const bool *)parameters);
  struct mq_value *scaled = net_op2(net, MQ_OP_ScaleChannels, "scale", w, parts.factor);
  net_set_int(net, scaled, "axis", 0);
  made->y = conv(net, "second", made->x, scaled, parts.bias);
}

/* Weights scaled by a factor of numbers that stand still, the sum with a bias divided by it. */
static void build_divide(struct gradient_case *made, struct net *net, const void *parameters) {
  (void)parameters;
  made->x = net_data(net, "x", DIMS(3, 4, 4));
  struct mq_value *variance = net_vector(net, "still", CHANNELS, 0.5f, 2);
  struct mq_value *factor = net_op2(net, MQ_OP_FoldFactor, "still_factor", variance,
                                    net_vector(net, "still_gamma", CHANNELS, 0.5f, 2));
  struct mq_value *scaled = net_op2(net, MQ_OP_ScaleChannels, "scale", weights(net), factor);
  net_set_int(net, scaled, "axis", 0);
  struct mq_value *z = conv(net, "conv", made->x, scaled, net_vector(net, "b", CHANNELS, 0.5f, 1));
  made->y = net_op1(net, MQ_OP_Sigmoid, "sigmoid", net_op2(net, MQ_OP_ScaleChannels, "divide", z, factor));
  net_set_int(net, made->y->producer->inputs[0], "axis", 1);
  net_set_int(net, made->y->producer->inputs[0], "divides", 1);
}

/* What is divided by a learned factor is normalised: the two are one. The large epsilon lets the factor
 * matter. */
static void build_divided_norm(struct gradient_case *made, struct net *net, const void *parameters) {
  (void)parameters;
  made->x = net_op1(net, MQ_OP_Sigmoid, "sigmoid", net_data(net, "x", DIMS(CHANNELS, 3, 4)));
  struct mq_value *divided =
      net_op2(net, MQ_OP_ScaleChannels, "divide", made->x, net_learned(net, "f", DIMS(CHANNELS), 0.5f, 2));
  net_set_int(net, divided, "axis", 1);
  net_set_int(net, divided, "divides", 1);
  struct mq_value *inputs[5] = {
      divided, net_vector(net, "gamma", CHANNELS, 0.5f, 2), net_vector(net, "beta", CHANNELS, -1, 1),
      net_vector(net, "running_mean", CHANNELS, -1, 1), net_vector(net, "running_var", CHANNELS, 0.5f, 2)};
  made->y = net_op(net, MQ_OP_BatchNormalization, "bn", inputs, 5);
  net_set_float(net, made->y, "epsilon", 0.05f);
}

/* Learned factors of weights that are divided by them; of weights in groups, a factor per group and row. */
static void build_weights(struct gradient_case *made, struct net *net, const void *parameters) {
  bool has_groups = *(const bool *)parameters;
  made->x = net_data(net, "x", DIMS(4, 3, 3));
  struct mq_value *w = net_constant(net, "w", DIMS(4, 3, 3, 3), -0.5f, 0.5f);
  struct mq_value *factor = net_learned(net, "f", DIMS(has_groups ? 6 : 3), 0.5f, 2);
  struct mq_value *scaled = net_op2(net, MQ_OP_ScaleChannels, "scale", w, factor);
  net_set_int(net, scaled, "axis", 1);
  net_set_int(net, scaled, has_groups ? "groups" : "divides", has_groups ? 2 : 1);
  made->y = net_op2(net, MQ_OP_ConvTranspose, "conv", made->x, scaled);
  SET_INTS(net, made->y, "pads", 1, 1, 1, 1);
  net_set_int(net, made->y, "group", has_groups ? 2 : 1);
}

static void test_folds(void **state) {
  (void)state;
  static const bool either[] = {false, true};
  for (int64_t n_groups = 1; n_groups <= 2; n_groups++) {
    for (int i = 0; i < 2; i++) {
      check_gradients_in_groups("normalise", build_normalise, &either[i], TOLERANCE, n_groups);
      check_gradients_in_groups("fold", build_fold, &either[i], TOLERANCE, n_groups);
    }
  }
  for (int i = 0; i < 2; i++)
    check_gradients("weights", build_weights, &either[i], TOLERANCE);
  check_gradients("divide", build_divide, NULL, TOLERANCE);
  for (int64_t n_groups = 1; n_groups <= 2; n_groups++)
    check_gradients_in_groups("divided_norm", build_divided_norm, NULL, TOLERANCE, n_groups);
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_folds)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
