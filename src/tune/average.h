/* The moving average of everything a run learns (EMA): judged and kept instead of the last step's values. */
#ifndef MQ_TUNE_AVERAGE_H
#define MQ_TUNE_AVERAGE_H

#include "mqbench/tune.h"

/* Floats of all variables of a trainer together. */
size_t tune_average_count(const struct mq_trainer *trainer);
/* average = the variables as they are. */
void tune_average_begin(float *average, const struct mq_trainer *trainer);
/* average += (1 - decay) (variable - average), in float32. */
void tune_average_add(float *average, const struct mq_trainer *trainer, double decay);
/* Exchanges the two: once before the network is judged, once after. */
void tune_average_swap(float *average, const struct mq_trainer *trainer);

#endif
