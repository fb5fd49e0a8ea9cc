/* The observers' tables, and the parts that several of them are made of. */
#ifndef MQ_QUANT_OBSERVERS_OBSERVERS_H
#define MQ_QUANT_OBSERVERS_OBSERVERS_H

#include "quant/histogram.h"
#include "quant/stats.h"

extern const struct mq_observer_ops mq_observer_minmax, mq_observer_ema_minmax, mq_observer_mean_minmax,
    mq_observer_quantile, mq_observer_mse, mq_observer_kld, mq_observer_norm, mq_observer_meanstd,
    mq_observer_batch_mean_minmax, mq_observer_minmax_floor, mq_observer_pot_mode, mq_observer_rms;

/* ---- State: n_channels mq_channel_stats; activations of the histogram observers: a histogram behind it ----
 */
mq_observer_span mq_state_span_batch(const struct mq_observer_config *config);
mq_observer_span mq_state_span_all(const struct mq_observer_config *config);
size_t mq_state_stats_bytes(const struct mq_observer_config *config);
size_t mq_state_histogram_bytes(const struct mq_observer_config *config);
void mq_state_init_stats(void *state, const struct mq_observer_config *config);
void mq_state_init_histogram(void *state, const struct mq_observer_config *config);
/* NULL for weights: their searches look at the data itself. */
struct mq_histogram *mq_state_histogram(void *state, const struct mq_observer_config *config);
const struct mq_histogram *mq_state_histogram_const(const void *state,
                                                    const struct mq_observer_config *config);

void mq_state_observe_extrema(void *state, const struct mq_observer_config *config, const float *rows,
                              int64_t n_rows, int64_t row_count, int64_t row_stride);
void mq_state_observe_moments(void *state, const struct mq_observer_config *config, const float *rows,
                              int64_t n_rows, int64_t row_count, int64_t row_stride); /* extrema too */
void mq_state_observe_histogram(void *state, const struct mq_observer_config *config, const float *rows,
                                int64_t n_rows, int64_t row_count, int64_t row_stride); /* extrema too */

void mq_state_merge_stats(void *into, const void *from, const struct mq_observer_config *config);
void mq_state_merge_histogram(void *into, const void *from, const struct mq_observer_config *config);
/* batch_end of observers that pool all data: the same, under the other signature. */
void mq_state_pool_stats(void *running, const void *batch, const struct mq_observer_config *config,
                         bool is_first);
void mq_state_pool_histogram(void *running, const void *batch, const struct mq_observer_config *config,
                             bool is_first);

/* ---- Answers --------------------------------------------------------------------------------------------
 */
/* What is known of one channel when its range is looked for. */
struct mq_channel_input {
  const struct mq_observer_config *config;
  const struct mq_channel_stats *stats; /* activations: the state itself */
  const float *data;                    /* weights: n values; NULL for activations */
  int64_t n;
  float least_scale;    /* 0: none */
  bool is_non_negative; /* all channels */
};
typedef void (*mq_find_range_fn)(double *lo, double *hi, const struct mq_channel_input *input);
typedef void (*mq_find_scale_fn)(float *scale, float *zero_point, const struct mq_channel_input *input);

/* Refuses states without data or with data that is not finite; asks `find` once per channel; the rest is
 * quant/qparams. */
mq_status mq_answer_ranges(struct mq_qparams *out, const void *state, const struct mq_observer_config *config,
                           const float *data, int64_t row_count, const float *least_scale,
                           mq_find_range_fn find, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_answer_scales(struct mq_qparams *out, const void *state, const struct mq_observer_config *config,
                           const float *data, int64_t row_count, const float *least_scale,
                           mq_find_scale_fn find, struct mq_err *err) MQ_MUST_CHECK;

/* Two common answers: [min, max] of all data; the range that batches left in lo and hi. */
void mq_find_extrema(double *lo, double *hi, const struct mq_channel_input *input);
void mq_find_batch_range(double *lo, double *hi, const struct mq_channel_input *input);

#endif
