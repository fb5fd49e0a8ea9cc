/* The registry, and quantizers from shared objects: the example of examples/plugin, built with the tests and
 * by its own CMake file, and tables that are refused. */
#include <dlfcn.h>
#include <math.h>

#include "base/file.h"
#include "common.h"
#include "help_quant.h"
#include "help_quantizer.h"
#include "quant/quantizers/quantizers.h"

#define ROWS 5
#define ROW 40
#define N (ROWS * ROW)

static void tables_are_whole(void **state) {
  (void)state;
  assert_true(mq_quantizer_count() >= 6);
  for (size_t i = 0; i < mq_quantizer_count(); i++) {
    const struct mq_quantizer_ops *ops = mq_quantizer_at(i);
    const char *defect = mq_quantizer_defect(ops);
    if (defect) fail_msg("%s: expected %s", ops->name, defect);
    assert_ptr_equal(mq_quantizer_find(ops->name), ops);
    assert_int_equal(ops->version, MQ_QUANTIZER_VERSION);
    assert_int_equal(ops->bytes, sizeof *ops);
    if (ops->w_quantizer) assert_non_null(mq_quantizer_find(ops->w_quantizer));
  }
  assert_null(mq_quantizer_find("nowhere"));
}

static void parameters_lie_one_after_the_other(void **state) {
  (void)state;
  const struct mq_scheme scheme = {.bits = 8, .is_signed = true, .is_per_channel = true};
  struct mq_quantizer_config config = quantizer_config(&scheme, true, 3, 7);
  const struct mq_quantizer_ops *lsq = mq_quantizer_find("lsq");
  assert_int_equal(mq_quantizer_parameter_total(lsq, &config), 6);
  assert_int_equal(mq_quantizer_parameter_offset(lsq, &config, 0), 0);
  assert_int_equal(mq_quantizer_parameter_offset(lsq, &config, 1), 3);
  config.scheme.is_symmetric = true;
  assert_int_equal(mq_quantizer_parameter_total(lsq, &config), 3);
  assert_int_equal(mq_quantizer_parameter_total(mq_quantizer_find("tqt"), &config), 3);
  assert_int_equal(mq_quantizer_parameter_total(mq_quantizer_find("dorefa"), &config), 0);
}

/* lsq_plain is LSQ but for the factor 1/sqrt(N p) of its gradient. */
static void check_example(const struct mq_quantizer_ops *ops) {
  float x[N], g[N];
  fill(x, N, GAUSSIAN, 1);
  fill(g, N, GAUSSIAN, 2);
  const struct mq_scheme scheme = {
      .bits = 4, .is_signed = true, .is_symmetric = true, .is_per_channel = true};
  const struct mq_quantizer_config config = quantizer_config(&scheme, true, ROWS, ROW);
  struct step plain, lsq;
  step_init(&plain, ops, &config);
  step_init(&lsq, mq_quantizer_find("lsq"), &config);
  step_calibrate(&plain, x, ROWS, ROW);
  step_calibrate(&lsq, x, ROWS, ROW);
  step_train(&plain, x, g, ROWS, ROW);
  step_train(&lsq, x, g, ROWS, ROW);
  check_on_grid(&plain, x, ROWS, ROW);
  assert_memory_equal(plain.y, lsq.y, sizeof x);
  assert_memory_equal(plain.dx, lsq.dx, sizeof x);
  for (int r = 0; r < ROWS; r++) {
    double want = (double)lsq.gradients[r] * sqrt(ROW * 7.0);
    assert_true(fabs((double)plain.gradients[r] - want) <= 1e-5 * fabs(want));
  }
  step_deinit(&plain);
  step_deinit(&lsq);
}

static void the_example_loads_and_runs(void **state) {
  (void)state;
  struct mq_err err;
  size_t n = mq_quantizer_count();
  assert_null(mq_quantizer_find("lsq_plain"));
  assert_ok(mq_quantizer_load(MQ_PLUGINS "/lsq_plain.so", &err));
  assert_int_equal(mq_quantizer_count(), n + 1);
  const struct mq_quantizer_ops *ops = mq_quantizer_find("lsq_plain");
  assert_non_null(ops);
  assert_ptr_equal(mq_quantizer_at(n), ops);
  check_example(ops);
  struct mq_scheme scheme = {.bits = 4};
  const struct mq_quantizer_config config = quantizer_config(&scheme, false, 1, 1);
  assert_fails(MQ_BAD_INPUT, "relu: lsq_plain has no zero point", ops->check(&config, "relu", &err));
  assert_ok(mq_quantizer_load(MQ_PLUGINS "/lsq_plain.so", &err)); /* it is there already */
  assert_int_equal(mq_quantizer_count(), n + 1);
  char sha256[65];
  assert_ok(mq_sha256_file(sha256, MQ_PLUGINS "/lsq_plain.so", &err));
  assert_string_equal(mq_quantizer_plugin_sha256(ops), sha256);
  assert_null(mq_quantizer_plugin_sha256(mq_quantizer_find("lsq")));
}

static void names_have_other_spellings(void **state) {
  (void)state;
  const struct mq_quantizer_ops *ops = mq_quantizer_find("lsqplus");
  assert_non_null(ops);
  assert_ptr_equal(ops, mq_quantizer_find("lsq_plus"));
  assert_string_equal(ops->name, "lsq_plus");
}

static void options_lie_within_their_limits(void **state) {
  (void)state;
  char text[MQ_LIMITS_TEXT];
  const struct mq_quantizer_ops *dsq = mq_quantizer_find("dsq"), *pact = mq_quantizer_find("pact"),
                                *lsq = mq_quantizer_find("lsq");
  assert_true(mq_quantizer_takes(dsq, NAN) && mq_quantizer_takes(dsq, 0.3));
  assert_false(mq_quantizer_takes(dsq, 0) || mq_quantizer_takes(dsq, 1) ||
               mq_quantizer_takes(dsq, -INFINITY));
  assert_true(mq_quantizer_takes(pact, 0) && mq_quantizer_takes(pact, 1));
  assert_false(mq_quantizer_takes(pact, 0.5) || mq_quantizer_takes(pact, 2));
  assert_true(mq_quantizer_takes(lsq, NAN));
  assert_false(mq_quantizer_takes(lsq, 0));
  mq_limits_format(text, &dsq->option);
  assert_string_equal(text, "a number above 0 and below 1");
}

static void the_example_builds_by_itself(void **state) {
  (void)state;
  const char *directory = make_test_directory();
  char command[2048], path[700];
  snprintf(command, sizeof command,
           "'%s' -S '%s/examples/plugin' -B '%s/build' -DCMAKE_C_COMPILER='%s' > '%s/log' 2>&1 && "
           "'%s' --build '%s/build' >> '%s/log' 2>&1 || { cat '%s/log'; false; }",
           MQ_CMAKE, MQ_SOURCE_DIRECTORY, directory, MQ_C_COMPILER, directory, MQ_CMAKE, directory, directory,
           directory);
  assert_int_equal(system(command), 0);
  snprintf(path, sizeof path, "%s/build/lsq_plain.so", directory);
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!handle) fail_msg("%s", dlerror());
  const struct mq_quantizer_ops *ops = dlsym(handle, "mq_plugin_quantizer");
  assert_non_null(ops);
  assert_null(mq_quantizer_defect(ops));
  check_example(ops);
  dlclose(handle);
  remove_test_directory(directory);
}

static void defective_tables_are_refused(void **state) {
  (void)state;
  struct mq_err err;
  size_t n = mq_quantizer_count();
  const struct {
    const char *path, *message;
  } cases[] = {
      {"/no_symbol.so", "no symbol mq_plugin_quantizer"},
      {"/other_version.so", "interface version 2; expected 1"},
      {"/other_size.so", "built against another quant.h"},
      {"/incomplete.so", "expected forward, backward and grid"},
      {"/taken_name.so", "there is a quantizer 'lsq' already"},
      {"/unknown_partner.so", "weights by 'nowhere', which is no quantizer"},
      {"/missing.so", "/missing.so: no such file"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char path[600];
    snprintf(path, sizeof path, "%s%s", MQ_PLUGINS, cases[i].path);
    assert_fails(MQ_BAD_INPUT, cases[i].message, mq_quantizer_load(path, &err));
  }
  assert_fails(MQ_BAD_INPUT, "not loadable as a plug-in",
               mq_quantizer_load(MQ_TESTS_DIRECTORY "/CMakeLists.txt", &err));
  assert_int_equal(mq_quantizer_count(), n);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tables_are_whole),
      cmocka_unit_test(parameters_lie_one_after_the_other),
      cmocka_unit_test(the_example_loads_and_runs),
      cmocka_unit_test(the_example_builds_by_itself),
      cmocka_unit_test(names_have_other_spellings),
      cmocka_unit_test(options_lie_within_their_limits),
      cmocka_unit_test(defective_tables_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
