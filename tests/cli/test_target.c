/* target check: a vendor's file tried on the embedded networks. */
#include "base/file.h"
#include "help_program.h"

static struct outcome o;

/* An invented chip: docs/targets.md walks through it. */
static const char chip[] =
    "name: mynpu\n"
    "describes: an invented chip\n"
    "weights:     {bits: 8, signed: true, narrow: true, symmetric: true, "
    "granularity: channel, scale: float}\n"
    "activations: {bits: 8, signed: false, symmetric: false, granularity: tensor, "
    "scale: float}\n"
    "points: {rule: graph3, pool: input_scale}\n"
    "fold_bn: true\n"
    "arithmetic: tflite_ref\n"
    "bias: int32\n"
    "artefacts: [onnx_qdq]\n";

/* chip with `from` replaced by `to`, as scratch/FILE. */
static void write_chip(const char *file, const char *from, const char *to) {
  char text[2000], path[700];
  const char *at = strstr(chip, from);
  assert_non_null(at);
  snprintf(text, sizeof text, "%.*s%s%s", (int)(at - chip), chip, to, at + strlen(from));
  snprintf(path, sizeof path, "%s/%s", scratch, file);
  assert_int_equal(mq_file_write(path, text, strlen(text), NULL), MQ_OK);
}

static json_t *check(int status, const char *arguments) {
  run(&o, "target check %s --images 8 --json -q", arguments);
  if (o.status != status) {
    fail_msg("%s: status %d, expected %d: %s", arguments, o.status, status, o.err);
  }
  return parse_json(&o);
}

static int64_t field(const json_t *object, const char *key) {
  return json_integer_value(json_object_get(object, key));
}
static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

/* What `show` lists for the same file. */
static void check_points_as_shown(const json_t *points, const char *model) {
  run(&o, "show %s/models/%s.onnx --target mynpu.yaml --json", MQ_SOURCE_DIRECTORY, model);
  assert_int_equal(o.status, 0);
  json_t *shown = parse_json(&o), *point;
  size_t i;
  int64_t n = 0, n_shown = (int64_t)json_array_size(json_object_get(shown, "points"));
  json_array_foreach((json_t *)(uintptr_t)points, i, point) {
    if (strcmp(text_of(point, "model"), model) != 0) continue;
    n += field(point, "count");
    assert_string_equal(text_of(point, "scheme"), !strcmp(text_of(point, "kind"), "weight")
                                                      ? "int8 narrow symmetric per-channel"
                                                      : "uint8 asymmetric per-tensor");
  }
  assert_true(n > 30);
  assert_int_equal(n, n_shown);
  json_decref(shown);
}

static void a_target_of_ones_own_is_ok(void **state) {
  (void)state;
  write_chip("mynpu.yaml", "artefacts", "artefacts");
  json_t *object = check(0, "mynpu.yaml"), *item;
  size_t i;
  assert_true(json_is_true(json_object_get(object, "ok")));
  assert_string_equal(text_of(object, "target"), "mynpu");
  assert_int_equal(json_array_size(json_object_get(object, "islands")), 0);
  assert_int_equal(json_array_size(json_object_get(object, "problems")), 0);
  assert_int_equal(json_array_size(json_object_get(object, "runs")), 6);
  json_array_foreach(json_object_get(object, "runs"), i, item) {
    assert_string_equal(text_of(item, "status"), "done");
    assert_int_equal(field(item, "images"), 8);
    assert_true(json_real_value(json_object_get(item, "top1")) > 0.5);
    assert_int_equal(field(item, "w_bits"), 8);
  }
  assert_int_equal(json_array_size(json_object_get(object, "programs")), 2);
  json_array_foreach(json_object_get(object, "programs"), i, item) {
    assert_true(json_is_null(json_object_get(item, "reason")));
    assert_int_equal(field(item, "images"), 8);
    assert_true(json_real_value(json_object_get(item, "top1_agreement")) > 0.9);
    assert_int_equal(field(item, "fast_vs_reference_mismatches"), 0);
    assert_true(json_is_integer(json_object_get(item, "simulate_vs_integer_mismatches"))); /* it ran */
    assert_int_equal(field(item, "simulate_vs_integer_mismatches"), 0);
    const json_t *simulation = json_object_get(item, "float_simulation");
    assert_int_equal(field(simulation, "unexplained"), 0);
    assert_true(field(simulation, "elements") > 8 * 10000 && field(simulation, "differing") > 0);
    assert_true(field(item, "steps") > 20 && field(item, "weight_bytes") > 100000);
  }
  const json_t *points = json_object_get(object, "points");
  check_points_as_shown(points, "resnet14_fractal");
  check_points_as_shown(points, "mobilenet_v2_s32_fractal");
  json_decref(object);
}

static void check_adds_are_islands(const json_t *islands) {
  json_t *item;
  size_t i;
  int n_adds = 0;
  json_array_foreach((json_t *)(uintptr_t)islands, i, item) {
    n_adds += !strcmp(text_of(item, "op"), "Add");
    assert_true(json_is_false(json_object_get(item, "tolerated")));
    assert_true(strlen(text_of(item, "node")) > 0 && strlen(text_of(item, "reason")) > 0);
  }
  assert_int_equal(n_adds, 6 + 12); /* residual blocks of the two networks */
}

/* Adds without a rule stay float, and TensorRT's format has no zero points; the check goes on. */
static void what_does_not_work_is_named(void **state) {
  (void)state;
  write_chip("odd.yaml", strstr(chip, "points:"),
             "points: {rule: graph3, pool: input_scale, add: none, inputs: [Conv, Gemm, AveragePool],\n"
             "         outputs: [Conv, Gemm, AveragePool]}\n"
             "fold_bn: true\narithmetic: tflite_ref\nbias: int32\nartefacts: [onnx_qdq, tensorrt]\n");
  json_t *object = check(1, "odd.yaml --strict");
  const json_t *problems = json_object_get(object, "problems");
  assert_true(json_is_false(json_object_get(object, "ok")));
  check_adds_are_islands(json_object_get(object, "islands"));
  assert_int_equal(json_array_size(problems), 4);
  assert_non_null(strstr(json_string_value(json_array_get(problems, 0)),
                         "resnet14_fractal: 12 operators stay float, the first: Add "));
  assert_non_null(strstr(json_string_value(json_array_get(problems, 1)),
                         "resnet14_fractal: no tensorrt export: format tensorrt cannot express point"));
  assert_non_null(strstr(o.err, "target mynpu: 4 problems"));
  const json_t *artefacts = json_object_get(object, "artefacts");
  assert_true(json_is_null(json_object_get(json_array_get(artefacts, 0), "reason")));
  assert_string_equal(text_of(json_array_get(artefacts, 1), "format"), "tensorrt");
  assert_true(strlen(text_of(json_array_get(artefacts, 1), "reason")) > 0);
  assert_int_equal(json_array_size(json_object_get(object, "runs")), 6);
  json_decref(object);
}

static void a_wrong_file_is_named_with_line_and_key(void **state) {
  (void)state;
  static const struct {
    const char *from, *to, *found;
  } cases[] = {
      {"bits: 8, signed: true", "bits: 9, signed: true", "wrong.yaml:3: weights.bits: "},
      {"granularity: tensor", "granularity: row", "wrong.yaml:4: activations.granularity: found 'row'"},
      {"fold_bn", "fold_dn", "fold_dn"},
      {"bias: int32\n", "", "bias"},
      {"arithmetic: tflite_ref", "arithmetic: trt_model", "trt_model"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    write_chip("wrong.yaml", cases[i].from, cases[i].to);
    run(&o, "target check wrong.yaml");
    assert_int_equal(o.status, 3);
    if (!strstr(o.err, "wrong.yaml") || !strstr(o.err, cases[i].found)) {
      fail_msg("expected '%s' in: %s", cases[i].found, o.err);
    }
    assert_string_equal(o.out, "");
  }
  run(&o, "target check nowhere.yaml --json");
  assert_int_equal(o.status, 3);
  json_t *object = parse_json(&o);
  assert_int_equal(field(object, "status"), 3);
  json_decref(object);
}

static void wrong_usage_says_what_was_expected(void **state) {
  (void)state;
  run(&o, "target try snpe");
  assert_int_equal(o.status, 2);
  run(&o, "target check snpe --methods ptq,magic");
  assert_int_equal(o.status, 2);
  assert_non_null(strstr(o.err, "magic: expected some of ptq, lsq, pact, dsq, dorefa"));
  run(&o, "target check snpf");
  assert_int_equal(o.status, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_target_of_ones_own_is_ok),
      cmocka_unit_test(what_does_not_work_is_named),
      cmocka_unit_test(a_wrong_file_is_named_with_line_and_key),
      cmocka_unit_test(wrong_usage_says_what_was_expected),
  };
  return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
