/* QuantizeLinear and DequantizeLinear against a plain loop over the elements: the same bits, whether each is
 * a step of its own or both are one. */
#include <math.h>

#include "engine/step.h"
#include "help_graphs.h"
#include "help_run.h"
#include "mqbench/quant.h"

#define IMAGES 3
#define CHANNELS 7

static const mq_dtype dtypes[] = {MQ_U8, MQ_I8, MQ_U16, MQ_I16};
static const int32_t quant_min[] = {0, -128, 0, -32768}, quant_max[] = {255, 127, 65535, 32767};
#define N_DTYPES 4

/* ---- Graphs ------------------------------------------------------------------------------------- */
static struct mq_value *add_constant(struct net *net, const char *name, mq_dtype dtype, const void *data,
                                     int64_t n) {
  struct mq_shape shape = {.rank = n > 1, .dim = {n}};
  struct mq_tensor tensor = mq_tensor_view((void *)(uintptr_t)data, dtype, &shape, NULL);
  struct mq_value *value = NULL;
  net_check(net, mq_graph_add_constant(&value, net->graph, name, &tensor, &net->err));
  return value;
}

static struct mq_value *add_zero_points(struct net *net, const char *name, mq_dtype dtype,
                                        const int32_t *values, int64_t n) {
  struct mq_shape shape = {.rank = 1, .dim = {n}};
  uint16_t block[CHANNELS] = {0};
  struct mq_tensor to = mq_tensor_view(block, dtype, &shape, NULL);
  struct mq_tensor from = mq_tensor_view((void *)(uintptr_t)values, MQ_I32, &shape, NULL);
  mq_tensor_copy(&to, &from);
  return add_constant(net, name, dtype, block, n);
}

static struct mq_value *add_linear(struct net *net, mq_op op, const char *name, struct mq_value *x,
                                   mq_dtype dtype, const float *scale, const int32_t *zero_point, int64_t n) {
  char text[64], zero_text[64], out_text[64];
  struct mq_value *y = NULL;
  struct mq_node *node = NULL;
  snprintf(text, sizeof text, "%s.scale", name);
  snprintf(zero_text, sizeof zero_text, "%s.zero", name);
  snprintf(out_text, sizeof out_text, "%s_out", name);
  struct mq_value *inputs[] = {x, add_constant(net, text, MQ_F32, scale, n),
                               add_zero_points(net, zero_text, dtype, zero_point, n)};
  net_check(net, mq_graph_add_value(&y, net->graph, out_text, op == MQ_OP_QuantizeLinear ? dtype : MQ_F32,
                                    &x->shape, &net->err));
  net_check(net, mq_graph_add_node(&node, net->graph, op, name, inputs, 3, &y, 1, &net->err));
  return y;
}

static size_t count_steps(const struct mq_graph *graph) {
  struct mq_err err = {0};
  struct mq_pool *pool = NULL;
  struct mq_engine *engine = NULL;
  struct mq_engine_options options = {.slice_images = 2};
  assert_ok(mq_pool_create(&pool, 1, mq_kernel_start_worker, &err));
  assert_ok(mq_engine_create(&engine, graph, &options, pool, &err));
  size_t n = engine->n_steps;
  mq_engine_destroy(engine);
  mq_pool_destroy(pool);
  return n;
}

/* ---- The reference ------------------------------------------------------------------------------ */
static int32_t reference_code(float x, float scale, int32_t zero_point, int k) {
  if (isnan(x)) {
    return zero_point;
  }
  double q = (double)rintf(x / scale) + zero_point;
  q = q < quant_min[k] ? quant_min[k] : q;
  return (int32_t)(q > quant_max[k] ? quant_max[k] : q);
}

static float reference_value(int32_t q, float scale, int32_t zero_point) {
  return (float)((int64_t)q - zero_point) * scale;
}

static int64_t channel_of(int64_t i, const struct mq_shape *shape) {
  return i / (shape->dim[2] * shape->dim[3]) % shape->dim[1];
}

/* Numbers about the grid, its middles and its ends, and what is hardly a number. */
static void make_input(struct mq_tensor *x, const struct mq_shape *like, float scale) {
  static const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 3e38f, -3e38f, 1e-40f};
  struct mq_err err = {0};
  struct mq_shape shape = mq_shape_at_batch(like, IMAGES);
  struct mq_rng rng;
  mq_rng_init(&rng, 3, MQ_RNG_TEST, 0, 0);
  assert_ok(mq_tensor_init(x, MQ_F32, &shape, &err));
  float *values = x->data;
  for (int64_t i = 0; i < mq_shape_count(&shape); i++) {
    float r = mq_rng_float(&rng);
    values[i] = i % 3 == 0   ? scale * (floorf(600 * r) - 300.5f)
                : i % 3 == 1 ? scale * (200000 * r - 100000)
                             : scale * (600 * r - 300);
    values[i] = i % 41 < 8 ? special[i % 41] : values[i];
  }
}

/* ---- Cases -------------------------------------------------------------------------------------- */
struct parameters {
  float scale[CHANNELS];
  int32_t zero_point[CHANNELS];
  int64_t n;
};

static struct parameters make_parameters(int k, int64_t n) {
  struct parameters p = {.n = n};
  for (int64_t c = 0; c < n; c++) {
    p.scale[c] = 0.0371f * (float)(c + 1);
    p.zero_point[c] = c % 3 == 0 ? quant_min[k] : c % 3 == 1 ? quant_max[k] : (int32_t)(5 * c);
  }
  if (n == 1) {
    p.zero_point[0] = quant_min[k] + 100;
  }
  return p;
}

static void check_float(const struct mq_tensor *y, int64_t i, float expected) {
  float found = ((const float *)y->data)[i];
  if (memcmp(&found, &expected, sizeof found) != 0) {
    fail_msg("element %d: %a, expected %a", (int)i, (double)found, (double)expected);
  }
}

/* The integers are an output too, so that each is a step of its own. */
static void check_linear(int k, int64_t n, bool shows_codes) {
  struct net net;
  struct mq_err err = {0};
  struct mq_tensor x = {0}, outputs[2] = {{0}};
  struct parameters p = make_parameters(k, n);
  net_begin(&net, "linear");
  struct mq_value *in = net_input(&net, "x", net_shape(CHANNELS, 13, 17));
  struct mq_value *q = add_linear(&net, MQ_OP_QuantizeLinear, "q", in, dtypes[k], p.scale, p.zero_point, p.n);
  struct mq_value *y =
      add_linear(&net, MQ_OP_DequantizeLinear, "dq", q, dtypes[k], p.scale, p.zero_point, p.n);
  net_output(&net, y);
  if (shows_codes) {
    net_output(&net, q);
  }
  net_check(&net, mq_graph_sort(net.graph, &net.err));
  make_input(&x, &in->shape, p.scale[0]);
  struct run_options options = {.slice_images = 2};
  assert_ok(run_graph(outputs, net.graph, &x, &options, &err));
  for (int64_t i = 0; i < mq_shape_count(&x.shape); i++) {
    int64_t c = n > 1 ? channel_of(i, &x.shape) : 0;
    int32_t code = reference_code(((const float *)x.data)[i], p.scale[c], p.zero_point[c], k);
    check_float(&outputs[0], i, reference_value(code, p.scale[c], p.zero_point[c]));
    if (shows_codes) {
      assert_int_equal(mq_tensor_get_int(&outputs[1], i), code);
    }
  }
  assert_int_equal(count_steps(net.graph), shows_codes || n > 1 ? 2 : 1);
  mq_tensor_deinit(&x);
  mq_tensor_deinit(&outputs[0]);
  mq_tensor_deinit(&outputs[1]);
  mq_graph_destroy(net.graph);
}

static void test_one_by_one(void **state) {
  (void)state;
  for (int k = 0; k < N_DTYPES; k++) {
    check_linear(k, 1, true);
    check_linear(k, CHANNELS, true);
    check_linear(k, CHANNELS, false);
  }
}

static void test_pair_is_one_step(void **state) {
  (void)state;
  for (int k = 0; k < N_DTYPES; k++) {
    check_linear(k, 1, false);
  }
}

/* Bias integers, whose difference from the zero point may need more than 32 bits. */
static void test_wide_integers(void **state) {
  (void)state;
  const int32_t codes[] = {0, 1, -1, INT32_MAX, INT32_MIN, 16777217, -123456789}, zero = 77;
  const float scale = 0.013f;
  struct net net;
  struct mq_err err = {0};
  struct mq_tensor x, y = {0};
  struct mq_shape shape = {.rank = 1, .dim = {7}};
  net_begin(&net, "wide");
  struct mq_value *in = NULL;
  net_check(&net, mq_graph_add_value(&in, net.graph, "x", MQ_I32, &shape, &net.err));
  net_check(&net, mq_graph_add_input(net.graph, in, &net.err));
  struct mq_value *scale_value = add_constant(&net, "scale", MQ_F32, &scale, 1);
  struct mq_value *inputs[] = {in, scale_value, add_constant(&net, "zero", MQ_I32, &zero, 1)};
  net_output(&net, net_node(&net, MQ_OP_DequantizeLinear, "dq", inputs, 3, shape));
  x = mq_tensor_view((void *)(uintptr_t)codes, MQ_I32, &shape, NULL);
  struct run_options options = {.slice_images = 2};
  assert_ok(run_graph(&y, net.graph, &x, &options, &err));
  for (int64_t i = 0; i < 7; i++) {
    check_float(&y, i, reference_value(codes[i], scale, zero));
  }
  mq_tensor_deinit(&y);
  mq_graph_destroy(net.graph);
}

/* Relu -> Q -> DQ and DQ, as exporters write it that give every reader a DQ of its own; both are read. */
static void build_shared(struct net *net, float second_scale) {
  const float scale = 0.05f;
  const int32_t zero = 0;
  net_begin(net, "shared");
  struct mq_value *x = net_unary(net, MQ_OP_Relu, "relu", net_input(net, "x", net_shape(3, 4, 4)));
  struct mq_value *q = add_linear(net, MQ_OP_QuantizeLinear, "q", x, MQ_U8, &scale, &zero, 1);
  struct mq_value *a = add_linear(net, MQ_OP_DequantizeLinear, "a", q, MQ_U8, &scale, &zero, 1);
  struct mq_value *b = add_linear(net, MQ_OP_DequantizeLinear, "b", q, MQ_U8, &second_scale, &zero, 1);
  net_output(net, net_binary(net, MQ_OP_Mul, "mul", net_unary(net, MQ_OP_Sigmoid, "sigmoid", a), b));
  net_check(net, mq_graph_sort(net->graph, &net->err));
}

static void check_shared(float second_scale, size_t n_steps) {
  struct net net;
  struct mq_err err = {0};
  struct mq_tensor x = {0}, fast = {0}, plain = {0};
  build_shared(&net, second_scale);
  make_input(&x, &net.graph->inputs[0]->shape, 0.01f);
  struct run_options options = {.slice_images = 2};
  assert_ok(run_graph(&fast, net.graph, &x, &options, &err));
  options.memory = MQ_MEMORY_KEEP_ALL; /* nothing is one step there */
  assert_ok(run_graph(&plain, net.graph, &x, &options, &err));
  assert_true(same_bits(&fast, &plain));
  assert_int_equal(count_steps(net.graph), n_steps);
  mq_tensor_deinit(&x);
  mq_tensor_deinit(&fast);
  mq_tensor_deinit(&plain);
  mq_graph_destroy(net.graph);
}

static void test_shared_codes(void **state) {
  (void)state;
  check_shared(0.05f, 4); /* relu, pair, sigmoid, mul */
  check_shared(0.06f, 6); /* what is made of the integers is not what they were made of */
}

/* Integers of fewer bits: a Clip between the two, of the integers themselves. */
static void check_clipped(int k, int32_t lo, int32_t hi) {
  struct net net;
  struct mq_err err = {0};
  struct mq_tensor x = {0}, y = {0};
  const float scale = 0.07f;
  const int32_t zero = lo + 2;
  net_begin(&net, "clipped");
  struct mq_value *input = net_input(&net, "x", net_shape(CHANNELS, 4, 5));
  struct mq_value *q = add_linear(&net, MQ_OP_QuantizeLinear, "q", input, dtypes[k], &scale, &zero, 1);
  struct mq_value *inputs[] = {q, add_zero_points(&net, "lo", dtypes[k], &lo, 1),
                               add_zero_points(&net, "hi", dtypes[k], &hi, 1)};
  struct mq_value *clipped = net_node(&net, MQ_OP_Clip, "clip", inputs, 3, q->shape);
  clipped->dtype = dtypes[k];
  net_output(&net, add_linear(&net, MQ_OP_DequantizeLinear, "dq", clipped, dtypes[k], &scale, &zero, 1));
  make_input(&x, &input->shape, scale);
  assert_ok(run_graph(&y, net.graph, &x, &(struct run_options){.slice_images = 2}, &err));
  for (int64_t i = 0; i < mq_shape_count(&x.shape); i++) {
    int32_t code = reference_code(((float *)x.data)[i], scale, zero, k);
    code = code < lo ? lo : code > hi ? hi : code;
    float expected = reference_value(code, scale, zero);
    assert_memory_equal(&((float *)y.data)[i], &expected, sizeof expected);
  }
  mq_tensor_deinit(&x);
  mq_tensor_deinit(&y);
  mq_graph_destroy(net.graph);
}

static void test_clipped_integers(void **state) {
  (void)state;
  check_clipped(0, 0, 15);
  check_clipped(0, 3, 200);
  check_clipped(1, -8, 7);
  check_clipped(1, -127, 127);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_by_one),       cmocka_unit_test(test_pair_is_one_step),
      cmocka_unit_test(test_wide_integers),    cmocka_unit_test(test_shared_codes),
      cmocka_unit_test(test_clipped_integers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
