/* The ops: each in the file of its steps. */
#ifndef MQ_RUNTIME_OPS_H
#define MQ_RUNTIME_OPS_H

#include "runtime/internal.h"

extern const struct runtime_op runtime_op_columns, runtime_op_depthwise, runtime_op_winograd,
    runtime_op_layer, runtime_op_quantize, runtime_op_dequantize, runtime_op_table, runtime_op_reshape,
    runtime_op_affine, runtime_op_clip, runtime_op_add, runtime_op_add_floats, runtime_op_max,
    runtime_op_average, runtime_op_concat, runtime_op_layer_float, runtime_op_transposed, runtime_op_unary,
    runtime_op_binary, runtime_op_mean, runtime_op_pick, runtime_op_pad;

#endif
