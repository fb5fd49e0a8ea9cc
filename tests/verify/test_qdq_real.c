/* ResNet-20 and the MobileNet of the shared data as ONNX Runtime and NNCF quantized them, made by
 *
 *   tests/reference/quantize_elsewhere.py --shared SHARED_DATA DIRECTORY
 *
 * DIRECTORY is MQBENCH_QDQ, else $HOME/.cache/mqbench/qdq. MQ_TEST_IMAGES: how many (default 16; 0: all). */
#include "base/file.h"
#include "help_qdq.h"

static const struct {
  const char *name, *input;
  bool is_equal; /* to ONNX Runtime's integers, bit by bit */
} cases[] = {
    {"resnet20_u8s8_channel", "cifar", true},          {"resnet20_u8s8_tensor", "cifar", true},
    {"resnet20_s8s8_channel", "cifar", false},         {"resnet20_nncf", "cifar", false},
    {"mobilenet_u8s8_channel", "photographs", true},   {"mobilenet_nncf", "photographs", false},
    {"mobilenet_nncf_channels", "photographs", false},
};

static char folder[600];

static void print(const char *name, const char *what, const struct qdq_difference *d) {
  printf("%s, %s: %d of %d elements differ, at most %.3g steps; the same class for %d of %d\n", name, what,
         (int)d->n_differing, (int)d->n_elements, d->max_steps, (int)d->n_same_class, (int)d->n_images);
}

static void gives_what_onnx_runtime_gives(void **state) {
  (void)state;
  const char *wanted = getenv("MQ_TEST_IMAGES"), *only = getenv("MQ_TEST_MODEL");
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct qdq_case c;
    if (only && strcmp(only, cases[i].name) != 0) continue;
    qdq_open(&c, folder, cases[i].name, cases[i].input, wanted ? atoi(wanted) : 16);
    struct qdq_difference simulated = qdq_simulate(&c), program = qdq_run_program(&c);
    print(cases[i].name, "simulation beside floats", &simulated);
    print(cases[i].name, "program beside integers", &program);
    assert_true(simulated.n_same_class * 100 >= simulated.n_images * 97 - 100);
    assert_true(program.n_same_class * 100 >= program.n_images * 97 - 100);
    if (cases[i].is_equal) assert_int_equal(program.n_differing, 0);
    qdq_close(&c);
  }
}

int main(void) {
  const char *set = getenv("MQBENCH_QDQ"), *home = getenv("HOME");
  char probe[700];
  snprintf(folder, sizeof folder, "%s%s", set ? set : home ? home : ".", set ? "" : "/.cache/mqbench/qdq");
  snprintf(probe, sizeof probe, "%s/mobilenet_nncf_channels_int.npy", folder);
  if (!mq_file_exists(probe)) {
    printf("skipped: no models in %s; make them with tests/reference/quantize_elsewhere.py\n", folder);
    return 77;
  }
  const struct CMUnitTest tests[] = {cmocka_unit_test(gives_what_onnx_runtime_gives)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
