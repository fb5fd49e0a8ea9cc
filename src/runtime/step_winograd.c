/* Convolutions 3x3 of stride 1 in fewer products (simd/winograd.h), where that is worth it. */
#include "runtime/layer.h"
#include "runtime/ops.h"
#include "runtime/simd/winograd.h"
#include "runtime/simd/winograd_finish.h"

#define TILE RUNTIME_WINOGRAD_TILE
#define PLACES RUNTIME_WINOGRAD_PLACES
#define BLOCK RUNTIME_BLOCK

struct winograd {
  struct runtime_finish finish;
  const struct runtime_winograd *loops;
  runtime_winograd_finish_fn finish_block; /* NULL: in two steps */
  int64_t inputs, outputs, n_blocks, n_panels;
  int64_t tile_columns, n_tiles, batch; /* batch: tiles that go through the products together */
  int64_t x_first;                      /* bytes from pixel 0, 0 to the first tap */
  int16_t *weights;                     /* panel x place x pair of inputs x its blocks x 16 x 2 */
};

static int64_t over(int64_t n, int64_t by) {
  return (n + by - 1) / by;
}

/* ---- Which layers ------------------------------------------------------------------------------------ */
/* In cycles of a core with VNNI: 64 products of bytes or 32 of 16-bit numbers; what transforms take for each
 * channel of a tile; and weights, 8 times as many bytes, of which 64 come from the second-level cache, 14
 * from beyond it (measured on Zen 4). */
static bool is_faster(const struct runtime_layout *x, const struct runtime_layout *y) {
  const int64_t inputs = x->channels, outputs = y->channels, pixels = y->rows * y->columns;
  const int64_t n_tiles = over(y->rows, TILE) * over(y->columns, TILE);
  const int64_t bytes = PLACES * inputs * outputs * (int64_t)sizeof(int16_t);
  const int64_t direct = 9 * pixels * inputs * outputs / 64;
  const int64_t products = PLACES * n_tiles * inputs * outputs / 32;
  const int64_t transforms = n_tiles * (5 * inputs + 12 * outputs);
  return products + transforms + bytes / (bytes < 1 << 20 ? 64 : 14) < direct;
}

/* A channel's sums of products with codes of 0..255. */
static bool has_few_bits(const struct mq_program_step *step, int64_t inputs, int64_t outputs) {
  const int64_t limit = INT64_C(1) << (RUNTIME_WINOGRAD_BITS - 1);
  for (int64_t o = 0; o < outputs; o++) {
    const int8_t *w = step->as.conv.weights + o * 9 * inputs;
    int64_t positive = 0, negative = 0;
    for (int64_t k = 0; k < 9 * inputs; k++)
      *(w[k] > 0 ? &positive : &negative) += w[k];
    if (255 * positive >= limit || 255 * negative < -limit) return false;
  }
  return true;
}

static bool has_w_zero(const struct mq_program_step *step, int64_t outputs) {
  for (int64_t o = 0; o < outputs; o++)
    if (step->as.conv.channels[o].w_zero_point != 0) return true;
  return false;
}

static bool can(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  if (runtime->saves_memory || step->kind != MQ_STEP_CONV || !runtime_layer_can(runtime, step)) return false;
  const struct mq_program_window *w = &step->as.conv.window;
  const struct runtime_layout *x = runtime_input(runtime, step, 0), *y = runtime_output(runtime, step);
  for (int axis = 0; axis < 2; axis++)
    if (w->kernel[axis] != 3 || w->stride[axis] != 1 || w->dilation[axis] != 1) return false;
  return step->as.conv.groups == 1 && x->channels % RUNTIME_WINOGRAD_WIDE == 0 && y->rows >= TILE &&
         y->columns >= TILE && is_faster(x, y) && !has_w_zero(step, y->channels) &&
         has_few_bits(step, x->channels, y->channels);
}

/* ---- Preparing ---------------------------------------------------------------------------------------- */
/* Blocks before a panel: panels are as equal as they can be. */
static int64_t first_block(const struct winograd *w, int64_t panel) {
  return w->n_blocks * panel / w->n_panels;
}

/* G g G^T. g: 3x3 weights, `step` apart. */
static void transform_weights(int16_t u[PLACES], const int8_t *g, int64_t step) {
  static const int G[6][3] = {{6, 0, 0}, {1, 1, 1}, {1, -1, 1}, {1, 2, 4}, {1, -2, 4}, {0, 0, 6}};
  int rows[6][3];
  for (int i = 0; i < 6; i++)
    for (int j = 0; j < 3; j++)
      rows[i][j] = G[i][0] * g[j * step] + G[i][1] * g[(3 + j) * step] + G[i][2] * g[(6 + j) * step];
  for (int i = 0; i < 6; i++)
    for (int j = 0; j < 6; j++)
      u[6 * i + j] = (int16_t)(G[j][0] * rows[i][0] + G[j][1] * rows[i][1] + G[j][2] * rows[i][2]);
}

static void pack_panel(struct winograd *w, const int8_t *weights, int64_t panel) {
  const int64_t first = first_block(w, panel), width = (first_block(w, panel + 1) - first) * BLOCK;
  int16_t *to = w->weights + first * BLOCK * w->inputs * PLACES;
  for (int64_t i = 0; i < width && first * BLOCK + i < w->outputs; i++)
    for (int64_t k = 0; k < w->inputs; k++) {
      int16_t u[PLACES];
      transform_weights(u, weights + (first * BLOCK + i) * 9 * w->inputs + k, w->inputs);
      for (int64_t place = 0; place < PLACES; place++)
        to[((place * w->inputs / 2 + k / 2) * width + i) * 2 + k % 2] = u[place];
    }
}

static mq_status make_weights(struct winograd *w, struct mq_runtime *runtime,
                              const struct mq_program_step *step, struct mq_err *err) {
  const int64_t n = w->n_blocks * BLOCK;
  int64_t *order = mq_alloc((size_t)n, sizeof *order), *sums = mq_alloc((size_t)n, sizeof *sums);
  w->weights = mq_arena_alloc(&runtime->arena, (size_t)(n * w->inputs), PLACES * sizeof *w->weights);
  mq_status status = MQ_OK;
  if (order == NULL || sums == NULL || w->weights == NULL) {
    status = mq_fail_memory(err, "a layer's weights");
  } else {
    for (int64_t o = 0; o < n; o++)
      order[o] = o < w->outputs ? o : -1;
    for (int64_t i = 0; i < w->outputs * 9 * w->inputs; i++)
      sums[i / (9 * w->inputs)] += step->as.conv.weights[i];
    status = runtime_finish_init(&w->finish, runtime, step, order, n, sums, err);
    for (int64_t panel = 0; panel < w->n_panels; panel++)
      pack_panel(w, step->as.conv.weights, panel);
  }
  mq_free(order);
  mq_free(sums);
  return status;
}

/* What a worker keeps of a batch of tiles: transformed codes, sums of a panel, and a tile's sums. */
static int64_t codes_bytes(const struct winograd *w) {
  return w->batch * w->inputs * PLACES * (int64_t)sizeof(int16_t);
}
static int64_t sums_bytes(const struct winograd *w) {
  return w->batch * w->loops->max_blocks * BLOCK * PLACES * (int64_t)sizeof(int32_t);
}
static int64_t tile_bytes(const struct winograd *w) {
  return (int64_t)w->loops->max_blocks * BLOCK * TILE * TILE * (int64_t)sizeof(int32_t);
}

/* As many tiles as leave the second-level cache room for weights; in equal parts. */
static void set_batch(struct winograd *w) {
  const int64_t room = INT64_C(1) << 19;
  w->batch = 1;
  const int64_t one = codes_bytes(w) + sums_bytes(w);
  const int64_t most = room / one < RUNTIME_WINOGRAD_TILES ? RUNTIME_WINOGRAD_TILES : room / one;
  w->batch = over(w->n_tiles, over(w->n_tiles, most < 24 ? most : 24));
}

static mq_status prepare(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  const struct runtime_layout *x = runtime_input(runtime, step->step, 0);
  const struct runtime_layout *y = runtime_output(runtime, step->step);
  const struct mq_program_window *window = &step->step->as.conv.window;
  struct winograd *w = mq_arena_alloc(&runtime->arena, 1, sizeof *w);
  if (w == NULL) return mq_fail_memory(err, "a layer");
  step->own = w;
  w->loops = runtime_winograd_of(runtime->level);
  w->inputs = x->channels;
  w->outputs = y->channels;
  w->n_blocks = over(y->channels, BLOCK);
  w->n_panels = over(w->n_blocks, w->loops->max_blocks);
  w->tile_columns = over(y->columns, TILE);
  w->n_tiles = over(y->rows, TILE) * w->tile_columns;
  w->x_first = -window->pad_begin[0] * x->row_bytes - window->pad_begin[1] * x->pixel_bytes;
  set_batch(w);
  runtime_want_scratch(runtime, (size_t)(codes_bytes(w) + sums_bytes(w) + tile_bytes(w)));
  step->n_units = w->n_tiles;
  const mq_status status = make_weights(w, runtime, step->step, err);
  w->finish_block =
      runtime_winograd_finisher_at(runtime_simd(runtime->level))->find(&w->finish, step->step->n_inputs > 1);
  return status;
}

/* ---- Running ------------------------------------------------------------------------------------------ */
struct work {
  const struct winograd *winograd;
  const struct runtime_finisher *finisher;
  const struct runtime_layout *x, *y, *shortcut;
  const unsigned char *x_data, *shortcut_data;
  unsigned char *y_data;
  int16_t *codes;       /* place x tile x input */
  int32_t *sums, *tile; /* place x tile x output of a panel; 4x4 x output of a panel */
  int64_t first, n;     /* tiles of the batch */
};

/* Where a tile begins. The last of a row or column ends with the image: its first `skip` outputs are the
 * tile's before. */
struct corner {
  int64_t row, column, skip_rows, skip_columns;
};

static struct corner find_corner(const struct work *w, int64_t tile) {
  struct corner c = {.row = tile / w->winograd->tile_columns * TILE,
                     .column = tile % w->winograd->tile_columns * TILE};
  if (c.row + TILE > w->y->rows) c.skip_rows = c.row + TILE - w->y->rows;
  if (c.column + TILE > w->y->columns) c.skip_columns = c.column + TILE - w->y->columns;
  c.row -= c.skip_rows;
  c.column -= c.skip_columns;
  return c;
}

static void transform_codes(const struct work *w) {
  const struct winograd *own = w->winograd;
  for (int64_t t = 0; t < w->n; t++) {
    const struct corner corner = find_corner(w, w->first + t);
    const unsigned char *x =
        w->x_data + corner.row * w->x->row_bytes + corner.column * w->x->pixel_bytes + own->x_first;
    for (int64_t k = 0; k < own->inputs; k += RUNTIME_WINOGRAD_WIDE)
      own->loops->transform_codes(w->codes + t * own->inputs + k, w->n * own->inputs, x + k, w->x->row_bytes,
                                  w->x->pixel_bytes);
  }
}

static void multiply(const struct work *w, int64_t first, int64_t n_blocks) {
  const struct winograd *own = w->winograd;
  const int64_t width = n_blocks * BLOCK;
  const int16_t *weights = own->weights + first * BLOCK * own->inputs * PLACES;
  for (int64_t place = 0; place < PLACES; place++)
    for (int64_t t = 0; t < w->n; t += RUNTIME_WINOGRAD_TILES) {
      const int64_t at = place * w->n + t, left = w->n - t;
      const struct runtime_winograd_product job = {.v = w->codes + at * own->inputs,
                                                   .n_pairs = own->inputs / 2,
                                                   .u = weights + place * own->inputs * width,
                                                   .m = w->sums + at * width};
      own->loops->multiply[n_blocks][left < RUNTIME_WINOGRAD_TILES ? left : RUNTIME_WINOGRAD_TILES](&job);
    }
}

/* Rows of a tile whose outputs follow each other are finished together. */
static void finish_tile(const struct work *w, int64_t tile, int64_t first, int64_t n_blocks) {
  const struct corner corner = find_corner(w, tile);
  const int64_t channel = first * BLOCK, left = w->winograd->outputs - (first + n_blocks - 1) * BLOCK;
  const unsigned char *shortcut[TILE * TILE];
  unsigned char *y[TILE * TILE];
  struct runtime_tile job = {.n_blocks = (int)n_blocks,
                             .acc_step = n_blocks * BLOCK,
                             .n_last = left < BLOCK ? (int)left : BLOCK,
                             .channel = channel,
                             .y = y,
                             .shortcut = w->shortcut != NULL ? shortcut : NULL};
  const int64_t n_columns = TILE - corner.skip_columns;
  const int64_t at_once = n_columns == TILE ? TILE - corner.skip_rows : 1; /* rows */
  for (int64_t i = corner.skip_rows; i < TILE; i += at_once) {
    job.acc = w->tile + (i * TILE + corner.skip_columns) * job.acc_step;
    job.n_pixels = (int)(at_once * n_columns);
    for (int64_t p = 0; p < job.n_pixels; p++) {
      const int64_t row = corner.row + i + p / TILE, column = corner.column + corner.skip_columns + p % TILE;
      y[p] = w->y_data + row * w->y->row_bytes + column * w->y->pixel_bytes + channel * w->y->element_bytes;
      if (w->shortcut != NULL)
        shortcut[p] =
            w->shortcut_data + row * w->shortcut->row_bytes + column * w->shortcut->pixel_bytes + channel;
    }
    w->finisher->finish(&w->winograd->finish, &job);
  }
}

/* The same without sums in memory. sums: of the tile. */
static void finish_blocks(const struct work *w, int64_t tile, int64_t first, int64_t n_blocks,
                          const int32_t *sums) {
  const struct winograd *own = w->winograd;
  const struct corner corner = find_corner(w, tile);
  struct runtime_winograd_outputs job = {.place_step = w->n * n_blocks * BLOCK,
                                         .skip_rows = corner.skip_rows,
                                         .skip_columns = corner.skip_columns,
                                         .y_row = w->y->row_bytes,
                                         .y_pixel = w->y->pixel_bytes};
  unsigned char *y = w->y_data + corner.row * job.y_row + corner.column * job.y_pixel;
  const unsigned char *shortcut = NULL;
  if (w->shortcut != NULL) {
    job.shortcut_row = w->shortcut->row_bytes;
    job.shortcut_pixel = w->shortcut->pixel_bytes;
    shortcut = w->shortcut_data + corner.row * job.shortcut_row + corner.column * job.shortcut_pixel;
  }
  for (int64_t b = 0; b < n_blocks; b++) {
    job.channel = (first + b) * BLOCK;
    job.n_channels = own->outputs - job.channel < BLOCK ? (int)(own->outputs - job.channel) : BLOCK;
    job.m = sums + b * BLOCK;
    job.y = y + job.channel;
    job.shortcut = shortcut != NULL ? shortcut + job.channel : NULL;
    own->finish_block(&job, &own->finish);
  }
}

static void run_panel(const struct work *w, int64_t panel) {
  const struct winograd *own = w->winograd;
  const int64_t first = first_block(own, panel), n_blocks = first_block(own, panel + 1) - first;
  const int64_t width = n_blocks * BLOCK;
  multiply(w, first, n_blocks);
  for (int64_t t = 0; t < w->n; t++) {
    const int32_t *sums = w->sums + t * width;
    if (own->finish_block != NULL) {
      finish_blocks(w, w->first + t, first, n_blocks, sums);
      continue;
    }
    for (int64_t b = 0; b < n_blocks; b++)
      own->loops->transform_sums(w->tile + b * BLOCK, width, sums + b * BLOCK, w->n * width);
    finish_tile(w, w->first + t, first, n_blocks);
  }
}

static void run(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                int64_t last) {
  const struct mq_program_step *s = step->step;
  const struct winograd *own = step->own;
  struct work w = {.winograd = own,
                   .finisher = runtime_finisher_at(runtime_simd(frame->runtime->level)),
                   .x = runtime_input(frame->runtime, s, 0),
                   .y = runtime_output(frame->runtime, s),
                   .x_data = frame->data[s->inputs[0]],
                   .y_data = frame->data[s->output],
                   .codes = (int16_t *)(void *)frame->scratch,
                   .sums = (int32_t *)(void *)(frame->scratch + codes_bytes(own)),
                   .tile = (int32_t *)(void *)(frame->scratch + codes_bytes(own) + sums_bytes(own))};
  if (s->n_inputs > 1) {
    w.shortcut = runtime_input(frame->runtime, s, 1);
    w.shortcut_data = frame->data[s->inputs[1]];
  }
  for (w.first = first; w.first < last; w.first += w.n) {
    w.n = last - w.first < own->batch ? last - w.first : own->batch;
    transform_codes(&w);
    for (int64_t panel = 0; panel < own->n_panels; panel++)
      run_panel(&w, panel);
  }
}

const struct runtime_op runtime_op_winograd = {
    .name = "winograd", .can = can, .reach = runtime_layer_reach, .prepare = prepare, .run = run};
