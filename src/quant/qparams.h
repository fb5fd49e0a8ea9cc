/* From ranges to scales and zero points, with the sign of the data said apart: a range may be narrower than
 * the data (quantiles, means over batches), so its lower end does not tell whether the data was >= 0. */
#ifndef MQ_QUANT_QPARAMS_H
#define MQ_QUANT_QPARAMS_H

#include "mqbench/quant.h"

/* As mq_qparams_from_range; is_non_negative: no calibration data of any channel was below 0. */
void mq_qparams_from_observed(struct mq_qparams *out, const struct mq_scheme *scheme,
                              const struct mq_range *range, bool is_non_negative, const float *least_scale);

/* 2^rne(log2 scale), exactly; within the normal floats. scale > 0 and finite. */
float mq_scale_to_pot(float scale);

/* double to float32 without leaving the finite range. */
float mq_to_finite_float(double x);

#endif
