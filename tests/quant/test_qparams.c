#include <float.h>
#include <math.h>

#include "common.h"
#include "help_quant.h"
#include "quant/qparams.h"

static struct mq_qparams make(int64_t n_channels) {
  struct mq_qparams qparams;
  struct mq_err err;
  assert_ok(mq_qparams_init(&qparams, n_channels, n_channels > 1 ? 0 : -1, &err));
  return qparams;
}

static const struct mq_range ranges[] = {{-1, 1},          {-0.3f, 2.7f}, {0, 6},          {0.5f, 0.75f},
                                         {-3, -1},         {-1e-30f, 0},  {-1e30f, 3e30f}, {0, 1e-38f},
                                         {-0.001f, 100.f}, {0, 0}};

static void ranges_become_the_formulas(void **state) {
  (void)state;
  for (int is_weight = 0; is_weight < 2; is_weight++) {
    struct mq_scheme schemes[200];
    int n = list_schemes(schemes, is_weight);
    struct mq_qparams got = make(1);
    for (int i = 0; i < n; i++)
      for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
        struct mq_range range = ranges[r];
        struct plain_qparams want =
            plain_from_range(&schemes[i], (double)range.lo, (double)range.hi, range.lo >= 0, 0);
        if (want.scale < (double)FLT_MIN) want.scale = (double)FLT_MIN;
        mq_qparams_from_range(&got, &schemes[i], &range, NULL);
        check_close(&got, 0, &want, 3e-7);
        if (schemes[i].scale_form == MQ_SCALE_POT) assert_true(frexpf(got.scale[0], &(int){0}) == 0.5f);
        /* the range holds 0 exactly */
        assert_true(
            mq_fake_quantize_value(0, got.scale[0], got.zero_point[0], got.quant_min, got.quant_max) == 0);
      }
    mq_qparams_deinit(&got);
  }
}

static void widest_ranges_stay_finite(void **state) {
  (void)state;
  struct mq_scheme schemes[200];
  int n = list_schemes(schemes, false);
  struct mq_qparams got = make(1);
  const struct mq_range widest[] = {{-FLT_MAX, FLT_MAX}, {0, FLT_TRUE_MIN}, {-FLT_TRUE_MIN, 0}};
  for (int i = 0; i < n; i++)
    for (int r = 0; r < 3; r++) {
      mq_qparams_from_range(&got, &schemes[i], &widest[r], NULL);
      assert_true(isfinite(got.scale[0]) && got.scale[0] >= FLT_MIN);
      assert_in_range(got.zero_point[0] - got.quant_min, 0, got.quant_max - got.quant_min);
      float y =
          mq_fake_quantize_value(FLT_MAX, got.scale[0], got.zero_point[0], got.quant_min, got.quant_max);
      assert_true(!isnan(y));
    }
  mq_qparams_deinit(&got);
}

static void power_of_two_rounds_the_logarithm(void **state) {
  (void)state;
  assert_true(mq_scale_to_pot(1) == 1);
  assert_true(mq_scale_to_pot(1.41421354f) == 1); /* the float below sqrt 2 */
  assert_true(mq_scale_to_pot(1.41421366f) == 2);
  assert_true(mq_scale_to_pot(0.7f) == 0.5f);
  assert_true(mq_scale_to_pot(0.71f) == 1);
  assert_true(mq_scale_to_pot(FLT_TRUE_MIN) == FLT_MIN);
  assert_true(mq_scale_to_pot(FLT_MAX) == 0x1p127f);
  struct mq_rng rng;
  mq_rng_init(&rng, 1, MQ_RNG_TEST, 0, 0);
  for (int i = 0; i < 10000; i++) {
    float s = (float)exp2(200 * mq_rng_double(&rng) - 100);
    assert_true((double)mq_scale_to_pot(s) == exp2(rint(log2((double)s))));
  }
}

static void least_scales_raise(void **state) {
  (void)state;
  struct mq_qparams got = make(3);
  const struct mq_range range[3] = {{-1, 1}, {-1, 1}, {0, 0}};
  const float least[3] = {0.001f, 0.3f, 2.5f};
  struct mq_scheme scheme = {.bits = 8, .is_signed = true, .is_symmetric = true, .is_per_channel = true};
  mq_qparams_from_range(&got, &scheme, range, least);
  assert_true(got.scale[0] == 1 / 127.5f && got.scale[1] == 0.3f && got.scale[2] == 2.5f);
  scheme.scale_form = MQ_SCALE_POT;
  mq_qparams_from_range(&got, &scheme, range, least);
  assert_true(got.scale[0] == 0x1p-7f && got.scale[1] == 0.5f && got.scale[2] == 4);
  const float exact[3] = {0.25f, 1, 2};
  mq_qparams_from_range(&got, &scheme, range, exact);
  assert_true(got.scale[0] == 0.25f && got.scale[1] == 1 && got.scale[2] == 2);
  /* the zero point belongs to the raised scale */
  scheme = (struct mq_scheme){.bits = 8};
  const struct mq_range wide[3] = {{-1, 3}, {-1, 1}, {-1, 1}};
  mq_qparams_from_range(&got, &scheme, wide, least);
  assert_int_equal(got.zero_point[0], 64);
  assert_int_equal(got.zero_point[1], 3);
  assert_int_equal(got.zero_point[2], 0);
  mq_qparams_deinit(&got);
}

static void sign_adapts_only_when_every_channel_is_non_negative(void **state) {
  (void)state;
  struct mq_qparams got = make(2);
  struct mq_scheme scheme = {.bits = 4, .is_signed = true, .is_symmetric = true, .is_sign_adaptive = true};
  const struct mq_range positive[2] = {{0, 3}, {1, 2}}, mixed[2] = {{0, 3}, {-1, 2}};
  mq_qparams_from_range(&got, &scheme, positive, NULL);
  assert_false(got.is_signed);
  assert_int_equal(got.quant_max, 15);
  assert_true(got.scale[0] == 3.0f / 15 && got.scale[1] == 2.0f / 15);
  mq_qparams_from_range(&got, &scheme, mixed, NULL);
  assert_true(got.is_signed);
  assert_int_equal(got.quant_min, -8);
  assert_true(got.scale[0] == 3 / 7.5f);
  /* unsigned and symmetric without adaptation: the tensor's sign decides the formula */
  scheme = (struct mq_scheme){.bits = 4, .is_symmetric = true};
  mq_qparams_from_range(&got, &scheme, positive, NULL);
  assert_true(got.scale[0] == 3.0f / 15);
  mq_qparams_from_range(&got, &scheme, mixed, NULL);
  assert_true(got.scale[0] == 3 / 7.5f && got.quant_min == 0);
  mq_qparams_deinit(&got);
}

static void scales_keep_the_scheme(void **state) {
  (void)state;
  struct mq_qparams got = make(2);
  struct mq_scheme scheme = {.bits = 8, .scale_form = MQ_SCALE_POT};
  mq_qparams_from_scale(&got, &scheme, (const float[]){0.3f, 0}, (const float[]){2.5f, 300}, false, NULL);
  assert_true(got.scale[0] == 0.25f && got.scale[1] == 1);
  assert_int_equal(got.zero_point[0], 2);
  assert_int_equal(got.zero_point[1], 255);
  scheme = (struct mq_scheme){.bits = 8, .is_signed = true, .is_symmetric = true};
  mq_qparams_from_scale(&got, &scheme, (const float[]){0.3f, INFINITY}, (const float[]){2.5f, -300}, false,
                        (const float[]){0.4f, 0});
  assert_true(got.scale[0] == 0.4f && got.scale[1] == FLT_MAX);
  assert_int_equal(got.zero_point[0], 0);
  struct mq_qparams copy;
  struct mq_err err;
  assert_ok(mq_qparams_copy(&copy, &got, &err));
  assert_memory_equal(copy.scale, got.scale, 2 * sizeof(float));
  assert_int_equal(copy.quant_min, -128);
  assert_true(copy.is_signed);
  mq_qparams_deinit(&copy);
  assert_null(copy.scale);
  mq_qparams_deinit(&got);
}

static void exhausted_memory_is_reported(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_qparams qparams;
  mq_memory_set_limit(mq_memory_used() + 100);
  assert_fails(MQ_FAILED, "out of memory", mq_qparams_init(&qparams, 1000, 0, &err));
  assert_null(qparams.scale);
  mq_memory_set_limit(0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ranges_become_the_formulas),
      cmocka_unit_test(widest_ranges_stay_finite),
      cmocka_unit_test(power_of_two_rounds_the_logarithm),
      cmocka_unit_test(least_scales_raise),
      cmocka_unit_test(sign_adapts_only_when_every_channel_is_non_negative),
      cmocka_unit_test(scales_keep_the_scheme),
      cmocka_unit_test(exhausted_memory_is_reported),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
