#include <string.h>

#include "kernel/help_kernel.h"
#include "kernel/isa.h"
#include "kernel/simd.h"

static void test_names(void **state) {
  (void)state;
  struct mq_err err = {0};
  for (mq_isa isa = MQ_ISA_BASE; isa <= MQ_ISA_NATIVE; isa++) {
    mq_isa parsed = MQ_ISA_BASE;
    assert_int_equal(mq_isa_parse(&parsed, mq_isa_name(isa), &err), MQ_OK);
    assert_int_equal(parsed, isa);
  }
  mq_isa parsed;
  assert_int_equal(mq_isa_parse(&parsed, "avx1024", &err), MQ_BAD_USAGE);
  assert_non_null(strstr(err.message, "\"avx1024\""));
}

static void test_start(void **state) {
  (void)state;
  struct mq_err err = {0};
  assert_int_equal(mq_simd_level_used(), MQ_SIMD_BASE);
  assert_int_equal(mq_kernel_start(MQ_ISA_NATIVE, &err), MQ_OK);
  assert_int_equal(mq_kernel_isa(), mq_isa_detect());
  assert_int_equal(mq_simd_level_used(), mq_simd_level_best());
  assert_int_equal(mq_kernel_start(mq_isa_detect(), &err), MQ_OK); /* the same again */
  if (mq_isa_detect() > MQ_ISA_BASE) {
    assert_int_equal(mq_kernel_start(MQ_ISA_BASE, &err), MQ_BAD_USAGE);
    assert_non_null(strstr(err.message, "already fixed"));
  }
  assert_true(strlen(mq_kernel_cpu_name()) > 0);
  assert_true(mq_kernel_onednn_version()[0] >= '2');
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_start)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
