/* Bytes to protobuf-c's structs: scanned first, then unpacked by an allocator with a cap. */
#ifndef MQ_LOAD_UNPACK_H
#define MQ_LOAD_UNPACK_H

#include <onnx.pb-c.h>

#include "mqbench/base.h"

/* What unpacking may take: 64 MiB + 16 bytes per byte of the file (a small attribute grows most). */
#define MQ_ONNX_UNPACK_BASE_BYTES ((size_t)64 << 20)
#define MQ_ONNX_UNPACK_FACTOR 16

/* An unpacked message. Zero-initialised, or set by mq_onnx_unpack. */
struct mq_onnx_message {
  ProtobufCMessage *message;
  ProtobufCAllocator allocator;
  size_t n_bytes, limit_bytes;
  bool is_exhausted;     /* its own cap was met */
  bool is_out_of_memory; /* the process's */
};

mq_status mq_onnx_unpack(struct mq_onnx_message *unpacked, const uint8_t *bytes, size_t n,
                         const ProtobufCMessageDescriptor *descriptor, const char *name,
                         struct mq_err *err) MQ_MUST_CHECK;
void mq_onnx_message_deinit(struct mq_onnx_message *unpacked); /* accepts a zeroed one */
/* Frees one tensor's raw bytes early, so that a model's weights are not held twice. */
void mq_onnx_message_drop_raw(struct mq_onnx_message *unpacked, Onnx__TensorProto *tensor);

#endif
