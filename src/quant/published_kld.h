/* The KL calibration of the paper's released code, for reproductions: the upper end is sought in
 * [0.3, 1] max by a bounded scalar minimisation (tolerance 1e-5); what is minimised is
 *   sum over 2048 bins of hist(x) ln(hist(x) / max(hist(x^), 1e-9)),
 * two plain histograms, each over its own data's range. An empty bin of hist(x) makes 0 ln 0 = NaN, and the
 * search goes on comparing with it: it then ends at its first point, 0.567 max. */
#ifndef MQ_QUANT_PUBLISHED_KLD_H
#define MQ_QUANT_PUBLISHED_KLD_H

#include "quant/histogram.h"

double mq_published_kld_search(const struct mq_histogram *histogram, float min, float max,
                               const struct mq_scheme *scheme, bool is_non_negative);

#endif
