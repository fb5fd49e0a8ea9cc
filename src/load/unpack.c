/* Unpacking under a cap. */
#include "load/unpack.h"

#include "load/scan.h"

static void *allocate(void *context, size_t n) {
  struct mq_onnx_message *unpacked = context;
  if (n > unpacked->limit_bytes - unpacked->n_bytes) {
    unpacked->is_exhausted = true;
    return NULL;
  }
  void *block = mq_alloc(n, 1);
  if (!block) {
    unpacked->is_out_of_memory = true;
    return NULL;
  }
  unpacked->n_bytes += n;
  return block;
}

static void release(void *context, void *block) {
  (void)context;
  mq_free(block);
}

mq_status mq_onnx_unpack(struct mq_onnx_message *unpacked, const uint8_t *bytes, size_t n,
                         const ProtobufCMessageDescriptor *descriptor, const char *name, struct mq_err *err) {
  *unpacked = (struct mq_onnx_message){
      .limit_bytes = MQ_ONNX_UNPACK_BASE_BYTES + MQ_ONNX_UNPACK_FACTOR * n,
      .allocator = {.alloc = allocate, .free = release, .allocator_data = unpacked},
  };
  if (n > INT32_MAX) {
    return mq_fail(err, MQ_BAD_INPUT,
                   "%s: %zu bytes, expected at most 2147483647 (store large weights as external data)", name,
                   n);
  }
  mq_status status = mq_onnx_scan(bytes, n, descriptor, name, err);
  if (status != MQ_OK) {
    return status;
  }
  unpacked->message = protobuf_c_message_unpack(descriptor, &unpacked->allocator, n, bytes);
  if (unpacked->message) {
    return MQ_OK;
  }
  if (unpacked->is_out_of_memory) {
    return mq_fail(err, MQ_FAILED, "out of memory: %s (%zu bytes)", name, n);
  }
  if (unpacked->is_exhausted) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: takes more memory to unpack than allowed (%zu bytes, file %zu)",
                   name, unpacked->n_bytes, n);
  }
  return mq_fail(err, MQ_BAD_INPUT, "%s: not an ONNX file or damaged: a field of %s has another type", name,
                 descriptor->short_name);
}

void mq_onnx_message_deinit(struct mq_onnx_message *unpacked) {
  if (unpacked->message) {
    protobuf_c_message_free_unpacked(unpacked->message, &unpacked->allocator);
  }
  *unpacked = (struct mq_onnx_message){0};
}

void mq_onnx_message_drop_raw(struct mq_onnx_message *unpacked, Onnx__TensorProto *tensor) {
  if (tensor->has_raw_data) {
    unpacked->allocator.free(unpacked->allocator.allocator_data, tensor->raw_data.data);
    tensor->raw_data = (ProtobufCBinaryData){0};
    tensor->has_raw_data = 0;
  }
}
