#include "help_quant.h"

#include <math.h>

#include "common.h"

const char *distribution_name(distribution which) {
  const char *const names[N_DISTRIBUTIONS] = {"Gaussian", "half Gaussian", "Laplace", "uniform", "heavy tail",
                                              "constant", "zeros",         "tiny",    "huge",    "negative"};
  return names[which];
}

static double gaussian(struct mq_rng *rng) {
  double u = 1 - mq_rng_double(rng), v = mq_rng_double(rng);
  return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static double draw(struct mq_rng *rng, distribution which) {
  double u = mq_rng_double(rng), g = gaussian(rng);
  switch (which) {
    case HALF_GAUSSIAN:
      return g > 0 ? g : 0;
    case LAPLACE:
      return (g > 0 ? 1 : -1) * -log(1 - u);
    case UNIFORM:
      return 1.3 * u - 0.3;
    case HEAVY:
      return u < 0.002 ? 50 * g : g;
    case CONSTANT:
      return 1.7;
    case ZEROS:
      return 0;
    case TINY:
      return 1e-30 * g;
    case HUGE_VALUES:
      return 1e30 * g;
    case NEGATIVE:
      return -fabs(g) - 0.1;
    default:
      return g;
  }
}

void fill(float *x, int64_t n, distribution which, uint64_t seed) {
  struct mq_rng rng;
  mq_rng_init(&rng, seed, MQ_RNG_TEST, which, 0);
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)draw(&rng, which);
}

int list_schemes(struct mq_scheme *schemes, bool is_weight) {
  static const uint8_t all_bits[] = {2, 3, 4, 5, 6, 7, 8, 16};
  int n = 0;
  for (int b = 0; b < (is_weight ? 7 : 8); b++)
    for (int sign = 0; sign < 3; sign++)
      for (int form = 0; form < (is_weight ? 4 : 8); form++) {
        struct mq_scheme scheme = {.bits = all_bits[b],
                                   .is_signed = sign > 0,
                                   .is_narrow = sign == 2,
                                   .is_symmetric = form & 1,
                                   .scale_form = form & 2 ? MQ_SCALE_POT : MQ_SCALE_FLOAT,
                                   .is_sign_adaptive = form & 4};
        if (schemes) schemes[n] = scheme;
        n++;
      }
  return n;
}

static struct plain_qparams plain_bounds(const struct mq_scheme *scheme, bool is_non_negative) {
  struct plain_qparams q = {0};
  bool is_signed = scheme->is_signed && !(scheme->is_sign_adaptive && is_non_negative);
  int32_t levels = 1 << scheme->bits;
  q.n = !is_signed ? 0 : scheme->is_narrow ? -(levels / 2) + 1 : -(levels / 2);
  q.p = !is_signed ? levels - 1 : levels / 2 - 1;
  return q;
}

static double plain_form(const struct mq_scheme *scheme, double scale) {
  if (scale == 0) scale = 1;
  return scheme->scale_form == MQ_SCALE_POT ? exp2(rint(log2(scale))) : scale;
}

struct plain_qparams plain_from_range(const struct mq_scheme *scheme, double lo, double hi,
                                      bool is_non_negative, double least_scale) {
  struct plain_qparams q = plain_bounds(scheme, is_non_negative);
  double steps = (double)q.p - q.n;
  if (!scheme->is_symmetric) {
    lo = lo < 0 ? lo : 0;
    hi = hi > 0 ? hi : 0;
    q.scale = (hi - lo) / steps;
  } else if (q.n == 0 && is_non_negative) {
    q.scale = hi / steps;
  } else {
    q.scale = fmax(fabs(lo), fabs(hi)) / (steps / 2);
  }
  q.scale = plain_form(scheme, q.scale);
  if (q.scale < least_scale)
    q.scale = scheme->scale_form == MQ_SCALE_POT ? exp2(ceil(log2(least_scale))) : least_scale;
  double z = q.n - rint(lo / q.scale);
  q.zero_point = scheme->is_symmetric ? 0 : (int32_t)fmin(fmax(z, q.n), q.p);
  return q;
}

struct plain_qparams plain_from_scale(const struct mq_scheme *scheme, double scale, double zero_point,
                                      bool is_non_negative) {
  struct plain_qparams q = plain_bounds(scheme, is_non_negative);
  q.scale = plain_form(scheme, scale);
  q.zero_point = scheme->is_symmetric ? 0 : (int32_t)fmin(fmax(rint(zero_point), q.n), q.p);
  return q;
}

double plain_fake_quantize(double x, const struct plain_qparams *q) {
  double level = fmin(fmax(rint(x / q->scale) + q->zero_point, q->n), q->p);
  return q->scale * (level - q->zero_point);
}

double plain_error(const float *x, int64_t n, const struct plain_qparams *q) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    double e = (double)x[i] - plain_fake_quantize((double)x[i], q);
    sum += e * e;
  }
  return sum;
}

double plain_error_of(const float *x, int64_t n, const struct mq_qparams *qparams, int64_t channel) {
  struct plain_qparams q = {(double)qparams->scale[channel], qparams->zero_point[channel], qparams->quant_min,
                            qparams->quant_max};
  return plain_error(x, n, &q);
}

void plain_extrema(double *min, double *max, const float *x, int64_t n) {
  *min = INFINITY;
  *max = -INFINITY;
  for (int64_t i = 0; i < n; i++) {
    *min = fmin(*min, (double)x[i]);
    *max = fmax(*max, (double)x[i]);
  }
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double plain_quantile(const float *x, int64_t n, double q, bool is_absolute) {
  double *sorted = malloc((size_t)n * sizeof *sorted);
  assert_non_null(sorted);
  for (int64_t i = 0; i < n; i++)
    sorted[i] = is_absolute ? fabs((double)x[i]) : (double)x[i];
  qsort(sorted, (size_t)n, sizeof *sorted, compare_doubles);
  double place = q * (double)(n - 1), answer;
  int64_t k = (int64_t)floor(place);
  answer = k + 1 < n ? sorted[k] + (place - (double)k) * (sorted[k + 1] - sorted[k]) : sorted[n - 1];
  free(sorted);
  return answer;
}

double plain_mse_search(double *lo, double *hi, const float *x, int64_t n, const struct mq_scheme *scheme,
                        int n_candidates, bool is_non_negative) {
  double min, max, least = INFINITY;
  plain_extrema(&min, &max, x, n);
  for (int i = 0; i < n_candidates; i++) {
    double f = 1 - 0.01 * i;
    struct plain_qparams q = plain_from_range(scheme, min * f, max * f, is_non_negative, 0);
    double error = plain_error(x, n, &q);
    if (error < least) {
      least = error;
      *lo = min * f;
      *hi = max * f;
    }
  }
  return least;
}

void plain_histogram_2048(double hist[2048], const float *x, int64_t n) {
  double min, max;
  plain_extrema(&min, &max, x, n);
  double most = fmax(-min, max);
  for (int k = 0; k < 2048; k++)
    hist[k] = 0;
  for (int64_t i = 0; i < n; i++) {
    int k = (int)floor(fabs((double)x[i]) * 2048 / most);
    hist[k < 2048 ? k : 2047] += 1;
  }
}

double plain_divergence(const double hist[2048], int bins, int n_levels) {
  static double p[2048], q[2048];
  double rest = 0, sum_p = 0, sum_q = 0, divergence = 0;
  for (int k = bins; k < 2048; k++)
    rest += hist[k];
  for (int k = 0; k < bins; k++) {
    p[k] = hist[k] + (k == bins - 1 ? rest : 0);
    q[k] = 0;
    sum_p += p[k];
  }
  for (int j = 0; j < n_levels; j++) {
    int begin = j * bins / n_levels, end = (j + 1) * bins / n_levels, occupied = 0;
    double mass = 0;
    for (int k = begin; k < end; k++) {
      mass += hist[k];
      occupied += p[k] > 0;
    }
    for (int k = begin; k < end; k++)
      if (p[k] > 0) q[k] = mass / occupied;
    sum_q += mass;
  }
  for (int k = 0; k < bins; k++)
    if (p[k] > 0) {
      double share = sum_q > 0 ? q[k] / sum_q : 0;
      divergence += p[k] / sum_p * log(p[k] / sum_p / fmax(share, 1e-10));
    }
  return divergence;
}

double plain_least_divergence(int *bins, const double hist[2048], int n_levels) {
  static double all[2049];
  double least = (double)INFINITY;
  int first = n_levels > 128 ? n_levels : 128;
  for (int i = first; i <= 2048; i++) {
    all[i] = plain_divergence(hist, i, n_levels);
    least = fmin(least, all[i]);
  }
  for (*bins = first; all[*bins] > least + 1e-12;)
    ++*bins;
  return least;
}

void check_close(const struct mq_qparams *got, int64_t channel, const struct plain_qparams *want,
                 double relative) {
  double scale = (double)got->scale[channel];
  if (fabs(scale - want->scale) > relative * want->scale)
    fail_msg("scale %.9g, expected %.9g", scale, want->scale);
  if (abs(got->zero_point[channel] - want->zero_point) > (got->quant_max > 255 ? 2 : 1))
    fail_msg("zero point %d, expected %d", got->zero_point[channel], want->zero_point);
  assert_int_equal(got->quant_min, want->n);
  assert_int_equal(got->quant_max, want->p);
  assert_int_equal(got->is_signed, want->n < 0);
}

static void observe_tree(void *state, const struct feed *feed, int64_t first, int64_t n_images) {
  const struct mq_observer_config *config = &feed->config;
  if (n_images <= feed->images_per_slice) {
    feed->observer->observe(state, config, feed->x + first * feed->row_count, n_images, feed->row_count,
                            feed->row_count);
    return;
  }
  int64_t left = feed->images_per_slice;
  while (left * 2 < n_images)
    left *= 2;
  void *right = mq_alloc(1, feed->observer->state_bytes(config));
  assert_non_null(right);
  feed->observer->init(right, config);
  observe_tree(state, feed, first, left);
  observe_tree(right, feed, first + left, n_images - left);
  feed->observer->merge(state, right, config);
  mq_free(right);
}

mq_status feed_and_answer(struct mq_qparams *out, const struct feed *feed, struct mq_err *err) {
  const struct mq_observer_config *config = &feed->config;
  size_t bytes = feed->observer->state_bytes(config);
  void *running = mq_alloc(1, bytes), *batch = mq_alloc(1, bytes);
  assert_non_null(running);
  assert_non_null(batch);
  feed->observer->init(running, config);
  for (int64_t first = 0; first < feed->n_images; first += feed->images_per_batch) {
    int64_t left = feed->n_images - first;
    memset(batch, 0, bytes);
    feed->observer->init(batch, config);
    observe_tree(batch, feed, first, left < feed->images_per_batch ? left : feed->images_per_batch);
    feed->observer->batch_end(running, batch, config, first == 0);
  }
  mq_status status = feed->observer->answer(out, running, config, NULL, feed->row_count, NULL, err);
  mq_free(running);
  mq_free(batch);
  return status;
}

struct mq_observer_config activation_config(const struct mq_scheme *scheme) {
  return (struct mq_observer_config){
      .scheme = *scheme, .n_channels = 1, .parameter = (double)NAN, .parameter2 = (double)NAN};
}

struct mq_observer_config weight_config(const struct mq_scheme *scheme, int64_t n_channels) {
  return (struct mq_observer_config){.scheme = *scheme,
                                     .is_weight = true,
                                     .n_channels = n_channels,
                                     .parameter = (double)NAN,
                                     .parameter2 = (double)NAN};
}
