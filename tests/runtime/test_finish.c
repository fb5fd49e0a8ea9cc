/* Finishing sums, value by value, where rounding is decided: floats beside a half step for scales of every
 * kind, which a division by way of the reciprocal could miss. */
#include <math.h>

#include "common.h"
#include "mqbench/program.h"
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(halves),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
