/* Convolutions and linear layers: tiles of pixels by blocks of channels, finished while their sums are in the
 * first-level cache. */
#include <assert.h>

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
  bool has_addresses;      /* some panel's tiles are not within rows */
  int64_t n_panels, chunk; /* pixels that go through all panels before the next */
  bool cuts_panels;        /* units are panels of groups, else output rows */
};

#define MOST_PIXELS 216 /* of a chunk */

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

/* Units are rows where they come out even or there are many; else panels, which also keeps every weight with
 * one worker. */
static void choose_cut(struct layer *layer, const struct mq_runtime *runtime, int64_t rows) {
  const int64_t n_workers = runtime->n_workers;
  layer->cuts_panels =
      rows % n_workers != 0 && rows < 8 * n_workers && layer->groups * layer->n_blocks >= n_workers;
}

/* As few panels as there can be, as equal as they can be; where workers share them, as many for each. */
static mq_status make_panels(struct layer *layer, struct mq_runtime *runtime, struct mq_err *err) {
  const int64_t most = layer->dot->max_blocks, n_workers = runtime->n_workers;
  layer->n_panels = (layer->n_blocks + most - 1) / most;
  if (layer->cuts_panels) layer->n_panels = (layer->n_panels + n_workers - 1) / n_workers * n_workers;
  if (layer->n_panels > layer->n_blocks) layer->n_panels = layer->n_blocks;
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

static void set_loops(struct layer *layer, const struct mq_runtime *runtime,
                      const struct mq_program_step *step) {
  const mq_simd_level level = runtime_simd(runtime->level);
  const int64_t width = runtime_output(runtime, step)->columns;
  for (int n = 1; n <= RUNTIME_MAX_BLOCKS && runtime->level == RUNTIME_VNNI; n++) {
    layer->rows[n] = runtime_rows_at(level)->find(&layer->finish, step->n_inputs > 1, n, width);
    layer->fused[n] = runtime_fused_at(level)->find(&layer->finish, step->n_inputs > 1, n);
  }
  layer->has_addresses = layer->ones != NULL;
  for (int64_t p = 0; p < layer->n_panels; p++)
    layer->has_addresses = layer->has_addresses || layer->rows[layer->panels[p].n].run == NULL;
}

/* Pixels that are a whole number of full tiles of every panel. */
static int64_t whole_tiles(const struct layer *layer) {
  int64_t n = 1;
  for (int64_t p = 0; p < layer->n_panels; p++) {
    const int blocks = layer->panels[p].n;
    const int64_t tile =
        layer->rows[blocks].run != NULL ? layer->rows[blocks].n_pixels : layer->dot->pixels[blocks];
    int64_t both = n;
    while (both % tile != 0)
      both += n;
    n = both;
  }
  return n;
}

/* Few enough that a chunk's outputs stay in the caches until they are complete, and enough that reading the
 * weights again takes little beside. */
static void set_chunk(struct layer *layer, const struct runtime_layout *x, const struct runtime_layout *y) {
  const int64_t least = 16 << 10, most = 256 << 10, unit = whole_tiles(layer);
  const int64_t wanted = 4 * layer->groups * layer->n_blocks * layer->block_bytes;
  const int64_t bytes = wanted < least ? least : wanted > most ? most : wanted;
  int64_t n = bytes / (x->pixel_bytes + y->pixel_bytes);
  assert(unit <= MOST_PIXELS);
  if (n > MOST_PIXELS) n = MOST_PIXELS;
  layer->chunk = n < unit ? unit : n / unit * unit;
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
  choose_cut(layer, runtime, y->rows);
  if (status == MQ_OK) status = make_panels(layer, runtime, err);
  if (status == MQ_OK) status = make_weights(layer, runtime, step->step, err);
  if (status != MQ_OK) return status;
  step->n_units = layer->cuts_panels ? layer->groups * layer->n_panels : y->rows;
  set_loops(layer, runtime, step->step);
  set_chunk(layer, x, y); /* by the loops' tiles */
  return MQ_OK;
}

/* ---- Running ------------------------------------------------------------------------------------------ */
struct work {
  const struct layer *layer;
  const struct runtime_finisher *finisher;
  const struct runtime_layout *x, *y, *shortcut;
  const struct mq_program_window *window;
  const unsigned char *x_data, *shortcut_data;
  unsigned char *y_data;
  int64_t first_panel, last_panel; /* of all groups' panels */
};

/* A chunk: addresses of the pixels' first channels, and sums over their windows. */
struct chunk {
  int64_t n;
  const unsigned char *x[MOST_PIXELS], *shortcut[MOST_PIXELS];
  unsigned char *y[MOST_PIXELS];
  int32_t box[MOST_PIXELS];
};

/* Output pixels from `at` on. */
static void find_pixels(struct chunk *chunk, const struct work *w, int64_t at) {
  const int64_t width = w->y->columns;
  const int64_t x_row = w->window->stride[0] * w->x->row_bytes;
  const int64_t x_pixel = w->window->stride[1] * w->x->pixel_bytes;
  int64_t row = at / width, column = at % width;
  for (int64_t i = 0; i < chunk->n; i++) {
    chunk->x[i] = w->x_data + row * x_row + column * x_pixel;
    chunk->y[i] = w->y_data + row * w->y->row_bytes + column * w->y->pixel_bytes;
    if (w->shortcut != NULL)
      chunk->shortcut[i] =
          w->shortcut_data + row * w->shortcut->row_bytes + column * w->shortcut->pixel_bytes;
    if (++column == width) {
      column = 0;
      row++;
    }
  }
}

static struct runtime_dot_job make_job(const struct layer *layer, int64_t group, const signed char *weights,
                                       int32_t *acc) {
  return (struct runtime_dot_job){.first = group * layer->group_inputs,
                                  .segments = layer->segments,
                                  .n_segments = layer->n_segments,
                                  .n_quads = layer->n_quads,
                                  .weights = weights,
                                  .block_bytes = layer->block_bytes,
                                  .acc = acc};
}

/* Sums over the windows, which weights with zero points need: channel 0 of a block of ones. */
static void sum_boxes(struct chunk *chunk, const struct layer *layer, int64_t group) {
  _Alignas(64) int32_t acc[RUNTIME_MAX_TILE];
  const int most = layer->dot->pixels[1];
  struct runtime_dot_job job = make_job(layer, group, layer->ones, acc);
  for (int64_t at = 0; at < chunk->n; at += most) {
    const int n = chunk->n - at < most ? (int)(chunk->n - at) : most;
    job.x = chunk->x + at;
    layer->dot->at[1][n](&job);
    for (int i = 0; i < n; i++)
      chunk->box[at + i] = acc[i * RUNTIME_BLOCK];
  }
}

static void run_panel(const struct work *w, const struct chunk *chunk, int64_t group,
                      const struct panel *panel) {
  _Alignas(64) int32_t acc[RUNTIME_MAX_TILE];
  const struct layer *layer = w->layer;
  const int64_t block = group * layer->n_blocks + panel->first;
  const int64_t channel = group * layer->group_outputs + panel->first * RUNTIME_BLOCK;
  const int64_t left = layer->group_outputs - (panel->first + panel->n - 1) * RUNTIME_BLOCK;
  const int most = layer->dot->pixels[panel->n];
  struct runtime_dot_job job = make_job(layer, group, layer->weights + block * layer->block_bytes, acc);
  struct runtime_tile tile = {.n_blocks = panel->n,
                              .acc_step = panel->n * RUNTIME_BLOCK,
                              .n_last = left < RUNTIME_BLOCK ? (int)left : RUNTIME_BLOCK,
                              .channel = block * RUNTIME_BLOCK,
                              .acc = acc,
                              .y_first = channel * w->y->element_bytes,
                              .shortcut_first = channel};
  const runtime_fused_fn fused = layer->fused[panel->n];
  for (int64_t at = 0; at < chunk->n; at += tile.n_pixels) {
    const int left_pixels = (int)(chunk->n - at);
    tile.n_pixels = left_pixels < most ? left_pixels : fused != NULL ? left_pixels / most * most : most;
    tile.y = chunk->y + at;
    tile.shortcut = w->shortcut != NULL ? chunk->shortcut + at : NULL;
    job.x = chunk->x + at;
    if (tile.n_pixels >= most && fused != NULL) {
      fused(&job, &layer->finish, &tile);
      continue;
    }
    layer->dot->at[panel->n][tile.n_pixels](&job);
    tile.box = chunk->box + at;
    w->finisher->finish(&layer->finish, &tile);
  }
}

/* A chunk from pixel `first` on, whose tiles lie within rows. */
static void run_rows(const struct work *w, int64_t first, int64_t n, int64_t group,
                     const struct panel *panel) {
  const struct layer *layer = w->layer;
  const struct runtime_row_loop *loop = &layer->rows[panel->n];
  const int64_t block = group * layer->n_blocks + panel->first, width = w->y->columns;
  const int64_t channel = group * layer->group_outputs + panel->first * RUNTIME_BLOCK;
  const int64_t left = layer->group_outputs - (panel->first + panel->n - 1) * RUNTIME_BLOCK;
  const struct runtime_dot_job job =
      make_job(layer, group, layer->weights + block * layer->block_bytes, NULL);
  struct runtime_row row = {.x_step = w->window->stride[1] * w->x->pixel_bytes,
                            .y_step = w->y->pixel_bytes,
                            .n_last = left < RUNTIME_BLOCK ? (int)left : RUNTIME_BLOCK,
                            .channel = block * RUNTIME_BLOCK};
  if (w->shortcut != NULL) row.shortcut_step = w->shortcut->pixel_bytes;
  int64_t y = first / width, x = first % width;
  for (int64_t done = 0; done < n; done += loop->n_pixels) {
    row.x = w->x_data + job.first + y * w->window->stride[0] * w->x->row_bytes + x * row.x_step;
    row.y = w->y_data + channel + y * w->y->row_bytes + x * row.y_step;
    if (w->shortcut != NULL)
      row.shortcut = w->shortcut_data + channel + y * w->shortcut->row_bytes + x * row.shortcut_step;
    loop->run(&job, &layer->finish, &row);
    x += loop->n_pixels;
    if (x == width) {
      x = 0;
      y++;
    }
  }
}

/* Output pixels [first, last). */
static void run_pixels(const struct work *w, int64_t first, int64_t last) {
  const struct layer *layer = w->layer;
  struct chunk chunk;
  for (int64_t at = first; at < last; at += chunk.n) {
    int64_t summed = -1;
    chunk.n = last - at < layer->chunk ? last - at : layer->chunk;
    if (layer->has_addresses) find_pixels(&chunk, w, at);
    for (int64_t p = w->first_panel; p < w->last_panel; p++) {
      const int64_t group = p / layer->n_panels;
      if (layer->ones != NULL && summed != group) sum_boxes(&chunk, layer, group);
      summed = group;
      const struct panel *panel = &layer->panels[p % layer->n_panels];
      if (layer->rows[panel->n].run != NULL)
        run_rows(w, at, chunk.n, group, panel);
      else
        run_panel(w, &chunk, group, panel);
    }
  }
}

static void run(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                int64_t last) {
  const struct mq_runtime *runtime = frame->runtime;
  const struct mq_program_step *s = step->step;
  const struct layer *layer = step->own;
  struct work w = {.layer = layer,
                   .finisher = runtime_finisher_at(runtime_simd(runtime->level)),
                   .x = runtime_input(runtime, s, 0),
                   .y = runtime_output(runtime, s),
                   .window = &s->as.conv.window,
                   .x_data = frame->data[s->inputs[0]] + layer->x_first,
                   .y_data = frame->data[s->output],
                   .last_panel = layer->groups * layer->n_panels};
  if (s->n_inputs > 1) {
    w.shortcut = runtime_input(runtime, s, 1);
    w.shortcut_data = frame->data[s->inputs[1]];
  }
  if (layer->cuts_panels) {
    w.first_panel = first;
    w.last_panel = last;
    run_pixels(&w, 0, w.y->rows * w.y->columns);
  } else {
    run_pixels(&w, first * w.y->columns, last * w.y->columns);
  }
}

const struct runtime_op runtime_op_layer = {
    .name = "layer", .can = runtime_layer_can, .reach = runtime_layer_reach, .prepare = prepare, .run = run};
