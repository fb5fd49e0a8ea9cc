/* Rewrites between the loaded graph and one that can be calibrated, trained, lowered. */
#ifndef MQBENCH_PREPARE_H
#define MQBENCH_PREPARE_H

#include "mqbench/target.h"

/* A layer's own wishes: --bits NAME=B, --keep-float NAME, a plan's overrides. `layer` is a node or tensor
 * name, or /regular expression/. */
struct mq_layer_override {
  const char *layer;
  int w_bits, a_bits; /* 0: leave */
  bool keep_float;
};

typedef enum mq_bn_fold {
  MQ_BN_FOLD_TARGET, /* as the target says: strategy 0, or none */
  MQ_BN_FOLD_NONE,
  MQ_BN_FOLD_0, /* merged once, then removed */
  /* In graphs made for training (paper section 3.2), of the operators at the end of ops.def: */
  MQ_BN_FOLD_1, /* folded by the running statistics, which stay; gamma and beta learn */
  MQ_BN_FOLD_2, /* folded by the batch's statistics, which a first convolution with float weights finds */
  MQ_BN_FOLD_3, /* weights folded by the running ones, the output rescaled to the batch's */
  MQ_BN_FOLD_4, /* weights folded by the running ones, the output divided again, then a BN of its own */
} mq_bn_fold;

struct mq_prepare_options {
  int w_bits, a_bits; /* 0: the target's */
  mq_bn_fold bn_fold;
  const struct mq_layer_override *overrides;
  size_t n_overrides;
  bool is_strict; /* float islands are errors */
};

struct mq_rename {
  const char *from, *to; /* to NULL: the tensor vanished (folded or fused) */
};

/* A graph with FakeQuantize nodes and the table of their points. Owns everything. */
struct mq_prepared {
  struct mq_graph *graph;
  struct mq_point *points;
  size_t n_points;
  struct mq_island *islands; /* nodes of `graph` */
  size_t n_islands;
  struct mq_rename *renames;
  size_t n_renames;
};

/* The float graph made fast and canonical, the same for every target: Constant/Identity/Dropout removed, ...
 */
mq_status mq_prepare_canonical(struct mq_graph *graph, struct mq_err *err) MQ_MUST_CHECK;
/* Every BN that directly follows a Conv, ConvTranspose or Gemm is merged into it:
 * w' = w gamma / sqrt(v + e), b' = beta - gamma (mu - b) / sqrt(v + e), in double, rounded once. |gamma| /
 * sqrt is floored at 1e-6, sign kept. Other BNs become 1x1 depthwise convolutions when fold_others. */
mq_status mq_prepare_fold_bn(struct mq_graph *graph, bool fold_others, struct mq_err *err) MQ_MUST_CHECK;
/* model is not changed.
 *
 * Folding 1 to 4 makes a graph for mq_trainer only. Its points (their order, tensors and schemes) are those
 * of folding 0: they are calibrated and get their quantizers there, and mq_copy_quantizers brings them over.
 * The model's constants keep their names, so what was learned is written back into a clone of the model
 * (mq_trainer_export), which is prepared with folding 0 to be deployed; the model must be canonical for that
 * (mq_prepare_canonical), or names would stand for other values. In evaluation the training graph computes
 * the same folded weights, bit for bit; in 1 and 2 the same biases too, in 3 and 4 outputs that differ by
 * rounding (relative 1e-5), and by 1e-6 of a channel whose factor is floored. */
mq_status mq_prepare(struct mq_prepared *prepared, const struct mq_graph *model,
                     const struct mq_target *target, const struct mq_prepare_options *options,
                     struct mq_err *err) MQ_MUST_CHECK;
void mq_prepared_deinit(struct mq_prepared *prepared);
/* The graph that is handed over: points removed, weights on their grid. A new graph. */
mq_status mq_prepare_handover(struct mq_graph **graph, const struct mq_prepared *prepared,
                              struct mq_err *err) MQ_MUST_CHECK;

/* ---- Models that others quantized -------------------------------------------------------------------------
 */
/* Whether the graph holds a QuantizeLinear or DequantizeLinear. */
bool mq_is_qdq(const struct mq_graph *graph);
/* From QuantizeLinear and DequantizeLinear to points: what mq_prepare and calibration make of a float model.
 * The points are the file's. Weights and biases that are stored as integers, or quantized each time, become
 * the real numbers that their codes stand for; a layer's weights of 8 bits or fewer are a point. A tensor
 * that is integers in the file (the network's inputs and outputs too) becomes real. Operators that only move
 * values may stand between the two nodes, and a Clip of the integers, which narrows the point's range.
 * `prepared->islands` are the nodes that such a network computes in floats. `model` is not changed.
 * An activation that has a scale for each channel gets one, the largest, where depthwise convolutions alone
 * read it: the layers take the factors. Elsewhere its point keeps them, which only a simulation can do.
 *
 * MQ_BAD_INPUT names the node: a scale that is computed, not a normal number above 0, or of another shape; an
 * activation with scales along another axis than the channels'; weights whose scales do not lie along the
 * output channels; integers that change their meaning; anything else that computes on integers. */
mq_status mq_prepare_qdq(struct mq_prepared *prepared, const struct mq_graph *model,
                         struct mq_err *err) MQ_MUST_CHECK;
/* The floats of what mq_prepare_qdq made: a new graph without points, whose activations are clipped to their
 * points' ranges but not rounded. Weights stay on their grid. */
mq_status mq_prepare_qdq_float(struct mq_graph **graph, const struct mq_prepared *prepared,
                               struct mq_err *err) MQ_MUST_CHECK;
/* The points of a Q/DQ model in the types of a target: codes move by half the range where the sign differs
 * (the same real numbers). MQ_BAD_INPUT names the first point that contradicts the target's scheme: a zero
 * point where it is symmetric, scales per channel, a scale that is no power of two. Where points are is not
 * compared. */
mq_status mq_prepare_fit_target(struct mq_prepared *prepared, const struct mq_target *target,
                                struct mq_err *err) MQ_MUST_CHECK;

#endif
