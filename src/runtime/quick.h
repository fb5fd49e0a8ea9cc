/* Which layers' codes may be formed the quick way (simd/finish_pack.h). */
#ifndef MQ_RUNTIME_QUICK_H
#define MQ_RUNTIME_QUICK_H

#include "runtime/internal.h"

/* Of a layer that runtime_layer_can run: every value fits a 32-bit integer before it is clamped. */
bool runtime_is_quick(const struct mq_runtime *runtime, const struct mq_program_step *step);
/* What the reciprocal of a scale lacks. */
static inline float runtime_reciprocal_rest(float scale) {
  return (float)(1.0 / (double)scale - (double)(1.0f / scale));
}

#endif
