/* ResNet-20 in all six settings, 8 and 4 bits: simulation, program, executors, and the engines that are
 * there. MQ_TEST_IMAGES: how many (default 3). */
#include <math.h>

#include "help_verify.h"
#include "mqbench/load.h"

static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};

static void report(const char *target, int bits, const struct mq_verification *v) {
  printf("%s %d: %d of %d differ by themselves, %d as it runs, by %.3g at most; same class %d of %d\n",
         target, bits, (int)v->local.differing, (int)v->local.elements, (int)v->whole.differing,
         v->whole.max_step, (int)v->n_agree, (int)v->n_images);
}

/* Any engine that can is compared; what it answers is the same network's. */
static void compare_engine(const struct subject *s, const struct mq_verification *v, const char *name) {
  struct mq_err err = {0};
  struct mq_engine_comparison c;
  const struct mq_verify_engine_options options = {.name = name, .target = s->target};
  assert_ok(mq_verify_engine(&c, &s->bundle, v, s->data, &options, s->pool, &err));
  if (c.skipped_reason) {
    printf("  %s: skipped: %s\n", name, c.skipped_reason);
  } else {
    printf("  %s %s, %s: %d of %d differ, by %.3g at most; same class %d of %d; %d of %d nodes in integers\n",
           name, c.version, c.format, (int)c.mismatches, (int)c.elements, c.max_step, (int)c.n_agree,
           (int)c.n_images, (int)c.n_integer, (int)c.n_nodes);
    assert_int_equal(c.n_images, v->n_images);
    assert_true(c.max_step < 60); /* steps of the logits: another network differs by far more */
    if (c.is_twin) assert_int_equal(c.mismatches, 0);
  }
  mq_engine_comparison_deinit(&c);
}

static void nothing_is_left_unexplained(void **state) {
  (void)state;
  const char *wanted = getenv("MQ_TEST_IMAGES");
  char train[1300];
  snprintf(train, sizeof train, "tar:%s,preset=cifar,limit=64", shared_data("cifar10jpeg/train-0.tar"));
  for (int i = 0; i < 12; i++) {
    struct mq_err err = {0};
    struct subject s;
    struct mq_graph *model;
    struct mq_verification v;
    const int bits = i < 6 ? 8 : 4;
    if (test_leaves_out(i)) continue;
    assert_ok(mq_onnx_read(&model, shared_data("models/resnet20_cifar10.onnx"), NULL, &err));
    make_subject(&s, model, targets[i % 6], bits, train, 2);
    run_verify(&v, &s, wanted ? atoi(wanted) : test_is_light() ? 1 : 3);
    report(targets[i % 6], bits, &v);
    assert_int_equal(v.fast_mismatches, 0);
    assert_int_equal(v.exact_mismatches, 0);
    assert_int_equal(v.whole.causes[MQ_CAUSE_UNEXPLAINED], 0);
    assert_int_equal(v.local.causes[MQ_CAUSE_UNEXPLAINED], 0);
    compare_engine(&s, &v, MQ_ENGINE_IN_PROCESS);
    if (bits == 8) compare_engine(&s, &v, "onnxruntime");
    mq_verification_deinit(&v);
    drop_subject(&s);
  }
}

int main(void) {
  if (!shared_data("models/resnet20_cifar10.onnx")) {
    printf("skipped: no shared data\n");
    return MQ_TEST_SKIPPED;
  }
  const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_left_unexplained)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
