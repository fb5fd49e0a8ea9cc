/* quantize, eval and diff through the program: the bundle is complete, reproducible and reads back. */
#include <math.h>

#include "base/file.h"
#include "help_program.h"
#include "mqbench/load.h"
#include "mqbench/tensor.h"

#define DATA "npy:x.npy,labels=y.npy,mean=0.5/0.5/0.5,std=0.25/0.25/0.25"
#define MODEL MODELS "/tiny_resnet_cifar.onnx"

static struct outcome o;

static int set_up(void **state) {
  make_scratch(state);
  write_images(40);
  return 0;
}

static json_int_t integer(const json_t *object, const char *key) {
  return json_integer_value(json_object_get(object, key));
}

static bool files_equal(const char *a, const char *b) {
  char command[1400];
  snprintf(command, sizeof command, "cmp -s '%s/%s' '%s/%s'", scratch, a, scratch, b);
  return system(command) == 0;
}

static void quantize_writes_a_bundle_that_evaluates_to_the_same(void **state) {
  (void)state;
  const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
  for (size_t i = 0; i < 6; i++) {
    run(&o, "quantize " MODEL " --target %s --data " DATA " -o %s --calib 16 --json", targets[i], targets[i]);
    if (o.status) {
      fail_msg("%s: %s", targets[i], o.err);
    }
    json_t *made = parse_json(&o);
    assert_string_equal(json_string_value(json_object_get(made, "target")), targets[i]);
    assert_int_equal(integer(made, "images"), 40);
    run(&o, "eval %s --data npy:x.npy,labels=y.npy --json", targets[i]);
    assert_int_equal(o.status, 0);
    json_t *read = parse_json(&o);
    assert_string_equal(json_string_value(json_object_get(read, "mode")), "simulate");
    assert_int_equal(integer(read, "correct"), integer(made, "correct"));
    int64_t simulated = integer(read, "correct");
    json_decref(read);
    run(&o, "eval %s --data npy:x.npy,labels=y.npy --mode exact --json", targets[i]);
    assert_int_equal(o.status, 0);
    json_t *exact = parse_json(&o);
    assert_string_equal(json_string_value(json_object_get(exact, "mode")), "exact");
    run(&o, "eval %s --data npy:x.npy,labels=y.npy --mode reference --json", targets[i]);
    assert_int_equal(o.status, 0);
    read = parse_json(&o);
    assert_true(json_equal(json_object_get(read, "loss"), json_object_get(exact, "loss")));
    assert_true(json_equal(json_object_get(read, "correct"), json_object_get(exact, "correct")));
    json_decref(exact);
    assert_string_equal(json_string_value(json_object_get(read, "mode")), "reference");
    assert_in_range(integer(read, "correct") + 4 - simulated, 0, 8);
    run(&o, "eval %s/float.onnx --data " DATA " --json", targets[i]);
    json_t *plain = parse_json(&o);
    assert_string_equal(json_string_value(json_object_get(plain, "mode")), "float");
    double float_top1 = json_real_value(json_object_get(made, "float_top1"));
    assert_true(float_top1 == json_real_value(json_object_get(plain, "top1")));
    json_decref(made);
    json_decref(read);
    json_decref(plain);
  }
}

static void the_same_command_gives_the_same_bytes_for_any_threads(void **state) {
  (void)state;
  const char *const files[] = {"model.onnx", "float.onnx", "quant.json", "preprocess.json", "program.mqi"};
  for (int threads = 1; threads <= 3; threads++) {
    run(&o,
        "quantize " MODEL " --target fbgemm --data " DATA
        " --a-observer mse --calib 24 -o t%d --threads %d -q",
        threads, threads);
    assert_int_equal(o.status, 0);
    for (size_t i = 0; i < 5 && threads > 1; i++) {
      char one[64], other[64];
      snprintf(one, sizeof one, "t1/%s", files[i]);
      snprintf(other, sizeof other, "t%d/%s", threads, files[i]);
      assert_true(files_equal(one, other));
    }
  }
  run(&o, "quantize " MODEL " --target fbgemm --data " DATA " --a-observer mse --calib 24 -o s1 --seed 1 -q");
  assert_int_equal(o.status, 0);
  assert_false(files_equal("t1/quant.json", "s1/quant.json"));
}

static void quant_json_has_the_contract_s_fields(void **state) {
  (void)state;
  run(&o, "quantize " MODEL " --target tensorrt --data " DATA " -o contract -q");
  assert_int_equal(o.status, 0);
  char path[600];
  snprintf(path, sizeof path, "%s/contract/quant.json", scratch);
  json_t *quant = json_load_file(path, 0, NULL);
  assert_non_null(quant);
  assert_string_equal(json_string_value(json_object_get(quant, "target")), "tensorrt");
  assert_string_equal(json_string_value(json_object_get(quant, "arithmetic")), "trt_model");
  const json_t *points = json_object_get(quant, "points");
  assert_true(json_array_size(points) > 5);
  size_t n_weights = 0;
  for (size_t i = 0; i < json_array_size(points); i++) {
    const json_t *point = json_array_get(points, i);
    bool is_weight = !strcmp(json_string_value(json_object_get(point, "kind")), "weight");
    n_weights += is_weight;
    assert_int_equal(integer(point, "bits"), 8);
    assert_true(json_is_true(json_object_get(point, "signed")));
    assert_true(json_is_true(json_object_get(point, "narrow")));
    assert_int_equal(integer(point, "quant_min"), -127);
    assert_int_equal(integer(point, "quant_max"), 127);
    assert_true(is_weight == json_is_integer(json_object_get(point, "channel_axis")));
    const json_t *scales = json_object_get(point, "scale");
    assert_int_equal(json_array_size(scales), json_array_size(json_object_get(point, "zero_point")));
    assert_true(is_weight ? json_array_size(scales) > 1 : json_array_size(scales) == 1);
  }
  assert_true(n_weights > 2);
  json_decref(quant);
}

static void diff_counts_points(void **state) {
  (void)state;
  run(&o, "quantize " MODEL " --target snpe --data " DATA " -o d1 -q");
  run(&o, "quantize " MODEL " --target snpe --data " DATA " -o d2 -q --a-observer mse --w-bits 4");
  run(&o, "diff d1 d1 --json");
  assert_int_equal(o.status, 0);
  json_t *same = parse_json(&o);
  assert_int_equal(integer(same, "different"), 0);
  assert_true(integer(same, "points") > 5);
  json_decref(same);
  run(&o, "diff d1 d2 --json");
  assert_int_equal(o.status, 1);
  json_t *other = parse_json(&o);
  assert_true(integer(other, "different") > 3);
  json_decref(other);
}

static void a_missed_bar_is_status_1(void **state) {
  (void)state;
  run(&o,
      "quantize " MODEL " --target tvm --w-bits 2 --a-bits 2 --data " DATA " -o low --max-drop -100 --json");
  assert_int_equal(o.status, 1);
  json_decref(parse_json(&o));
  run(&o, "quantize " MODEL " --target tvm --data " DATA " -o low --max-drop 100");
  assert_int_equal(o.status, 0);
}

static void layers_can_be_treated_differently(void **state) {
  (void)state;
  run(&o, "show " MODEL " --target snpe --json");
  json_t *all = parse_json(&o);
  const json_t *points = json_object_get(all, "points");
  const char *weight = NULL;
  for (size_t i = 0; i < json_array_size(points) && !weight; i++) {
    const json_t *point = json_array_get(points, i);
    if (!strcmp(json_string_value(json_object_get(point, "kind")), "weight")) {
      weight = json_string_value(json_object_get(point, "tensor"));
    }
  }
  assert_non_null(weight);
  run(&o, "show " MODEL " --target snpe --json --keep-float '%s'", weight);
  json_t *fewer = parse_json(&o);
  assert_true(json_array_size(json_object_get(fewer, "points")) < json_array_size(points));
  run(&o, "show " MODEL " --target snpe --json --bits '%s=4'", weight);
  json_t *narrow = parse_json(&o);
  const json_t *changed = json_object_get(narrow, "points");
  size_t n_narrow = 0;
  for (size_t i = 0; i < json_array_size(changed); i++) {
    n_narrow += integer(json_array_get(changed, i), "bits") == 4;
  }
  assert_true(n_narrow >= 1 && n_narrow <= 2);
  json_decref(all);
  json_decref(fewer);
  json_decref(narrow);
}

static void without_labels_agreement_is_reported(void **state) {
  (void)state;
  run(&o, "quantize " MODEL " --target snpe --data npy:x.npy -o unlabelled --json");
  assert_int_equal(o.status, 0);
  json_t *made = parse_json(&o);
  assert_true(json_is_null(json_object_get(made, "top1")));
  json_decref(made);
  run(&o, "eval unlabelled --data npy:x.npy --json");
  assert_int_equal(o.status, 0);
  json_t *read = parse_json(&o);
  assert_true(json_is_null(json_object_get(read, "top1")));
  double agreement = json_real_value(json_object_get(read, "agreement_with_float"));
  assert_true(agreement > 0.5 && agreement <= 1);
  json_decref(read);
}

static int MQ_PRINTF(1, 2) shell(const char *format, ...) {
  char line[1200], command[2000];
  va_list list;
  va_start(list, format);
  vsnprintf(line, sizeof line, format, list);
  va_end(list);
  snprintf(command, sizeof command, "cd '%s' && { %s; } 2>/dev/null", scratch, line);
  return system(command);
}

/* Makes the manifest agree with the files again, so that what is wrong in a file itself is found. */
static void reseal(const char *bundle) {
  static const char *const names[] = {"model.onnx", "preprocess.json", "quant.json"};
  char path[700], hex[65];
  struct mq_err err = {0};
  snprintf(path, sizeof path, "%s/%s/manifest.json", scratch, bundle);
  json_t *manifest = json_load_file(path, 0, NULL);
  assert_non_null(manifest);
  for (size_t i = 0; i < 3; i++) {
    char file[700];
    snprintf(file, sizeof file, "%s/%s/%s", scratch, bundle, names[i]);
    assert_ok(mq_sha256_file(hex, file, &err));
    json_object_set_new(json_object_get(manifest, "files"), names[i], json_string(hex));
  }
  assert_int_equal(json_dump_file(manifest, path, 0), 0);
  json_decref(manifest);
}

static void damaged_bundles_are_refused(void **state) {
  (void)state;
  run(&o, "quantize " MODEL " --target snpe --data " DATA " -o whole -q");
  assert_int_equal(o.status, 0);
  const char *const harms[] = {
      "echo '{' > hurt/quant.json",
      "echo '[]' > hurt/quant.json",
      "echo '{\"target\": \"snpe\"}' > hurt/quant.json",
      "echo '{\"target\": \"snpe\", \"points\": [{\"tensor\": \"nowhere\"}]}' > hurt/quant.json",
      "echo '{\"target\": \"snpe\", \"points\": [{\"tensor\": \"input\", \"kind\": \"activation\", \"bits\": "
      "8, "
      "\"quant_min\": 0, \"quant_max\": 255, \"scale\": [-1], \"zero_point\": [0]}]}' > hurt/quant.json",
      "echo x > hurt/model.onnx",
      "echo '{\"layout\": 5}' > hurt/preprocess.json",
      "echo '{\"layout\": \"nchw\", \"size\": [3]}' > hurt/preprocess.json",
      "echo '{\"layout\": \"nchw\", \"mean\": [0, 0, \"x\"]}' > hurt/preprocess.json"};
  for (size_t i = 0; i < sizeof harms / sizeof harms[0]; i++) {
    assert_int_equal(shell("rm -rf hurt && cp -r whole hurt && %s", harms[i]), 0);
    run(&o, "eval hurt --data " DATA);
    if (o.status != 3 || !strstr(o.err, "differs from the manifest's hash")) {
      fail_msg("after '%s': status %d, %s", harms[i], o.status, o.err);
    }
    reseal("hurt");
    run(&o, "eval hurt --data " DATA);
    if (o.status != 3 || strstr(o.err, "manifest")) {
      fail_msg("after '%s', resealed: status %d, %s", harms[i], o.status, o.err);
    }
  }
  assert_int_equal(shell("rm -rf hurt && cp -r whole hurt && rm hurt/quant.json"), 0);
  run(&o, "eval hurt --data " DATA);
  assert_int_equal(o.status, 3);
  assert_int_equal(shell("rm -rf hurt && cp -r whole hurt && echo '{}' > hurt/preprocess.json"), 0);
  reseal("hurt");
  run(&o, "eval hurt --data " DATA); /* no preprocessing in the bundle: the data's own counts */
  assert_int_equal(o.status, 0);
}

static void mixed_bundles_are_refused(void **state) {
  (void)state;
  run(&o, "quantize " MODEL " --target snpe --data " DATA " -o one -q");
  run(&o, "quantize " MODEL " --target snpe --data " DATA " -o two -q --w-bits 4");
  assert_int_equal(shell("cp one/quant.json two/"), 0);
  run(&o, "eval two --data " DATA);
  assert_int_equal(o.status, 3);
  assert_non_null(strstr(o.err, "two/quant.json: differs from the manifest's hash: the bundle is mixed"));
  assert_int_equal(shell("sed -i 's/\"files\"/\"other\"/' one/manifest.json"), 0);
  run(&o, "eval one --data " DATA);
  assert_int_equal(o.status, 3);
  assert_non_null(strstr(o.err, "one/manifest.json: files"));
  assert_int_equal(shell("rm one/manifest.json"), 0);
  run(&o, "eval one --data " DATA);
  assert_int_equal(o.status, 3);
}

/* A limit on the size of a file stands for a full disk: model.onnx is larger than 4 blocks of 512 bytes. */
static void a_bundle_that_cannot_be_written_leaves_nothing(void **state) {
  (void)state;
  const char *const command =
      "trap '' XFSZ; ulimit -f 4; '" MQ_PROGRAM "' quantize " MODEL " --target snpe --data " DATA " -q -o";
  assert_int_not_equal(shell("%s full/ >/dev/null", command), 0);
  assert_int_equal(shell("test ! -e full"), 0);
  run(&o, "quantize " MODEL " --target snpe --data " DATA " -o full -q");
  assert_int_equal(o.status, 0);
  assert_int_equal(shell("ls full | tr '\\n' ' ' | "
                         "grep -qx 'export float.onnx manifest.json model.onnx preprocess.json program.mqi '"
                         "'quant.json '"),
                   0);
  assert_int_equal(shell("cp -r full kept"), 0);
  assert_int_not_equal(shell("%s full --w-bits 4 >/dev/null", command), 0);
  assert_int_equal(shell("diff -r full kept"), 0);
}

static void data_and_model_that_disagree_say_what_to_set(void **state) {
  (void)state;
  run(&o, "eval " MODEL " --data fractal:,images=20");
  assert_int_equal(o.status, 3);
  assert_non_null(strstr(o.err, "size=16x16"));
}

static void write_tensor(const char *name, const struct mq_tensor *tensor) {
  char path[600];
  struct mq_err err = {0};
  snprintf(path, sizeof path, "%s/%s", scratch, name);
  assert_ok(mq_npy_write(path, tensor, &err));
}

static void assert_finite(const char *command, bool is_finite) {
  run(&o, "%s", command);
  assert_int_equal(o.status, 0);
  json_t *object = parse_json(&o);
  assert_true(json_is_boolean(json_object_get(object, "finite")));
  assert_true(json_is_true(json_object_get(object, "finite")) == is_finite);
  assert_true((strstr(o.err, "outputs contain NaN or infinite values") != NULL) == !is_finite);
  json_decref(object);
}

static void nan_and_infinity_are_told(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_shape shape = {.rank = 4, .dim = {9, 16, 16, 3}};
  struct mq_tensor images = {0};
  assert_ok(mq_tensor_init(&images, MQ_F32, &shape, &err));
  const char *const command = "eval " MODEL " --data npy:f.npy --json";
  write_tensor("f.npy", &images);
  assert_finite(command, true);
  ((float *)images.data)[8 * 16 * 16 * 3 + 5] = NAN;
  write_tensor("f.npy", &images);
  assert_finite(command, false);
  ((float *)images.data)[8 * 16 * 16 * 3 + 5] = -INFINITY;
  write_tensor("f.npy", &images);
  assert_finite(command, false);
  mq_tensor_deinit(&images);
}

static void a_model_with_a_nan_weight_is_told(void **state) {
  (void)state;
  char path[600];
  struct mq_err err = {0};
  struct mq_graph *graph = NULL;
  assert_ok(mq_onnx_read(&graph, MODEL, NULL, &err));
  for (size_t i = 0; i < graph->n_values; i++) {
    struct mq_tensor *constant = graph->values[i]->constant;
    if (constant && constant->shape.rank == 4) {
      ((float *)constant->data)[0] = NAN;
      break;
    }
  }
  snprintf(path, sizeof path, "%s/nan.onnx", scratch);
  assert_ok(mq_onnx_write(path, graph, &err));
  mq_graph_destroy(graph);
  assert_finite("eval nan.onnx --data " DATA " --json", false);
  assert_finite("eval " MODEL " --data " DATA " --json", true);
}

/* A float model has no target and no simulation; the message says what to do. */
static void eval_of_a_float_model_has_no_target(void **state) {
  (void)state;
  const struct {
    const char *arguments, *says;
  } cases[] = {{"--target snpe", "--target snpe: "},
               {"--target snpe --mode float", "--target snpe: "},
               {"--mode simulate", "quantize " MODEL " --target T --data"},
               {"--mode simulate --target acl", "quantize " MODEL " --target acl --data"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    run(&o, "eval " MODEL " --data " DATA " %s", cases[i].arguments);
    if (o.status != 2 || o.out[0] || !strstr(o.err, cases[i].says) || !strstr(o.err, "mqbench quantize")) {
      fail_msg("'%s': status %d, stderr '%s'", cases[i].arguments, o.status, o.err);
    }
  }
}

/* A model that is quantized already: its own points, a target's arithmetic. */
static void a_qdq_model_is_taken_as_it_is(void **state) {
  (void)state;
  static const char *const modes[] = {"float", "simulate", "reference"};
  for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
    run(&o, "eval " MODELS "/qdq.onnx --data npy:x.npy --json -q --mode %s", modes[i]);
    assert_int_equal(o.status, 0);
    json_t *object = parse_json(&o);
    assert_string_equal(json_string_value(json_object_get(object, "mode")), modes[i]);
    assert_string_equal(json_string_value(json_object_get(object, "target")), "onnx_qdq");
    json_decref(object);
  }
  run(&o, "eval " MODELS "/qdq.onnx --data npy:x.npy --mode reference");
  assert_int_equal(o.status, 0);
  assert_non_null(strstr(o.out, "target onnx_qdq (its arithmetic, as no --target is given)"));
  run(&o, "eval " MODELS "/qdq.onnx --data npy:x.npy --target acl");
  assert_int_equal(o.status, 0);
  run(&o, "eval " MODELS "/qdq.onnx --data npy:x.npy --target snpe");
  assert_int_equal(o.status, 3);
  assert_non_null(
      strstr(o.err, "point 'wq' (weights int8 symmetric per-channel): one scale for each channel"));
  run(&o, "show " MODELS "/qdq.onnx --target acl --w-bits 4");
  assert_int_equal(o.status, 2);
  assert_non_null(strstr(o.err, "quantized already (Q/DQ)"));
  run(&o, "show " MODELS "/qdq.onnx");
  assert_int_equal(o.status, 0);
  assert_non_null(strstr(o.out, "3 quantization points"));
}

static int count_of(const char *text, const char *what) {
  int n = 0;
  for (; (text = strstr(text, what)); text++) {
    n++;
  }
  return n;
}

/* Labels 0 to 3 for five classes: perhaps without a background class. Said once, whatever is measured. */
static void labels_that_may_lack_a_class_are_told_once(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_shape shape = {.rank = 1, .dim = {40}};
  struct mq_tensor labels = {0};
  assert_ok(mq_tensor_init(&labels, MQ_I64, &shape, &err));
  for (int i = 0; i < 40; i++) {
    ((int64_t *)labels.data)[i] = i % 4;
  }
  write_tensor("four.npy", &labels);
  mq_tensor_deinit(&labels);
  run(&o, "eval " MODEL " --data npy:x.npy,labels=four.npy");
  assert_int_equal(o.status, 0);
  assert_int_equal(count_of(o.err, "the largest label is 3"), 1);
  run(&o, "quantize " MODEL " --target snpe -o four --data npy:x.npy,labels=four.npy");
  assert_int_equal(o.status, 0);
  assert_int_equal(count_of(o.err, "the largest label is 3"), 1);
}

static void a_file_sorted_by_class_is_told(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_shape shape = {.rank = 1, .dim = {40}};
  struct mq_tensor labels = {0};
  assert_ok(mq_tensor_init(&labels, MQ_I64, &shape, &err));
  for (int i = 0; i < 40; i++) {
    ((int64_t *)labels.data)[i] = i / 8;
  }
  write_tensor("sorted.npy", &labels);
  mq_tensor_deinit(&labels);
  const char *const quantize = "quantize " MODEL " --target snpe -o sorted --data npy:x.npy,labels=";
  run(&o, "%ssorted.npy,calib_order=first --calib 16", quantize);
  assert_int_equal(o.status, 0);
  assert_non_null(strstr(o.err, "warning: the first 16 images hold 2 of 5 classes: a class-sorted file"));
  run(&o, "%ssorted.npy,calib_order=first --calib 8", quantize);
  assert_non_null(strstr(o.err, "the first 8 images hold 1 of 5 classes"));
  const char *const fine[] = {"sorted.npy,calib_order=first --calib 40", "sorted.npy --calib 16",
                              "y.npy,calib_order=first --calib 16"};
  for (size_t i = 0; i < 3; i++) {
    run(&o, "%s%s", quantize, fine[i]);
    assert_int_equal(o.status, 0);
    assert_null(strstr(o.err, "class-sorted"));
  }
}

/* --quiet takes notes away, not what a figure is worth. */
static void quiet_keeps_the_warnings(void **state) {
  (void)state;
  static const char *const says = "warning: measured on calibration data";
  run(&o, "quantize " MODEL " --target snpe --data " DATA " --calib 16 -o quiet");
  assert_non_null(strstr(o.err, says));
  run(&o, "quantize " MODEL " --target snpe --data " DATA " --calib 16 -o quiet --quiet");
  assert_int_equal(o.status, 0);
  assert_non_null(strstr(o.err, says));
  assert_int_equal(count_of(o.err, "\n"), 1);
  run(&o, "quantize " MODEL " --target snpe --data " DATA " --eval-data " DATA " --calib 16 -o quiet -q");
  assert_non_null(strstr(o.err, says));
  run(&o,
      "quantize " MODEL " --target snpe --data " DATA " --eval-data " DATA ",limit=8 --calib 16 -o quiet -q");
  assert_string_equal(o.err, "");
  run(&o, "quantize " MODEL " --target snpe --data " DATA " --eval-data " DATA ",limit=8 -o quiet -q");
  assert_int_equal(count_of(o.err, "calibrating on all 40 images, 256 were asked for"), 1);
  char path[700];
  snprintf(path, sizeof path, "%s/plan.yaml", scratch);
  const char *const plan = "models: " MODEL "\ndata: {train: \"" DATA "\", eval: \"" DATA
                           "\"}\ngrid: {method: ptq, target: [snpe, acl]}\ncalibration: {images: 80}\n";
  assert_int_equal(mq_file_write(path, plan, strlen(plan), NULL), MQ_OK);
  run(&o, "bench plan.yaml -o quiet-bench -q");
  assert_int_equal(o.status, 0);
  assert_int_equal(count_of(o.err, "measured on calibration data"), 1);
  assert_int_equal(count_of(o.err, "calibrating on all 40 images, 80 were asked for"), 1);
  assert_int_equal(count_of(o.err, "\n"), 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(quantize_writes_a_bundle_that_evaluates_to_the_same),
      cmocka_unit_test(the_same_command_gives_the_same_bytes_for_any_threads),
      cmocka_unit_test(quant_json_has_the_contract_s_fields),
      cmocka_unit_test(diff_counts_points),
      cmocka_unit_test(a_missed_bar_is_status_1),
      cmocka_unit_test(layers_can_be_treated_differently),
      cmocka_unit_test(without_labels_agreement_is_reported),
      cmocka_unit_test(damaged_bundles_are_refused),
      cmocka_unit_test(mixed_bundles_are_refused),
      cmocka_unit_test(a_bundle_that_cannot_be_written_leaves_nothing),
      cmocka_unit_test(data_and_model_that_disagree_say_what_to_set),
      cmocka_unit_test(nan_and_infinity_are_told),
      cmocka_unit_test(a_model_with_a_nan_weight_is_told),
      cmocka_unit_test(eval_of_a_float_model_has_no_target),
      cmocka_unit_test(a_qdq_model_is_taken_as_it_is),
      cmocka_unit_test(labels_that_may_lack_a_class_are_told_once),
      cmocka_unit_test(a_file_sorted_by_class_is_told),
      cmocka_unit_test(quiet_keeps_the_warnings),
  };
  return cmocka_run_group_tests(tests, set_up, drop_scratch);
}
