#include <assert.h>
#include <math.h>

#include "quant/observers/observers.h"
#include "quant/qparams.h"

mq_observer_span mq_state_span_batch(const struct mq_observer_config *config) {
  (void)config;
  return MQ_SPAN_BATCH;
}

mq_observer_span mq_state_span_all(const struct mq_observer_config *config) {
  (void)config;
  return MQ_SPAN_ALL;
}

size_t mq_state_stats_bytes(const struct mq_observer_config *config) {
  return (size_t)config->n_channels * sizeof(struct mq_channel_stats);
}

size_t mq_state_histogram_bytes(const struct mq_observer_config *config) {
  return mq_state_stats_bytes(config) + (config->is_weight ? 0 : sizeof(struct mq_histogram));
}

const struct mq_histogram *mq_state_histogram_const(const void *state,
                                                    const struct mq_observer_config *config) {
  if (config->is_weight) return NULL;
  assert(config->n_channels == 1);
  return (const struct mq_histogram *)(const void *)((const struct mq_channel_stats *)state + 1);
}

struct mq_histogram *mq_state_histogram(void *state, const struct mq_observer_config *config) {
  if (config->is_weight) return NULL;
  assert(config->n_channels == 1);
  return (struct mq_histogram *)(void *)((struct mq_channel_stats *)state + 1);
}

void mq_state_init_stats(void *state, const struct mq_observer_config *config) {
  mq_stats_init(state, config);
}

void mq_state_init_histogram(void *state, const struct mq_observer_config *config) {
  mq_stats_init(state, config);
  if (!config->is_weight) mq_histogram_init(mq_state_histogram(state, config));
}

void mq_state_observe_extrema(void *state, const struct mq_observer_config *config, const float *rows,
                              int64_t n_rows, int64_t row_count, int64_t row_stride) {
  mq_stats_observe_extrema(state, config, rows, n_rows, row_count, row_stride);
}

void mq_state_observe_moments(void *state, const struct mq_observer_config *config, const float *rows,
                              int64_t n_rows, int64_t row_count, int64_t row_stride) {
  mq_stats_observe_extrema(state, config, rows, n_rows, row_count, row_stride);
  mq_stats_observe_moments(state, config, rows, n_rows, row_count, row_stride);
}

void mq_state_observe_histogram(void *state, const struct mq_observer_config *config, const float *rows,
                                int64_t n_rows, int64_t row_count, int64_t row_stride) {
  if (config->is_weight) {
    mq_stats_observe_extrema(state, config, rows, n_rows, row_count, row_stride);
    return;
  }
  struct mq_channel_stats *stats = state;
  stats->n += n_rows * row_count;
  stats->n_non_finite += mq_histogram_add(mq_state_histogram(state, config), &stats->min, &stats->max, rows,
                                          n_rows, row_count, row_stride);
}

void mq_state_merge_stats(void *into, const void *from, const struct mq_observer_config *config) {
  mq_stats_merge(into, from, config);
}

void mq_state_merge_histogram(void *into, const void *from, const struct mq_observer_config *config) {
  const struct mq_channel_stats *stats = from;
  mq_stats_merge(into, from, config);
  if (!config->is_weight)
    mq_histogram_merge(mq_state_histogram(into, config), mq_state_histogram_const(from, config), stats->min,
                       stats->max);
}

void mq_state_pool_stats(void *running, const void *batch, const struct mq_observer_config *config,
                         bool is_first) {
  (void)is_first;
  mq_state_merge_stats(running, batch, config);
}

void mq_state_pool_histogram(void *running, const void *batch, const struct mq_observer_config *config,
                             bool is_first) {
  (void)is_first;
  mq_state_merge_histogram(running, batch, config);
}

/* Of the first channel; the others follow with next_channel. */
static struct mq_channel_input first_channel(const void *state, const struct mq_observer_config *config,
                                             const float *data, int64_t row_count, const float *least_scale) {
  return (struct mq_channel_input){.config = config,
                                   .stats = state,
                                   .data = config->is_weight ? data : NULL,
                                   .n = row_count,
                                   .least_scale = least_scale ? least_scale[0] : 0,
                                   .is_non_negative = mq_stats_is_non_negative(state, config)};
}

static void next_channel(struct mq_channel_input *input, int64_t channel, const float *least_scale) {
  input->stats++;
  if (input->data) input->data += input->n;
  if (least_scale) input->least_scale = least_scale[channel];
}

/* What symmetric and sign-adaptive schemes take: nothing below 0 where there was no data below 0 (mean - k
 * std may be). */
static struct mq_range limit_range(double lo, double hi, const struct mq_channel_input *input) {
  const struct mq_scheme *scheme = &input->config->scheme;
  if (input->is_non_negative && (scheme->is_symmetric || scheme->is_sign_adaptive)) {
    lo = fmax(lo, 0);
    hi = fmax(hi, 0);
  }
  return (struct mq_range){mq_to_finite_float(lo), mq_to_finite_float(hi)};
}

mq_status mq_answer_ranges(struct mq_qparams *out, const void *state, const struct mq_observer_config *config,
                           const float *data, int64_t row_count, const float *least_scale,
                           mq_find_range_fn find, struct mq_err *err) {
  assert(out->n_channels == config->n_channels);
  mq_status status = mq_stats_check(state, config, err);
  if (status != MQ_OK) return status;
  struct mq_range *range = mq_alloc((size_t)config->n_channels, sizeof *range);
  if (!range) return mq_fail_memory(err, "ranges of an observer");
  struct mq_channel_input input = first_channel(state, config, data, row_count, least_scale);
  for (int64_t c = 0; c < config->n_channels; c++) {
    if (c > 0) next_channel(&input, c, least_scale);
    double lo = 0, hi = 0;
    find(&lo, &hi, &input);
    range[c] = limit_range(lo, hi, &input);
  }
  mq_qparams_from_observed(out, &config->scheme, range, input.is_non_negative, least_scale);
  mq_free(range);
  return MQ_OK;
}

mq_status mq_answer_scales(struct mq_qparams *out, const void *state, const struct mq_observer_config *config,
                           const float *data, int64_t row_count, const float *least_scale,
                           mq_find_scale_fn find, struct mq_err *err) {
  assert(out->n_channels == config->n_channels);
  mq_status status = mq_stats_check(state, config, err);
  if (status != MQ_OK) return status;
  float *scale = mq_alloc(2 * (size_t)config->n_channels, sizeof *scale);
  if (!scale) return mq_fail_memory(err, "scales of an observer");
  float *zero_point = scale + config->n_channels;
  struct mq_channel_input input = first_channel(state, config, data, row_count, least_scale);
  for (int64_t c = 0; c < config->n_channels; c++) {
    if (c > 0) next_channel(&input, c, least_scale);
    find(&scale[c], &zero_point[c], &input);
  }
  mq_qparams_from_scale(out, &config->scheme, scale, zero_point, input.is_non_negative, least_scale);
  mq_free(scale);
  return MQ_OK;
}

void mq_find_extrema(double *lo, double *hi, const struct mq_channel_input *input) {
  *lo = input->stats->min;
  *hi = input->stats->max;
}

void mq_find_batch_range(double *lo, double *hi, const struct mq_channel_input *input) {
  *lo = input->stats->lo;
  *hi = input->stats->hi;
}
