/* ONNX in and out. */
#ifndef MQBENCH_LOAD_H
#define MQBENCH_LOAD_H

#include "mqbench/graph.h"

struct mq_onnx_options {
  bool batch_is_fixed; /* keep the file's first dimension as it is (operator tests) */
  /* Graph inputs to freeze to these tensors before inference (operator tests): parallel arrays. */
  const char *const *frozen_names;
  const struct mq_tensor *const *frozen;
  size_t n_frozen;
  /* Constants of 4 and 2 bits, which become int8 and uint8 with their value's packed_bits set: for those who
   * look at that. Otherwise they are refused. */
  bool takes_packed;
};

/* Reads an ONNX model (opset 7 and later): initialisers in the file or as external data inside the model's
 * own folder; float16, bfloat16 and double constants become float32. The graph is sorted, inferred, folded,
 * pruned and verified. The bytes are scanned iteratively (nesting, message count, sizes) before protobuf-c
 * unpacks them. MQ_BAD_INPUT: one line that names file, node, found, expected; an unsupported operator is
 * named with its node and the list of supported ones, an unknown attribute with the known ones. Subgraphs,
 * sparse tensors, strings, sequences and domains other than ai.onnx are refused. An input's first dimension
 * that the file leaves open is the batch; only where none is open may a number be one (mq_graph_infer).
 * A Sum becomes Adds. INT64_MIN in a file's integers becomes INT64_MIN + 1, because the former is
 * MQ_DIM_BATCH. `options` may be NULL. */
mq_status mq_onnx_read(struct mq_graph **graph, const char *path, const struct mq_onnx_options *options,
                       struct mq_err *err) MQ_MUST_CHECK;

/* Writes a graph as ONNX with its opset (MQ_DIM_BATCH as the symbol "N"), to a temporary name and renamed.
 * In constants the batch is written as 0 or -1 behind a Reshape, otherwise computed from an input's shape.
 * A model over 2 GB is MQ_BAD_INPUT.
 * A Foreign node is written as the operator that its attributes name; its domain is imported in version 1.
 * FakeQuantize has no ONNX form here: MQ_BAD_USAGE (exporters replace it first).
 * Load, save, load gives the same graph; the bytes depend on the graph only. */
mq_status mq_onnx_write(const char *path, const struct mq_graph *graph, struct mq_err *err) MQ_MUST_CHECK;

/* Attributes of a Foreign node. */
#define MQ_ONNX_OP "onnx_op"
#define MQ_ONNX_DOMAIN "onnx_domain"

/* Integers of 4 and 2 bits, packed low bits first (TensorProto.DataType). */
typedef enum mq_onnx_packed {
  MQ_ONNX_UNPACKED = 0,
  MQ_ONNX_UINT4 = 21,
  MQ_ONNX_INT4 = 22,
  MQ_ONNX_UINT2 = 25,
  MQ_ONNX_INT2 = 26,
} mq_onnx_packed;
/* The type in which an int8 or uint8 constant is stored; its elements must fit it. */
typedef mq_onnx_packed (*mq_onnx_packed_fn)(void *context, const struct mq_value *value);
/* mq_onnx_write with constants of fewer than 8 bits. */
mq_status mq_onnx_write_packed(const char *path, const struct mq_graph *graph, mq_onnx_packed_fn packed,
                               void *context, struct mq_err *err) MQ_MUST_CHECK;

#endif
