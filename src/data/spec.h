/* The data argument KIND:PATH[,key=value...]. */
#ifndef MQ_DATA_SPEC_H
#define MQ_DATA_SPEC_H

#include "mqbench/data.h"

const char *mq_data_kind_name(mq_data_kind kind);
/* Without preset=, mean=, ...: pixel / 255; the formula-driven data is centred. */
struct mq_preprocess mq_preprocess_default(mq_data_kind kind);

#endif
