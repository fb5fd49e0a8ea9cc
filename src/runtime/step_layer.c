/* Convolutions and linear layers: tiles of pixels by blocks of channels, finished while their sums are in the
 * first-level cache. */
#include <string.h>

#include "runtime/layer.h"
#include "runtime/ops.h"
#include "runtime/simd/fused.h"
#include "runtime/simd/rows.h"

/* Channels beside each other: blocks [first, first + n) of a group. */
struct panel {
  int first, n;
};

struct layer {
  struct runtime_finish finish;
  const struct runtime_dot *dot;
  int64_t groups, group_inputs, group_outputs, n_blocks; /* blocks of a group */
  int64_t n_segments, n_quads, block_bytes, x_first;     /* x_first: bytes from pixel 0, 0 to the first tap */
  int64_t *segments;
  signed char *weights, *ones; /* ones: a block that sums up x, where weights have zero points */
  struct panel *panels;
  /* By blocks of a panel: the loop for tiles within a row, else for any; NULL: there is none. */
  struct runtime_row_loop rows[RUNTIME_MAX_BLOCKS + 1];
  runtime_fused_fn fused[RUNTIME_MAX_BLOCKS + 1];
  int64_t n_panels;
  bool cuts_panels; /* units are panels of groups, else output rows */
};

/* ---- Preparing ---------------------------------------------------------------------------------------- */
/* Where the channels of neighbouring taps follow each other in memory, a row of the window is one run of
 * bytes; else every tap is one. */
static bool has_whole_rows(const struct mq_program_conv *conv) {
  return conv->groups == 1 && (conv->window.dilation[1] == 1 || conv->window.kernel[1] == 1);
}

static mq_status make_segments(struct layer *layer, struct mq_runtime *runtime,
                               const struct mq_program_step *step, struct mq_err *err) {
  const struct mq_program_conv *conv = &step->as.conv;
  const struct mq_program_window *w = &conv->window;
  const struct runtime_layout *x = runtime_input(runtime, step, 0);
  const int64_t columns = has_whole_rows(conv) ? 1 : w->kernel[1];
  const int64_t bytes = layer->group_inputs * (has_whole_rows(conv) ? w->kernel[1] : 1);
  layer->n_segments = w->kernel[0] * columns;
  layer->n_quads = (bytes + 3) / 4;
  layer->block_bytes = layer->n_segments * layer->n_quads * 4 * RUNTIME_BLOCK;
  layer->x_first = -w->pad_begin[0] * x->row_bytes - w->pad_begin[1] * x->pixel_bytes;
  layer->segments = mq_arena_alloc(&runtime->arena, (size_t)layer->n_segments, sizeof *layer->segments);
  if (layer->segments == NULL) return mq_fail_memory(err, "a layer's taps");
  for (int64_t s = 0; s < layer->n_segments; s++)
    layer->segments[s] =
        s / columns * w->dilation[0] * x->row_bytes + s % columns * w->dilation[1] * x->pixel_bytes;
  return MQ_OK;
}

/* As few panels as there can be, as equal as they can be. */
static mq_status make_panels(struct layer *layer, struct mq_runtime *runtime, struct mq_err *err) {
  const int64_t most = layer->dot->max_blocks;
  layer->n_panels = (layer->n_blocks + most - 1) / most;
  layer->panels = mq_arena_alloc(&runtime->arena, (size_t)layer->n_panels, sizeof *layer->panels);
  if (layer->panels == NULL) return mq_fail_memory(err, "a layer's panels");
  for (int64_t p = 0; p < layer->n_panels; p++) {
    const int64_t first = layer->n_blocks * p / layer->n_panels;
    layer->panels[p] = (struct panel){(int)first, (int)(layer->n_blocks * (p + 1) / layer->n_panels - first)};
  }
  return MQ_OK;
}

/* Weights of channel `lane` of a block, or ones where `from` is NULL. */
static void pack_channel(const struct layer *layer, signed char *block, int lane, const int8_t *from,
                         int64_t segment_bytes) {
  for (int64_t s = 0; s < layer->n_segments; s++)
    for (int64_t k = 0; k < segment_bytes; k++) {
      signed char *to = block + (s * layer->n_quads + k / 4) * 4 * RUNTIME_BLOCK + lane * 4 + k % 4;
      *to = from != NULL ? from[s * segment_bytes + k] : 1;
    }
}

/* Blocks of a group follow each other; order: the channel in each place. */
static mq_status pack(struct layer *layer, struct mq_runtime *runtime, const struct mq_program_step *step,
                      const int64_t *order, struct mq_err *err) {
  const struct mq_program_conv *conv = &step->as.conv;
  const int64_t taps = (int64_t)conv->window.kernel[0] * conv->window.kernel[1];
  const int64_t n_weights = taps * layer->group_inputs, segment_bytes = n_weights / layer->n_segments;
  const int64_t n = layer->groups * layer->n_blocks;
  layer->weights = mq_arena_alloc(&runtime->arena, (size_t)n, (size_t)layer->block_bytes);
  if (layer->weights == NULL) return mq_fail_memory(err, "packed weights");
  for (int64_t i = 0; i < n * RUNTIME_BLOCK; i++)
    if (order[i] >= 0)
      pack_channel(layer, layer->weights + i / RUNTIME_BLOCK * layer->block_bytes, (int)(i % RUNTIME_BLOCK),
                   conv->weights + order[i] * n_weights, segment_bytes);
  if (layer->finish.w_zero == NULL) return MQ_OK;
  layer->ones = mq_arena_alloc(&runtime->arena, 1, (size_t)layer->block_bytes);
  if (layer->ones == NULL) return mq_fail_memory(err, "packed weights");
  pack_channel(layer, layer->ones, 0, NULL, segment_bytes);
  const struct runtime_layout *y = runtime_output(runtime, step);
  runtime_want_scratch(runtime, (size_t)(y->rows * y->columns) * sizeof(int32_t));
  return MQ_OK;
}

/* The output channel in each place of the blocks, -1 behind a group's last; and sums of weights. */
static void fill_order(int64_t *order, int64_t *sums, const struct layer *layer,
                       const struct mq_program_step *step) {
  const struct mq_program_conv *conv = &step->as.conv;
  const int64_t n = (int64_t)conv->window.kernel[0] * conv->window.kernel[1] * layer->group_inputs;
  const int64_t lanes = layer->n_blocks * RUNTIME_BLOCK;
  for (int64_t i = 0; i < layer->groups * lanes; i++)
    order[i] = i % lanes < layer->group_outputs ? i / lanes * layer->group_outputs + i % lanes : -1;
  for (int64_t o = 0; o < layer->groups * layer->group_outputs; o++)
    for (int64_t k = 0; k < n; k++)
      sums[o] += conv->weights[o * n + k];
}

static mq_status make_weights(struct layer *layer, struct mq_runtime *runtime,
                              const struct mq_program_step *step, struct mq_err *err) {
  const int64_t n = layer->groups * layer->n_blocks * RUNTIME_BLOCK;
  int64_t *order = mq_alloc((size_t)n, sizeof *order);
  int64_t *sums = mq_alloc((size_t)(layer->groups * layer->group_outputs), sizeof *sums);
  mq_status status = MQ_OK;
  if (order == NULL || sums == NULL) {
    status = mq_fail_memory(err, "a layer's channels");
  } else {
    fill_order(order, sums, layer, step);
    status = runtime_finish_init(&layer->finish, runtime, step, order, n, sums, err);
  }
  if (status == MQ_OK) status = pack(layer, runtime, step, order, err);
  mq_free(order);
  mq_free(sums);
  return status;
}

/* Rows where they come out even or there are many; else panels, which also keeps every weight with one
 * worker. */
static void set_units(struct runtime_step *step, struct layer *layer, const struct mq_runtime *runtime,
                      int64_t rows) {
  const int64_t n_workers = runtime->n_workers, n_panels = layer->groups * layer->n_panels;
  layer->cuts_panels = rows % n_workers != 0 && rows < 8 * n_workers && n_panels >= n_workers;
  step->n_units = layer->cuts_panels ? n_panels : rows;
}

static void set_loops(struct layer *layer, const struct mq_runtime *runtime,
                      const struct mq_program_step *step) {
  const mq_simd_level level = runtime_simd(runtime->level);
  const int64_t width = runtime_output(runtime, step)->columns;
  for (int n = 1; n <= RUNTIME_MAX_BLOCKS && runtime->level == RUNTIME_VNNI; n++) {
    layer->rows[n] = runtime_rows_at(level)->find(&layer->finish, step->n_inputs > 1, n, width);
    layer->fused[n] = runtime_fused_at(level)->find(&layer->finish, step->n_inputs > 1, n);
  }
}

static mq_status prepare(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  const struct runtime_layout *x = runtime_input(runtime, step->step, 0);
  const struct runtime_layout *y = runtime_output(runtime, step->step);
  struct layer *layer = mq_arena_alloc(&runtime->arena, 1, sizeof *layer);
  if (layer == NULL) return mq_fail_memory(err, "a layer");
  step->own = layer;
  layer->dot = runtime_dot_of(runtime->level);
  layer->groups = step->step->as.conv.groups;
  layer->group_inputs = x->channels / layer->groups;
  layer->group_outputs = y->channels / layer->groups;
  layer->n_blocks = (layer->group_outputs + RUNTIME_BLOCK - 1) / RUNTIME_BLOCK;
  mq_status status = make_segments(layer, runtime, step->step, err);
  if (status == MQ_OK) status = make_panels(layer, runtime, err);
  if (status == MQ_OK) status = make_weights(layer, runtime, step->step, err);
  set_units(step, layer, runtime, y->rows);
  set_loops(layer, runtime, step->step);
  return status;
}

/* ---- Running ------------------------------------------------------------------------------------------ */
/* Output pixels [first, last) of one panel of one group. */
struct work {
  const struct layer *layer;
  const struct runtime_layout *x, *y, *shortcut;
  const struct mq_program_window *window;
  const unsigned char *x_data, *shortcut_data; /* of the group's first channel, and the panel's */
  unsigned char *y_data;
  int64_t first, last;
  int32_t *box; /* of each pixel; NULL: none */
};

/* Pointers of the n pixels from `at` on. */
struct pixels {
  const unsigned char *x[RUNTIME_MAX_PIXELS], *shortcut[RUNTIME_MAX_PIXELS];
  unsigned char *y[RUNTIME_MAX_PIXELS];
};

static void find_pixels(struct pixels *to, const struct work *w, int64_t at, int n) {
  const int64_t width = w->y->columns;
  const int64_t x_row = w->window->stride[0] * w->x->row_bytes;
  const int64_t x_pixel = w->window->stride[1] * w->x->pixel_bytes;
  int64_t row = at / width, column = at % width;
  for (int i = 0; i < n; i++) {
    to->x[i] = w->x_data + row * x_row + column * x_pixel;
    to->y[i] = w->y_data + row * w->y->row_bytes + column * w->y->pixel_bytes;
    if (w->shortcut != NULL)
      to->shortcut[i] = w->shortcut_data + row * w->shortcut->row_bytes + column * w->shortcut->pixel_bytes;
    if (++column == width) {
      column = 0;
      row++;
    }
  }
}

/* Sums over the windows, which weights with zero points need: channel 0 of a block of ones. */
static void sum_boxes(const struct work *w) {
  _Alignas(64) int32_t acc[RUNTIME_MAX_TILE];
  const struct layer *layer = w->layer;
  const int most = layer->dot->pixels[1];
  for (int64_t at = w->first; at < w->last; at += most) {
    struct pixels pixels;
    const int n = w->last - at < most ? (int)(w->last - at) : most;
    find_pixels(&pixels, w, at, n);
    const struct runtime_dot_job job = {.x = pixels.x,
                                        .segments = layer->segments,
                                        .n_segments = layer->n_segments,
                                        .n_quads = layer->n_quads,
                                        .weights = layer->ones,
                                        .block_bytes = layer->block_bytes,
                                        .acc = acc};
    layer->dot->at[1][n](&job);
    for (int i = 0; i < n; i++)
      w->box[at + i] = acc[i * RUNTIME_BLOCK];
  }
}

static void run_panel(const struct work *w, int64_t group, const struct panel *panel,
                      const struct runtime_finisher *finisher) {
  _Alignas(64) int32_t acc[RUNTIME_MAX_TILE];
  const struct layer *layer = w->layer;
  const int64_t block = group * layer->n_blocks + panel->first;
  const int64_t left = layer->group_outputs - (panel->first + panel->n - 1) * RUNTIME_BLOCK;
  const int most = layer->dot->pixels[panel->n];
  struct pixels pixels;
  struct runtime_tile tile = {.n_blocks = panel->n,
                              .acc_step = panel->n * RUNTIME_BLOCK,
                              .n_last = left < RUNTIME_BLOCK ? (int)left : RUNTIME_BLOCK,
                              .channel = block * RUNTIME_BLOCK,
                              .acc = acc,
                              .y = pixels.y,
                              .shortcut = w->shortcut != NULL ? pixels.shortcut : NULL};
  const struct runtime_dot_job job = {.x = pixels.x,
                                      .segments = layer->segments,
                                      .n_segments = layer->n_segments,
                                      .n_quads = layer->n_quads,
                                      .weights = layer->weights + block * layer->block_bytes,
                                      .block_bytes = layer->block_bytes,
                                      .acc = acc};
  for (int64_t at = w->first; at < w->last; at += most) {
    tile.n_pixels = w->last - at < most ? (int)(w->last - at) : most;
    find_pixels(&pixels, w, at, tile.n_pixels);
    if (tile.n_pixels == most && layer->fused[panel->n] != NULL) {
      layer->fused[panel->n](&job, &layer->finish, &tile);
      continue;
    }
    layer->dot->at[panel->n][tile.n_pixels](&job);
    tile.box = w->box != NULL ? w->box + at : NULL;
    finisher->finish(&layer->finish, &tile);
  }
}

/* Pixels are those of whole rows. */
static void run_rows(const struct work *w, int64_t group, const struct panel *panel) {
  const struct layer *layer = w->layer;
  const struct runtime_row_loop *loop = &layer->rows[panel->n];
  const int64_t block = group * layer->n_blocks + panel->first, width = w->y->columns;
  const int64_t left = layer->group_outputs - (panel->first + panel->n - 1) * RUNTIME_BLOCK;
  struct runtime_row row = {.x_step = w->window->stride[1] * w->x->pixel_bytes,
                            .y_step = w->y->pixel_bytes,
                            .n_last = left < RUNTIME_BLOCK ? (int)left : RUNTIME_BLOCK,
                            .channel = block * RUNTIME_BLOCK};
  if (w->shortcut != NULL) row.shortcut_step = w->shortcut->pixel_bytes;
  const struct runtime_dot_job job = {.segments = layer->segments,
                                      .n_segments = layer->n_segments,
                                      .n_quads = layer->n_quads,
                                      .weights = layer->weights + block * layer->block_bytes,
                                      .block_bytes = layer->block_bytes};
  for (int64_t at = w->first; at < w->last; at += loop->n_pixels) {
    const int64_t y = at / width, x = at % width;
    row.x = w->x_data + y * w->window->stride[0] * w->x->row_bytes + x * row.x_step;
    row.y = w->y_data + y * w->y->row_bytes + x * row.y_step;
    if (w->shortcut != NULL)
      row.shortcut = w->shortcut_data + y * w->shortcut->row_bytes + x * row.shortcut_step;
    loop->run(&job, &layer->finish, &row);
  }
}

/* Panels [first, last) of a group. */
static void run_group(const struct work *all, const struct mq_runtime *runtime, int64_t group, int64_t first,
                      int64_t last) {
  const struct layer *layer = all->layer;
  const struct runtime_finisher *finisher = runtime_finisher_at(runtime_simd(runtime->level));
  struct work w = *all;
  w.x_data += group * layer->group_inputs;
  if (w.box != NULL) sum_boxes(&w);
  for (int64_t p = first; p < last; p++) {
    const int64_t channel = group * layer->group_outputs + layer->panels[p].first * RUNTIME_BLOCK;
    w.y_data = all->y_data + channel * w.y->element_bytes;
    if (w.shortcut != NULL) w.shortcut_data = all->shortcut_data + channel;
    if (layer->rows[layer->panels[p].n].run != NULL)
      run_rows(&w, group, &layer->panels[p]);
    else
      run_panel(&w, group, &layer->panels[p], finisher);
  }
}

static void run(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                int64_t last) {
  const struct mq_runtime *runtime = frame->runtime;
  const struct mq_program_step *s = step->step;
  const struct layer *layer = step->own;
  struct work w = {.layer = layer,
                   .x = runtime_input(runtime, s, 0),
                   .y = runtime_output(runtime, s),
                   .window = &s->as.conv.window,
                   .x_data = frame->data[s->inputs[0]] + layer->x_first,
                   .y_data = frame->data[s->output],
                   .box = layer->ones != NULL ? (int32_t *)(void *)frame->scratch : NULL};
  if (s->n_inputs > 1) {
    w.shortcut = runtime_input(runtime, s, 1);
    w.shortcut_data = frame->data[s->inputs[1]];
  }
  w.first = layer->cuts_panels ? 0 : first * w.y->columns;
  w.last = (layer->cuts_panels ? w.y->rows : last) * w.y->columns;
  for (int64_t group = 0; group < layer->groups; group++) {
    int64_t from = 0, to = layer->n_panels;
    if (layer->cuts_panels) {
      from = first - group * layer->n_panels > 0 ? first - group * layer->n_panels : 0;
      to = last - group * layer->n_panels < to ? last - group * layer->n_panels : to;
    }
    if (from < to) run_group(&w, runtime, group, from, to);
  }
}

const struct runtime_op runtime_op_layer = {
    .name = "layer", .can = runtime_layer_can, .reach = runtime_layer_reach, .prepare = prepare, .run = run};
