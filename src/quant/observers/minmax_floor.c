/* Vitis: the power-of-two scale 2^-k that covers the range, or one of the next four finer ones if its squared
 * error over all data is smaller; a network input takes the covering one. Symmetric in the vendor's tool;
 * where the scheme has a zero point, the covering scale is that of the whole range. */
#include <math.h>

#include "quant/observers/observers.h"
#include "quant/search.h"

enum {
  CANDIDATES = 5
};

static void find(float *scale, float *zero_point, const struct mq_channel_input *input) {
  struct mq_density density;
  struct mq_search search = {.scheme = &input->config->scheme,
                             .data = input->data,
                             .n = input->n,
                             .min = input->stats->min,
                             .max = input->stats->max,
                             .is_non_negative = input->is_non_negative,
                             .least_scale = input->least_scale};
  if (!input->data) {
    mq_density_init(&density, mq_state_histogram_const(input->stats, input->config), search.min, search.max);
    search.density = &density;
  }
  *scale = ldexpf(1.0f, -mq_search_floor_exponent(&search, input->config->is_network_input ? 1 : CANDIDATES));
  *zero_point = mq_search_floor_zero_point(&search, *scale);
}

static mq_status answer(struct mq_qparams *out, const void *running, const struct mq_observer_config *config,
                        const float *data, int64_t row_count, const float *least_scale, struct mq_err *err) {
  return mq_answer_scales(out, running, config, data, row_count, least_scale, find, err);
}

const struct mq_observer_ops mq_observer_minmax_floor = {
    .name = "minmax_floor",
    .describes = "the power-of-two scale that covers the range, or a finer one of smaller error (Vitis)",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .span = mq_state_span_all,
    .state_bytes = mq_state_histogram_bytes,
    .init = mq_state_init_histogram,
    .observe = mq_state_observe_histogram,
    .merge = mq_state_merge_histogram,
    .batch_end = mq_state_pool_histogram,
    .answer = answer,
};
