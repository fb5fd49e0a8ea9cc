/* Adapters that do what they should, and others: tests/verify/fake_adapter.py. */
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "common.h"
#include "mqbench/verify.h"

#define ADAPTER MQ_TESTS_DIRECTORY "/verify/fake_adapter.py"

static char scratch[512];
static float x[3 * 4];

static int make_scratch(void **state) {
  (void)state;
  strcpy(scratch, make_test_directory());
  for (int i = 0; i < 12; i++) {
    x[i] = 0.25f * (float)i;
  }
  return setenv("TMPDIR", scratch, 1);
}

static int drop_scratch(void **state) {
  (void)state;
  remove_test_directory(scratch);
  return 0;
}

static mq_status run_fake(struct mq_adapter_result *result, const char *mode, double timeout,
                          struct mq_err *err) {
  static const char *const names[] = {"input"};
  const struct mq_shape shape = {.rank = 2, .dim = {3, 4}};
  const struct mq_tensor input = mq_tensor_view(x, MQ_F32, &shape, NULL);
  const struct mq_adapter_job job = {.adapter = ADAPTER,
                                     .model = "/some/model with 'quotes'.onnx",
                                     .input_names = names,
                                     .inputs = &input,
                                     .n_inputs = 1,
                                     .batch = 2,
                                     .threads = 2,
                                     .warmup = 1,
                                     .repeat = 5,
                                     .timeout_seconds = timeout};
  setenv("FAKE_ADAPTER", mode, 1);
  return mq_adapter_run(result, &job, err);
}

static bool is_scratch_empty(void) {
  char command[700];
  snprintf(command, sizeof command, "test -z \"$(ls '%s' | grep mqbench-)\"", scratch);
  return system(command) == 0;
}

static void outputs_come_back(void **state) {
  (void)state;
  struct mq_adapter_result result;
  struct mq_err err = {0};
  assert_ok(run_fake(&result, "", 30, &err));
  assert_string_equal(result.engine, "fake");
  assert_string_equal(result.version, "1.2");
  assert_int_equal(result.n_outputs, 1);
  assert_string_equal(result.names[0], "y");
  assert_int_equal(result.outputs[0].shape.dim[0], 3);
  for (int i = 0; i < 12; i++) {
    assert_true(((float *)result.outputs[0].data)[i] == 2 * x[i]);
  }
  assert_int_equal(result.n_times, 2);
  assert_true(result.milliseconds[0] == 1.5 && result.milliseconds[1] == 2);
  assert_int_equal(result.n_nodes, 2);
  assert_string_equal(result.nodes[0].op, "QLinearConv");
  assert_true(result.nodes[0].is_integer && !result.nodes[1].is_integer);
  mq_adapter_result_deinit(&result);
  assert_true(is_scratch_empty());
}

/* Arguments go as they are, without a shell; nothing of ours is open in the adapter. */
static void what_an_adapter_gets(void **state) {
  (void)state;
  struct mq_adapter_result result;
  struct mq_err err = {0};
  char path[700];
  snprintf(path, sizeof path, "%s/seen", scratch);
  setenv("FAKE_SEEN", path, 1);
  int ours = open("/dev/null", O_RDONLY); /* would be inherited */
  assert_ok(run_fake(&result, "", 30, &err));
  close(ours);
  unsetenv("FAKE_SEEN");
  json_t *seen = json_load_file(path, 0, NULL);
  assert_non_null(seen);
  const json_t *arguments = json_object_get(seen, "arguments");
  assert_string_equal(json_string_value(json_array_get(arguments, 1)), "/some/model with 'quotes'.onnx");
  char *text = json_dumps(arguments, 0);
  assert_non_null(strstr(text, "input="));
  assert_non_null(strstr(text, "--batch=2"));
  assert_non_null(strstr(text, "--threads=2"));
  assert_non_null(strstr(text, "--warmup=1"));
  assert_non_null(strstr(text, "--repeat=5"));
  free(text);
  assert_string_equal(json_string_value(json_object_get(seen, "stdin")), "/dev/null");
  assert_int_equal(json_array_size(json_object_get(seen, "descriptors")), 3);
  json_decref(seen);
  mq_adapter_result_deinit(&result);
}

static void what_goes_wrong_is_told_in_one_line(void **state) {
  (void)state;
  static const struct {
    const char *mode, *says;
  } cases[] = {
      {"crash", "ended by signal 11"},
      {"status", "ended with status 7: RuntimeError: no such operator"},
      {"silent", "ended with status 1: it said nothing"},
      {"chatter", "more than 1048576 bytes on standard output"},
      {"no_output", "y.npy"},
      {"torn", "y.npy"},
      {"short", "output 'y': found shape 2x4, expected 3 images"},
      {"outside", "outputs[0]: expected name and file, a plain file name"},
      {"bad_time", "milliseconds[0]: expected a time"},
      {"bad_node", "nodes[0]: expected name, op and is_integer"},
      {"no_outputs", "outputs: found none"},
      {"other_protocol", "protocol: found -1, expected 1"},
      {"no_report", "left no report"},
      {"torn_report", "found no JSON object"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct mq_adapter_result result;
    struct mq_err err = {0};
    mq_status status = run_fake(&result, cases[i].mode, 60, &err);
    if (status != MQ_BAD_INPUT || !strstr(err.message, cases[i].says) || strchr(err.message, '\n')) {
      fail_msg("%s: status %d, '%s', expected '%s'", cases[i].mode, status, err.message, cases[i].says);
    }
    assert_int_equal(result.n_outputs, 0);
    assert_true(is_scratch_empty());
  }
}

static bool is_running(pid_t pid) {
  char path[64], text[64] = "";
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  FILE *file = fopen(path, "r");
  if (!file) {
    return false;
  }
  bool is_read = fread(text, 1, sizeof text - 1, file) > 0;
  fclose(file);
  return is_read && !strstr(text, ") Z");
}

/* And what it started: its whole process group. */
static void an_adapter_that_hangs_is_ended(void **state) {
  (void)state;
  struct mq_adapter_result result;
  struct mq_err err = {0};
  char path[700], *text = NULL;
  size_t n;
  snprintf(path, sizeof path, "%s/pid", scratch);
  setenv("FAKE_PID", path, 1);
  double begin = mq_now();
  assert_int_equal(run_fake(&result, "hang", 1.5, &err), MQ_BAD_INPUT);
  assert_true(mq_now() - begin < 20);
  assert_non_null(strstr(err.message, "took more than the 1.5 seconds"));
  assert_ok(mq_file_read(&text, &n, path, 100, &err));
  pid_t child = (pid_t)atoi(text);
  mq_free(text);
  assert_true(child > 1);
  for (int i = 0; i < 100 && is_running(child); i++) {
    usleep(10000);
  }
  assert_false(is_running(child));
  assert_true(is_scratch_empty());
}

static void an_orphan_does_not_keep_us_waiting(void **state) {
  (void)state;
  struct mq_adapter_result result;
  struct mq_err err = {0};
  double begin = mq_now();
  assert_ok(run_fake(&result, "orphan", 60, &err));
  assert_true(mq_now() - begin < 30);
  mq_adapter_result_deinit(&result);
}

static void much_on_standard_error_is_no_failure(void **state) {
  (void)state;
  struct mq_adapter_result result;
  struct mq_err err = {0};
  assert_ok(run_fake(&result, "noise", 60, &err));
  mq_adapter_result_deinit(&result);
}

static void probes(void **state) {
  (void)state;
  static const struct {
    const char *mode, *says;
  } cases[] = {{"words", "found no JSON object"},
               {"other_protocol", "protocol: found 2, expected 1"},
               {"no_formats", "formats: found no list"},
               {"crash", "ended by signal 11"}};
  struct mq_adapter_info info;
  struct mq_err err = {0};
  setenv("FAKE_ADAPTER", "", 1);
  assert_ok(mq_adapter_probe(&info, ADAPTER, 30, &err));
  assert_true(info.is_available);
  assert_string_equal(info.engine, "fake");
  assert_string_equal(info.version, "1.2");
  assert_string_equal(info.formats, "onnx_qdq tflite");
  setenv("FAKE_ADAPTER", "missing", 1);
  assert_ok(mq_adapter_probe(&info, ADAPTER, 30, &err));
  assert_false(info.is_available);
  assert_string_equal(info.reason, "No module named 'engine'");
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    setenv("FAKE_ADAPTER", cases[i].mode, 1);
    mq_status status = mq_adapter_probe(&info, ADAPTER, 30, &err);
    if (status != MQ_BAD_INPUT || !strstr(err.message, cases[i].says)) {
      fail_msg("%s: status %d, '%s'", cases[i].mode, status, err.message);
    }
  }
  assert_int_equal(mq_adapter_probe(&info, "/nonexistent/adapter", 30, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "/nonexistent/adapter: cannot start: No such file"));
}

static void adapters_are_found_by_name(void **state) {
  (void)state;
  char *path = NULL;
  struct mq_err err = {0};
  assert_ok(mq_adapter_find(&path, "onnxruntime", &err)); /* the project's own */
  assert_non_null(strstr(path, "/adapters/onnxruntime"));
  mq_free(path);
  setenv("MQBENCH_ADAPTERS", "/nonexistent::" MQ_TESTS_DIRECTORY "/verify", 1);
  assert_ok(mq_adapter_find(&path, "fake_adapter.py", &err));
  assert_string_equal(path, ADAPTER);
  mq_free(path);
  assert_ok(mq_adapter_find(&path, "onnxruntime", &err));
  mq_free(path);
  static const char *const wrong[] = {"nosuch", "../verify/fake_adapter.py", "", ".", "test_adapter.c"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    assert_int_equal(mq_adapter_find(&path, wrong[i], &err), MQ_BAD_USAGE);
    assert_null(path);
  }
  unsetenv("MQBENCH_ADAPTERS");
}

static void wrong_jobs(void **state) {
  (void)state;
  const struct mq_shape scalar = {.rank = 0};
  const struct mq_tensor input = mq_tensor_view(x, MQ_F32, &scalar, NULL);
  static const char *const names[] = {"input"};
  struct mq_adapter_result result;
  struct mq_err err = {0};
  struct mq_adapter_job job = {.adapter = ADAPTER, .model = "m", .input_names = names, .inputs = &input};
  assert_int_equal(mq_adapter_run(&result, &job, &err), MQ_BAD_USAGE);
  job.n_inputs = 1;
  assert_int_equal(mq_adapter_run(&result, &job, &err), MQ_BAD_USAGE);
}

int main(void) {
  if (access("/usr/bin/env", X_OK) != 0 || system("python3 -c 'import json' 2>/dev/null") != 0) {
    printf("skipped: no python3\n");
    return 77;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(outputs_come_back),
      cmocka_unit_test(what_an_adapter_gets),
      cmocka_unit_test(what_goes_wrong_is_told_in_one_line),
      cmocka_unit_test(an_adapter_that_hangs_is_ended),
      cmocka_unit_test(an_orphan_does_not_keep_us_waiting),
      cmocka_unit_test(much_on_standard_error_is_no_failure),
      cmocka_unit_test(probes),
      cmocka_unit_test(adapters_are_found_by_name),
      cmocka_unit_test(wrong_jobs),
  };
  return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
