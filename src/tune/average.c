#include "tune/average.h"

#include <string.h>

/* The i-th state where it is a variable, else of no values. Variables come first. */
static struct mq_trainer_state variable_at(const struct mq_trainer *trainer, size_t i) {
  struct mq_trainer_state state = mq_trainer_state_at(trainer, i);
  if (!state.is_variable) state.count = 0;
  return state;
}

size_t tune_average_count(const struct mq_trainer *trainer) {
  size_t n = 0;
  for (size_t i = 0; i < mq_trainer_state_count(trainer); i++)
    n += variable_at(trainer, i).count;
  return n;
}

void tune_average_begin(float *average, const struct mq_trainer *trainer) {
  for (size_t i = 0; i < mq_trainer_state_count(trainer); i++) {
    const struct mq_trainer_state v = variable_at(trainer, i);
    if (v.count > 0) memcpy(average, v.values, v.count * sizeof *average);
    average += v.count;
  }
}

void tune_average_add(float *average, const struct mq_trainer *trainer, double decay) {
  const float share = (float)(1 - decay);
  for (size_t i = 0; i < mq_trainer_state_count(trainer); i++) {
    const struct mq_trainer_state v = variable_at(trainer, i);
    for (size_t k = 0; k < v.count; k++)
      average[k] += share * (v.values[k] - average[k]);
    average += v.count;
  }
}

void tune_average_swap(float *average, const struct mq_trainer *trainer) {
  for (size_t i = 0; i < mq_trainer_state_count(trainer); i++) {
    const struct mq_trainer_state v = variable_at(trainer, i);
    for (size_t k = 0; k < v.count; k++) {
      const float kept = average[k];
      average[k] = v.values[k];
      v.values[k] = kept;
    }
    average += v.count;
  }
}
