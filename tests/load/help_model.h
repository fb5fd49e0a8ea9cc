/* Small ONNX models built in memory, to be bent by the tests; and graphs compared. */
#ifndef MQ_TESTS_HELP_MODEL_H
#define MQ_TESTS_HELP_MODEL_H

#include "common.h"
#include "load/onnx.h"

/* input "x" [N,3,4,4] -> Conv "conv" ("w" [2,3,1,1], "b" [2]) -> "c" -> Relu "relu" -> "y" [N,2,4,4],
 * opset 13. Every part is a field, ready to be changed before help_model_parse. */
struct help_model {
  Onnx__ModelProto model;
  Onnx__GraphProto graph;
  Onnx__OperatorSetIdProto opset, *opsets[1];
  Onnx__NodeProto conv, relu, extra, *nodes[3]; /* extra is not listed: set graph.n_node = 3 */
  Onnx__TensorProto w, b, *tensors[2];
  Onnx__ValueInfoProto x, y, *inputs[1], *outputs[1];
  Onnx__TypeProto x_type, y_type;
  Onnx__TypeProto__Tensor x_tensor, y_tensor;
  Onnx__TensorShapeProto x_shape;
  Onnx__TensorShapeProto__Dimension x_dims[4], *x_dim_list[4];
  Onnx__AttributeProto attribute, *attributes[1]; /* not listed */
  char *conv_inputs[3], *conv_outputs[1], *relu_inputs[1], *relu_outputs[1], *extra_inputs[4],
      *extra_outputs[4];
  int64_t w_dims[4], b_dims[1];
  float w_data[6], b_data[2];
};
void help_model_init(struct help_model *model);
/* Packs into malloc'ed bytes. */
uint8_t *help_model_pack(size_t *n, const struct help_model *model);
mq_status help_model_parse(struct mq_graph **graph, const struct help_model *model, struct mq_err *err);

/* Paths of tests/load/models/NAME.onnx, and all their names without extension, sorted (free with free). */
const char *help_path(const char *name, const char *extension);
size_t help_names(char ***names);
void help_read_file(uint8_t **bytes, size_t *n, const char *path); /* malloc */

/* Fails the test where two graphs differ in order, ops, names, attributes, shapes, dtypes or constants. A
 * batch in a Reshape's shape may be MQ_DIM_BATCH, 0 or -1. */
void assert_graphs_equal(const struct mq_graph *a, const struct mq_graph *b);

#endif
