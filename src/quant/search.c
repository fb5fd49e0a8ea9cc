#include "quant/search.h"

#include <math.h>

#include "quant/qparams.h"

enum {
  CHUNK = 8192, /* values between two looks at the limit */
  MOST_FRACTION_BITS = 12
};

static double data_error(const float *data, int64_t n, float scale, int32_t zero_point, int32_t quant_min,
                         int32_t quant_max, double limit) {
  float lo = (float)(quant_min - zero_point), hi = (float)(quant_max - zero_point);
  double sum = 0;
  for (int64_t i = 0; i < n && sum <= limit; i += CHUNK)
    sum += mq_observe_squared_error(data + i, n - i < CHUNK ? n - i : CHUNK, scale, lo, hi);
  return sum;
}

static double error_of(const struct mq_search *search, const struct mq_qparams *qparams, double limit) {
  float scale = qparams->scale[0];
  int32_t zero_point = qparams->zero_point[0], n = qparams->quant_min, p = qparams->quant_max;
  if (search->density) return mq_density_squared_error(search->density, scale, zero_point, n, p, limit);
  return data_error(search->data, search->n, scale, zero_point, n, p, limit);
}

struct mq_range mq_search_range(const struct mq_search *search, int n_candidates) {
  struct mq_range best = {search->min, search->max};
  float scale, last_scale = 0;
  int32_t zero_point, last_zero_point = 0;
  struct mq_qparams qparams = {
      .n_channels = 1, .channel_axis = -1, .scale = &scale, .zero_point = &zero_point};
  double least = INFINITY;
  for (int i = 0; i < n_candidates; i++) {
    double factor = 1 - 0.01 * i;
    struct mq_range range = {(float)(search->min * factor), (float)(search->max * factor)};
    mq_qparams_from_observed(&qparams, search->scheme, &range, search->is_non_negative, &search->least_scale);
    if (scale == last_scale && zero_point == last_zero_point) continue; /* power of two, or least_scale */
    last_scale = scale;
    last_zero_point = zero_point;
    double error = error_of(search, &qparams, least);
    if (error < least) {
      least = error;
      best = range;
    }
  }
  return best;
}

/* floor(-log2 v), exactly. */
static int floor_minus_log2(double v) {
  int exponent;
  return frexp(v, &exponent) == 0.5 ? 1 - exponent : -exponent;
}

/* The smallest scale that covers the data with the scheme's zero point. */
static double covering_scale(const struct mq_search *search, int32_t n, int32_t p) {
  double min = search->min, max = search->max;
  if (!search->scheme->is_symmetric) return (fmax(max, 0) - fmin(min, 0)) / (p - n);
  return n == 0 ? max / p : fmax(min / n, max / p);
}

static void bounds_of(int32_t *n, int32_t *p, const struct mq_search *search) {
  struct mq_scheme taken = *search->scheme;
  if (taken.is_sign_adaptive && search->is_non_negative) taken.is_signed = false;
  mq_scheme_bounds(n, p, &taken);
}

float mq_search_floor_zero_point(const struct mq_search *search, float scale) {
  int32_t n, p;
  bounds_of(&n, &p, search);
  return (float)n - rintf(fminf(search->min, 0) / scale);
}

int mq_search_floor_exponent(const struct mq_search *search, int n_candidates) {
  int32_t n, p, z;
  float scale;
  struct mq_qparams qparams = {.n_channels = 1, .channel_axis = -1, .scale = &scale, .zero_point = &z};
  bounds_of(&n, &p, search);
  double covering = covering_scale(search, n, p), least = INFINITY;
  if (!(covering > 0)) return 0;
  int first = floor_minus_log2(covering);
  if (first > MOST_FRACTION_BITS) first = MOST_FRACTION_BITS;
  int best = first;
  for (int k = first; n_candidates > 1 && k < first + n_candidates && k <= MOST_FRACTION_BITS; k++) {
    float candidate = ldexpf(1.0f, -k), zero_point = mq_search_floor_zero_point(search, candidate);
    mq_qparams_from_scale(&qparams, search->scheme, &candidate, &zero_point, search->is_non_negative,
                          &search->least_scale);
    double error = error_of(search, &qparams, least);
    if (error < least) {
      least = error;
      best = k;
    }
  }
  return best;
}
