/* The shrunk range of the least squared quantization error (quant/search.h): 95 candidates, per channel 80.
 * Weights are searched exhaustively; activations batch by batch on the batch's histogram, and the batches'
 * ranges joined: the smallest low and the largest high end, or with parameter (keep) a moving average. */
#include <math.h>

#include "quant/observers/observers.h"
#include "quant/search.h"

enum {
  CANDIDATES = 95,
  CANDIDATES_PER_CHANNEL = 80
};

static struct mq_range search_batch(const struct mq_channel_stats *stats,
                                    const struct mq_observer_config *config) {
  struct mq_density density;
  mq_density_init(&density, mq_state_histogram_const(stats, config), stats->min, stats->max);
  struct mq_search search = {.scheme = &config->scheme,
                             .density = &density,
                             .min = stats->min,
                             .max = stats->max,
                             .is_non_negative = stats->min >= 0};
  return mq_search_range(&search, CANDIDATES);
}

static void batch_end(void *running, const void *batch, const struct mq_observer_config *config,
                      bool is_first) {
  (void)is_first;
  mq_stats_merge(running, batch, config);
  if (config->is_weight || !mq_stats_is_finite(batch)) return;
  struct mq_range range = search_batch(batch, config);
  if (isnan(config->parameter))
    mq_stats_widen(running, range.lo, range.hi);
  else
    mq_stats_decay(running, range.lo, range.hi, config->parameter);
}

static void find(double *lo, double *hi, const struct mq_channel_input *input) {
  if (!input->config->is_weight) {
    mq_find_batch_range(lo, hi, input);
    return;
  }
  struct mq_search search = {.scheme = &input->config->scheme,
                             .data = input->data,
                             .n = input->n,
                             .min = input->stats->min,
                             .max = input->stats->max,
                             .is_non_negative = input->is_non_negative,
                             .least_scale = input->least_scale};
  struct mq_range range =
      mq_search_range(&search, input->config->n_channels > 1 ? CANDIDATES_PER_CHANNEL : CANDIDATES);
  *lo = range.lo;
  *hi = range.hi;
}

static mq_status answer(struct mq_qparams *out, const void *running, const struct mq_observer_config *config,
                        const float *data, int64_t row_count, const float *least_scale, struct mq_err *err) {
  return mq_answer_ranges(out, running, config, data, row_count, least_scale, find, err);
}

const struct mq_observer_ops mq_observer_mse = {
    .name = "mse",
    .describes = "the shrunk range of the least squared quantization error",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .parameter = {.exists = true, .min = 0, .max = 1, .excludes_max = true},
    .span = mq_state_span_batch,
    .state_bytes = mq_state_histogram_bytes,
    .init = mq_state_init_histogram,
    .observe = mq_state_observe_histogram,
    .merge = mq_state_merge_histogram,
    .batch_end = batch_end,
    .answer = answer,
};
