/* The quantizers' tables, and the parts that several of them are made of. */
#ifndef MQ_QUANT_QUANTIZERS_QUANTIZERS_H
#define MQ_QUANT_QUANTIZERS_QUANTIZERS_H

#include "mqbench/quant.h"

extern const struct mq_quantizer_ops mq_quantizer_lsq, mq_quantizer_lsq_plus, mq_quantizer_pact,
    mq_quantizer_dorefa, mq_quantizer_dsq, mq_quantizer_qil, mq_quantizer_apot, mq_quantizer_tqt,
    mq_quantizer_lqnet, mq_quantizer_nnie, mq_quantizer_minmax;

/* Whether a table is whole, as mq_quantizer_load asks of plug-ins: what is missing, or NULL. */
const char *mq_quantizer_defect(const struct mq_quantizer_ops *quantizer);

#endif
