#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/observers/observers.h"

static const struct mq_observer_ops *const observers[] = {
    &mq_observer_minmax,       &mq_observer_ema_minmax, &mq_observer_mean_minmax,
    &mq_observer_quantile,     &mq_observer_mse,        &mq_observer_kld,
    &mq_observer_norm,         &mq_observer_meanstd,    &mq_observer_batch_mean_minmax,
    &mq_observer_minmax_floor, &mq_observer_pot_mode,   &mq_observer_rms,
};

size_t mq_observer_count(void) {
  return sizeof observers / sizeof *observers;
}

const struct mq_observer_ops *mq_observer_at(size_t i) {
  assert(i < mq_observer_count());
  return observers[i];
}

const struct mq_observer_ops *mq_observer_find(const char *name) {
  for (size_t i = 0; i < mq_observer_count(); i++)
    if (strcmp(observers[i]->name, name) == 0) return observers[i];
  return NULL;
}

bool mq_limits_take(const struct mq_observer_limits *limits, double value) {
  bool is_above = limits->excludes_min ? value > limits->min : value >= limits->min;
  bool is_below = limits->excludes_max ? value < limits->max : value <= limits->max;
  return limits->exists && is_above && is_below && (!limits->is_whole || value == floor(value));
}

void mq_limits_format(char text[MQ_LIMITS_TEXT], const struct mq_observer_limits *limits) {
  snprintf(text, MQ_LIMITS_TEXT, "a %s %s %g and %s %g", limits->is_whole ? "whole number" : "number",
           limits->excludes_min ? "above" : "from", limits->min, limits->excludes_max ? "below" : "up to",
           limits->max);
}

bool mq_observer_takes(const struct mq_observer_ops *observer, double parameter) {
  return mq_limits_take(&observer->parameter, parameter);
}

mq_status mq_observe_weights(struct mq_qparams *out, const struct mq_observer_ops *observer,
                             const struct mq_observer_config *config, const float *rows, int64_t row_count,
                             const float *least_scale, struct mq_err *err) {
  assert(config->is_weight);
  size_t bytes = observer->state_bytes(config);
  char *states = mq_alloc(2, bytes);
  if (!states) return mq_fail_memory(err, "state of an observer");
  void *running = states, *batch = states + bytes;
  observer->init(running, config);
  observer->init(batch, config);
  observer->observe(batch, config, rows, config->n_channels, row_count, row_count);
  observer->batch_end(running, batch, config, true);
  mq_status status = observer->answer(out, running, config, rows, row_count, least_scale, err);
  mq_free(states);
  return status;
}
