/* Weights of an integer convolution: shifted, split into digits, and summed up for the zero points. */
#include <assert.h>

#include "kernel/conv.h"
#include "kernel/conv_int.h"
#include "kernel/simd/integer.h"

static size_t table_bytes(const struct mq_conv_int *conv) {
  if (!conv->has_table) return 0;
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

/* Scratch: the shifted weights, the digits, and the sums over inputs of one output channel, tap by tap. */
static size_t shifted_bytes(const struct mq_conv_int *conv) {
  return conv->w_offset == 0 ? 0 : mq_scratch_round((size_t)mq_shape_count(&conv->desc.weights));
}

static size_t digits_bytes(const struct mq_conv_int *conv) {
  if (conv->n_parts == 1) return 0;
  return mq_scratch_round((size_t)(mq_shape_count(&conv->desc.weights) * conv->n_parts));
}

static size_t tap_sums_bytes(const struct mq_conv_int *conv) {
  return mq_scratch_round((size_t)conv->n_taps * sizeof(int32_t));
}

size_t mq_conv_int_pack_scratch_bytes(const struct mq_conv_int *conv) {
  return shifted_bytes(conv) + digits_bytes(conv) + tap_sums_bytes(conv) +
         mq_onednn_scratch_bytes(conv->pack);
}

/* w' */
static const int8_t *shift_weights(const struct mq_conv_int *conv, const void *codes, void *shifted) {
  if (conv->w_offset == 0) return codes;
  mq_simd_integer_at(mq_simd_level_used())
      ->shift_bytes(shifted, codes, mq_shape_count(&conv->desc.weights), -conv->w_offset);
  return shifted;
}

/* Digit k of all outputs of a group follow digit k - 1 of all of them. */
static const int8_t *split_weights(const struct mq_conv_int *conv, const int8_t *weights, int8_t *digits) {
  if (conv->n_parts == 1) return weights;
  const int64_t step = conv->group_outputs * conv->group_inputs * conv->n_taps;
  for (int64_t g = 0; g < conv->desc.groups; g++)
    mq_simd_integer_at(mq_simd_level_used())
        ->split(digits + g * step * conv->n_parts, step, weights + g * step, step, conv->n_parts, conv->base);
  return digits;
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

static void fill_tables(const struct mq_conv_int_packed *to, const struct mq_conv_int *conv,
                        const int8_t *weights, const int32_t *zero_point, int32_t *tap_sums) {
  const struct mq_simd_integer *table = mq_simd_integer_at(mq_simd_level_used());
  for (int64_t o = 0; o < conv->output.dim[1]; o++) {
    to->zero_point[o] = (zero_point != NULL ? zero_point[o] : 0) - conv->w_offset;
    if (!conv->has_table) continue;
    table->tap_sums(tap_sums, weights + o * conv->group_inputs * conv->n_taps, conv->group_inputs,
                    conv->n_taps);
    fill_table(to->table + o, conv, tap_sums, to->zero_point[o]);
  }
}

mq_status mq_conv_int_pack(const struct mq_conv_int *conv, void *packed, const void *codes,
                           const int32_t *zero_point, void *scratch, struct mq_err *err) {
  assert((zero_point != NULL) == conv->desc.has_weight_zero_point);
  struct mq_conv_int_packed to;
  char *shifted = scratch, *digits = shifted + shifted_bytes(conv), *sums = digits + digits_bytes(conv);
  mq_conv_int_packed_layout(&to, conv, packed);
  const int8_t *weights = shift_weights(conv, codes, shifted);
  fill_tables(&to, conv, weights, zero_point, (int32_t *)(void *)sums);
  return mq_onednn_copy(conv->pack, to.weights, split_weights(conv, weights, (int8_t *)digits),
                        sums + tap_sums_bytes(conv), err);
}
