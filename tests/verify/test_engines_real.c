/* Exports in the engines they are for, as far as these are installed: the engine's answer is the
 * simulation's, but for the arithmetic. */
#include <math.h>
#include <unistd.h>

#include "base/file.h"
#include "common.h"
#include "mqbench/deploy.h"
#include "mqbench/engine.h"
#include "mqbench/verify.h"

#define MODEL MQ_TESTS_DIRECTORY "/load/models/tiny_resnet_cifar.onnx"
#define IMAGES 24
#define SIDE 16

static char scratch[512];
static struct mq_tensor images;
static int n_skipped, n_run;

static const char *path_of(const char *name) {
  static char path[700];
  snprintf(path, sizeof path, "%s/%s", scratch, name);
  return path;
}

static int set_up(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_rng rng;
  const struct mq_shape shape = {.rank = 4, .dim = {IMAGES, 3, SIDE, SIDE}};
  strcpy(scratch, make_test_directory());
  mq_rng_init(&rng, 1, MQ_RNG_TEST, 0, 0);
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK ||
      mq_tensor_init(&images, MQ_F32, &shape, &err) != MQ_OK) {
    return 1;
  }
  for (int64_t i = 0; i < mq_shape_count(&shape); i++) {
    ((float *)images.data)[i] = 4 * mq_rng_float(&rng) - 2;
  }
  return mq_npy_write(path_of("x.npy"), &images, &err) == MQ_OK ? 0 : 1;
}

static int tear_down(void **state) {
  (void)state;
  mq_tensor_deinit(&images);
  remove_test_directory(scratch);
  return 0;
}

/* ---- The simulation ---- */
struct simulation {
  float *logits;
  int64_t n_classes;
};

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                      struct mq_err *err) {
  (void)context, (void)worker, (void)err;
  struct mq_tensor part =
      mq_tensor_view((float *)images.data + slice * 8 * 3 * SIDE * SIDE, MQ_F32, &inputs[0].shape, NULL);
  mq_tensor_copy(&inputs[0], &part);
  return MQ_OK;
}

static mq_status take(void *context, size_t slice, unsigned worker, const struct mq_tensor *outputs,
                      struct mq_err *err) {
  (void)worker, (void)err;
  struct simulation *s = context;
  s->n_classes = outputs[0].shape.dim[1];
  for (int64_t i = 0; i < 8 * s->n_classes; i++) {
    s->logits[(int64_t)slice * 8 * s->n_classes + i] = (float)mq_tensor_get_double(&outputs[0], i);
  }
  return MQ_OK;
}

static void simulate(struct simulation *s, const struct mq_bundle *bundle) {
  struct mq_err err = {0};
  struct mq_pool *pool = NULL;
  struct mq_engine *engine = NULL;
  const struct mq_engine_options options = {.slice_images = 8,
                                            .points = bundle->prepared.points,
                                            .n_points = bundle->prepared.n_points,
                                            .simulates = true};
  const struct mq_engine_job job = {.context = s, .n_slices = IMAGES / 8, .fill = fill, .take = take};
  s->logits = mq_alloc(IMAGES * 64, sizeof *s->logits);
  assert_ok(mq_pool_create(&pool, 1, mq_kernel_start_worker, &err));
  assert_ok(mq_engine_create(&engine, bundle->prepared.graph, &options, pool, &err));
  assert_ok(mq_engine_run(engine, &job, &err));
  mq_engine_destroy(engine);
  mq_pool_destroy(pool);
}

/* ---- One pair of target and engine ---- */
static void make_bundle(struct mq_bundle *bundle, const char *target, const char *bits) {
  struct mq_err err = {0};
  char command[2000];
  snprintf(command, sizeof command,
           "cd '%s' && '" MQ_PROGRAM "' quantize '" MODEL
           "' --target %s %s --data npy:x.npy -o b -q >/dev/null 2>&1",
           scratch, target, bits);
  assert_int_equal(system(command), 0);
  assert_ok(mq_bundle_read(bundle, path_of("b"), &err));
}

/* The root of the mean square of the differences, as a part of that of the values. */
static double relative_error(const float *a, const struct mq_tensor *b) {
  double differences = 0, values = 0;
  for (int64_t i = 0; i < mq_shape_count(&b->shape); i++) {
    double d = (double)a[i] - mq_tensor_get_double(b, i);
    differences += d * d;
    values += (double)a[i] * (double)a[i];
  }
  return sqrt(differences / values);
}

static void compare(const char *engine, const char *format, const char *target, const char *bits,
                    double most) {
  struct mq_adapter_info info;
  struct mq_adapter_result result;
  struct mq_bundle bundle;
  struct simulation s = {.logits = NULL};
  struct mq_err err = {0};
  char *adapter = NULL, model[700];
  assert_ok(mq_adapter_find(&adapter, engine, &err));
  assert_ok(mq_adapter_probe(&info, adapter, 120, &err));
  if (!info.is_available) {
    print_message("%s: skipped: %s\n", engine, info.reason);
    n_skipped++;
    mq_free(adapter);
    return;
  }
  make_bundle(&bundle, target, bits);
  simulate(&s, &bundle);
  strcpy(model, path_of("exported.onnx"));
  assert_ok(mq_export(mq_exporter_find(format), path_of("exported"), &bundle, &err));
  const char *input = bundle.prepared.graph->inputs[0]->name;
  const struct mq_adapter_job job = {.adapter = adapter,
                                     .model = model,
                                     .input_names = &input,
                                     .inputs = &images,
                                     .n_inputs = 1,
                                     .batch = 10,
                                     .timeout_seconds = 300};
  if (mq_adapter_run(&result, &job, &err) != MQ_OK) {
    fail_msg("%s %s %s: %s", engine, target, bits, err.message);
  }
  assert_string_equal(result.engine, engine);
  assert_string_equal(result.names[0], "output");
  assert_int_equal(mq_shape_count(&result.outputs[0].shape), IMAGES * s.n_classes);
  double error = relative_error(s.logits, &result.outputs[0]);
  print_message("%s %s, %s %s: relative error %.2g, %zu nodes\n", engine, info.version, target, bits, error,
                result.n_nodes);
  if (!(error <= most)) {
    fail_msg("%s %s %s: relative error %g, expected at most %g", engine, target, bits, error, most);
  }
  n_run++;
  mq_adapter_result_deinit(&result);
  mq_bundle_deinit(&bundle);
  mq_free(s.logits);
  mq_free(adapter);
}

/* Values that meet a tie or an end of their range fall one step elsewhere, and steps of 4 bits are wide; a
 * wrong zero point, scale or range is far more. */
static void engines_agree_with_the_simulation(void **state) {
  (void)state;
  static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
  for (size_t i = 0; i < 6; i++) {
    compare("onnxruntime", "onnx_qdq", targets[i], "", 0.05);
    compare("openvino", "openvino", targets[i], "", 0.05);
  }
  compare("onnxruntime", "onnx_qdq", "snpe", "--w-bits 4 --a-bits 4", 0.3);
  compare("onnxruntime", "onnx_qdq", "tensorrt", "--w-bits 4 --a-bits 4", 0.3);
  compare("onnxruntime", "onnx_qdq", "snpe", "--a-bits 16", 0.05);
  compare("fbgemm", "onnx_qdq", "fbgemm", "", 0.05);
  compare("fbgemm", "onnx_qdq", "tvm", "--w-bits 4 --a-bits 4", 0.3);
  compare("tvm", "onnx_qdq", "tvm", "", 0.05);
}

/* `verify` answers "no" (1) where a twin's outputs are not the program's, bit for bit. */
static void twins_give_the_programs_bits(void **state) {
  (void)state;
  static const char *const twins[][2] = {{"onnx_qoperator", "onnxruntime"},
                                         {"fbgemm_lib", "fbgemm"},
                                         {"tflite", "tflite_ref"},
                                         {"xnnpack", "tflite"}};
  static const char *const bits[] = {"", "--w-bits 4 --a-bits 4"};
  for (size_t i = 0; i < 2 * sizeof twins / sizeof twins[0]; i++) {
    struct mq_adapter_info info;
    struct mq_bundle bundle;
    struct mq_err err = {0};
    char *adapter = NULL, command[2000];
    assert_ok(mq_adapter_find(&adapter, twins[i / 2][1], &err));
    assert_ok(mq_adapter_probe(&info, adapter, 120, &err));
    mq_free(adapter);
    if (!info.is_available) {
      print_message("%s: skipped: %s\n", twins[i / 2][1], info.reason);
      n_skipped++;
      continue;
    }
    make_bundle(&bundle, twins[i / 2][0], bits[i % 2]);
    mq_bundle_deinit(&bundle);
    snprintf(command, sizeof command,
             "cd '%s' && '" MQ_PROGRAM
             "' verify b --data npy:x.npy --engine %s -q >answer 2>&1 && "
             "grep -q '^%s  *0 of .*must not differ' answer", /* not skipped either */
             scratch, twins[i / 2][1], twins[i / 2][1]);
    if (system(command) != 0)
      fail_msg("%s %s: not the program's bits, or the engine failed", twins[i / 2][0], bits[i % 2]);
    print_message("%s %s, %s %s: the same bits\n", info.engine, info.version, twins[i / 2][0], bits[i % 2]);
    n_run++;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(engines_agree_with_the_simulation),
                                     cmocka_unit_test(twins_give_the_programs_bits)};
  if (system("python3 -c 'import json' 2>/dev/null") != 0) {
    printf("skipped: no python3\n");
    return 77;
  }
  int failed = cmocka_run_group_tests(tests, set_up, tear_down);
  return failed ? failed : n_run == 0 && n_skipped > 0 ? 77 : 0;
}
