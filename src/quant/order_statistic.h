/* Order statistics and quantiles; the q-quantile of N values is interpolated linearly at place q (N - 1). */
#ifndef MQ_QUANT_ORDER_STATISTIC_H
#define MQ_QUANT_ORDER_STATISTIC_H

#include "quant/histogram.h"

/* Exact, of raw data (n >= 1), 0 <= q <= 1; of the magnitudes if is_absolute. Time linear in n. */
double mq_quantile_of_data(const float *data, int64_t n, double q, bool is_absolute);
/* The order statistics are estimated within their bin, zeros are exact: off by less than a bin's width. */
double mq_quantile_of_histogram(const struct mq_histogram *histogram, double q, bool is_absolute, float min,
                                float max);

#endif
