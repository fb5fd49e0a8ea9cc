/* Running minimum and maximum over all data. */
#include "quant/observers/observers.h"

static mq_status answer(struct mq_qparams *out, const void *running, const struct mq_observer_config *config,
                        const float *data, int64_t row_count, const float *least_scale, struct mq_err *err) {
  return mq_answer_ranges(out, running, config, data, row_count, least_scale, mq_find_extrema, err);
}

const struct mq_observer_ops mq_observer_minmax = {
    .name = "minmax",
    .describes = "smallest and largest value",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .span = mq_state_span_all,
    .state_bytes = mq_state_stats_bytes,
    .init = mq_state_init_stats,
    .observe = mq_state_observe_extrema,
    .merge = mq_state_merge_stats,
    .batch_end = mq_state_pool_stats,
    .answer = answer,
};
