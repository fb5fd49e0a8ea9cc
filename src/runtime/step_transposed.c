/* Transposed convolutions: outputs that lie `stride` apart have the same taps, so that each of the stride x
 * stride phases is a plain convolution of stride 1 with some of the weights. Along an axis, output o reads
 * tap t where t dilation and o + pad have the same rest modulo the stride, from input
 *
 *   (o + pad - t dilation) / stride = floor((o + pad) / stride) - floor(t dilation / stride). */
#include <string.h>

#include "runtime/layer.h"
#include "runtime/ops.h"

struct phase {
  struct runtime_finish finish;
  int64_t n_segments, block_bytes;
  int64_t *segments, *taps; /* taps: of the kernel */
  signed char *weights;
};

struct layer {
  const struct runtime_dot *dot;
  int64_t groups, group_inputs, group_outputs, n_blocks; /* blocks of a group */
  int64_t n_quads;
  struct phase *phases; /* by rests of rows, then of columns */
  signed char *ones;    /* a block that sums up x, where weights have zero points */
};

/* ---- Preparing ------------------------------------------------------------------------------------------
 */
struct reach {
  int64_t before[2], behind[2];
};

static struct reach find_reach(const struct runtime_layout *x, const struct runtime_layout *y,
                               const struct mq_program_window *w) {
  const int64_t in[2] = {x->rows, x->columns}, out[2] = {y->rows, y->columns};
  struct reach reach = {{0}, {0}};
  for (int axis = 0; axis < 2; axis++) {
    const int64_t stride = w->stride[axis], last_tap = (int64_t)(w->kernel[axis] - 1) * w->dilation[axis];
    const int64_t before = last_tap / stride - w->pad_begin[axis] / stride;
    const int64_t behind = (out[axis] - 1 + w->pad_begin[axis]) / stride - (in[axis] - 1);
    reach.before[axis] = before > 0 ? before : 0;
    reach.behind[axis] = behind > 0 ? behind : 0;
  }
  return reach;
}

static bool can(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  if (!runtime_layer_takes(runtime, step) || !step->as.conv.is_transposed) return false;
  const struct runtime_layout *x = runtime_input(runtime, step, 0);
  const struct reach reach = find_reach(x, runtime_output(runtime, step), &step->as.conv.window);
  const int64_t limit = 4;
  return reach.before[0] + reach.behind[0] <= limit * x->rows &&
         reach.before[1] + reach.behind[1] <= limit * x->columns && step->as.conv.window.stride[0] <= 16 &&
         step->as.conv.window.stride[1] <= 16;
}

static void raise_to(int64_t *value, int64_t least) {
  if (*value < least) *value = least;
}

static void want_pads(struct runtime_layout *x, const struct mq_program_step *step) {
  /* The output's size as mq_program_finish has checked it. */
  const struct mq_program_window *w = &step->as.conv.window;
  struct runtime_layout y = {.rows = 0};
  y.rows = (x->rows - 1) * w->stride[0] + program_extent(w, 0) - w->pad_begin[0] - w->pad_end[0];
  y.columns = (x->columns - 1) * w->stride[1] + program_extent(w, 1) - w->pad_begin[1] - w->pad_end[1];
  const struct reach reach = find_reach(x, &y, w);
  raise_to(&x->top, reach.before[0]);
  raise_to(&x->bottom, reach.behind[0]);
  raise_to(&x->side, reach.before[1]);
  raise_to(&x->side, reach.behind[1]);
}

static mq_status find_segments(struct phase *phase, const struct layer *layer, struct mq_runtime *runtime,
                               const struct mq_program_step *step, const int64_t *rest, struct mq_err *err) {
  const struct mq_program_window *w = &step->as.conv.window;
  const struct runtime_layout *x = runtime_input(runtime, step, 0);
  const size_t most = (size_t)w->kernel[0] * (size_t)w->kernel[1];
  phase->segments = mq_arena_alloc(&runtime->arena, most, sizeof *phase->segments);
  phase->taps = mq_arena_alloc(&runtime->arena, most, sizeof *phase->taps);
  if (phase->segments == NULL || phase->taps == NULL) return mq_fail_memory(err, "a layer's taps");
  for (int64_t h = 0; h < w->kernel[0]; h++)
    for (int64_t k = 0; k < w->kernel[1]; k++) {
      const int64_t row = h * w->dilation[0], column = k * w->dilation[1];
      if (row % w->stride[0] != rest[0] || column % w->stride[1] != rest[1]) continue;
      phase->taps[phase->n_segments] = h * w->kernel[1] + k;
      phase->segments[phase->n_segments++] =
          -(row / w->stride[0]) * x->row_bytes - column / w->stride[1] * x->pixel_bytes;
    }
  phase->block_bytes = phase->n_segments * layer->n_quads * 4 * RUNTIME_BLOCK;
  return MQ_OK;
}

/* Byte k of segment s, for one lane of a block. */
static signed char *place(const struct layer *layer, signed char *block, int64_t s, int64_t k, int64_t lane) {
  return block + (s * layer->n_quads + k / 4) * 4 * RUNTIME_BLOCK + lane * 4 + k % 4;
}

/* The phase's weights of channel o into lane `lane` of a block; *sum: of them. */
static void pack_channel(int64_t *sum, const struct layer *layer, const struct phase *phase,
                         signed char *block, int64_t lane, const struct mq_program_conv *conv, int64_t o) {
  const int64_t n_taps = (int64_t)conv->window.kernel[0] * conv->window.kernel[1];
  for (int64_t s = 0; s < phase->n_segments; s++)
    for (int64_t k = 0; k < layer->group_inputs; k++) {
      const int8_t w = conv->weights[(o * n_taps + phase->taps[s]) * layer->group_inputs + k];
      *place(layer, block, s, k, lane) = w;
      *sum += w;
    }
}

/* Parameters are made for all taps: the zero points of those that the phase does not have are taken out. */
static mq_status make_phase(struct phase *phase, const struct layer *layer, struct mq_runtime *runtime,
                            const struct mq_program_step *step, int64_t *order, int64_t *sums,
                            struct mq_err *err) {
  const struct mq_program_conv *conv = &step->as.conv;
  const int64_t n_taps = (int64_t)conv->window.kernel[0] * conv->window.kernel[1];
  const int64_t n_blocks = layer->groups * layer->n_blocks, lanes = layer->n_blocks * RUNTIME_BLOCK;
  const size_t bytes = (size_t)(phase->block_bytes > 0 ? phase->block_bytes : 1);
  phase->weights = mq_arena_alloc(&runtime->arena, (size_t)n_blocks, bytes);
  if (phase->weights == NULL) return mq_fail_memory(err, "packed weights");
  for (int64_t i = 0; i < n_blocks * RUNTIME_BLOCK; i++) {
    const int64_t o = i / lanes * layer->group_outputs + i % lanes;
    order[i] = i % lanes < layer->group_outputs ? o : -1;
    if (order[i] < 0) continue;
    sums[o] = (n_taps - phase->n_segments) * layer->group_inputs * conv->channels[o].w_zero_point;
    pack_channel(&sums[o], layer, phase, phase->weights + i / RUNTIME_BLOCK * phase->block_bytes,
                 i % RUNTIME_BLOCK, conv, o);
  }
  return runtime_finish_init(&phase->finish, runtime, step, order, n_blocks * RUNTIME_BLOCK, sums, err);
}

static mq_status make_phases(struct layer *layer, struct mq_runtime *runtime,
                             const struct mq_program_step *step, struct mq_err *err) {
  const struct mq_program_window *w = &step->as.conv.window;
  int64_t *order = mq_alloc((size_t)(layer->groups * layer->n_blocks * RUNTIME_BLOCK), sizeof *order);
  int64_t *sums = mq_alloc((size_t)(layer->groups * layer->group_outputs), sizeof *sums);
  mq_status status = order != NULL && sums != NULL ? MQ_OK : mq_fail_memory(err, "a layer's channels");
  for (int64_t i = 0; i < (int64_t)w->stride[0] * w->stride[1] && status == MQ_OK; i++) {
    const int64_t rest[2] = {i / w->stride[1], i % w->stride[1]};
    status = find_segments(&layer->phases[i], layer, runtime, step, rest, err);
    if (status == MQ_OK) status = make_phase(&layer->phases[i], layer, runtime, step, order, sums, err);
  }
  mq_free(order);
  mq_free(sums);
  return status;
}

/* Long enough for any phase. */
static mq_status make_ones(struct layer *layer, struct mq_runtime *runtime,
                           const struct mq_program_step *step, struct mq_err *err) {
  const struct mq_program_window *w = &step->as.conv.window;
  const int64_t taps = (int64_t)w->kernel[0] * w->kernel[1];
  if (layer->phases[0].finish.w_zero == NULL) return MQ_OK;
  layer->ones = mq_arena_alloc(&runtime->arena, (size_t)(taps * layer->n_quads), 4 * RUNTIME_BLOCK);
  if (layer->ones == NULL) return mq_fail_memory(err, "packed weights");
  for (int64_t s = 0; s < taps; s++)
    for (int64_t k = 0; k < layer->group_inputs; k++)
      *place(layer, layer->ones, s, k, 0) = 1;
  return MQ_OK;
}

static mq_status prepare(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  const struct mq_program_conv *conv = &step->step->as.conv;
  const struct runtime_layout *x = runtime_input(runtime, step->step, 0);
  const struct runtime_layout *y = runtime_output(runtime, step->step);
  struct layer *layer = mq_arena_alloc(&runtime->arena, 1, sizeof *layer);
  if (layer == NULL) return mq_fail_memory(err, "a layer");
  step->own = layer;
  step->n_units = y->rows;
  layer->dot = runtime_dot_of(runtime->level);
  layer->groups = conv->groups;
  layer->group_inputs = x->channels / layer->groups;
  layer->group_outputs = y->channels / layer->groups;
  layer->n_blocks = (layer->group_outputs + RUNTIME_BLOCK - 1) / RUNTIME_BLOCK;
  layer->n_quads = (layer->group_inputs + 3) / 4;
  const size_t n_phases = (size_t)conv->window.stride[0] * (size_t)conv->window.stride[1];
  layer->phases = mq_arena_alloc(&runtime->arena, n_phases, sizeof *layer->phases);
  if (layer->phases == NULL) return mq_fail_memory(err, "a layer");
  const mq_status status = make_phases(layer, runtime, step->step, err);
  return status == MQ_OK ? make_ones(layer, runtime, step->step, err) : status;
}

/* ---- Running --------------------------------------------------------------------------------------------
 */
/* Pixels of one row and phase. */
struct tile {
  const unsigned char *x[RUNTIME_MAX_PIXELS], *shortcut[RUNTIME_MAX_PIXELS];
  unsigned char *y[RUNTIME_MAX_PIXELS];
  int32_t box[RUNTIME_MAX_PIXELS];
  int n;
};

static void move_tile(struct tile *tile, int64_t x_bytes, int64_t y_bytes, int64_t shortcut_bytes) {
  for (int p = 0; p < tile->n; p++) {
    tile->x[p] += x_bytes;
    tile->y[p] += y_bytes;
    if (tile->shortcut[p] != NULL) tile->shortcut[p] += shortcut_bytes;
  }
}

static struct runtime_dot_job job_of(const struct layer *layer, const struct phase *phase,
                                     const struct tile *tile, const signed char *weights, int32_t *acc) {
  return (struct runtime_dot_job){.x = tile->x,
                                  .segments = phase->segments,
                                  .n_segments = phase->n_segments,
                                  .n_quads = layer->n_quads,
                                  .weights = weights,
                                  .block_bytes = phase->block_bytes,
                                  .acc = acc};
}

/* Tiles fit every number of blocks: as many pixels as the widest takes. */
static void run_group(const struct layer *layer, const struct phase *phase, struct tile *tile, int64_t group,
                      int64_t element_bytes, mq_simd_level level) {
  _Alignas(64) int32_t acc[RUNTIME_MAX_TILE];
  if (layer->ones != NULL) {
    const struct runtime_dot_job job = job_of(layer, phase, tile, layer->ones, acc);
    layer->dot->at[1][tile->n](&job);
    for (int p = 0; p < tile->n; p++)
      tile->box[p] = acc[p * RUNTIME_BLOCK];
  }
  for (int64_t first = 0; first < layer->n_blocks; first += layer->dot->max_blocks) {
    const int64_t rest = layer->n_blocks - first, block = group * layer->n_blocks + first;
    const int n = (int)(rest < layer->dot->max_blocks ? rest : layer->dot->max_blocks);
    const int64_t left = layer->group_outputs - (first + n - 1) * RUNTIME_BLOCK;
    const struct runtime_dot_job job =
        job_of(layer, phase, tile, phase->weights + block * phase->block_bytes, acc);
    const struct runtime_tile sums = {.n_pixels = tile->n,
                                      .n_blocks = n,
                                      .n_last = left < RUNTIME_BLOCK ? (int)left : RUNTIME_BLOCK,
                                      .acc_step = n * RUNTIME_BLOCK,
                                      .channel = block * RUNTIME_BLOCK,
                                      .acc = acc,
                                      .box = layer->ones != NULL ? tile->box : NULL,
                                      .y = tile->y,
                                      .shortcut = tile->shortcut[0] != NULL ? tile->shortcut : NULL};
    layer->dot->at[n][tile->n](&job);
    runtime_finisher_at(level)->finish(&phase->finish, &sums);
    move_tile(tile, 0, n * RUNTIME_BLOCK * element_bytes, n * RUNTIME_BLOCK);
  }
  /* To the next group's channels. */
  const int64_t beyond = layer->group_outputs - layer->n_blocks * RUNTIME_BLOCK;
  move_tile(tile, layer->group_inputs, beyond * element_bytes, beyond);
}

struct work {
  const struct mq_program_step *step;
  const struct layer *layer;
  const struct runtime_layout *x, *y, *shortcut;
  unsigned char *x_data, *y_data, *shortcut_data;
  mq_simd_level level;
};

/* Outputs oh, ow, ow + stride, ... */
static void run_tile(const struct work *w, const struct phase *phase, int64_t oh, int64_t ow, int n) {
  const struct mq_program_window *window = &w->step->as.conv.window;
  const int64_t row = (oh + window->pad_begin[0]) / window->stride[0];
  struct tile tile = {.n = n};
  for (int p = 0; p < n; p++, ow += window->stride[1]) {
    tile.x[p] = runtime_pixel(w->x, w->x_data, row, (ow + window->pad_begin[1]) / window->stride[1]);
    tile.y[p] = runtime_pixel(w->y, w->y_data, oh, ow);
    if (w->shortcut != NULL) tile.shortcut[p] = runtime_pixel(w->shortcut, w->shortcut_data, oh, ow);
  }
  for (int64_t group = 0; group < w->layer->groups; group++)
    run_group(w->layer, phase, &tile, group, w->y->element_bytes, w->level);
}

static void run_row(const struct work *w, int64_t oh) {
  const struct mq_program_window *window = &w->step->as.conv.window;
  const int64_t stride = window->stride[1], width = w->y->columns;
  const struct layer *layer = w->layer;
  const struct phase *phases = layer->phases + (oh + window->pad_begin[0]) % window->stride[0] * stride;
  const int64_t widest = layer->n_blocks < layer->dot->max_blocks ? layer->n_blocks : layer->dot->max_blocks;
  const int64_t most = layer->dot->pixels[widest];
  for (int64_t first = 0; first < stride && first < width; first++) {
    const int64_t n = (width - first + stride - 1) / stride;
    const struct phase *phase = &phases[(first + window->pad_begin[1]) % stride];
    for (int64_t at = 0; at < n; at += most)
      run_tile(w, phase, oh, first + at * stride, (int)(n - at < most ? n - at : most));
  }
}

static void run(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                int64_t last) {
  const struct mq_runtime *runtime = frame->runtime;
  const struct mq_program_step *s = step->step;
  struct work w = {.step = s,
                   .layer = step->own,
                   .x = runtime_input(runtime, s, 0),
                   .y = runtime_output(runtime, s),
                   .x_data = frame->data[s->inputs[0]],
                   .y_data = frame->data[s->output],
                   .level = runtime_simd(runtime->level)};
  if (s->n_inputs > 1) {
    w.shortcut = runtime_input(runtime, s, 1);
    w.shortcut_data = frame->data[s->inputs[1]];
  }
  for (int64_t oh = first; oh < last; oh++)
    run_row(&w, oh);
}

const struct runtime_op runtime_op_transposed = {
    .name = "transposed convolution", .can = can, .reach = want_pads, .prepare = prepare, .run = run};
