#include "quant/bounded_minimum.h"

#include <math.h>
#include <stdbool.h>

enum {
  MOST_EVALUATIONS = 500
};

struct point {
  double x, f;
};

/* best, second and third best points so far; the last step and the one before it */
struct bracket {
  double lo, hi, step, before;
  struct point best, second, third;
};

/* The step to the lowest point of the parabola through the three points, if it falls well inside. */
static bool try_parabola(struct bracket *b, double tolerance) {
  double r = (b->best.x - b->second.x) * (b->best.f - b->third.f);
  double q = (b->best.x - b->third.x) * (b->best.f - b->second.f);
  double p = (b->best.x - b->third.x) * q - (b->best.x - b->second.x) * r;
  q = 2 * (q - r);
  if (q > 0) p = -p;
  q = fabs(q);
  double last = b->before;
  b->before = b->step;
  bool is_inside =
      fabs(p) < fabs(0.5 * q * last) && p > q * (b->lo - b->best.x) && p < q * (b->hi - b->best.x);
  if (!is_inside) return false;
  b->step = p / q;
  double x = b->best.x + b->step;
  if (x - b->lo < 2 * tolerance || b->hi - x < 2 * tolerance)
    b->step = (b->lo + b->hi) / 2 >= b->best.x ? tolerance : -tolerance;
  return true;
}

static void golden_step(struct bracket *b, double golden) {
  b->before = (b->best.x >= (b->lo + b->hi) / 2 ? b->lo : b->hi) - b->best.x;
  b->step = golden * b->before;
}

static void take(struct bracket *b, struct point tried) {
  if (tried.f <= b->best.f) {
    if (tried.x >= b->best.x)
      b->lo = b->best.x;
    else
      b->hi = b->best.x;
    b->third = b->second;
    b->second = b->best;
    b->best = tried;
    return;
  }
  if (tried.x < b->best.x)
    b->lo = tried.x;
  else
    b->hi = tried.x;
  if (tried.f <= b->second.f || b->second.x == b->best.x) {
    b->third = b->second;
    b->second = tried;
  } else if (tried.f <= b->third.f || b->third.x == b->best.x || b->third.x == b->second.x) {
    b->third = tried;
  }
}

double mq_bounded_minimum(mq_function_fn function, void *context, double lo, double hi, double tolerance) {
  const double golden = 0.5 * (3 - sqrt(5.0)), root_epsilon = 0x1p-26;
  struct bracket b = {.lo = lo, .hi = hi};
  b.best.x = lo + golden * (hi - lo);
  b.best.f = function(context, b.best.x);
  b.second = b.third = b.best;
  for (int n = 1; n < MOST_EVALUATIONS; n++) {
    double middle = (b.lo + b.hi) / 2, least_step = root_epsilon * fabs(b.best.x) + tolerance / 3;
    if (fabs(b.best.x - middle) <= 2 * least_step - (b.hi - b.lo) / 2) break;
    bool is_parabola = fabs(b.before) > least_step && try_parabola(&b, least_step);
    if (!is_parabola) golden_step(&b, golden);
    double step = fabs(b.step) >= least_step ? b.step : b.step >= 0 ? least_step : -least_step;
    struct point tried = {.x = b.best.x + step};
    tried.f = function(context, tried.x);
    take(&b, tried);
  }
  return b.best.x;
}
