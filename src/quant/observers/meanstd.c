/* [mean - k std, mean + k std] over all data, std with N - 1; never joined with the extrema, or it would not
 * clip. parameter: k, 3 (LSQ+; DSQ's weights take 2.6). */
#include <math.h>

#include "quant/observers/observers.h"

static void find(double *lo, double *hi, const struct mq_channel_input *input) {
  const struct mq_channel_stats *stats = input->stats;
  double n = (double)stats->n, k = mq_observer_parameter(input->config->parameter, 3);
  double mean = stats->sum / n;
  double squares = fmax(stats->sum_square - mean * stats->sum, 0);
  double std = stats->n > 1 ? sqrt(squares / (n - 1)) : 0;
  *lo = mean - k * std;
  *hi = mean + k * std;
}

static mq_status answer(struct mq_qparams *out, const void *running, const struct mq_observer_config *config,
                        const float *data, int64_t row_count, const float *least_scale, struct mq_err *err) {
  return mq_answer_ranges(out, running, config, data, row_count, least_scale, find, err);
}

const struct mq_observer_ops mq_observer_meanstd = {
    .name = "meanstd",
    .describes = "mean minus and plus k standard deviations",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .parameter = {.exists = true, .min = 0, .max = 1e6, .excludes_min = true},
    .state_bytes = mq_state_stats_bytes,
    .init = mq_state_init_stats,
    .observe = mq_state_observe_moments,
    .merge = mq_state_merge_stats,
    .batch_end = mq_state_pool_stats,
    .answer = answer,
};
