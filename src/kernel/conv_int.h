/* A convolution on integers, made of one uint8 x int8 convolution of the library.
 *
 * Codes are shifted so that x' = x + x_offset is unsigned and w' = w - w_offset signed. With the zero points
 * shifted likewise (zx', zw'), over the taps that lie inside the input:
 *
 *   sum (x' - zx')(w' - zw') = sum x' w'  -  zx' sum (w' - zw')  -  zw' sum x'
 *
 * The first is the library's. The second depends on the output channel and on which taps lie inside: on a
 * "class" of pixels, of which there are few; it is the table made when weights are packed. The third is a box
 * sum of x, needed only where zw' is not always 0.
 *
 * The library's int8 kernels are exact only within limits (oneDNN 2.6): without VNNI pairs of products
 * saturate in 16 bits, and but for its brgemm kernels the sum passes through a float32. Where codes could
 * exceed a limit, weights are split into digits, w' = sum over k of base^k d_k, each an output channel of its
 * own. */
#ifndef MQ_KERNEL_CONV_INT_H
#define MQ_KERNEL_CONV_INT_H

#include "kernel/onednn.h"

/* Output coordinates along one axis whose taps [first, last) lie inside the input: those from `begin` to the
 * begin of the next span. */
struct mq_conv_int_span {
  int64_t begin, first, last;
};

struct mq_conv_int {
  struct mq_conv_int_desc desc;
  struct mq_shape output;
  int64_t n_images; /* at once; a divisor of the slice */
  struct mq_onednn_op *op, *pack;
  int n_parts, base; /* digits of the weights */
  int x_offset, w_offset;
  bool has_table, has_box;           /* zx', zw' may differ from 0 */
  struct mq_conv_int_span *spans[2]; /* n_spans and an end */
  int64_t n_spans[2];
  int64_t n_taps, group_inputs, group_outputs; /* taps: KH x KW */
};

/* What mq_conv_int_pack makes. */
struct mq_conv_int_packed {
  void *weights;       /* as the library likes them */
  int32_t *table;      /* class (row spans x column spans) x O: sum of (w' - zw') over the taps inside */
  int32_t *zero_point; /* O: zw' */
};
size_t mq_conv_int_packed_layout(struct mq_conv_int_packed *packed, const struct mq_conv_int *conv,
                                 const void *memory);
size_t mq_conv_int_pack_scratch_bytes(const struct mq_conv_int *conv);
size_t mq_conv_int_run_scratch_bytes(const struct mq_conv_int *conv);

/* The library's implementation and the number of digits (tests, benchmarks). */
const char *mq_conv_int_implementation(const struct mq_conv_int *conv);
int mq_conv_int_digits(const struct mq_conv_int *conv);

#endif
