/* A TensorFlow Lite file as plain tables, and writing it. The one file in C++, tflite_file.cpp, turns them
 * into a FlatBuffer; a build without FlatBuffers has no such file. */
#ifndef MQ_DEPLOY_TFLITE_FILE_H
#define MQ_DEPLOY_TFLITE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mqbench/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TFLITE_MAX_RANK 7 /* the batch and a program's six */
#define TFLITE_MAX_INPUTS 4

/* Numbers of the format. */
typedef enum tflite_type {
  TFLITE_FLOAT32 = 0,
  TFLITE_INT32 = 2,
  TFLITE_INT8 = 9,
} tflite_type;

typedef enum tflite_padding {
  TFLITE_SAME = 0,
  TFLITE_VALID = 1,
} tflite_padding;

typedef enum tflite_activation {
  TFLITE_NONE = 0,
  TFLITE_RELU = 1,
  TFLITE_RELU_N1_TO_1 = 2,
  TFLITE_RELU6 = 3,
} tflite_activation;

typedef enum tflite_code {
  TFLITE_ADD = 0,
  TFLITE_AVERAGE_POOL_2D = 1,
  TFLITE_CONCATENATION = 2,
  TFLITE_CONV_2D = 3,
  TFLITE_DEPTHWISE_CONV_2D = 4,
  TFLITE_DEQUANTIZE = 6,
  TFLITE_FULLY_CONNECTED = 9,
  TFLITE_LOGISTIC = 14,
  TFLITE_MAX_POOL_2D = 17,
  TFLITE_MUL = 18,
  TFLITE_RESHAPE = 22,
  TFLITE_SOFTMAX = 25,
  TFLITE_PAD = 34,
  TFLITE_GATHER = 36,
  TFLITE_TRANSPOSE = 39,
  TFLITE_MEAN = 40,
  TFLITE_SUB = 41,
  TFLITE_DIV = 42,
  TFLITE_STRIDED_SLICE = 45,
  TFLITE_PRELU = 54,
  TFLITE_MAXIMUM = 55,
  TFLITE_MINIMUM = 57,
  TFLITE_PADV2 = 60,
  TFLITE_TRANSPOSE_CONV = 67,
  TFLITE_SHAPE = 77,
  TFLITE_LEAKY_RELU = 98,
  TFLITE_QUANTIZE = 114,
  TFLITE_HARD_SWISH = 117,
} tflite_code;

struct tflite_tensor {
  const char *name;
  tflite_type type;
  int rank; /* with the batch, where there is one: then shape[0] is 1 and stands for any number */
  int32_t shape[TFLITE_MAX_RANK];
  bool has_batch;
  const void *data; /* NULL: made by an operator, or an input */
  size_t bytes;     /* of data */
  const float *scales;
  size_t n_scales; /* 0: not quantized */
  int32_t zero_point, quantized_dimension;
};

struct tflite_operator {
  tflite_code code;
  uint32_t inputs[TFLITE_MAX_INPUTS];
  const uint32_t *more_inputs; /* instead of `inputs`, where there are more */
  uint32_t n_inputs, output;
  /* What the operator's options need of these; the others are 0. */
  tflite_padding padding;
  tflite_activation activation;
  int32_t stride[2], dilation[2], kernel[2]; /* rows, columns */
  int32_t multiplier, axis, begin_mask, end_mask;
  bool keeps_dimensions;
  float alpha;
};

struct tflite_model {
  const char *name, *describes;
  const struct tflite_tensor *tensors;
  const struct tflite_operator *operators; /* in the order of execution */
  const uint32_t *inputs, *outputs;
  uint32_t n_tensors, n_operators, n_inputs, n_outputs;
};

/* The file's bytes; freed with mq_free. They depend on the tables only. */
mq_status tflite_serialize(void **bytes, size_t *n, const struct tflite_model *model,
                           struct mq_err *err) MQ_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
