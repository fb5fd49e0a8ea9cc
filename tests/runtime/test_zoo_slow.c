/* The architectures of the zoo at 32 pixels, lowered for every target that has an integer program: the fast
 * executor beside the reference, every tensor, and no step left to the
 * reference's loops. */
#include "deploy/help_lower.h"
#include "help_runtime.h"
#include "mqbench/zoo.h"

static const char *const architectures[] = {"resnet20_s32",           "resnet18_s32",
                                            "resnet50_s32",           "mobilenet_v2_s32",
                                            "efficientnet_lite0_s32", "regnetx_600mf_s32"};
static const char *const targets[] = {"academic",       "acl",  "fbgemm",   "fbgemm_lib", "onnx_qdq",
                                      "onnx_qoperator", "snpe", "tensorrt", "tflite",     "tvm",
                                      "xnnpack"};
enum {
  N_ARCHITECTURES = sizeof architectures / sizeof architectures[0],
  N_TARGETS = sizeof targets / sizeof targets[0]
};

static struct mq_graph *build(const char *name) {
  /* A quarter of the widths: the shapes of layers count, and odd numbers of channels. */
  const struct mq_zoo_options options = {.width = mq_zoo_find(name)->width / 4, .seed = 1};
  struct mq_graph *graph;
  struct mq_err err = {0};
  if (mq_zoo_build(&graph, name, &options, &err) != MQ_OK) fail_msg("%s: %s", name, err.message);
  return graph;
}

static int n_compared;

static void compare(const char *name, const char *target, int bits) {
  struct lowered lowered;
  struct mq_lowered made;
  struct mq_err err = {0};
  struct mq_runtime *runtime;
  char text[128];
  snprintf(text, sizeof text, "%s, %s, %d bits", name, target, bits);
  make_calibrated(&lowered, build(name), target, bits, bits);
  if (mq_lower(&made, &lowered.prepared, lowered.target, &err) != MQ_OK) {
    /* Drawn weights: a branch may be so small that an arithmetic has no factor for it. */
    if (!strstr(err.message, "scale ratio")) fail_msg("%s: %s", text, err.message);
    drop_calibrated(&lowered);
    return;
  }
  n_compared++;
  assert_ok(mq_runtime_create(&runtime, &made.program, NULL, &err));
  /* Drawn weights give tvm sums whose scales are further apart than its fast loop shifts. */
  if (mq_runtime_get_info(runtime).n_reference != 0 && strcmp(target, "tvm") != 0)
    fail_msg("%s: steps left to the reference", text);
  mq_runtime_destroy(runtime);
  runtime_compare_all(text, &made.program, true);
  mq_lowered_deinit(&made);
  drop_calibrated(&lowered);
}

/* Fewer bits in turn. */
static void every_architecture_and_target(void **state) {
  (void)state;
  for (int a = 0; a < N_ARCHITECTURES; a++)
    for (int t = 0; t < N_TARGETS; t++)
      if (!test_leaves_out(a * N_TARGETS + t))
        compare(architectures[a], targets[t], (a + t) % 3 == 0 ? 4 : 8);
  if (!test_leaves_out(1)) assert_true(n_compared >= N_ARCHITECTURES * N_TARGETS - 6);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_architecture_and_target)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
