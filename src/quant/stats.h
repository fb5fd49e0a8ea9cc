/* Statistics that observers keep per channel (per tensor: one), in plain structs that merge. */
#ifndef MQ_QUANT_STATS_H
#define MQ_QUANT_STATS_H

#include "mqbench/quant.h"

/* The state of every observer begins with n_channels of these; each observer fills what it needs. */
struct mq_channel_stats {
  int64_t n;                       /* values seen */
  int64_t n_non_finite;            /* pieces of data that held NaN or infinite values */
  float min, max;                  /* +inf, -inf before the first value */
  double sum, sum_abs, sum_square; /* moments (mq_stats_observe_moments) */
  double lo, hi, weight;           /* a range made from batches; weight: how many went in */
};

void mq_stats_init(struct mq_channel_stats *stats, const struct mq_observer_config *config);
/* Row r goes to channel r per channel, else every row to channel 0. Both count values and extrema. */
void mq_stats_observe_extrema(struct mq_channel_stats *stats, const struct mq_observer_config *config,
                              const float *rows, int64_t n_rows, int64_t row_count, int64_t row_stride);
void mq_stats_observe_moments(struct mq_channel_stats *stats, const struct mq_observer_config *config,
                              const float *rows, int64_t n_rows, int64_t row_count, int64_t row_stride);
/* Adds counts and sums, joins extrema; lo, hi and weight are left alone. */
void mq_stats_merge(struct mq_channel_stats *into, const struct mq_channel_stats *from,
                    const struct mq_observer_config *config);

/* How a batch's range joins the running one. */
void mq_stats_average(struct mq_channel_stats *running, double lo, double hi, double weight);
void mq_stats_decay(struct mq_channel_stats *running, double lo, double hi, double keep);
void mq_stats_widen(struct mq_channel_stats *running, double lo, double hi);

/* MQ_BAD_INPUT: a channel saw nothing, or something that is not finite. */
mq_status mq_stats_check(const struct mq_channel_stats *stats, const struct mq_observer_config *config,
                         struct mq_err *err) MQ_MUST_CHECK;
bool mq_stats_is_finite(const struct mq_channel_stats *stats);
bool mq_stats_is_non_negative(const struct mq_channel_stats *stats, const struct mq_observer_config *config);
/* config->parameter, or the default where it is NAN. */
double mq_observer_parameter(double parameter, double otherwise);

#endif
