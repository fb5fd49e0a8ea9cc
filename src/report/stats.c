#include "report/stats.h"

#include <math.h>

double mq_stats_mean(const double *x, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    sum += x[i];
  }
  return n ? sum / (double)n : (double)NAN;
}

/* Two passes: accuracies lie close together. */
static double sum_of_squares(const double *x, size_t n) {
  double mean = mq_stats_mean(x, n), sum = 0;
  for (size_t i = 0; i < n; i++) {
    sum += (x[i] - mean) * (x[i] - mean);
  }
  return sum;
}

double mq_stats_std_population(const double *x, size_t n) {
  return n ? sqrt(sum_of_squares(x, n) / (double)n) : (double)NAN;
}

double mq_stats_std_sample(const double *x, size_t n) {
  return n > 1 ? sqrt(sum_of_squares(x, n) / (double)(n - 1)) : (double)NAN;
}
