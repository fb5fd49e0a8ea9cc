/* [(1-a)-quantile, a-quantile] over all data; parameter: a, 0.9999 (the paper). With a second parameter,
 * keep, the form of the toolkit: per batch the a-quantile t of |x| (a 0.99999 by default) gives [max(min,
 * -t), min(max, t)], and batches are averaged with keep. Weights exactly, activations from their histogram.
 */
#include <math.h>

#include "quant/observers/observers.h"
#include "quant/order_statistic.h"

static double quantile_of(const struct mq_channel_input *input, double a, bool is_absolute) {
  const struct mq_channel_stats *stats = input->stats;
  if (input->data) return mq_quantile_of_data(input->data, input->n, a, is_absolute);
  const struct mq_histogram *histogram = mq_state_histogram_const(stats, input->config);
  return mq_quantile_of_histogram(histogram, a, is_absolute, stats->min, stats->max);
}

static void find_of_batch(double *lo, double *hi, const struct mq_channel_input *input) {
  double t = quantile_of(input, mq_observer_parameter(input->config->parameter, 0.99999), true);
  *lo = fmax(input->stats->min, -t);
  *hi = fmin(input->stats->max, t);
}

static bool is_averaged(const struct mq_observer_config *config) {
  return !isnan(config->parameter2);
}

static mq_observer_span span_of(const struct mq_observer_config *config) {
  return is_averaged(config) ? MQ_SPAN_BATCH : MQ_SPAN_ALL;
}

static void batch_end(void *running, const void *batch, const struct mq_observer_config *config,
                      bool is_first) {
  if (!is_averaged(config) || config->is_weight) {
    mq_state_pool_histogram(running, batch, config, is_first);
    return;
  }
  mq_stats_merge(running, batch, config);
  if (!mq_stats_is_finite(batch)) return;
  struct mq_channel_input input = {.config = config, .stats = batch};
  double lo, hi;
  find_of_batch(&lo, &hi, &input);
  mq_stats_decay(running, lo, hi, config->parameter2);
}

static void find(double *lo, double *hi, const struct mq_channel_input *input) {
  if (is_averaged(input->config)) {
    if (input->config->is_weight)
      find_of_batch(lo, hi, input);
    else
      mq_find_batch_range(lo, hi, input);
    return;
  }
  double a = mq_observer_parameter(input->config->parameter, 0.9999);
  *lo = quantile_of(input, 1 - a, false);
  *hi = quantile_of(input, a, false);
}

static mq_status answer(struct mq_qparams *out, const void *running, const struct mq_observer_config *config,
                        const float *data, int64_t row_count, const float *least_scale, struct mq_err *err) {
  return mq_answer_ranges(out, running, config, data, row_count, least_scale, find, err);
}

const struct mq_observer_ops mq_observer_quantile = {
    .name = "quantile",
    .describes = "the 0.0001 and 0.9999 quantiles",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .parameter = {.exists = true, .min = 0.5, .max = 1, .excludes_min = true, .excludes_max = true},
    .span = span_of,
    .state_bytes = mq_state_histogram_bytes,
    .init = mq_state_init_histogram,
    .observe = mq_state_observe_histogram,
    .merge = mq_state_merge_histogram,
    .batch_end = batch_end,
    .answer = answer,
};
