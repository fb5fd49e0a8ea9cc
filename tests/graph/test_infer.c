/* Shapes of every operator, over the forms of the opsets. */
#include <math.h>

#include "graph/help_graph.h"

/* One node on x (and constants), inferred with a free batch. */
static void expect_unary(mq_op op, int opset, struct mq_shape in, struct mq_shape out) {
  struct mq_graph *graph = help_create(opset);
  struct mq_value *y = help_node(graph, op, IN(help_input(graph, "x", in)));
  help_expect(graph, y, out);
  mq_graph_destroy(graph);
}

static void test_elementwise(void **state) {
  (void)state;
  static const mq_op ops[] = {MQ_OP_Relu,       MQ_OP_Sigmoid,  MQ_OP_HardSigmoid, MQ_OP_HardSwish,
                              MQ_OP_LeakyRelu,  MQ_OP_Identity, MQ_OP_Clip,        MQ_OP_Dropout,
                              MQ_OP_LogSoftmax, MQ_OP_Softmax,  MQ_OP_FakeQuantize};
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
    expect_unary(ops[i], 7, DIMS(-1, 3, 4, 5), DIMS(N, 3, 4, 5));
    expect_unary(ops[i], 13, DIMS(1, 3, 4, 5), DIMS(N, 3, 4, 5));
    expect_unary(ops[i], 17, DIMS(8, 3), DIMS(N, 3));
  }
  static const mq_op binary[] = {MQ_OP_Add, MQ_OP_Sub, MQ_OP_Mul, MQ_OP_Div};
  for (size_t i = 0; i < sizeof binary / sizeof *binary; i++) {
    struct mq_graph *graph = help_create(13);
    struct mq_value *x = help_input(graph, "x", DIMS(-1, 3, 4, 5));
    struct mq_value *y = help_node(graph, binary[i], IN(x, help_weights(graph, DIMS(3, 1, 1))));
    struct mq_value *z = help_node(graph, binary[i], IN(help_weights(graph, DIMS(1, 1, 1, 1)), y));
    struct mq_value *v = help_node(graph, binary[i], IN(z, help_node(graph, MQ_OP_GlobalAveragePool, IN(x))));
    help_expect(graph, v, DIMS(N, 3, 4, 5));
    mq_graph_destroy(graph);
  }
}

static void test_elementwise_failures(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3, 4, 5));
  help_node(graph, MQ_OP_Add, IN(x, help_weights(graph, DIMS(4, 1, 1))));
  help_expect_failure(graph, "g.onnx: node 'n' (Add): shapes Nx3x4x5 and 4x1x1 do not broadcast");
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 3));
  help_node(graph, MQ_OP_Add, IN(x, help_int(graph, 3)));
  help_expect_failure(graph, "inputs are float32 and int64, expected one type");
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 3));
  help_node(graph, MQ_OP_Add, IN(x));
  help_expect_failure(graph, "node 'n' (Add): 1 inputs, expected 2 to 2");
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 1));
  help_node(graph, MQ_OP_Add, IN(x, help_node(graph, MQ_OP_Transpose, IN(x))));
  help_expect_failure(graph, "combines every image of the batch with every other");
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 3, 4, 4));
  help_node(graph, MQ_OP_PRelu, IN(x, help_weights(graph, DIMS(3))));
  help_expect_failure(graph, "do not broadcast");
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 3));
  struct mq_value *nothing;
  struct mq_err err;
  help_ok(mq_graph_add_value(&nothing, graph, "ghost", (mq_dtype)0, NULL, &err), &err);
  help_node(graph, MQ_OP_Add, IN(x, nothing));
  help_expect_failure(graph, "input 'ghost' is produced by no node");
  graph = help_create(12);
  x = help_input(graph, "x", DIMS(-1, 3));
  help_node(graph, MQ_OP_Dropout, IN(x, NULL, help_weights(graph, SCALAR), help_int(graph, 1)));
  help_expect_failure(graph, "4 inputs, expected 1 to 3");
  graph = help_create(12);
  x = help_input(graph, "x", DIMS(-1, 3));
  help_node(graph, MQ_OP_Dropout, IN(x, NULL, help_int(graph, 1)));
  help_expect_failure(graph, "training_mode is on");
}

/* kernel 3x2 convolution of x[N 4 9 10] with pads, strides, dilations. */
static void test_conv(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(11);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 4, 9, 10));
  struct mq_value *y = help_node(graph, MQ_OP_Conv,
                                 IN(x, help_weights(graph, DIMS(6, 2, 3, 2)), help_weights(graph, DIMS(6))));
  help_set_int(y, "group", 2);
  help_set_ints(y, "strides", INTS(2, 1));
  help_set_ints(y, "pads", INTS(1, 0, 0, 3));
  help_set_ints(y, "dilations", INTS(1, 2));
  help_expect(graph, y, DIMS(N, 6, 4, 11));
  struct mq_window window;
  struct mq_err err;
  help_ok(mq_node_get_window(&window, y->producer, &err), &err);
  assert_int_equal(window.groups, 2);
  assert_int_equal(window.pad_end[1], 3);
  assert_int_equal(window.kernel[0], 3);
  mq_graph_destroy(graph);
  /* 1-D is 2-D with a leading 1. */
  graph = help_create(11);
  x = help_input(graph, "x", DIMS(-1, 4, 9));
  y = help_node(graph, MQ_OP_Conv, IN(x, help_weights(graph, DIMS(6, 4, 3))));
  help_set_ints(y, "pads", INTS(1, 1));
  help_set_ints(y, "strides", INTS(2));
  help_expect(graph, y, DIMS(N, 6, 5));
  help_ok(mq_node_get_window(&window, y->producer, &err), &err);
  assert_int_equal(window.spatial_rank, 1);
  assert_int_equal(window.kernel[0], 1);
  assert_int_equal(window.kernel[1], 3);
  assert_int_equal(window.stride[1], 2);
  assert_int_equal(window.pad_begin[0], 0);
  mq_graph_destroy(graph);
}

static void expect_auto_pad(const char *mode, int64_t stride, int64_t size, int64_t begin, int64_t end) {
  struct mq_graph *graph = help_create(11);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 4, 10, 10));
  struct mq_value *y = help_node(graph, MQ_OP_Conv, IN(x, help_weights(graph, DIMS(6, 4, 3, 3))));
  help_set_string(y, "auto_pad", mode);
  help_set_ints(y, "strides", INTS(stride, stride));
  help_expect(graph, y, DIMS(N, 6, size, size));
  struct mq_window window;
  struct mq_err err;
  help_ok(mq_node_get_window(&window, y->producer, &err), &err);
  assert_int_equal(window.pad_begin[0], begin);
  assert_int_equal(window.pad_end[1], end);
  mq_graph_destroy(graph);
}

static void test_auto_pad(void **state) {
  (void)state;
  expect_auto_pad("SAME_UPPER", 2, 5, 0, 1);
  expect_auto_pad("SAME_LOWER", 2, 5, 1, 0);
  expect_auto_pad("SAME_UPPER", 1, 10, 1, 1);
  expect_auto_pad("SAME_UPPER", 4, 3, 0, 1);
  expect_auto_pad("VALID", 2, 4, 0, 0);
  expect_auto_pad("NOTSET", 2, 4, 0, 0);
  struct mq_graph *graph = help_create(11);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 4, 10, 10));
  struct mq_value *y = help_node(graph, MQ_OP_Conv, IN(x, help_weights(graph, DIMS(6, 4, 3, 3))));
  help_set_string(y, "auto_pad", "same");
  help_expect_failure(graph, "auto_pad is 'same', expected NOTSET");
}

static void expect_conv_failure(struct mq_shape in, struct mq_shape weights, const char *name,
                                const int64_t *ints, int n, const char *message) {
  struct mq_graph *graph = help_create(11);
  struct mq_value *x = help_input(graph, "x", in);
  struct mq_value *y = help_node(graph, MQ_OP_Conv, IN(x, help_weights(graph, weights)));
  if (name) {
    help_set_ints(y, name, ints, n);
  }
  help_expect_failure(graph, message);
}

static void test_conv_failures(void **state) {
  (void)state;
  struct mq_shape image = DIMS(-1, 4, 8, 8), weights = DIMS(2, 4, 3, 3);
  expect_conv_failure(DIMS(-1, 3, 8, 8), weights, NULL, NULL, 0,
                      "input has 3 channels, the weights (group 1) expect 4");
  expect_conv_failure(image, weights, "strides", INTS(0, 1),
                      "attribute 'strides' has the entry 0, expected 1");
  expect_conv_failure(image, weights, "strides", INTS(1), "attribute 'strides' has 1 entries, expected 2");
  expect_conv_failure(image, weights, "pads", INTS(1, 1), "attribute 'pads' has 2 entries, expected 4");
  expect_conv_failure(image, weights, "pads", INTS(-1, 1, 1, 1), "negative");
  expect_conv_failure(image, weights, "dilations", INTS(INT64_MAX, 1), "attribute 'dilations'");
  expect_conv_failure(image, weights, "dilations", INTS(9, 9), "the window does not fit");
  expect_conv_failure(image, weights, "kernel_shape", INTS(5, 5), "disagree");
  expect_conv_failure(DIMS(-1, 4, 8, 8, 8), DIMS(2, 4, 3, 3, 3), NULL, NULL, 0,
                      "input has 5 dimensions, expected 3 or 4");
  expect_conv_failure(image, DIMS(2, 4, 3), NULL, NULL, 0, "weights have 3 dimensions, expected 4");
}

static void expect_transposed(const char *name, const int64_t *ints, int n, const char *auto_pad,
                              int64_t size, int64_t begin, int64_t end) {
  struct mq_graph *graph = help_create(11);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 4, 5, 5));
  struct mq_value *y = help_node(graph, MQ_OP_ConvTranspose, IN(x, help_weights(graph, DIMS(4, 3, 4, 4))));
  help_set_ints(y, "strides", INTS(3, 3));
  if (name) {
    help_set_ints(y, name, ints, n);
  }
  if (auto_pad) {
    help_set_string(y, "auto_pad", auto_pad);
  }
  help_expect(graph, y, DIMS(N, 3, size, size));
  struct mq_window window;
  struct mq_err err;
  help_ok(mq_node_get_window(&window, y->producer, &err), &err);
  assert_int_equal(window.pad_begin[1], begin);
  assert_int_equal(window.pad_end[1], end);
  mq_graph_destroy(graph);
}

static void test_conv_transpose(void **state) {
  (void)state;
  expect_transposed(NULL, NULL, 0, NULL, 16, 0, 0);
  expect_transposed("pads", INTS(1, 1, 2, 2), NULL, 13, 1, 2);
  expect_transposed("output_padding", INTS(2, 2), NULL, 18, 0, 0);
  expect_transposed(NULL, NULL, 0, "SAME_UPPER", 15, 0, 1);
  expect_transposed(NULL, NULL, 0, "SAME_LOWER", 15, 1, 0);
  expect_transposed("output_shape", INTS(14, 14), NULL, 14, 1, 1);
  expect_transposed("output_shape", INTS(17, 17), NULL, 17, 0, 0);
}

static void expect_pool(mq_op op, int64_t size, int64_t kernel, int64_t stride, int64_t pad, bool is_ceil,
                        const char *auto_pad, int64_t out) {
  struct mq_graph *graph = help_create(12);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3, size, size));
  struct mq_value *y = help_node(graph, op, IN(x));
  help_set_ints(y, "kernel_shape", INTS(kernel, kernel));
  help_set_ints(y, "strides", INTS(stride, stride));
  if (pad) {
    help_set_ints(y, "pads", INTS(pad, pad, pad, pad));
  }
  help_set_int(y, "ceil_mode", is_ceil);
  if (auto_pad) {
    help_set_string(y, "auto_pad", auto_pad);
  }
  help_expect(graph, y, DIMS(N, 3, out, out));
  mq_graph_destroy(graph);
}

static void test_pools(void **state) {
  (void)state;
  static const mq_op ops[] = {MQ_OP_MaxPool, MQ_OP_AveragePool};
  for (int i = 0; i < 2; i++) {
    expect_pool(ops[i], 112, 3, 2, 1, false, NULL, 56);
    expect_pool(ops[i], 113, 3, 2, 0, true, NULL, 56);
    expect_pool(ops[i], 112, 3, 2, 0, true, NULL, 56);
    expect_pool(ops[i], 112, 3, 2, 0, false, NULL, 55);
    expect_pool(ops[i], 4, 2, 3, 1, true, NULL, 2); /* a third window would begin in the end pad */
    expect_pool(ops[i], 7, 3, 2, 0, false, "SAME_UPPER", 4);
    expect_pool(ops[i], 7, 3, 2, 0, true, "SAME_LOWER", 4);
    expect_pool(ops[i], 7, 3, 2, 0, true, "VALID", 3);
  }
  expect_unary(MQ_OP_GlobalAveragePool, 7, DIMS(-1, 3, 4, 5), DIMS(N, 3, 1, 1));
  expect_unary(MQ_OP_GlobalMaxPool, 7, DIMS(-1, 3, 4), DIMS(N, 3, 1));
  /* ceil_mode as PyTorch wrote it before opset 10: the pad shrinks to what the windows reach. */
  struct mq_graph *graph = help_create(9);
  struct mq_value *y = help_node(graph, MQ_OP_MaxPool, IN(help_input(graph, "x", DIMS(-1, 3, 14, 15))));
  help_set_ints(y, "kernel_shape", INTS(3, 3));
  help_set_ints(y, "strides", INTS(2, 2));
  help_set_ints(y, "pads", INTS(1, 1, 3, 2));
  help_expect(graph, y, DIMS(N, 3, 8, 8));
  struct mq_window window;
  struct mq_err err;
  help_ok(mq_node_get_window(&window, y->producer, &err), &err);
  assert_int_equal(window.pad_end[0], 2);
  assert_int_equal(window.pad_end[1], 1);
  help_set_ints(y, "pads", INTS(1, 1, 5, 2));
  help_expect_failure(graph, "a window would lie in the padding only");
  graph = help_create(12);
  help_node(graph, MQ_OP_MaxPool, IN(help_input(graph, "x", DIMS(-1, 3, 4, 4))));
  help_expect_failure(graph, "no attribute 'kernel_shape'");
}

static void test_matrices(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(7);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 20));
  struct mq_value *y =
      help_node(graph, MQ_OP_Gemm, IN(x, help_weights(graph, DIMS(10, 20)), help_weights(graph, DIMS(10))));
  help_set_int(y, "transB", 1);
  struct mq_value *z = help_node(graph, MQ_OP_Gemm, IN(y, help_weights(graph, DIMS(10, 4))));
  help_expect(graph, z, DIMS(N, 4));
  mq_graph_destroy(graph);
  graph = help_create(7);
  x = help_input(graph, "x", DIMS(-1, 6, 20));
  y = help_node(graph, MQ_OP_MatMul, IN(x, help_weights(graph, DIMS(20, 7))));
  z = help_node(graph, MQ_OP_MatMul, IN(help_weights(graph, DIMS(2, 6)), y));
  struct mq_value *v = help_node(graph, MQ_OP_MatMul, IN(z, help_weights(graph, DIMS(7))));
  help_expect(graph, v, DIMS(N, 2));
  mq_graph_destroy(graph);
  graph = help_create(7);
  x = help_input(graph, "x", DIMS(-1, 20));
  y = help_node(graph, MQ_OP_Gemm, IN(x, help_weights(graph, DIMS(10, 21))));
  help_set_int(y, "transB", 1);
  help_expect_failure(graph, "inner dimensions are 20 and 21, expected equal ones");
  graph = help_create(7);
  x = help_input(graph, "x", DIMS(-1, 20));
  help_node(graph, MQ_OP_MatMul, IN(help_weights(graph, DIMS(4, 1)), x));
  help_expect_failure(graph, "sums over the images of the batch");
}

static void test_batch_normalization(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(15);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3, 4, 4)), *c = help_weights(graph, DIMS(3));
  struct mq_value *y = help_node(graph, MQ_OP_BatchNormalization, IN(x, c, c, c, c));
  help_expect(graph, y, DIMS(N, 3, 4, 4));
  help_set_int(y, "training_mode", 1);
  help_expect_failure(graph, "training_mode is on, expected a model exported for inference");
  graph = help_create(7);
  x = help_input(graph, "x", DIMS(-1, 3, 4, 4));
  c = help_weights(graph, DIMS(4));
  help_node(graph, MQ_OP_BatchNormalization, IN(x, c, c, c, c));
  help_expect_failure(graph, "input 1 ('w') does not have one element per channel");
}

static void expect_reduction(int opset, const int64_t *axes, int n, bool is_input, int keeps,
                             struct mq_shape out) {
  struct mq_graph *graph = help_create(opset);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3, 4, 5));
  struct mq_value *y = is_input ? help_node(graph, MQ_OP_ReduceMean, IN(x, help_ints(graph, axes, n)))
                                : help_node(graph, MQ_OP_ReduceMean, IN(x));
  if (!is_input) {
    help_set_ints(y, "axes", axes, n);
  }
  if (keeps >= 0) {
    help_set_int(y, "keepdims", keeps);
  }
  help_expect(graph, y, out);
  mq_graph_destroy(graph);
}

static void test_reductions(void **state) {
  (void)state;
  expect_reduction(7, INTS(2, 3), false, -1, DIMS(N, 3, 1, 1));
  expect_reduction(13, INTS(-1, -2), false, 0, DIMS(N, 3));
  expect_reduction(18, INTS(3), true, 0, DIMS(N, 3, 4));
  struct mq_graph *graph = help_create(13);
  help_node(graph, MQ_OP_ReduceMean, IN(help_input(graph, "x", DIMS(-1, 3))));
  help_expect_failure(graph, "reduces over the images of the batch (axis 0)");
  graph = help_create(18);
  struct mq_value *y = help_node(graph, MQ_OP_ReduceMean, IN(help_input(graph, "x", DIMS(-1, 3))));
  help_set_int(y, "noop_with_empty_axes", 1);
  help_expect(graph, y, DIMS(N, 3));
  mq_graph_destroy(graph);
}

/* Before opset 13 softmax flattens from its axis on. */
static void test_softmax_axes(void **state) {
  (void)state;
  static const struct {
    int opset;
    int64_t axis;
    int first, last;
  } cases[] = {{11, 99, 1, 3}, {13, 99, 3, 3}, {11, 2, 2, 3}, {13, 2, 2, 2}, {12, -1, 3, 3}, {13, -3, 1, 1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mq_graph *graph = help_create(cases[i].opset);
    struct mq_value *y = help_node(graph, MQ_OP_Softmax, IN(help_input(graph, "x", DIMS(-1, 3, 4, 5))));
    if (cases[i].axis != 99) {
      help_set_int(y, "axis", cases[i].axis);
    }
    help_expect(graph, y, DIMS(N, 3, 4, 5));
    int first, last;
    struct mq_err err;
    help_ok(mq_node_get_softmax(&first, &last, y->producer, &err), &err);
    assert_int_equal(first, cases[i].first);
    assert_int_equal(last, cases[i].last);
    mq_graph_destroy(graph);
  }
  struct mq_graph *graph = help_create(11);
  struct mq_value *y = help_node(graph, MQ_OP_Softmax, IN(help_input(graph, "x", DIMS(-1, 3))));
  help_set_int(y, "axis", 0);
  help_expect_failure(graph, "normalises over the images of the batch");
}

static void test_concat_split(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(11);
  struct mq_err err;
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 6, 4, 4));
  struct mq_value *y = help_node(graph, MQ_OP_Concat, IN(x, x, x));
  help_set_int(y, "axis", -3);
  struct mq_value *parts[3];
  for (int i = 0; i < 3; i++) {
    help_ok(mq_graph_add_value(&parts[i], graph, "part", (mq_dtype)0, NULL, &err), &err);
  }
  struct mq_node *split;
  help_ok(mq_graph_add_node(&split, graph, MQ_OP_Split, "s", &y, 1, parts, 3, &err), &err);
  help_ok(mq_node_set_int(graph, split, "axis", 1, &err), &err);
  help_expect(graph, parts[2], DIMS(N, 6, 4, 4));
  help_ok(mq_node_set_ints(graph, split, "split", (int64_t[]){3, 5, 10}, 3, &err), &err);
  help_expect(graph, parts[1], DIMS(N, 5, 4, 4));
  /* Opset 13: an input. */
  mq_node_remove_attr(split, "split");
  graph->opset = 13;
  help_ok(mq_graph_set_input(graph, split, 1, help_ints(graph, INTS(10, 4, 4)), &err), &err);
  help_expect(graph, parts[0], DIMS(N, 10, 4, 4));
  /* Opset 18: num_outputs, the last part smaller. */
  help_ok(mq_graph_set_input(graph, split, 1, NULL, &err), &err);
  graph->opset = 18;
  help_ok(mq_node_set_int(graph, split, "num_outputs", 3, &err), &err);
  help_ok(mq_node_set_int(graph, split, "axis", 2, &err), &err);
  help_expect(graph, parts[2], DIMS(N, 18, 0, 4));
  help_expect(graph, parts[0], DIMS(N, 18, 2, 4));
  help_ok(mq_node_set_int(graph, split, "axis", 0, &err), &err);
  help_expect_failure(graph, "a dimension of the batch cannot be split into 3 equal parts");
  graph = help_create(11);
  x = help_input(graph, "x", DIMS(-1, 6, 4, 4));
  y = help_node(graph, MQ_OP_Concat, IN(x, help_weights(graph, DIMS(1, 6, 4, 5))));
  help_set_int(y, "axis", 1);
  help_expect_failure(graph,
                      "input 1 is float32 1x6x4x5, expected as input 0 (float32 Nx6x4x4) but along axis 1");
  graph = help_create(11);
  x = help_input(graph, "x", DIMS(-1, 6));
  y = help_node(graph, MQ_OP_Concat, IN(x, x));
  help_set_int(y, "axis", 0);
  help_expect_failure(graph, "joins along the batch");
}

static struct mq_value *slice(struct mq_graph *graph, struct mq_value *x, struct mq_value *starts,
                              struct mq_value *ends, struct mq_value *axes, struct mq_value *steps) {
  return help_node(graph, MQ_OP_Slice, IN(x, starts, ends, axes, steps));
}

static void test_slice_pad(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(9);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 6, 9, 9));
  struct mq_value *y = help_node(graph, MQ_OP_Slice, IN(x));
  help_set_ints(y, "starts", INTS(0, 1));
  help_set_ints(y, "ends", INTS(INT64_MAX, -1));
  help_set_ints(y, "axes", INTS(0, 3));
  help_expect(graph, y, DIMS(N, 6, 9, 7));
  mq_graph_destroy(graph);
  graph = help_create(10);
  x = help_input(graph, "x", DIMS(-1, 6, 9, 9));
  y = slice(graph, x, help_ints(graph, INTS(-1, 100)), help_ints(graph, INTS(INT64_MIN, 0)),
            help_ints(graph, INTS(2, -1)), help_ints(graph, INTS(-2, -3)));
  help_expect(graph, y, DIMS(N, 6, 5, 3));
  struct mq_slicing slicing;
  struct mq_err err;
  help_ok(mq_node_get_slicing(&slicing, y->producer, &err), &err);
  assert_int_equal(slicing.start[2], 8);
  assert_int_equal(slicing.step[2], -2);
  assert_int_equal(slicing.start[3], 8);
  assert_int_equal(slicing.count[0], N);
  mq_graph_destroy(graph);
  graph = help_create(10);
  x = help_input(graph, "x", DIMS(-1, 6));
  slice(graph, x, help_ints(graph, INTS(0)), help_ints(graph, INTS(1)), help_ints(graph, INTS(0)), NULL);
  help_expect_failure(graph, "takes images 0 to 1 (step 1) out of the batch");
  /* The same in a file of batch 1 is all of them. */
  graph = help_create(10);
  x = help_input(graph, "x", DIMS(1, 6));
  y = slice(graph, x, help_ints(graph, INTS(0)), help_ints(graph, INTS(1)), help_ints(graph, INTS(0)), NULL);
  help_expect(graph, y, DIMS(N, 6));
  mq_graph_destroy(graph);

  graph = help_create(2);
  x = help_input(graph, "x", DIMS(-1, 6, 9, 9));
  y = help_node(graph, MQ_OP_Pad, IN(x));
  help_set_ints(y, "pads", INTS(0, 0, 1, -2, 0, 3, 1, 0));
  help_set_float(y, "value", 2);
  help_expect(graph, y, DIMS(N, 9, 11, 7));
  mq_graph_destroy(graph);
  graph = help_create(18);
  x = help_input(graph, "x", DIMS(-1, 6, 9, 9));
  y = help_node(
      graph, MQ_OP_Pad,
      IN(x, help_ints(graph, INTS(1, 2, 3, 4)), help_weights(graph, SCALAR), help_ints(graph, INTS(-1, 2))));
  help_expect(graph, y, DIMS(N, 6, 15, 13));
  help_set_string(y, "mode", "reflect");
  help_expect(graph, y, DIMS(N, 6, 15, 13));
  help_set_string(y, "mode", "mirror");
  help_expect_failure(graph, "mode is 'mirror', expected constant, reflect, edge or wrap");
  graph = help_create(11);
  x = help_input(graph, "x", DIMS(-1, 6));
  help_node(graph, MQ_OP_Pad, IN(x, help_ints(graph, INTS(1, 0, 0, 0))));
  help_expect_failure(graph, "pads the batch");
}

static void test_gather_transpose(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 6, 9, 8));
  struct mq_value *y = help_node(graph, MQ_OP_Gather, IN(x, help_ints(graph, INTS(0, 2))));
  help_set_int(y, "axis", 1);
  struct mq_value *z = help_node(graph, MQ_OP_Gather, IN(y, help_int(graph, 0)));
  help_set_int(z, "axis", -1);
  struct mq_value *v = help_node(graph, MQ_OP_Transpose, IN(z));
  help_set_ints(v, "perm", INTS(2, 0, 1));
  help_expect(graph, v, DIMS(9, N, 2));
  mq_graph_destroy(graph);
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 6));
  help_node(graph, MQ_OP_Gather, IN(x, help_int(graph, 0)));
  help_expect_failure(graph, "picks single images over the images of the batch");
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 6));
  y = help_node(graph, MQ_OP_Transpose, IN(x));
  help_set_ints(y, "perm", INTS(1, 1));
  help_expect_failure(graph, "perm is no permutation of 0 to 1");
}

static void test_squeeze_unsqueeze(void **state) {
  (void)state;
  static const int opsets[] = {11, 13};
  for (int i = 0; i < 2; i++) {
    struct mq_graph *graph = help_create(opsets[i]);
    struct mq_value *x = help_input(graph, "x", DIMS(-1, 6, 1, 1)), *y, *z;
    if (opsets[i] == 11) {
      y = help_node(graph, MQ_OP_Squeeze, IN(x));
      help_set_ints(y, "axes", INTS(3, -2));
      z = help_node(graph, MQ_OP_Unsqueeze, IN(y));
      help_set_ints(z, "axes", INTS(-1, 1));
    } else {
      y = help_node(graph, MQ_OP_Squeeze, IN(x, help_ints(graph, INTS(3, -2))));
      z = help_node(graph, MQ_OP_Unsqueeze, IN(y, help_ints(graph, INTS(-1, 1))));
    }
    help_expect(graph, y, DIMS(N, 6));
    help_expect(graph, z, DIMS(N, 1, 6, 1));
    mq_graph_destroy(graph);
  }
  expect_unary(MQ_OP_Squeeze, 13, DIMS(1, 6, 1, 1), DIMS(N, 6));
  struct mq_graph *graph = help_create(11);
  struct mq_value *y = help_node(graph, MQ_OP_Squeeze, IN(help_input(graph, "x", DIMS(1, 6))));
  help_set_ints(y, "axes", INTS(0));
  help_expect_failure(graph, "removes axis 0 of Nx6, which is the batch");
  graph = help_create(11);
  y = help_node(graph, MQ_OP_Squeeze, IN(help_input(graph, "x", DIMS(1, 6))));
  help_set_ints(y, "axes", INTS(1));
  help_expect_failure(graph, "removes axis 1 of Nx6, which is not of size 1");
  graph = help_create(11);
  y = help_node(graph, MQ_OP_Unsqueeze, IN(help_input(graph, "x", DIMS(1, 6))));
  help_set_ints(y, "axes", INTS(1, 1));
  help_expect_failure(graph, "axis 1 is named twice");
}

static void test_flatten(void **state) {
  (void)state;
  expect_unary(MQ_OP_Flatten, 9, DIMS(-1, 3, 4, 5), DIMS(N, 60));
  struct mq_graph *graph = help_create(11);
  struct mq_value *y = help_node(graph, MQ_OP_Flatten, IN(help_input(graph, "x", DIMS(-1, 1, 4, 5))));
  help_set_int(y, "axis", -2);
  help_expect(graph, y, DIMS(N, 20));
  help_set_int(y, "axis", 4);
  help_expect_failure(graph, "merges the batch with other dimensions of Nx1x4x5");
}

static void test_quantize(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3, 4, 5));
  struct mq_value *q = help_node(graph, MQ_OP_QuantizeLinear, IN(x, help_weights(graph, DIMS(3))));
  struct mq_value *y = help_node(graph, MQ_OP_DequantizeLinear, IN(q, help_weights(graph, SCALAR)));
  help_expect(graph, y, DIMS(N, 3, 4, 5));
  assert_int_equal(q->dtype, MQ_U8);
  assert_int_equal(y->dtype, MQ_F32);
  help_set_int(q, "axis", 2);
  help_expect_failure(graph, "scale is 3, expected one number or one per index of axis 2");
  /* Of constants: kept, their meaning matters. */
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 3));
  q = help_node(graph, MQ_OP_QuantizeLinear, IN(help_weights(graph, DIMS(3)), help_weights(graph, SCALAR)));
  y = help_node(graph, MQ_OP_Add,
                IN(x, help_node(graph, MQ_OP_DequantizeLinear, IN(q, help_weights(graph, SCALAR)))));
  help_expect(graph, y, DIMS(N, 3));
  assert_int_equal(graph->n_nodes, 3);
  mq_graph_destroy(graph);
}

static void test_cast(void **state) {
  (void)state;
  static const struct {
    int64_t code;
    mq_dtype dtype;
  } cases[] = {{1, MQ_F32}, {10, MQ_F32}, {11, MQ_F32}, {16, MQ_F32}, {7, MQ_I64}, {6, MQ_I32}, {9, MQ_BOOL}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mq_graph *graph = help_create(13);
    struct mq_value *y = help_node(graph, MQ_OP_Cast, IN(help_input(graph, "x", DIMS(-1, 3))));
    help_set_int(y, "to", cases[i].code);
    help_expect(graph, y, DIMS(N, 3));
    assert_int_equal(y->dtype, cases[i].dtype);
    mq_graph_destroy(graph);
  }
  struct mq_graph *graph = help_create(13);
  struct mq_value *y = help_node(graph, MQ_OP_Cast, IN(help_input(graph, "x", DIMS(-1, 3))));
  help_set_int(y, "to", 8);
  help_expect_failure(graph, "attribute 'to' is 8");
}

static void test_resize(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_resize resize;
  struct mq_graph *graph = help_create(10);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3, 10, 5));
  struct mq_value *y =
      help_node(graph, MQ_OP_Resize, IN(x, help_floats(graph, (float[]){1, 1, 0.7f, 2}, DIMS(4))));
  help_expect(graph, y, DIMS(N, 3, 7, 10));
  help_ok(mq_node_get_resize(&resize, y->producer, &err), &err);
  assert_int_equal(resize.coordinates, MQ_COORDINATES_ASYMMETRIC);
  assert_int_equal(resize.nearest, MQ_NEAREST_FLOOR);
  mq_graph_destroy(graph);

  graph = help_create(11);
  x = help_input(graph, "x", DIMS(1, 3, 10, 5));
  struct mq_value *none = help_floats(graph, (float[]){0}, DIMS(0));
  y = help_node(graph, MQ_OP_Resize, IN(x, none, none, help_ints(graph, INTS(1, 3, 20, 15))));
  help_set_string(y, "mode", "linear");
  help_set_string(y, "coordinate_transformation_mode", "align_corners");
  help_expect(graph, y, DIMS(N, 3, 20, 15));
  help_ok(mq_node_get_resize(&resize, y->producer, &err), &err);
  assert_int_equal(resize.coordinates, MQ_COORDINATES_ALIGN_CORNERS);
  assert_int_equal(resize.mode, MQ_RESIZE_LINEAR);
  assert_true(resize.scale[3] == 3 && resize.scale[0] == 1);
  mq_graph_destroy(graph);

  graph = help_create(18);
  x = help_input(graph, "x", DIMS(-1, 3, 10, 5));
  y = help_node(graph, MQ_OP_Resize, IN(x, NULL, NULL, help_ints(graph, INTS(20, 20))));
  help_set_ints(y, "axes", INTS(3, 2));
  help_expect(graph, y, DIMS(N, 3, 20, 20));
  help_set_string(y, "keep_aspect_ratio_policy", "not_larger");
  help_expect(graph, y, DIMS(N, 3, 20, 10));
  help_set_string(y, "keep_aspect_ratio_policy", "not_smaller");
  help_expect(graph, y, DIMS(N, 3, 40, 20));
  help_set_string(y, "mode", "area");
  help_expect_failure(graph, "mode is 'area', which is not known");
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 3, 10, 5));
  help_node(graph, MQ_OP_Resize, IN(x, NULL, help_floats(graph, (float[]){2, 1, 1, 1}, DIMS(4))));
  help_expect_failure(graph, "scale 2 along axis 0, which is the batch");
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 3, 10, 5));
  help_node(graph, MQ_OP_Resize, IN(x, NULL, NULL, NULL));
  help_expect_failure(graph, "neither scales nor sizes");
}

static void test_inputs(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  help_input(graph, "image", DIMS(-1, 3, -1, 224));
  help_expect_failure(graph, "g.onnx: graph input 'image': dimension 2 is symbolic, expected a number");
  /* Rank 1 and integer inputs carry no images; an input with another first dimension neither. */
  graph = help_create(13);
  struct mq_value *a = help_input(graph, "a", DIMS(4)), *b = help_input(graph, "b", DIMS(4, 7));
  struct mq_value *c = help_typed_input(graph, "c", MQ_I64, DIMS(4, 7));
  struct mq_value *d = help_input(graph, "d", DIMS(5, 7)),
                  *e = help_typed_input(graph, "e", MQ_U8, DIMS(4, 7));
  help_expect(graph, b, DIMS(N, 7));
  assert_int_equal(graph->file_batch, 4);
  assert_int_equal(a->shape.dim[0], 4);
  assert_int_equal(c->shape.dim[0], 4);
  assert_int_equal(d->shape.dim[0], 5);
  assert_int_equal(e->shape.dim[0], N);
  mq_graph_destroy(graph);
  graph = help_create(13); /* where a batch is open, numbers are no batch */
  a = help_input(graph, "a", DIMS(4, 7));
  b = help_input(graph, "b", DIMS(-1, 7));
  help_expect(graph, b, DIMS(N, 7));
  assert_int_equal(a->shape.dim[0], 4);
  mq_graph_destroy(graph);
  graph = help_create(13);
  b = help_input(graph, "b", DIMS(4, 7));
  help_expect_fixed(graph, b, DIMS(4, 7));
  struct mq_shape at_2 = mq_shape_at_batch(&DIMS(N, 7), 2);
  assert_int_equal(at_2.dim[0], 2);
  assert_true(mq_shape_has_batch(&DIMS(7, N)) && !mq_shape_has_batch(&DIMS(7)));
  mq_graph_destroy(graph);
}

static void test_counts(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 4, 8, 8)), *c = help_weights(graph, DIMS(6));
  struct mq_value *w = help_weights(graph, DIMS(6, 2, 3, 3));
  struct mq_value *y = help_node(graph, MQ_OP_Conv, IN(x, help_node(graph, MQ_OP_FakeQuantize, IN(w)), c));
  help_set_int(y, "group", 2);
  struct mq_value *z = help_node(graph, MQ_OP_BatchNormalization,
                                 IN(y, c, c, help_weights(graph, DIMS(6)), help_weights(graph, DIMS(6))));
  struct mq_value *f = help_node(graph, MQ_OP_Flatten, IN(z));
  struct mq_value *g = help_node(graph, MQ_OP_Gemm, IN(f, help_weights(graph, DIMS(216, 10))));
  help_expect(graph, g, DIMS(N, 10));
  struct mq_graph_counts counts;
  help_ok(mq_graph_count(&counts, graph, &err), &err);
  assert_int_equal(counts.nodes, 4); /* the point is none */
  assert_int_equal(counts.parameters, 108 + 6 + 2160);
  assert_int_equal(counts.macs, 6 * 6 * 6 * 18 + 2160);
  mq_graph_destroy(graph);
}

static struct mq_value *input4(struct mq_graph **graph, int opset) {
  *graph = help_create(opset);
  return help_input(*graph, "x", DIMS(4, 4, 6, 6));
}

/* What a file of four images says about four images would mean something else in the model written from it.
 */
static void test_literal_batch(void **state) {
  (void)state;
  struct mq_graph *graph;
  struct mq_value *x = input4(&graph, 13);
  struct mq_value *y = help_node(graph, MQ_OP_Resize, IN(x, NULL, NULL, help_ints(graph, INTS(4, 4, 9, 9))));
  help_expect(graph, y, DIMS(N, 4, 9, 9));
  help_expect_ints(y->producer->inputs[3], INTS(N, 4, 9, 9));
  mq_graph_destroy(graph);

  x = input4(&graph, 18);
  y = help_node(graph, MQ_OP_Resize, IN(x, NULL, NULL, help_ints(graph, INTS(9, 4))));
  help_set_ints(y, "axes", INTS(-1, 0));
  help_expect(graph, y, DIMS(N, 4, 6, 9));
  help_expect_ints(y->producer->inputs[3], INTS(9, N));
  mq_graph_destroy(graph);

  x = input4(&graph, 13);
  y = slice(graph, x, help_ints(graph, INTS(1, 0)), help_ints(graph, INTS(4, 4)),
            help_ints(graph, INTS(1, -4)), NULL);
  help_expect(graph, y, DIMS(N, 3, 6, 6));
  help_expect_ints(y->producer->inputs[2], INTS(4, INT64_MAX));
  mq_graph_destroy(graph);

  x = input4(&graph, 9);
  y = help_node(graph, MQ_OP_Slice, IN(x));
  help_set_ints(y, "starts", INTS(0, 1));
  help_set_ints(y, "ends", INTS(4, 4));
  help_expect(graph, y, DIMS(N, 3, 6, 6));
  assert_int_equal(mq_node_find_attr(y->producer, "ends")->as.ints[0], INT64_MAX);
  assert_int_equal(mq_node_find_attr(y->producer, "ends")->as.ints[1], 4);
  mq_graph_destroy(graph);

  x = input4(&graph, 13);
  help_node(graph, MQ_OP_Reshape, IN(x, help_ints(graph, INTS(1, -1))));
  help_expect_failure(graph, "without mixing the batch");
  x = input4(&graph, 13);
  help_node(graph, MQ_OP_Split, IN(x, help_ints(graph, INTS(4))));
  help_expect_failure(graph, "splits the batch");
}

/* Squeeze without axes removes every 1: in the written model that could be the batch. */
static void test_squeeze_keeps_the_batch(void **state) {
  (void)state;
  for (int opset = 11; opset <= 13; opset += 2) {
    struct mq_graph *graph = help_create(opset);
    struct mq_value *y = help_node(graph, MQ_OP_Squeeze, IN(help_input(graph, "x", DIMS(N, 6, 1, 1))));
    help_expect(graph, y, DIMS(N, 6));
    const struct mq_node *node = y->producer;
    assert_int_equal(node->n_inputs, opset == 11 ? 1 : 2);
    if (opset == 11) {
      assert_int_equal(mq_node_find_attr(node, "axes")->as.ints[1], 3);
    } else {
      help_expect_ints(node->inputs[1], INTS(2, 3));
    }
    mq_graph_destroy(graph);
    graph = help_create(opset);
    y = help_node(graph, MQ_OP_Squeeze, IN(help_input(graph, "x", DIMS(N, 6))));
    help_expect(graph, y, DIMS(N, 6));
    assert_int_equal(y->producer->op, MQ_OP_Identity);
    mq_graph_destroy(graph);
  }
}

static void expect_bounds(int opset, mq_op op, bool is_first, float lo, float hi) {
  struct mq_graph *graph = help_create(opset);
  struct mq_value *x = help_input(graph, "x", DIMS(N, 4, 6, 6));
  struct mq_value *six = help_floats(graph, (float[]){6}, DIMS(1, 1)), *y;
  y = is_first ? help_node(graph, op, IN(six, x)) : help_node(graph, op, IN(x, six));
  help_expect(graph, y, DIMS(N, 4, 6, 6));
  float found[2];
  struct mq_err err;
  assert_int_equal(y->producer->op, MQ_OP_Clip);
  assert_int_equal(y->producer->n_inputs, opset < 11 ? 1 : op == MQ_OP_Min ? 3 : 2);
  help_ok(mq_node_get_clip(&found[0], &found[1], y->producer, &err), &err);
  assert_true(found[0] == lo && found[1] == hi);
  mq_graph_destroy(graph);
}

static void test_min_max_of_a_number(void **state) {
  (void)state;
  for (int opset = 9; opset <= 13; opset += 2) {
    expect_bounds(opset, MQ_OP_Min, opset == 9, -INFINITY, 6);
    expect_bounds(opset, MQ_OP_Max, opset != 9, 6, INFINITY);
  }
  struct mq_graph *graph = help_create(13);
  help_node(graph, MQ_OP_Min, IN(help_input(graph, "x", DIMS(N, 4)), help_weights(graph, DIMS(4))));
  help_expect_failure(graph, "depends on the data");
}

static void test_images_in_the_second_operand(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *y =
      help_node(graph, MQ_OP_Gemm, IN(help_weights(graph, DIMS(5, 4)), help_input(graph, "x", DIMS(N, 4))));
  help_set_int(y, "transB", 1);
  help_expect_failure(graph, "input B holds the images");
  graph = help_create(13);
  y = help_node(graph, MQ_OP_Transpose, IN(help_input(graph, "x", DIMS(N, 4))));
  help_node(graph, MQ_OP_MatMul, IN(help_weights(graph, DIMS(5, 4)), y));
  help_expect_failure(graph, "columns of input B");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_literal_batch),
      cmocka_unit_test(test_squeeze_keeps_the_batch),
      cmocka_unit_test(test_min_max_of_a_number),
      cmocka_unit_test(test_images_in_the_second_operand),
      cmocka_unit_test(test_elementwise),
      cmocka_unit_test(test_elementwise_failures),
      cmocka_unit_test(test_conv),
      cmocka_unit_test(test_auto_pad),
      cmocka_unit_test(test_conv_failures),
      cmocka_unit_test(test_conv_transpose),
      cmocka_unit_test(test_pools),
      cmocka_unit_test(test_matrices),
      cmocka_unit_test(test_batch_normalization),
      cmocka_unit_test(test_reductions),
      cmocka_unit_test(test_softmax_axes),
      cmocka_unit_test(test_concat_split),
      cmocka_unit_test(test_slice_pad),
      cmocka_unit_test(test_gather_transpose),
      cmocka_unit_test(test_squeeze_unsqueeze),
      cmocka_unit_test(test_flatten),
      cmocka_unit_test(test_quantize),
      cmocka_unit_test(test_cast),
      cmocka_unit_test(test_resize),
      cmocka_unit_test(test_inputs),
      cmocka_unit_test(test_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
