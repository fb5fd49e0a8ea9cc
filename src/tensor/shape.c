/* Shapes and strides. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "mqbench/tensor.h"

mq_status mq_shape_elements(int64_t *n_elements, const struct mq_shape *shape, const char *what,
                            struct mq_err *err) {
  *n_elements = 0;
  if (shape->rank < 0 || shape->rank > MQ_MAX_RANK) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: rank %d, expected 0 to %d", what, shape->rank, MQ_MAX_RANK);
  }
  int64_t count = 1;
  for (int i = 0; i < shape->rank; i++) {
    int64_t dim = shape->dim[i];
    if (dim < 0) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: dimension %d is %lld, expected 0 or more", what, i,
                     (long long)dim);
    }
    if (__builtin_mul_overflow(count, dim, &count) || count > MQ_MAX_ELEMENTS) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: more than 2^40 elements", what);
    }
  }
  *n_elements = count;
  return MQ_OK;
}

int64_t mq_shape_count(const struct mq_shape *shape) {
  int64_t count = 1;
  for (int i = 0; i < shape->rank; i++) {
    count *= shape->dim[i];
  }
  return count;
}

bool mq_shape_equal(const struct mq_shape *a, const struct mq_shape *b) {
  return a->rank == b->rank && (a->rank <= 0 || !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]));
}

char *mq_shape_format(char *text, size_t text_bytes, const struct mq_shape *shape) {
  size_t used = 0;
  text[0] = 0;
  if (shape->rank <= 0) {
    snprintf(text, text_bytes, "%s", shape->rank ? "?" : "scalar");
  }
  for (int i = 0; i < shape->rank && used < text_bytes; i++) {
    const char *separator = i ? "x" : "";
    int n = shape->dim[i] == INT64_MIN
                ? snprintf(text + used, text_bytes - used, "%sN", separator)
                : snprintf(text + used, text_bytes - used, "%s%lld", separator, (long long)shape->dim[i]);
    used += n > 0 ? (size_t)n : 0;
  }
  return text;
}

mq_status mq_shape_broadcast(struct mq_shape *out, const struct mq_shape *a, const struct mq_shape *b,
                             const char *what, struct mq_err *err) {
  struct mq_shape result = {.rank = a->rank > b->rank ? a->rank : b->rank};
  for (int i = 0; i < result.rank; i++) {
    int ia = i - (result.rank - a->rank), ib = i - (result.rank - b->rank);
    int64_t da = ia < 0 ? 1 : a->dim[ia], db = ib < 0 ? 1 : b->dim[ib];
    if (da != db && da != 1 && db != 1) {
      char left[128], right[128];
      return mq_fail(err, MQ_BAD_INPUT, "%s: shapes %s and %s do not broadcast", what,
                     mq_shape_format(left, sizeof left, a), mq_shape_format(right, sizeof right, b));
    }
    result.dim[i] = da == 1 ? db : da;
  }
  *out = result;
  return MQ_OK;
}

void mq_stride_row_major(int64_t stride[MQ_MAX_RANK], const struct mq_shape *shape) {
  int64_t step = 1;
  for (int i = shape->rank - 1; i >= 0; i--) {
    stride[i] = step;
    step *= shape->dim[i];
  }
}

void mq_stride_channels_last(int64_t stride[MQ_MAX_RANK], const struct mq_shape *shape) {
  if (shape->rank < 3) {
    mq_stride_row_major(stride, shape);
    return;
  }
  stride[1] = 1;
  int64_t step = shape->dim[1];
  for (int i = shape->rank - 1; i >= 0; i--) {
    if (i != 1) {
      stride[i] = step;
      step *= shape->dim[i];
    }
  }
}
