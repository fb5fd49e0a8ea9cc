/* The verify command: its contract, its answers, what it refuses. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "help_program.h"
#include "mqbench/deploy.h"

#define MODEL MODELS "/tiny_resnet_cifar.onnx"
#define DATA "npy:x.npy,labels=y.npy"

static struct outcome o;

static void quantize(const char *bundle, const char *options) {
  run(&o, "quantize " MODEL " --data " DATA " -o %s -q %s", bundle, options);
  if (o.status != 0) fail_msg("quantize %s: %s", options, o.err);
}

static int set_up(void **state) {
  make_scratch(state);
  write_images(12);
  quantize("snpe", "--target snpe");
  return 0;
}

static int64_t whole(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  if (!json_is_integer(value)) fail_msg("%s is no whole number", key);
  return json_integer_value(value);
}

static void check_differences(const json_t *d) {
  int64_t sum = 0;
  const char *cause;
  json_t *n;
  assert_non_null(d);
  json_object_foreach(json_object_get(d, "causes"), cause, n) {
    sum += json_integer_value(n);
  }
  assert_int_equal(sum, whole(d, "explained"));
  assert_int_equal(whole(d, "explained") + whole(d, "unexplained"), whole(d, "differing"));
  assert_true(whole(d, "elements") >= whole(d, "differing"));
  assert_true(json_is_number(json_object_get(d, "max_step")));
}

static void the_contract(void **state) {
  (void)state;
  run(&o, "verify snpe --data " DATA " --target snpe --engine onednn --json");
  assert_int_equal(o.status, 0);
  json_t *object = parse_json(&o);
  int64_t elements = 0;
  assert_int_equal(whole(object, "images"), 12);
  assert_int_equal(whole(object, "fast_vs_reference_mismatches"), 0);
  assert_int_equal(whole(object, "simulate_vs_integer_mismatches"), 0);
  check_differences(json_object_get(object, "float_simulation"));
  check_differences(json_object_get(object, "float_simulation_local"));
  assert_int_equal(whole(json_object_get(object, "float_simulation"), "unexplained"), 0);
  assert_true(json_is_number(json_object_get(object, "max_step_difference")));
  assert_true(json_is_number(json_object_get(object, "top1_agreement")));
  const json_t *layers = json_object_get(object, "layers");
  assert_int_equal(json_array_size(layers), whole(object, "tensors"));
  for (size_t i = 0; i < json_array_size(layers); i++)
    elements += whole(json_array_get(layers, i), "elements");
  assert_int_equal(elements, whole(object, "elements"));
  const json_t *engine = json_array_get(json_object_get(object, "engines"), 0);
  assert_string_equal(json_string_value(json_object_get(engine, "name")), "onednn");
  assert_int_equal(whole(engine, "mismatches"), 0);
  assert_true(json_is_null(json_object_get(engine, "skipped_reason")));
  assert_true(json_is_string(json_object_get(engine, "version")));
  assert_true(json_real_value(json_object_get(engine, "top1_agreement")) >= 1);
  assert_true(json_is_real(json_object_get(engine, "max_step_difference")));
  json_decref(object);
}

static void people_get_a_table(void **state) {
  (void)state;
  run(&o, "verify snpe --data npy:x.npy --images 5");
  assert_int_equal(o.status, 0);
  assert_non_null(strstr(o.out, "snpe: 5 images"));
  assert_non_null(strstr(o.out, "fast executor      0 of "));
  assert_non_null(strstr(o.out, "exact simulation   0 of "));
  assert_non_null(strstr(o.out, "plain simulation   "));
}

static void images_are_bounded(void **state) {
  (void)state;
  static const struct {
    const char *images;
    int64_t n;
  } cases[] = {{"1", 1}, {"9", 9}, {"100000", 12}};
  for (size_t i = 0; i < 3; i++) {
    run(&o, "verify snpe --data " DATA " --images %s --json", cases[i].images);
    assert_int_equal(o.status, 0);
    json_t *object = parse_json(&o);
    assert_int_equal(whole(object, "images"), cases[i].n);
    json_decref(object);
  }
  run(&o, "verify snpe --data " DATA " --images 0");
  assert_int_equal(o.status, 2);
}

/* The bundle's own export as a Q/DQ model of somebody's. */
static void a_qdq_model_is_taken(void **state) {
  (void)state;
  run(&o, "verify snpe/export/onnx_qdq.onnx --data " DATA " --engine onednn --json");
  assert_int_equal(o.status, 0);
  json_t *object = parse_json(&o);
  assert_string_equal(json_string_value(json_object_get(object, "target")), "onnx_qdq");
  assert_int_equal(whole(object, "simulate_vs_integer_mismatches"), 0);
  json_decref(object);
}

static void a_network_that_ends_in_a_softmax(void **state) {
  (void)state;
  char path[700];
  struct mq_err err = {0};
  struct mq_tensor images;
  const struct mq_shape shape = {.rank = 4, .dim = {3, 16, 16, 3}};
  assert_ok(mq_tensor_init(&images, MQ_F32, &shape, &err));
  for (int64_t i = 0; i < mq_shape_count(&shape); i++)
    ((float *)images.data)[i] = (float)(i * 37 % 101) / 50 - 1;
  snprintf(path, sizeof path, "%s/nhwc.npy", scratch);
  assert_ok(mq_npy_write(path, &images, &err));
  mq_tensor_deinit(&images);
  static const char *const targets[] = {"snpe", "acl", "tensorrt"};
  for (size_t i = 0; i < 3; i++) {
    run(&o, "quantize " MODELS "/nhwc_input.onnx --target %s --data npy:nhwc.npy,layout=nhwc -o soft -q",
        targets[i]);
    assert_int_equal(o.status, 0);
    run(&o, "verify soft --data npy:nhwc.npy,layout=nhwc --engine onednn");
    if (o.status != 0) fail_msg("%s: %s", targets[i], o.err);
  }
}

/* Also for a target whose export has no form for them. */
static void layers_kept_float(void **state) {
  (void)state;
  static const char *const targets[] = {"snpe", "tflite"};
  for (size_t i = 0; i < 2; i++) {
    run(&o, "quantize " MODEL " --target %s --data " DATA " --keep-float /1/a/a.0/Conv -o kept -q",
        targets[i]);
    assert_int_equal(o.status, 0);
    run(&o, "verify kept --data " DATA);
    if (o.status != 0) fail_msg("%s: %s", targets[i], o.err);
  }
}

/* ---- What must be found ---- */
/* Changes a byte of the program in `bundle` and makes every checksum right again. */
static void hurt(const char *bundle) {
  char path[700], hex[65];
  struct mq_err err = {0};
  struct mq_program_err why;
  struct mq_bundle read;
  snprintf(path, sizeof path, "%s/%s", scratch, bundle);
  assert_ok(mq_bundle_read(&read, path, &err));
  struct mq_program *program = read.program;
  for (uint32_t i = 0; i < program->n_steps; i++) {
    if (program->steps[i].kind == MQ_STEP_LINEAR) {
      int8_t *weights = (int8_t *)(uintptr_t)program->steps[i].as.conv.weights;
      weights[0] = (int8_t)(weights[0] > 0 ? weights[0] - 90 : weights[0] + 90);
    }
  }
  size_t n;
  assert_int_equal(mq_program_file_bytes(&n, program, &why), MQ_PROGRAM_OK);
  void *file = mq_alloc(n, 1);
  assert_int_equal(mq_program_write(file, n, program, &why), MQ_PROGRAM_OK);
  mq_bundle_deinit(&read);
  snprintf(path, sizeof path, "%s/%s/program.mqi", scratch, bundle);
  assert_ok(mq_file_write(path, file, n, &err));
  mq_free(file);
  assert_ok(mq_sha256_file(hex, path, &err));
  snprintf(path, sizeof path, "%s/%s/manifest.json", scratch, bundle);
  json_t *manifest = json_load_file(path, 0, NULL);
  json_object_set_new(json_object_get(manifest, "files"), "program.mqi", json_string(hex));
  assert_int_equal(json_dump_file(manifest, path, JSON_REAL_PRECISION(9)), 0);
  json_decref(manifest);
}

static void a_wrong_program_is_told(void **state) {
  (void)state;
  quantize("wrong", "--target snpe");
  hurt("wrong");
  run(&o, "verify wrong --data " DATA " --json");
  assert_int_equal(o.status, 1);
  json_t *object = parse_json(&o);
  assert_true(whole(object, "simulate_vs_integer_mismatches") > 0);
  assert_int_equal(whole(object, "fast_vs_reference_mismatches"), 0);
  assert_true(whole(json_object_get(object, "float_simulation_local"), "unexplained") > 0);
  json_decref(object);
  run(&o, "verify wrong --data " DATA);
  assert_int_equal(o.status, 1);
  assert_non_null(strstr(o.err, "the exact simulation differs from the program in"));
  assert_non_null(strstr(o.out, "unexplained"));
}

static void an_engine_that_is_missing_is_skipped(void **state) {
  (void)state;
  if (system("python3 -c 'import json' 2>/dev/null") != 0) skip();
  char path[700];
  snprintf(path, sizeof path, "%s/board", scratch);
  assert_int_equal(symlink(MQ_TESTS_DIRECTORY "/verify/fake_adapter.py", path), 0);
  setenv("MQBENCH_ADAPTERS", scratch, 1);
  setenv("FAKE_ADAPTER", "missing", 1);
  run(&o, "verify snpe --data " DATA " --images 2 --engine board --json");
  assert_int_equal(o.status, 0);
  json_t *object = parse_json(&o);
  const json_t *engine = json_array_get(json_object_get(object, "engines"), 0);
  assert_string_equal(json_string_value(json_object_get(engine, "skipped_reason")),
                      "No module named 'engine'");
  assert_true(json_is_null(json_object_get(engine, "mismatches")));
  json_decref(object);
  run(&o, "list engines");
  assert_int_equal(o.status, 0);
  assert_non_null(strstr(o.out, "board                not here: No module named 'engine'"));
  unsetenv("MQBENCH_ADAPTERS");
  unsetenv("FAKE_ADAPTER");
}

/* A target of one's own: its file is the only place that says what its engine must equal. */
static void a_targets_file_names_its_twin(void **state) {
  (void)state;
  static const char yaml[] =
      "name: mine\ndescribes: mine\n"
      "weights: {bits: 8, signed: false, symmetric: false, granularity: tensor, scale: float}\n"
      "activations: {bits: 8, signed: false, symmetric: false, granularity: tensor, scale: float}\n"
      "points: graph3\nfold_bn: true\narithmetic: tflite_ref\nbias: int32\nartefacts: [onnx_qdq]\n"
      "twin: vendor\n";
  char path[700];
  snprintf(path, sizeof path, "%s/mine.yaml", scratch);
  assert_int_equal(mq_file_write(path, yaml, sizeof yaml - 1, NULL), MQ_OK);
  quantize("own", "--target mine.yaml");
  static const struct {
    const char *arguments, *says;
    int status;
  } cases[] = {
      {"verify own --images 1 --target mine.yaml", "", 0},
      {"verify own --images 1 --target mine", "", 0},
      {"verify own --images 1", "", 0},
      {"verify own --images 1 --engine onednn", "name its file with --target", 0},
      {"eval own --mode integer --target ./mine.yaml", "", 0},
      {"eval snpe --mode integer --target mine.yaml", "made for snpe", 2},
      {"verify own --target snpe", "made for mine", 2},
      {"verify own --target none.yaml", "none.yaml: no such file", 3},
      {"eval own --target none", "unknown target 'none'", 2},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    run(&o, "%s --data " DATA " -q", cases[i].arguments);
    if (o.status != cases[i].status || !strstr(o.err, cases[i].says) || (!*cases[i].says && *o.err))
      fail_msg("%s: status %d, %s", cases[i].arguments, o.status, o.err);
  }
}

/* What proves nothing is no proof. */
static void a_twin_that_fails_is_a_no(void **state) {
  (void)state;
  char path[700];
  if (system("python3 -c 'import json' 2>/dev/null") != 0) skip();
  snprintf(path, sizeof path, "%s/vendor", scratch);
  assert_int_equal(symlink(MQ_TESTS_DIRECTORY "/verify/fake_adapter.py", path), 0);
  setenv("MQBENCH_ADAPTERS", scratch, 1);
  setenv("FAKE_ADAPTER", "no_report", 1);
  run(&o, "verify own --data " DATA " --images 1 --target mine.yaml --engine vendor");
  assert_int_equal(o.status, 1);
  assert_non_null(strstr(o.out, "failed: "));
  assert_non_null(strstr(o.err, "engine vendor, whose bits must be the program's, failed"));
  run(&o, "verify snpe --data " DATA " --images 1 --engine vendor --json");
  assert_int_equal(o.status, 0);
  json_t *object = parse_json(&o);
  assert_true(json_is_true(json_object_get(json_array_get(json_object_get(object, "engines"), 0), "failed")));
  json_decref(object);
  unsetenv("MQBENCH_ADAPTERS");
  unsetenv("FAKE_ADAPTER");
}

/* ---- What is refused ---- */
static void refusals(void **state) {
  (void)state;
  static const struct {
    const char *arguments, *says;
    int status;
  } cases[] = {
      {"snpe", "--data is missing", 2},
      {"--data " DATA, "usage", 2},
      {"snpe --data " DATA " --engine nope", "nope", 2},
      {"snpe --data " DATA " --engine install", "install", 2},
      {"snpe --data " DATA " --target tvm", "made for snpe", 2},
      {"snpe --data npy:none.npy", "none.npy", 3},
      {"snpe --data fractal:images=4,size=20", "16x16", 3},
      {"nowhere --data " DATA, "nowhere", 3},
      {MODEL " --data " DATA, "Q/DQ", 3},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    run(&o, "verify %s", cases[i].arguments);
    if (o.status != cases[i].status || !strstr(o.err, cases[i].says))
      fail_msg("verify %s: status %d, %s", cases[i].arguments, o.status, o.err);
  }
}

/* A bundle without a program says why; engines can be held against its simulation. */
static void no_program_no_verification(void **state) {
  (void)state;
  run(&o, "quantize " MODEL " --target snpe --a-bits 16 --data " DATA " -o wide -q");
  assert_int_equal(o.status, 0);
  run(&o, "verify wide --data " DATA);
  assert_int_equal(o.status, 3);
  assert_non_null(strstr(o.err, "no integer program"));
  run(&o, "verify wide --data " DATA " --engine onednn");
  assert_int_equal(o.status, 0);
  assert_non_null(strstr(o.out, "engines beside the plain simulation"));
  assert_non_null(strstr(o.out, "skipped: there is no integer program"));
  run(&o, "verify wide --data " DATA " --engine onednn --json");
  json_t *object = parse_json(&o);
  assert_true(json_is_false(json_object_get(object, "program")));
  assert_true(json_is_null(json_object_get(object, "top1_agreement")));
  json_decref(object);
}

static void an_interrupt_ends_it(void **state) {
  (void)state;
  char command[2000];
  write_images(400);
  snprintf(command, sizeof command,
           "cd '%s' && exec '" MQ_PROGRAM "' verify snpe --data " DATA " -q >/dev/null 2>&1", scratch);
  pid_t child = fork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
  }
  usleep(300 * 1000);
  kill(child, SIGINT);
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_true(WEXITSTATUS(status) == 130 || WEXITSTATUS(status) == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_contract),
      cmocka_unit_test(people_get_a_table),
      cmocka_unit_test(images_are_bounded),
      cmocka_unit_test(a_qdq_model_is_taken),
      cmocka_unit_test(a_network_that_ends_in_a_softmax),
      cmocka_unit_test(layers_kept_float),
      cmocka_unit_test(a_wrong_program_is_told),
      cmocka_unit_test(an_engine_that_is_missing_is_skipped),
      cmocka_unit_test(a_targets_file_names_its_twin),
      cmocka_unit_test(a_twin_that_fails_is_a_no),
      cmocka_unit_test(refusals),
      cmocka_unit_test(no_program_no_verification),
      cmocka_unit_test(an_interrupt_ends_it),
  };
  return cmocka_run_group_tests(tests, set_up, drop_scratch);
}
