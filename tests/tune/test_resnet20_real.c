/* The pretrained ResNet-20 on CIFAR-10: PyTorch's logits and counts, the same bits for any number of workers,
 * and at 8 bit every setting within 25 images of float. */
#include <math.h>

#include "help_tune.h"
#include "mqbench/load.h"

#define FLOAT_CORRECT 8802

static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};

static struct mq_dataset *open_data(const char *file, int64_t limit) {
  struct mq_err err = {0};
  struct mq_data_spec spec;
  struct mq_dataset *data;
  char argument[1200];
  snprintf(argument, sizeof argument, "tar:%s,preset=cifar", shared_data(file));
  if (limit) {
    size_t n = strlen(argument);
    snprintf(argument + n, sizeof argument - n, ",limit=%d", (int)limit);
  }
  assert_ok(mq_data_spec_parse(&spec, argument, &err));
  assert_ok(mq_dataset_open(&data, &spec, &err));
  mq_data_spec_deinit(&spec);
  return data;
}

static struct mq_graph *open_model(void) {
  struct mq_err err = {0};
  struct mq_graph *graph;
  assert_ok(mq_onnx_read(&graph, shared_data("models/resnet20_cifar10.onnx"), NULL, &err));
  return graph;
}

static struct mq_pool *make_pool(unsigned workers) {
  struct mq_err err = {0};
  struct mq_pool *pool;
  assert_ok(mq_pool_create(&pool, workers, mq_kernel_start_worker, &err));
  return pool;
}

static void test_logits(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_tensor expected = {0}, logits;
  struct mq_graph *graph = open_model();
  struct mq_dataset *data = open_data("cifar10jpeg/test.tar", 0);
  struct mq_pool *pool = make_pool(2);
  struct mq_evaluate_options options = {0};
  assert_ok(mq_npy_read(&expected, shared_data("models/resnet20_cifar10_logits_first100.npy"), &err));
  assert_ok(mq_predict(&logits, graph, data, 100, &options, pool, &err));
  for (int64_t i = 0; i < 1000; i++) {
    assert_true(fabs(mq_tensor_get_double(&logits, i) - mq_tensor_get_double(&expected, i)) < 1e-4);
  }
  mq_tensor_deinit(&expected);
  mq_tensor_deinit(&logits);
  mq_pool_destroy(pool);
  mq_dataset_close(data);
  mq_graph_destroy(graph);
}

static void test_same_bits(void **state) {
  (void)state;
  static const unsigned workers[] = {1, 2, 3, 8};
  struct mq_err err = {0};
  struct mq_tensor logits[4];
  struct mq_graph *graph = open_model();
  struct mq_dataset *data = open_data("cifar10jpeg/test.tar", 100);
  for (int i = 0; i < 4; i++) {
    struct mq_pool *pool = make_pool(workers[i]);
    struct mq_evaluate_options options = {0};
    assert_ok(mq_predict(&logits[i], graph, data, 0, &options, pool, &err));
    assert_memory_equal(logits[0].data, logits[i].data, 100 * 10 * sizeof(float));
    mq_pool_destroy(pool);
  }
  for (int i = 0; i < 4; i++) {
    mq_tensor_deinit(&logits[i]);
  }
  mq_dataset_close(data);
  mq_graph_destroy(graph);
}

static int64_t quantized_correct(const struct mq_graph *graph, struct mq_dataset *calibration,
                                 struct mq_dataset *test, const char *name, struct mq_pool *pool) {
  struct mq_err err = {0};
  struct mq_target *target;
  struct mq_prepared prepared;
  struct mq_prepare_options options = {0};
  struct mq_calibrate_result result;
  struct mq_evaluation e;
  int64_t *indices;
  char path[600];
  snprintf(path, sizeof path, MQ_SOURCE_DIRECTORY "/targets/%s.yaml", name);
  assert_ok(mq_target_load(&target, path, &err));
  assert_ok(mq_prepare(&prepared, graph, target, &options, &err));
  assert_ok(mq_dataset_sample(&indices, calibration, 256, true, 0, &err));
  struct mq_calibrate_options calibrate = fixture_calibration(indices, 256);
  calibrate.bias = target->bias;
  assert_ok(mq_calibrate(&result, &prepared, calibration, &calibrate, pool, &err));
  struct mq_evaluate_options evaluate = {.points = prepared.points, .n_points = prepared.n_points};
  assert_ok(mq_evaluate(&e, prepared.graph, test, &evaluate, pool, &err));
  printf("%s: %d correct, calibration %.2f s, %.0f images/s\n", name, (int)e.correct, result.seconds,
         (double)e.n_images / e.seconds);
  int64_t correct = e.correct;
  mq_evaluation_deinit(&e);
  mq_free(indices);
  mq_prepared_deinit(&prepared);
  mq_target_destroy(target);
  return correct;
}

static void test_counts(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_graph *graph = open_model();
  struct mq_dataset *test = open_data("cifar10jpeg/test.tar", test_is_light() ? 500 : 0);
  struct mq_dataset *calibration = open_data("cifar10jpeg/train-0.tar", 0);
  struct mq_pool *pool = make_pool(0);
  struct mq_evaluate_options options = {0};
  struct mq_evaluation e;
  assert_ok(mq_evaluate(&e, graph, test, &options, pool, &err));
  printf("float: %d correct, %.0f images/s (engine %.0f)\n", (int)e.correct, (double)e.n_images / e.seconds,
         (double)e.n_images / e.engine_seconds);
  if (!test_is_light()) assert_in_range(e.correct, FLOAT_CORRECT - 2, FLOAT_CORRECT + 2);
  for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
    int64_t correct = quantized_correct(graph, calibration, test, targets[i], pool);
    assert_in_range(correct, e.correct - 25, e.correct + 25);
  }
  mq_evaluation_deinit(&e);
  mq_pool_destroy(pool);
  mq_dataset_close(test);
  mq_dataset_close(calibration);
  mq_graph_destroy(graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_logits),
      cmocka_unit_test(test_same_bits),
      cmocka_unit_test(test_counts),
  };
  if (!shared_data("models/resnet20_cifar10.onnx") || mq_kernel_start(MQ_ISA_NATIVE, NULL) != MQ_OK) {
    printf("skipped: the shared data are not there\n");
    return MQ_TEST_SKIPPED;
  }
  mq_log_set_level(MQ_LOG_QUIET);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
