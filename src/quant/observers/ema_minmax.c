/* Exponential moving average of each batch's minimum and maximum: r = keep r + (1 - keep) batch, the first
 * batch as it is. parameter: keep, 0.9. Weights are one batch: minmax. */
#include "quant/observers/observers.h"

static void batch_end(void *running, const void *batch, const struct mq_observer_config *config,
                      bool is_first) {
  struct mq_channel_stats *to = running;
  const struct mq_channel_stats *from = batch;
  double keep = mq_observer_parameter(config->parameter, 0.9);
  (void)is_first;
  mq_stats_merge(to, from, config);
  for (int64_t c = 0; c < config->n_channels; c++)
    if (mq_stats_is_finite(&from[c])) mq_stats_decay(&to[c], from[c].min, from[c].max, keep);
}

static mq_status answer(struct mq_qparams *out, const void *running, const struct mq_observer_config *config,
                        const float *data, int64_t row_count, const float *least_scale, struct mq_err *err) {
  return mq_answer_ranges(out, running, config, data, row_count, least_scale, mq_find_batch_range, err);
}

const struct mq_observer_ops mq_observer_ema_minmax = {
    .name = "ema_minmax",
    .describes = "moving average of each batch's smallest and largest value",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .parameter = {.exists = true, .min = 0, .max = 1, .excludes_max = true},
    .span = mq_state_span_batch,
    .state_bytes = mq_state_stats_bytes,
    .init = mq_state_init_stats,
    .observe = mq_state_observe_extrema,
    .merge = mq_state_merge_stats,
    .batch_end = batch_end,
    .answer = answer,
};
