/* Gradients of functions of one or two tensors, element by element and along axes. */
#include <math.h>

#include "help_gradients.h"
#include "mqbench/kernel.h"

/* Of the largest gradient of a tensor; that of a scalar is a sum of 480 terms of which little is left. */
#define TOLERANCE 5e-5

/* ---- One tensor ------------------------------------------------------------------------------ */
struct unary_case {
  const char *name;
  mq_op op;
  float gain, alpha, beta; /* gain: brings values to both sides of the corners; NAN: no attribute */
};

static const struct unary_case unaries[] = {
    {"relu", MQ_OP_Relu, 1, 0, 0},
    {"sigmoid", MQ_OP_Sigmoid, 4, 0, 0},
    {"hard_sigmoid", MQ_OP_HardSigmoid, 4, 0.2f, 0.5f},
    {"hard_sigmoid_torch", MQ_OP_HardSigmoid, 4, 1.0f / 6, 0.5f},
    {"hard_swish", MQ_OP_HardSwish, 5, 0, 0},
    {"leaky_relu", MQ_OP_LeakyRelu, 1, 0.125f, 0},
    {"identity", MQ_OP_Identity, 1, 0, 0},
    {"dropout", MQ_OP_Dropout, 1, 0, 0},
};

/* Values lie in gain (-1.5, 1.5). */
static struct mq_value *scaled_data(struct net *net, float gain) {
  struct mq_value *x = net_data(net, "x", DIMS(5, 3, 4));
  struct mq_value *factor = net_constant(net, "gain", (struct mq_shape){.rank = 0}, gain, gain);
  return net_op2(net, MQ_OP_Mul, "scaled", x, factor);
}

static void build_unary(struct gradient_case *made, struct net *net, const void *parameters) {
  const struct unary_case *c = parameters;
  made->x = scaled_data(net, c->gain);
  made->y = net_op1(net, c->op, "f", made->x);
  if (c->alpha != 0) net_set_float(net, made->y, "alpha", c->alpha);
  if (c->beta != 0) net_set_float(net, made->y, "beta", c->beta);
}

static void test_unary(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof unaries / sizeof *unaries; i++)
    check_gradients(unaries[i].name, build_unary, &unaries[i], TOLERANCE);
}

static void build_clip(struct gradient_case *made, struct net *net, const void *parameters) {
  const float *bounds = parameters;
  made->x = scaled_data(net, 5);
  struct mq_value *inputs[3] = {made->x, NULL, NULL};
  for (int i = 0; i < 2; i++)
    if (isfinite(bounds[i]))
      inputs[i + 1] = net_constant(net, i ? "hi" : "lo", (struct mq_shape){.rank = 0}, bounds[i], bounds[i]);
  made->y = net_op(net, MQ_OP_Clip, "clip", inputs, 3);
}

static void test_clip(void **state) {
  (void)state;
  static const float bounds[][2] = {{0, 6}, {-1.5f, 2}, {-INFINITY, 1}};
  for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
    check_gradients("clip", build_clip, bounds[i], TOLERANCE);
}

/* ---- Two tensors, broadcast ------------------------------------------------------------------ */
struct binary_case {
  const char *name;
  mq_op op;
  int rank;
  int64_t dim[4]; /* of the learned operand; rank 0: a scalar; -1: a second tensor of data */
  bool is_left;   /* the learned operand stands first */
};

static const struct binary_case binaries[] = {
    {"add_scalar", MQ_OP_Add, 0, {0}, false},
    {"add_channels", MQ_OP_Add, 3, {5, 1, 1}, false},
    {"add_data", MQ_OP_Add, -1, {0}, false},
    {"add_row", MQ_OP_Add, 1, {4}, true},
    {"sub_scalar", MQ_OP_Sub, 0, {0}, true},
    {"sub_columns", MQ_OP_Sub, 2, {3, 1}, false},
    {"sub_data", MQ_OP_Sub, -1, {0}, false},
    {"mul_scalar", MQ_OP_Mul, 0, {0}, false},
    {"mul_channels", MQ_OP_Mul, 4, {1, 5, 1, 1}, false},
    {"mul_image", MQ_OP_Mul, 4, {1, 1, 3, 4}, true},
    {"mul_data", MQ_OP_Mul, -1, {0}, false},
    {"div_scalar", MQ_OP_Div, 0, {0}, false},
    {"div_of_channels", MQ_OP_Div, 3, {5, 1, 1}, true},
    {"div_by_image", MQ_OP_Div, 3, {5, 3, 4}, false},
    {"div_data", MQ_OP_Div, -1, {0}, false},
    {"prelu_channels", MQ_OP_PRelu, 3, {5, 1, 1}, false},
    {"prelu_one", MQ_OP_PRelu, 1, {1}, false},
    {"prelu_image", MQ_OP_PRelu, 3, {5, 3, 4}, false},
};

/* Divisors keep away from 0. */
static struct mq_value *away_from_zero(struct net *net, const char *name, struct mq_value *x) {
  char text[32];
  struct mq_value *e = net_op1(net, MQ_OP_Sigmoid, name, x);
  snprintf(text, sizeof text, "%s_one", name);
  return net_op2(net, MQ_OP_Add, text, e, net_constant(net, "one", (struct mq_shape){.rank = 0}, 0.5f, 0.5f));
}

static void build_binary(struct gradient_case *made, struct net *net, const void *parameters) {
  const struct binary_case *c = parameters;
  made->x = net_data(net, "x", DIMS(5, 3, 4));
  struct mq_value *other = c->rank < 0 ? net_data(net, "other", DIMS(5, 3, 4))
                                       : net_learned(net, "learned", dims(c->rank, c->dim), 0.5f, 2);
  struct mq_value *operands[2] = {c->is_left ? other : made->x, c->is_left ? made->x : other};
  if (c->op == MQ_OP_Div) operands[1] = away_from_zero(net, "divisor", operands[1]);
  /* Without the sigmoid a number added to all logits would change nothing. */
  made->y = net_op1(net, MQ_OP_Sigmoid, "sigmoid", net_op(net, c->op, "f", operands, 2));
}

static void test_binary(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof binaries / sizeof *binaries; i++)
    check_gradients(binaries[i].name, build_binary, &binaries[i], TOLERANCE);
}

/* PRelu's own constant learns without anything around it. */
static void build_prelu(struct gradient_case *made, struct net *net, const void *parameters) {
  (void)parameters;
  made->x = net_data(net, "x", DIMS(13, 2, 3));
  made->y = net_op2(net, MQ_OP_PRelu, "prelu", made->x, net_constant(net, "slope", DIMS(13, 1, 1), 0, 0.5f));
}

/* One tensor in both places: two gradients of it from one step. */
static void build_square(struct gradient_case *made, struct net *net, const void *parameters) {
  made->x = net_data(net, "x", DIMS(5, 3, 4));
  made->y = net_op2(net, *(const mq_op *)parameters, "f", made->x, made->x);
}

/* A tensor and the mean of its pixels, as in squeeze and excite. */
static void build_excite(struct gradient_case *made, struct net *net, const void *parameters) {
  (void)parameters;
  made->x = net_data(net, "x", DIMS(13, 3, 3));
  struct mq_value *s =
      net_op1(net, MQ_OP_Sigmoid, "gate", net_op1(net, MQ_OP_GlobalAveragePool, "mean", made->x));
  made->y = net_op2(net, MQ_OP_Mul, "excite", made->x, s);
}

static void test_other_binary(void **state) {
  (void)state;
  static const mq_op squares[] = {MQ_OP_Mul, MQ_OP_Add};
  check_gradients("prelu", build_prelu, NULL, TOLERANCE);
  for (int i = 0; i < 2; i++)
    check_gradients("square", build_square, &squares[i], TOLERANCE);
  check_gradients("excite", build_excite, NULL, TOLERANCE);
}

/* ---- Along axes ------------------------------------------------------------------------------ */
struct axes_case {
  const char *name;
  mq_op op;
  int n_axes;
  int64_t axes[4];
  bool keeps_dims;
  int opset; /* 0: that of the graph */
};

static const struct axes_case axes_cases[] = {
    {"softmax_channels", MQ_OP_Softmax, 1, {1}, true, 0},
    {"softmax_last", MQ_OP_Softmax, 1, {-1}, true, 0},
    {"softmax_from_axis", MQ_OP_Softmax, 1, {2}, true, 11},
    {"log_softmax_rows", MQ_OP_LogSoftmax, 1, {2}, true, 0},
    {"log_softmax_last", MQ_OP_LogSoftmax, 1, {3}, true, 0},
    {"mean_pixels", MQ_OP_ReduceMean, 2, {2, 3}, true, 0},
    {"mean_channels", MQ_OP_ReduceMean, 1, {1}, false, 0},
    {"mean_rows", MQ_OP_ReduceMean, 2, {1, 3}, false, 0},
};

static void build_axes(struct gradient_case *made, struct net *net, const void *parameters) {
  const struct axes_case *c = parameters;
  if (c->opset) net->graph->opset = c->opset;
  made->x = net_data(net, "x", DIMS(5, 3, 4));
  made->y = net_op1(net, c->op, "f", made->x);
  if (c->op == MQ_OP_ReduceMean) {
    net_set_ints(net, made->y, "axes", c->n_axes, c->axes);
    net_set_int(net, made->y, "keepdims", c->keeps_dims);
  } else {
    net_set_int(net, made->y, "axis", c->axes[0]);
    /* Another look at it than the loss's own softmax, which would undo most of it. */
    made->y = net_op2(net, MQ_OP_Mul, "weighed", made->y, net_learned(net, "w", DIMS(5, 3, 4), 1, 4));
  }
}

static void test_axes(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof axes_cases / sizeof *axes_cases; i++)
    check_gradients(axes_cases[i].name, build_axes, &axes_cases[i], TOLERANCE);
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unary),        cmocka_unit_test(test_clip), cmocka_unit_test(test_binary),
      cmocka_unit_test(test_other_binary), cmocka_unit_test(test_axes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
