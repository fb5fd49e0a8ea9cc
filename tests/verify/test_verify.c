/* Simulation, program, executors and engines side by side. */
#include <math.h>
#include <unistd.h>

#include "help_graphs.h"
#include "help_verify.h"
#include "mqbench/load.h"

#define MODELS MQ_TESTS_DIRECTORY "/load/models/"
#define IMAGES 5

static char scratch[512], data[700];

/* Images uniform in [-1, 2) as 3 x 16 x 16. */
static int set_up(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_rng rng;
  struct mq_tensor images;
  char path[600];
  const struct mq_shape shape = {.rank = 4, .dim = {IMAGES, 3, 16, 16}};
  strcpy(scratch, make_test_directory());
  snprintf(path, sizeof path, "%s/x.npy", scratch);
  snprintf(data, sizeof data, "npy:%s", path);
  mq_rng_init(&rng, 3, MQ_RNG_TEST, 0, 0);
  if (mq_tensor_init(&images, MQ_F32, &shape, &err) != MQ_OK) return 1;
  for (int64_t i = 0; i < mq_shape_count(&shape); i++)
    ((float *)images.data)[i] = 3 * mq_rng_float(&rng) - 1;
  mq_status status = mq_npy_write(path, &images, &err);
  mq_tensor_deinit(&images);
  return status == MQ_OK ? 0 : 1;
}

static int tear_down(void **state) {
  (void)state;
  remove_test_directory(scratch);
  return 0;
}

static struct mq_graph *read_model(const char *name) {
  struct mq_err err = {0};
  struct mq_graph *graph;
  char path[700];
  snprintf(path, sizeof path, MODELS "%s.onnx", name);
  assert_ok(mq_onnx_read(&graph, path, NULL, &err));
  return graph;
}

static int64_t sum_causes(const struct mq_differences *d) {
  int64_t n = 0;
  for (int i = 0; i < MQ_CAUSES; i++)
    n += d->causes[i];
  return n;
}

static void check_sums(const struct mq_verification *v) {
  int64_t elements = 0, whole = 0, local = 0;
  for (size_t i = 0; i < v->n_tensors; i++) {
    const struct mq_verified_tensor *t = &v->tensors[i];
    elements += t->elements;
    whole += t->whole.differing;
    local += t->local.differing;
    assert_int_equal(sum_causes(&t->whole), t->whole.differing);
    assert_int_equal(sum_causes(&t->local), t->local.differing);
    assert_int_equal(t->whole.elements, t->is_simulated ? t->elements : 0);
    assert_int_equal(t->local.elements, t->whole.elements);
    assert_int_equal(t->exact_elements, t->whole.elements);
    assert_int_equal(t->fast_elements, t->elements);
  }
  assert_int_equal(elements, v->elements);
  assert_int_equal(whole, v->whole.differing);
  assert_int_equal(local, v->local.differing);
  assert_int_equal(v->fast_elements, v->elements);
}

static void check_agreement(const struct mq_verification *v, const char *what) {
  check_sums(v);
  if (v->fast_mismatches || v->exact_mismatches || v->whole.causes[MQ_CAUSE_UNEXPLAINED] ||
      v->local.causes[MQ_CAUSE_UNEXPLAINED] || v->local.causes[MQ_CAUSE_INHERITED])
    fail_msg("%s: fast %d, exact %d, unexplained %d and %d, inherited %d", what, (int)v->fast_mismatches,
             (int)v->exact_mismatches, (int)v->whole.causes[MQ_CAUSE_UNEXPLAINED],
             (int)v->local.causes[MQ_CAUSE_UNEXPLAINED], (int)v->local.causes[MQ_CAUSE_INHERITED]);
}

static struct mq_program_step *find_step(struct subject *s, mq_step_kind kind, int nth) {
  for (uint32_t i = 0; i < s->lowered.program.n_steps; i++)
    if (s->lowered.program.steps[i].kind == kind && nth-- == 0) return &s->lowered.program.steps[i];
  fail_msg("no such step");
  return NULL;
}

/* ---- Whole networks ---- */
static void every_difference_has_a_cause(void **state) {
  (void)state;
  static const char *const models[] = {"tiny_resnet_cifar", "tiny_mobilenet_v2", "tiny_mobilenet_v3",
                                       "tiny_squeezenet", "tiny_densenet"};
  static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
  static const int bits[] = {8, 4};
  int64_t n_differing = 0;
  for (size_t i = 0; i < 5 * 6 * 2; i++) {
    struct subject s;
    struct mq_verification v;
    char what[128];
    if (test_leaves_out((int64_t)i)) continue;
    snprintf(what, sizeof what, "%s %s %d", models[i % 5], targets[i % 6], bits[i / 30]);
    make_subject(&s, read_model(models[i % 5]), targets[i % 6], bits[i / 30], data, 2);
    run_verify(&v, &s, 0);
    assert_int_equal(v.n_images, IMAGES);
    assert_true(v.whole.elements > 0);
    check_agreement(&v, what);
    n_differing += v.local.differing;
    mq_verification_deinit(&v);
    drop_subject(&s);
  }
  assert_true(n_differing > 100);
}

static void layers_kept_float_are_explained_too(void **state) {
  (void)state;
  static const char *const targets[] = {"snpe", "tensorrt", "acl"};
  for (size_t i = 0; i < 3; i++) {
    struct net net;
    struct subject s;
    struct mq_verification v;
    net_begin(&net, "net");
    struct mq_value *x = net_input(&net, "x", net_shape(3, 16, 16));
    for (int k = 0; k < 5; k++) {
      char conv[16], relu[16];
      snprintf(conv, sizeof conv, "conv%d", k);
      snprintf(relu, sizeof relu, "relu%d", k);
      x = net_unary(&net, MQ_OP_Relu, relu, net_conv(&net, x, conv, 6, 3, 2, 1));
    }
    struct mq_value *flat =
        net_node(&net, MQ_OP_Flatten, "flat", &x, 1, (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, 6}});
    net_output(&net, flat);
    begin_subject(&s, net.graph, targets[i], 0, "/conv[123]/", data, 1);
    struct mq_err err = {0};
    struct mq_calibrate_result result;
    const int64_t indices[] = {0, 1, 2};
    const struct mq_calibrate_options options = {.w_parameter = (double)NAN,
                                                 .a_parameter = (double)NAN,
                                                 .indices = indices,
                                                 .n_indices = 3,
                                                 .bias = s.target->bias};
    assert_ok(mq_calibrate(&result, &s.prepared, s.data, &options, s.pool, &err));
    lower_subject(&s);
    find_step(&s, MQ_STEP_CONV_FLOAT, 2);
    run_verify(&v, &s, 0);
    check_sums(&v);
    assert_int_equal(v.fast_mismatches, 0);
    assert_int_equal(v.exact_mismatches, 0);
    assert_int_equal(v.whole.causes[MQ_CAUSE_UNEXPLAINED], 0);
    assert_int_equal(v.local.causes[MQ_CAUSE_UNEXPLAINED], 0);
    assert_int_equal(v.local.causes[MQ_CAUSE_INHERITED], 0);
    mq_verification_deinit(&v);
    drop_subject(&s);
  }
}

static void figures_do_not_depend_on_workers(void **state) {
  (void)state;
  struct mq_verification v[2];
  for (unsigned i = 0; i < 2; i++) {
    struct subject s;
    make_subject(&s, read_model("tiny_resnet_cifar"), "tvm", 4, data, 1 + 2 * i);
    run_verify(&v[i], &s, 3);
    assert_int_equal(v[i].n_images, 3);
    drop_subject(&s);
  }
  assert_int_equal(v[0].n_tensors, v[1].n_tensors);
  for (size_t i = 0; i < v[0].n_tensors; i++) {
    assert_memory_equal(&v[0].tensors[i].whole, &v[1].tensors[i].whole, sizeof v[0].tensors[i].whole);
    assert_memory_equal(&v[0].tensors[i].local, &v[1].tensors[i].local, sizeof v[0].tensors[i].local);
  }
  assert_int_equal(v[0].n_agree, v[1].n_agree);
  mq_verification_deinit(&v[0]);
  mq_verification_deinit(&v[1]);
}

/* ---- Known causes ---- */
/* Every code from -128 to 127 through y = x + bias, from steps of 1 to steps of 4. */
static void make_ruler(struct subject *s, float bias) {
  struct mq_err err = {0};
  struct net net;
  char path[600], argument[700];
  float codes[256];
  const struct mq_shape images = {.rank = 4, .dim = {1, 1, 16, 16}}, one = {.rank = 4, .dim = {1, 1, 1, 1}};
  const struct mq_shape flat = {.rank = 2, .dim = {MQ_DIM_BATCH, 256}};
  for (int i = 0; i < 256; i++)
    codes[i] = (float)(i - 128);
  struct mq_tensor tensor = mq_tensor_view(codes, MQ_F32, &images, NULL);
  snprintf(path, sizeof path, "%s/ruler.npy", scratch);
  snprintf(argument, sizeof argument, "npy:%s", path);
  assert_ok(mq_npy_write(path, &tensor, &err));
  net_begin(&net, "ruler");
  struct mq_value *x = net_input(&net, "x", net_shape(1, 16, 16));
  struct mq_value *inputs[] = {x, net_constant(&net, "w", one, 1, 1), net_vector(&net, "b", 1, bias, bias)};
  struct mq_value *y = net_node(&net, MQ_OP_Conv, "conv", inputs, 3, net_shape(1, 16, 16));
  net_output(&net, net_node(&net, MQ_OP_Flatten, "flat", &y, 1, flat));
  begin_subject(s, net.graph, "tvm", 0, NULL, argument, 1);
  set_point(s, "x", 1, 0);
  set_point(s, "w", 1, 0);
  set_point(s, "conv_out", 4, 0);
  lower_subject(s);
}

/* Pixels in the middle between two codes, of a scale that float32 has no exact number for: where the quotient
 * is rounded to a tie, snpe goes away from zero and the simulation to even. Float32 is not to blame: both
 * divide. */
static void ties_of_pixels_are_ties(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct subject s;
  struct mq_verification v;
  struct net net;
  char path[600], argument[700];
  float pixels[256];
  const struct mq_shape images = {.rank = 4, .dim = {1, 1, 16, 16}}, one = {.rank = 4, .dim = {1, 1, 1, 1}};
  for (int i = 0; i < 256; i++)
    pixels[i] = ((float)(i - 128) + 0.5f) * 0.1f;
  struct mq_tensor tensor = mq_tensor_view(pixels, MQ_F32, &images, NULL);
  snprintf(path, sizeof path, "%s/ties.npy", scratch);
  snprintf(argument, sizeof argument, "npy:%s", path);
  assert_ok(mq_npy_write(path, &tensor, &err));
  net_begin(&net, "ties");
  struct mq_value *x = net_input(&net, "x", net_shape(1, 16, 16));
  struct mq_value *inputs[] = {x, net_constant(&net, "w", one, 1, 1)};
  struct mq_value *y = net_node(&net, MQ_OP_Conv, "conv", inputs, 2, net_shape(1, 16, 16));
  net_output(&net, net_node(&net, MQ_OP_Flatten, "flat", &y, 1,
                            (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, 256}}));
  begin_subject(&s, net.graph, "snpe", 0, NULL, argument, 1);
  set_point(&s, "x", 0.1f, 128);
  set_point(&s, "w", 1, 0);
  set_point(&s, "conv_out", 0.1f, 128);
  lower_subject(&s);
  run_verify(&v, &s, 0);
  int64_t n = 0;
  for (int i = 0; i < 256; i++) {
    const float steps = pixels[i] / 0.1f;
    n += rintf(steps) < roundf(steps) || rintf(steps) > roundf(steps);
  }
  const struct mq_verified_tensor *t = find_tensor(&v, "x");
  assert_true(n > 50);
  assert_int_equal(t->whole.differing, n);
  assert_int_equal(t->whole.causes[MQ_CAUSE_ROUNDING], n);
  mq_verification_deinit(&v);
  drop_subject(&s);
}

/* Of the 256 codes 64 lie on a tie, half of them between an even code below and an odd one above: the shift
 * rounds these up, the simulation to even. */
static void ties_that_go_up_are_counted(void **state) {
  (void)state;
  struct subject s;
  struct mq_verification v;
  make_ruler(&s, 0);
  run_verify(&v, &s, 0);
  const struct mq_verified_tensor *t = find_tensor(&v, "conv_out");
  assert_int_equal(t->whole.elements, 256);
  assert_int_equal(t->whole.differing, 32);
  assert_int_equal(t->whole.causes[MQ_CAUSE_ROUNDING], 32);
  assert_memory_equal(&t->whole, &t->local, sizeof t->whole);
  assert_true(t->whole.max_step >= 1 && t->whole.max_step <= 1);
  assert_int_equal(v.exact_mismatches, 0);
  mq_verification_deinit(&v);
  drop_subject(&s);
}

/* A bias of -0.4 is 0 in whole steps: what is just below a tie for the simulation lies on it for the program.
 * Where the tie has an odd code below, rounding to even would have gone up as well: the bias is the cause. */
static void biases_are_counted(void **state) {
  (void)state;
  struct subject s;
  struct mq_verification v;
  make_ruler(&s, -0.4f);
  run_verify(&v, &s, 0);
  const struct mq_verified_tensor *t = find_tensor(&v, "conv_out");
  assert_int_equal(t->whole.differing, 64);
  assert_int_equal(t->whole.causes[MQ_CAUSE_ROUNDING], 32);
  assert_int_equal(t->whole.causes[MQ_CAUSE_BIAS], 32);
  mq_verification_deinit(&v);
  drop_subject(&s);
}

/* The same for every tensor behind it: inherited as it runs, nothing by itself. */
static void what_is_inherited_is_no_cause_of_its_own(void **state) {
  (void)state;
  struct subject s;
  struct mq_verification v;
  struct net net;
  char argument[700];
  const struct mq_shape one = {.rank = 4, .dim = {1, 1, 1, 1}};
  make_ruler(&s, 0); /* writes the data */
  drop_subject(&s);
  snprintf(argument, sizeof argument, "npy:%s/ruler.npy", scratch);
  net_begin(&net, "ruler2");
  struct mq_value *x = net_input(&net, "x", net_shape(1, 16, 16));
  struct mq_value *a[] = {x, net_constant(&net, "w", one, 1, 1)};
  struct mq_value *y = net_node(&net, MQ_OP_Conv, "first", a, 2, net_shape(1, 16, 16));
  struct mq_value *b[] = {y, net_constant(&net, "w2", one, 1, 1)};
  struct mq_value *z = net_node(&net, MQ_OP_Conv, "second", b, 2, net_shape(1, 16, 16));
  net_output(&net, net_node(&net, MQ_OP_Flatten, "flat", &z, 1,
                            (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, 256}}));
  begin_subject(&s, net.graph, "tvm", 0, NULL, argument, 1);
  set_point(&s, "x", 1, 0);
  set_point(&s, "w", 1, 0);
  set_point(&s, "w2", 1, 0);
  set_point(&s, "first_out", 4, 0);
  set_point(&s, "second_out", 4, 0);
  lower_subject(&s);
  run_verify(&v, &s, 0);
  const struct mq_verified_tensor *t = find_tensor(&v, "second_out");
  assert_int_equal(find_tensor(&v, "first_out")->local.differing, 32);
  assert_int_equal(t->whole.causes[MQ_CAUSE_INHERITED], 32);
  assert_int_equal(t->whole.differing, 32);
  assert_int_equal(t->local.differing, 0);
  mq_verification_deinit(&v);
  drop_subject(&s);
}

/* ---- Errors must be found ---- */
static void expect_found(struct subject *s, const struct mq_program_step *step, bool is_whole) {
  struct mq_verification v;
  const char *tensor = s->lowered.program.tensors[step->output].name;
  run_verify(&v, s, 0);
  const struct mq_verified_tensor *t = find_tensor(&v, tensor);
  assert_true(t->exact_mismatches > 0);
  assert_true(t->local.causes[MQ_CAUSE_UNEXPLAINED] > 0);
  if (is_whole) assert_true(t->whole.causes[MQ_CAUSE_UNEXPLAINED] > 0);
  for (size_t i = 0; i < v.n_tensors;
       i++) /* given the program's own inputs, the others are as right as ever */
    if (&v.tensors[i] != t) assert_int_equal(v.tensors[i].local.causes[MQ_CAUSE_UNEXPLAINED], 0);
  assert_int_equal(v.fast_mismatches, 0);
  mq_verification_deinit(&v);
}

static void a_wrong_weight_is_found(void **state) {
  (void)state;
  static const char *const targets[] = {"snpe", "tensorrt", "fbgemm"};
  for (size_t i = 0; i < 3; i++) {
    struct subject s;
    make_subject(&s, read_model("tiny_resnet_cifar"), targets[i], 8, data, 1);
    const struct mq_program_step *step = find_step(&s, MQ_STEP_CONV, 2);
    int8_t *weights = (int8_t *)(uintptr_t)step->as.conv.weights;
    weights[4] = (int8_t)(weights[4] > 0 ? weights[4] - 60 : weights[4] + 60);
    expect_found(&s, step, false);
    drop_subject(&s);
  }
}

static void a_wrong_bias_is_found(void **state) {
  (void)state;
  struct subject s;
  make_subject(&s, read_model("tiny_resnet_cifar"), "snpe", 8, data, 1);
  const struct mq_program_step *step = find_step(&s, MQ_STEP_CONV, 1);
  struct mq_program_channel *channel = (struct mq_program_channel *)(uintptr_t)step->as.conv.channels;
  channel[0].bias += 4000;
  expect_found(&s, step, true);
  drop_subject(&s);
}

static void a_lost_activation_is_found(void **state) {
  (void)state;
  struct subject s;
  make_subject(&s, read_model("tiny_mobilenet_v2"), "tvm", 8, data, 1);
  struct mq_program_step *step = find_step(&s, MQ_STEP_CONV, 0);
  assert_int_equal(step->lo, 0);
  step->lo = -128;
  expect_found(&s, step, true);
  drop_subject(&s);
}

static void contradictions_are_refused(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct subject s;
  struct mq_verification v;
  make_subject(&s, read_model("tiny_resnet_cifar"), "snpe", 8, data, 1);
  const struct mq_verify_options options = {.n_images = 1};
  struct mq_program *program = &s.lowered.program;
  struct mq_program_tensor *t = &program->tensors[find_step(&s, MQ_STEP_CONV, 1)->output];
  t->scale *= 2;
  assert_fails(MQ_BAD_INPUT, "expected those of the point",
               mq_verify(&v, &s.prepared, program, s.data, &options, s.pool, &err));
  t->scale /= 2;
  program->n_outputs = 0;
  assert_fails(MQ_BAD_INPUT, "0 outputs",
               mq_verify(&v, &s.prepared, program, s.data, &options, s.pool, &err));
  program->n_outputs = 1;
  t->dim[2]--;
  assert_fails(MQ_BAD_INPUT, "expected those of",
               mq_verify(&v, &s.prepared, program, s.data, &options, s.pool, &err));
  t->dim[2]++;
  drop_subject(&s);
}

/* ---- Engines ---- */
static void compare_with(struct mq_engine_comparison *c, const struct subject *s,
                         const struct mq_verification *v, const char *engine) {
  struct mq_err err = {0};
  const struct mq_verify_engine_options options = {.name = engine, .target = s->target};
  assert_ok(mq_verify_engine(c, &s->bundle, v, s->data, &options, s->pool, &err));
}

/* The fast executor as an engine, and what is counted where it "differs". */
static void the_engine_in_process_agrees(void **state) {
  (void)state;
  struct subject s;
  struct mq_verification v;
  struct mq_engine_comparison c;
  make_subject(&s, read_model("tiny_resnet_cifar"), "snpe", 8, data, 2);
  run_verify(&v, &s, 0);
  compare_with(&c, &s, &v, MQ_ENGINE_IN_PROCESS);
  assert_null(c.skipped_reason);
  assert_true(c.is_twin);
  assert_int_equal(c.mismatches, 0);
  assert_int_equal(c.n_images, IMAGES);
  assert_int_equal(c.n_agree, IMAGES);
  assert_int_equal(c.elements, mq_shape_count(&v.outputs[0].shape));
  mq_engine_comparison_deinit(&c);
  const float scale = s.lowered.program.tensors[s.lowered.program.outputs[0]].scale;
  float *logits = v.outputs[0].data;
  logits[0] -= 3 * scale;
  logits[1] += 1000 * scale; /* the class of image 0, whatever it was, is now this one or no longer */
  compare_with(&c, &s, &v, MQ_ENGINE_IN_PROCESS);
  assert_int_equal(c.mismatches, 2);
  assert_true(fabs(c.max_step - 1000) < 0.01);
  mq_engine_comparison_deinit(&c);
  logits[2] = NAN; /* image 0 has no class now */
  compare_with(&c, &s, &v, MQ_ENGINE_IN_PROCESS);
  assert_int_equal(c.mismatches, 3);
  assert_true(isnan(c.max_step));
  assert_int_equal(c.n_agree, IMAGES - 1);
  mq_engine_comparison_deinit(&c);
  mq_verification_deinit(&v);
  drop_subject(&s);
}

static void link_adapter(const char *name) {
  char path[700];
  snprintf(path, sizeof path, "%s/%s", scratch, name);
  assert_int_equal(symlink(MQ_TESTS_DIRECTORY "/verify/fake_adapter.py", path), 0);
  assert_int_equal(setenv("MQBENCH_ADAPTERS", scratch, 1), 0);
}

static void engines_that_cannot_are_skipped(void **state) {
  (void)state;
  struct subject s;
  struct mq_verification v;
  struct mq_engine_comparison c;
  if (system("python3 -c 'import json' 2>/dev/null") != 0) skip();
  link_adapter("board");
  make_subject(&s, read_model("tiny_resnet_cifar"), "snpe", 8, data, 1);
  run_verify(&v, &s, 2);
  static const struct {
    const char *mode, *reason;
    bool is_failed;
  } cases[] = {{"missing", "No module named 'engine'", false},
               {"status", "no such operator", false}, /* already when asked what it is */
               {"no_report", "left no report", true},
               {"other_protocol", "protocol", false},
               {"", "another number of values", true}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    setenv("FAKE_ADAPTER", cases[i].mode, 1);
    compare_with(&c, &s, &v, "board");
    assert_non_null(c.skipped_reason);
    if (!strstr(c.skipped_reason, cases[i].reason)) fail_msg("'%s'", c.skipped_reason);
    assert_int_equal(c.is_failed, cases[i].is_failed);
    assert_int_equal(c.elements, 0);
    assert_false(c.is_twin);
    mq_engine_comparison_deinit(&c);
  }
  unsetenv("FAKE_ADAPTER");
  struct mq_err err = {0};
  const struct mq_verify_engine_options options = {.name = "no_such"};
  assert_fails(MQ_BAD_USAGE, "no_such", mq_verify_engine(&c, &s.bundle, &v, s.data, &options, s.pool, &err));
  mq_verification_deinit(&v);
  drop_subject(&s);
}

static void adapters_are_listed_once(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_arena arena;
  const char *const *names;
  size_t n, n_board = 0;
  mq_arena_init(&arena, 0);
  setenv("MQBENCH_ADAPTERS", scratch, 1);
  assert_ok(mq_adapter_list(&names, &n, &arena, &err));
  for (size_t i = 0; i < n; i++) {
    assert_string_not_equal(names[i], "install");
    assert_true(i == 0 || strcmp(names[i - 1], names[i]) < 0);
    n_board += !strcmp(names[i], "board") || !strcmp(names[i], "onnxruntime");
  }
  assert_true(n_board >= 1);
  mq_arena_deinit(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_difference_has_a_cause),
      cmocka_unit_test(layers_kept_float_are_explained_too),
      cmocka_unit_test(figures_do_not_depend_on_workers),
      cmocka_unit_test(ties_of_pixels_are_ties),
      cmocka_unit_test(ties_that_go_up_are_counted),
      cmocka_unit_test(biases_are_counted),
      cmocka_unit_test(what_is_inherited_is_no_cause_of_its_own),
      cmocka_unit_test(a_wrong_weight_is_found),
      cmocka_unit_test(a_wrong_bias_is_found),
      cmocka_unit_test(a_lost_activation_is_found),
      cmocka_unit_test(contradictions_are_refused),
      cmocka_unit_test(the_engine_in_process_agrees),
      cmocka_unit_test(engines_that_cannot_are_skipped),
      cmocka_unit_test(adapters_are_listed_once),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
