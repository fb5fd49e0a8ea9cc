#include "quant/histogram.h"

#include <float.h>
#include <math.h>

#include "common.h"
#include "help_quant.h"
#include "kernel/simd/observe.h"
#include "quant/density.h"

static struct mq_histogram direct, other, parts[8];

static float magnitude_of(const float *x, int64_t n) {
  float most = 0;
  for (int64_t i = 0; i < n; i++)
    most = fmaxf(most, fabsf(x[i]));
  return most;
}

static void observe(struct mq_histogram *histogram, const float *x, int64_t n) {
  float min = INFINITY, max = -INFINITY;
  assert_int_equal(mq_histogram_add(histogram, &min, &max, x, 1, n, n), 0);
  double least, most;
  plain_extrema(&least, &most, x, n);
  assert_true(min == (float)least && max == (float)most);
}

static void reset(struct mq_histogram *histogram) {
  memset(histogram, 0, sizeof *histogram);
  mq_histogram_init(histogram);
}

/* Counted value by value at the exponent that the definition gives. */
static void count_plainly(struct mq_histogram *histogram, const float *x, int64_t n) {
  memset(histogram, 0, sizeof *histogram);
  int exponent = -126;
  while (ldexp(MQ_HISTOGRAM_BINS, exponent) <= (double)magnitude_of(x, n))
    exponent++;
  histogram->exponent = exponent;
  for (int64_t i = 0; i < n; i++) {
    int64_t bin = (int64_t)floor(ldexp(fabs((double)x[i]), -exponent));
    if (x[i] > 0) histogram->positive[bin]++;
    if (x[i] < 0) histogram->negative[bin]++;
    if (x[i] == 0) histogram->n_zero++;
    if (x[i] != 0) histogram->has_values = 1;
  }
}

static void counts_are_exact(void **state) {
  (void)state;
  enum {
    N = 300001
  }; /* several fillings of the 16-bit counts, and a rest */
  float *x = test_malloc(N * sizeof *x);
  for (distribution d = 0; d < N_DISTRIBUTIONS; d++) {
    fill(x, N, d, 1);
    count_plainly(&direct, x, N);
    reset(&other);
    observe(&other, x, N);
    assert_memory_equal(&other, &direct, sizeof direct);
    if (d != ZEROS) assert_true(mq_histogram_used(&other, magnitude_of(x, N)) > MQ_HISTOGRAM_BINS / 2);
  }
  test_free(x);
}

static void extremes_of_float_have_bins(void **state) {
  (void)state;
  const float x[] = {FLT_MAX, -FLT_MAX, FLT_TRUE_MIN, -FLT_TRUE_MIN, 0, -0.0f, 1, FLT_MIN};
  count_plainly(&direct, x, 8);
  reset(&other);
  observe(&other, x, 8);
  assert_memory_equal(&other, &direct, sizeof direct);
  assert_int_equal(other.n_zero, 2);
  count_plainly(&direct, x + 2, 4);
  reset(&other);
  observe(&other, x + 2, 4);
  assert_memory_equal(&other, &direct, sizeof direct);
}

static void doubling_and_merging_do_not_depend_on_order(void **state) {
  (void)state;
  enum {
    PARTS = 8,
    N = 1000
  };
  static float x[PARTS * N];
  fill(x, PARTS * N, HEAVY, 3);
  for (int64_t i = 0; i < PARTS * N; i++)
    x[i] *= (float)exp2((double)(i / N * 3 % 8)); /* parts of very different size */
  count_plainly(&direct, x, PARTS * N);
  /* growing while it observes, forwards and backwards */
  for (int backwards = 0; backwards < 2; backwards++) {
    float min = INFINITY, max = -INFINITY;
    reset(&other);
    for (int k = 0; k < PARTS; k++)
      assert_int_equal(mq_histogram_add(&other, &min, &max, x + (backwards ? PARTS - 1 - k : k) * N, 1, N, N),
                       0);
    assert_memory_equal(&other, &direct, sizeof direct);
  }
  /* any tree */
  struct mq_rng rng;
  mq_rng_init(&rng, 4, MQ_RNG_TEST, 0, 0);
  for (int trial = 0; trial < 20; trial++) {
    for (int k = 0; k < PARTS; k++) {
      reset(&parts[k]);
      observe(&parts[k], x + k * N, N);
    }
    for (int left = PARTS; left > 1; left--) {
      uint32_t a = mq_rng_below(&rng, (uint32_t)left), b = mq_rng_below(&rng, (uint32_t)left - 1);
      b += b >= a;
      mq_histogram_merge(&parts[a], &parts[b], -FLT_MAX, FLT_MAX);
      if (b != (uint32_t)left - 1) parts[b] = parts[left - 1];
      if (a == (uint32_t)left - 1) parts[b] = parts[a];
    }
    assert_int_equal(parts[0].exponent, direct.exponent);
    if (memcmp(&parts[0], &direct, sizeof direct) != 0) fail_msg("trial %d", trial);
  }
}

static void counts_stop_at_their_largest(void **state) {
  (void)state;
  const float x[2] = {1, -1};
  reset(&direct);
  observe(&direct, x, 2);
  int64_t bin = mq_histogram_used(&direct, 1) - 1;
  assert_int_equal(direct.positive[bin], 1);
  reset(&other);
  mq_histogram_cover(&other, 1);
  other.has_values = 1;
  other.positive[bin] = UINT32_MAX;
  other.negative[bin] = UINT32_MAX - 1;
  mq_histogram_merge(&other, &direct, -1, 1);
  assert_true(other.positive[bin] == UINT32_MAX && other.negative[bin] == UINT32_MAX);
  other.positive[bin] = UINT32_MAX - 1;
  observe(&other, x, 1);
  assert_true(other.positive[bin] == UINT32_MAX);
  observe(&other, x, 2);
  assert_true(other.positive[bin] == UINT32_MAX && other.negative[bin] == UINT32_MAX);
  other.positive[bin + 1] = 7; /* joined with bin, which is even */
  mq_histogram_cover(&other, 3);
  assert_true(other.positive[bin / 2] == UINT32_MAX);
}

/* Rows with gaps that hold anything; a piece with a NaN is left out as a whole and told. */
static void rows_and_pieces(void **state) {
  (void)state;
  enum {
    ROWS = 5,
    COUNT = 70,
    STRIDE = 100
  };
  float rows[ROWS * STRIDE], dense[ROWS * COUNT], min = INFINITY, max = -INFINITY;
  fill(rows, ROWS * STRIDE, GAUSSIAN, 6);
  for (int r = 0; r < ROWS; r++)
    memcpy(dense + r * COUNT, rows + r * STRIDE, COUNT * sizeof *rows);
  rows[COUNT] = NAN;
  reset(&other);
  assert_int_equal(mq_histogram_add(&other, &min, &max, rows, ROWS, COUNT, STRIDE), 0);
  count_plainly(&direct, dense, ROWS * COUNT);
  assert_memory_equal(&other, &direct, sizeof direct);
  rows[3] = NAN;
  rows[4] = FLT_MAX;
  reset(&other);
  min = INFINITY, max = -INFINITY;
  assert_int_equal(mq_histogram_add(&other, &min, &max, rows, ROWS, COUNT, STRIDE), 1);
  count_plainly(&direct, dense + COUNT, (ROWS - 1) * COUNT);
  assert_memory_equal(&other, &direct, sizeof direct);
}

static int64_t count_zero_slots(const uint16_t *tally) {
  int64_t n = 0;
  for (int k = 2 * MQ_TALLY_BINS; k < MQ_TALLY_SLOTS; k++)
    n += tally[k];
  return n;
}

static void every_instruction_set_gives_the_same_bits(void **state) {
  (void)state;
  enum {
    N = 4099
  };
  static float x[N];
  static double count[202], area[202];
  static uint16_t tally[2][MQ_TALLY_SLOTS];
  fill(x, N, HALF_GAUSSIAN, 9);
  for (int i = 0; i < 201; i++) {
    count[i] = 3 * i + i % 7;
    area[i] = 1.37 * i * i;
  }
  count[201] = count[200];
  area[201] = area[200];
  const struct mq_simd_observe *base = mq_simd_observe_at(MQ_SIMD_BASE);
  for (int level = 1; level <= (int)mq_simd_level_best(); level++) {
    const struct mq_simd_observe *loops = mq_simd_observe_at((mq_simd_level)level);
    double a = base->squared_error(x, N, 0.037f, -8, 7), b = loops->squared_error(x, N, 0.037f, -8, 7);
    assert_memory_equal(&a, &b, sizeof a);
    a = base->sum_area(count, area, 200, -3.3, 0.71, 301);
    b = loops->sum_area(count, area, 200, -3.3, 0.71, 301);
    assert_memory_equal(&a, &b, sizeof a);
    a = base->sum_weighted_log(area, count + 1, 201);
    b = loops->sum_weighted_log(area, count + 1, 201);
    assert_memory_equal(&a, &b, sizeof a);
    memset(tally, 0, sizeof tally);
    float ends[2][2] = {{INFINITY, -INFINITY}, {INFINITY, -INFINITY}};
    assert_int_equal(base->tally(tally[0], &ends[0][0], &ends[0][1], x, N, 1024), N);
    assert_int_equal(loops->tally(tally[1], &ends[1][0], &ends[1][1], x, N, 1024), N);
    assert_memory_equal(tally[0], tally[1], 2 * MQ_TALLY_BINS * sizeof **tally);
    assert_int_equal(count_zero_slots(tally[0]), count_zero_slots(tally[1]));
    assert_true(ends[0][0] == ends[1][0] && ends[0][1] == ends[1][1]);
  }
}

/* Values that the bins do not cover, wherever they stand, end the counting before their block, and leave
 * neither counts nor extrema behind. */
static void counting_ends_before_what_does_not_fit(void **state) {
  (void)state;
  enum {
    N = 1500,
    BLOCK = 256
  };
  static const float strange[] = {8, -8, FLT_MAX, INFINITY, -INFINITY, NAN};
  static float x[N];
  static uint16_t tally[MQ_TALLY_SLOTS];
  fill(x, N, HALF_GAUSSIAN, 10);
  for (int i = 0; i < N; i++)
    x[i] = fminf(x[i], 7.9f);
  x[5] = nextafterf(-8, 0);
  for (int level = 0; level <= (int)mq_simd_level_best(); level++)
    for (size_t s = 0; s < sizeof strange / sizeof *strange; s++)
      for (int at = 7; at < N; at += 83) {
        float kept = x[at], min = INFINITY, max = -INFINITY;
        double least = (double)INFINITY, most = -(double)INFINITY;
        int64_t n = at / BLOCK * BLOCK, n_counted = 0;
        x[at] = strange[s];
        memset(tally, 0, sizeof tally);
        assert_int_equal(
            mq_simd_observe_at((mq_simd_level)level)->tally(tally, &min, &max, x, N, MQ_TALLY_BINS / 8.0f),
            n);
        x[at] = kept;
        for (int k = 0; k < MQ_TALLY_SLOTS; k++)
          n_counted += tally[k];
        assert_int_equal(n_counted, n);
        if (n > 0) plain_extrema(&least, &most, x, n);
        assert_true(min == (float)least && max == (float)most);
      }
}

static void logarithms_are_close(void **state) {
  (void)state;
  struct mq_rng rng;
  mq_rng_init(&rng, 11, MQ_RNG_TEST, 0, 0);
  for (int i = 0; i < 20000; i++) {
    double v = exp2(60 * mq_rng_double(&rng) - 40), one = 1;
    double got = mq_observe_sum_weighted_log(&one, &v, 1);
    assert_true(fabs(got - log(v)) <= 4e-16 * fmax(fabs(log(v)), 0.5));
  }
}

/* The closed form of the squared error against the sum over finely divided bins. */
static void density_error_is_the_integral(void **state) {
  (void)state;
  enum {
    N = 20000,
    PIECES = 64
  };
  static float x[N];
  static struct mq_density density;
  struct mq_scheme schemes[200];
  int n_schemes = list_schemes(schemes, false);
  for (int i = 0; i < n_schemes; i += 7) {
    fill(x, N, i % 3 == 0 ? GAUSSIAN : i % 3 == 1 ? HALF_GAUSSIAN : LAPLACE, (uint64_t)i);
    double min, max, sum = 0;
    plain_extrema(&min, &max, x, N);
    reset(&other);
    observe(&other, x, N);
    mq_density_init(&density, &other, (float)min, (float)max);
    struct plain_qparams q = plain_from_range(&schemes[i], 0.6 * min, 0.6 * max, min >= 0, 0);
    q.scale = (double)(float)q.scale;
    for (int64_t k = 0; k < density.n_bins; k++)
      for (int piece = 0; piece < PIECES && density.count[k + 1] > density.count[k]; piece++) {
        double at = ((double)(k - density.zero_at) + (piece + 0.5) / PIECES) * density.width;
        double e = at - plain_fake_quantize(at, &q);
        sum += (density.count[k + 1] - density.count[k]) / PIECES * e * e;
      }
    double got = mq_density_squared_error(&density, (float)q.scale, q.zero_point, q.n, q.p, (double)INFINITY);
    double early = mq_density_squared_error(&density, (float)q.scale, q.zero_point, q.n, q.p, 0.99 * got);
    assert_true(early > 0.99 * got && early <= got * (1 + 1e-6));
    if (fabs(got - sum) > 2e-3 * sum) fail_msg("scheme %d: %g, expected %g", i, got, sum);
  }
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(counts_are_exact),
      cmocka_unit_test(extremes_of_float_have_bins),
      cmocka_unit_test(doubling_and_merging_do_not_depend_on_order),
      cmocka_unit_test(counts_stop_at_their_largest),
      cmocka_unit_test(rows_and_pieces),
      cmocka_unit_test(every_instruction_set_gives_the_same_bits),
      cmocka_unit_test(counting_ends_before_what_does_not_fit),
      cmocka_unit_test(logarithms_are_close),
      cmocka_unit_test(density_error_is_the_integral),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
