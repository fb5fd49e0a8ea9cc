/* Vitis: each batch votes for the k of minmax_floor, the most frequent one wins, the smallest k (the largest
 * range) among equals. Batches of zeros do not vote. Weights are one batch: minmax_floor. */
#include <assert.h>
#include <math.h>

#include "quant/observers/observers.h"
#include "quant/search.h"

enum {
  CANDIDATES = 5,
  LEAST_K = -128,
  MOST_K = 12
};

/* Behind the histogram. */
struct votes {
  int64_t of_k[MOST_K - LEAST_K + 1];
};

static size_t state_bytes(const struct mq_observer_config *config) {
  return mq_state_histogram_bytes(config) + (config->is_weight ? 0 : sizeof(struct votes));
}

static struct votes *votes_of(void *state, const struct mq_observer_config *config) {
  return (struct votes *)(void *)(mq_state_histogram(state, config) + 1);
}

static int n_candidates(const struct mq_observer_config *config) {
  return config->is_network_input ? 1 : CANDIDATES;
}

static void batch_end(void *running, const void *batch, const struct mq_observer_config *config,
                      bool is_first) {
  const struct mq_channel_stats *stats = batch;
  (void)is_first;
  mq_stats_merge(running, batch, config);
  if (config->is_weight || !mq_stats_is_finite(stats) || (stats->min == 0 && stats->max == 0)) return;
  struct mq_density density;
  mq_density_init(&density, mq_state_histogram_const(batch, config), stats->min, stats->max);
  struct mq_search search = {.scheme = &config->scheme,
                             .density = &density,
                             .min = stats->min,
                             .max = stats->max,
                             .is_non_negative = stats->min >= 0};
  int k = mq_search_floor_exponent(&search, n_candidates(config));
  assert(k >= LEAST_K && k <= MOST_K);
  votes_of(running, config)->of_k[k - LEAST_K]++;
}

static int elected(const struct votes *votes) {
  int best = -1;
  for (int i = 0; i <= MOST_K - LEAST_K; i++)
    if (votes->of_k[i] > (best < 0 ? 0 : votes->of_k[best])) best = i;
  return best < 0 ? 0 : best + LEAST_K;
}

static void find(float *scale, float *zero_point, const struct mq_channel_input *input) {
  struct mq_search search = {.scheme = &input->config->scheme,
                             .data = input->data,
                             .n = input->n,
                             .min = input->stats->min,
                             .max = input->stats->max,
                             .is_non_negative = input->is_non_negative,
                             .least_scale = input->least_scale};
  int k = 0;
  if (input->data) {
    k = mq_search_floor_exponent(&search, n_candidates(input->config));
  } else {
    const struct mq_histogram *histogram = mq_state_histogram_const(input->stats, input->config);
    k = elected((const struct votes *)(const void *)(histogram + 1));
  }
  *scale = ldexpf(1.0f, -k);
  *zero_point = mq_search_floor_zero_point(&search, *scale);
}

static mq_status answer(struct mq_qparams *out, const void *running, const struct mq_observer_config *config,
                        const float *data, int64_t row_count, const float *least_scale, struct mq_err *err) {
  return mq_answer_scales(out, running, config, data, row_count, least_scale, find, err);
}

const struct mq_observer_ops mq_observer_pot_mode = {
    .name = "pot_mode",
    .describes = "the power-of-two scale that most batches choose (Vitis)",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .span = mq_state_span_batch,
    .state_bytes = state_bytes,
    .init = mq_state_init_histogram,
    .observe = mq_state_observe_histogram,
    .merge = mq_state_merge_histogram,
    .batch_end = batch_end,
    .answer = answer,
};
