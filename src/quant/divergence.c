#include "quant/divergence.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "mqbench/kernel.h"

#define LEAST_Q 1e-10 /* a group that is empty, where P is not */
#define TIE 1e-12     /* equal but for the order of additions */

static int log2_of(int power_of_two) {
  int shift = 0;
  while (power_of_two >> (shift + 1))
    shift++;
  return shift;
}

/* sums->count holds the values below each edge. */
static void finish_sums(struct mq_divergence *sums) {
  double occupied = 0, entropy = 0;
  for (int k = 0; k < MQ_DIVERGENCE_BINS; k++) {
    sums->occupied[k] = occupied;
    sums->entropy[k] = entropy;
    double count = sums->count[k + 1] - sums->count[k];
    if (count > 0) {
      occupied += 1;
      entropy += count * mq_log(count);
    }
  }
  sums->occupied[MQ_DIVERGENCE_BINS] = occupied;
  sums->entropy[MQ_DIVERGENCE_BINS] = entropy;
}

void mq_divergence_from_data(struct mq_divergence *sums, const float *data, int64_t n, float magnitude,
                             bool has_zeros) {
  memset(sums->count, 0, sizeof sums->count);
  for (int64_t i = 0; i < n; i++) {
    if (data[i] == 0 && !has_zeros) continue;
    int bin = (int)((double)fabsf(data[i]) * MQ_DIVERGENCE_BINS / (double)magnitude);
    sums->count[1 + (bin < MQ_DIVERGENCE_BINS ? bin : MQ_DIVERGENCE_BINS - 1)] += 1;
  }
  for (int k = 0; k < MQ_DIVERGENCE_BINS; k++)
    sums->count[k + 1] += sums->count[k];
  finish_sums(sums);
}

static double count_of(const struct mq_histogram *histogram, int64_t k) {
  return (double)histogram->positive[k] + (double)histogram->negative[k];
}

/* The bin that holds the largest value ends there. */
static double end_of_bin(int64_t k, int64_t n_bins, double magnitude) {
  return k + 1 == n_bins ? magnitude : (double)(k + 1);
}

void mq_divergence_from_histogram(struct mq_divergence *sums, const struct mq_histogram *histogram, float min,
                                  float max, bool has_zeros) {
  float most = fmaxf(-min, max);
  double magnitude = (double)most / ldexp(1.0, histogram->exponent); /* in bins */
  int64_t n_bins = mq_histogram_used(histogram, most), k = 0;
  double below = 0, n_zero = has_zeros ? (double)histogram->n_zero : 0; /* below: values under bin k */
  sums->count[0] = 0;
  for (int e = 1; e <= MQ_DIVERGENCE_BINS; e++) {
    double edge = magnitude * e / MQ_DIVERGENCE_BINS;
    while (k + 1 < n_bins && (double)(k + 1) <= edge) {
      below += count_of(histogram, k);
      k++;
    }
    double width = end_of_bin(k, n_bins, magnitude) - (double)k;
    double part = e == MQ_DIVERGENCE_BINS || width <= 0 ? 1 : (edge - (double)k) / width;
    double in_bin = count_of(histogram, k);
    sums->count[e] = nearbyint(below + part * in_bin) + n_zero;
  }
  finish_sums(sums);
}

/* Groups that hold something, the last one apart: their mass and how many of their bins are occupied. Returns
 * how many. */
static int64_t list_groups(double *mass, double *occupied, const struct mq_divergence *sums, int bins,
                           int n_levels) {
  int64_t n = 0;
  int begin = 0, shift = log2_of(n_levels);
  for (int j = 1; j < n_levels; j++) {
    int end = (j * bins) >> shift;
    mass[n] = sums->count[end] - sums->count[begin];
    occupied[n] = sums->occupied[end] - sums->occupied[begin];
    n += mass[n] > 0;
    begin = end;
  }
  return n;
}

/* The last group, whose last bin the rest has joined. */
struct last_group {
  double p, q;     /* its share of P and of Q */
  double occupied; /* bins */
};

static struct last_group last_group_of(const struct mq_divergence *sums, int bins, int n_levels) {
  int begin = ((n_levels - 1) * bins) >> log2_of(n_levels);
  double total = sums->count[MQ_DIVERGENCE_BINS], inside = sums->count[bins];
  struct last_group last = {.p = (total - sums->count[begin]) / total,
                            .q = inside > 0 ? (inside - sums->count[begin]) / inside : 0,
                            .occupied = sums->occupied[bins] - sums->occupied[begin]};
  bool is_filled = total > inside && sums->occupied[bins] == sums->occupied[bins - 1];
  if (is_filled) last.occupied += 1;
  return last;
}

/* sum of P ln P over the bins: the last one has the rest. */
static double entropy_of_p(const struct mq_divergence *sums, int bins) {
  double total = sums->count[MQ_DIVERGENCE_BINS], last = total - sums->count[bins - 1];
  double sum = sums->entropy[bins - 1] + (last > 0 ? last * mq_log(last) : 0);
  return sum / total - mq_log(total);
}

double mq_divergence_at(const struct mq_divergence *sums, int bins, int n_levels) {
  double mass[MQ_DIVERGENCE_BINS], q[MQ_DIVERGENCE_BINS], inside = sums->count[bins];
  assert(n_levels <= bins && bins <= MQ_DIVERGENCE_BINS);
  int64_t n = list_groups(mass, q, sums, bins, n_levels);
  for (int64_t i = 0; i < n; i++) { /* the mean of Q over the group's occupied bins */
    double mean = mass[i] / (q[i] * inside);
    q[i] = mean > LEAST_Q ? mean : LEAST_Q;
  }
  struct last_group last = last_group_of(sums, bins, n_levels);
  double mean = last.q > 0 ? last.q / last.occupied : 0;
  double of_last = last.p > 0 ? last.p * mq_log(fmax(mean, LEAST_Q)) : 0;
  double of_others = mq_observe_sum_weighted_log(mass, q, n) / sums->count[MQ_DIVERGENCE_BINS];
  return entropy_of_p(sums, bins) - of_others - of_last;
}

/* Never above the divergence (log sum inequality): what the last group and all others together come to. The
 * slack covers LEAST_Q in every bin, and roundings. */
static double lower_bound(const struct mq_divergence *sums, int bins, int n_levels) {
  const double slack = 1e-6;
  struct last_group last = last_group_of(sums, bins, n_levels);
  double of_last = last.p > 0 ? last.p * mq_log(last.p / (last.q + slack)) : 0;
  double others = 1 - last.p;
  return of_last + (others > 0 ? others * mq_log(others / (1 - last.q + slack)) : 0) - slack;
}

/* The first of those that tie (TIE covers roundings). From above, so that the bound is good early: much mass
 * beyond the clip makes the last group alone too bad. */
int mq_divergence_search(const struct mq_divergence *sums, int64_t n_levels) {
  if (n_levels > MQ_DIVERGENCE_BINS) return MQ_DIVERGENCE_BINS;
  double divergence[MQ_DIVERGENCE_BINS + 1], least = INFINITY;
  int levels = (int)n_levels;
  int fewest = levels > MQ_DIVERGENCE_LEAST_BINS ? levels : MQ_DIVERGENCE_LEAST_BINS;
  for (int bins = MQ_DIVERGENCE_BINS; bins >= fewest; bins--) {
    divergence[bins] = lower_bound(sums, bins, levels);
    if (divergence[bins] > least + TIE) continue;
    divergence[bins] = mq_divergence_at(sums, bins, levels);
    least = fmin(least, divergence[bins]);
  }
  int best = fewest;
  while (divergence[best] > least + TIE)
    best++;
  return best;
}
