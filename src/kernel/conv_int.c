#include "kernel/conv_int.h"

#include <string.h>

#include "kernel/conv.h"

/* A float32 holds all integers up to this magnitude. */
#define FLOAT_LIMIT ((int64_t)1 << 24)
#define INT16_LIMIT 32767
#define MAX_BITS 8
/* Sums that the second-level cache holds until they are finished. */
#define CACHED_BYTES ((int64_t)512 * 1024)

static mq_status check(struct mq_shape *output, const struct mq_conv_int_desc *desc, struct mq_err *err) {
  const struct mq_tensor weights = mq_tensor_view(NULL, MQ_F32, &desc->weights, NULL);
  struct mq_conv_desc plain = {.input = desc->input, .weights = &weights, .groups = desc->groups};
  for (int i = 0; i < 2; i++) {
    plain.stride[i] = desc->stride[i];
    plain.dilation[i] = desc->dilation[i];
    plain.pad_begin[i] = desc->pad_begin[i];
    plain.pad_end[i] = desc->pad_end[i];
  }
  if (desc->x_bits < 1 || desc->x_bits > MAX_BITS || desc->w_bits < 1 || desc->w_bits > MAX_BITS)
    return mq_fail(err, MQ_BAD_INPUT,
                   "integer convolution: codes of %d bits (x) and %d bits (w), expected 1 to %d",
                   desc->x_bits, desc->w_bits, MAX_BITS);
  return mq_conv_check(output, &plain, err);
}

/* ---- Which taps lie inside ---------------------------------------------------------------------------- */

static struct mq_conv_int_span span_at(const struct mq_conv_int_desc *desc, int axis, int64_t out) {
  const int64_t dilation = desc->dilation[axis], taps = desc->weights.dim[2 + axis];
  const int64_t begin = out * desc->stride[axis] - desc->pad_begin[axis];
  const int64_t end = desc->input.dim[2 + axis] - begin;
  struct mq_conv_int_span span = {.begin = out, .first = 0, .last = taps};
  if (begin < 0) span.first = (-begin + dilation - 1) / dilation;
  if ((taps - 1) * dilation >= end) span.last = end > 0 ? (end - 1) / dilation + 1 : 0;
  /* The whole window lies in the padding. */
  if (span.first >= span.last) span.first = span.last = 0;
  return span;
}

/* Both ends only ever fall as the window moves on, so equal ones are neighbours. Counts only where `spans` is
 * NULL. */
static int64_t list_spans(struct mq_conv_int_span *spans, const struct mq_conv_int *conv, int axis) {
  int64_t n = 0;
  struct mq_conv_int_span last = {0};
  for (int64_t out = 0; out < conv->output.dim[2 + axis]; out++) {
    const struct mq_conv_int_span span = span_at(&conv->desc, axis, out);
    if (n > 0 && span.first == last.first && span.last == last.last) continue;
    if (spans != NULL) spans[n] = span;
    last = span;
    n++;
  }
  if (spans != NULL) spans[n] = (struct mq_conv_int_span){.begin = conv->output.dim[2 + axis]};
  return n;
}

static mq_status init_spans(struct mq_conv_int *conv, struct mq_err *err) {
  for (int i = 0; i < 2; i++) {
    conv->n_spans[i] = list_spans(NULL, conv, i);
    conv->spans[i] = mq_alloc((size_t)conv->n_spans[i] + 1, sizeof *conv->spans[i]);
    if (conv->spans[i] == NULL) return mq_fail_memory(err, "integer convolution");
    list_spans(conv->spans[i], conv, i);
  }
  return MQ_OK;
}

/* ---- How many digits -----------------------------------------------------------------------------------
 * Digit bases 256 (the weight itself), 16, 4 and 2; the largest magnitude of a digit is half of that. */

static void set_digits(struct mq_conv_int *conv, int n_parts) {
  conv->n_parts = n_parts;
  conv->base = 1 << (MAX_BITS / n_parts);
}

static int64_t largest_product(const struct mq_conv_int *conv) {
  const int64_t x = ((int64_t)1 << conv->desc.x_bits) - 1;
  const int64_t whole = (int64_t)1 << (conv->desc.w_bits - 1), digit = conv->base / 2;
  return x * (whole < digit ? whole : digit);
}

/* Depthwise kernels multiply in 32 bits. */
static bool can_saturate(const struct mq_conv_int *conv) {
  const bool is_depthwise = conv->desc.groups > 1 && conv->group_inputs == 1 && conv->group_outputs == 1;
  return mq_kernel_isa() < MQ_ISA_AVX512_VNNI && !is_depthwise && 2 * largest_product(conv) > INT16_LIMIT;
}

/* Kernels whose names begin with brg store their sums as they are. */
static bool is_exact(const struct mq_conv_int *conv) {
  return strncmp(mq_onednn_implementation(conv->op), "brg", 3) == 0 ||
         largest_product(conv) * conv->group_inputs * conv->n_taps <= FLOAT_LIMIT;
}

/* As many images as fit, so that each is sure to divide the slice. */
static void set_images(struct mq_conv_int *conv, const struct mq_shape *sums) {
  const int64_t slice = sums->dim[0], image = mq_shape_count(sums) / slice * (int64_t)sizeof(int32_t);
  conv->n_images = slice;
  while (conv->n_images > 1 && (slice % conv->n_images != 0 || conv->n_images * image > CACHED_BYTES))
    conv->n_images--;
}

static mq_status create_op(struct mq_conv_int *conv, struct mq_err *err) {
  const struct mq_conv_int_desc *d = &conv->desc;
  struct mq_onednn_geometry geometry = {.x = d->input, .y = conv->output, .groups = d->groups};
  for (int i = 0; i < 2; i++) {
    geometry.kernel[i] = d->weights.dim[2 + i];
    geometry.stride[i] = d->stride[i];
    geometry.dilation[i] = d->dilation[i];
    geometry.pad_begin[i] = d->pad_begin[i];
    geometry.pad_end[i] = d->pad_end[i];
  }
  geometry.y.dim[1] *= conv->n_parts;
  set_images(conv, &geometry.y);
  geometry.x.dim[0] = geometry.y.dim[0] = conv->n_images;
  if (mq_shape_count(&geometry.y) > INT32_MAX)
    return mq_fail(err, MQ_BAD_INPUT, "integer convolution: %lld sums a slice, at most %d expected",
                   (long long)mq_shape_count(&geometry.y), INT32_MAX);
  return mq_onednn_pass_create(&conv->op, &geometry, MQ_ONEDNN_FORWARD, MQ_ONEDNN_INT8, err);
}

/* The fewest digits that are exact. Digits of one bit are, for all sums that fit into 32 bits. */
static mq_status choose_digits(struct mq_conv_int *conv, struct mq_err *err) {
  for (int n_parts = 1; n_parts <= MAX_BITS; n_parts *= 2) {
    set_digits(conv, n_parts);
    if (can_saturate(conv)) continue;
    const mq_status status = create_op(conv, err);
    if (status != MQ_OK || is_exact(conv)) return status;
    if (n_parts < MAX_BITS) {
      mq_onednn_destroy(conv->op);
      conv->op = NULL;
    }
  }
  return MQ_OK;
}

/* ---- Creation ----------------------------------------------------------------------------------------- */

mq_status mq_conv_int_create(struct mq_conv_int **conv, const struct mq_conv_int_desc *desc,
                             struct mq_err *err) {
  struct mq_shape output;
  *conv = NULL;
  mq_status status = check(&output, desc, err);
  if (status != MQ_OK) return status;
  struct mq_conv_int *made = mq_alloc(1, sizeof *made);
  if (made == NULL) return mq_fail_memory(err, "integer convolution");
  made->desc = *desc;
  made->output = output;
  made->n_taps = desc->weights.dim[2] * desc->weights.dim[3];
  made->group_inputs = desc->weights.dim[1];
  made->group_outputs = desc->weights.dim[0] / desc->groups;
  made->x_offset = desc->is_input_signed ? 1 << (desc->x_bits - 1) : 0;
  made->w_offset = desc->are_weights_signed ? 0 : 1 << (desc->w_bits - 1);
  made->has_table = desc->has_input_zero_point || made->x_offset != 0;
  made->has_box = desc->has_weight_zero_point || made->w_offset != 0;
  status = init_spans(made, err);
  if (status == MQ_OK) status = choose_digits(made, err);
  if (status == MQ_OK) status = mq_onednn_pack_create(&made->pack, made->op, err);
  if (status != MQ_OK)
    mq_conv_int_destroy(made);
  else
    *conv = made;
  return status;
}

void mq_conv_int_destroy(struct mq_conv_int *conv) {
  if (conv == NULL) return;
  mq_onednn_destroy(conv->op);
  mq_onednn_destroy(conv->pack);
  mq_free(conv->spans[0]);
  mq_free(conv->spans[1]);
  mq_free(conv);
}

struct mq_shape mq_conv_int_output_shape(const struct mq_conv_int *conv) {
  return conv->output;
}

size_t mq_conv_int_scratch_bytes(const struct mq_conv_int *conv) {
  const size_t pack = mq_conv_int_pack_scratch_bytes(conv), run = mq_conv_int_run_scratch_bytes(conv);
  return pack > run ? pack : run;
}

const char *mq_conv_int_implementation(const struct mq_conv_int *conv) {
  return mq_onednn_implementation(conv->op);
}

int mq_conv_int_digits(const struct mq_conv_int *conv) {
  return conv->n_parts;
}
