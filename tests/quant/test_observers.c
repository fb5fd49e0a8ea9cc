/* Every observer against the table's words, over schemes and distributions; slices, batches and channels. */
#include <math.h>

#include "common.h"
#include "help_quant.h"

enum {
  IMAGES = 10,
  ROW = 300,
  SLICE = 2,
  BATCH = 4,
  BATCHES = 3,
  ALL = IMAGES * ROW
};
static float x[ALL];

struct batch {
  const float *x;
  int64_t n_images, n;
  double min, max;
};

static struct batch batch_at(int b) {
  struct batch batch = {.x = x + b * BATCH * ROW, .n_images = b < 2 ? BATCH : IMAGES - 2 * BATCH};
  batch.n = batch.n_images * ROW;
  plain_extrema(&batch.min, &batch.max, batch.x, batch.n);
  return batch;
}

static struct mq_qparams answer_of(const char *name, const struct mq_observer_config *config) {
  struct mq_qparams out;
  struct mq_err err;
  assert_ok(mq_qparams_init(&out, 1, -1, &err));
  struct feed feed = {mq_observer_find(name), *config, x, IMAGES, ROW, SLICE, BATCH};
  assert_ok(feed_and_answer(&out, &feed, &err));
  return out;
}

typedef void (*plain_range_fn)(double *lo, double *hi, const struct mq_observer_config *config);

static void plain_minmax(double *lo, double *hi, const struct mq_observer_config *config) {
  (void)config;
  plain_extrema(lo, hi, x, ALL);
}

static void plain_ema(double *lo, double *hi, const struct mq_observer_config *config) {
  double keep = isnan(config->parameter) ? 0.9 : config->parameter;
  for (int b = 0; b < BATCHES; b++) {
    struct batch batch = batch_at(b);
    *lo = b == 0 ? batch.min : keep * *lo + (1 - keep) * batch.min;
    *hi = b == 0 ? batch.max : keep * *hi + (1 - keep) * batch.max;
  }
}

static void plain_mean(double *lo, double *hi, const struct mq_observer_config *config) {
  double first = config->is_published ? 2 : 1;
  *lo = *hi = 0;
  for (int b = 0; b < BATCHES; b++) {
    struct batch batch = batch_at(b);
    *lo += batch.min * (b == 0 ? first : 1) / (BATCHES - 1 + first);
    *hi += batch.max * (b == 0 ? first : 1) / (BATCHES - 1 + first);
  }
}

static void plain_batch_mean(double *lo, double *hi, const struct mq_observer_config *config) {
  double keep = isnan(config->parameter) ? 0.9 : config->parameter;
  for (int b = 0; b < BATCHES; b++) {
    struct batch batch = batch_at(b);
    double low = 0, high = 0, min, max;
    for (int64_t i = 0; i < batch.n_images; i++) {
      plain_extrema(&min, &max, batch.x + i * ROW, ROW);
      low += min / (double)batch.n_images;
      high += max / (double)batch.n_images;
    }
    *lo = b == 0 ? low : keep * *lo + (1 - keep) * low;
    *hi = b == 0 ? high : keep * *hi + (1 - keep) * high;
  }
}

static void plain_meanstd_of(double *lo, double *hi, const float *data, int64_t n, double k) {
  double mean = 0, squares = 0;
  for (int64_t i = 0; i < n; i++)
    mean += (double)data[i] / (double)n;
  for (int64_t i = 0; i < n; i++)
    squares += ((double)data[i] - mean) * ((double)data[i] - mean);
  double std = sqrt(squares / (double)(n - 1));
  *lo = mean - k * std;
  *hi = mean + k * std;
}

static void plain_meanstd(double *lo, double *hi, const struct mq_observer_config *config) {
  plain_meanstd_of(lo, hi, x, ALL, isnan(config->parameter) ? 3 : config->parameter);
}

static bool is_non_negative(void) {
  double min, max;
  plain_extrema(&min, &max, x, ALL);
  return min >= 0;
}

static void check_range_observer(const char *name, plain_range_fn plain, double parameter,
                                 bool is_published) {
  struct mq_scheme schemes[200];
  int n = list_schemes(schemes, false);
  for (distribution d = 0; d < N_DISTRIBUTIONS; d++) {
    fill(x, ALL, d, 31);
    for (int i = 0; i < n; i++) {
      if (test_leaves_out((int64_t)d * n + i)) continue;
      struct mq_observer_config config = activation_config(&schemes[i]);
      config.parameter = parameter;
      config.is_published = is_published;
      struct mq_qparams got = answer_of(name, &config);
      double lo = 0, hi = 0;
      plain(&lo, &hi, &config);
      bool is_limited = is_non_negative() && (schemes[i].is_symmetric || schemes[i].is_sign_adaptive);
      if (is_limited && lo < 0) lo = 0;
      struct plain_qparams want = plain_from_range(&schemes[i], lo, hi, is_non_negative(), 0);
      check_close(&got, 0, &want, 2e-6);
      mq_qparams_deinit(&got);
    }
  }
}

static void minmax_is_the_extrema(void **state) {
  (void)state;
  check_range_observer("minmax", plain_minmax, (double)NAN, false);
}

static void ema_minmax_decays(void **state) {
  (void)state;
  check_range_observer("ema_minmax", plain_ema, (double)NAN, false);
  check_range_observer("ema_minmax", plain_ema, 0.5, false);
}

static void mean_minmax_counts_batches_once_unless_published(void **state) {
  (void)state;
  check_range_observer("mean_minmax", plain_mean, (double)NAN, false);
  check_range_observer("mean_minmax", plain_mean, (double)NAN, true);
}

static void batch_mean_minmax_averages_samples(void **state) {
  (void)state;
  check_range_observer("batch_mean_minmax", plain_batch_mean, (double)NAN, false);
  check_range_observer("batch_mean_minmax", plain_batch_mean, 0.3, false);
}

static void meanstd_is_mean_and_deviation(void **state) {
  (void)state;
  check_range_observer("meanstd", plain_meanstd, 2.6, false);
  fill(x, ALL, HEAVY, 32); /* and it clips */
  struct mq_scheme scheme = {.bits = 8, .is_signed = true, .is_symmetric = true};
  struct mq_observer_config config = activation_config(&scheme);
  struct mq_qparams clipped = answer_of("meanstd", &config), whole = answer_of("minmax", &config);
  assert_true(clipped.scale[0] < 0.3f * whole.scale[0]);
  mq_qparams_deinit(&clipped);
  mq_qparams_deinit(&whole);
}

static struct plain_qparams plain_norm(const struct mq_scheme *scheme, const float *data, int64_t n,
                                       bool non_negative) {
  double mean = 0;
  for (int64_t i = 0; i < n; i++)
    mean += fabs((double)data[i]) / (double)n;
  struct plain_qparams bounds = plain_from_scale(scheme, 1, 0, non_negative);
  double p = bounds.n == 0 && scheme->is_symmetric ? exp2(scheme->bits) - 1 : exp2(scheme->bits - 1) - 1;
  double z = non_negative ? bounds.n : bounds.n + exp2(scheme->bits - 1);
  return plain_from_scale(scheme, 2 * mean / sqrt(p), z, non_negative);
}

static void norm_is_lsqs_rule(void **state) {
  (void)state;
  struct mq_scheme schemes[200];
  int n = list_schemes(schemes, false);
  for (distribution d = 0; d < N_DISTRIBUTIONS; d++) {
    fill(x, ALL, d, 33);
    for (int i = 0; i < n; i++) {
      if (test_leaves_out((int64_t)d * n + i)) continue;
      struct mq_observer_config config = activation_config(&schemes[i]);
      struct mq_qparams got = answer_of("norm", &config);
      struct plain_qparams want = plain_norm(&schemes[i], x, ALL, is_non_negative());
      check_close(&got, 0, &want, 1e-6);
      mq_qparams_deinit(&got);
    }
  }
}

static void rms_is_the_root_mean_square(void **state) {
  (void)state;
  for (distribution d = 0; d < N_DISTRIBUTIONS; d++) {
    fill(x, ALL, d, 48);
    double mean = 0;
    for (int64_t i = 0; i < ALL; i++)
      mean += (double)x[i] * (double)x[i] / ALL;
    struct mq_scheme scheme = {.bits = 4, .is_signed = true, .is_symmetric = true, .is_sign_adaptive = true};
    struct mq_observer_config config = activation_config(&scheme);
    struct mq_qparams got = answer_of("rms", &config);
    struct plain_qparams want = plain_from_scale(&scheme, sqrt(mean), 0, is_non_negative());
    check_close(&got, 0, &want, 1e-6);
    mq_qparams_deinit(&got);
  }
}

/* One bin: at most the largest magnitude over 4096. */
static double bin_of(double lo, double hi) {
  return fmax(fabs(lo), fabs(hi)) / 4096;
}

static void check_quantile(const struct mq_scheme *scheme, double a, double keep) {
  struct mq_observer_config config = activation_config(scheme);
  config.parameter = a;
  config.parameter2 = keep;
  double min, max, lo = 0, hi = 0;
  plain_extrema(&min, &max, x, ALL);
  if (isnan(keep)) {
    lo = plain_quantile(x, ALL, 1 - (isnan(a) ? 0.9999 : a), false);
    hi = plain_quantile(x, ALL, isnan(a) ? 0.9999 : a, false);
  } else {
    for (int b = 0; b < BATCHES; b++) {
      struct batch batch = batch_at(b);
      double t = plain_quantile(batch.x, batch.n, isnan(a) ? 0.99999 : a, true);
      lo = b == 0 ? fmax(batch.min, -t) : keep * lo + (1 - keep) * fmax(batch.min, -t);
      hi = b == 0 ? fmin(batch.max, t) : keep * hi + (1 - keep) * fmin(batch.max, t);
    }
  }
  struct mq_qparams got = answer_of("quantile", &config);
  struct plain_qparams want = plain_from_range(scheme, lo, hi, is_non_negative(), 0);
  double steps = want.p - want.n, allowed = 4 * bin_of(min, max) / steps + 1e-6 * want.scale;
  assert_true(fabs((double)got.scale[0] - want.scale) <= allowed);
  mq_qparams_deinit(&got);
}

static void quantile_is_within_a_bin(void **state) {
  (void)state;
  struct mq_scheme schemes[200];
  int n = list_schemes(schemes, false);
  for (distribution d = 0; d < N_DISTRIBUTIONS; d++) {
    fill(x, ALL, d, 34);
    for (int i = 0; i < n; i += 5) {
      if (test_leaves_out((int64_t)d * n + i)) continue;
      if (schemes[i].scale_form == MQ_SCALE_POT) continue; /* may round the other way */
      check_quantile(&schemes[i], (double)NAN, (double)NAN);
      check_quantile(&schemes[i], 0.99, (double)NAN);
      check_quantile(&schemes[i], 0.99, 0.9);
      check_quantile(&schemes[i], (double)NAN, 0.5);
    }
  }
}

/* mse of several batches: the widest of the batches' own answers. (A single batch: test_searches.) */
static void mse_takes_the_widest_batch(void **state) {
  (void)state;
  struct mq_scheme scheme = {.bits = 4, .is_signed = true};
  struct mq_err err;
  const struct mq_observer_ops *mse = mq_observer_find("mse");
  for (distribution d = 0; d < HEAVY; d++) {
    fill(x, ALL, d, 35);
    double lo = 0, hi = 0;
    for (int b = 0; b < BATCHES; b++) {
      struct batch batch = batch_at(b);
      double low, high;
      plain_mse_search(&low, &high, batch.x, batch.n, &scheme, 95, batch.min >= 0);
      lo = b == 0 ? low : fmin(lo, low);
      hi = b == 0 ? high : fmax(hi, high);
    }
    struct mq_qparams got;
    assert_ok(mq_qparams_init(&got, 1, -1, &err));
    struct feed feed = {mse, activation_config(&scheme), x, IMAGES, ROW, SLICE, BATCH};
    assert_ok(feed_and_answer(&got, &feed, &err));
    struct plain_qparams want = plain_from_range(&scheme, lo, hi, is_non_negative(), 0);
    check_close(&got, 0, &want, 0.02); /* a neighbouring candidate */
    mq_qparams_deinit(&got);
  }
}

static void mse_moves_both_ends(void **state) {
  (void)state;
  fill(x, ALL, LAPLACE, 36);
  struct mq_scheme scheme = {.bits = 3};
  struct mq_observer_config config = activation_config(&scheme);
  struct mq_qparams got = answer_of("mse", &config);
  double min, max, lo = -(double)got.scale[0] * got.zero_point[0];
  plain_extrema(&min, &max, x, ALL);
  assert_true(lo > 0.75 * min && lo + 7 * (double)got.scale[0] < 0.75 * max);
  mq_qparams_deinit(&got);
}

static double plain_clip(const float *data, int64_t n, int levels) {
  static double hist[2048];
  double min, max;
  int bins = 2048;
  plain_extrema(&min, &max, data, n);
  plain_histogram_2048(hist, data, n);
  if (levels <= 2048) plain_least_divergence(&bins, hist, levels);
  return fmax(-min, max) * bins / 2048;
}

static void kld_clips_where_the_divergence_is_least(void **state) {
  (void)state;
  enum {
    COUNT = 3000,
    MANY = IMAGES * COUNT
  };
  static float many[MANY];
  struct mq_err err;
  struct mq_qparams got;
  assert_ok(mq_qparams_init(&got, 1, -1, &err));
  const struct mq_scheme schemes[] = {
      {.bits = 8, .is_signed = true, .is_symmetric = true},
      {.bits = 4},
      {.bits = 3, .is_signed = true, .is_symmetric = true, .is_sign_adaptive = true},
      {.bits = 16, .is_signed = true}};
  const distribution which[] = {GAUSSIAN, HALF_GAUSSIAN, HEAVY, CONSTANT, TINY};
  for (int d = 0; d < 5; d++) {
    fill(many, MANY, which[d], 37);
    double min, max;
    plain_extrema(&min, &max, many, MANY);
    for (int i = 0; i < 4; i++) {
      if (test_leaves_out(d * 4 + i)) continue;
      struct mq_observer_config config = activation_config(&schemes[i]);
      config.parameter = 0;
      struct feed feed = {mq_observer_find("kld"), config, many, IMAGES, COUNT, SLICE, BATCH};
      assert_ok(feed_and_answer(&got, &feed, &err));
      bool is_unsigned = !schemes[i].is_signed || (schemes[i].is_sign_adaptive && min >= 0);
      double clip = plain_clip(many, MANY, 1 << (is_unsigned ? schemes[i].bits : schemes[i].bits - 1));
      struct plain_qparams want =
          plain_from_range(&schemes[i], fmax(min, -clip), fmin(max, clip), min >= 0, 0);
      check_close(&got, 0, &want, 0.05); /* flat about its minimum; see test_searches */
    }
  }
  mq_qparams_deinit(&got);
}

/* As if the data had no zeros, for weights and activations; parameter 0 counts them. */
static void kld_leaves_zeros_out(void **state) {
  (void)state;
  enum {
    COUNT = 3000,
    MANY = IMAGES * COUNT
  };
  static float many[MANY], others[MANY];
  struct mq_err err;
  struct mq_qparams got, literal;
  assert_ok(mq_qparams_init(&got, 1, -1, &err));
  assert_ok(mq_qparams_init(&literal, 1, -1, &err));
  fill(many, MANY, HALF_GAUSSIAN, 47);
  int64_t n_others = 0;
  double min, max;
  plain_extrema(&min, &max, many, MANY);
  for (int i = 0; i < MANY; i++)
    if (many[i] != 0) others[n_others++] = many[i];
  const struct mq_observer_ops *kld = mq_observer_find("kld");
  struct mq_scheme scheme = {.bits = 8, .is_signed = true, .is_symmetric = true};
  double clip = plain_clip(others, n_others, 128);
  struct plain_qparams want = plain_from_range(&scheme, min, clip, true, 0);
  struct mq_observer_config config = weight_config(&scheme, 1);
  assert_ok(mq_observe_weights(&got, kld, &config, many, MANY, NULL, &err));
  check_close(&got, 0, &want, 1e-6);
  config = activation_config(&scheme);
  struct feed feed = {kld, config, many, IMAGES, COUNT, SLICE, BATCH};
  feed.config.parameter = 0;
  assert_ok(feed_and_answer(&literal, &feed, &err));
  feed.config.parameter = NAN;
  assert_ok(feed_and_answer(&got, &feed, &err));
  check_close(&got, 0, &want, 0.05);
  assert_true(literal.scale[0] < 0.6f * got.scale[0]);
  mq_qparams_deinit(&got);
  mq_qparams_deinit(&literal);
}

static void published_kld_stops_where_a_bin_is_empty(void **state) {
  (void)state;
  struct mq_scheme scheme = {.bits = 8};
  fill(x, ALL, HALF_GAUSSIAN, 38); /* too few values for 2048 bins: NaN everywhere */
  struct mq_observer_config config = activation_config(&scheme);
  config.is_published = true;
  struct mq_qparams got = answer_of("kld", &config);
  double min, max;
  plain_extrema(&min, &max, x, ALL);
  double first = max * (0.3 + 0.7 * (3 - sqrt(5.0)) / 2);
  assert_true(fabs((double)got.scale[0] * 255 - first) < 1e-5 * max);
  mq_qparams_deinit(&got);
  /* no empty bin: a real minimum, the same for weights, whose histogram is made on the spot */
  enum {
    MANY = 400000
  };
  float *many = test_malloc(MANY * sizeof *many);
  fill(many, MANY, UNIFORM, 39);
  struct mq_err err;
  struct mq_qparams activation, weight;
  assert_ok(mq_qparams_init(&activation, 1, -1, &err));
  assert_ok(mq_qparams_init(&weight, 1, -1, &err));
  struct feed feed = {mq_observer_find("kld"), config, many, 1, MANY, 1, 1};
  assert_ok(feed_and_answer(&activation, &feed, &err));
  config.is_weight = true;
  assert_ok(mq_observe_weights(&weight, mq_observer_find("kld"), &config, many, MANY, NULL, &err));
  assert_true(activation.scale[0] == weight.scale[0]);
  double hi = (double)activation.scale[0] * (255 - activation.zero_point[0]);
  assert_true(hi > 0.29 && hi < 1.01);
  mq_qparams_deinit(&activation);
  mq_qparams_deinit(&weight);
  test_free(many);
}

/* k0 .. k0 + n - 1 by the definition; symmetric schemes. */
static int plain_floor_k(const struct mq_scheme *scheme, const float *data, int64_t n, int n_candidates,
                         bool non_negative) {
  double min, max, least = (double)INFINITY;
  plain_extrema(&min, &max, data, n);
  struct plain_qparams bounds = plain_from_scale(scheme, 1, 0, non_negative);
  double covering = bounds.n == 0 ? max / bounds.p : fmax(min / bounds.n, max / bounds.p);
  if (!(covering > 0)) return 0;
  int first = (int)floor(-log2(covering)), best = 12;
  for (int k = first; k < first + n_candidates && k <= 12; k++) {
    struct plain_qparams q = plain_from_scale(scheme, exp2(-k), 0, non_negative);
    double error = plain_error(data, n, &q);
    if (error < least) {
      least = error;
      best = k;
    }
  }
  return best;
}

static int plain_mode_k(const struct mq_scheme *scheme, int n_candidates) {
  int k[BATCHES], best = 0, most = 0;
  for (int b = 0; b < BATCHES; b++) {
    struct batch batch = batch_at(b);
    k[b] = plain_floor_k(scheme, batch.x, batch.n, n_candidates, batch.min >= 0);
  }
  for (int b = 0; b < BATCHES; b++) {
    int votes = 0;
    for (int other = 0; other < BATCHES; other++)
      votes += k[other] == k[b];
    if (votes > most || (votes == most && k[b] < best)) {
      most = votes;
      best = k[b];
    }
  }
  return best;
}

static void vitis_scales_are_powers_of_two(void **state) {
  (void)state;
  struct mq_scheme schemes[200];
  int n = list_schemes(schemes, false);
  for (distribution d = 0; d < N_DISTRIBUTIONS; d++) {
    fill(x, ALL, d, 40);
    for (int i = 0; i < n; i++)
      for (int input = 0; input < 2; input++) {
        if (!schemes[i].is_symmetric || schemes[i].bits == 16 || test_leaves_out((int64_t)d * n + i))
          continue;
        struct mq_observer_config config = activation_config(&schemes[i]);
        config.is_network_input = input;
        struct mq_qparams got = answer_of("minmax_floor", &config), mode = answer_of("pot_mode", &config);
        int candidates = input ? 1 : 5;
        int k = plain_floor_k(&schemes[i], x, ALL, candidates, is_non_negative());
        if ((double)got.scale[0] != exp2(-k))
          fail_msg("%s, scheme %d: %g, expected 2^-%d", distribution_name(d), i, (double)got.scale[0], k);
        k = d == ZEROS ? 0 : plain_mode_k(&schemes[i], candidates);
        if ((double)mode.scale[0] != exp2(-k))
          fail_msg("mode, %s, scheme %d: %g, expected 2^-%d", distribution_name(d), i, (double)mode.scale[0],
                   k);
        assert_int_equal(got.zero_point[0], 0);
        mq_qparams_deinit(&got);
        mq_qparams_deinit(&mode);
      }
  }
}

static void vitis_covers_the_range_of_schemes_with_zero_points(void **state) {
  (void)state;
  fill(x, ALL, UNIFORM, 41);
  struct mq_observer_config config = activation_config(&(struct mq_scheme){.bits = 8});
  config.is_network_input = true;
  struct mq_qparams got = answer_of("minmax_floor", &config);
  assert_true(got.scale[0] == 0x1p-7f);    /* 1.3 / 255 = 2^-7.6 */
  assert_int_equal(got.zero_point[0], 38); /* 0.3 * 128 = 38.4 */
  mq_qparams_deinit(&got);
}

static void weights_of_every_observer_per_channel(void **state) {
  (void)state;
  enum {
    CHANNELS = 3,
    COUNT = 450
  };
  static float w[CHANNELS * COUNT];
  const char *const one_batch[] = {"minmax", "ema_minmax", "mean_minmax", "batch_mean_minmax"};
  struct mq_scheme schemes[200];
  struct mq_err err;
  int n = list_schemes(schemes, true);
  struct mq_qparams got;
  assert_ok(mq_qparams_init(&got, CHANNELS, 0, &err));
  for (int i = 0; i < n; i++) {
    if (test_leaves_out(i)) continue;
    for (int c = 0; c < CHANNELS; c++)
      fill(w + c * COUNT, COUNT, (distribution)((c + i) % N_DISTRIBUTIONS), (uint64_t)i);
    double min, max, lo, hi;
    plain_extrema(&min, &max, w, CHANNELS * COUNT);
    struct mq_observer_config config = weight_config(&schemes[i], CHANNELS);
    config.scheme.is_per_channel = true;
    for (size_t o = 0; o < 4; o++) {
      assert_ok(mq_observe_weights(&got, mq_observer_find(one_batch[o]), &config, w, COUNT, NULL, &err));
      for (int c = 0; c < CHANNELS; c++) {
        plain_extrema(&lo, &hi, w + c * COUNT, COUNT);
        struct plain_qparams want = plain_from_range(&schemes[i], lo, hi, min >= 0, 0);
        check_close(&got, c, &want, 1e-6);
      }
    }
    assert_ok(mq_observe_weights(&got, mq_observer_find("norm"), &config, w, COUNT, NULL, &err));
    for (int c = 0; c < CHANNELS; c++) {
      struct plain_qparams want = plain_norm(&schemes[i], w + c * COUNT, COUNT, min >= 0);
      check_close(&got, c, &want, 1e-6);
    }
    assert_ok(mq_observe_weights(&got, mq_observer_find("meanstd"), &config, w, COUNT, NULL, &err));
    for (int c = 0; c < CHANNELS; c++) {
      plain_meanstd_of(&lo, &hi, w + c * COUNT, COUNT, 3);
      if (min >= 0 && schemes[i].is_symmetric) lo = fmax(lo, 0);
      struct plain_qparams want = plain_from_range(&schemes[i], lo, hi, min >= 0, 0);
      check_close(&got, c, &want, 2e-6);
    }
    assert_ok(mq_observe_weights(&got, mq_observer_find("quantile"), &config, w, COUNT, NULL, &err));
    for (int c = 0; c < CHANNELS; c++) {
      lo = plain_quantile(w + c * COUNT, COUNT, 0.0001, false);
      hi = plain_quantile(w + c * COUNT, COUNT, 0.9999, false);
      struct plain_qparams want = plain_from_range(&schemes[i], lo, hi, min >= 0, 0);
      check_close(&got, c, &want, 1e-6);
    }
    assert_ok(mq_observe_weights(&got, mq_observer_find("pot_mode"), &config, w, COUNT, NULL, &err));
    for (int c = 0; c < CHANNELS && schemes[i].is_symmetric; c++)
      assert_true((double)got.scale[c] ==
                  exp2(-plain_floor_k(&schemes[i], w + c * COUNT, COUNT, 5, min >= 0)));
    if (i % 6) continue;
    config.parameter = 0;
    assert_ok(mq_observe_weights(&got, mq_observer_find("kld"), &config, w, COUNT, NULL, &err));
    for (int c = 0; c < CHANNELS; c++) {
      plain_extrema(&lo, &hi, w + c * COUNT, COUNT);
      if (lo == 0 && hi == 0) continue;
      double clip = plain_clip(w + c * COUNT, COUNT,
                               1 << (schemes[i].is_signed ? schemes[i].bits - 1 : schemes[i].bits));
      struct plain_qparams want = plain_from_range(&schemes[i], fmax(lo, -clip), fmin(hi, clip), min >= 0, 0);
      check_close(&got, c, &want, 1e-6);
    }
  }
  mq_qparams_deinit(&got);
}

static void least_scales_reach_every_observer(void **state) {
  (void)state;
  struct mq_err err;
  fill(x, ALL, GAUSSIAN, 42);
  const float least[2] = {5, 0};
  struct mq_scheme scheme = {.bits = 8, .is_signed = true, .is_symmetric = true, .is_per_channel = true};
  struct mq_observer_config config = weight_config(&scheme, 2);
  struct mq_qparams got;
  assert_ok(mq_qparams_init(&got, 2, 0, &err));
  for (size_t o = 0; o < mq_observer_count(); o++) {
    assert_ok(mq_observe_weights(&got, mq_observer_at(o), &config, x, ALL / 2, least, &err));
    assert_true(got.scale[0] == 5 && got.scale[1] < 1);
  }
  mq_qparams_deinit(&got);
}

static void bad_data_is_refused_and_zeros_have_scale_one(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_scheme scheme = {.bits = 8, .is_signed = true, .is_symmetric = true};
  struct mq_qparams got;
  assert_ok(mq_qparams_init(&got, 1, -1, &err));
  for (size_t o = 0; o < mq_observer_count(); o++)
    for (int is_weight = 0; is_weight < 2; is_weight++) {
      struct mq_observer_config config = is_weight ? weight_config(&scheme, 1) : activation_config(&scheme);
      struct feed feed = {mq_observer_at(o), config, x, IMAGES, ROW, SLICE, BATCH};
      const float bad[] = {(float)INFINITY, (float)-INFINITY, (float)NAN};
      for (int i = 0; i < 3; i++) {
        fill(x, ALL, GAUSSIAN, 43);
        x[i * 700 + 555] = bad[i];
        if (is_weight)
          assert_fails(MQ_BAD_INPUT, "NaN or infinite",
                       mq_observe_weights(&got, mq_observer_at(o), &config, x, ALL, NULL, &err));
        else
          assert_fails(MQ_BAD_INPUT, "NaN or infinite", feed_and_answer(&got, &feed, &err));
      }
      feed.n_images = 0;
      if (!is_weight) assert_fails(MQ_BAD_INPUT, "no values", feed_and_answer(&got, &feed, &err));
      feed.n_images = IMAGES;
      fill(x, ALL, ZEROS, 0);
      if (is_weight)
        assert_ok(mq_observe_weights(&got, mq_observer_at(o), &config, x, ALL, NULL, &err));
      else
        assert_ok(feed_and_answer(&got, &feed, &err));
      assert_true(got.scale[0] == 1 && got.zero_point[0] == 0);
    }
  mq_qparams_deinit(&got);
}

/* One sign for all batches: a negative value in the last one makes it signed, also where the observer's range
 * stays above 0. */
static void signness_is_decided_once_over_all_data(void **state) {
  (void)state;
  struct mq_scheme scheme = {.bits = 8, .is_signed = true, .is_symmetric = true, .is_sign_adaptive = true};
  struct mq_observer_config config = activation_config(&scheme);
  for (size_t o = 0; o < mq_observer_count(); o++) {
    fill(x, ALL, UNIFORM, 44);
    for (int i = 0; i < ALL; i++)
      x[i] = fabsf(x[i]) + 0.5f;
    struct mq_qparams got = answer_of(mq_observer_at(o)->name, &config);
    assert_false(got.is_signed);
    assert_int_equal(got.quant_max, 255);
    mq_qparams_deinit(&got);
    x[ALL - 1] = -0.001f;
    got = answer_of(mq_observer_at(o)->name, &config);
    assert_true(got.is_signed);
    assert_int_equal(got.quant_min, -128);
    mq_qparams_deinit(&got);
  }
}

/* Slices of any size: the same answer, bit for bit where nothing is summed. */
static void slices_do_not_change_answers(void **state) {
  (void)state;
  struct mq_err err;
  fill(x, ALL, LAPLACE, 45);
  for (size_t o = 0; o < mq_observer_count(); o++) {
    struct mq_observer_config config = activation_config(&(struct mq_scheme){.bits = 8, .is_signed = true});
    struct mq_qparams want, got;
    assert_ok(mq_qparams_init(&want, 1, -1, &err));
    assert_ok(mq_qparams_init(&got, 1, -1, &err));
    for (int slice = 1; slice <= BATCH; slice++) {
      struct feed feed = {mq_observer_at(o), config, x, IMAGES, ROW, slice, BATCH};
      assert_ok(feed_and_answer(slice == 1 ? &want : &got, &feed, &err));
      if (slice == 1) continue;
      const char *name = mq_observer_at(o)->name;
      bool is_sum = !strcmp(name, "norm") || !strcmp(name, "meanstd") || !strcmp(name, "batch_mean_minmax") ||
                    !strcmp(name, "rms");
      if (is_sum)
        assert_true(fabsf(got.scale[0] - want.scale[0]) <= 1.2e-7f * want.scale[0]);
      else
        assert_true(got.scale[0] == want.scale[0] && got.zero_point[0] == want.zero_point[0]);
    }
    mq_qparams_deinit(&want);
    mq_qparams_deinit(&got);
  }
}

static void start(void *state, const struct mq_observer_ops *observer,
                  const struct mq_observer_config *config) {
  memset(state, 0, observer->state_bytes(config));
  observer->init(state, config);
}

/* Two states that take images turn and turn about, from the last to the first, merged the wrong way round. */
static void observe_backwards(void *states[2], const struct mq_observer_ops *observer,
                              const struct mq_observer_config *config, const float *data, int64_t n_images) {
  for (int i = 0; i < 2; i++)
    start(states[i], observer, config);
  for (int64_t i = n_images - 1; i >= 0; i--)
    observer->observe(states[i % 2], config, data + i * ROW, 1, ROW, ROW);
  observer->merge(states[0], states[1], config);
}

/* Whatever an observer's span allows leaves the same bits as batches of slices in order. */
static void states_take_what_their_span_allows(void **state) {
  (void)state;
  struct mq_err err;
  fill(x, ALL, HEAVY, 46);
  for (size_t o = 0; o < mq_observer_count(); o++) {
    const struct mq_observer_ops *observer = mq_observer_at(o);
    struct mq_observer_config config = activation_config(&(struct mq_scheme){.bits = 8, .is_signed = true});
    mq_observer_span span = observer->span ? observer->span(&config) : MQ_SPAN_SLICE;
    if (span == MQ_SPAN_SLICE) continue;
    size_t bytes = observer->state_bytes(&config);
    void *states[2] = {mq_alloc(1, bytes), mq_alloc(1, bytes)}, *running = mq_alloc(1, bytes);
    int64_t batch = span == MQ_SPAN_ALL ? IMAGES : BATCH;
    start(running, observer, &config);
    for (int64_t first = 0; first < IMAGES; first += batch) {
      int64_t n = IMAGES - first < batch ? IMAGES - first : batch;
      observe_backwards(states, observer, &config, x + first * ROW, n);
      observer->batch_end(running, states[0], &config, first == 0);
    }
    struct mq_qparams want, got;
    assert_ok(mq_qparams_init(&want, 1, -1, &err));
    assert_ok(mq_qparams_init(&got, 1, -1, &err));
    assert_ok(observer->answer(&got, running, &config, NULL, ROW, NULL, &err));
    struct feed feed = {observer, config, x, IMAGES, ROW, 1, BATCH};
    assert_ok(feed_and_answer(&want, &feed, &err));
    if (got.scale[0] != want.scale[0] || got.zero_point[0] != want.zero_point[0])
      fail_msg("%s: %g, expected %g", observer->name, (double)got.scale[0], (double)want.scale[0]);
    mq_qparams_deinit(&want);
    mq_qparams_deinit(&got);
    mq_free(states[0]);
    mq_free(states[1]);
    mq_free(running);
  }
}

static void registry_finds_by_name(void **state) {
  (void)state;
  const char *const names[] = {"minmax",   "ema_minmax", "mean_minmax", "quantile",          "mse",
                               "kld",      "norm",       "meanstd",     "batch_mean_minmax", "minmax_floor",
                               "pot_mode", "rms"};
  assert_int_equal(mq_observer_count(), sizeof names / sizeof *names);
  for (size_t i = 0; i < mq_observer_count(); i++) {
    assert_ptr_equal(mq_observer_find(names[i]), mq_observer_at(i));
    assert_string_equal(mq_observer_at(i)->name, names[i]);
    assert_true(mq_observer_at(i)->revision >= 1 && mq_observer_at(i)->describes);
    assert_true(mq_observer_at(i)->is_for_weights && mq_observer_at(i)->is_for_activations);
  }
  assert_null(mq_observer_find("maxmin"));
}

static void parameters_have_limits(void **state) {
  (void)state;
  const struct {
    const char *name;
    double taken[2], refused[4];
  } cases[] = {{"quantile", {0.50001, 0.99999}, {0.5, 1, 7, NAN}},
               {"ema_minmax", {0, 0.999}, {-0.1, 1, INFINITY, NAN}},
               {"batch_mean_minmax", {0, 0.999}, {-0.1, 1, INFINITY, NAN}},
               {"mse", {0, 0.999}, {-0.1, 1, INFINITY, NAN}},
               {"meanstd", {1e-9, 1e6}, {0, -1, 1.1e6, NAN}},
               {"kld", {0, 1}, {-1, 0.5, 2, NAN}}};
  size_t n_with_parameter = 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const struct mq_observer_ops *observer = mq_observer_find(cases[i].name);
    for (int k = 0; k < 2; k++)
      assert_true(mq_observer_takes(observer, cases[i].taken[k]));
    for (int k = 0; k < 4; k++)
      assert_false(mq_observer_takes(observer, cases[i].refused[k]));
  }
  for (size_t i = 0; i < mq_observer_count(); i++) {
    n_with_parameter += mq_observer_at(i)->parameter.exists;
    assert_true(mq_observer_at(i)->parameter.exists || !mq_observer_takes(mq_observer_at(i), 0));
  }
  assert_int_equal(n_with_parameter, sizeof cases / sizeof *cases);
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(minmax_is_the_extrema),
      cmocka_unit_test(ema_minmax_decays),
      cmocka_unit_test(mean_minmax_counts_batches_once_unless_published),
      cmocka_unit_test(batch_mean_minmax_averages_samples),
      cmocka_unit_test(meanstd_is_mean_and_deviation),
      cmocka_unit_test(norm_is_lsqs_rule),
      cmocka_unit_test(rms_is_the_root_mean_square),
      cmocka_unit_test(quantile_is_within_a_bin),
      cmocka_unit_test(mse_takes_the_widest_batch),
      cmocka_unit_test(mse_moves_both_ends),
      cmocka_unit_test(kld_clips_where_the_divergence_is_least),
      cmocka_unit_test(kld_leaves_zeros_out),
      cmocka_unit_test(published_kld_stops_where_a_bin_is_empty),
      cmocka_unit_test(vitis_scales_are_powers_of_two),
      cmocka_unit_test(vitis_covers_the_range_of_schemes_with_zero_points),
      cmocka_unit_test(weights_of_every_observer_per_channel),
      cmocka_unit_test(least_scales_reach_every_observer),
      cmocka_unit_test(bad_data_is_refused_and_zeros_have_scale_one),
      cmocka_unit_test(signness_is_decided_once_over_all_data),
      cmocka_unit_test(slices_do_not_change_answers),
      cmocka_unit_test(states_take_what_their_span_allows),
      cmocka_unit_test(registry_finds_by_name),
      cmocka_unit_test(parameters_have_limits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
