/* TensorProto: three places where the elements may be (raw, typed fields, external), sixteen types. */
#include "load/tensor_proto.h"

#include <inttypes.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw_data is little endian and is copied as it is");

static const char *const type_names[] = {
    [1] = "FLOAT",         [2] = "UINT8",           [3] = "INT8",        [4] = "UINT16",
    [5] = "INT16",         [6] = "INT32",           [7] = "INT64",       [8] = "STRING",
    [9] = "BOOL",          [10] = "FLOAT16",        [11] = "DOUBLE",     [12] = "UINT32",
    [13] = "UINT64",       [14] = "COMPLEX64",      [15] = "COMPLEX128", [16] = "BFLOAT16",
    [17] = "FLOAT8E4M3FN", [18] = "FLOAT8E4M3FNUZ", [19] = "FLOAT8E5M2", [20] = "FLOAT8E5M2FNUZ",
    [21] = "UINT4",        [22] = "INT4",           [23] = "FLOAT4E2M1", [24] = "FLOAT8E8M0",
    [25] = "UINT2",        [26] = "INT2",
};

const char *mq_onnx_type_name(int64_t data_type) {
  bool is_known = data_type > 0 && data_type < (int64_t)(sizeof type_names / sizeof type_names[0]);
  return is_known ? type_names[data_type] : NULL;
}

int32_t mq_onnx_type_of(mq_dtype dtype) {
  static const int32_t types[MQ_DTYPE_COUNT] = {
      [MQ_F32] = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,   [MQ_F64] = ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE,
      [MQ_F16] = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16, [MQ_BF16] = ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16,
      [MQ_I8] = ONNX__TENSOR_PROTO__DATA_TYPE__INT8,     [MQ_U8] = ONNX__TENSOR_PROTO__DATA_TYPE__UINT8,
      [MQ_I16] = ONNX__TENSOR_PROTO__DATA_TYPE__INT16,   [MQ_U16] = ONNX__TENSOR_PROTO__DATA_TYPE__UINT16,
      [MQ_I32] = ONNX__TENSOR_PROTO__DATA_TYPE__INT32,   [MQ_U32] = ONNX__TENSOR_PROTO__DATA_TYPE__UINT32,
      [MQ_I64] = ONNX__TENSOR_PROTO__DATA_TYPE__INT64,   [MQ_U64] = ONNX__TENSOR_PROTO__DATA_TYPE__UINT64,
      [MQ_BOOL] = ONNX__TENSOR_PROTO__DATA_TYPE__BOOL,
  };
  return types[dtype];
}

mq_status mq_onnx_tensor_shape(struct mq_shape *shape, const Onnx__TensorProto *proto, const char *what,
                               struct mq_err *err) {
  *shape = (struct mq_shape){0};
  if (proto->n_dims > MQ_MAX_RANK) {
    return mq_fail(err, MQ_BAD_INPUT, "%s has rank %zu, expected at most %d", what, proto->n_dims,
                   MQ_MAX_RANK);
  }
  shape->rank = (int)proto->n_dims;
  for (int i = 0; i < shape->rank; i++) {
    shape->dim[i] = proto->dims[i];
    if (shape->dim[i] < 0) {
      return mq_fail(err, MQ_BAD_INPUT, "%s has dimension %" PRId64 ", expected 0 or more", what,
                     shape->dim[i]);
    }
  }
  return MQ_OK;
}

/* How many elements the typed field for this type holds. */
static size_t typed_count(const Onnx__TensorProto *proto, mq_dtype dtype) {
  switch (dtype) {
    case MQ_F32:
      return proto->n_float_data;
    case MQ_F64:
      return proto->n_double_data;
    case MQ_I64:
      return proto->n_int64_data;
    case MQ_U32:
    case MQ_U64:
      return proto->n_uint64_data;
    default:
      return proto->n_int32_data;
  }
}

static uint64_t typed_element(const Onnx__TensorProto *proto, mq_dtype dtype, size_t i) {
  switch (dtype) {
    case MQ_I64:
      return (uint64_t)proto->int64_data[i];
    case MQ_U32:
    case MQ_U64:
      return proto->uint64_data[i];
    default:
      return (uint64_t)(int64_t)proto->int32_data[i];
  }
}

/* Floats and doubles are borrowed; integers of all sizes are narrowed (float16's bits lie in int32_data). */
static mq_status get_typed(struct mq_tensor *tensor, const Onnx__TensorProto *proto, mq_dtype dtype,
                           const struct mq_shape *shape, struct mq_err *err) {
  if (dtype == MQ_F32 && proto->n_float_data > 0) {
    *tensor = mq_tensor_view(proto->float_data, dtype, shape, NULL);
    return MQ_OK;
  }
  if (dtype == MQ_F64 && proto->n_double_data > 0) {
    *tensor = mq_tensor_view(proto->double_data, dtype, shape, NULL);
    return MQ_OK;
  }
  mq_status status = mq_tensor_init(tensor, dtype, shape, err);
  size_t n = typed_count(proto, dtype), bytes = mq_dtype_get(dtype)->bytes;
  for (size_t i = 0; status == MQ_OK && i < n; i++) {
    uint64_t element = typed_element(proto, dtype, i);
    memcpy((uint8_t *)tensor->data + i * bytes, &element, bytes); /* low bytes: little endian */
  }
  return status;
}

/* Bytes as they are: borrowed where they lie aligned, otherwise copied. */
static mq_status get_raw(struct mq_tensor *tensor, const uint8_t *bytes, size_t n_bytes, mq_dtype dtype,
                         const struct mq_shape *shape, struct mq_err *err) {
  if (n_bytes > 0 && (uintptr_t)bytes % mq_dtype_get(dtype)->bytes == 0) {
    *tensor = mq_tensor_view((void *)(uintptr_t)bytes, dtype, shape, NULL);
    return MQ_OK;
  }
  mq_status status = mq_tensor_init(tensor, dtype, shape, err);
  if (status == MQ_OK && n_bytes > 0) {
    memcpy(tensor->data, bytes, n_bytes);
  }
  return status;
}

static mq_status get_stored(struct mq_tensor *tensor, const Onnx__TensorProto *proto, mq_dtype dtype,
                            const struct mq_shape *shape, size_t n, const char *what,
                            struct mq_onnx_external *external, struct mq_err *err) {
  size_t n_bytes = n * mq_dtype_get(dtype)->bytes;
  if (proto->has_data_location && proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
    const uint8_t *bytes;
    mq_status status = mq_onnx_external_get(&bytes, external, proto, n_bytes, what, err);
    return status == MQ_OK ? get_raw(tensor, bytes, n_bytes, dtype, shape, err) : status;
  }
  if (proto->has_raw_data) {
    if (proto->raw_data.len != n_bytes) {
      return mq_fail(err, MQ_BAD_INPUT, "%s has %zu bytes of data, expected %zu by type and shape", what,
                     proto->raw_data.len, n_bytes);
    }
    return get_raw(tensor, proto->raw_data.data, n_bytes, dtype, shape, err);
  }
  if (typed_count(proto, dtype) != n) {
    return mq_fail(err, MQ_BAD_INPUT, "%s has %zu elements of data, expected %zu by type and shape", what,
                   typed_count(proto, dtype), n);
  }
  return get_typed(tensor, proto, dtype, shape, err);
}

/* Replaces a tensor by an owned one of another dtype; bools keep theirs and become 0 or 1. */
static mq_status convert(struct mq_tensor *tensor, mq_dtype dtype, struct mq_err *err) {
  struct mq_tensor converted = {0};
  mq_status status = mq_tensor_init(&converted, dtype, &tensor->shape, err);
  if (status != MQ_OK) {
    return status;
  }
  if (dtype == MQ_BOOL) {
    for (int64_t i = 0; i < mq_shape_count(&tensor->shape); i++) {
      ((uint8_t *)converted.data)[i] = ((const uint8_t *)tensor->data)[i] != 0;
    }
  } else {
    mq_tensor_copy(&converted, tensor);
  }
  mq_tensor_deinit(tensor);
  *tensor = converted;
  return MQ_OK;
}

mq_status mq_onnx_tensor_get(struct mq_tensor *tensor, const Onnx__TensorProto *proto, bool widens,
                             const char *what, struct mq_onnx_external *external, struct mq_err *err) {
  *tensor = (struct mq_tensor){0};
  mq_dtype dtype = mq_dtype_from_onnx(proto->data_type);
  if (dtype == 0) {
    const char *type = mq_onnx_type_name(proto->data_type);
    return mq_fail(err, MQ_BAD_INPUT, "%s has data type %d (%s), expected floats, integers or bools", what,
                   proto->data_type, type ? type : "unknown");
  }
  struct mq_shape shape;
  int64_t n;
  mq_status status = mq_onnx_tensor_shape(&shape, proto, what, err);
  if (status == MQ_OK) {
    status = mq_shape_elements(&n, &shape, what, err);
  }
  if (status == MQ_OK) {
    status = get_stored(tensor, proto, dtype, &shape, (size_t)n, what, external, err);
  }
  if (status == MQ_OK && widens && (dtype == MQ_F16 || dtype == MQ_BF16 || dtype == MQ_F64)) {
    status = convert(tensor, MQ_F32, err);
  } else if (status == MQ_OK && dtype == MQ_BOOL) {
    status = convert(tensor, MQ_BOOL, err);
  }
  if (status != MQ_OK) {
    mq_tensor_deinit(tensor);
  }
  return status;
}
