/* Weights of an integer convolution: shifted, split into digits, and summed up for the zero points. */
#include <assert.h>
#include <string.h>

#include "kernel/conv.h"
#include "kernel/conv_int.h"

static size_t table_bytes(const struct mq_conv_int *conv) {
  return mq_scratch_round((size_t)(conv->n_spans[0] * conv->n_spans[1] * conv->output.dim[1]) *
                          sizeof(int32_t));
}

static size_t channel_bytes(const struct mq_conv_int *conv) {
  return mq_scratch_round((size_t)conv->output.dim[1] * sizeof(int32_t));
}

size_t mq_conv_int_packed_layout(struct mq_conv_int_packed *packed, const struct mq_conv_int *conv,
                                 const void *memory) {
  const size_t weights = mq_scratch_round(mq_onednn_pass_weights_bytes(conv->op));
  const size_t table = table_bytes(conv);
  if (packed != NULL) {
    char *bytes = (char *)(uintptr_t)memory;
    packed->weights = bytes;
    packed->table = (int32_t *)(void *)(bytes + weights);
    packed->zero_point = (int32_t *)(void *)(bytes + weights + table);
  }
  return weights + table + channel_bytes(conv);
}

size_t mq_conv_int_packed_bytes(const struct mq_conv_int *conv) {
  return mq_conv_int_packed_layout(NULL, conv, NULL);
}

/* Scratch: the digits, then for each output channel and tap the sum over the inputs. */
static size_t digits_bytes(const struct mq_conv_int *conv) {
  return mq_scratch_round((size_t)(mq_shape_count(&conv->desc.weights) * conv->n_parts));
}

static size_t tap_sums_bytes(const struct mq_conv_int *conv) {
  return mq_scratch_round((size_t)(conv->output.dim[1] * conv->n_taps) * sizeof(int32_t));
}

size_t mq_conv_int_pack_scratch_bytes(const struct mq_conv_int *conv) {
  return digits_bytes(conv) + tap_sums_bytes(conv) + mq_onednn_scratch_bytes(conv->pack);
}

static int shifted_code(const struct mq_conv_int *conv, const void *codes, int64_t at) {
  const int code = conv->desc.are_weights_signed ? ((const int8_t *)codes)[at] : ((const uint8_t *)codes)[at];
  return code - conv->w_offset;
}

/* Digits from -base/2 to base/2 - 1, least first; the last takes what is left. */
static void split(int8_t *digits, int64_t step, int weight, int n_parts, int base) {
  for (int k = 0; k < n_parts - 1; k++) {
    const int digit = ((weight + base / 2) & (base - 1)) - base / 2;
    digits[k * step] = (int8_t)digit;
    weight = (weight - digit) / base;
  }
  digits[(n_parts - 1) * step] = (int8_t)weight;
}

/* Digit k of all outputs of a group follow digit k - 1 of all of them. */
static void split_channel(int8_t *digits, int32_t *tap_sums, const struct mq_conv_int *conv,
                          const void *codes, int64_t o) {
  const int64_t outputs = conv->group_outputs, window = conv->group_inputs * conv->n_taps;
  const int64_t group = o / outputs, step = outputs * window;
  int8_t *first = digits + group * step * conv->n_parts + o % outputs * window;
  memset(tap_sums, 0, (size_t)conv->n_taps * sizeof *tap_sums);
  for (int64_t i = 0; i < window; i++) {
    const int weight = shifted_code(conv, codes, o * window + i);
    split(first + i, step, weight, conv->n_parts, conv->base);
    tap_sums[i % conv->n_taps] += weight;
  }
}

/* One output channel's column of the table. */
static void fill_table(int32_t *table, const struct mq_conv_int *conv, const int32_t *tap_sums,
                       int32_t zero_point) {
  const int64_t width = conv->desc.weights.dim[3];
  const int32_t offset = zero_point * (int32_t)conv->group_inputs;
  for (int64_t r = 0; r < conv->n_spans[0]; r++)
    for (int64_t c = 0; c < conv->n_spans[1]; c++, table += conv->output.dim[1]) {
      const struct mq_conv_int_span rows = conv->spans[0][r], columns = conv->spans[1][c];
      int32_t sum = 0;
      for (int64_t kh = rows.first; kh < rows.last; kh++)
        for (int64_t kw = columns.first; kw < columns.last; kw++)
          sum += tap_sums[kh * width + kw] - offset;
      *table = sum;
    }
}

mq_status mq_conv_int_pack(const struct mq_conv_int *conv, void *packed, const void *codes,
                           const int32_t *zero_point, void *scratch, struct mq_err *err) {
  assert((zero_point != NULL) == conv->desc.has_weight_zero_point);
  struct mq_conv_int_packed to;
  int8_t *digits = scratch;
  char *rest = (char *)scratch + digits_bytes(conv);
  int32_t *tap_sums = (int32_t *)(void *)rest;
  mq_conv_int_packed_layout(&to, conv, packed);
  for (int64_t o = 0; o < conv->output.dim[1]; o++) {
    int32_t *sums = tap_sums + o * conv->n_taps;
    to.zero_point[o] = (zero_point != NULL ? zero_point[o] : 0) - conv->w_offset;
    split_channel(digits, sums, conv, codes, o);
    fill_table(to.table + o, conv, sums, to.zero_point[o]);
  }
  return mq_onednn_copy(conv->pack, to.weights, digits, rest + tap_sums_bytes(conv), err);
}
