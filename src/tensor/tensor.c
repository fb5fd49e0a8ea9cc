/* Tensors: ownership, views, copies. */
#include "mqbench/tensor.h"

#include <assert.h>
#include <string.h>

#include "tensor/element.h"

mq_status mq_tensor_init(struct mq_tensor *tensor, mq_dtype dtype, const struct mq_shape *shape,
                         struct mq_err *err) {
  *tensor = (struct mq_tensor){0};
  int64_t n;
  mq_status status = mq_shape_elements(&n, shape, "tensor", err);
  if (status != MQ_OK) {
    return status;
  }
  void *data = mq_alloc((size_t)n + 1, mq_dtype_get(dtype)->bytes); /* + 1: an empty tensor has data too */
  if (!data) {
    char text[128];
    return mq_fail(err, MQ_FAILED, "out of memory: tensor %s %s", mq_dtype_get(dtype)->name,
                   mq_shape_format(text, sizeof text, shape));
  }
  *tensor = mq_tensor_view(data, dtype, shape, NULL);
  tensor->owned = data;
  return MQ_OK;
}

void mq_tensor_deinit(struct mq_tensor *tensor) {
  mq_free(tensor->owned);
  *tensor = (struct mq_tensor){0};
}

struct mq_tensor mq_tensor_view(void *data, mq_dtype dtype, const struct mq_shape *shape,
                                const int64_t *stride) {
  struct mq_tensor view = {.dtype = dtype, .shape = *shape, .data = data};
  if (stride) {
    memcpy(view.stride, stride, (size_t)shape->rank * sizeof *stride);
  } else {
    mq_stride_row_major(view.stride, shape);
  }
  return view;
}

/* Strides of dimensions of size 1 do not matter; an empty tensor lies any way. */
static bool has_strides(const struct mq_tensor *tensor, const int64_t expected[MQ_MAX_RANK]) {
  bool is_equal = true;
  for (int i = 0; i < tensor->shape.rank; i++) {
    if (tensor->shape.dim[i] == 0) {
      return true;
    }
    is_equal = is_equal && (tensor->shape.dim[i] == 1 || tensor->stride[i] == expected[i]);
  }
  return is_equal;
}

bool mq_tensor_is_row_major(const struct mq_tensor *tensor) {
  int64_t stride[MQ_MAX_RANK];
  mq_stride_row_major(stride, &tensor->shape);
  return has_strides(tensor, stride);
}

bool mq_tensor_is_channels_last(const struct mq_tensor *tensor) {
  int64_t stride[MQ_MAX_RANK];
  mq_stride_channels_last(stride, &tensor->shape);
  return has_strides(tensor, stride);
}

static void copy_run(struct mq_tensor *to, int64_t to_offset, const struct mq_tensor *from,
                     int64_t from_offset, int64_t n, int64_t to_step, int64_t from_step) {
  size_t to_bytes = mq_dtype_get(to->dtype)->bytes, from_bytes = mq_dtype_get(from->dtype)->bytes;
  char *target = (char *)to->data + to_offset * (int64_t)to_bytes;
  const char *source = (const char *)from->data + from_offset * (int64_t)from_bytes;
  if (to->dtype == from->dtype && to_step == 1 && from_step == 1) {
    memcpy(target, source, (size_t)n * to_bytes);
    return;
  }
  if (to->dtype == MQ_F32 && from->dtype == MQ_F32) {
    for (int64_t i = 0; i < n; i++) {
      ((float *)(void *)target)[i * to_step] = ((const float *)(const void *)source)[i * from_step];
    }
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    void *p = target + i * to_step * (int64_t)to_bytes;
    const void *q = source + i * from_step * (int64_t)from_bytes;
    if (to->dtype == from->dtype) {
      memcpy(p, q, to_bytes);
    } else {
      mq_element_convert(to->dtype, p, from->dtype, q);
    }
  }
}

void mq_tensor_copy(struct mq_tensor *to, const struct mq_tensor *from) {
  assert(mq_shape_equal(&to->shape, &from->shape));
  const struct mq_shape *shape = &to->shape;
  if (mq_shape_count(shape) == 0) {
    return;
  }
  /* The innermost loop runs over the dimension that is dense in the target, else the last one. */
  int inner = shape->rank - 1;
  for (int i = 0; i < shape->rank; i++) {
    if (to->stride[i] == 1 && shape->dim[i] > 1) {
      inner = i;
    }
  }
  int64_t index[MQ_MAX_RANK] = {0}, to_offset = 0, from_offset = 0;
  int64_t n = inner < 0 ? 1 : shape->dim[inner];
  for (;;) {
    copy_run(to, to_offset, from, from_offset, n, inner < 0 ? 1 : to->stride[inner],
             inner < 0 ? 1 : from->stride[inner]);
    int d = shape->rank - 1;
    for (; d >= 0; d--) {
      if (d == inner) {
        continue;
      }
      to_offset += to->stride[d];
      from_offset += from->stride[d];
      if (++index[d] < shape->dim[d]) {
        break;
      }
      to_offset -= index[d] * to->stride[d];
      from_offset -= index[d] * from->stride[d];
      index[d] = 0;
    }
    if (d < 0) {
      return;
    }
  }
}

static const void *element_at(const struct mq_tensor *tensor, int64_t flat_index) {
  int64_t offset = 0;
  for (int i = tensor->shape.rank - 1; i >= 0; i--) {
    offset += flat_index % tensor->shape.dim[i] * tensor->stride[i];
    flat_index /= tensor->shape.dim[i];
  }
  assert(flat_index == 0);
  return (const char *)tensor->data + offset * (int64_t)mq_dtype_get(tensor->dtype)->bytes;
}

double mq_tensor_get_double(const struct mq_tensor *tensor, int64_t flat_index) {
  return mq_element_double(tensor->dtype, element_at(tensor, flat_index));
}

int64_t mq_tensor_get_int(const struct mq_tensor *tensor, int64_t flat_index) {
  return mq_element_int(tensor->dtype, element_at(tensor, flat_index));
}

/* Splits both shapes into the finest groups of dimensions with equal products; a group can be viewed when the
 * tensor's part of it is one evenly strided run. */
bool mq_tensor_reshape_view(struct mq_tensor *view, const struct mq_tensor *tensor,
                            const struct mq_shape *shape) {
  assert(mq_shape_count(shape) == mq_shape_count(&tensor->shape));
  struct mq_tensor result = {.dtype = tensor->dtype, .shape = *shape, .data = tensor->data};
  if (mq_shape_count(shape) == 0) {
    mq_stride_row_major(result.stride, shape);
    *view = result;
    return true;
  }
  int64_t old_dim[MQ_MAX_RANK], old_stride[MQ_MAX_RANK];
  int n_old = 0;
  for (int i = 0; i < tensor->shape.rank; i++) {
    if (tensor->shape.dim[i] != 1) {
      old_dim[n_old] = tensor->shape.dim[i];
      old_stride[n_old++] = tensor->stride[i];
    }
  }
  int i_old = n_old - 1;
  int64_t left = 1, step = 1; /* what is left of the old run behind the current new dimension */
  for (int i = shape->rank - 1; i >= 0; i--) {
    if (shape->dim[i] == 1) {
      result.stride[i] = 1;
      continue;
    }
    if (left == 1) {
      left = old_dim[i_old];
      step = old_stride[i_old--];
    }
    while (left % shape->dim[i] != 0) {
      if (i_old < 0 || old_stride[i_old] != step * left) {
        return false;
      }
      left *= old_dim[i_old--];
    }
    result.stride[i] = step;
    step *= shape->dim[i];
    left /= shape->dim[i];
  }
  *view = result;
  return true;
}
