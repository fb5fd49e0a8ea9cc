/* Inside of the exporters: the registry's tables, and rewriting a bundle's graph into a file's. */
#ifndef MQ_DEPLOY_EXPORT_H
#define MQ_DEPLOY_EXPORT_H

#include <jansson.h>

#include "mqbench/deploy.h"

extern const struct mq_exporter mq_exporter_onnx_qdq;

/* ---- A graph on its way to a file. The first failure stays in `status`; calls after it do nothing and
 * answer NULL. ------------------------------------------------------------------------------------------- */
struct deploy_edit {
  struct mq_graph *graph; /* a copy of the bundle's */
  const struct mq_bundle *bundle;
  struct mq_err *err;
  mq_status status;
};
void deploy_edit_begin(struct deploy_edit *edit, const struct mq_bundle *bundle, struct mq_err *err);
/* Sorts, drops what nobody reads any more and checks. */
void deploy_edit_end(struct deploy_edit *edit);
/* A name in the graph's arena: `name` and `suffix`. */
const char *deploy_edit_name(struct deploy_edit *edit, const char *name, const char *suffix);
struct mq_value *deploy_edit_constant(struct deploy_edit *edit, const char *name, mq_dtype dtype,
                                      const struct mq_shape *shape, const void *data);
/* One number: rank 0; n numbers: rank 1. */
struct mq_value *deploy_edit_floats(struct deploy_edit *edit, const char *name, const float *x, int64_t n,
                                    bool is_scalar);
/* Of one or more int32, as `dtype`. */
struct mq_value *deploy_edit_ints(struct deploy_edit *edit, const char *name, mq_dtype dtype,
                                  const int32_t *x, int64_t n, bool is_scalar);
/* A node called as its output; `output` NULL: a value of `dtype` with input 0's shape is made for it. */
struct mq_node *deploy_edit_node(struct deploy_edit *edit, mq_op op, const char *name,
                                 struct mq_value *const *inputs, int n_inputs, mq_dtype dtype,
                                 struct mq_value *output);
void deploy_edit_set_input(struct deploy_edit *edit, struct mq_node *node, int input, struct mq_value *value);
void deploy_edit_rename(struct deploy_edit *edit, struct mq_value *value, const char *name);
/* A model of an older opset gets the forms of `opset` (13 or 21), if it is below. */
void deploy_edit_raise_opset(struct deploy_edit *edit, int opset);

/* ---- Points of a graph --------------------------------------------------------------------------------- */
/* The point of a FakeQuantize node; NULL for any other node. */
const struct mq_point *deploy_point_of(const struct mq_bundle *bundle, const struct mq_node *node);
/* The FakeQuantize node whose grid the values of `value` lie on: its producer, or one further up behind ops
 * that only move values and behind averages that keep their input's scale. NULL: the value is float. */
struct mq_node *deploy_grid_of(const struct mq_bundle *bundle, const struct mq_value *value);
/* A conv or linear whose weights are quantized: their point; NULL for any other node. */
const struct mq_point *deploy_layer_weights(const struct mq_bundle *bundle, const struct mq_node *node);
/* True where values of the tensor cannot be below zero: an activation function's output. */
bool deploy_is_non_negative(const struct mq_value *value);

#endif
