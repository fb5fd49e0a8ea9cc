/* Small networks that ONNX Runtime, NNCF and PyTorch quantized (tests/reference/quantize_elsewhere.py
 * --small): the simulation beside ONNX Runtime without optimisations, the integer program beside its
 * operators on integers.
 */
#include "help_qdq.h"

#define FOLDER MQ_TESTS_DIRECTORY "/verify/qdq"

/* Of 120 elements (`average`: 192) those that may differ. */
static const struct {
  const char *name;
  size_t n_points, n_islands;
  int64_t most_float; /* between the simulation and the floats between the pairs: sums in another order */
  int64_t most_int;   /* between the program and ONNX Runtime's integers; -1: it computes something else */
} cases[] = {
    {"u8s8_channel", 20, 0, 6, 0},
    {"u8u8_tensor", 20, 0, 6, 0},  /* weights with zero points */
    {"s8s8_channel", 24, 0, 6, 0}, /* symmetric: activation functions stay, with a point before and behind */
    {"s8_relu_kept", 24, 0, 6, 0},
    {"float_weights", 20, 0, 6, 0}, /* floats, QuantizeLinear, DequantizeLinear */
    {"pair_per_reader", 20, 0, 6, 0},
    {"float_conv", 19, 1, 6, -1}, /* ONNX Runtime quantizes the weights itself */
    {"u16s8", 20, 0, 12, 120},    /* ONNX Runtime computes 16 bits in floats */
    {"linear", 10, 4, 6, 40},     /* adds quantized constants in integers, which are floats here */
    {"linear_s4", 10, 4, 6, 40},
    {"average", 7, 0, 30, 80}, /* many ties, and ONNX Runtime sums such a pool in floats */
    {"torch", 11, 0, 6, 0},    /* its own outputs; biases that are floats */
    {"pt2e", 8, 2, 6, 120},    /* the add and the mean are floats, which ONNX Runtime fuses into layers */
    {"nncf", 16, 0, 6, 120},   /* ONNX Runtime leaves adds and what is around them in floats */
    {"nncf_channels", 15, 2, 6, 120}, /* ONNX Runtime computes scales of channels in floats */
};

static void check(const struct qdq_case *c, size_t i) {
  const struct mq_prepared *prepared = &c->bundle.prepared;
  const struct qdq_difference simulated = qdq_simulate(c), program = qdq_run_program(c);
  if (prepared->n_points != cases[i].n_points || prepared->n_islands != cases[i].n_islands) {
    fail_msg("%s: %zu points, %zu islands", c->name, prepared->n_points, prepared->n_islands);
  }
  if (simulated.n_differing > cases[i].most_float || simulated.max_steps > 2.1) {
    fail_msg("%s: %d elements of the simulation differ, by %g steps", c->name, (int)simulated.n_differing,
             simulated.max_steps);
  }
  if (cases[i].most_int >= 0 && (program.n_differing > cases[i].most_int || program.max_steps > 2.1)) {
    fail_msg("%s: %d elements of the program differ, by %g steps", c->name, (int)program.n_differing,
             program.max_steps);
  }
  assert_int_equal(program.n_same_class, program.n_images);
}

static void gives_what_onnx_runtime_gives(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct qdq_case c;
    qdq_open(&c, FOLDER, cases[i].name, "x", 0);
    check(&c, i);
    qdq_close(&c);
  }
}

/* The exact simulation is the program, whoever made the points: every code of the outputs. */
static void exact_is_the_program(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct qdq_case c;
    struct mq_err err = {0};
    struct mq_tensor logits[2] = {{0}};
    qdq_open(&c, FOLDER, cases[i].name, "x", 0);
    const struct mq_prepared *prepared = &c.bundle.prepared;
    const struct mq_exact_rules rules = {.arithmetic = c.bundle.arithmetic,
                                         .pot_half_even = c.bundle.pot_half_even,
                                         .pool = c.bundle.pool,
                                         .islands = prepared->islands,
                                         .n_islands = prepared->n_islands};
    const struct mq_evaluate_options simulate = {
        .points = prepared->points, .n_points = prepared->n_points, .exact = &rules};
    const struct mq_program_evaluate_options run = {.loader_threads = 1};
    assert_ok(mq_predict(&logits[0], prepared->graph, c.data, 0, &simulate, c.pool, &err));
    assert_ok(
        mq_program_predict(&logits[1], c.bundle.program, prepared->graph, c.data, 0, &run, c.pool, &err));
    const float *a = logits[0].data, *b = logits[1].data;
    for (int64_t k = 0; k < mq_shape_count(&logits[0].shape); k++) {
      if (a[k] != b[k]) fail_msg("%s: %g exact, %g of the program", c.name, (double)a[k], (double)b[k]);
    }
    mq_tensor_deinit(&logits[0]);
    mq_tensor_deinit(&logits[1]);
    qdq_close(&c);
  }
}

/* A layer that was left out is an island. */
static void a_float_layer_is_told(void **state) {
  (void)state;
  struct qdq_case c;
  qdq_open(&c, FOLDER, "float_conv", "x", 0);
  const struct mq_island *island = c.bundle.prepared.islands;
  assert_int_equal(c.bundle.prepared.n_islands, 1);
  assert_string_equal(island->node->name, "conv10");
  assert_string_equal(island->reason, "its weights are floats in the model");
  qdq_close(&c);
}

/* Scales and zero points that differ from channel to channel have no integer form. */
static void what_has_no_integers_is_simulated(void **state) {
  (void)state;
  struct qdq_case c;
  qdq_open(&c, FOLDER, "nncf_zeros", "x", 0);
  const struct qdq_difference simulated = qdq_simulate(&c);
  assert_null(c.bundle.program);
  assert_non_null(strstr(c.bundle.no_program, "tensor 'hardswish5' has 6 scales along axis 1"));
  assert_null(strchr(c.bundle.no_program, '\n'));
  assert_true(simulated.n_differing <= 6 && simulated.max_steps < 0.01);
  qdq_close(&c);
}

static void open_for(struct mq_bundle *bundle, const char *name, const char *target, const char *says) {
  struct mq_err err = {0};
  char path[700];
  snprintf(path, sizeof path, FOLDER "/%s.onnx", name);
  mq_status status = mq_bundle_read_qdq(bundle, path, target, &err);
  if (status != (says ? MQ_BAD_INPUT : MQ_OK) || (says && !strstr(err.message, says))) {
    fail_msg("%s for %s: status %d, %s", name, target ? target : "no target", status, err.message);
  }
}

static const struct mq_point *point_of(const struct mq_bundle *bundle, const char *tensor) {
  for (size_t i = 0; i < bundle->prepared.n_points; i++) {
    if (!strcmp(bundle->prepared.points[i].tensor, tensor)) return &bundle->prepared.points[i];
  }
  fail_msg("no point %s", tensor);
  return NULL;
}

/* Schemes that a target does not have are refused; others move to its types without another meaning. */
static void a_target_takes_what_suits_it(void **state) {
  (void)state;
  struct mq_bundle bundle;
  open_for(&bundle, "u8s8_channel", "tensorrt",
           "point 'x' (activation uint8 asymmetric per-tensor): zero point");
  open_for(&bundle, "u8s8_channel", "snpe", "one scale for each channel, but snpe takes one for the tensor");
  open_for(&bundle, "s8s8_channel", "tvm", "scale 0.0317863151, but tvm takes powers of two");
  open_for(&bundle, "s8s8_channel", "tensorrt", NULL);
  assert_non_null(bundle.program);
  assert_string_equal(bundle.target, "tensorrt");
  assert_int_equal(bundle.bias, MQ_BIAS_FLOAT);
  mq_bundle_deinit(&bundle);
  struct mq_bundle file;
  open_for(&file, "s8_relu_kept", NULL, NULL);
  open_for(&bundle, "s8_relu_kept", "acl", NULL); /* its activations are unsigned */
  const struct mq_point *before = point_of(&file, "x"), *after = point_of(&bundle, "x");
  assert_true(before->qparams.is_signed && !after->qparams.is_signed);
  assert_int_equal(before->qparams.zero_point[0] + 128, after->qparams.zero_point[0]);
  assert_int_equal(after->qparams.quant_min, 0);
  assert_int_equal(after->qparams.quant_max, 255);
  mq_bundle_deinit(&file);
  mq_bundle_deinit(&bundle);
}

/* What replaced an activation function is kept in the floats: clipped, not rounded. */
static void floats_keep_the_ranges(void **state) {
  (void)state;
  struct qdq_case c;
  struct mq_err err = {0};
  struct mq_graph *graph;
  struct mq_tensor logits[2] = {{0}};
  qdq_open(&c, FOLDER, "u8s8_channel", "x", 0);
  const struct mq_prepared *prepared = &c.bundle.prepared;
  const struct mq_evaluate_options simulate = {.points = prepared->points, .n_points = prepared->n_points};
  const struct mq_evaluate_options plain = {.points = NULL};
  assert_ok(mq_prepare_qdq_float(&graph, prepared, &err));
  assert_ok(mq_predict(&logits[0], prepared->graph, c.data, 0, &simulate, c.pool, &err));
  assert_ok(mq_predict(&logits[1], graph, c.data, 0, &plain, c.pool, &err));
  double error = 0, power = 0;
  for (int64_t i = 0; i < mq_shape_count(&logits[0].shape); i++) {
    double a = (double)((float *)logits[0].data)[i], b = (double)((float *)logits[1].data)[i];
    error += (a - b) * (a - b);
    power += a * a;
  }
  assert_true(error > 0 && error < 2e-3 * power); /* without the ranges: a multiple of the power */
  for (int i = 0; i < 2; i++)
    mq_tensor_deinit(&logits[i]);
  mq_graph_destroy(graph);
  qdq_close(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gives_what_onnx_runtime_gives), cmocka_unit_test(exact_is_the_program),
      cmocka_unit_test(a_float_layer_is_told),         cmocka_unit_test(what_has_no_integers_is_simulated),
      cmocka_unit_test(a_target_takes_what_suits_it),  cmocka_unit_test(floats_keep_the_ranges)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
