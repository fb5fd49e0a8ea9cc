#include "target/words.h"

#include <string.h>

#define INT32 (1u << MQ_BIAS_INT32)
#define FLOAT32 (1u << MQ_BIAS_FLOAT)
#define POT8 (1u << MQ_BIAS_POT8)

/* Same order as mq_arithmetic_names[1..]; "none" means export and simulation only. */
static const struct mq_arithmetic_traits arithmetics[] = {
    {"dequant_f32", INT32, false, false}, {"fbgemm", FLOAT32, false, false},
    {"ort", INT32, false, false},         {"pot_shift", INT32 | POT8, true, true},
    {"tflite_ref", INT32, false, false},  {"trt_model", FLOAT32, true, false},
    {"xnnpack", INT32, false, false},
};
const char *const mq_arithmetic_names[] = {"none",       "dequant_f32", "fbgemm",  "ort", "pot_shift",
                                           "tflite_ref", "trt_model",   "xnnpack", NULL};

const char *const mq_artefact_names[] = {"onnx_qdq",  "onnx_qoperator", "tensorrt", "snpe", "acl",
                                         "openvino",  "tflite",         "vitis",    "nnie", "ppl_cuda",
                                         "ppl_w8a16", "tengine",        "stpu",     NULL};

const char *const mq_bias_names[] = {"float32", "int32", "pot8", NULL};

const char *const mq_quant_op_words[] = {"Conv",    "Gemm",      "MatMul",  "Add",  "AveragePool",
                                         "Product", "HardSwish", "Sigmoid", "conv", "linear",
                                         "add",     "pool",      NULL};

mq_quant_op mq_quant_op_of_word(int index) {
  static const mq_quant_op ops[] = {MQ_QUANT_CONV, MQ_QUANT_LINEAR,  MQ_QUANT_LINEAR, MQ_QUANT_ADD,
                                    MQ_QUANT_POOL, MQ_QUANT_PRODUCT, MQ_QUANT_UNARY,  MQ_QUANT_UNARY,
                                    MQ_QUANT_CONV, MQ_QUANT_LINEAR,  MQ_QUANT_ADD,    MQ_QUANT_POOL};
  return ops[index];
}

const struct mq_arithmetic_traits *mq_arithmetic_find(const char *name) {
  for (size_t i = 0; i < sizeof arithmetics / sizeof arithmetics[0]; i++) {
    if (!strcmp(arithmetics[i].name, name)) {
      return &arithmetics[i];
    }
  }
  return NULL;
}
