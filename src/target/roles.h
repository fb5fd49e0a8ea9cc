/* How the quantization rules of a target see each node of a graph. */
#ifndef MQ_TARGET_ROLES_H
#define MQ_TARGET_ROLES_H

#include "mqbench/target.h"

typedef enum mq_role {
  MQ_ROLE_NONE,      /* computes no float tensor */
  MQ_ROLE_LAYER,     /* conv or linear with constant weights, quantized */
  MQ_ROLE_ADD,       /* quantized add */
  MQ_ROLE_PRODUCT,   /* MatMul of two quantized tensors */
  MQ_ROLE_POOL,      /* average with a point on its output */
  MQ_ROLE_POOL_PASS, /* average that keeps its input's scale */
  MQ_ROLE_CONCAT,    /* inputs and output share one scale */
  MQ_ROLE_PASS,      /* values only move: scale passed on */
  MQ_ROLE_CLIP,      /* an activation function of its own, with a point behind it */
  MQ_ROLE_FUSED,     /* activation function, kept BN or bias that belongs to the op before it */
  MQ_ROLE_FLOAT,     /* float by the target's rule */
  MQ_ROLE_ISLAND,    /* float because there is no rule */
} mq_role;

/* Everything about one node that does not depend on where points are. */
struct mq_node_role {
  mq_role role;
  const char *reason;               /* of an island */
  bool is_kept_float;               /* the island is an override's wish */
  struct mq_value *result;          /* output after fused nodes: what may be a point */
  const struct mq_node *activation; /* the last fused activation function, or NULL */
  int main_input;                   /* ADD: the operand that comes unquantized from its conv; -1: none */
  int depth;                        /* layers, adds and averages on the longest path from the inputs */
};

/* All nodes, indexed by node->index; `roles` has graph->n_nodes zeroed entries. */
mq_status mq_roles_assign(struct mq_node_role *roles, const struct mq_target *target,
                          const struct mq_graph *graph, struct mq_err *err) MQ_MUST_CHECK;

/* A conv or linear with constant weights (in *op), whatever the target makes of it. */
bool mq_is_layer(mq_quant_op *op, const struct mq_node *node);
/* The quantized op class of any node: layers, Add, averages. */
bool mq_quant_op_of(mq_quant_op *op, const struct mq_node *node);
/* An averaging pool over the whole plane (H and W of N x C x H x W). */
bool mq_is_global_pool(const struct mq_node *node);
/* Values only move and every scale fits the output: MaxPool, Reshape, a Pad with zeros, Resize by nearest, a
 * Relu on its own ... */
bool mq_moves_values(const struct mq_node *node);
/* The axis of a layer's weight constant that counts output channels; -1 where no axis does. */
int mq_weight_axis(const struct mq_node *layer);

#endif
