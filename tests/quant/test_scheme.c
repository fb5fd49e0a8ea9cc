#include "common.h"
#include "mqbench/quant.h"

static void bounds_follow_bits_and_sign(void **state) {
  (void)state;
  int32_t n, p;
  for (int bits = 2; bits <= 16; bits++) {
    int32_t half = 1 << (bits - 1);
    mq_scheme_bounds(&n, &p, &(struct mq_scheme){.bits = (uint8_t)bits, .is_signed = true});
    assert_int_equal(n, -half);
    assert_int_equal(p, half - 1);
    mq_scheme_bounds(&n, &p,
                     &(struct mq_scheme){.bits = (uint8_t)bits, .is_signed = true, .is_narrow = true});
    assert_int_equal(n, 1 - half);
    assert_int_equal(p, half - 1);
    mq_scheme_bounds(&n, &p, &(struct mq_scheme){.bits = (uint8_t)bits});
    assert_int_equal(n, 0);
    assert_int_equal(p, 2 * half - 1);
  }
}

static void norm_max_is_unsigned_only_where_symmetric(void **state) {
  (void)state;
  struct mq_scheme symmetric = {.bits = 4, .is_symmetric = true}, asymmetric = {.bits = 4};
  assert_int_equal(mq_scheme_norm_max(&symmetric, true), 15);
  assert_int_equal(mq_scheme_norm_max(&symmetric, false), 7);
  assert_int_equal(mq_scheme_norm_max(&asymmetric, true), 7);
  assert_int_equal(mq_scheme_norm_max(&asymmetric, false), 7);
}

static void wrong_schemes_are_named(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_scheme scheme = {.bits = 8, .is_signed = true};
  assert_ok(mq_scheme_check(&scheme, true, "weights", &err));
  scheme.bits = 16;
  assert_ok(mq_scheme_check(&scheme, false, "activations", &err));
  assert_fails(MQ_BAD_INPUT, "weights: 16 bits; expected 2 to 8",
               mq_scheme_check(&scheme, true, "weights", &err));
  scheme.bits = 9;
  assert_fails(MQ_BAD_INPUT, "2 to 8, or 16", mq_scheme_check(&scheme, false, "activations", &err));
  scheme.bits = 1;
  assert_fails(MQ_BAD_INPUT, "1 bits", mq_scheme_check(&scheme, true, "weights", &err));
  scheme = (struct mq_scheme){.bits = 8, .is_narrow = true};
  assert_fails(MQ_BAD_INPUT, "narrow and unsigned", mq_scheme_check(&scheme, true, "weights", &err));
  scheme = (struct mq_scheme){.bits = 8, .is_per_channel = true};
  assert_ok(mq_scheme_check(&scheme, true, "weights", &err));
  assert_fails(MQ_BAD_INPUT, "per channel", mq_scheme_check(&scheme, false, "activations", &err));
  scheme = (struct mq_scheme){.bits = 8, .is_sign_adaptive = true};
  assert_ok(mq_scheme_check(&scheme, false, "activations", &err));
  assert_fails(MQ_BAD_INPUT, "adaptive", mq_scheme_check(&scheme, true, "weights", &err));
}

static void schemes_read_well(void **state) {
  (void)state;
  char text[80];
  assert_string_equal(
      mq_scheme_format(
          text, sizeof text,
          &(struct mq_scheme){.bits = 8, .is_signed = true, .is_symmetric = true, .is_per_channel = true}),
      "int8 symmetric per-channel");
  assert_string_equal(
      mq_scheme_format(text, sizeof text, &(struct mq_scheme){.bits = 4, .scale_form = MQ_SCALE_POT}),
      "uint4 asymmetric per-tensor power-of-two");
  assert_string_equal(mq_scheme_format(text, sizeof text,
                                       &(struct mq_scheme){.bits = 4,
                                                           .is_signed = true,
                                                           .is_narrow = true,
                                                           .is_symmetric = true,
                                                           .is_sign_adaptive = true}),
                      "int4 narrow symmetric per-tensor adaptive-sign");
  assert_string_equal(mq_scheme_format(text, 6, &(struct mq_scheme){.bits = 8, .is_signed = true}), "int8 ");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bounds_follow_bits_and_sign),
      cmocka_unit_test(norm_max_is_unsigned_only_where_symmetric),
      cmocka_unit_test(wrong_schemes_are_named),
      cmocka_unit_test(schemes_read_well),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
