/* The clip of the least Kullback-Leibler divergence (quant/divergence.h) over all data: range
 * [max(min, -clip), min(max, clip)]. Exact zeros are left out: every scheme represents them exactly, and
 * after a ReLU they are a point mass in the first bin, which the definition would spread over its group, so
 * that narrow groups, that is clips far below the maximum, look best (docs/numerics.md has figures).
 * parameter 0 counts them like other values. `published`: see quant/published_kld.h. */
#include <math.h>

#include "quant/divergence.h"
#include "quant/observers/observers.h"
#include "quant/published_kld.h"

/* L of the search: 2^(b-1), on an unsigned range 2^b. */
static int64_t levels_of(const struct mq_channel_input *input) {
  const struct mq_scheme *scheme = &input->config->scheme;
  bool is_unsigned = !scheme->is_signed || (scheme->is_sign_adaptive && input->is_non_negative);
  return (int64_t)1 << (is_unsigned ? scheme->bits : scheme->bits - 1);
}

static void find_described(double *lo, double *hi, const struct mq_channel_input *input) {
  float min = input->stats->min, max = input->stats->max, most = fmaxf(-min, max);
  *lo = min;
  *hi = max;
  if (most <= 0) return;
  struct mq_divergence sums;
  bool has_zeros = mq_observer_parameter(input->config->parameter, 1) == 0;
  if (input->data)
    mq_divergence_from_data(&sums, input->data, input->n, most, has_zeros);
  else
    mq_divergence_from_histogram(&sums, mq_state_histogram_const(input->stats, input->config), min, max,
                                 has_zeros);
  double clip = (double)most * mq_divergence_search(&sums, levels_of(input)) / MQ_DIVERGENCE_BINS;
  *lo = fmax(min, -clip);
  *hi = fmin(max, clip);
}

static void find(double *lo, double *hi, const struct mq_channel_input *input) {
  if (!input->config->is_published) {
    find_described(lo, hi, input);
    return;
  }
  struct mq_histogram own = {0};
  const struct mq_histogram *histogram = mq_state_histogram_const(input->stats, input->config);
  float min = input->stats->min, max = input->stats->max;
  if (!histogram) {
    float of_data[2] = {INFINITY, -INFINITY};
    mq_histogram_init(&own);
    (void)mq_histogram_add(&own, &of_data[0], &of_data[1], input->data, 1, input->n,
                           input->n); /* all finite */
    histogram = &own;
  }
  *lo = min;
  *hi = mq_published_kld_search(histogram, min, max, &input->config->scheme, input->is_non_negative);
}

static mq_status answer(struct mq_qparams *out, const void *running, const struct mq_observer_config *config,
                        const float *data, int64_t row_count, const float *least_scale, struct mq_err *err) {
  return mq_answer_ranges(out, running, config, data, row_count, least_scale, find, err);
}

const struct mq_observer_ops mq_observer_kld = {
    .name = "kld",
    .describes = "the clip of the least Kullback-Leibler divergence",
    .revision = 2,
    .is_for_weights = true,
    .is_for_activations = true,
    .parameter = {.exists = true, .min = 0, .max = 1, .is_whole = true},
    .span = mq_state_span_all,
    .state_bytes = mq_state_histogram_bytes,
    .init = mq_state_init_histogram,
    .observe = mq_state_observe_histogram,
    .merge = mq_state_merge_histogram,
    .batch_end = mq_state_pool_histogram,
    .answer = answer,
};
