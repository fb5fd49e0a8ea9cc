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
static void shift_wide_codes(struct mq_exact_grid *grid, const struct mq_qparams *q) {
  if (q->quant_min >= 0 && q->quant_max > UINT8_MAX) {
    grid->zero_point -= 1 << 15;
    grid->lo -= 1 << 15;
    grid->hi -= 1 << 15;
  }
}

static struct mq_exact_grid whole_grid(const struct mq_qparams *q) {
  return (struct mq_exact_grid){.scale = q->scale[0],
                                .zero_point = q->zero_point[0],
                                .lo = q->quant_min,
                                .hi = q->quant_max,
                                .clip_lo = -INFINITY,
                                .clip_hi = INFINITY};
}

struct mq_exact_grid exact_grid(const struct mq_qparams *q) {
  struct mq_exact_grid grid = whole_grid(q);
  shift_wide_codes(&grid, q);
  return grid;
}

struct mq_exact_grid exact_output_grid(const struct engine_compiler *c, const struct exact_group *group) {
  struct mq_exact_grid grid = whole_grid(group->y);
  if (c->exact->arithmetic->clips_floats) {
    grid.clip_lo = group->clip_lo;
    grid.clip_hi = group->clip_hi;
  } else {
    grid.lo = code_of_bound(group->clip_lo, group->y);
    grid.hi = code_of_bound(group->clip_hi, group->y);
  }
  shift_wide_codes(&grid, group->y);
  return grid;
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
