/* Inside of load: models in memory, and the model while it becomes a graph. */
#ifndef MQ_LOAD_ONNX_H
#define MQ_LOAD_ONNX_H

#include "load/external.h"
#include "load/unpack.h"
#include "mqbench/load.h"

#define MQ_ONNX_LEAST_IR 3
#define MQ_ONNX_LEAST_OPSET 7

/* mq_onnx_read for bytes in memory (the fuzzer's entry). `name` stands in messages; external data is looked
 * for in `directory`, refused if that is NULL. */
mq_status mq_onnx_parse(struct mq_graph **graph, const uint8_t *bytes, size_t n, const char *name,
                        const char *directory, const struct mq_onnx_options *options,
                        struct mq_err *err) MQ_MUST_CHECK;

/* mq_onnx_write to memory: *bytes is freed with mq_free. */
mq_status mq_onnx_format(uint8_t **bytes, size_t *n, const struct mq_graph *graph, const char *name,
                         struct mq_err *err) MQ_MUST_CHECK;

struct mq_onnx_reader {
  const char *name; /* the file, for messages */
  struct mq_graph *graph;
  struct mq_onnx_message message; /* a ModelProto */
  struct mq_onnx_external external;
  const struct mq_onnx_options *options; /* never NULL */
};

/* Adds a constant called `name`, widened to float32 where it is another float; the raw bytes are freed. */
mq_status mq_onnx_add_tensor(struct mq_onnx_reader *reader, const char *name, Onnx__TensorProto *proto,
                             const char *what, struct mq_err *err) MQ_MUST_CHECK;
/* All nodes of the graph: Constant nodes become constants first, so that order in the file does not matter.
 */
mq_status mq_onnx_read_nodes(struct mq_onnx_reader *reader, const Onnx__GraphProto *proto,
                             struct mq_err *err) MQ_MUST_CHECK;
/* Attributes of a node; unknown names are refused (a newer form of the operator would be misread). `label`
 * names file and node. */
mq_status mq_onnx_read_attributes(struct mq_onnx_reader *reader, struct mq_node *node,
                                  const Onnx__NodeProto *proto, const char *label,
                                  struct mq_err *err) MQ_MUST_CHECK;

/* An attribute's type; deduced from the field in use where old files leave it out. */
Onnx__AttributeProto__AttributeType mq_onnx_attribute_type(const Onnx__AttributeProto *attribute);

/* INT64_MIN in a file means "as low as possible" (the start of a slice); in the graph it is MQ_DIM_BATCH, so
 * it becomes INT64_MIN + 1, which is as low. */
static inline void mq_onnx_avoid_batch(int64_t *ints, size_t n) {
  for (size_t i = 0; i < n; i++) {
    ints[i] += ints[i] == MQ_DIM_BATCH;
  }
}

/* Absent strings are NULL in protobuf-c. */
static inline const char *mq_onnx_text(const char *text) {
  return text ? text : "";
}

#endif
