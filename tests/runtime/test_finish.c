/* Finishing sums, value by value, where rounding is decided: floats beside a half step for scales of every
 * kind, which a division by way of the reciprocal could miss, in one way or in the other. */
#include <math.h>

#include "common.h"
#include "mqbench/program.h"
#include "runtime/quick.h"
#include "runtime/simd/finish.h"

enum {
  N = RUNTIME_BLOCK
};

static void finish_16(unsigned char *codes, const float *values, const struct mq_program_output *y,
                      mq_simd_level level) {
  int32_t zeros[N] = {0}, acc[N] = {0};
  float ones[N];
  unsigned char *to[] = {codes};
  for (int i = 0; i < N; i++)
    ones[i] = 1;
  const struct runtime_finish finish = {.form = RUNTIME_REAL,
                                        .add = zeros,
                                        .factor = ones,
                                        .bias = values,
                                        .zero = y->zero_point,
                                        .f_lo = (float)(y->lo - y->zero_point),
                                        .f_hi = (float)(y->hi - y->zero_point),
                                        .scale = y->scale,
                                        .reciprocal = 1.0f / y->scale};
  const struct runtime_tile tile = {
      .n_pixels = 1, .n_blocks = 1, .n_last = N, .acc_step = N, .acc = acc, .y = to};
  runtime_finisher_at(level)->finish(&finish, &tile);
}

/* 16 floats around (k + 1/2) scale. */
static void check_around(float scale, int k, mq_simd_level level) {
  const struct mq_program_arithmetic *trt = mq_program_arithmetic_get(MQ_ARITHMETIC_TRT);
  const struct mq_program_output y = {
      .scale = scale, .zero_point = 128, .lo = 0, .hi = 255, .clip_lo = -INFINITY, .clip_hi = INFINITY};
  float values[N], value = (float)(((double)k + 0.5) * (double)scale);
  unsigned char codes[N];
  for (int i = 0; i < N / 2; i++)
    value = nextafterf(value, -INFINITY);
  for (int i = 0; i < N; i++, value = nextafterf(value, INFINITY))
    values[i] = value;
  finish_16(codes, values, &y, level);
  for (int i = 0; i < N; i++) {
    const struct mq_program_channel channel = {.factor = 1, .offset = values[i]};
    const int32_t expected = trt->requantize(0, &channel, 0, &y);
    if (codes[i] != expected)
      fail_msg("level %d: %a / %a: code %d, expected %d", (int)level, (double)values[i], (double)scale,
               codes[i], expected);
  }
}

static void halves(void **state) {
  (void)state;
  struct mq_rng rng;
  mq_rng_init(&rng, 3, MQ_RNG_TEST, 0, 0);
  for (int level = 0; level <= (int)mq_simd_level_best(); level++)
    for (int i = 0; i < 400; i++) {
      const float scale = ldexpf(1 + mq_rng_float(&rng), (int)mq_rng_below(&rng, 40) - 30);
      for (int k = -130; k < 130; k += 1 + (int)mq_rng_below(&rng, 8))
        check_around(scale, k, (mq_simd_level)level);
    }
}

/* ---- The quick way ------------------------------------------------------------------------------------ */
static bool divides_as_well(float v, float scale) {
  const float quotient = fmaf(v, 1 / scale, v * runtime_reciprocal_rest(scale));
  return rintf(quotient) == rintf(v / scale);
}

/* The values of v that v reciprocal + v rest could round to another integer than v / scale does: the floats
 * nearest to m scale, m in the middle between k + 1/2 and the floats beside it. */
static void check_division(float scale) {
  for (int k = -256; k < 256; k++)
    for (int side = -1; side <= 1; side += 2) {
      const float tie = (float)k + 0.5f, next = nextafterf(tie, (float)side * INFINITY);
      const float v = (float)(((double)tie + (double)next) / 2 * (double)scale);
      if (!divides_as_well(v, scale)) fail_msg("%a / %a", (double)v, (double)scale);
    }
}

/* The float nearest to m scale is near enough (one part in 2^47) only for some scales: with the scale as an
 * integer S of 24 bits and m as one of 25, m = (2 k + 1) 2^16 n +- 1, their product, of 50 bits at most, is
 * +-S modulo 2^16 and must be within 8 of a multiple of 2^24. Exponents change nothing. */
static void quick_divisions(void **state) {
  (void)state;
  const uint32_t step = 1 << 16;
  for (uint32_t s = 1 << 23; s < 1 << 24; s++) {
    if (s % step == 9) s += step - 17;
    check_division(ldexpf((float)s, -30));
  }
}

/* Ordinary values, which show that the argument above left out nothing. */
static void quick_divisions_around(void **state) {
  (void)state;
  struct mq_rng rng;
  mq_rng_init(&rng, 4, MQ_RNG_TEST, 0, 0);
  for (int i = 0; i < 300; i++) {
    const float scale = ldexpf(1 + mq_rng_float(&rng), (int)mq_rng_below(&rng, 40) - 30);
    for (int k = -128; k < 128; k++) {
      float v = (float)(((double)k + 0.5) * (double)scale);
      for (int n = 0; n < 8; n++)
        v = nextafterf(v, -INFINITY);
      for (int n = 0; n < 16; n++, v = nextafterf(v, INFINITY))
        if (!divides_as_well(v, scale)) fail_msg("%a / %a", (double)v, (double)scale);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(halves),
      cmocka_unit_test(quick_divisions),
      cmocka_unit_test(quick_divisions_around),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
