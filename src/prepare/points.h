/* From placements to FakeQuantize nodes and the table of points. */
#ifndef MQ_PREPARE_POINTS_H
#define MQ_PREPARE_POINTS_H

#include "prepare/rewrite.h"

/* Fills prepared->points and puts a FakeQuantize behind every tensor that gets one. Placements that overrides
 * keep float are skipped. Weight constants that two ops read with different schemes are doubled; the second
 * one's new name is noted in `log`. */
mq_status mq_points_insert(struct mq_prepared *prepared, const struct mq_target *target,
                           const struct mq_placement *placements, size_t n_placements,
                           struct mq_rename_log *log, struct mq_err *err) MQ_MUST_CHECK;

#endif
