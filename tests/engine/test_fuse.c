/* What is fused, done in place or quantized in place gives what the steps give one by one. The plan that
 * keeps all values fuses nothing and overwrites nothing, so it is the reference here (and ONNX's vectors are
 * its own). */
#include <math.h>

#include "help_graphs.h"
#include "help_run.h"

#define IMAGES 5

static void make_input(struct mq_tensor *input, const struct mq_graph *graph) {
  struct mq_err err = {0};
  struct mq_shape shape = mq_shape_at_batch(&graph->inputs[0]->shape, IMAGES);
  struct mq_rng rng;
  mq_rng_init(&rng, 7, MQ_RNG_TEST, 0, 0);
  assert_ok(mq_tensor_init(input, MQ_F32, &shape, &err));
  int64_t n = mq_shape_count(&shape);
  for (int64_t i = 0; i < n; i++) {
    ((float *)input->data)[i] = 4 * mq_rng_float(&rng) - 2;
  }
}

/* Fine points, so that a rounding that falls otherwise makes a small difference. */
static struct mq_point *fine_points(size_t n) {
  struct mq_err err = {0};
  struct mq_point *points = mq_alloc(n, sizeof *points);
  assert_non_null(points);
  for (size_t i = 0; i < n; i++) {
    struct mq_qparams *q = &points[i].qparams;
    assert_ok(mq_qparams_init(q, 1, -1, &err));
    q->scale[0] = 0x1p-11f;
    q->quant_min = -32768;
    q->quant_max = 32767;
  }
  return points;
}

static void free_points(struct mq_point *points, size_t n) {
  for (size_t i = 0; i < n; i++) {
    mq_qparams_deinit(&points[i].qparams);
  }
  mq_free(points);
}

/* value -> FakeQuantize -> all of its readers but those that come before. */
static struct mq_value *quantize(struct net *net, struct mq_value *value, int64_t point) {
  char name[200];
  struct mq_node *node;
  snprintf(name, sizeof name, "%s_fq%d", value->name, (int)point);
  struct mq_value *out = net_value(net, name, value->shape);
  net_check(net,
            mq_graph_add_node(&node, net->graph, MQ_OP_FakeQuantize, name, &value, 1, &out, 1, &net->err));
  net_check(net, mq_node_set_int(net->graph, node, "point", point, &net->err));
  return out;
}

/* A point on every float value something reads, weights too; the graph's own outputs stay. */
static size_t quantize_everything(struct net *net) {
  size_t n_values = net->graph->n_values, n_points = 0;
  for (size_t i = 0; i < n_values; i++) {
    struct mq_value *value = net->graph->values[i];
    bool is_parameter = value->constant && value->shape.rank < 2;
    if (value->n_uses == 0 || value->dtype != MQ_F32 || is_parameter) {
      continue;
    }
    struct mq_value *out = quantize(net, value, (int64_t)n_points++);
    net_check(net, mq_graph_replace_uses(net->graph, value, out, out->producer, &net->err));
  }
  net_check(net, mq_graph_sort(net->graph, &net->err));
  return n_points;
}

/* Runs as compiled for speed and as kept step by step; all outputs must agree. */
static void compare_plans_sliced(struct net *net, size_t n_points, double tolerance, int64_t slice_images) {
  struct mq_err err = {0};
  struct mq_tensor input = {0}, fast[4] = {{0}}, plain[4] = {{0}};
  struct mq_point *points = n_points ? fine_points(n_points) : NULL;
  struct run_options options = {
      .slice_images = slice_images, .simulates = n_points > 0, .points = points, .n_points = n_points};
  assert_ok(mq_graph_sort(net->graph, &err));
  make_input(&input, net->graph);
  assert_ok(run_graph(fast, net->graph, &input, &options, &err));
  options.memory = MQ_MEMORY_KEEP_ALL;
  assert_ok(run_graph(plain, net->graph, &input, &options, &err));
  for (size_t i = 0; i < net->graph->n_outputs; i++) {
    double error = largest_error(&fast[i], &plain[i], tolerance, tolerance);
    if (!(error <= 1)) {
      fail_msg("%s output %zu: error %g", net->graph->name, i, error);
    }
    mq_tensor_deinit(&fast[i]);
    mq_tensor_deinit(&plain[i]);
  }
  mq_tensor_deinit(&input);
  free_points(points, n_points);
}

static void compare_plans(struct net *net, size_t n_points, double tolerance) {
  compare_plans_sliced(net, n_points, tolerance, 2);
}

static void build_block(struct net *net, int which) {
  switch (which) {
    case 0:
      net_residual(net, false);
      break;
    case 1:
      net_residual(net, true);
      break;
    case 2:
      net_inverted(net);
      break;
    case 3:
      net_concats(net);
      break;
    default:
      net_squeeze_excite(net);
  }
}

static void test_blocks_float(void **state) {
  (void)state;
  for (int i = 0; i < 5; i++) {
    struct net net;
    build_block(&net, i);
    compare_plans(&net, 0, 2e-5);
    mq_graph_destroy(net.graph);
  }
}

static void test_blocks_simulated(void **state) {
  (void)state;
  for (int i = 0; i < 5; i++) {
    struct net net;
    build_block(&net, i);
    compare_plans(&net, quantize_everything(&net), 2e-2);
    mq_graph_destroy(net.graph);
  }
}

/* The residual is what is convolved: the sum must not be written over it. */
static void test_residual_of_its_own_input(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "own_input");
  struct mq_value *x = net_unary(&net, MQ_OP_Relu, "relu", net_input(&net, "input", net_shape(4, 6, 6)));
  struct mq_value *y = net_conv(&net, x, "conv", 4, 3, 1, 1);
  net_output(&net, net_unary(&net, MQ_OP_Relu, "end", net_binary(&net, MQ_OP_Add, "add", y, x)));
  compare_plans(&net, 0, 2e-5);
  mq_graph_destroy(net.graph);
}

/* Both operands come from convolutions, and the second one is computed first. */
static void test_two_convolutions_added(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "two_convolutions");
  struct mq_value *x = net_input(&net, "input", net_shape(4, 6, 6));
  struct mq_value *b = net_conv(&net, x, "b", 4, 1, 1, 1), *a = net_conv(&net, x, "a", 4, 3, 1, 1);
  struct mq_value *sum = net_binary(&net, MQ_OP_Add, "add", a, b);
  net_output(&net, net_clip(&net, sum, "clip", 0, 6));
  compare_plans(&net, 0, 2e-5);
  mq_graph_destroy(net.graph);
}

/* Values in the middle that are outputs, or read twice, survive. */
static void test_values_that_are_needed(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "needed");
  struct mq_value *x = net_conv(&net, net_input(&net, "input", net_shape(3, 6, 6)), "conv", 4, 3, 1, 1);
  struct mq_value *relu = net_unary(&net, MQ_OP_Relu, "relu", x);
  struct mq_value *sigmoid = net_unary(&net, MQ_OP_Sigmoid, "sigmoid", relu);
  net_output(&net, x);
  net_output(&net, net_binary(&net, MQ_OP_Mul, "mul", relu, sigmoid));
  net_output(&net, net_unary(&net, MQ_OP_HardSwish, "swish", relu));
  compare_plans(&net, 0, 2e-5);
  mq_graph_destroy(net.graph);
}

/* Constants per channel behind a convolution and a Gemm, then what cannot be fused any more. */
static void test_constants_per_channel(void **state) {
  (void)state;
  struct net net;
  struct mq_shape channels = {.rank = 4, .dim = {1, 4, 1, 1}};
  net_begin(&net, "constants");
  struct mq_value *x = net_conv(&net, net_input(&net, "input", net_shape(3, 6, 6)), "conv", 4, 3, 1, 1);
  x = net_binary(&net, MQ_OP_Mul, "scale", x, net_constant(&net, "gain", channels, 0.5f, 2));
  x = net_unary(&net, MQ_OP_Relu, "relu", x);
  x = net_binary(&net, MQ_OP_Add, "shift", x, net_constant(&net, "offset", channels, -1, 1));
  x = net_gemm(&net, net_flatten(&net, x, "flatten"), "fc", 7);
  net_output(&net, net_binary(&net, MQ_OP_Add, "bias", x, net_vector(&net, "row", 7, -1, 1)));
  compare_plans(&net, 0, 2e-5);
  mq_graph_destroy(net.graph);
}

/* One tensor with two points and a float reader: each sees what it should. */
static void test_two_points_on_a_value(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "two_points");
  struct mq_value *x = net_unary(&net, MQ_OP_Relu, "relu", net_input(&net, "input", net_shape(4, 6, 6)));
  struct mq_value *a = net_unary(&net, MQ_OP_Sigmoid, "a", quantize(&net, x, 0));
  struct mq_value *b = net_unary(&net, MQ_OP_HardSwish, "b", quantize(&net, x, 1));
  net_output(&net, net_binary(&net, MQ_OP_Add, "sum", net_binary(&net, MQ_OP_Mul, "mul", a, b), x));
  compare_plans(&net, 2, 1e-6);
  mq_graph_destroy(net.graph);
}

/* Images so large that a slice runs as several chunks. */
static void test_chunks(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "chunks");
  struct mq_value *x = net_conv(&net, net_input(&net, "input", net_shape(3, 256, 256)), "conv", 16, 3, 1, 1);
  x = net_conv(&net, net_unary(&net, MQ_OP_Relu, "relu", x), "next", 4, 1, 1, 1);
  net_output(&net, net_window(&net, MQ_OP_MaxPool, x, "pool", 8));
  compare_plans_sliced(&net, 0, 2e-5, 8);
  mq_graph_destroy(net.graph);
}

/* ---- Taps --------------------------------------------------------------------------------------- */
struct tapped {
  const struct mq_tensor *input;
  int n_calls;
};

static mq_status tap_fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                          struct mq_err *err) {
  (void)slice;
  (void)worker;
  (void)err;
  const struct tapped *tapped = context;
  mq_tensor_copy(&inputs[0], tapped->input);
  return MQ_OK;
}

/* relu(input), before its point rounds it to halves. */
static mq_status tap_value(void *context, size_t slice, unsigned worker, size_t tap, int64_t first_image,
                           const struct mq_tensor *value, struct mq_err *err) {
  (void)slice;
  (void)worker;
  (void)err;
  struct tapped *tapped = context;
  assert_int_equal(tap, 0);
  assert_int_equal(first_image, 0);
  int64_t n = mq_shape_count(&value->shape);
  for (int64_t i = 0; i < n; i++) {
    double x = mq_tensor_get_double(tapped->input, i);
    assert_true(mq_tensor_get_double(value, i) == (x > 0 ? x : 0));
  }
  tapped->n_calls++;
  return MQ_OK;
}

static void test_tap_sees_the_float_value(void **state) {
  (void)state;
  struct net net;
  struct mq_err err = {0};
  struct mq_tensor input = {0};
  struct mq_pool *pool;
  struct mq_engine *engine;
  net_begin(&net, "tap");
  struct mq_value *x = net_unary(&net, MQ_OP_Relu, "relu", net_input(&net, "input", net_shape(4, 6, 6)));
  const struct mq_value *taps[] = {x};
  net_output(&net, net_unary(&net, MQ_OP_Sigmoid, "end", quantize(&net, x, 0)));
  make_input(&input, net.graph);
  struct mq_point *points = fine_points(1);
  points[0].qparams.scale[0] = 0.5f;
  struct mq_engine_options options = {
      .slice_images = IMAGES, .simulates = true, .points = points, .n_points = 1, .taps = taps, .n_taps = 1};
  struct tapped tapped = {.input = &input};
  struct mq_engine_job job = {.context = &tapped, .n_slices = 1, .fill = tap_fill, .tap = tap_value};
  assert_ok(mq_pool_create(&pool, 1, NULL, &err));
  assert_ok(mq_engine_create(&engine, net.graph, &options, pool, &err));
  assert_ok(mq_engine_run(engine, &job, &err));
  assert_int_equal(tapped.n_calls, 1);
  assert_true(mq_engine_memory_bytes(engine) > 0);
  mq_engine_destroy(engine);
  mq_pool_destroy(pool);
  free_points(points, 1);
  mq_tensor_deinit(&input);
  mq_graph_destroy(net.graph);
}

/* ---- Refusals ----------------------------------------------------------------------------------- */
static void test_refusals(void **state) {
  (void)state;
  struct net net;
  struct mq_err err = {0};
  struct mq_tensor input = {0}, output = {0};
  struct run_options options = {.simulates = true};
  net_begin(&net, "refused");
  struct mq_value *x = net_input(&net, "input", net_shape(4, 6, 6));
  net_output(&net, net_unary(&net, MQ_OP_Relu, "relu", quantize(&net, x, 3)));
  make_input(&input, net.graph);
  assert_fails(MQ_BAD_INPUT, "point 3", run_graph(&output, net.graph, &input, &options, &err));
  mq_tensor_deinit(&input);
  mq_tensor_deinit(&output);
  mq_graph_destroy(net.graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_blocks_float),
      cmocka_unit_test(test_blocks_simulated),
      cmocka_unit_test(test_residual_of_its_own_input),
      cmocka_unit_test(test_two_convolutions_added),
      cmocka_unit_test(test_values_that_are_needed),
      cmocka_unit_test(test_constants_per_channel),
      cmocka_unit_test(test_two_points_on_a_value),
      cmocka_unit_test(test_chunks),
      cmocka_unit_test(test_tap_sees_the_float_value),
      cmocka_unit_test(test_refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
