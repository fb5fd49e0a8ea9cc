#include "quant/divergence.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "mqbench/kernel.h"

#define LEAST_Q 1e-10 /* a group that is empty, where P is not */

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

void mq_divergence_from_data(struct mq_divergence *sums, const float *data, int64_t n, float magnitude) {
  memset(sums->count, 0, sizeof sums->count);
  for (int64_t i = 0; i < n; i++) {
    int bin = (int)((double)fabsf(data[i]) * MQ_DIVERGENCE_BINS / (double)magnitude);
    sums->count[1 + (bin < MQ_DIVERGENCE_BINS ? bin : MQ_DIVERGENCE_BINS - 1)] += 1;
  }
  for (int k = 0; k < MQ_DIVERGENCE_BINS; k++)
    sums->count[k + 1] += sums->count[k];
  finish_sums(sums);
}

/* The bin that holds the largest value ends there. */
static double end_of_bin(int64_t k, int64_t n_bins, double magnitude) {
  return k + 1 == n_bins ? magnitude : (double)(k + 1);
}

void mq_divergence_from_histogram(struct mq_divergence *sums, const struct mq_histogram *histogram, float min,
                                  float max) {
  float most = fmaxf(-min, max);
  double magnitude = (double)most / ldexp(1.0, histogram->exponent); /* in bins */
  int64_t n_bins = mq_histogram_used(histogram, most), k = 0;
  double below = 0; /* values under bin k */
  sums->count[0] = 0;
  for (int e = 1; e <= MQ_DIVERGENCE_BINS; e++) {
    double edge = magnitude * e / MQ_DIVERGENCE_BINS;
    while (k + 1 < n_bins && (double)(k + 1) <= edge) {
      below += (double)(histogram->positive[k] + histogram->negative[k]);
      k++;
    }
    double width = end_of_bin(k, n_bins, magnitude) - (double)k;
    double part = e == MQ_DIVERGENCE_BINS || width <= 0 ? 1 : (edge - (double)k) / width;
    double in_bin = (double)(histogram->positive[k] + histogram->negative[k]);
    sums->count[e] = nearbyint(below + part * in_bin) + (double)histogram->n_zero;
  }
  finish_sums(sums);
}

/* Groups that hold something: mass under P (weight) and mean of Q over its occupied bins (q). Returns how
 * many. */
static int64_t list_groups(double *weight, double *q, const struct mq_divergence *sums, int bins,
                           int n_levels) {
  int64_t n = 0;
  int begin = 0;
  double inside = sums->count[bins], rest = sums->count[MQ_DIVERGENCE_BINS] - inside;
  for (int j = 0; j < n_levels; j++) {
    int end = (int)((int64_t)(j + 1) * bins / n_levels);
    double mass = sums->count[end] - sums->count[begin];
    double occupied = sums->occupied[end] - sums->occupied[begin];
    double p = mass;
    if (j == n_levels - 1) {
      p += rest;
      bool was_empty = sums->occupied[end] == sums->occupied[end - 1];
      occupied += was_empty && rest > 0 ? 1 : 0; /* the rest fills the last bin */
    }
    double mean = mass > 0 ? mass / (occupied * inside) : 0;
    weight[n] = p;
    q[n] = mean > LEAST_Q ? mean : LEAST_Q;
    n += p > 0;
    begin = end;
  }
  return n;
}

double mq_divergence_at(const struct mq_divergence *sums, int bins, int n_levels) {
  double weight[MQ_DIVERGENCE_BINS + 1], q[MQ_DIVERGENCE_BINS + 1];
  assert(n_levels <= bins && bins <= MQ_DIVERGENCE_BINS);
  int64_t n = list_groups(weight, q, sums, bins, n_levels);
  double total = sums->count[MQ_DIVERGENCE_BINS];
  double last = total - sums->count[bins - 1];
  double of_p = sums->entropy[bins - 1] + (last > 0 ? last * mq_log(last) : 0);
  return (of_p - mq_observe_sum_weighted_log(weight, q, n)) / total - mq_log(total);
}

int mq_divergence_search(const struct mq_divergence *sums, int64_t n_levels) {
  if (n_levels > MQ_DIVERGENCE_BINS) return MQ_DIVERGENCE_BINS;
  int levels = (int)n_levels, best = MQ_DIVERGENCE_BINS;
  double least = INFINITY;
  for (int bins = levels > MQ_DIVERGENCE_LEAST_BINS ? levels : MQ_DIVERGENCE_LEAST_BINS;
       bins <= MQ_DIVERGENCE_BINS; bins++) {
    double divergence = mq_divergence_at(sums, bins, levels);
    if (divergence < least) {
      least = divergence;
      best = bins;
    }
  }
  return best;
}
