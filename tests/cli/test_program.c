/* The command line's contract: exit statuses, JSON, one-line errors. */
#include "help_program.h"

static struct outcome o;

static int count_lines(const char *text) {
  int n = 0;
  for (; *text; text++) {
    n += *text == '\n';
  }
  return n;
}

static void wrong_usage_is_status_2_and_one_line(void **state) {
  (void)state;
  const char *const cases[] = {"frobnicate",
                               "eval",
                               "eval x.onnx",
                               "list",
                               "list fruit",
                               "show",
                               "eval a b --data c",
                               "list targets --no-such-option",
                               "list targets --threads 0",
                               "list targets --threads many",
                               "quantize m.onnx --target snpe",
                               "eval m.onnx --data fractal: --mode backwards",
                               "diff onlyone",
                               "data",
                               "data make",
                               "data make fractal",
                               "data cook",
                               "report",
                               "bench --shard 5/4",
                               "quantize m.onnx --target snpe --data fractal: --calib",
                               "quantize m.onnx --target snpe --data fractal: --w-bits 9",
                               "quantize m.onnx --target snpe --data fractal: --bits conv1=1",
                               "quantize m.onnx --target snpe --data fractal: --a-bits 12",
                               "list targets --max-memory 5X",
                               "list targets --json=yes"};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    run(&o, "%s", cases[i]);
    if (o.status != 2 || count_lines(o.err) != 1 || o.out[0]) {
      fail_msg("'%s': status %d, stderr '%s', stdout '%s'", cases[i], o.status, o.err, o.out);
    }
  }
}

/* The message names what was given and what is allowed. */
static void bits_and_instruction_sets_are_explained(void **state) {
  (void)state;
  const struct {
    const char *arguments, *says;
  } cases[] = {
      {"--bits conv=1", "--bits conv=1: found '1' bits, expected weights 2 to 8; activations 2 to 8 or 16"},
      {"--bits conv", "--bits conv: expected NAME=B"},
      {"--bits 0.0.weight=16", "bits of '0.0.weight': found 16, expected 2 to 8: it is a weight"},
      {"--a-bits 12", "--a-bits 12: expected 2 to 8, or 16"},
      {"--w-bits 16", "--w-bits 16: expected a whole number from 2 to 8"},
      {"--isa sse", "expected avx2, avx512, avx512_vnni, avx512_bf16, amx or native\n"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    run(&o, "show " MODELS "/tiny_resnet_cifar.onnx --target snpe %s", cases[i].arguments);
    if (o.status != 2 || count_lines(o.err) != 1 || !strstr(o.err, cases[i].says)) {
      fail_msg("'%s': status %d, stderr '%s'", cases[i].arguments, o.status, o.err);
    }
  }
}

static void a_dry_run_lists_its_cells(void **state) {
  (void)state;
  run(&o, "bench --dry-run -q -o dry");
  assert_int_equal(o.status, 0);
  assert_string_equal(o.err, "");
  int n = count_lines(o.out);
  assert_true(n > 10);
  assert_true(strstr(o.out, "cell 1/") == o.out);
  run(&o, "bench --dry-run --json -o dry");
  assert_int_equal(o.status, 0);
  json_t *object = parse_json(&o);
  assert_int_equal(json_integer_value(json_object_get(object, "cells")), n);
  assert_int_equal(json_integer_value(json_object_get(object, "done")), 0);
  assert_int_equal(json_array_size(json_object_get(object, "list")), n);
  json_decref(object);
}

static void what_is_not_built_yet_says_so_and_is_not_listed(void **state) {
  (void)state;
  const char *const commands[] = {"analyze"};
  run(&o, "--help");
  assert_int_equal(o.status, 0);
  static struct outcome help;
  help = o;
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
    char listed[32];
    snprintf(listed, sizeof listed, "\n  %s ", commands[i]);
    assert_null(strstr(help.out, listed));
    run(&o, "%s x --data y", commands[i]);
    assert_int_equal(o.status, 2);
    assert_non_null(strstr(o.err, "not in this version"));
  }
  run(&o, "quantize m.onnx --target snpe --data fractal: --method brecq");
  assert_int_equal(o.status, 2);
  assert_non_null(strstr(o.err, "not in this version"));
}

static void failures_are_json_when_asked(void **state) {
  (void)state;
  const char *const cases[] = {"eval no-such.onnx --data fractal: --json", "frobnicate --json",
                               "eval --json --bad-option", "show no-such.onnx --json"};
  const int statuses[] = {3, 2, 2, 3};
  for (size_t i = 0; i < 4; i++) {
    run(&o, "%s", cases[i]);
    assert_int_equal(o.status, statuses[i]);
    json_t *object = parse_json(&o);
    assert_int_equal(json_integer_value(json_object_get(object, "status")), statuses[i]);
    assert_true(json_string_length(json_object_get(object, "error")) > 5);
    json_decref(object);
  }
}

static void every_command_has_help(void **state) {
  (void)state;
  const char *const commands[] = {"bench", "report",    "quantize", "train", "eval",
                                  "show",  "reproduce", "diff",     "list",  "data"};
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
    run(&o, "%s --help", commands[i]);
    assert_int_equal(o.status, 0);
    assert_non_null(strstr(o.out, "usage: mqbench"));
    assert_non_null(strstr(o.out, "--threads"));
    run(&o, "help %s", commands[i]);
    assert_int_equal(o.status, 0);
  }
  run(&o, "--version");
  assert_int_equal(o.status, 0);
}

static void options_without_their_subject_are_refused(void **state) {
  (void)state;
  run(&o, "show %s/none.onnx --w-bits 4", MODELS);
  assert_int_equal(o.status, 2);
  assert_non_null(strstr(o.err, "add --target"));
  run(&o, "data info fractal: --images 5");
  assert_int_equal(o.status, 2);
  assert_non_null(strstr(o.err, "data make"));
}

static bool list_has(const char *subject, const char *name) {
  run(&o, "list %s --json", subject);
  assert_int_equal(o.status, 0);
  json_t *object = parse_json(&o);
  const json_t *items = json_object_get(object, "items");
  assert_true(json_is_array(items));
  bool found = false;
  for (size_t i = 0; i < json_array_size(items); i++) {
    const char *item = json_string_value(json_object_get(json_array_get(items, i), "name"));
    found = found || (item && !strcmp(item, name));
  }
  json_decref(object);
  return found;
}

static void lists_name_what_there_is(void **state) {
  (void)state;
  const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm", "tflite", "xnnpack"};
  for (size_t i = 0; i < 8; i++) {
    assert_true(list_has("targets", targets[i]));
  }
  assert_true(list_has("methods", "ptq"));
  assert_true(list_has("methods", "lsq"));
  assert_false(list_has("methods", "brecq"));
  assert_true(list_has("observers", "mse"));
  assert_true(list_has("datasets", "fractal"));
  assert_true(list_has("engines", "onnxruntime"));
  assert_true(list_has("engines", "onednn"));
  assert_true(list_has("formats", "tflite"));
  assert_false(list_has("formats", "gguf"));
}

static void show_counts_and_explains(void **state) {
  (void)state;
  run(&o, "show " MODELS "/residual_opset13.onnx --target snpe --json");
  assert_int_equal(o.status, 0);
  json_t *object = parse_json(&o);
  assert_true(json_integer_value(json_object_get(object, "nodes")) > 0);
  assert_true(json_integer_value(json_object_get(object, "parameters")) > 0);
  assert_true(json_integer_value(json_object_get(object, "macs")) > 0);
  const json_t *points = json_object_get(object, "points");
  assert_true(json_array_size(points) > 4);
  for (size_t i = 0; i < json_array_size(points); i++) {
    assert_true(json_string_length(json_object_get(json_array_get(points, i), "reason")) > 5);
  }
  json_decref(object);
  run(&o, "show " MODELS "/residual_opset13.onnx --target snpe --dot");
  assert_int_equal(o.status, 0);
  assert_int_equal(strncmp(o.out, "digraph", 7), 0);
  run(&o, "show " MODELS "/residual_opset13.onnx --target nowhere");
  assert_int_equal(o.status, 2);
  run(&o, "show " MODELS "/squeeze_excite_opset14.onnx --target snpe --strict");
  assert_int_equal(o.status, 3);
  run(&o, "show " MODELS "/residual_opset13.onnx --target snpe --keep-float no-such-layer");
  assert_int_equal(o.status, 2);
}

static void bad_models_are_status_3(void **state) {
  (void)state;
  const char *const models[] = {"bad_cycle", "bad_domain", "bad_operator", "bad_subgraph"};
  for (size_t i = 0; i < 4; i++) {
    run(&o, "show " MODELS "/%s.onnx", models[i]);
    assert_int_equal(o.status, 3);
    assert_int_equal(count_lines(o.err), 1);
  }
  run(&o, "show /dev/zero");
  assert_int_equal(o.status, 3);
  run(&o, "show " MODELS);
  assert_int_equal(o.status, 3);
}

static void data_info_and_make(void **state) {
  (void)state;
  run(&o, "data make fractal -o made --images 20 --test-images 10 --classes 3 --size 16");
  assert_int_equal(o.status, 0);
  run(&o, "data info tar:made/train.tar --json");
  assert_int_equal(o.status, 0);
  json_t *object = parse_json(&o);
  assert_int_equal(json_integer_value(json_object_get(object, "images")), 20);
  assert_int_equal(json_integer_value(json_object_get(object, "classes")), 3);
  const json_t *shape = json_object_get(object, "shape");
  assert_int_equal(json_integer_value(json_array_get(shape, 0)), 3);
  assert_int_equal(json_integer_value(json_array_get(shape, 1)), 16);
  json_decref(object);
  run(&o, "data info tar:no-such.tar");
  assert_int_equal(o.status, 3);
  run(&o, "data info zip:x");
  assert_int_equal(o.status, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(wrong_usage_is_status_2_and_one_line),
      cmocka_unit_test(bits_and_instruction_sets_are_explained),
      cmocka_unit_test(a_dry_run_lists_its_cells),
      cmocka_unit_test(what_is_not_built_yet_says_so_and_is_not_listed),
      cmocka_unit_test(failures_are_json_when_asked),
      cmocka_unit_test(every_command_has_help),
      cmocka_unit_test(options_without_their_subject_are_refused),
      cmocka_unit_test(lists_name_what_there_is),
      cmocka_unit_test(show_counts_and_explains),
      cmocka_unit_test(bad_models_are_status_3),
      cmocka_unit_test(data_info_and_make),
  };
  return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
