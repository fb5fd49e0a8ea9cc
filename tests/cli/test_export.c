/* The export command, and the exports that quantize writes. */
#include "help_program.h"

#define MODEL MODELS "/tiny_resnet_cifar.onnx"
#define DATA "npy:x.npy,labels=y.npy"

static struct outcome o;

static int set_up(void **state) {
  make_scratch(state);
  write_images(24);
  return 0;
}

static int shell(const char *format, ...) MQ_PRINTF(1, 2);
static int shell(const char *format, ...) {
  char line[2000], command[2600];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  snprintf(command, sizeof command, "cd '%s' && %s", scratch, line);
  return system(command);
}

static void quantize(const char *target, const char *bundle, const char *options) {
  run(&o, "quantize " MODEL " --target %s --data " DATA " -o %s -q %s", target, bundle, options);
  if (o.status != 0) {
    fail_msg("quantize %s %s: %s", target, options, o.err);
  }
}

static size_t list_formats(const char *names[16]) {
  static json_t *object;
  run(&o, "list formats --json");
  assert_int_equal(o.status, 0);
  json_decref(object);
  object = parse_json(&o);
  const json_t *items = json_object_get(object, "items");
  for (size_t i = 0; i < json_array_size(items); i++) {
    names[i] = json_string_value(json_object_get(json_array_get(items, i), "name"));
  }
  return json_array_size(items);
}

/* The contract: files lists what was written, and writing it again gives the same bytes. */
static void the_command_writes_what_quantize_writes(void **state) {
  (void)state;
  quantize("snpe", "b", "");
  run(&o, "export b --format onnx_qdq -o elsewhere/net.onnx --json");
  assert_int_equal(o.status, 0);
  json_t *object = parse_json(&o);
  const json_t *files = json_object_get(object, "files");
  assert_int_equal(json_array_size(files), 1);
  assert_string_equal(json_string_value(json_array_get(files, 0)), "elsewhere/net.onnx");
  json_decref(object);
  assert_int_equal(shell("cmp b/export/onnx_qdq.onnx elsewhere/net.onnx"), 0);
  assert_int_equal(shell("rm -r b/export"), 0);
  run(&o, "export b --format onnx_qdq");
  assert_int_equal(o.status, 0);
  assert_string_equal(o.out, "b/export/onnx_qdq.onnx\n");
  assert_int_equal(shell("cmp b/export/onnx_qdq.onnx elsewhere/net.onnx"), 0);
}

static void the_manifest_lists_them(void **state) {
  (void)state;
  quantize("snpe", "m", "");
  assert_int_equal(shell("grep -q \"$(sha256sum m/export/onnx_qdq.onnx | cut -d' ' -f1)\" m/manifest.json"),
                   0);
}

/* A bundle of another target leaves no artefact of the one before, and nothing of the user's goes. */
static void old_exports_go(void **state) {
  (void)state;
  quantize("snpe", "again", "");
  assert_int_equal(shell("test -e again/export/onnx_qdq.onnx && touch again/export/mine"), 0);
  quantize("academic", "again", "");
  assert_int_equal(shell("test ! -e again/export/onnx_qdq.onnx && test -e again/export/mine"), 0);
}

static void evaluating_an_export_gives_nearly_the_bundles_answer(void **state) {
  (void)state;
  static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
  for (size_t i = 0; i < 12; i++) {
    double loss[2];
    char lines[2][200];
    quantize(targets[i / 2], "e", i % 2 ? "--w-bits 4 --a-bits 5" : "");
    run(&o, "export e --format onnx_qdq");
    assert_int_equal(o.status, 0);
    snprintf(lines[0], sizeof lines[0], "eval e --data " DATA " --json -q");
    snprintf(lines[1], sizeof lines[1], "eval e/export/onnx_qdq.onnx --data " DATA " --json -q");
    for (size_t k = 0; k < 2; k++) {
      run(&o, "%s", lines[k]);
      json_t *object = parse_json(&o);
      loss[k] = json_real_value(json_object_get(object, "loss"));
      json_decref(object);
    }
    if (!(loss[1] - loss[0] < 0.1 &&
          loss[0] - loss[1] < 0.1)) { /* biases and averages are rounded in the file */
      fail_msg("%s: loss %g in the simulation, %g in the export", targets[i / 2], loss[0], loss[1]);
    }
  }
}

static void what_a_format_cannot_express_is_told(void **state) {
  (void)state;
  const char *formats[16];
  assert_true(list_formats(formats) >= 1);
  const struct {
    const char *arguments, *says;
    int status;
  } cases[] = {
      {"export b", "--format is missing", 2},
      {"export b --format onnx", "--format onnx: unknown, expected one of: onnx_qdq", 2},
      {"export no-such --format onnx_qdq", "no-such: not a bundle", 3},
      {"export " MODEL " --format onnx_qdq", "not a bundle", 3},
      {"export b --format onnx_qdq -o /proc/no/such", "/proc", 4},
  };
  quantize("snpe", "b", "");
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    run(&o, "%s", cases[i].arguments);
    if (o.status != cases[i].status || !strstr(o.err, cases[i].says)) {
      fail_msg("'%s': status %d, %s", cases[i].arguments, o.status, o.err);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_command_writes_what_quantize_writes),
      cmocka_unit_test(the_manifest_lists_them),
      cmocka_unit_test(old_exports_go),
      cmocka_unit_test(evaluating_an_export_gives_nearly_the_bundles_answer),
      cmocka_unit_test(what_a_format_cannot_express_is_told),
  };
  return cmocka_run_group_tests(tests, set_up, drop_scratch);
}
