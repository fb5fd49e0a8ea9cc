/* Where the points of a prepared graph stand. */
#ifndef MQ_TUNE_POINTS_H
#define MQ_TUNE_POINTS_H

#include "mqbench/tune.h"

/* The FakeQuantize node of every point (NULL: none). `nodes` has prepared->n_points entries. */
mq_status tune_find_nodes(const struct mq_node **nodes, const struct mq_prepared *prepared,
                          struct mq_err *err) MQ_MUST_CHECK;
/* The constant behind a value, through fake quantization; NULL if it is computed. */
const struct mq_tensor *tune_constant_behind(const struct mq_value *value);
/* The activation point whose scale a value carries: its FakeQuantize, or one behind operators that only move
 * values. SIZE_MAX: none. */
size_t tune_point_behind(const struct mq_prepared *prepared, const struct mq_value *value);
/* Weights as rows, one per channel: rows[n_channels x row_count]. Borrows the tensor's memory where the
 * channel axis is the first (or there is none); otherwise *owned is a copy to be freed with mq_free. */
mq_status tune_weight_rows(const float **rows, float **owned, int64_t *row_count,
                           const struct mq_tensor *weights, int64_t n_channels, int channel_axis,
                           struct mq_err *err) MQ_MUST_CHECK;
/* The other way: rows[n_rows x row_count] into the tensor. */
void tune_store_rows(struct mq_tensor *weights, const float *rows, int64_t n_rows, int axis);
/* The dimension of a weight that counts output channels, where the scale is per tensor too: the operator that
 * reads it says which. `node` is the point's FakeQuantize. */
int tune_row_axis(const struct mq_point *point, const struct mq_node *node);
/* Where the bias is int32: what a weight's scales must reach, n_channels floats to be freed with mq_free;
 * NULL where nothing is asked for. */
mq_status tune_least_scales(float **least, const struct mq_prepared *prepared, const struct mq_node *node,
                            const struct mq_point *point, mq_bias_form bias,
                            struct mq_err *err) MQ_MUST_CHECK;

#endif
