/* When a run's learning rate is what, and when its accuracy is no better than guessing. */
#include <math.h>

#include "mqbench/tune.h"

double mq_train_rate(const struct mq_train_options *options, int64_t step, int64_t n_steps,
                     int64_t steps_per_epoch) {
  const double pi = 3.14159265358979323846;
  double warmup = floor(options->warmup_epochs * (double)steps_per_epoch + 0.5);
  warmup = fmin(warmup, (double)n_steps);
  double at = (double)step;
  if (at < warmup) {
    return options->warmup_rate + (options->rate - options->warmup_rate) * at / warmup;
  }
  double done = (at - warmup) / ((double)n_steps - warmup);
  return 0.5 * options->rate * (1 + mq_cos(pi * done));
}

/* The tail of the binomial distribution, P(X >= correct), is summed downwards from n: its terms grow, so the
 * sum can stop as soon as it is known to be above the bound. */
bool mq_train_is_chance(int64_t correct, int64_t n, int64_t n_classes) {
  const double bound = 1e-3;
  if (n < 1 || n_classes < 2 || (double)correct <= (double)n / (double)n_classes) {
    return true;
  }
  double log_hit = -log((double)n_classes), log_miss = log1p(-1 / (double)n_classes);
  double tail = 0;
  for (int64_t k = n; k >= correct && tail <= bound; k--) {
    double ways = lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1);
    tail += exp(ways + (double)k * log_hit + (double)(n - k) * log_miss);
  }
  return tail > bound;
}
