/* Charts of what trainings recorded on their way, as inline SVG. */
#ifndef MQ_REPORT_CURVES_H
#define MQ_REPORT_CURVES_H

#include <stdio.h>

#include "report/trainings.h"

/* Which stroke is which training. */
void mq_curve_legend(FILE *out, const struct mq_training_group *group);
/* Training loss, training accuracy and test accuracy over epochs, side by side. */
void mq_curve_charts(FILE *out, const struct mq_training_group *group);

/* Clipping ranges over training: a small chart for each tensor of one kind ("weight", "activation"). */
#define MQ_CURVE_MAX_TENSORS 60
void mq_curve_ranges(FILE *out, const struct mq_training_group *group, const char *kind);
/* Is there more than one moment of which ranges are known? */
bool mq_curve_has_ranges(const struct mq_training_group *group);

#endif
