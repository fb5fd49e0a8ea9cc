/* The exact simulation of small networks against their integer programs: not one code may differ, whatever
 * the target, the bits and the arithmetic. Each was written from docs/arithmetic.md without the other. */
#include <math.h>

#include "help_graphs.h"
#include "help_lower.h"

static const char *const targets[] = {"academic", "tensorrt", "acl",    "tvm",
                                      "snpe",     "fbgemm",   "tflite", "xnnpack"};

static void residual(struct net *net) {
  net_residual(net, false);
}

static void projection(struct net *net) {
  net_residual(net, true);
}

/* Windows at the edge, of which only a part lies inside, with and without padding that counts; a transposed
 * and a depthwise convolution, one with holes; a sum of different shapes. */
static void windows(struct net *net) {
  net_begin(net, "windows");
  static const int64_t kernel[] = {3, 3}, pads[] = {1, 1, 1, 1}, two[] = {2, 2};
  struct mq_value *x = net_conv(net, net_input(net, "input", net_shape(3, 9, 9)), "conv1", 8, 3, 1, 1);
  x = net_unary(net, MQ_OP_Relu, "relu1", net_clip(net, x, "clip1", -0.5f, 3));
  for (int counts = 0; counts < 2; counts++) {
    x = net_node(net, MQ_OP_AveragePool, counts ? "pool2" : "pool1", &x, 1, net_shape(8, 9, 9));
    net_check(net, mq_node_set_ints(net->graph, x->producer, "kernel_shape", kernel, 2, &net->err));
    net_check(net, mq_node_set_ints(net->graph, x->producer, "pads", pads, 4, &net->err));
    net_check(net, mq_node_set_int(net->graph, x->producer, "count_include_pad", counts, &net->err));
  }
  struct mq_value *up[] = {
      x, net_constant(net, "up.weight", (struct mq_shape){.rank = 4, .dim = {8, 6, 2, 2}}, -0.3f, 0.3f)};
  x = net_node(net, MQ_OP_ConvTranspose, "up", up, 2, net_shape(6, 18, 18));
  net_check(net, mq_node_set_ints(net->graph, x->producer, "strides", two, 2, &net->err));
  struct mq_value *deep[] = {
      x, net_constant(net, "deep.weight", (struct mq_shape){.rank = 4, .dim = {6, 1, 3, 3}}, -0.5f, 0.5f)};
  struct mq_value *y = net_node(net, MQ_OP_Conv, "deep", deep, 2, net_shape(6, 18, 18));
  net_check(net, mq_node_set_int(net->graph, y->producer, "group", 6, &net->err));
  net_check(net, mq_node_set_ints(net->graph, y->producer, "dilations", two, 2, &net->err));
  static const int64_t wide[] = {2, 2, 2, 2};
  net_check(net, mq_node_set_ints(net->graph, y->producer, "pads", wide, 4, &net->err));
  struct mq_value *spread = net_node(net, MQ_OP_GlobalAveragePool, "spread", &x, 1, net_shape(6, 1, 1));
  struct mq_value *sum[] = {y, spread};
  y = net_node(net, MQ_OP_Add, "add", sum, 2, net_shape(6, 18, 18));
  net_output(
      net, net_gemm(net, net_flatten(net, net_window(net, MQ_OP_MaxPool, y, "max", 3), "flatten"), "fc", 10));
}

static struct mq_value *resize(struct net *net, struct mq_value *x, const char *name, const char *mode,
                               const char *coordinates, int64_t h, int64_t w) {
  const int64_t sizes[] = {1, x->shape.dim[1], h, w};
  struct mq_value *inputs[] = {x, NULL, NULL, net_ints(net, "sizes", sizes, 4)};
  struct mq_value *y = net_node(net, MQ_OP_Resize, name, inputs, 4, net_shape(x->shape.dim[1], h, w));
  net_check(net, mq_node_set_string(net->graph, y->producer, "mode", mode, &net->err));
  net_check(net, mq_node_set_string(net->graph, y->producer, "coordinate_transformation_mode", coordinates,
                                    &net->err));
  return y;
}

/* Interpolated between layers and by nearest, larger and smaller, along one axis alone. */
static void resizes(struct net *net) {
  net_begin(net, "resizes");
  net->graph->opset = 13;
  struct mq_value *x = net_conv(net, net_input(net, "input", net_shape(3, 7, 6)), "conv1", 8, 3, 1, 1);
  x = resize(net, net_unary(net, MQ_OP_Relu, "relu1", x), "linear", "linear", "half_pixel", 14, 12);
  x = net_unary(net, MQ_OP_Relu, "relu2", net_conv(net, x, "conv2", 5, 3, 2, 1));
  x = resize(net, x, "cubic", "cubic", "align_corners", 5, 6);
  x = resize(net, net_conv(net, x, "conv3", 5, 3, 1, 1), "nearest", "nearest", "asymmetric", 10, 9);
  net_output(net, net_gemm(net, net_flatten(net, x, "flatten"), "fc", 10));
}

static const struct {
  const char *name;
  void (*build)(struct net *net);
} nets[] = {{"residual", residual},   {"projection", projection}, {"inverted", net_inverted},
            {"concats", net_concats}, {"norms", net_norms},       {"squeeze_excite", net_squeeze_excite},
            {"windows", windows},     {"resizes", resizes}};

enum {
  N_TARGETS = sizeof targets / sizeof targets[0],
  N_NETS = sizeof nets / sizeof nets[0]
};

static struct mq_graph *build(size_t i) {
  struct net net;
  nets[i].build(&net);
  net_check(&net, mq_graph_infer(net.graph, true, &net.err));
  return net.graph;
}

static int n_compared;

/* False: the arithmetic has no program for these scales. */
static bool expect_equal(struct lowered *lowered, const char *what) {
  struct mq_lowered made;
  struct compared result;
  struct mq_err err = {0};
  if (mq_lower(&made, &lowered->prepared, lowered->target, &err) != MQ_OK) {
    if (!strstr(err.message, "no such step") && !strstr(err.message, "expected"))
      fail_msg("%s: %s", what, err.message);
    return false;
  }
  compare_exact(&result, lowered, &made.program);
  if (result.n_missed > 0 || result.differing > 0 || result.worst_output > 0)
    fail_msg("%s: %zu points (%zu missed), %lld of %lld codes differ, by %d at most (%s); output %g", what,
             result.n_points, result.n_missed, (long long)result.differing, (long long)result.n, result.most,
             result.tensor, result.worst_output);
  mq_lowered_deinit(&made);
  n_compared++;
  return true;
}

static void every_target_and_width(void **state) {
  (void)state;
  static const int bits[][2] = {{8, 8}, {4, 4}, {2, 2}, {8, 4}, {4, 8}};
  for (size_t n = 0; n < N_NETS; n++) {
    for (size_t t = 0; t < N_TARGETS; t++) {
      for (size_t b = 0; b < sizeof bits / sizeof bits[0]; b++) {
        if (test_leaves_out((int64_t)((n * N_TARGETS + t) * 5 + b))) continue;
        struct lowered lowered;
        char what[128];
        snprintf(what, sizeof what, "%s, %s, %d/%d bits", nets[n].name, targets[t], bits[b][0], bits[b][1]);
        make_calibrated(&lowered, build(n), targets[t], bits[b][0], bits[b][1]);
        assert_true(expect_equal(&lowered, what));
        drop_calibrated(&lowered);
      }
    }
  }
}

/* Any arithmetic over any target's points, as far as it has a program there. */
static void every_arithmetic(void **state) {
  (void)state;
  static const char *const arithmetics[] = {"tflite_ref", "xnnpack",   "fbgemm",
                                            "ort",        "trt_model", "dequant_f32"};
  n_compared = 0;
  for (size_t n = 0; n < N_NETS; n++) {
    for (size_t t = 0; t < N_TARGETS; t++) {
      struct lowered lowered;
      char what[128];
      make_calibrated(&lowered, build(n), targets[t], 0, 0);
      for (size_t a = 0; a < sizeof arithmetics / sizeof arithmetics[0]; a++) {
        snprintf(what, sizeof what, "%s, %s with %s", nets[n].name, targets[t], arithmetics[a]);
        lowered.target->arithmetic = arithmetics[a];
        bool has_zeros = strcmp(targets[t], "tvm") != 0 && strcmp(targets[t], "tensorrt") != 0 && t > 0;
        if (strcmp(arithmetics[a], "trt_model") != 0 || !has_zeros) expect_equal(&lowered, what);
      }
      drop_calibrated(&lowered);
    }
  }
  assert_in_range(n_compared, 150, 500);
}

static void ties_to_even(void **state) {
  (void)state;
  for (size_t n = 0; n < N_NETS; n++) {
    struct lowered lowered;
    make_calibrated(&lowered, build(n), "tvm", 0, 0);
    lowered.target->pot_half_even = true;
    assert_true(expect_equal(&lowered, nets[n].name));
    drop_calibrated(&lowered);
  }
}

static void of_16_bits(void **state) {
  (void)state;
  n_compared = 0;
  for (size_t n = 0; n < N_NETS; n++) {
    for (size_t t = 0; t < N_TARGETS; t++) {
      struct lowered lowered;
      char what[128];
      snprintf(what, sizeof what, "%s, %s, 8/16 bits", nets[n].name, targets[t]);
      make_calibrated(&lowered, build(n), targets[t], 8, 16);
      expect_equal(&lowered, what);
      drop_calibrated(&lowered);
    }
  }
  assert_in_range(n_compared, 20, 60);
}

/* Scales that are powers of two times `factor`: sums lie on ties all the time, and below 1 codes on the
 * bounds. */
static void set_scales(struct lowered *lowered, float factor) {
  for (size_t i = 0; i < lowered->prepared.n_points; i++) {
    struct mq_point *point = &lowered->prepared.points[i];
    for (int64_t c = 0; c < point->qparams.n_channels; c++) {
      float scale = ldexpf(1, (int)lroundf(log2f(point->qparams.scale[c])));
      point->qparams.scale[c] = point->kind == MQ_POINT_ACTIVATION ? factor * scale : scale;
    }
  }
}

static void on_ties_and_bounds(void **state) {
  (void)state;
  static const float factors[] = {1, 0.25f, 0.75f, 3};
  for (size_t n = 0; n < N_NETS; n++) {
    for (size_t t = 0; t < N_TARGETS; t++) {
      for (size_t f = 0; f < sizeof factors / sizeof factors[0]; f++) {
        if (test_leaves_out((int64_t)((n * N_TARGETS + t) * 4 + f))) continue;
        struct lowered lowered;
        char what[128];
        if (strcmp(targets[t], "tvm") == 0 && f > 1) continue;
        snprintf(what, sizeof what, "%s, %s, scales times %g", nets[n].name, targets[t], (double)factors[f]);
        make_calibrated(&lowered, build(n), targets[t], 0, 0);
        set_scales(&lowered, factors[f]);
        assert_true(expect_equal(&lowered, what));
        drop_calibrated(&lowered);
      }
    }
  }
}

/* Nodes kept float between points: their sums and averages are no sums of codes. */
static void float_islands(void **state) {
  (void)state;
  static const char *const names[] = {"/add/", "/pool/", "/^pool1$/", "/^add1$/"};
  n_compared = 0;
  for (size_t n = 0; n < N_NETS; n++) {
    for (size_t t = 1; t < N_TARGETS; t++) {
      for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct lowered lowered;
        struct mq_target *target;
        struct mq_prepared prepared;
        struct mq_err err = {0};
        struct mq_graph *graph = build(n);
        const struct mq_layer_override override = {.layer = names[i], .keep_float = true};
        const struct mq_prepare_options options = {.overrides = &override, .n_overrides = 1};
        assert_ok(mq_target_load(&target, targets[t], &err));
        mq_status status = mq_prepare(&prepared, graph, target, &options, &err); /* none of that name? */
        if (status == MQ_OK) mq_prepared_deinit(&prepared);
        mq_target_destroy(target);
        if (status != MQ_OK) {
          mq_graph_destroy(graph);
          continue;
        }
        make_calibrated_with(&lowered, graph, targets[t], &options);
        expect_equal(&lowered, names[i]);
        drop_calibrated(&lowered);
      }
    }
  }
  assert_in_range(n_compared, 20, 150);
}

/* Layers kept float, with a bias and without, in groups, transposed, with holes, with a norm behind them. */
static void kept_layers(void **state) {
  (void)state;
  static const char *const names[] = {"/^(conv1|conv|dw1|dw2|dw|expand3|se_up|up|fc1?)$/",
                                      "/^(conv0|conv2|down|stem|pw1|head|squeeze|grow|deep|fc2?)$/"};
  for (size_t n = 0; n < N_NETS; n++) {
    for (size_t t = 0; t < N_TARGETS; t++) {
      for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (test_leaves_out((int64_t)((n * N_TARGETS + t) * 2 + i))) continue;
        struct lowered lowered;
        char what[128];
        const struct mq_layer_override override = {.layer = names[i], .keep_float = true};
        const struct mq_prepare_options options = {.overrides = &override, .n_overrides = 1};
        snprintf(what, sizeof what, "%s, %s, kept layers %zu", nets[n].name, targets[t], i);
        make_calibrated_with(&lowered, build(n), targets[t], &options);
        assert_true(expect_equal(&lowered, what));
        drop_calibrated(&lowered);
      }
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_target_and_width),
      cmocka_unit_test(every_arithmetic),
      cmocka_unit_test(ties_to_even),
      cmocka_unit_test(of_16_bits),
      cmocka_unit_test(on_ties_and_bounds),
      cmocka_unit_test(float_islands),
      cmocka_unit_test(kept_layers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
