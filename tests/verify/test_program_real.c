/* ResNet-20's integer programs beside their simulation: the same class for nearly every image, and the same
 * logits for any number of workers. MQ_TEST_IMAGES: how many (default 16). */
#include <math.h>

#include "common.h"
#include "mqbench/deploy.h"
#include "mqbench/kernel.h"
#include "mqbench/load.h"
#include "mqbench/verify.h"

static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};

static struct mq_dataset *open_data(const char *file, int64_t limit) {
  struct mq_err err = {0};
  struct mq_data_spec spec;
  struct mq_dataset *data;
  char argument[1200];
  snprintf(argument, sizeof argument, "tar:%s,preset=cifar,limit=%d", shared_data(file), (int)limit);
  assert_ok(mq_data_spec_parse(&spec, argument, &err));
  assert_ok(mq_dataset_open(&data, &spec, &err));
  mq_data_spec_deinit(&spec);
  return data;
}

static struct mq_pool *make_pool(unsigned workers) {
  struct mq_err err = {0};
  struct mq_pool *pool;
  assert_ok(mq_kernel_start(MQ_ISA_NATIVE, &err));
  assert_ok(mq_pool_create(&pool, workers, mq_kernel_start_worker, &err));
  return pool;
}

static void make_program(struct mq_lowered *lowered, struct mq_prepared *prepared, const char *name,
                         struct mq_pool *pool) {
  struct mq_err err = {0};
  struct mq_graph *model;
  struct mq_target *target;
  struct mq_calibrate_result result;
  int64_t indices[256];
  struct mq_dataset *data = open_data("cifar10jpeg/train-0.tar", 256);
  for (int64_t i = 0; i < 256; i++)
    indices[i] = i;
  assert_ok(mq_onnx_read(&model, shared_data("models/resnet20_cifar10.onnx"), NULL, &err));
  assert_ok(mq_target_load(&target, name, &err));
  const struct mq_prepare_options options = {0};
  assert_ok(mq_prepare(prepared, model, target, &options, &err));
  const struct mq_calibrate_options calibrate = {.w_parameter = (double)NAN,
                                                 .a_parameter = (double)NAN,
                                                 .indices = indices,
                                                 .n_indices = 256,
                                                 .bias = target->bias};
  assert_ok(mq_calibrate(&result, prepared, data, &calibrate, pool, &err));
  assert_ok(mq_lower(lowered, prepared, target, &err));
  mq_target_destroy(target);
  mq_graph_destroy(model);
  mq_dataset_close(data);
}

static int64_t count_equal(const struct mq_evaluation *a, const struct mq_evaluation *b) {
  int64_t n = 0;
  assert_int_equal(a->n_images, b->n_images);
  for (int64_t i = 0; i < a->n_images; i++)
    n += a->predicted[i] == b->predicted[i];
  return n;
}

static void agrees_with_the_simulation(void **state) {
  (void)state;
  const char *wanted = getenv("MQ_TEST_IMAGES"), *only = getenv("MQ_TEST_TARGET");
  struct mq_pool *pool = make_pool(2);
  struct mq_dataset *data = open_data("cifar10jpeg/test.tar", wanted            ? atoi(wanted)
                                                              : test_is_light() ? 3
                                                                                : 16);
  for (size_t t = 0; t < sizeof targets / sizeof targets[0]; t++) {
    struct mq_err err = {0};
    struct mq_lowered lowered;
    struct mq_prepared prepared;
    struct mq_evaluation simulated, program;
    if (only && strcmp(only, targets[t]) != 0) continue;
    make_program(&lowered, &prepared, targets[t], pool);
    const struct mq_evaluate_options simulate = {.points = prepared.points, .n_points = prepared.n_points};
    const struct mq_program_evaluate_options run = {.loader_threads = 2};
    assert_ok(mq_evaluate(&simulated, prepared.graph, data, &simulate, pool, &err));
    assert_ok(mq_program_evaluate(&program, &lowered.program, prepared.graph, data, &run, pool, &err));
    int64_t n = simulated.n_images, n_equal = count_equal(&simulated, &program);
    printf("%s: simulation %d, program %d of %d; the same class for %d\n", targets[t], (int)simulated.correct,
           (int)program.correct, (int)n, (int)n_equal);
    assert_true(n_equal * 100 >= n * 97 - 100); /* one image more or less of few */
    mq_evaluation_deinit(&simulated);
    mq_evaluation_deinit(&program);
    mq_lowered_deinit(&lowered);
    mq_prepared_deinit(&prepared);
  }
  mq_dataset_close(data);
  mq_pool_destroy(pool);
}

static void same_bits_for_any_workers(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_lowered lowered;
  struct mq_prepared prepared;
  struct mq_tensor logits[2];
  struct mq_dataset *data = open_data("cifar10jpeg/test.tar", 10);
  const struct mq_program_evaluate_options run = {.slice_images = 4};
  for (unsigned i = 0; i < 2; i++) {
    struct mq_pool *pool = make_pool(1 + 2 * i);
    make_program(&lowered, &prepared, "snpe", pool);
    assert_ok(mq_program_predict(&logits[i], &lowered.program, prepared.graph, data, 0, &run, pool, &err));
    mq_lowered_deinit(&lowered);
    mq_prepared_deinit(&prepared);
    mq_pool_destroy(pool);
  }
  assert_memory_equal(logits[0].data, logits[1].data, 10 * 10 * sizeof(float));
  mq_tensor_deinit(&logits[0]);
  mq_tensor_deinit(&logits[1]);
  mq_dataset_close(data);
}

int main(void) {
  if (!shared_data("models/resnet20_cifar10.onnx")) {
    printf("skipped: no shared data\n");
    return MQ_TEST_SKIPPED;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(agrees_with_the_simulation),
      cmocka_unit_test(same_bits_for_any_workers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
