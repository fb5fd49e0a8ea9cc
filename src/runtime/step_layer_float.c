/* Layers that stay float: tiles of pixels that have the same taps, by blocks of 16 output channels. */
#include <string.h>

#include "runtime/ops.h"
#include "runtime/simd/floats.h"

#define BLOCK RUNTIME_FLOAT_BLOCK
#define MAX_KERNEL 32 /* along an axis */

struct layer {
  int64_t groups, group_inputs, group_outputs, blocks; /* blocks of a group; `is_each`: of all groups */
  int64_t block_floats;                                /* of weights */
  bool is_each;                                        /* a group is one channel */
  bool cuts_blocks;                                    /* units are blocks, else rows */
  float *weights, *bias;                               /* block x tap x input x 16; block x 16 */
};

/* Taps along one axis that lie inside: kernel places, and input places less the first one's. */
struct taps {
  int64_t first, n, kernel[MAX_KERNEL], x[MAX_KERNEL];
};

/* As program_layer_input. */
static int64_t find_input(const struct mq_program_conv_float *conv, int axis, int64_t o, int64_t t,
                          int64_t in) {
  const struct mq_program_window *w = &conv->window;
  int64_t at = o * w->stride[axis] - w->pad_begin[axis] + t * w->dilation[axis];
  if (conv->is_transposed) {
    const int64_t scaled = o + w->pad_begin[axis] - t * w->dilation[axis];
    at = scaled >= 0 && scaled % w->stride[axis] == 0 ? scaled / w->stride[axis] : -1;
  }
  return at >= 0 && at < in ? at : -1;
}

static void find_taps(struct taps *taps, const struct mq_program_conv_float *conv, int axis, int64_t o,
                      int64_t in) {
  taps->first = taps->n = 0;
  for (int64_t t = 0; t < conv->window.kernel[axis]; t++) {
    const int64_t at = find_input(conv, axis, o, t, in);
    if (at < 0) continue;
    if (taps->n == 0) taps->first = at;
    taps->kernel[taps->n] = t;
    taps->x[taps->n++] = at - taps->first;
  }
}

/* The number and the first of them say which they are. */
static bool are_same(const struct taps *a, const struct taps *b) {
  return a->n == b->n && (a->n == 0 || a->kernel[0] == b->kernel[0]);
}

/* ---- Preparing ---------------------------------------------------------------------------------------- */
static bool can(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  (void)runtime;
  return (step->kind == MQ_STEP_CONV_FLOAT || step->kind == MQ_STEP_LINEAR_FLOAT) &&
         step->as.conv_float.window.kernel[0] <= MAX_KERNEL &&
         step->as.conv_float.window.kernel[1] <= MAX_KERNEL;
}

/* The output channel in lane `lane` of block b, or -1. */
static int64_t channel_of(const struct layer *layer, int64_t b, int64_t lane) {
  const int64_t group = b / layer->blocks, at = b % layer->blocks * BLOCK + lane;
  const int64_t n = layer->is_each ? layer->groups : layer->group_outputs;
  return at < n ? group * n + at : -1;
}

static mq_status pack(struct layer *layer, struct mq_runtime *runtime,
                      const struct mq_program_conv_float *conv, int64_t n_blocks, struct mq_err *err) {
  const int64_t n = layer->block_floats / BLOCK; /* weights of a channel */
  layer->weights = mq_arena_alloc(&runtime->arena, (size_t)(n_blocks * layer->block_floats), sizeof(float));
  layer->bias = mq_arena_alloc(&runtime->arena, (size_t)(n_blocks * BLOCK), sizeof(float));
  if (layer->weights == NULL || layer->bias == NULL) return mq_fail_memory(err, "packed weights");
  for (int64_t b = 0; b < n_blocks; b++)
    for (int64_t lane = 0; lane < BLOCK; lane++) {
      const int64_t o = channel_of(layer, b, lane);
      if (o < 0) continue;
      layer->bias[b * BLOCK + lane] = conv->bias[o];
      for (int64_t k = 0; k < n; k++)
        layer->weights[b * layer->block_floats + k * BLOCK + lane] = conv->weights[o * n + k];
    }
  return MQ_OK;
}

static mq_status prepare(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  const struct mq_program_conv_float *conv = &step->step->as.conv_float;
  const struct runtime_layout *x = runtime_input(runtime, step->step, 0),
                              *y = runtime_output(runtime, step->step);
  const int64_t taps = (int64_t)conv->window.kernel[0] * conv->window.kernel[1];
  struct layer *layer = mq_arena_alloc(&runtime->arena, 1, sizeof *layer);
  if (layer == NULL) return mq_fail_memory(err, "a layer");
  step->own = layer;
  layer->groups = conv->groups;
  layer->group_inputs = x->channels / layer->groups;
  layer->group_outputs = y->channels / layer->groups;
  layer->is_each = layer->groups > 1 && layer->group_inputs == 1 && layer->group_outputs == 1;
  layer->blocks = ((layer->is_each ? layer->groups : layer->group_outputs) + BLOCK - 1) / BLOCK;
  layer->block_floats = taps * layer->group_inputs * BLOCK;
  const int64_t n_blocks = layer->blocks * (layer->is_each ? 1 : layer->groups);
  layer->cuts_blocks = y->rows == 1;
  step->n_units = layer->cuts_blocks ? n_blocks : y->rows;
  runtime_want_scratch(runtime, (size_t)taps * 2 * sizeof(int64_t));
  return pack(layer, runtime, conv, n_blocks, err);
}

/* ---- Running ------------------------------------------------------------------------------------------ */
struct work {
  const struct mq_program_step *step;
  const struct layer *layer;
  const struct runtime_floats *floats;
  const struct runtime_layout *x, *y;
  float *x_data, *y_data;
  int64_t *x_taps, *w_taps;
  int64_t first_block, last_block;
};

static int64_t list_taps(const struct work *w, const struct taps *rows, const struct taps *columns) {
  const struct mq_program_window *window = &w->step->as.conv_float.window;
  int64_t n = 0;
  for (int64_t h = 0; h < rows->n; h++)
    for (int64_t k = 0; k < columns->n; k++, n++) {
      w->x_taps[n] = (rows->x[h] * w->x->columns + columns->x[k]) * w->x->channels;
      w->w_taps[n] =
          (rows->kernel[h] * window->kernel[1] + columns->kernel[k]) * w->layer->group_inputs * BLOCK;
    }
  return n;
}

/* All blocks of up to 4 pixels: outputs ow, ow + period, ... of row oh, which have the same taps. */
static void run_tile(const struct work *w, const struct taps *rows, const struct taps *columns, int64_t oh,
                     int64_t ow, int64_t period, int64_t x_step, int n_pixels) {
  const struct layer *layer = w->layer;
  const float *x[RUNTIME_FLOAT_PIXELS];
  float *y[RUNTIME_FLOAT_PIXELS];
  struct runtime_products job = {.x = x,
                                 .x_taps = w->x_taps,
                                 .w_taps = w->w_taps,
                                 .n_taps = list_taps(w, rows, columns),
                                 .n_inputs = layer->group_inputs,
                                 .y = y,
                                 .n_pixels = n_pixels,
                                 .lo = w->step->clip_lo,
                                 .hi = w->step->clip_hi};
  for (int64_t b = w->first_block; b < w->last_block; b++) {
    const int64_t channel = channel_of(layer, b, 0), group = layer->is_each ? 0 : b / layer->blocks;
    const int64_t input = layer->is_each ? channel : group * layer->group_inputs;
    const int64_t end = layer->is_each ? layer->groups : (group + 1) * layer->group_outputs;
    for (int p = 0; p < n_pixels; p++) {
      x[p] = w->x_data + (rows->first * w->x->columns + columns->first + p * x_step) * w->x->channels + input;
      y[p] = w->y_data + (oh * w->y->columns + ow + p * period) * w->y->channels + channel;
    }
    job.weights = layer->weights + b * layer->block_floats;
    job.bias = layer->bias + b * BLOCK;
    job.n_channels = end - channel < BLOCK ? (int)(end - channel) : BLOCK;
    (layer->is_each ? w->floats->products_each : w->floats->products)(&job);
  }
}

/* A transposed convolution's outputs have the same taps every `stride` columns, one pixel further. */
static void run_row(const struct work *w, int64_t oh) {
  const struct mq_program_conv_float *conv = &w->step->as.conv_float;
  const int64_t period = conv->is_transposed ? conv->window.stride[1] : 1;
  const int64_t x_step = conv->is_transposed ? 1 : conv->window.stride[1];
  struct taps rows, columns, next = {0};
  find_taps(&rows, conv, 0, oh, w->x->rows);
  for (int64_t phase = 0; phase < period && phase < w->y->columns; phase++) {
    find_taps(&columns, conv, 1, phase, w->x->columns);
    for (int64_t ow = phase; ow < w->y->columns; columns = next) {
      int n = 1;
      int64_t end = ow + period;
      for (; end < w->y->columns; end += period, n++) {
        find_taps(&next, conv, 1, end, w->x->columns);
        if (n == RUNTIME_FLOAT_PIXELS || !are_same(&columns, &next)) break;
      }
      run_tile(w, &rows, &columns, oh, ow, period, x_step, n);
      ow = end;
    }
  }
}

static void run(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                int64_t last) {
  const struct mq_runtime *runtime = frame->runtime;
  const struct mq_program_step *s = step->step;
  const struct layer *layer = step->own;
  const struct mq_program_window *window = &s->as.conv_float.window;
  struct work w = {.step = s,
                   .layer = layer,
                   .floats = runtime_floats_at(runtime_simd(runtime->level)),
                   .x = runtime_input(runtime, s, 0),
                   .y = runtime_output(runtime, s),
                   .x_data = (float *)(void *)frame->data[s->inputs[0]],
                   .y_data = (float *)(void *)frame->data[s->output],
                   .x_taps = (int64_t *)(void *)frame->scratch,
                   .last_block = layer->blocks * (layer->is_each ? 1 : layer->groups)};
  w.w_taps = w.x_taps + (int64_t)window->kernel[0] * window->kernel[1];
  if (layer->cuts_blocks) {
    w.first_block = first;
    w.last_block = last;
    first = 0;
    last = 1;
  }
  for (int64_t row = first; row < last; row++)
    run_row(&w, row);
}

const struct runtime_op runtime_op_layer_float = {
    .name = "layer of floats", .can = can, .prepare = prepare, .run = run};
