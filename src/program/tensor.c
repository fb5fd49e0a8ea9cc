/* Sizes, types and shapes of tensors. */
#include "program/ops.h"

size_t mq_program_type_bytes(mq_program_type type) {
  switch (type) {
    case MQ_PROGRAM_S8:
    case MQ_PROGRAM_U8:
      return 1;
    case MQ_PROGRAM_S16:
      return 2;
    case MQ_PROGRAM_S32:
    case MQ_PROGRAM_F32:
      return 4;
  }
  return 0;
}

int32_t program_type_min(mq_program_type type) {
  return type == MQ_PROGRAM_S8 ? INT8_MIN : type == MQ_PROGRAM_S16 ? INT16_MIN : 0;
}

int32_t program_type_max(mq_program_type type) {
  return type == MQ_PROGRAM_S8 ? INT8_MAX : type == MQ_PROGRAM_S16 ? INT16_MAX : UINT8_MAX;
}

int64_t mq_program_elements(const struct mq_program_tensor *tensor) {
  int64_t n = 1;
  for (int32_t i = 0; i < tensor->rank; i++)
    n *= tensor->dim[i];
  return n;
}

size_t mq_program_tensor_bytes(const struct mq_program_tensor *tensor) {
  return (size_t)mq_program_elements(tensor) * mq_program_type_bytes(tensor->type);
}

static int32_t code_at(const struct mq_program_tensor *tensor, const void *data, int64_t at) {
  switch (tensor->type) {
    case MQ_PROGRAM_S8:
      return ((const int8_t *)data)[at];
    case MQ_PROGRAM_U8:
      return ((const uint8_t *)data)[at];
    case MQ_PROGRAM_S16:
      return ((const int16_t *)data)[at];
    case MQ_PROGRAM_S32:
    case MQ_PROGRAM_F32:
      break;
  }
  return ((const int32_t *)data)[at];
}

float mq_program_value(const struct mq_program_tensor *tensor, const void *data, int64_t at) {
  if (tensor->type == MQ_PROGRAM_F32) {
    return ((const float *)data)[at];
  }
  const float x = (float)(code_at(tensor, data, at) - tensor->zero_point);
  return tensor->type == MQ_PROGRAM_S32 ? x : x * tensor->scale;
}

bool program_same_shape(const struct mq_program_tensor *a, const struct mq_program_tensor *b) {
  bool is_same = a->rank == b->rank;
  for (int32_t i = 0; i < a->rank && is_same; i++)
    is_same = a->dim[i] == b->dim[i];
  return is_same;
}

bool program_same_codes(const struct mq_program_tensor *x, const struct mq_program_tensor *y) {
  return x->type == y->type && program_float_bits(x->scale) == program_float_bits(y->scale) &&
         x->zero_point == y->zero_point && x->code_min >= y->code_min && x->code_max <= y->code_max;
}

bool program_broadcasts(const struct mq_program_tensor *x, const struct mq_program_tensor *y) {
  bool is_right = x->rank == y->rank;
  for (int32_t i = 0; i < y->rank && is_right; i++)
    is_right = x->dim[i] == y->dim[i] || x->dim[i] == 1;
  return is_right;
}

int64_t program_extent(const struct mq_program_window *window, int axis) {
  return (int64_t)(window->kernel[axis] - 1) * window->dilation[axis] + 1;
}

int64_t program_taps(int64_t *first, int64_t begin, int64_t end, int64_t kernel, int64_t dilation) {
  const int64_t last = begin < end ? (end - 1 - begin) / dilation + 1 : 0;
  *first = begin < 0 ? (-begin + dilation - 1) / dilation : 0;
  const int64_t n = (last < kernel ? last : kernel) - *first;
  return n > 0 ? n : 0;
}

static bool is_extent(int32_t value, int32_t least) {
  return value >= least && value <= MQ_PROGRAM_MAX_DIM;
}

mq_program_status program_check_window(const struct mq_program *program, const struct mq_program_step *step,
                                       const struct mq_program_window *window, struct mq_program_err *err) {
  for (int axis = 0; axis < 2; axis++)
    if (!is_extent(window->kernel[axis], 1) || !is_extent(window->stride[axis], 1) ||
        !is_extent(window->dilation[axis], 1) || !is_extent(window->pad_begin[axis], 0) ||
        !is_extent(window->pad_end[axis], -MQ_PROGRAM_MAX_DIM))
      return program_fail_step(
          err, program, step,
          "window: kernel %lld, stride %lld, dilation %lld, pads %lld and %lld; expected sizes "
          "from 1 and pads from 0, at most 2^24",
          (long long)window->kernel[axis], (long long)window->stride[axis], (long long)window->dilation[axis],
          (long long)window->pad_begin[axis], (long long)window->pad_end[axis]);
  return MQ_PROGRAM_OK;
}

uint64_t program_times(uint64_t a, uint64_t b) {
  return a != 0 && b > UINT64_MAX / a ? UINT64_MAX : a * b;
}

uint64_t program_plus(uint64_t a, uint64_t b) {
  return b > UINT64_MAX - a ? UINT64_MAX : a + b;
}

/* The plain sum is bounded for any form of the inputs (|x| <= 255) and the weights as stored. */
bool mq_program_bound(int64_t *lo, int64_t *hi, const struct mq_program_tensor *x, const int8_t *weights,
                      int64_t n, int32_t w_zero_point, int32_t bias) {
  const int64_t from = (int64_t)x->code_min - x->zero_point, to = (int64_t)x->code_max - x->zero_point;
  int64_t least = 0, most = 0, plain = 0;
  for (int64_t i = 0; i < n; i++) {
    const int64_t w = (int64_t)weights[i] - w_zero_point, a = w * from, b = w * to;
    least += a < b ? a : b;
    most += a > b ? a : b;
    plain += weights[i] < 0 ? -weights[i] : weights[i];
  }
  *lo = least + bias;
  *hi = most + bias;
  if (x->type == MQ_PROGRAM_S16) {
    const int64_t limit = INT64_C(1) << 53;
    return *lo >= -limit && *hi <= limit;
  }
  if (least < INT32_MIN || most > INT32_MAX || *lo < INT32_MIN || *hi > INT32_MAX || bias == INT32_MIN)
    return false;
  plain *= UINT8_MAX;
  if (plain > INT32_MAX) {
    *lo = -plain;
    *hi = plain;
  }
  return plain <= INT32_MAX;
}
