/* NumPy's .npy files (NEP 1): magic, version, a Python dictionary literal as header, raw elements. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "mqbench/tensor.h"

#define MAX_HEADER_BYTES 65536

struct npy_header {
  mq_dtype dtype;
  bool is_fortran;
  struct mq_shape shape;
  size_t data_offset;
};

static const struct {
  const char *descr;
  mq_dtype dtype;
} types[] = {
    {"<f4", MQ_F32}, {"<f8", MQ_F64}, {"<f2", MQ_F16}, {"|i1", MQ_I8},  {"|u1", MQ_U8},  {"<i2", MQ_I16},
    {"<u2", MQ_U16}, {"<i4", MQ_I32}, {"<u4", MQ_U32}, {"<i8", MQ_I64}, {"<u8", MQ_U64}, {"|b1", MQ_BOOL},
};

/* The text behind "'key':" in the header, or NULL. */
static const char *find_key(const char *header, const char *key) {
  char quoted[32];
  snprintf(quoted, sizeof quoted, "'%s'", key);
  const char *at = strstr(header, quoted);
  if (!at) {
    return NULL;
  }
  at += strlen(quoted);
  while (isspace((unsigned char)*at)) {
    at++;
  }
  if (*at++ != ':') {
    return NULL;
  }
  while (isspace((unsigned char)*at)) {
    at++;
  }
  return at;
}

static mq_status parse_shape(struct mq_shape *shape, const char *text, const char *path, struct mq_err *err) {
  if (*text++ != '(') {
    return mq_fail(err, MQ_BAD_INPUT, "%s: npy header: shape is not a tuple", path);
  }
  for (;;) {
    while (*text == ' ' || *text == ',') {
      text++;
    }
    if (*text == ')') {
      return MQ_OK;
    }
    char *end = NULL;
    long long dim = strtoll(text, &end, 10);
    if (end == text || dim < 0 || shape->rank == MQ_MAX_RANK) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: npy header: bad shape, expected at most %d dimensions", path,
                     MQ_MAX_RANK);
    }
    shape->dim[shape->rank++] = dim;
    text = end;
  }
}

static mq_status parse_header(struct npy_header *out, char *text, const char *path, struct mq_err *err) {
  const char *descr = find_key(text, "descr"), *order = find_key(text, "fortran_order"),
             *shape = find_key(text, "shape");
  if (!descr || !order || !shape) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: npy header lacks descr, fortran_order or shape", path);
  }
  out->is_fortran = !strncmp(order, "True", 4);
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    if (*descr == '\'' && !strncmp(descr + 1, types[i].descr, 3) && descr[4] == '\'') {
      out->dtype = types[i].dtype;
      return parse_shape(&out->shape, shape, path, err);
    }
  }
  /* The type alone, without what stands behind it in the header. */
  const bool is_text = *descr == '\'';
  return mq_fail(err, MQ_BAD_INPUT,
                 "%s: npy element type '%.*s' is not supported, expected one like '<f4' or '|u1'", path,
                 is_text ? (int)strcspn(descr + 1, "'") % 24 : 1, descr + is_text);
}

static mq_status read_header(struct npy_header *out, const uint8_t *bytes, size_t n, const char *path,
                             struct mq_err *err) {
  if (n < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0 || bytes[6] < 1 || bytes[6] > 3) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: not a .npy file of version 1 to 3", path);
  }
  size_t header_bytes = (size_t)bytes[8] | (size_t)bytes[9] << 8, offset = 10;
  if (bytes[6] > 1) {
    if (n < 12) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: truncated", path);
    }
    header_bytes |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    offset = 12;
  }
  if (header_bytes > MAX_HEADER_BYTES || header_bytes > n - offset) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: npy header of %zu bytes does not fit the file", path,
                   header_bytes);
  }
  char *text = mq_alloc(header_bytes + 1, 1);
  if (!text) {
    return mq_fail_memory(err, path);
  }
  memcpy(text, bytes + offset, header_bytes);
  mq_status status = parse_header(out, text, path, err);
  mq_free(text);
  out->data_offset = offset + header_bytes;
  return status;
}

static mq_status fill_tensor(struct mq_tensor *tensor, const struct npy_header *header, const uint8_t *bytes,
                             size_t n, const char *path, struct mq_err *err) {
  int64_t count;
  mq_status status = mq_shape_elements(&count, &header->shape, path, err);
  if (status != MQ_OK) {
    return status;
  }
  size_t need = (size_t)count * mq_dtype_get(header->dtype)->bytes, have = n - header->data_offset;
  if (need > have) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %zu bytes of data, expected %zu", path, have, need);
  }
  status = mq_tensor_init(tensor, header->dtype, &header->shape, err);
  if (status != MQ_OK) {
    return status;
  }
  /* The file's elements may lie unaligned; Fortran order is row-major of the reversed shape. */
  struct mq_tensor dense = {0};
  status = mq_tensor_init(&dense, header->dtype, &header->shape, err);
  if (status != MQ_OK) {
    return status;
  }
  memcpy(dense.data, bytes + header->data_offset, need);
  if (header->is_fortran) {
    int64_t step = 1;
    for (int i = 0; i < header->shape.rank; i++) {
      dense.stride[i] = step;
      step *= header->shape.dim[i];
    }
  }
  mq_tensor_copy(tensor, &dense);
  mq_tensor_deinit(&dense);
  return MQ_OK;
}

mq_status mq_npy_read(struct mq_tensor *tensor, const char *path, struct mq_err *err) {
  *tensor = (struct mq_tensor){0};
  const uint8_t *bytes = NULL;
  size_t n = 0;
  mq_status status = mq_file_map(&bytes, &n, path, err);
  if (status != MQ_OK) {
    return status;
  }
  struct npy_header header = {0};
  status = read_header(&header, bytes, n, path, err);
  if (status == MQ_OK) {
    status = fill_tensor(tensor, &header, bytes, n, path, err);
  }
  mq_file_unmap(bytes, n);
  if (status != MQ_OK) {
    mq_tensor_deinit(tensor);
  }
  return status;
}

/* The header is padded with spaces to a multiple of 64 bytes and ends with a newline. */
static size_t format_header(char *text, size_t bytes, const char *descr, const struct mq_shape *shape) {
  int n = snprintf(text, bytes, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
  for (int i = 0; i < shape->rank; i++) {
    n += snprintf(text + n, bytes - (size_t)n, "%lld%s", (long long)shape->dim[i],
                  shape->rank == 1      ? ","
                  : i + 1 < shape->rank ? ", "
                                        : "");
  }
  n += snprintf(text + n, bytes - (size_t)n, "), }");
  while ((n + 11) % 64 != 0) {
    text[n++] = ' ';
  }
  text[n++] = '\n';
  return (size_t)n;
}

mq_status mq_npy_write(const char *path, const struct mq_tensor *tensor, struct mq_err *err) {
  const char *descr = NULL;
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    if (types[i].dtype == tensor->dtype) {
      descr = types[i].descr;
    }
  }
  if (!descr) {
    return mq_fail(err, MQ_BAD_USAGE, "%s: .npy has no element type %s", path,
                   mq_dtype_get(tensor->dtype)->name);
  }
  struct mq_tensor dense = {0};
  struct mq_file_out out = {0};
  mq_status status = mq_tensor_init(&dense, tensor->dtype, &tensor->shape, err);
  if (status != MQ_OK || (status = mq_file_out_open(&out, path, err)) != MQ_OK) {
    goto done;
  }
  mq_tensor_copy(&dense, tensor);
  char header[1024];
  size_t n = format_header(header, sizeof header, descr, &tensor->shape);
  const unsigned char magic[10] = {
      0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(n & 255), (unsigned char)(n >> 8)};
  fwrite(magic, 1, sizeof magic, out.stream);
  fwrite(header, 1, n, out.stream);
  fwrite(dense.data, mq_dtype_get(dense.dtype)->bytes, (size_t)mq_shape_count(&dense.shape), out.stream);
  status = mq_file_out_commit(&out, err);
done:
  mq_file_out_abandon(&out);
  mq_tensor_deinit(&dense);
  return status;
}
