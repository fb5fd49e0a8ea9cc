/* ONNX's node test vectors (Debian: libonnx-testdata): a folder with model.onnx and
 * test_data_set_0/input_0.pb,
 * ..., output_0.pb, ... Read without the reader under test, except for protobuf and TensorProto. */
#ifndef MQ_TESTS_VECTORS_H
#define MQ_TESTS_VECTORS_H

#include "mqbench/tensor.h"

#define VECTORS_MAX 16
#define VECTORS_DIRECTORY "/usr/share/libonnx-testdata/data/node"

enum vector_kind {
  VECTOR_TENSOR,   /* `tensor` holds it, in the file's dtype */
  VECTOR_STRINGS,  /* a tensor of strings */
  VECTOR_COMPLEX,  /* a tensor of another type without a counterpart here */
  VECTOR_SEQUENCE, /* a sequence of tensors */
  VECTOR_OPTIONAL, /* an optional tensor or sequence */
  VECTOR_ABSENT,   /* an empty name: an optional input left out */
};

struct vector_value {
  char name[128]; /* in the graph */
  enum vector_kind kind;
  struct mq_tensor tensor;
};

struct vector_case {
  char model[512]; /* path of model.onnx */
  int opset;
  char op[64]; /* of the first node */
  int n_nodes;
  char attributes[512]; /* of the first node: " name=value name=value" for ints and floats, " name" for others
                         */
  struct vector_value inputs[VECTORS_MAX], outputs[VECTORS_MAX]; /* in the graph's order, no initializers */
  int n_inputs, n_outputs;
};

/* Reads FOLDER (".../test_relu"). The case must be deinited also after a failure. */
mq_status vector_case_init(struct vector_case *test, const char *folder, struct mq_err *err) MQ_MUST_CHECK;
void vector_case_deinit(struct vector_case *test);

#endif
