#include "quant/stats.h"

#include <math.h>

#include "mqbench/kernel.h"

void mq_stats_init(struct mq_channel_stats *stats, const struct mq_observer_config *config) {
  for (int64_t c = 0; c < config->n_channels; c++)
    stats[c] = (struct mq_channel_stats){.min = INFINITY, .max = -INFINITY};
}

static struct mq_channel_stats *channel_of_row(struct mq_channel_stats *stats,
                                               const struct mq_observer_config *config, int64_t row) {
  return config->n_channels > 1 ? &stats[row] : &stats[0];
}

static void join_extrema(struct mq_channel_stats *channel, float min, float max) {
  channel->min = fminf(channel->min, min);
  channel->max = fmaxf(channel->max, max);
}

void mq_stats_observe_extrema(struct mq_channel_stats *stats, const struct mq_observer_config *config,
                              const float *rows, int64_t n_rows, int64_t row_count, int64_t row_stride) {
  if (config->n_channels == 1 && row_stride == row_count) { /* one run */
    row_count *= n_rows;
    row_stride = row_count;
    n_rows = 1;
  }
  if (row_count == 0) return;
  for (int64_t r = 0; r < n_rows; r++) {
    struct mq_channel_stats *channel = channel_of_row(stats, config, r);
    float min, max;
    mq_loop_min_max(&min, &max, rows + r * row_stride, row_count);
    channel->n += row_count;
    if (isfinite(min) && isfinite(max))
      join_extrema(channel, min, max);
    else
      channel->n_non_finite++;
  }
}

void mq_stats_observe_moments(struct mq_channel_stats *stats, const struct mq_observer_config *config,
                              const float *rows, int64_t n_rows, int64_t row_count, int64_t row_stride) {
  for (int64_t r = 0; r < n_rows; r++) {
    struct mq_channel_stats *channel = channel_of_row(stats, config, r);
    double sum, sum_abs, sum_square;
    mq_loop_moments(&sum, &sum_abs, &sum_square, rows + r * row_stride, row_count);
    channel->sum += sum;
    channel->sum_abs += sum_abs;
    channel->sum_square += sum_square;
  }
}

void mq_stats_merge(struct mq_channel_stats *into, const struct mq_channel_stats *from,
                    const struct mq_observer_config *config) {
  for (int64_t c = 0; c < config->n_channels; c++) {
    into[c].n += from[c].n;
    into[c].n_non_finite += from[c].n_non_finite;
    join_extrema(&into[c], from[c].min, from[c].max);
    into[c].sum += from[c].sum;
    into[c].sum_abs += from[c].sum_abs;
    into[c].sum_square += from[c].sum_square;
  }
}

void mq_stats_average(struct mq_channel_stats *running, double lo, double hi, double weight) {
  double total = running->weight + weight;
  running->lo += (lo - running->lo) * (weight / total);
  running->hi += (hi - running->hi) * (weight / total);
  running->weight = total;
}

void mq_stats_decay(struct mq_channel_stats *running, double lo, double hi, double keep) {
  if (running->weight == 0) {
    running->lo = lo;
    running->hi = hi;
  } else {
    running->lo = keep * running->lo + (1 - keep) * lo;
    running->hi = keep * running->hi + (1 - keep) * hi;
  }
  running->weight += 1;
}

void mq_stats_widen(struct mq_channel_stats *running, double lo, double hi) {
  running->lo = running->weight == 0 ? lo : fmin(running->lo, lo);
  running->hi = running->weight == 0 ? hi : fmax(running->hi, hi);
  running->weight += 1;
}

mq_status mq_stats_check(const struct mq_channel_stats *stats, const struct mq_observer_config *config,
                         struct mq_err *err) {
  for (int64_t c = 0; c < config->n_channels; c++) {
    if (stats[c].n_non_finite > 0) return mq_fail(err, MQ_BAD_INPUT, "tensor has NaN or infinite values");
    if (stats[c].n == 0) return mq_fail(err, MQ_BAD_INPUT, "tensor has no values to calibrate on");
  }
  return MQ_OK;
}

bool mq_stats_is_finite(const struct mq_channel_stats *stats) {
  return stats->n > 0 && stats->n_non_finite == 0;
}

bool mq_stats_is_non_negative(const struct mq_channel_stats *stats, const struct mq_observer_config *config) {
  for (int64_t c = 0; c < config->n_channels; c++)
    if (stats[c].min < 0) return false;
  return true;
}

double mq_observer_parameter(double parameter, double otherwise) {
  return isnan(parameter) ? otherwise : parameter;
}
