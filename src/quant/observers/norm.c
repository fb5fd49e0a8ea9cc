/* LSQ's initial scale (Esser et al., 1902.08153): s = 2 mean|x| / sqrt(p) over all data. Where the scheme has
 * a zero point: n for data that is all >= 0, else n + 2^(b-1). */
#include <math.h>

#include "quant/observers/observers.h"
#include "quant/qparams.h"

static void find(float *scale, float *zero_point, const struct mq_channel_input *input) {
  struct mq_scheme taken = input->config->scheme;
  if (taken.is_sign_adaptive && input->is_non_negative) taken.is_signed = false;
  int32_t n, p;
  mq_scheme_bounds(&n, &p, &taken);
  double mean_abs = input->stats->sum_abs / (double)input->stats->n;
  *scale = mq_to_finite_float(2 * mean_abs / sqrt((double)mq_scheme_norm_max(&taken, !taken.is_signed)));
  *zero_point = (float)(input->is_non_negative ? n : n + ((int32_t)1 << (taken.bits - 1)));
}

static mq_status answer(struct mq_qparams *out, const void *running, const struct mq_observer_config *config,
                        const float *data, int64_t row_count, const float *least_scale, struct mq_err *err) {
  return mq_answer_scales(out, running, config, data, row_count, least_scale, find, err);
}

const struct mq_observer_ops mq_observer_norm = {
    .name = "norm",
    .describes = "twice the mean magnitude over the root of the largest integer (LSQ)",
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
