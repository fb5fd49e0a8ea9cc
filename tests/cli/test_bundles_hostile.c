/* Bundles that lie, as the program meets them: one line on standard error, exit status 3. */
#include "base/file.h"
#include "help_program.h"

#define MODEL MODELS "/tiny_resnet_cifar.onnx"
#define DATA "npy:x.npy,labels=y.npy"

static struct outcome o;

static int set_up(void **state) {
  make_scratch(state);
  write_images(8);
  run(&o, "quantize " MODEL " --target snpe --data " DATA " --calib 8 --a-observer quantile -o whole -q");
  return o.status;
}

static json_t *load(const char *bundle, const char *file) {
  char path[700];
  snprintf(path, sizeof path, "%s/%s/%s", scratch, bundle, file);
  json_t *object = json_load_file(path, 0, NULL);
  assert_non_null(object);
  return object;
}

static void save(json_t *object, const char *bundle, const char *file) {
  char path[700];
  snprintf(path, sizeof path, "%s/%s/%s", scratch, bundle, file);
  assert_int_equal(json_dump_file(object, path, JSON_REAL_PRECISION(9)), 0);
  json_decref(object);
}

/* Writes hurt/quant.json, a copy of whole's with `key` of the first point set, and its hash. */
static void hurt(const char *key, const char *value) {
  char path[700], hex[65];
  struct mq_err err = {0};
  json_t *quant = load("whole", "quant.json"), *manifest = load("whole", "manifest.json");
  json_t *point = json_array_get(json_object_get(quant, "points"), 0);
  assert_int_equal(json_object_set_new(point, key, json_loads(value, JSON_DECODE_ANY, NULL)), 0);
  save(quant, "hurt", "quant.json");
  snprintf(path, sizeof path, "%s/hurt/quant.json", scratch);
  assert_ok(mq_sha256_file(hex, path, &err));
  json_object_set_new(json_object_get(manifest, "files"), "quant.json", json_string(hex));
  save(manifest, "hurt", "manifest.json");
}

static void lies_are_refused_by_every_command(void **state) {
  (void)state;
  static const struct {
    const char *key, *value, *says;
  } lies[] = {
      {"zero_point", "[1.5]", "zero_point[0]: found 1.5, expected a whole number from 0 to 255\n"},
      {"signed", "\"x\"", "signed: found \"x\", expected true or false\n"},
      {"signed", "true", "quant_min: found 0, expected -128, the bound of int8 asymmetric per-tensor\n"},
      {"channel_axis", "-1", "channel_axis: found -1, expected null: one scale for the tensor\n"},
      {"scale", "[1e-45]",
       "scale[0]: found 1e-45, expected a number from 1.17549435e-38 to 3.40282347e+38\n"},
      {"quant_max", "127", "quant_max: found 127, expected 255, the bound of uint8"},
  };
  static const char *const commands[] = {("eval hurt --data " DATA), "diff whole hurt", "show hurt"};
  char command[2200];
  snprintf(command, sizeof command, "cp -r '%s/whole' '%s/hurt'", scratch, scratch);
  assert_int_equal(system(command), 0);
  for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
    hurt(lies[i].key, lies[i].value);
    for (size_t k = 0; k < 3; k++) {
      run(&o, "%s", commands[k]);
      const char *end = strchr(o.err, '\n');
      if (o.status != 3 || o.out[0] || !strstr(o.err, "hurt/quant.json: point 'input': ") ||
          !strstr(o.err, lies[i].says) || !end || end[1]) {
        fail_msg("%s = %s, %s: status %d, '%s'", lies[i].key, lies[i].value, commands[k], o.status, o.err);
      }
    }
  }
}

static json_int_t count_nodes(const char *what) {
  run(&o, "show %s --json", what);
  assert_int_equal(o.status, 0);
  json_t *object = parse_json(&o);
  json_int_t n = json_integer_value(json_object_get(object, "nodes"));
  json_decref(object);
  return n;
}

/* Quantization points are listed as such; the nodes are those of the network. */
static void points_are_no_nodes(void **state) {
  (void)state;
  json_int_t n = count_nodes("whole/model.onnx");
  assert_true(n > 5);
  assert_int_equal(count_nodes("whole"), n);
}

static void observers_stand_in_the_bundle(void **state) {
  (void)state;
  json_t *quant = load("whole", "quant.json");
  const json_t *points = json_object_get(quant, "points");
  for (size_t i = 0; i < json_array_size(points); i++) {
    const json_t *point = json_array_get(points, i);
    bool is_weight = !strcmp(json_string_value(json_object_get(point, "kind")), "weight");
    assert_string_equal(json_string_value(json_object_get(point, "observer")),
                        is_weight ? "minmax" : "quantile");
    assert_true(json_is_null(json_object_get(point, "observer_parameter")));
  }
  json_decref(quant);
}

static void a_network_kept_float_is_no_bundle(void **state) {
  (void)state;
  run(&o, "quantize " MODEL " --target snpe --data " DATA " --keep-float /./ -o none -q");
  assert_int_equal(o.status, 3);
  assert_non_null(strstr(o.err, "found no quantized tensor in "));
  run(&o, "show none");
  assert_int_equal(o.status, 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lies_are_refused_by_every_command),
      cmocka_unit_test(points_are_no_nodes),
      cmocka_unit_test(observers_stand_in_the_bundle),
      cmocka_unit_test(a_network_kept_float_is_no_bundle),
  };
  return cmocka_run_group_tests(tests, set_up, drop_scratch);
}
