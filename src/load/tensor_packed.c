/* Integers of 4 and 2 bits: packed into bytes, low bits first, the last byte filled up with anything. */
#include "load/tensor_proto.h"

#include <string.h>

#include "mqbench/load.h"

int mq_onnx_packed_bits(const Onnx__TensorProto *proto) {
  switch (proto->data_type) {
    case MQ_ONNX_UINT4:
    case MQ_ONNX_INT4:
      return 4;
    case MQ_ONNX_UINT2:
    case MQ_ONNX_INT2:
      return 2;
    default:
      return 0;
  }
}

/* The packed bytes: as they lie, or from the typed field, where each number is a byte. */
static mq_status get_bytes(const uint8_t **bytes, uint8_t **owned, const Onnx__TensorProto *proto,
                           size_t n_bytes, const char *what, struct mq_onnx_external *external,
                           struct mq_err *err) {
  bool is_external =
      proto->has_data_location && proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
  size_t found = proto->has_raw_data ? proto->raw_data.len : proto->n_int32_data;
  if (is_external) {
    return mq_onnx_external_get(bytes, external, proto, n_bytes, what, err);
  }
  if (found != n_bytes) {
    return mq_fail(err, MQ_BAD_INPUT, "%s has %zu bytes of data, expected %zu by type and shape", what, found,
                   n_bytes);
  }
  if (proto->has_raw_data) {
    *bytes = proto->raw_data.data;
    return MQ_OK;
  }
  *owned = mq_alloc(n_bytes + 1, 1);
  if (!*owned) {
    return mq_fail_memory(err, what);
  }
  for (size_t i = 0; i < n_bytes; i++) {
    (*owned)[i] = (uint8_t)proto->int32_data[i];
  }
  *bytes = *owned;
  return MQ_OK;
}

mq_status mq_onnx_tensor_get_packed(struct mq_tensor *tensor, const Onnx__TensorProto *proto,
                                    const char *what, struct mq_onnx_external *external, struct mq_err *err) {
  const int bits = mq_onnx_packed_bits(proto), per_byte = 8 / bits;
  const bool is_signed = proto->data_type == MQ_ONNX_INT4 || proto->data_type == MQ_ONNX_INT2;
  const uint8_t *bytes = NULL;
  uint8_t *owned = NULL;
  struct mq_shape shape;
  int64_t n = 0;
  *tensor = (struct mq_tensor){0};
  mq_status status = mq_onnx_tensor_shape(&shape, proto, what, err);
  if (status == MQ_OK) {
    status = mq_shape_elements(&n, &shape, what, err);
  }
  if (status == MQ_OK) {
    size_t n_bytes = (size_t)(n / per_byte + (n % per_byte > 0));
    status = get_bytes(&bytes, &owned, proto, n_bytes, what, external, err);
  }
  if (status == MQ_OK) {
    status = mq_tensor_init(tensor, is_signed ? MQ_I8 : MQ_U8, &shape, err);
  }
  for (int64_t i = 0; status == MQ_OK && i < n; i++) {
    int code = bytes[i / per_byte] >> (bits * (int)(i % per_byte)) & ((1 << bits) - 1);
    int wrap = is_signed && code >= 1 << (bits - 1) ? 1 << bits : 0;
    ((uint8_t *)tensor->data)[i] = (uint8_t)(code - wrap);
  }
  mq_free(owned);
  return status;
}
