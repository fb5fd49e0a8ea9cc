/* The sums of layers: by the kernel for integers, or, where codes have more than 8 bits, the convolution is
 * transposed or 32 bits might not hold a sum, by plain loops in 64 bits. */
#include <string.h>

#include "engine/exact/exact.h"

struct exact_sums {
  struct exact_sums_options o;
  struct mq_conv_int *kernel; /* NULL: plain loops */
  void *packed;
  bool is_signed;
  int64_t n_x, n_y;   /* elements */
  int32_t *centred;   /* plain: w - zw as [O][KH][KW][I / groups] */
  size_t codes_bytes; /* in scratch: codes of x, then sums, then the kernel's own */
  size_t sums_bytes;
};

static size_t align(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

double exact_sums_largest(const struct exact_sums *sums, int64_t channel) {
  const struct exact_sums_options *o = &sums->o;
  int64_t row = mq_shape_count(&o->g.weights) / o->g.weights.dim[0];
  double below = (double)o->x.lo - o->x.zero_point, above = (double)o->x.hi - o->x.zero_point;
  double least = 0, most = 0;
  for (int64_t i = 0; i < row; i++) {
    double w = (double)o->codes[channel * row + i] - o->zero_point[channel];
    least += w < 0 ? w * above : w * below;
    most += w < 0 ? w * below : w * above;
  }
  return -least > most ? -least : most;
}

/* ---- Which way ------------------------------------------------------------------------------------ */
static bool fits_8_bits(int32_t lo, int32_t hi) {
  return (lo >= 0 && hi <= UINT8_MAX) || (lo >= INT8_MIN && hi <= INT8_MAX);
}

/* Bits of codes in [lo, hi]. */
static int bits_of(int32_t lo, int32_t hi) {
  int bits = 1;
  while (lo >= 0 ? hi >= 1 << bits : lo < -(1 << (bits - 1)) || hi >= 1 << (bits - 1)) {
    bits++;
  }
  return bits;
}

static bool suits_kernel(const struct exact_sums *sums) {
  const struct exact_sums_options *o = &sums->o;
  if (o->g.is_transposed || !fits_8_bits(o->x.lo, o->x.hi) || !fits_8_bits(o->code_min, o->code_max)) {
    return false;
  }
  for (int64_t i = 0; i < o->g.weights.dim[0]; i++) {
    if (exact_sums_largest(sums, i) >= 0x1p31) {
      return false;
    }
  }
  return true;
}

/* ---- By the kernel -------------------------------------------------------------------------------- */
static bool has_zero_point(const struct exact_sums_options *w) {
  for (int64_t i = 0; i < w->g.weights.dim[0]; i++) {
    if (w->zero_point[i]) {
      return true;
    }
  }
  return false;
}

static mq_status create_kernel(struct exact_sums *sums, struct mq_err *err) {
  const struct exact_sums_options *o = &sums->o;
  struct mq_conv_int_desc desc = {
      .input = o->g.input,
      .weights = o->g.weights,
      .groups = o->g.window.groups,
      .is_input_signed = o->x.lo < 0,
      .x_bits = bits_of(o->x.lo, o->x.hi),
      .w_bits = bits_of(o->code_min, o->code_max),
      .are_weights_signed = o->code_min < 0,
      .has_weight_zero_point = has_zero_point(o),
      .has_input_zero_point = o->x.zero_point != 0,
  };
  memcpy(desc.stride, o->g.window.stride, sizeof desc.stride);
  memcpy(desc.dilation, o->g.window.dilation, sizeof desc.dilation);
  memcpy(desc.pad_begin, o->g.window.pad_begin, sizeof desc.pad_begin);
  memcpy(desc.pad_end, o->g.window.pad_end, sizeof desc.pad_end);
  sums->is_signed = desc.is_input_signed;
  return mq_conv_int_create(&sums->kernel, &desc, err);
}

static mq_status pack(struct exact_sums *sums, struct engine_compiler *c, struct mq_err *err) {
  const struct exact_sums_options *w = &sums->o;
  size_t n = (size_t)mq_shape_count(&w->g.weights);
  mq_status status = engine_alloc(&sums->packed, c, mq_conv_int_packed_bytes(sums->kernel) + 1, 1, err);
  if (status != MQ_OK) {
    return status;
  }
  unsigned char *bytes = mq_alloc(n + 1, 1);
  void *scratch = mq_alloc(mq_conv_int_scratch_bytes(sums->kernel) + 1, 1);
  if (!bytes || !scratch) {
    status = mq_fail_memory(err, "weights of a layer");
  }
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    bytes[i] = (unsigned char)w->codes[i]; /* int8 as its bits */
  }
  if (status == MQ_OK) {
    status = mq_conv_int_pack(sums->kernel, sums->packed, bytes, has_zero_point(w) ? w->zero_point : NULL,
                              scratch, err);
  }
  mq_free(bytes);
  mq_free(scratch);
  return status;
}

/* ---- Plain ---------------------------------------------------------------------------------------- */
static mq_status centre(struct exact_sums *sums, struct engine_compiler *c, struct mq_err *err) {
  const struct exact_sums_options *w = &sums->o;
  const struct mq_shape *form = &w->g.weights;
  int64_t taps = form->dim[2] * form->dim[3], inputs = form->dim[1];
  void *block;
  mq_status status = engine_alloc(&block, c, (size_t)mq_shape_count(form) + 1, sizeof(int32_t), err);
  if (status != MQ_OK) {
    return status;
  }
  sums->centred = block;
  for (int64_t o = 0; o < form->dim[0]; o++) {
    for (int64_t i = 0; i < inputs; i++) {
      for (int64_t t = 0; t < taps; t++) {
        sums->centred[(o * taps + t) * inputs + i] = w->codes[(o * inputs + i) * taps + t] - w->zero_point[o];
      }
    }
  }
  return MQ_OK;
}

/* x: q - z, whole numbers, channels last. */
static void plain_pixel(int64_t *sum, const struct exact_sums *sums, const int32_t *x, int64_t pixel) {
  const struct exact_geometry *g = &sums->o.g;
  int64_t taps = g->weights.dim[2] * g->weights.dim[3];
  memset(sum, 0, (size_t)g->weights.dim[0] * sizeof *sum);
  for (int64_t tap = 0; tap < taps; tap++) {
    int64_t at = exact_tap_at(g, pixel, tap / g->weights.dim[3], tap % g->weights.dim[3]);
    for (int64_t o = 0; o < g->weights.dim[0] && at >= 0; o++) {
      const int32_t *values = x + at + o / g->group_outputs * g->group_inputs;
      const int32_t *weights = sums->centred + (o * taps + tap) * g->group_inputs;
      int64_t total = 0;
      for (int64_t i = 0; i < g->group_inputs; i++) {
        total += (int64_t)values[i] * weights[i];
      }
      sum[o] += total;
    }
  }
}

/* ---- Both ----------------------------------------------------------------------------------------- */
mq_status exact_sums_create(struct exact_sums **sums_out, struct engine_compiler *c,
                            const struct exact_sums_options *options, struct mq_err *err) {
  void *block;
  *sums_out = NULL;
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct exact_sums), err);
  if (status != MQ_OK) {
    return status;
  }
  struct exact_sums *sums = block;
  *sums = (struct exact_sums){
      .o = *options, .n_x = mq_shape_count(&options->g.input), .n_y = mq_shape_count(&options->g.output)};
  bool is_by_kernel = suits_kernel(sums);
  sums->codes_bytes = align((size_t)sums->n_x * (is_by_kernel ? 1 : sizeof(int32_t)));
  sums->sums_bytes = is_by_kernel ? align((size_t)sums->n_y * sizeof(int32_t)) : 0;
  status = is_by_kernel ? create_kernel(sums, err) : centre(sums, c, err);
  if (status == MQ_OK && is_by_kernel) {
    status = pack(sums, c, err);
  }
  if (status != MQ_OK) {
    exact_sums_release(sums);
    return status;
  }
  *sums_out = sums;
  return MQ_OK;
}

void exact_sums_release(struct exact_sums *sums) {
  mq_conv_int_destroy(sums->kernel);
  sums->kernel = NULL;
}

size_t exact_sums_scratch_bytes(const struct exact_sums *sums) {
  size_t own = sums->kernel ? mq_conv_int_scratch_bytes(sums->kernel) : 0;
  return sums->codes_bytes + sums->sums_bytes + own;
}

mq_status exact_sums_begin(const struct exact_sums *sums, const float *x, void *scratch, struct mq_err *err) {
  const struct mq_exact_grid *grid = &sums->o.x;
  if (!sums->kernel) {
    int32_t *codes = scratch;
    const struct mq_exact_grid centred = {.scale = grid->scale};
    exact_codes(codes, x, sums->n_x, &centred);
    return MQ_OK;
  }
  const struct mq_fake_quant fq = {.scale = grid->scale,
                                   .zero_point = (float)grid->zero_point,
                                   .quant_min = (float)grid->lo,
                                   .quant_max = (float)grid->hi};
  char *y = (char *)scratch + sums->codes_bytes;
  mq_loop_quantize_codes(scratch, sums->is_signed, x, sums->n_x, &fq);
  return mq_conv_int_sums(sums->kernel, (int32_t *)(void *)y, scratch, grid->zero_point, sums->packed,
                          y + sums->sums_bytes, err);
}

void exact_sums_pixel(int64_t *sum, const struct exact_sums *sums, const void *scratch, int64_t pixel) {
  if (!sums->kernel) {
    plain_pixel(sum, sums, scratch, pixel);
    return;
  }
  int64_t n = sums->o.g.weights.dim[0];
  const int32_t *sums32 = (const int32_t *)(const void *)((const char *)scratch + sums->codes_bytes);
  for (int64_t i = 0; i < n; i++) {
    sum[i] = sums32[pixel * n + i];
  }
}
