#include "kernel/simd/optimise.h"

#include "kernel/simd/values.h"

MQ_ALWAYS_INLINE void sgd_loop(float *w, float *v, const float *g, int64_t n, const struct mq_sgd *sgd,
                               bool is_nesterov) {
  const float rate = sgd->rate, momentum = sgd->momentum, decay = sgd->decay;
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++) {
    const float d = g[i] + decay * w[i], speed = momentum * v[i] + d;
    v[i] = speed;
    w[i] -= rate * (is_nesterov ? d + momentum * speed : speed);
  }
}

static void sgd(float *w, float *v, const float *g, int64_t n, const struct mq_sgd *options) {
  if (options->is_nesterov)
    sgd_loop(w, v, g, n, options, true);
  else
    sgd_loop(w, v, g, n, options, false);
}

static void adam(float *w, float *m, float *u, const float *g, int64_t n, const struct mq_adam *options) {
  const float rate = options->rate, beta1 = options->beta1, beta2 = options->beta2;
  const float epsilon = options->epsilon, decay = options->decay;
  const float correction1 = (float)options->correction1, correction2 = (float)options->correction2;
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++) {
    const float d = g[i] + decay * w[i];
    m[i] = beta1 * m[i] + (1.0f - beta1) * d;
    u[i] = beta2 * u[i] + ((1.0f - beta2) * d) * d;
    w[i] -= rate * (m[i] / correction1) / (__builtin_sqrtf(u[i] / correction2) + epsilon);
  }
}

const struct mq_simd_optimise MQ_SIMD_NAME(mq_simd_optimise) = {.sgd = sgd, .adam = adam};
