/* The ops: each in the file of its steps. */
#ifndef MQ_RUNTIME_OPS_H
#define MQ_RUNTIME_OPS_H

#include "runtime/internal.h"

extern const struct runtime_op runtime_op_concat, runtime_op_layer;

#endif
