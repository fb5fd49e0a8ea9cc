#include "quant/published_kld.h"

#include <math.h>
#include <string.h>

#include "mqbench/kernel.h"
#include "quant/bounded_minimum.h"
#include "quant/density.h"
#include "quant/qparams.h"

enum {
  BINS = 2048
};

struct divergence {
  const struct mq_density *density;
  const struct mq_scheme *scheme;
  bool is_non_negative;
  float min;
  double of_data[BINS];
};

/* Whole values below x. */
static double count_below(const struct mq_density *density, double x) {
  double position = x / density->width + (double)density->zero_at;
  return nearbyint(mq_density_count(density, position)) + (x > 0 ? density->n_zero : 0);
}

static double all_values(const struct mq_density *density) {
  return density->count[density->n_bins] + density->n_zero;
}

static void plain_histogram(double bins[BINS], const struct mq_density *density, double lo, double hi) {
  if (lo == hi) {
    lo -= 1;
    hi += 1;
  }
  double below = 0;
  for (int b = 0; b < BINS; b++) {
    double above = b + 1 < BINS ? count_below(density, lo + (hi - lo) * (b + 1) / BINS) : all_values(density);
    bins[b] = above - below;
    below = above;
  }
}

/* Values that are rounded to level k. */
static double count_at_level(const struct mq_density *density, const struct mq_qparams *q, int32_t k) {
  double scale = (double)q->scale[0], at = k - q->zero_point[0];
  double below = k == q->quant_min ? 0 : count_below(density, scale * (at - 0.5));
  double above = k == q->quant_max ? all_values(density) : count_below(density, scale * (at + 0.5));
  return above - below;
}

static void quantized_histogram(double bins[BINS], const struct mq_density *density,
                                const struct mq_qparams *q) {
  int32_t lowest = q->quant_max, highest = q->quant_min;
  for (int32_t k = q->quant_min; k <= q->quant_max; k++)
    if (count_at_level(density, q, k) > 0) {
      lowest = k < lowest ? k : lowest;
      highest = k;
    }
  memset(bins, 0, BINS * sizeof *bins);
  for (int32_t k = lowest; k <= highest; k++) {
    int bin = lowest == highest ? BINS / 2 : (int)((int64_t)(k - lowest) * BINS / (highest - lowest));
    bins[bin < BINS ? bin : BINS - 1] += count_at_level(density, q, k);
  }
}

static double divergence_at(void *context, double upper) {
  const struct divergence *d = context;
  float scale;
  int32_t zero_point;
  struct mq_qparams q = {.n_channels = 1, .channel_axis = -1, .scale = &scale, .zero_point = &zero_point};
  struct mq_range range = {d->min, (float)upper};
  mq_qparams_from_observed(&q, d->scheme, &range, d->is_non_negative, NULL);
  double quantized[BINS], sum = 0;
  quantized_histogram(quantized, d->density, &q);
  for (int b = 0; b < BINS; b++) {
    if (d->of_data[b] == 0) return NAN;
    sum += d->of_data[b] * mq_log(d->of_data[b] / fmax(quantized[b], 1e-9));
  }
  return sum;
}

double mq_published_kld_search(const struct mq_histogram *histogram, float min, float max,
                               const struct mq_scheme *scheme, bool is_non_negative) {
  if (max <= 0) return max;
  struct mq_density density;
  mq_density_init(&density, histogram, min, max);
  struct divergence d = {
      .density = &density, .scheme = scheme, .is_non_negative = is_non_negative, .min = min};
  plain_histogram(d.of_data, &density, min, max);
  return mq_bounded_minimum(divergence_at, &d, 0.3 * (double)max, max, 1e-5);
}
