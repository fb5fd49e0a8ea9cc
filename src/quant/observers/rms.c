/* LQ-Net's activations (Zhang et al., 1807.10029): the root mean square over all data, answered as the scale.
 * It is what the first basis is made of, no step of a uniform grid. */
#include <math.h>

#include "quant/observers/observers.h"
#include "quant/qparams.h"

static void find(float *scale, float *zero_point, const struct mq_channel_input *input) {
  *scale = mq_to_finite_float(sqrt(input->stats->sum_square / (double)input->stats->n));
  *zero_point = 0;
}

static mq_status answer(struct mq_qparams *out, const void *running, const struct mq_observer_config *config,
                        const float *data, int64_t row_count, const float *least_scale, struct mq_err *err) {
  return mq_answer_scales(out, running, config, data, row_count, least_scale, find, err);
}

const struct mq_observer_ops mq_observer_rms = {
    .name = "rms",
    .describes = "root mean square as the scale (LQ-Net's first basis)",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .state_bytes = mq_state_stats_bytes,
    .init = mq_state_init_stats,
    .observe = mq_state_observe_moments,
    .merge = mq_state_merge_stats,
    .batch_end = mq_state_pool_stats,
    .answer = answer,
};
