/* Statistics of the benchmark. */
#ifndef MQ_REPORT_STATS_H
#define MQ_REPORT_STATS_H

#include <stddef.h>

/* NAN for n = 0. */
double mq_stats_mean(const double *x, size_t n);
/* Divides by n: the spread over hardware settings (hw_std reproduces the paper's Table 7 so). NAN for n = 0.
 */
double mq_stats_std_population(const double *x, size_t n);
/* Divides by n - 1: the spread over seeds. NAN below two values. */
double mq_stats_std_sample(const double *x, size_t n);

#endif
