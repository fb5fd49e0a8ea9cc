/* Grids, and values on them. */
#include <math.h>

#include "engine/exact/exact.h"

/* z + round(f(x / s)), half away from zero, kept within the range. */
static int32_t code_of_bound(float x, const struct mq_qparams *q) {
  float steps = roundf(x / q->scale[0]);
  float lo = (float)(q->quant_min - q->zero_point[0]), hi = (float)(q->quant_max - q->zero_point[0]);
  return (int32_t)mq_exact_clamp(steps, lo, hi) + q->zero_point[0];
}

/* Unsigned codes of 16 bits are kept less 2^15, as int16: an equation that rounds s z sees those. */
static void shift_codes(struct mq_exact_grid *grid) {
  grid->zero_point -= 1 << 15;
  grid->lo -= 1 << 15;
  grid->hi -= 1 << 15;
}

static mq_status clip_grid(struct mq_exact_grid *grid, const struct engine_compiler *c,
                           const struct mq_qparams *q, const struct mq_node *activation, struct mq_err *err) {
  float lo, hi;
  mq_status status = mq_node_get_clip(&lo, &hi, activation, err);
  if (status != MQ_OK) {
    return status;
  }
  if (c->exact->arithmetic->clips_floats) {
    grid->clip_lo = lo;
    grid->clip_hi = hi;
  } else {
    grid->lo = code_of_bound(lo, q);
    grid->hi = code_of_bound(hi, q);
  }
  return MQ_OK;
}

mq_status exact_grid(struct mq_exact_grid *grid, const struct engine_compiler *c, const struct mq_qparams *q,
                     const struct mq_node *activation_or_null, struct mq_err *err) {
  *grid = (struct mq_exact_grid){.scale = q->scale[0],
                                 .zero_point = q->zero_point[0],
                                 .lo = q->quant_min,
                                 .hi = q->quant_max,
                                 .clip_lo = -INFINITY,
                                 .clip_hi = INFINITY};
  bool is_wide = q->quant_min >= 0 && q->quant_max > UINT8_MAX;
  mq_status status = activation_or_null ? clip_grid(grid, c, q, activation_or_null, err) : MQ_OK;
  if (is_wide) {
    shift_codes(grid);
  }
  return status;
}

void exact_codes(int32_t *q, const float *x, int64_t n, const struct mq_exact_grid *grid) {
  for (int64_t i = 0; i < n; i++) {
    q[i] = mq_exact_rne(x[i] / grid->scale) + grid->zero_point;
  }
}

void exact_values(float *x, const int32_t *q, int64_t n, const struct mq_exact_grid *grid) {
  for (int64_t i = 0; i < n; i++) {
    x[i] = (float)(q[i] - grid->zero_point) * grid->scale;
  }
}
