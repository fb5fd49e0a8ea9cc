#include "kernel/pooling.h"

#include <math.h>

#define MAX_EXTENT ((int64_t)1 << 24)

static bool is_within(int64_t value, int64_t least) {
  return value >= least && value <= MAX_EXTENT;
}

static int64_t window_extent(const struct mq_pooling_desc *desc, int axis) {
  return (desc->kernel[axis] - 1) * desc->dilation[axis] + 1;
}

/* Output size along one axis. With ceil_mode a last window that would begin in the end padding is dropped
 * (the rule of PyTorch and of ONNX's own definition): every window then touches the input or its beginning.
 */
static mq_status check_axis(struct mq_shape *output, const struct mq_pooling_desc *desc, int axis,
                            struct mq_err *err) {
  const char *name = axis == 0 ? "height" : "width";
  const int64_t in = desc->input.dim[2 + axis], stride = desc->stride[axis];
  const int64_t pads = desc->pad_begin[axis] + desc->pad_end[axis];
  if (!is_within(in, 1) || !is_within(desc->kernel[axis], 1) || !is_within(stride, 1) ||
      !is_within(desc->dilation[axis], 1) || !is_within(desc->pad_begin[axis], 0) ||
      !is_within(desc->pad_end[axis], 0))
    return mq_fail(err, MQ_BAD_INPUT,
                   "pool %s: input %lld, kernel %lld, stride %lld, dilation %lld, pads %lld and %lld; "
                   "expected sizes from 1 and pads from 0, at most %lld",
                   name, (long long)in, (long long)desc->kernel[axis], (long long)stride,
                   (long long)desc->dilation[axis], (long long)desc->pad_begin[axis],
                   (long long)desc->pad_end[axis], (long long)MAX_EXTENT);
  const int64_t extent = window_extent(desc, axis), room = in + pads - extent;
  if (room < 0 || desc->pad_begin[axis] >= extent || desc->pad_end[axis] >= extent)
    return mq_fail(
        err, MQ_BAD_INPUT,
        "pool %s: a window of %lld over input %lld with pads %lld and %lld; expected pads below the "
        "window and a window that fits",
        name, (long long)extent, (long long)in, (long long)desc->pad_begin[axis],
        (long long)desc->pad_end[axis]);
  int64_t out = (desc->ceil_mode ? (room + stride - 1) / stride : room / stride) + 1;
  if (desc->ceil_mode && (out - 1) * stride >= in + desc->pad_begin[axis]) out--;
  output->dim[2 + axis] = out;
  return MQ_OK;
}

static mq_status check(struct mq_shape *output, const struct mq_pooling_desc *desc, struct mq_err *err) {
  char text[128];
  if (desc->input.rank != 4 || desc->input.dim[0] < 1 || desc->input.dim[1] < 1)
    return mq_fail(err, MQ_BAD_INPUT, "pool: input %s, expected N x C x H x W",
                   mq_shape_format(text, sizeof text, &desc->input));
  *output = (struct mq_shape){.rank = 4, .dim = {desc->input.dim[0], desc->input.dim[1]}};
  mq_status status = check_axis(output, desc, 0, err);
  if (status == MQ_OK) status = check_axis(output, desc, 1, err);
  int64_t n_elements;
  if (status == MQ_OK) status = mq_shape_elements(&n_elements, &desc->input, "pool input", err);
  if (status == MQ_OK) status = mq_shape_elements(&n_elements, output, "pool output", err);
  return status;
}

mq_status mq_pooling_create(struct mq_pooling **pooling, const struct mq_pooling_desc *desc,
                            struct mq_err *err) {
  struct mq_shape output;
  *pooling = NULL;
  const mq_status status = check(&output, desc, err);
  if (status != MQ_OK) return status;
  struct mq_pooling *made = mq_alloc(1, sizeof *made);
  if (made == NULL) return mq_fail_memory(err, "pool");
  made->desc = *desc;
  made->output = output;
  *pooling = made;
  return MQ_OK;
}

void mq_pooling_destroy(struct mq_pooling *pooling) {
  mq_free(pooling);
}

struct mq_shape mq_pooling_output_shape(const struct mq_pooling *pooling) {
  return pooling->output;
}

size_t mq_pooling_scratch_bytes(const struct mq_pooling *pooling) {
  (void)pooling;
  return 0;
}

/* Taps t with 0 <= begin + t * dilation < end. */
static void count_taps(int64_t *first, int64_t *n, int64_t begin, int64_t end, int64_t kernel,
                       int64_t dilation) {
  const int64_t skipped = begin < 0 ? (-begin + dilation - 1) / dilation : 0;
  const int64_t last = begin < end ? (end - 1 - begin) / dilation + 1 : 0;
  *first = skipped;
  *n = (last < kernel ? last : kernel) - skipped;
  if (*n < 0) *n = 0;
}

struct mq_pooling_taps mq_pooling_find_taps(const struct mq_pooling_desc *desc, int axis, int64_t out) {
  const int64_t in = desc->input.dim[2 + axis], dilation = desc->dilation[axis];
  const int64_t begin = out * desc->stride[axis] - desc->pad_begin[axis];
  struct mq_pooling_taps taps;
  int64_t skipped, ignored;
  count_taps(&skipped, &taps.n, begin, in, desc->kernel[axis], dilation);
  count_taps(&ignored, &taps.n_padded, begin + desc->pad_begin[axis],
             in + desc->pad_begin[axis] + desc->pad_end[axis], desc->kernel[axis], dilation);
  taps.first = begin + skipped * dilation;
  return taps;
}

struct mq_simd_window mq_pooling_window(const struct mq_pooling_desc *desc, const float *image,
                                        struct mq_pooling_taps rows, struct mq_pooling_taps columns) {
  const int64_t channels = desc->input.dim[1], width = desc->input.dim[3];
  return (struct mq_simd_window){
      .x = image + (rows.first * width + columns.first) * channels,
      .n_rows = rows.n,
      .n_columns = columns.n,
      .row_step = desc->dilation[0] * width * channels,
      .column_step = desc->dilation[1] * channels,
  };
}

int64_t mq_pooling_divisor(const struct mq_pooling_desc *desc, struct mq_pooling_taps rows,
                           struct mq_pooling_taps columns) {
  const bool counts_padding = desc->kind == MQ_POOLING_AVERAGE_WITH_PADDING;
  return counts_padding ? rows.n_padded * columns.n_padded : rows.n * columns.n;
}

static void pool_pixel(const struct mq_simd_pooling *table, const struct mq_pooling_desc *desc, float *y,
                       const float *image, struct mq_pooling_taps rows, struct mq_pooling_taps columns) {
  const int64_t channels = desc->input.dim[1];
  if (rows.n == 0 || columns.n == 0) {
    /* Dilation can step over a small input altogether. */
    for (int64_t c = 0; c < channels; c++)
      y[c] = desc->kind == MQ_POOLING_MAX ? -INFINITY : 0.0f;
    return;
  }
  const struct mq_simd_window window = mq_pooling_window(desc, image, rows, columns);
  if (desc->kind == MQ_POOLING_MAX)
    table->max(y, &window, channels);
  else
    table->average(y, &window, channels, (float)mq_pooling_divisor(desc, rows, columns));
}

mq_status mq_pooling_forward(const struct mq_pooling *pooling, float *y, const float *x, void *scratch,
                             struct mq_err *err) {
  const struct mq_pooling_desc *desc = &pooling->desc;
  const struct mq_simd_pooling *table = mq_simd_pooling_at(mq_simd_level_used());
  const int64_t channels = desc->input.dim[1];
  (void)scratch;
  (void)err;
  for (int64_t n = 0; n < desc->input.dim[0]; n++) {
    const float *image = x + n * channels * desc->input.dim[2] * desc->input.dim[3];
    for (int64_t oh = 0; oh < pooling->output.dim[2]; oh++) {
      const struct mq_pooling_taps rows = mq_pooling_find_taps(desc, 0, oh);
      for (int64_t ow = 0; ow < pooling->output.dim[3]; ow++, y += channels)
        pool_pixel(table, desc, y, image, rows, mq_pooling_find_taps(desc, 1, ow));
    }
  }
  return MQ_OK;
}
