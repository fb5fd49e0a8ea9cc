#include "report/scale.h"

#include <math.h>

void mq_scale_take(struct mq_scale *scale, double x) {
  if (!isnan(x)) {
    scale->lo = fmin(scale->lo, x);
    scale->hi = fmax(scale->hi, x);
  }
}

double mq_scale_place(const struct mq_scale *scale, double x) {
  return scale->from + (x - scale->lo) / (scale->hi - scale->lo) * (scale->to - scale->from);
}

/* 1, 2 or 5 times a power of ten, for about n ticks. */
static double nice_step(double span, double n) {
  double raw = span / n, power = pow(10, floor(log10(raw))), digit = raw / power;
  return power * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
}

void mq_scale_round_out(struct mq_scale *scale, double n_ticks) {
  scale->step = nice_step(scale->hi - scale->lo, n_ticks);
  scale->lo = floor(scale->lo / scale->step) * scale->step;
  scale->hi = ceil(scale->hi / scale->step) * scale->step;
}

int mq_scale_decimals(double step) {
  return step >= 1 ? 0 : step >= 0.1 ? 1 : step >= 0.01 ? 2 : 3;
}
