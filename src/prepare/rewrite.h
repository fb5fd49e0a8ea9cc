/* What the rewrites of this folder share: changing a graph while the user's names survive. */
#ifndef MQ_PREPARE_REWRITE_H
#define MQ_PREPARE_REWRITE_H

#include "mqbench/prepare.h"

/* Tensors that now have another name. Strings live in the graph's arena; the array is the log's own. */
struct mq_rename_log {
  struct mq_rename *items;
  size_t n, capacity;
};
void mq_rename_log_deinit(struct mq_rename_log *log);
/* `log` may be NULL: nothing is noted. */
mq_status mq_rename_log_add(struct mq_rename_log *log, const char *from, const char *to,
                            struct mq_err *err) MQ_MUST_CHECK;

/* mq_prepare_canonical and mq_prepare_fold_bn with a log. */
mq_status mq_rewrite_canonical(struct mq_graph *graph, struct mq_rename_log *log,
                               struct mq_err *err) MQ_MUST_CHECK;

/* A constant of the model, as it was. Name and tensor live in the graph's arena. */
struct mq_kept_constant {
  const char *name; /* NULL: absent */
  const struct mq_tensor *tensor;
};
/* A BN that was folded: into `layer`, or (is_alone) turned into it. */
struct mq_folded_bn {
  struct mq_node *layer;
  bool is_alone;
  struct mq_kept_constant weight, bias; /* the layer's */
  struct mq_kept_constant gamma, beta, mean, variance;
  float epsilon, momentum;
};
struct mq_fold_log {
  struct mq_folded_bn *items;
  size_t n, capacity;
};
void mq_fold_log_deinit(struct mq_fold_log *log);
/* `log` may be NULL: nothing is noted. */
mq_status mq_rewrite_fold_bn(struct mq_graph *graph, bool fold_others, struct mq_fold_log *log,
                             struct mq_err *err) MQ_MUST_CHECK;
/* From strategy 0's form, points inserted, to the training form of a strategy of 1 to 4: the layers compute
 * their folded weights from the model's constants, which are back under their names. Constants that points
 * doubled are one again. */
mq_status mq_rewrite_unfold_bn(struct mq_graph *graph, const struct mq_fold_log *folded,
                               const struct mq_rename_log *renames, mq_bn_fold strategy,
                               struct mq_err *err) MQ_MUST_CHECK;

/* `node` produces `value` instead of its only output, which loses its producer. `value` must have none. */
void mq_rewrite_take_output(struct mq_node *node, struct mq_value *value);
/* Input `input` becomes a constant of its own with this tensor (copied). It bears the old constant's name if
 * nobody else uses that one, `name` if there was none. */
mq_status mq_rewrite_constant(struct mq_graph *graph, struct mq_node *node, int input, const char *name,
                              const struct mq_tensor *tensor, struct mq_err *err) MQ_MUST_CHECK;
/* Removes the trailing inputs from `n_inputs` on. */
mq_status mq_rewrite_drop_inputs(struct mq_graph *graph, struct mq_node *node, int n_inputs,
                                 struct mq_err *err) MQ_MUST_CHECK;
/* "conv1.weight" -> "conv1.bias", anything else "NAME_bias"; in the graph's arena, NULL without memory. */
const char *mq_rewrite_bias_name(struct mq_graph *graph, const struct mq_node *layer);
/* The bias of a layer as one double per output channel (0 without one): constant, a scalar or a vector along
 * the channels. false: it has another form. */
bool mq_read_channel_bias(double *bias, int64_t n_channels, const struct mq_node *layer);
/* Element c of a constant that holds one number, or one per channel along the only dimension that is not 1.
 */
bool mq_is_channel_constant(const struct mq_value *value, int rank, int axis, int64_t n_channels);
/* Output channels of a layer with constant weights. */
int64_t mq_layer_channels(const struct mq_node *layer);

#endif
