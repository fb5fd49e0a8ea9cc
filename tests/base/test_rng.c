#include <math.h>

#include "base/philox.h"
#include "common.h"

/* Known answers of the Random123 distribution (kat_vectors, philox4x32 10). */
static void philox_gives_the_published_answers(void **state) {
  (void)state;
  static const struct {
    uint32_t counter[4], key[2], answer[4];
  } known[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t i = 0; i < 3; i++) {
    uint32_t out[4];
    mq_philox(out, known[i].counter, known[i].key);
    assert_memory_equal(out, known[i].answer, sizeof out);
  }
}

static void streams_depend_on_every_key_and_on_nothing_else(void **state) {
  (void)state;
  struct mq_rng a, b;
  mq_rng_init(&a, 1, MQ_RNG_TEST, 2, 3);
  for (int i = 0; i < 10; i++) {
    mq_rng_u32(&a);
  }
  mq_rng_init(&a, 1, MQ_RNG_TEST, 2, 3);
  mq_rng_init(&b, 1, MQ_RNG_TEST, 2, 3);
  uint32_t first = mq_rng_u32(&a);
  assert_int_equal(first, mq_rng_u32(&b));
  const uint64_t others[][3] = {{2, 2, 3},
                                {1, 3, 3},
                                {1, 2, 4},
                                {1 + (1ull << 32), 2, 3},
                                {1, 2 + (1ull << 32), 3},
                                {1, 2, 3 + (1ull << 32)}};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    mq_rng_init(&b, others[i][0], MQ_RNG_TEST, others[i][1], others[i][2]);
    assert_int_not_equal(first, mq_rng_u32(&b));
  }
  mq_rng_init(&b, 1, MQ_RNG_INIT, 2, 3);
  assert_int_not_equal(first, mq_rng_u32(&b));
}

static void numbers_are_uniform(void **state) {
  (void)state;
  struct mq_rng rng;
  mq_rng_init(&rng, 7, MQ_RNG_TEST, 0, 0);
  int counts[7] = {0};
  double sum = 0, sum_square = 0;
  const int n = 70000;
  for (int i = 0; i < n; i++) {
    counts[mq_rng_below(&rng, 7)]++;
    double x = mq_rng_double(&rng);
    float y = mq_rng_float(&rng);
    assert_true(x >= 0 && x < 1 && y >= 0 && y < 1);
    sum += x;
    sum_square += (double)y * (double)y;
  }
  for (int i = 0; i < 7; i++) {
    assert_true(abs(counts[i] - n / 7) < 5 * 93); /* 5 sigma, sigma = sqrt(n 6/49) */
  }
  assert_true(fabs(sum / n - 0.5) < 0.006);
  assert_true(fabs(sum_square / n - 1.0 / 3) < 0.006);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(philox_gives_the_published_answers),
      cmocka_unit_test(streams_depend_on_every_key_and_on_nothing_else),
      cmocka_unit_test(numbers_are_uniform),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
