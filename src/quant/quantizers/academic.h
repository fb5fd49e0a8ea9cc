/* What the methods share that are defined in the academic setting only: one symmetric float scale a tensor.
 */
#ifndef MQ_QUANT_QUANTIZERS_ACADEMIC_H
#define MQ_QUANT_QUANTIZERS_ACADEMIC_H

#include "quant/quantizers/quantizers.h"

/* Refuses what mq_quantizer_check_kind does, and every scheme but per-tensor, symmetric, float scale;
 * weights: signed. */
mq_status mq_quantizer_check_academic(const struct mq_quantizer_ops *quantizer,
                                      const struct mq_quantizer_config *config, const char *what,
                                      struct mq_err *err) MQ_MUST_CHECK;

/* max|x| as the scale tells it that an observer of extrema answered for channel 0 (the inverse of
 * mq_qparams_from_range). */
double mq_observed_magnitude(const struct mq_quantizer_config *config, const struct mq_qparams *observed);

/* Fills a grid of one scale with zero point 0. */
void mq_set_symmetric_grid(struct mq_qparams *out, double scale, int32_t quant_min, int32_t quant_max);

#endif
