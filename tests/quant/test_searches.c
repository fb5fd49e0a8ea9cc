/* The searches over the one-pass histogram against exhaustive ones on the raw data, within the bounds that
 * docs/numerics.md states; and the searches on raw data against the definitions. */
#include <math.h>

#include "common.h"
#include "help_quant.h"
#include "quant/divergence.h"
#include "quant/order_statistic.h"

enum {
  N = 30000
};
static float x[N];
static struct mq_histogram histogram;
static float min_x, max_x;

static void prepare(distribution d, uint64_t seed) {
  double min, max;
  fill(x, N, d, seed);
  plain_extrema(&min, &max, x, N);
  min_x = (float)min;
  max_x = (float)max;
  memset(&histogram, 0, sizeof histogram);
  mq_histogram_init(&histogram);
  float least = INFINITY, most = -INFINITY;
  assert_int_equal(mq_histogram_add(&histogram, &least, &most, x, 1, N, N), 0);
  assert_true(least == min_x && most == max_x);
}

static double bin_width(void) {
  return ldexp(1, histogram.exponent);
}

static void quantiles_are_within_a_bin(void **state) {
  (void)state;
  const double places[] = {0, 0.0001, 0.01, 0.37, 0.5, 0.99, 0.9999, 0.99999, 1};
  for (distribution d = 0; d < N_DISTRIBUTIONS; d++) {
    prepare(d, 21);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
      for (int is_absolute = 0; is_absolute < 2; is_absolute++) {
        if (test_leaves_out((int64_t)d * 18 + (int64_t)i * 2 + is_absolute)) continue;
        double want = plain_quantile(x, N, places[i], is_absolute);
        double exact = mq_quantile_of_data(x, N, places[i], is_absolute);
        double got = mq_quantile_of_histogram(&histogram, places[i], is_absolute, min_x, max_x);
        assert_true(fabs(exact - want) <= 1e-15 * fabs(want));
        if (fabs(got - want) > bin_width())
          fail_msg("%s, %g: %g, expected %g", distribution_name(d), places[i], got, want);
      }
  }
  const float few[] = {3, -1, 3, 2, -0.0f};
  assert_true(mq_quantile_of_data(few, 5, 0.5, false) == 2);
  assert_true(mq_quantile_of_data(few, 5, 0.75, false) == 3);
  assert_true(mq_quantile_of_data(few, 5, 0.875, false) == 3);
  assert_true(mq_quantile_of_data(few, 5, 0.125, false) == -0.5);
  assert_true(mq_quantile_of_data(few, 1, 0.3, false) == 3);
}

/* How far the histogram's squared error may be from that of the data: each value moves by half a bin at most
 * on average, along a slope of twice its error. */
static double error_bound(const struct mq_qparams *q) {
  double w = bin_width(), s = (double)q->scale[0], sum = 0;
  struct plain_qparams plain = {s, q->zero_point[0], q->quant_min, q->quant_max};
  for (int64_t i = 0; i < N; i++) {
    double e = fabs((double)x[i] - plain_fake_quantize((double)x[i], &plain));
    sum += w / 2 * fmax(s, 2 * (e + w));
  }
  return sum;
}

static struct mq_qparams from_range(const struct mq_scheme *scheme, double lo, double hi) {
  struct mq_qparams q;
  struct mq_err err;
  assert_ok(mq_qparams_init(&q, 1, -1, &err));
  mq_qparams_from_range(&q, scheme, &(struct mq_range){(float)lo, (float)hi}, NULL);
  return q;
}

static void mse_on_the_histogram_is_nearly_the_best(void **state) {
  (void)state;
  struct mq_scheme schemes[200];
  struct mq_err err;
  int n = list_schemes(schemes, false);
  double worst = 0;
  for (distribution d = 0; d < N_DISTRIBUTIONS; d++) {
    prepare(d, 22);
    for (int i = 0; i < n; i += 23) { /* 23 and 24 have no common factor: every combination comes up */
      if (test_leaves_out((int64_t)d * 9 + i / 23)) continue;
      struct feed feed = {.observer = mq_observer_find("mse"),
                          .config = activation_config(&schemes[i]),
                          .x = x,
                          .n_images = 1,
                          .row_count = N,
                          .images_per_slice = 1,
                          .images_per_batch = 1};
      struct mq_qparams got;
      assert_ok(mq_qparams_init(&got, 1, -1, &err));
      assert_ok(feed_and_answer(&got, &feed, &err));
      double lo = min_x, hi = max_x;
      double best = plain_mse_search(&lo, &hi, x, N, &schemes[i], 95, min_x >= 0);
      double error = plain_error_of(x, N, &got, 0);
      struct mq_qparams of_best = from_range(&schemes[i], lo, hi);
      double bound = error_bound(&got) + error_bound(&of_best);
      if (error - best > bound + 1e-5 * best)
        fail_msg("%s, scheme %d: error %g, best %g, bound %g", distribution_name(d), i, error, best, bound);
      bool is_smooth = d != CONSTANT && d != ZEROS && d != HEAVY && schemes[i].bits <= 8;
      if (is_smooth) worst = fmax(worst, error / best - 1);
      mq_qparams_deinit(&got);
      mq_qparams_deinit(&of_best);
    }
  }
  print_message("          squared error at most %.4f%% above the best\n", 100 * worst);
  assert_true(worst < 0.01);
}

static const int all_levels[] = {2, 8, 16, 64, 128, 256};

static void divergence_on_data_is_the_definition(void **state) {
  (void)state;
  static double hist[2048];
  static struct mq_divergence sums;
  for (distribution d = 0; d < N_DISTRIBUTIONS; d++) {
    if (d == ZEROS) continue;
    int64_t n = d == LAPLACE ? 300 : N; /* sparse: most bins empty */
    prepare(d, 23);
    double min, max;
    plain_extrema(&min, &max, x, n);
    plain_histogram_2048(hist, x, n);
    mq_divergence_from_data(&sums, x, n, (float)fmax(-min, max), true);
    for (size_t l = 0; l < 6; l++) {
      int levels = all_levels[l], bins = 0;
      for (int i = levels > 128 ? levels : 128; i <= 2048; i += 37)
        if (!test_leaves_out(i))
          assert_true(fabs(mq_divergence_at(&sums, i, levels) - plain_divergence(hist, i, levels)) < 1e-12);
      if (l % 2 || test_leaves_out((int64_t)d * 3 + (int64_t)l / 2))
        continue; /* the plain search takes its time */
      plain_least_divergence(&bins, hist, levels);
      int got = mq_divergence_search(&sums, levels);
      if (got != bins)
        fail_msg("%s, %d levels: %d bins, expected %d", distribution_name(d), levels, got, bins);
    }
  }
  assert_int_equal(mq_divergence_search(&sums, 4096), 2048);
}

/* The histogram's choice, judged on the raw data's own 2048 bins. */
static void divergence_on_the_histogram_is_nearly_the_least(void **state) {
  (void)state;
  static double hist[2048];
  static struct mq_divergence sums, of_data;
  for (distribution d = 0; d < N_DISTRIBUTIONS; d++) {
    if (d == ZEROS) continue;
    prepare(d, 24);
    plain_histogram_2048(hist, x, N);
    mq_divergence_from_data(&of_data, x, N, fmaxf(-min_x, max_x), true);
    mq_divergence_from_histogram(&sums, &histogram, min_x, max_x, true);
    assert_true(sums.count[2048] == N);
    for (size_t l = 0; l < 6; l++) {
      if (test_leaves_out((int64_t)d * 6 + (int64_t)l)) continue;
      int best = mq_divergence_search(&of_data, all_levels[l]);
      int got = mq_divergence_search(&sums, all_levels[l]);
      double least = plain_divergence(hist, best, all_levels[l]),
             chosen = plain_divergence(hist, got, all_levels[l]);
      print_message("          %s, %d levels: bins %d (raw %d), divergence %.6f (raw %.6f)\n",
                    distribution_name(d), all_levels[l], got, best, chosen, least);
      assert_true(chosen <= 1.05 * least + 1e-3);
    }
  }
}

/* Per channel and per tensor, as mq_observe_weights takes them. */
static void weights_are_searched_exhaustively(void **state) {
  (void)state;
  enum {
    CHANNELS = 4,
    ROW = 500
  };
  static float w[CHANNELS * ROW];
  struct mq_scheme schemes[200];
  struct mq_err err;
  int n = list_schemes(schemes, true);
  for (int i = 0; i < n; i++)
    for (int per_channel = 0; per_channel < 2; per_channel++) {
      if (test_leaves_out(i * 2 + per_channel)) continue;
      for (int c = 0; c < CHANNELS; c++)
        fill(w + c * ROW, ROW, (distribution)((c + i) % 8), (uint64_t)i);
      int64_t n_channels = per_channel ? CHANNELS : 1, row = CHANNELS * ROW / n_channels;
      struct mq_observer_config config = weight_config(&schemes[i], n_channels);
      struct mq_qparams got;
      assert_ok(mq_qparams_init(&got, n_channels, per_channel ? 0 : -1, &err));
      assert_ok(mq_observe_weights(&got, mq_observer_find("mse"), &config, w, row, NULL, &err));
      double min, max;
      plain_extrema(&min, &max, w, CHANNELS * ROW);
      for (int64_t c = 0; c < n_channels; c++) {
        double lo, hi;
        double best =
            plain_mse_search(&lo, &hi, w + c * row, row, &schemes[i], per_channel ? 80 : 95, min >= 0);
        double error = plain_error_of(w + c * row, row, &got, c);
        /* the product's forms are float32: each value may be off by a rounding of the largest */
        double rounding = (double)row * pow(fmax(-min, max) * 0x1p-24, 2);
        if (error > best * (1 + 1e-4) + rounding) fail_msg("scheme %d: error %g, best %g", i, error, best);
      }
      mq_qparams_deinit(&got);
    }
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(quantiles_are_within_a_bin),
      cmocka_unit_test(mse_on_the_histogram_is_nearly_the_best),
      cmocka_unit_test(divergence_on_data_is_the_definition),
      cmocka_unit_test(divergence_on_the_histogram_is_nearly_the_least),
      cmocka_unit_test(weights_are_searched_exhaustively),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
