/* quant.json, preprocess.json and manifest.json with the right hashes and senseless fields. */
#include "help_bundle.h"

/* Sets `key` of point `index` (-1: of the file itself) to what stands in `value` (NULL: removes it), and
 * reads. */
struct harm {
  int index;
  const char *key, *value, *says;
};

static json_t *parse(const char *text) {
  json_error_t error;
  json_t *value = json_loads(text, JSON_DECODE_ANY, &error);
  if (!value) {
    fail_msg("'%s': %s", text, error.text);
  }
  return value;
}

static void set_field(json_t *object, const char *key, const char *value) {
  if (value) {
    assert_int_equal(json_object_set_new(object, key, parse(value)), 0);
  } else {
    assert_int_equal(json_object_del(object, key), 0);
  }
}

static void try_harms(const char *bundle, const char *file, const struct harm *harms, size_t n) {
  json_t *whole = load(bundle, file);
  for (size_t i = 0; i < n; i++) {
    const struct harm *harm = &harms[i];
    char after[200];
    json_t *hurt = json_deep_copy(whole), *object = hurt;
    if (harm->index >= 0) {
      object = json_array_get(json_object_get(hurt, "points"), (size_t)harm->index);
      assert_non_null(object);
    }
    set_field(object, harm->key, harm->value);
    save(hurt, bundle, file);
    if (strcmp(file, "manifest.json") != 0) {
      reseal(bundle);
    }
    snprintf(after, sizeof after, "%s[%d].%s = %.80s", bundle, harm->index, harm->key,
             harm->value ? harm->value : "nothing");
    expect_read(bundle, harm->says, after);
    json_decref(hurt);
  }
  save(whole, bundle, file);
  reseal(bundle);
  expect_read(bundle, NULL, "all is as it was");
  json_decref(whole);
}
#define TRY(bundle, file, harms) try_harms(bundle, file, harms, sizeof harms / sizeof harms[0])

/* Points of the residual network: 0 the input, 1 the first convolution's weights. */
static int find_point(const char *bundle, const char *tensor) {
  json_t *quant = load(bundle, "quant.json");
  const json_t *points = json_object_get(quant, "points");
  int found = -1;
  for (size_t i = 0; i < json_array_size(points) && found < 0; i++) {
    const char *name = json_string_value(json_object_get(json_array_get(points, i), "tensor"));
    found = !strcmp(name, tensor) ? (int)i : -1;
  }
  json_decref(quant);
  assert_true(found >= 0);
  return found;
}

static void points_of_one_scale(void **state) {
  (void)state;
  make_bundle("snpe", "snpe", 0, 0);
  assert_int_equal(find_point("snpe", "input"), 0);
  assert_int_equal(find_point("snpe", "conv0.weight"), 1);
  static const struct harm harms[] = {
      {0, "zero_point", "[1.5]",
       "/quant.json: point 'input': zero_point[0]: found 1.5, expected a whole number from 0 to 255"},
      {0, "zero_point", "[256]", "zero_point[0]: found 256, expected a whole number from 0 to 255"},
      {0, "zero_point", "[-1]", "zero_point[0]: found -1, expected"},
      {0, "zero_point", "[true]", "zero_point[0]: found true, expected"},
      {0, "zero_point", "[]", "zero_point: found a list of 0, expected a list of 1 whole numbers"},
      {0, "zero_point", "[0, 0]", "zero_point: found a list of 2, expected a list of 1"},
      {0, "zero_point", "0", "zero_point: found 0, expected a list of 1"},
      {0, "zero_point", NULL, "zero_point: found nothing, expected a list of 1"},
      {0, "scale", "[1e-45]",
       "point 'input': scale[0]: found 1e-45, expected a number from 1.17549435e-38 to"},
      {0, "scale", "[1e-38]", "scale[0]: found"},
      {0, "scale", "[0]", "scale[0]: found 0, expected"},
      {0, "scale", "[-0.5]", "scale[0]: found -0.5, expected"},
      {0, "scale", "[1e39]", "scale[0]: found"},
      {0, "scale", "[1e300]", "scale[0]: found"},
      {0, "scale", "[\"nan\"]", "scale[0]: found \"nan\", expected"},
      {0, "scale", "[null]", "scale[0]: found null, expected"},
      {0, "scale", "[]", "scale: found a list of 0, expected a list of 1 numbers"},
      {0, "scale", "[1, 2]", "scale: found a list of 2, expected a list of 1 numbers"},
      {0, "scale", "0.5", "scale: found 0.5, expected a list"},
      {0, "scale", "{}", "scale: found an object, expected a list"},
      {0, "scale", NULL, "scale: found nothing, expected a list"},
      {0, "scale", "[1]", NULL},
      {0, "scale", "[1.17549435e-38]", NULL},
      {0, "scale", "[3.40282347e+38]", NULL},
      {0, "signed", "\"x\"", "signed: found \"x\", expected true or false"},
      {0, "signed", "1", "signed: found 1, expected true or false"},
      {0, "signed", NULL, "signed: found nothing, expected true or false"},
      {0, "signed", "true", "quant_min: found 0, expected -128, the bound of int8"},
      {0, "narrow", "true", "narrow: found true, expected false, as signed is false"},
      {0, "narrow", "null", "narrow: found null, expected true or false"},
      {0, "symmetric", "true", "zero_point[0]: found"},
      {0, "symmetric", "[]", "symmetric: found a list of 0, expected true or false"},
      {0, "power_of_two", "true", "power_of_two: found true, expected false, as symmetric is false"},
      {0, "power_of_two", NULL, "power_of_two: found nothing, expected true or false"},
      {0, "quant_min", "-1", "quant_min: found -1, expected 0, the bound of uint8"},
      {0, "quant_min", "0.0", "quant_min: found 0.0, expected 0, the bound of uint8"},
      {0, "quant_max", "254", "quant_max: found 254, expected 255, the bound of uint8"},
      {0, "quant_max", "256", "quant_max: found 256, expected 255"},
      {0, "quant_max", NULL, "quant_max: found nothing, expected 255"},
      {0, "bits", "4", "quant_max: found 255, expected 15, the bound of uint4"},
      {0, "bits", "1", "bits: found 1, expected a whole number from 2 to 8, or 16"},
      {0, "bits", "9", "bits: found 9, expected a whole number from 2 to 8, or 16"},
      {0, "bits", "\"8\"", "bits: found \"8\", expected a whole number"},
      {0, "bits", "8.0", "bits: found 8.0, expected a whole number"},
      {0, "channel_axis", "1", "channel_axis: found 1, expected null: one scale for the tensor"},
      {0, "channel_axis", "-1", "channel_axis: found -1, expected null"},
      {0, "channel_axis", NULL, "channel_axis: found nothing, expected null"},
      {1, "channel_axis", "-1", "point 'conv0.weight': channel_axis: found -1, expected null or 0 to 3"},
      {1, "channel_axis", "4", "channel_axis: found 4, expected null or 0 to 3, as the tensor has 4"},
      {1, "channel_axis", "0.5", "channel_axis: found 0.5, expected null or 0 to 3"},
      {1, "channel_axis", "0", "scale: found a list of 1, expected a list of 4 numbers, one per channel"},
      {1, "bits", "16", "bits: found 16, expected a whole number from 2 to 8"},
      {0, "kind", "\"bias\"", "kind: found \"bias\", expected weight or activation"},
      {0, "kind", "\"weight\"", "kind: found \"weight\", expected activation: the tensor is no constant"},
      {0, "kind", "7", "kind: found 7, expected weight or activation"},
      {0, "kind", NULL, "kind: found nothing, expected weight or activation"},
      {0, "tensor", "\"nowhere\"", "points[0]: tensor: found \"nowhere\", expected a float32 tensor of"},
      {0, "tensor", "5", "points[0]: tensor: found 5, expected text"},
      {0, "tensor", "\"\"", "points[0]: tensor: found \"\", expected text"},
      {0, "tensor", "\"a\\nb\"", "tensor: found \"a?b\", expected"},
      {0, "tensor", NULL, "points[0]: tensor: found nothing, expected text"},
      {2, "tensor", "\"input\"", "point 'input': tensor: found \"input\", expected one point for a tensor"},
      {0, "consumers", "[\"conv1\"]",
       "consumers[0]: found \"conv1\", expected a node of model.onnx that reads"},
      {0, "consumers", "[\"conv0\", \"conv0\"]", "consumers[1]: found \"conv0\", expected a node"},
      {0, "consumers", "[3]", "consumers[0]: found 3, expected a node"},
      {0, "consumers", "[]", "consumers: found a list of 0, expected at least one"},
      {0, "consumers", "\"conv0\"", "consumers: found \"conv0\", expected a list of names of nodes"},
      {0, "consumers", NULL, "consumers: found nothing, expected a list"},
      {0, "network_output", "true", "network_output: found true, expected false"},
      {0, "network_output", "0", "network_output: found 0, expected true or false"},
      {0, "reason", "5", "reason: found 5, expected text or null"},
      {0, "observer", "5", "observer: found 5, expected text or null"},
      {0, "observer_parameter", "\"x\"", "observer_parameter: found \"x\", expected a number or null"},
      {0, "custom_range", "1", "custom_range: found 1, expected true or false"},
  };
  TRY("snpe", "quant.json", harms);
}

static void points_per_channel(void **state) {
  (void)state;
  make_bundle("tensorrt", "tensorrt", 0, 0);
  static const struct harm harms[] = {
      {1, "channel_axis", "1", "scale: found a list of 4, expected a list of 3 numbers"},
      {1, "channel_axis", "null", "scale: found a list of 4, expected a list of 1 numbers"},
      {1, "scale", "[1, 1, 1]", "scale: found a list of 3, expected a list of 4 numbers"},
      {1, "scale", "[1, 1, 1, 0]", "scale[3]: found 0, expected a number from"},
      {1, "zero_point", "[0, 0, 0]", "zero_point: found a list of 3, expected a list of 4"},
      {1, "zero_point", "[0, 0, 1, 0]", "zero_point[2]: found 1, expected 0"},
      {1, "narrow", "false", "quant_min: found -127, expected -128, the bound of int8 symmetric"},
      {1, "quant_min", "-128", "quant_min: found -128, expected -127, the bound of int8 narrow"},
      {1, "signed", "false", "narrow: found true, expected false"},
  };
  TRY("tensorrt", "quant.json", harms);
}

static void points_of_powers_of_two(void **state) {
  (void)state;
  make_bundle("tvm", "tvm", 4, 16);
  static const struct harm harms[] = {
      {0, "scale", "[0.3]", "scale[0]: found 0.3, expected a power of two"},
      {0, "scale", "[0.375]", "scale[0]: found 0.375, expected a power of two"},
      {0, "scale", "[0.25]", NULL},
      {0, "power_of_two", "false", NULL},
      {0, "quant_max", "32768", "quant_max: found 32768, expected 32767, the bound of int16"},
      {1, "quant_min", "-7", "quant_min: found -7, expected -8, the bound of int4"},
  };
  TRY("tvm", "quant.json", harms);
}

static void the_file_itself(void **state) {
  (void)state;
  make_bundle("file", "snpe", 0, 0);
  static const struct harm harms[] = {
      {-1, "points", NULL, "/quant.json: points: found nothing, expected a list of points, at least one"},
      {-1, "points", "[]", "/quant.json: points: found a list of 0, expected a list of points, at least one"},
      {-1, "points", "{}", "points: found an object, expected a list"},
      {-1, "points", "[5]", "/quant.json: points[0]: found 5, expected an object"},
      {-1, "points", "[[]]", "points[0]: found a list of 0, expected an object"},
      {-1, "target", NULL, "target: found nothing, expected text"},
      {-1, "target", "\"\"", "target: found \"\", expected text"},
      {-1, "target", "8", "target: found 8, expected text"},
      {-1, "target", "\"0123456789012345678901234567890123456789012345678901234567890123456789\"",
       "expected at most 64 characters"},
      {-1, "arithmetic", "3", "arithmetic: found 3, expected none or dequant_f32 or fbgemm"},
      {-1, "arithmetic", "\"magic\"", "arithmetic: found \"magic\", expected none or"},
      {-1, "arithmetic", "null", NULL},
      {-1, "pool", "\"deep\"", "pool: found \"deep\", expected none or output or input_scale"},
      {-1, "half_even", "1", "half_even: found 1"},
      {-1, "float_nodes", "3", "float_nodes: found 3, expected a list"},
      {-1, "float_nodes", "[\"nobody\"]", "expected an add or an average of model.onnx"},
      {-1, "float_nodes", "[]", NULL},
      {-1, "added_later", "[1]", NULL},
  };
  TRY("file", "quant.json", harms);
}

static void preprocessing(void **state) {
  (void)state;
  make_bundle("pre", "snpe", 0, 0);
  static const struct harm harms[] = {
      {-1, "layout", NULL, "/preprocess.json: layout: found nothing, expected nchw or nhwc"},
      {-1, "layout", "\"chwn\"", "layout: found \"chwn\", expected nchw or nhwc"},
      {-1, "layout", "5", "layout: found 5, expected nchw or nhwc"},
      {-1, "channels", "\"rbg\"", "channels: found \"rbg\", expected rgb or bgr"},
      {-1, "resize", "-1", "resize: found -1, expected a whole number from 0 to 16384"},
      {-1, "resize", "2.5", "resize: found 2.5, expected a whole number"},
      {-1, "crop", "16385", "crop: found 16385, expected a whole number from 0 to 16384"},
      {-1, "size", "[3]", "size: found a list of 1, expected a list of 2 whole numbers"},
      {-1, "size", "[0, 8]", "size[0]: found 0, expected both 0 (as the image is) or neither"},
      {-1, "size", "[8, \"8\"]", "size[1]: found \"8\", expected a whole number from 0 to 16384"},
      {-1, "size", "[8, 8]", NULL},
      {-1, "mean", "[0, 0, \"x\"]", "mean[2]: found \"x\", expected a number"},
      {-1, "mean", "[0, 0, 1e39]", "mean[2]: found"},
      {-1, "mean", "[0, 0]", "mean: found a list of 2, expected a list of 3 numbers"},
      {-1, "std", "[1, 0, 1]", "std[1]: found 0, expected a number from"},
      {-1, "std", "[1, -1, 1]", "std[1]: found -1, expected a number from"},
      {-1, "apply_exif", "2", "apply_exif: found 2, expected true or false"},
      {-1, "labels", "{}", "labels: found an object, expected a list of names of classes"},
      {-1, "labels", "[1]", "labels[0]: found 1, expected the name of a class"},
      {-1, "means", "[0, 0, 0]", "/preprocess.json: unknown key 'means', expected layout, channels"},
      {-1, "resize", NULL, NULL},
  };
  TRY("pre", "preprocess.json", harms);
}

static void the_manifest(void **state) {
  (void)state;
  make_bundle("manifest", "snpe", 0, 0);
  static const struct harm harms[] = {
      {-1, "top1", "\"good\"",
       "/manifest.json: top1: found \"good\", expected a number from 0 to 1, or null"},
      {-1, "float_top1", "1.5", "float_top1: found 1.5, expected a number from 0 to 1"},
      {-1, "top1", NULL, NULL},
      {-1, "files", NULL, "files: found nothing, expected an object with the SHA-256 of each file"},
      {-1, "files", "{\"model.onnx\": 5}", "files: model.onnx: found 5, expected text"},
      {-1, "files", "{\"model.onnx\": \"00\"}", "the bundle is mixed or damaged: found"},
  };
  TRY("manifest", "manifest.json", harms);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(points_of_one_scale),     cmocka_unit_test(points_per_channel),
      cmocka_unit_test(points_of_powers_of_two), cmocka_unit_test(the_file_itself),
      cmocka_unit_test(preprocessing),           cmocka_unit_test(the_manifest),
  };
  return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
