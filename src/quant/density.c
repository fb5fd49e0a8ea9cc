#include "quant/density.h"

#include <math.h>

void mq_density_init(struct mq_density *density, const struct mq_histogram *histogram, float min, float max) {
  int64_t n_negative = min < 0 ? mq_histogram_used(histogram, -min) : 0;
  int64_t n_positive = max > 0 ? mq_histogram_used(histogram, max) : 0;
  int64_t n = n_negative + n_positive;
  density->n_bins = n;
  density->zero_at = n_negative;
  density->width = ldexp(1.0, histogram->exponent);
  density->n_zero = (double)histogram->n_zero;
  density->count[0] = density->area[0] = density->volume[0] = 0;
  if (n_negative > 0)
    mq_observe_integrate(density->count, density->area, density->volume, histogram->negative + n_negative - 1,
                         -1, n_negative);
  mq_observe_integrate(density->count + n_negative, density->area + n_negative, density->volume + n_negative,
                       histogram->positive, 1, n_positive);
  density->count[n + 1] = density->count[n];
  density->area[n + 1] = density->area[n];
  density->volume[n + 1] = density->volume[n];
}

double mq_density_count(const struct mq_density *density, double t) {
  if (t <= 0) return 0;
  if (t >= (double)density->n_bins) return density->count[density->n_bins];
  int64_t i = (int64_t)t;
  return density->count[i] + (t - (double)i) * (density->count[i + 1] - density->count[i]);
}

static double clamp(double x, double lo, double hi) {
  return x < lo ? lo : x > hi ? hi : x;
}

/* What integration by parts leaves at position t of the integral of (t - centre)^2 over the density:
 * (t - centre)^2 F - 2 (t - centre) G + 2 H, F the count, G its integral, H that of G. */
static double error_at(const struct mq_density *density, double t, double centre) {
  int64_t i = (int64_t)t;
  double f = t - (double)i, in_bin = density->count[i + 1] - density->count[i];
  double count = density->count[i] + f * in_bin;
  double area = density->area[i] + f * (density->count[i] + f * in_bin / 2);
  double volume = density->volume[i] + f * (density->area[i] + f * (density->count[i] + f * in_bin / 3) / 2);
  return (t - centre) * (t - centre) * count - 2 * (t - centre) * area + 2 * volume;
}

/* Integral of (t - centre)^2 over the density between two positions. */
static double tail_error(const struct mq_density *density, double from, double to, double centre) {
  double end = (double)density->n_bins;
  return error_at(density, clamp(to, 0, end), centre) - error_at(density, clamp(from, 0, end), centre);
}

/* Steps narrower than half a bin (16 bits): the mean of the squared error over a cell is step^2 / 12. */
static double fine_error(const struct mq_density *density, double step, double lowest, double highest) {
  double from = lowest - step / 2, to = highest + step / 2;
  double inside = mq_density_count(density, to) - mq_density_count(density, from);
  return inside * step * step / 12 + tail_error(density, 0, from, lowest) +
         tail_error(density, to, (double)density->n_bins, highest);
}

/* With F the count, G its integral and H that of G, integrating by parts over the cell [a, b] of level c
 * gives (b-c)^2 F(b) - (a-c)^2 F(a) - 2 (b-c) G(b) + 2 (a-c) G(a) + 2 (H(b) - H(a)). Summed over all cells,
 * where a and b lie half a step from c, only the boundaries' G and the terms of the top level at the end of
 * the data remain: (end-top)^2 F(end) - 2 (end-top) G(end) + 2 H(end) - 2 step sum G(boundary). Levels past
 * the end of the data take no part, so nothing large cancels. */
double mq_density_squared_error(const struct mq_density *density, float scale, int32_t zero_point,
                                int32_t quant_min, int32_t quant_max, double limit) {
  double step = (double)scale / density->width, zero_at = (double)density->zero_at, z = zero_point;
  double end = (double)density->n_bins, square_width = density->width * density->width;
  double lowest = zero_at + step * (quant_min - z), highest = zero_at + step * (quant_max - z);
  if (step < 0.5) return fine_error(density, step, lowest, highest) * square_width;
  double tails = tail_error(density, 0, lowest, lowest) + tail_error(density, highest, end, highest);
  if (tails * square_width > limit * (1 + 1e-6))
    return tails * square_width; /* the margin covers roundings */
  /* boundary k lies between the levels k and k + 1 */
  double first = clamp(floor(z - 0.5 - zero_at / step) + 1, quant_min, quant_max);
  double top = clamp(ceil(z - 0.5 + (end - zero_at) / step), first, quant_max);
  double beyond = end - (zero_at + step * (top - z));
  double areas = mq_observe_sum_area(density->count, density->area, density->n_bins,
                                     zero_at + step * (first + 0.5 - z), step, (int64_t)(top - first));
  double sum = beyond * beyond * density->count[density->n_bins] -
               2 * beyond * density->area[density->n_bins] + 2 * density->volume[density->n_bins] -
               2 * step * areas;
  return fmax(sum, 0) * square_width;
}
