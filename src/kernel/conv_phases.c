#include "kernel/conv_phases.h"

#include <string.h>

#include "kernel/conv.h"
#include "kernel/simd/convert.h"

#define MAX_INPUTS 4
#define MAX_OUTPUTS 64

struct mq_conv_phases {
  struct mq_onednn_geometry of;    /* the convolution whose x is wanted */
  struct mq_onednn_geometry cells; /* x: dy; y: N x (stride x stride x C) x cells */
  int64_t begin[2];
  bool is_bf16;
  struct mq_onednn_op *op, *pack;
  float *zeros; /* a bias that is none */
};

/* The range of begin + t along one axis over all phases. Taps of other phases are 0. */
static void find_range(int64_t *least, int64_t *most, const struct mq_onednn_geometry *g, int axis) {
  const int64_t stride = g->stride[axis], pad = g->pad_begin[axis];
  *least = INT64_MAX;
  *most = INT64_MIN;
  for (int64_t p = 0; p < stride; p++)
    for (int64_t k = 0; k < g->kernel[axis]; k++) {
      if ((p + pad - k) % stride != 0) continue;
      const int64_t at = (p + pad - k) / stride;
      if (at < *least) *least = at;
      if (at > *most) *most = at;
    }
}

static void set_axis(struct mq_onednn_geometry *cells, int64_t *begin, const struct mq_onednn_geometry *g,
                     int axis) {
  int64_t least, most;
  find_range(&least, &most, g, axis);
  const int64_t n_cells = (g->x.dim[2 + axis] + g->stride[axis] - 1) / g->stride[axis];
  cells->y.dim[2 + axis] = n_cells;
  cells->kernel[axis] = most - least + 1;
  cells->stride[axis] = cells->dilation[axis] = 1;
  cells->pad_begin[axis] = -least;
  cells->pad_end[axis] = n_cells - 1 + most - (g->y.dim[2 + axis] - 1);
  *begin = least;
}

static struct mq_onednn_geometry cells_of(const struct mq_onednn_geometry *g, int64_t begin[2]) {
  struct mq_onednn_geometry cells = {.x = g->y, .y = g->x, .groups = 1};
  cells.y.dim[1] = g->stride[0] * g->stride[1] * g->x.dim[1];
  for (int i = 0; i < 2; i++)
    set_axis(&cells, &begin[i], g, i);
  return cells;
}

bool mq_conv_phases_can(const struct mq_onednn_geometry *geometry) {
  const int64_t *stride = geometry->stride;
  int64_t begin[2];
  if (geometry->groups != 1 || geometry->dilation[0] != 1 || geometry->dilation[1] != 1 ||
      geometry->x.dim[1] > MAX_INPUTS || stride[0] > MAX_OUTPUTS || stride[1] > MAX_OUTPUTS ||
      stride[0] * stride[1] == 1 || stride[0] * stride[1] * geometry->x.dim[1] > MAX_OUTPUTS)
    return false;
  const struct mq_onednn_geometry cells = cells_of(geometry, begin);
  return cells.pad_begin[0] >= 0 && cells.pad_begin[1] >= 0 && cells.pad_end[0] >= 0 && cells.pad_end[1] >= 0;
}

mq_status mq_conv_phases_create(struct mq_conv_phases **phases, const struct mq_onednn_geometry *geometry,
                                mq_onednn_numbers numbers, struct mq_err *err) {
  *phases = NULL;
  struct mq_conv_phases *made = mq_alloc(1, sizeof *made);
  if (made == NULL) return mq_fail_memory(err, "convolution");
  made->of = *geometry;
  made->cells = cells_of(geometry, made->begin);
  made->is_bf16 = numbers == MQ_ONEDNN_BF16;
  made->zeros = mq_alloc((size_t)made->cells.y.dim[1], sizeof *made->zeros);
  mq_status status = MQ_OK;
  if (made->zeros == NULL) status = mq_fail_memory(err, "convolution");
  if (status == MQ_OK)
    status = mq_onednn_pass_create(&made->op, &made->cells, MQ_ONEDNN_FORWARD, numbers, err);
  if (status == MQ_OK) status = mq_onednn_pack_create(&made->pack, made->op, err);
  if (status != MQ_OK)
    mq_conv_phases_destroy(made);
  else
    *phases = made;
  return status;
}

void mq_conv_phases_destroy(struct mq_conv_phases *phases) {
  if (phases == NULL) return;
  mq_onednn_destroy(phases->op);
  mq_onednn_destroy(phases->pack);
  mq_free(phases->zeros);
  mq_free(phases);
}

const char *mq_conv_phases_implementation(const struct mq_conv_phases *phases) {
  return mq_onednn_implementation(phases->op);
}

static int64_t count_weights(const struct mq_conv_phases *phases) {
  const struct mq_onednn_geometry *cells = &phases->cells;
  return cells->y.dim[1] * cells->x.dim[1] * cells->kernel[0] * cells->kernel[1];
}

static size_t weights_bytes(const struct mq_conv_phases *phases) {
  return mq_scratch_round((size_t)count_weights(phases) * sizeof(float));
}

static size_t cells_bytes(const struct mq_conv_phases *phases) {
  return mq_scratch_round((size_t)mq_shape_count(&phases->cells.y) * sizeof(float));
}

size_t mq_conv_phases_weights_bytes(const struct mq_conv_phases *phases) {
  return mq_onednn_pass_weights_bytes(phases->op);
}

/* The weights of the cells, and those rounded to bfloat16. */
size_t mq_conv_phases_pack_scratch_bytes(const struct mq_conv_phases *phases) {
  return (phases->is_bf16 ? 2 : 1) * weights_bytes(phases) + mq_onednn_scratch_bytes(phases->pack);
}

size_t mq_conv_phases_run_scratch_bytes(const struct mq_conv_phases *phases) {
  return cells_bytes(phases) + mq_onednn_scratch_bytes(phases->op);
}

/* One output channel of the cells: phase (ph, pw), input channel c. */
static void fill_output(float *to, const struct mq_conv_phases *phases, const float *weights, int64_t ph,
                        int64_t pw, int64_t c) {
  const struct mq_onednn_geometry *g = &phases->of, *cells = &phases->cells;
  const int64_t *kernel = g->kernel;
  for (int64_t o = 0; o < g->y.dim[1]; o++)
    for (int64_t th = 0; th < cells->kernel[0]; th++)
      for (int64_t tw = 0; tw < cells->kernel[1]; tw++) {
        const int64_t kh = ph + g->pad_begin[0] - g->stride[0] * (phases->begin[0] + th);
        const int64_t kw = pw + g->pad_begin[1] - g->stride[1] * (phases->begin[1] + tw);
        const bool is_tap = kh >= 0 && kh < kernel[0] && kw >= 0 && kw < kernel[1];
        *to++ = is_tap ? weights[((o * g->x.dim[1] + c) * kernel[0] + kh) * kernel[1] + kw] : 0.0f;
      }
}

mq_status mq_conv_phases_pack(const struct mq_conv_phases *phases, void *packed, const float *weights,
                              void *scratch, struct mq_err *err) {
  const int64_t channels = phases->of.x.dim[1], n_outputs = phases->cells.y.dim[1];
  const int64_t step = count_weights(phases) / n_outputs, width = phases->of.stride[1];
  float *plain = scratch;
  char *rest = (char *)scratch + weights_bytes(phases);
  const void *from = plain;
  for (int64_t i = 0; i < n_outputs; i++)
    fill_output(plain + i * step, phases, weights, i / channels / width, i / channels % width, i % channels);
  if (phases->is_bf16) {
    mq_simd_convert_at(mq_simd_level_used())
        ->round_bf16((uint16_t *)(void *)rest, plain, count_weights(phases));
    from = rest;
    rest += weights_bytes(phases);
  }
  return mq_onednn_copy(phases->pack, packed, from, rest, err);
}

/* A row of phases of a cell lies in one piece on both sides; the last cell of a row may hang over. */
static void spread_row(float *dx, const struct mq_conv_phases *phases, const float *cells) {
  const int64_t piece = phases->of.stride[1] * phases->of.x.dim[1];
  const int64_t row = phases->of.x.dim[3] * phases->of.x.dim[1];
  for (int64_t at = 0; at < row; at += piece, cells += phases->cells.y.dim[1])
    for (int64_t i = 0; i < piece && at + i < row; i++)
      dx[at + i] = cells[i];
}

mq_status mq_conv_phases_run(const struct mq_conv_phases *phases, float *dx, const void *dy,
                             const void *packed, void *scratch, struct mq_err *err) {
  const struct mq_onednn_geometry *g = &phases->of, *c = &phases->cells;
  const float *cells = scratch;
  const struct mq_onednn_operands operands = {
      .x = dy, .weights = packed, .bias = phases->is_bf16 ? NULL : phases->zeros, .y = cells};
  const mq_status status =
      mq_onednn_pass_run(phases->op, &operands, (char *)scratch + cells_bytes(phases), err);
  if (status != MQ_OK) return status;
  const int64_t cell_row = c->y.dim[3] * c->y.dim[1], row = g->x.dim[3] * g->x.dim[1];
  for (int64_t n = 0; n < g->x.dim[0]; n++, cells += c->y.dim[2] * cell_row)
    for (int64_t ih = 0; ih < g->x.dim[2]; ih++, dx += row)
      spread_row(dx, phases,
                 cells + ih / g->stride[0] * cell_row + ih % g->stride[0] * g->stride[1] * g->x.dim[1]);
  return MQ_OK;
}
