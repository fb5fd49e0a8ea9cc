/* latency: rows of our own executors, and of engines whose times are known. */
#include <math.h>
#include <sys/stat.h>

#include "base/file.h"
#include "help_program.h"

#define MODEL MODELS "/tiny_resnet_cifar.onnx"

static struct outcome o;

/* Times 1, 2, 3, ... ms; notes what it was asked for, and how many cores it may use. */
static const char tick[] =
    "#!/usr/bin/env python3\n"
    "import json, os, sys\n"
    "words = {}\n"
    "for i, word in enumerate(sys.argv):\n"
    "    key, _, value = word.partition('=')\n"
    "    words[key] = value or (sys.argv[i + 1] if i + 1 < len(sys.argv) else '')\n"
    "base = {'protocol': 1, 'engine': 'tick', 'version': '7'}\n"
    "if '--probe' in words:\n"
    "    print(json.dumps(dict(base, available=True, formats=['onnx_qdq', 'onnx'])))\n"
    "    sys.exit(0)\n"
    "open(os.path.join(os.path.dirname(sys.argv[0]), 'asked'), 'a').write('%s %s %s %s %d\\n' % (\n"
    "    os.path.basename(words['--model']), words['--batch'], words['--warmup'], words['--repeat'],\n"
    "    len(os.sched_getaffinity(0))))\n"
    "header = str({'descr': '<f4', 'fortran_order': False, 'shape': (int(words['--batch']),)}) + '\\n'\n"
    "open(os.path.join(words['--output'], 'o.npy'), 'wb').write(b'\\x93NUMPY\\x01\\x00' +\n"
    "    len(header).to_bytes(2, 'little') + header.encode() + bytes(4 * int(words['--batch'])))\n"
    "times = [i + 1.0 for i in range(int(words['--repeat']))]\n"
    "json.dump(dict(base, outputs=[{'name': 'y', 'file': 'o.npy'}], milliseconds=times),\n"
    "          open(words['--report'], 'w'))\n";
static const char gone[] =
    "#!/bin/sh\n"
    "echo '{\"protocol\": 1, \"engine\": \"gone\", \"available\": false, "
    "\"reason\": \"not installed\", \"formats\": [\"onnx\"]}'\n";

static void write_adapter(const char *name, const char *text) {
  char path[700];
  snprintf(path, sizeof path, "%s/engines/%s", scratch, name);
  assert_int_equal(mq_file_write(path, text, strlen(text), NULL), MQ_OK);
  assert_int_equal(chmod(path, 0755), 0);
}

static int set_up(void **state) {
  char path[700];
  make_scratch(state);
  write_images(24);
  snprintf(path, sizeof path, "%s/engines", scratch);
  assert_int_equal(mq_file_make_directories(path, NULL), MQ_OK);
  setenv("MQBENCH_ADAPTERS", path, 1);
  write_adapter("tick", tick);
  write_adapter("gone", gone);
  return 0;
}

static double number(const json_t *row, const char *key) {
  return json_number_value(json_object_get(row, key));
}
static const char *text_of(const json_t *row, const char *key) {
  const char *text = json_string_value(json_object_get(row, key));
  return text ? text : "";
}

static void check_row(const json_t *row, const char *engine, const char *precision, int batch) {
  assert_string_equal(text_of(row, "engine"), engine);
  assert_string_equal(text_of(row, "precision"), precision);
  assert_int_equal(number(row, "batch"), batch);
}

static void check_skipped(const json_t *row, const char *reason) {
  assert_non_null(strstr(text_of(row, "skipped_reason"), reason));
  assert_true(json_is_null(json_object_get(row, "median_ms")));
  assert_true(json_is_null(json_object_get(row, "images_per_second")));
}

static void check_own(const json_t *row) {
  const double batch = number(row, "batch"), median = number(row, "median_ms");
  assert_true(json_is_null(json_object_get(row, "skipped_reason")));
  assert_true(number(row, "runs") >= 10);
  assert_true(median > 0 && number(row, "p90_ms") >= median);
  assert_true(number(row, "images_per_second") > 0 && number(row, "images_per_second") < 2e3 * batch / 1e-3);
}

/* 1, 2, 3 make a median of 2 ms, so that 20 passes fit into 40 ms: 1 to 20. */
static void check_ticks(const json_t *row) {
  assert_int_equal(number(row, "runs"), 20);
  assert_true(fabs(number(row, "median_ms") - 10.5) < 1e-9);
  assert_true(fabs(number(row, "p90_ms") - 18) < 1e-9);
  assert_true(fabs(number(row, "images_per_second") - number(row, "batch") * 1e3 / 10.5) < 1e-6);
  assert_string_equal(text_of(row, "version"), "7");
}

static json_t *measure(const char *arguments) {
  run(&o, "latency %s --seconds 0.04 --json -q", arguments);
  if (o.status != 0) {
    fail_msg("latency %s: %s", arguments, o.err);
  }
  return parse_json(&o);
}

static void a_model_in_floats(void **state) {
  (void)state;
  json_t *object = measure(MODEL " --batch 3,1 --engine mqbench --engine tick --engine gone --threads 1");
  const json_t *rows = json_object_get(object, "rows");
  assert_int_equal(json_array_size(rows), 3 * 2 * 2);
  for (size_t i = 0; i < 12; i++) {
    static const char *const engines[] = {"mqbench", "tick", "gone"};
    const json_t *row = json_array_get(rows, i);
    check_row(row, engines[i / 4], i / 2 % 2 ? "int8" : "float32", i % 2 ? 1 : 3);
    if (i / 4 == 2) {
      check_skipped(row, "not installed");
    } else if (i / 2 % 2) {
      check_skipped(row, "the model is in floats");
    } else if (i < 2) {
      check_own(row);
    } else {
      check_ticks(row);
    }
  }
  json_decref(object);
}

static void a_bundle_in_integers_too(void **state) {
  (void)state;
  run(&o, "quantize " MODEL " --target snpe --data npy:x.npy,labels=y.npy -o b -q");
  assert_int_equal(o.status, 0);
  json_t *object = measure("b --batch 2 --engine mqbench --engine tick --threads 1");
  const json_t *rows = json_object_get(object, "rows");
  assert_int_equal(json_array_size(rows), 4);
  check_own(json_array_get(rows, 0));
  check_own(json_array_get(rows, 1));
  check_row(json_array_get(rows, 1), "mqbench", "int8", 2);
  check_ticks(json_array_get(rows, 2));
  check_ticks(json_array_get(rows, 3));
  json_decref(object);
  char path[700], *asked = NULL;
  size_t n = 0;
  snprintf(path, sizeof path, "%s/engines/asked", scratch);
  assert_int_equal(mq_file_read(&asked, &n, path, 1 << 16, NULL), MQ_OK);
  /* a short run, then one that fills the time; the export in integers, one core */
  assert_non_null(strstr(asked,
                         "float.onnx 2 1 3 1\nfloat.onnx 2 6 20 1\n"
                         "model.onnx 2 1 3 1\nmodel.onnx 2 6 20 1\n"));
  mq_free(asked);
}

/* A Q/DQ model has integers, and floats only for who reads it. */
static void a_qdq_model(void **state) {
  (void)state;
  run(&o, "export b --format onnx_qdq -o q.onnx -q");
  assert_int_equal(o.status, 0);
  json_t *object = measure("q.onnx --batch 1");
  const json_t *rows = json_object_get(object, "rows");
  assert_int_equal(json_array_size(rows), 2);
  check_skipped(json_array_get(rows, 0), "integers only");
  check_own(json_array_get(rows, 1));
  json_decref(object);
}

static void wrong_usage_says_what_was_expected(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"--batch 0", "--batch 0"},   {"--batch 1,", "--batch 1,"},      {"--batch 1:8", "--batch 1:8"},
      {"--seconds 0", "--seconds"}, {"--engine nowhere", "'nowhere'"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    run(&o, "latency " MODEL " %s", cases[i][0]);
    assert_int_equal(o.status, 2);
    assert_non_null(strstr(o.err, cases[i][1]));
  }
  run(&o, "latency nowhere.onnx");
  assert_int_equal(o.status, 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_model_in_floats),
      cmocka_unit_test(a_bundle_in_integers_too),
      cmocka_unit_test(a_qdq_model),
      cmocka_unit_test(wrong_usage_says_what_was_expected),
  };
  return cmocka_run_group_tests(tests, set_up, drop_scratch);
}
