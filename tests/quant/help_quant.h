/* Distributions, a grid of schemes, and the spec's formulas once more: plain, in double, nothing shared with
 * the library but its structs. */
#ifndef MQ_TESTS_HELP_QUANT_H
#define MQ_TESTS_HELP_QUANT_H

#include "mqbench/kernel.h"
#include "mqbench/quant.h"

typedef enum distribution {
  GAUSSIAN,
  HALF_GAUSSIAN, /* after a ReLU: half of it zeros */
  LAPLACE,
  UNIFORM, /* in [-0.3, 1] */
  HEAVY,   /* a few values 50 times as large */
  CONSTANT,
  ZEROS,
  TINY, /* Gaussian, 1e-30 */
  HUGE_VALUES,
  NEGATIVE,
  N_DISTRIBUTIONS
} distribution;
const char *distribution_name(distribution which);
void fill(float *x, int64_t n, distribution which, uint64_t seed);

/* Every scheme an activation (is_weight: a weight) may have: bits, sign, narrow, symmetry, scale form, sign
 * adaptation. Returns how many; NULL counts only. */
int list_schemes(struct mq_scheme *schemes, bool is_weight);

struct plain_qparams {
  double scale;
  int32_t zero_point, n, p;
};
struct plain_qparams plain_from_range(const struct mq_scheme *scheme, double lo, double hi,
                                      bool is_non_negative, double least_scale);
struct plain_qparams plain_from_scale(const struct mq_scheme *scheme, double scale, double zero_point,
                                      bool is_non_negative);
double plain_fake_quantize(double x, const struct plain_qparams *q);
double plain_error(const float *x, int64_t n, const struct plain_qparams *q);
double plain_error_of(const float *x, int64_t n, const struct mq_qparams *qparams, int64_t channel);
void plain_extrema(double *min, double *max, const float *x, int64_t n);
double plain_quantile(const float *x, int64_t n, double q, bool is_absolute);
/* Least error over the shrunk ranges, exhaustively. */
double plain_mse_search(double *lo, double *hi, const float *x, int64_t n, const struct mq_scheme *scheme,
                        int n_candidates, bool is_non_negative);
/* KL of keeping `bins` of the 2048, from the definition. */
void plain_histogram_2048(double hist[2048], const float *x, int64_t n);
double plain_divergence(const double hist[2048], int bins, int n_levels);
/* The least one among max(n_levels, 128) .. 2048 bins; *bins: the first that has it, but for roundings. */
double plain_least_divergence(int *bins, const double hist[2048], int n_levels);

/* Scale within a few float32 roundings; zero point equal, or next to it where the rounding was a near tie. */
void check_close(const struct mq_qparams *got, int64_t channel, const struct plain_qparams *want,
                 double relative);

/* Feeds x (n_images rows of row_count) slice by slice, merged in tree order, batch by batch; answers. */
struct feed {
  const struct mq_observer_ops *observer;
  struct mq_observer_config config;
  const float *x;
  int64_t n_images, row_count, images_per_slice, images_per_batch;
};
mq_status feed_and_answer(struct mq_qparams *out, const struct feed *feed, struct mq_err *err);
struct mq_observer_config activation_config(const struct mq_scheme *scheme);
struct mq_observer_config weight_config(const struct mq_scheme *scheme, int64_t n_channels);

#endif
