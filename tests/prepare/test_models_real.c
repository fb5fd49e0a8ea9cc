/* The real networks: how many points each target puts, counted by hand from the architecture.
 *
 * ResNet-20: 19 convs and a linear layer, 9 adds, a global pool. MobileNet v1: 27 convs, a global pool, a
 * last 1x1 conv. */
#include "common.h"
#include "mqbench/load.h"
#include "mqbench/prepare.h"

struct expectation {
  const char *target;
  size_t n_points;
};

static void check_model(const char *name, const struct expectation *rows, size_t n) {
  struct mq_graph *model = NULL, *handed = NULL;
  struct mq_err err;
  assert_ok(mq_onnx_read(&model, shared_data(name), NULL, &err));
  for (size_t i = 0; i < n; i++) {
    struct mq_target *target = NULL;
    struct mq_prepared prepared;
    assert_ok(mq_target_load(&target, rows[i].target, &err));
    assert_ok(mq_prepare(&prepared, model, target, &(struct mq_prepare_options){.is_strict = true}, &err));
    if (prepared.n_points != rows[i].n_points) {
      fail_msg("%s: %zu points, expected %zu", rows[i].target, prepared.n_points, rows[i].n_points);
    }
    assert_int_equal(prepared.n_islands, 0);
    assert_ok(mq_prepare_handover(&handed, &prepared, &err));
    assert_string_equal(handed->outputs[0]->name, model->outputs[0]->name);
    mq_graph_destroy(handed);
    mq_prepared_deinit(&prepared);
    mq_target_destroy(target);
  }
  mq_graph_destroy(model);
}

static void resnet20(void **state) {
  (void)state;
  const struct expectation rows[] = {
      {"academic", 40},                   /* weights and inputs of 20 layers */
      {"acl", 40},      {"tensorrt", 41}, /* 20 weights; input, stem, 9 x (inner conv, add), pool */
      {"tvm", 51},                        /* and the 9 main branches, and the logits */
      {"snpe", 51},     {"fbgemm", 50},   /* the global pool keeps its input's scale */
  };
  check_model("models/resnet20_cifar10.onnx", rows, 6);
}

static void mobilenet_v1(void **state) {
  (void)state;
  const struct expectation rows[] = {
      {"academic", 56},                   /* weights and inputs of 28 layers */
      {"acl", 56},      {"tensorrt", 57}, /* 28 weights; input, 27 convs, pool */
      {"tvm", 58},                        /* and the logits */
      {"snpe", 58},     {"fbgemm", 57},
  };
  check_model("models/mobilenet_v1_0.5_160.onnx", rows, 6);
}

int main(void) {
  if (!shared_data("models/resnet20_cifar10.onnx") || !shared_data("models/mobilenet_v1_0.5_160.onnx")) {
    printf("skipped: the shared models are not there\n");
    return MQ_TEST_SKIPPED;
  }
  const struct CMUnitTest tests[] = {cmocka_unit_test(resnet20), cmocka_unit_test(mobilenet_v1)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
