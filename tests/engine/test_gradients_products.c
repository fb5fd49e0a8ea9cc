/* Gradients of Gemm and MatMul in all their forms, and what the trainer refuses to train through. */
#include "help_gradients.h"
#include "mqbench/kernel.h"

#define TOLERANCE 2e-6 /* of the largest gradient of a tensor */

/* ---- Gemm ------------------------------------------------------------------------------------ */
struct gemm_case {
  const char *name;
  float alpha, beta;
  int bias_rank; /* -1: none */
  int64_t bias[2];
  bool is_b_transposed, has_computed_weights;
};

static const struct gemm_case gemms[] = {
    {"linear", 1, 1, 1, {13}, true, false},        {"linear_plain", 1, 1, 1, {13}, false, false},
    {"no_bias", 1, 1, -1, {0}, true, false},       {"bias_matrix", 1, 1, 2, {1, 13}, true, false},
    {"alpha", 0.5f, 1, 1, {13}, true, false},      {"beta", 1, -2, 1, {13}, false, false},
    {"alpha_beta", 3, 0.25f, 1, {1}, true, false}, {"bias_scalar", 1, 1, 0, {0}, true, false},
    {"computed", 1, 1, 1, {13}, true, true},       {"computed_plain", 2, 1, 1, {13}, false, true},
};

/* 13 outputs of 5 inputs. Computed weights: parameters squashed, shared by all slices. */
static void build_gemm(struct gradient_case *made, struct net *net, const void *parameters) {
  const struct gemm_case *c = parameters;
  made->x = net_data(net, "x", DIMS(5));
  struct mq_shape shape = c->is_b_transposed ? DIMS(13, 5) : DIMS(5, 13);
  struct mq_value *inputs[3] = {made->x, NULL, NULL};
  inputs[1] = c->has_computed_weights
                  ? net_op1(net, MQ_OP_Sigmoid, "squash", net_learned(net, "w", shape, -2, 2))
                  : net_constant(net, "w", shape, -1, 1);
  if (c->bias_rank >= 0) inputs[2] = net_constant(net, "b", dims(c->bias_rank, c->bias), -1, 1);
  struct mq_value *y = net_op(net, MQ_OP_Gemm, "gemm", inputs, c->bias_rank >= 0 ? 3 : 2);
  net_set_int(net, y, "transB", c->is_b_transposed);
  net_set_float(net, y, "alpha", c->alpha);
  net_set_float(net, y, "beta", c->beta);
  made->y = net_op1(net, MQ_OP_Sigmoid, "sigmoid", y);
}

static void test_gemm(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof gemms / sizeof *gemms; i++)
    check_gradients(gemms[i].name, build_gemm, &gemms[i], TOLERANCE);
}

/* Both operands are parameters: what comes of them is the batch's. A' B' with A transposed, C a column. */
static void build_parameters_only(struct gradient_case *made, struct net *net, const void *parameters) {
  (void)parameters;
  struct mq_value *inputs[] = {net_learned(net, "a", DIMS(3, 5), -1, 1),
                               net_learned(net, "b", DIMS(3, 4), -1, 1),
                               net_learned(net, "c", DIMS(5, 1), -1, 1)};
  struct mq_value *w = net_op(net, MQ_OP_Gemm, "gemm", inputs, 3);
  net_set_int(net, w, "transA", 1);
  made->x = net_data(net, "x", DIMS(5, 4));
  made->y = net_op2(net, MQ_OP_Mul, "mul", made->x, w);
}

/* A bias that is computed, for every image another one. */
static void build_computed_bias(struct gradient_case *made, struct net *net, const void *parameters) {
  (void)parameters;
  made->x = net_data(net, "x", DIMS(5));
  struct mq_value *inputs[] = {net_data(net, "a", DIMS(3)), net_constant(net, "w", DIMS(3, 5), -1, 1),
                               made->x};
  made->y = net_op1(net, MQ_OP_Sigmoid, "sigmoid", net_op(net, MQ_OP_Gemm, "gemm", inputs, 3));
}

static void test_other_gemm(void **state) {
  (void)state;
  check_gradients("parameters_only", build_parameters_only, NULL, TOLERANCE);
  check_gradients("computed_bias", build_computed_bias, NULL, TOLERANCE);
}

/* ---- MatMul ---------------------------------------------------------------------------------- */
struct matmul_case {
  const char *name;
  int rank, other_rank; /* of one image of x; of the other operand */
  int64_t dim[3], other[4];
  bool is_data; /* the other operand is data too (its images lead), not parameters */
  bool is_left; /* the other operand stands on the left */
};

static const struct matmul_case matmuls[] = {
    {"matrix", 1, 2, {5}, {5, 13}, false, false},
    {"tokens", 2, 2, {3, 5}, {5, 7}, false, false},
    {"planes", 3, 2, {2, 3, 5}, {5, 4}, false, false},
    {"matrix_on_the_left", 2, 2, {5, 4}, {3, 5}, false, true},
    {"batch_of_matrices", 3, 3, {3, 2, 5}, {3, 5, 4}, false, false},
    {"broadcast_matrices", 3, 3, {3, 2, 5}, {1, 5, 4}, false, false},
    {"vector", 2, 1, {3, 5}, {5}, false, false},
    {"vector_on_the_left", 2, 1, {5, 3}, {5}, false, true},
    {"two_computed", 2, 2, {3, 5}, {5, 4}, true, false},
    {"two_computed_planes", 3, 3, {2, 3, 5}, {2, 5, 13}, true, false},
    {"two_computed_broadcast", 3, 3, {4, 3, 5}, {1, 5, 2}, true, false},
};

static void build_matmul(struct gradient_case *made, struct net *net, const void *parameters) {
  const struct matmul_case *c = parameters;
  struct mq_shape other = dims(c->other_rank, c->other);
  made->x = net_data(net, "x", dims(c->rank, c->dim));
  struct mq_value *w = c->is_data ? net_data(net, "w", other) : net_learned(net, "w", other, -1, 1);
  struct mq_value *y =
      c->is_left ? net_op2(net, MQ_OP_MatMul, "f", w, made->x) : net_op2(net, MQ_OP_MatMul, "f", made->x, w);
  made->y = net_op1(net, MQ_OP_Sigmoid, "sigmoid", y);
}

static void test_matmul(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof matmuls / sizeof *matmuls; i++)
    check_gradients(matmuls[i].name, build_matmul, &matmuls[i], TOLERANCE);
}

/* x W + b, W and b graph constants as exporters leave them. */
static void build_exported(struct gradient_case *made, struct net *net, const void *parameters) {
  (void)parameters;
  made->x = net_data(net, "x", DIMS(3, 5));
  struct mq_value *y =
      net_op2(net, MQ_OP_MatMul, "matmul", made->x, net_constant(net, "w", DIMS(5, 13), -1, 1));
  made->y = net_op1(net, MQ_OP_Sigmoid, "sigmoid",
                    net_op2(net, MQ_OP_Add, "add", net_vector(net, "b", 13, -1, 1), y));
}

/* softmax(x w' x) x: one head of attention, x read three times, once transposed. */
static void build_attention(struct gradient_case *made, struct net *net, const void *parameters) {
  (void)parameters;
  made->x = net_data(net, "x", DIMS(5, 3));
  struct mq_value *keys = net_op1(net, MQ_OP_Transpose, "transpose", made->x);
  SET_INTS(net, keys, "perm", 0, 2, 1);
  struct mq_value *scores = net_op2(net, MQ_OP_MatMul, "scores", made->x, keys);
  struct mq_value *weights = net_op1(net, MQ_OP_Softmax, "softmax", scores);
  net_set_int(net, weights, "axis", -1);
  made->y = net_op2(net, MQ_OP_MatMul, "mix", weights, made->x);
}

static void build_square(struct gradient_case *made, struct net *net, const void *parameters) {
  (void)parameters;
  made->x = net_data(net, "x", DIMS(4, 4));
  made->y = net_op2(net, MQ_OP_MatMul, "square", made->x, made->x);
}

static void test_networks(void **state) {
  (void)state;
  check_gradients("exported", build_exported, NULL, TOLERANCE);
  check_gradients("attention", build_attention, NULL, 2 * TOLERANCE);
  check_gradients("square", build_square, NULL, TOLERANCE);
}

/* ---- Refusals -------------------------------------------------------------------------------- */
static void expect(struct net *net, struct mq_value *y, mq_status status, const char *part) {
  const struct mq_trainer_options options = {.batch = 2, .slice_images = 2};
  struct mq_trainer *trainer;
  struct mq_pool *pool;
  struct mq_err err = {0};
  net_output(net, net_op1(net, MQ_OP_Flatten, "logits", y));
  net_check(net, mq_graph_infer(net->graph, true, &net->err));
  assert_ok(mq_pool_create(&pool, 1, mq_kernel_start_worker, &err));
  mq_status made = mq_trainer_create(&trainer, net->graph, &options, pool, &err);
  if (made != status) fail_msg("status %d: %s", made, err.message);
  if (status) {
    assert_null(trainer);
    if (!strstr(err.message, part)) fail_msg("'%s' does not name %s", err.message, part);
  }
  mq_trainer_destroy(trainer);
  mq_pool_destroy(pool);
  mq_graph_destroy(net->graph);
}

static struct mq_value *cast(struct net *net, const char *name, struct mq_value *x, int64_t to) {
  struct mq_value *y = net_op1(net, MQ_OP_Cast, name, x);
  net_set_int(net, y, "to", to);
  y->dtype = 0;
  return y;
}

enum {
  ONNX_FLOAT = 1,
  ONNX_INT32 = 6
};

/* Whole numbers stand between the parameters and the loss. */
static void test_refuses_cast(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "cast");
  struct mq_value *x = net_data(&net, "x", DIMS(3, 2, 2));
  x = cast(&net, "to_int", x, ONNX_INT32);
  expect(&net, net_unary(&net, MQ_OP_Relu, "relu", cast(&net, "to_float", x, ONNX_FLOAT)), MQ_BAD_INPUT,
         "node to_float (Cast)");
}

/* The same numbers come from the input alone: nothing behind them learns. */
static void test_takes_cast_of_input(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "cast_of_input");
  struct mq_value *x = net_input(&net, "input", net_shape(3, 2, 2));
  x = cast(&net, "to_float", cast(&net, "to_int", x, ONNX_INT32), ONNX_FLOAT);
  expect(&net, net_op2(&net, MQ_OP_Mul, "mul", x, net_learned(&net, "w", DIMS(3, 1, 1), 0, 1)), MQ_OK, "");
}

/* What nobody's loss depends on may be anything. */
static void test_takes_cast_aside(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "cast_aside");
  struct mq_value *x = net_data(&net, "x", DIMS(3, 2, 2));
  cast(&net, "to_int", x, ONNX_INT32);
  expect(&net, net_unary(&net, MQ_OP_Relu, "relu", x), MQ_OK, "");
}

static void test_refuses_quantize(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "quantize");
  struct mq_value *x = net_data(&net, "x", DIMS(3, 2, 2));
  struct mq_value *scale = net_constant(&net, "scale", (struct mq_shape){.rank = 0}, 0.1f, 0.1f);
  struct mq_value *q = net_op2(&net, MQ_OP_QuantizeLinear, "quantize", x, scale);
  q->dtype = 0;
  expect(&net, net_op2(&net, MQ_OP_DequantizeLinear, "dequantize", q, scale), MQ_BAD_INPUT, "quantize");
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_gemm),
      cmocka_unit_test(test_other_gemm),
      cmocka_unit_test(test_matmul),
      cmocka_unit_test(test_networks),
      cmocka_unit_test(test_refuses_cast),
      cmocka_unit_test(test_takes_cast_of_input),
      cmocka_unit_test(test_takes_cast_aside),
      cmocka_unit_test(test_refuses_quantize),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
