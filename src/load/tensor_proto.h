/* TensorProto in and out of mq_tensor. */
#ifndef MQ_LOAD_TENSOR_PROTO_H
#define MQ_LOAD_TENSOR_PROTO_H

#include "load/external.h"
#include "mqbench/graph.h"

/* "FLOAT", "BFLOAT16", ... for messages; NULL if it is not known. */
const char *mq_onnx_type_name(int64_t data_type);
/* The inverse of mq_dtype_from_onnx. */
int32_t mq_onnx_type_of(mq_dtype dtype);

/* Row-major; `tensor` must be zeroed before and deinited after. It may borrow from `proto` or `external`.
 * With `widens`, float16, bfloat16 and double become float32. The data must have exactly the size that type
 * and dims say, whether raw, typed or external. Bools become 0 or 1. `what` names file
 * and tensor: "m.onnx: initializer 'w'". */
mq_status mq_onnx_tensor_get(struct mq_tensor *tensor, const Onnx__TensorProto *proto, bool widens,
                             const char *what, struct mq_onnx_external *external,
                             struct mq_err *err) MQ_MUST_CHECK;

/* Bits of an element where several share a byte; else 0. */
int mq_onnx_packed_bits(const Onnx__TensorProto *proto);
/* Such a tensor as int8 or uint8; owned. */
mq_status mq_onnx_tensor_get_packed(struct mq_tensor *tensor, const Onnx__TensorProto *proto,
                                    const char *what, struct mq_onnx_external *external,
                                    struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_onnx_tensor_shape(struct mq_shape *shape, const Onnx__TensorProto *proto, const char *what,
                               struct mq_err *err) MQ_MUST_CHECK;

#endif
