/* Tensors: a dtype, a logical shape in ONNX's order (N, C, H, W) and strides that say how it lies in memory.
 *
 * Channels last is a matter of strides, not of shape: an activation of shape {N, C, H, W} kept channels last
 * has strides {C*H*W, 1, W*C, C}. A transpose or a channel split is a view. */
#ifndef MQBENCH_TENSOR_H
#define MQBENCH_TENSOR_H

#include "mqbench/base.h"

#define MQ_MAX_RANK 8
#define MQ_MAX_ELEMENTS ((int64_t)1 << 40) /* no tensor of any file may claim more */

typedef enum mq_dtype {
  MQ_F32 = 1,
  MQ_F64,
  MQ_F16,
  MQ_BF16,
  MQ_I8,
  MQ_U8,
  MQ_I16,
  MQ_U16,
  MQ_I32,
  MQ_U32,
  MQ_I64,
  MQ_U64,
  MQ_BOOL,
  MQ_DTYPE_COUNT,
} mq_dtype;

struct mq_dtype_traits {
  const char *name; /* "float32", ... */
  uint8_t bytes;
  bool is_float, is_signed;
};
const struct mq_dtype_traits *mq_dtype_get(mq_dtype dtype); /* never NULL; asserts a valid dtype */

struct mq_shape {
  int rank; /* 0 = scalar */
  int64_t dim[MQ_MAX_RANK];
};

struct mq_tensor {
  mq_dtype dtype;
  struct mq_shape shape;
  int64_t stride[MQ_MAX_RANK]; /* in elements */
  void *data;                  /* element {0, ..., 0} */
  void *owned;                 /* what mq_tensor_deinit frees; NULL for a view */
};

/* The one place where sizes are checked: product of dims (0 allowed) within MQ_MAX_ELEMENTS, every dim >= 0.
 * `what` names the tensor in the message. */
mq_status mq_shape_elements(int64_t *n_elements, const struct mq_shape *shape, const char *what,
                            struct mq_err *err) MQ_MUST_CHECK;
int64_t mq_shape_count(const struct mq_shape *shape); /* for shapes already checked */
bool mq_shape_equal(const struct mq_shape *a, const struct mq_shape *b);
/* "1x3x224x224" into caller storage; a batch dimension (MQ_DIM_BATCH) prints as N. Returns `text`. */
char *mq_shape_format(char *text, size_t text_bytes, const struct mq_shape *shape);
/* NumPy broadcasting of two shapes; MQ_BAD_INPUT if they do not fit. */
mq_status mq_shape_broadcast(struct mq_shape *out, const struct mq_shape *a, const struct mq_shape *b,
                             const char *what, struct mq_err *err) MQ_MUST_CHECK;

void mq_stride_row_major(int64_t stride[MQ_MAX_RANK], const struct mq_shape *shape);
/* Rank 3 and up: dimension 1 innermost, the rest in order; below that row-major. */
void mq_stride_channels_last(int64_t stride[MQ_MAX_RANK], const struct mq_shape *shape);

/* Owned, zeroed, row-major. The tensor must be zero-initialised or deinited before. */
mq_status mq_tensor_init(struct mq_tensor *tensor, mq_dtype dtype, const struct mq_shape *shape,
                         struct mq_err *err) MQ_MUST_CHECK;
void mq_tensor_deinit(struct mq_tensor *tensor); /* leaves it zeroed; accepts a zeroed tensor */
/* A view of someone else's memory with the given strides (NULL: row-major). */
struct mq_tensor mq_tensor_view(void *data, mq_dtype dtype, const struct mq_shape *shape,
                                const int64_t *stride);
bool mq_tensor_is_row_major(const struct mq_tensor *tensor);
bool mq_tensor_is_channels_last(const struct mq_tensor *tensor);
/* Copies element by element in logical order, converting the dtype (float to integer: round half to even and
 * saturate; float32 to float16/bfloat16: round half to even). Shapes must be equal. */
void mq_tensor_copy(struct mq_tensor *to, const struct mq_tensor *from);
/* Element i of a row-major or strided tensor, as double or int64 (small constants, not hot loops). */
double mq_tensor_get_double(const struct mq_tensor *tensor, int64_t flat_index);
int64_t mq_tensor_get_int(const struct mq_tensor *tensor, int64_t flat_index);
/* Views `tensor` under another shape of the same element count without moving data; false if strides forbid.
 */
bool mq_tensor_reshape_view(struct mq_tensor *view, const struct mq_tensor *tensor,
                            const struct mq_shape *shape);

/* NumPy's .npy (version 1 and 2; little endian; C and Fortran order). Read into an owned row-major tensor of
 * the file's dtype; written row-major, to a temporary name and renamed. */
mq_status mq_npy_read(struct mq_tensor *tensor, const char *path, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_npy_write(const char *path, const struct mq_tensor *tensor, struct mq_err *err) MQ_MUST_CHECK;

#endif
