#include "program/ops.h"

static const struct program_op *const table[MQ_STEP_END] = {
    [MQ_STEP_QUANTIZE] = &program_op_quantize,
    [MQ_STEP_DEQUANTIZE] = &program_op_dequantize,
    [MQ_STEP_CONV] = &program_op_conv,
    [MQ_STEP_LINEAR] = &program_op_linear,
    [MQ_STEP_ADD] = &program_op_add,
    [MQ_STEP_AVERAGE] = &program_op_average,
    [MQ_STEP_MEAN] = &program_op_mean,
    [MQ_STEP_TABLE] = &program_op_table,
    [MQ_STEP_MAX] = &program_op_max,
    [MQ_STEP_CONCAT] = &program_op_concat,
    [MQ_STEP_PAD] = &program_op_pad,
    [MQ_STEP_SLICE] = &program_op_slice,
    [MQ_STEP_GATHER] = &program_op_gather,
    [MQ_STEP_TRANSPOSE] = &program_op_transpose,
    [MQ_STEP_RESHAPE] = &program_op_reshape,
    [MQ_STEP_AFFINE] = &program_op_affine,
    [MQ_STEP_UNARY] = &program_op_unary,
    [MQ_STEP_BINARY] = &program_op_binary,
    [MQ_STEP_SOFTMAX] = &program_op_softmax,
    [MQ_STEP_CONV_FLOAT] = &program_op_conv_float,
    [MQ_STEP_LINEAR_FLOAT] = &program_op_linear_float,
};

const struct program_op *program_op_get(mq_step_kind kind) {
  return (unsigned)kind < MQ_STEP_END ? table[kind] : NULL;
}

const char *mq_step_kind_name(mq_step_kind kind) {
  const struct program_op *op = program_op_get(kind);
  return op != NULL ? op->name : "?";
}
