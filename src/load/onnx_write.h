/* Inside of the ONNX writer: a ModelProto built in an arena; weights are borrowed from the graph. */
#ifndef MQ_LOAD_ONNX_WRITE_H
#define MQ_LOAD_ONNX_WRITE_H

#include <onnx.pb-c.h>

#include "mqbench/load.h"

#define MQ_ONNX_MAX_DOMAINS 4

struct mq_onnx_writer {
  const char *name; /* the file, for messages */
  const struct mq_graph *graph;
  struct mq_arena arena;
  Onnx__GraphProto *proto;
  size_t capacity_nodes, capacity_initializers;
  const char *domains[MQ_ONNX_MAX_DOMAINS]; /* of Foreign nodes, each imported in version 1 */
  size_t n_domains;
  mq_onnx_packed_fn packed; /* NULL: no constant is packed */
  void *packed_context;
};

/* Appends to the graph under construction. What it points at must live as long as the writer. */
mq_status mq_onnx_append_node(struct mq_onnx_writer *writer, Onnx__NodeProto *node,
                              struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_onnx_append_tensor(struct mq_onnx_writer *writer, const char *name,
                                const struct mq_tensor *tensor, struct mq_err *err) MQ_MUST_CHECK;
/* A node with room for its inputs and outputs (all ""). */
mq_status mq_onnx_new_node(Onnx__NodeProto **node, struct mq_onnx_writer *writer, const char *op_type,
                           const char *name, size_t n_inputs, size_t n_outputs,
                           struct mq_err *err) MQ_MUST_CHECK;

mq_status mq_onnx_new_tensor(Onnx__TensorProto **proto, struct mq_onnx_writer *writer, const char *name,
                             const struct mq_tensor *tensor, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_onnx_write_node(struct mq_onnx_writer *writer, const struct mq_node *node,
                             struct mq_err *err) MQ_MUST_CHECK;

/* Constants in which MQ_DIM_BATCH stands for the number of images, which ONNX has no literal for. */
bool mq_onnx_has_batch(const struct mq_value *value);
mq_status mq_onnx_write_batch_constant(struct mq_onnx_writer *writer, const struct mq_value *value,
                                       struct mq_err *err) MQ_MUST_CHECK;

#endif
