/* DSQ's activations (Gong et al., 1908.05033): the mean over a batch of each sample's minimum and maximum,
 * averaged over batches with keep. parameter: keep, 0.9. A weight channel is one sample: minmax. */
#include <math.h>

#include "mqbench/kernel.h"
#include "quant/observers/observers.h"

/* In slices and batches lo and hi are sums over samples, weight their number. */
static void observe(void *state, const struct mq_observer_config *config, const float *rows, int64_t n_rows,
                    int64_t row_count, int64_t row_stride) {
  struct mq_channel_stats *stats = state;
  for (int64_t r = 0; r < n_rows && row_count > 0; r++) {
    struct mq_channel_stats *channel = config->n_channels > 1 ? &stats[r] : &stats[0];
    float min, max;
    mq_loop_min_max(&min, &max, rows + r * row_stride, row_count);
    channel->n += row_count;
    if (!isfinite(min) || !isfinite(max)) {
      channel->n_non_finite++;
      continue;
    }
    channel->min = fminf(channel->min, min);
    channel->max = fmaxf(channel->max, max);
    channel->lo += min;
    channel->hi += max;
    channel->weight += 1;
  }
}

static void merge(void *into, const void *from, const struct mq_observer_config *config) {
  struct mq_channel_stats *to = into;
  const struct mq_channel_stats *stats = from;
  mq_stats_merge(to, stats, config);
  for (int64_t c = 0; c < config->n_channels; c++) {
    to[c].lo += stats[c].lo;
    to[c].hi += stats[c].hi;
    to[c].weight += stats[c].weight;
  }
}

static void batch_end(void *running, const void *batch, const struct mq_observer_config *config,
                      bool is_first) {
  struct mq_channel_stats *to = running;
  const struct mq_channel_stats *from = batch;
  double keep = mq_observer_parameter(config->parameter, 0.9);
  (void)is_first;
  mq_stats_merge(to, from, config);
  for (int64_t c = 0; c < config->n_channels; c++)
    if (mq_stats_is_finite(&from[c]))
      mq_stats_decay(&to[c], from[c].lo / from[c].weight, from[c].hi / from[c].weight, keep);
}

static mq_status answer(struct mq_qparams *out, const void *running, const struct mq_observer_config *config,
                        const float *data, int64_t row_count, const float *least_scale, struct mq_err *err) {
  return mq_answer_ranges(out, running, config, data, row_count, least_scale, mq_find_batch_range, err);
}

const struct mq_observer_ops mq_observer_batch_mean_minmax = {
    .name = "batch_mean_minmax",
    .describes = "mean over the batch of each sample's smallest and largest value, moving average",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .parameter = {.exists = true, .min = 0, .max = 1, .excludes_max = true},
    .state_bytes = mq_state_stats_bytes,
    .init = mq_state_init_stats,
    .observe = observe,
    .merge = merge,
    .batch_end = batch_end,
    .answer = answer,
};
