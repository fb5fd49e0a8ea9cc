/* Depthwise convolutions, every channel with a window of its own, of any shape (step_columns.c: the
 * commonest). */
#include <string.h>

#include "runtime/layer.h"
#include "runtime/ops.h"
#include "runtime/simd/depthwise.h"

#define BLOCK RUNTIME_DEPTHWISE_BLOCK

struct depthwise {
  struct runtime_finish finish; /* without zero points of weights: they are taken away before */
  const struct runtime_depthwise *loops;
  int64_t n_quads, n_blocks, x_first; /* x_first: bytes from pixel 0, 0 to the first tap */
  int64_t *taps;
  signed char *weights, *ones; /* block x quad x 32 x 4; one block that sums up x, or NULL */
  const int32_t *w_zero;       /* NULL: all 0 */
};

static bool can(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  if (!runtime_layer_can(runtime, step) || step->as.conv.groups == 1) return false;
  return step->as.conv.groups == runtime_input(runtime, step, 0)->channels &&
         step->as.conv.groups == runtime_output(runtime, step)->channels;
}

/* ---- Preparing ---------------------------------------------------------------------------------------- */
static mq_status make_taps(struct depthwise *d, struct mq_runtime *runtime,
                           const struct mq_program_step *step, struct mq_err *err) {
  const struct mq_program_window *w = &step->as.conv.window;
  const struct runtime_layout *x = runtime_input(runtime, step, 0);
  const int64_t n = (int64_t)w->kernel[0] * w->kernel[1];
  d->n_quads = (n + 3) / 4;
  d->x_first = -w->pad_begin[0] * x->row_bytes - w->pad_begin[1] * x->pixel_bytes;
  d->taps = mq_arena_alloc(&runtime->arena, (size_t)d->n_quads * 4, sizeof *d->taps);
  if (d->taps == NULL) return mq_fail_memory(err, "a layer's taps");
  for (int64_t t = 0; t < n; t++)
    d->taps[t] =
        t / w->kernel[1] * w->dilation[0] * x->row_bytes + t % w->kernel[1] * w->dilation[1] * x->pixel_bytes;
  return MQ_OK;
}

static void pack(signed char *to, const struct depthwise *d, const struct mq_program_conv *conv) {
  const int64_t n = (int64_t)conv->window.kernel[0] * conv->window.kernel[1];
  for (int64_t c = 0; c < conv->groups; c++)
    for (int64_t t = 0; t < n; t++)
      to[(c / BLOCK * d->n_quads + t / 4) * 4 * BLOCK + runtime_depthwise_place(t % 4, c % BLOCK)] =
          conv->weights[c * n + t];
}

static mq_status make_weights(struct depthwise *d, struct mq_runtime *runtime,
                              const struct mq_program_step *step, struct mq_err *err) {
  const struct mq_program_conv *conv = &step->as.conv;
  const int64_t n = (int64_t)conv->window.kernel[0] * conv->window.kernel[1];
  const size_t block_bytes = (size_t)d->n_quads * 4 * BLOCK;
  d->weights = mq_arena_alloc(&runtime->arena, (size_t)d->n_blocks, block_bytes);
  if (d->weights == NULL) return mq_fail_memory(err, "packed weights");
  pack(d->weights, d, conv);
  d->w_zero = d->finish.w_zero;
  d->finish.w_zero = NULL;
  if (d->w_zero == NULL) return MQ_OK;
  d->ones = mq_arena_alloc(&runtime->arena, 1, block_bytes);
  if (d->ones == NULL) return mq_fail_memory(err, "packed weights");
  for (int64_t t = 0; t < n; t++)
    for (int64_t c = 0; c < BLOCK; c++)
      d->ones[t / 4 * 4 * BLOCK + runtime_depthwise_place(t % 4, c)] = 1;
  return MQ_OK;
}

/* The arithmetic's parameters, in the order of the channels. */
static mq_status make_finish(struct depthwise *d, struct mq_runtime *runtime,
                             const struct mq_program_step *step, struct mq_err *err) {
  const struct mq_program_conv *conv = &step->as.conv;
  const int64_t n = d->n_blocks * BLOCK, taps = (int64_t)conv->window.kernel[0] * conv->window.kernel[1];
  int64_t *order = mq_alloc((size_t)n, sizeof *order), *sums = mq_alloc((size_t)n, sizeof *sums);
  mq_status status = MQ_OK;
  if (order == NULL || sums == NULL) {
    status = mq_fail_memory(err, "a layer's channels");
  } else {
    for (int64_t c = 0; c < n; c++)
      order[c] = c < conv->groups ? c : -1;
    for (int64_t i = 0; i < conv->groups * taps; i++)
      sums[i / taps] += conv->weights[i];
    status = runtime_finish_init(&d->finish, runtime, step, order, n, sums, err);
  }
  mq_free(order);
  mq_free(sums);
  return status;
}

static mq_status prepare(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  struct depthwise *d = mq_arena_alloc(&runtime->arena, 1, sizeof *d);
  if (d == NULL) return mq_fail_memory(err, "a layer");
  step->own = d;
  step->n_units = runtime_output(runtime, step->step)->rows;
  d->loops = runtime_depthwise_of(runtime->level);
  d->n_blocks = (step->step->as.conv.groups + BLOCK - 1) / BLOCK;
  mq_status status = make_taps(d, runtime, step->step, err);
  if (status == MQ_OK) status = make_finish(d, runtime, step->step, err);
  if (status == MQ_OK) status = make_weights(d, runtime, step->step, err);
  return status;
}

/* ---- Running ------------------------------------------------------------------------------------------ */
/* Pixels [first, first + n) of output row oh, block b. */
struct place {
  int64_t oh, first, b;
  int n;
};

static void sum_pixels(int32_t *acc, const struct depthwise *d, const struct runtime_depthwise_job *job,
                       const int32_t *w_zero) {
  _Alignas(64) int32_t box[RUNTIME_DEPTHWISE_PIXELS * BLOCK];
  struct runtime_depthwise_job one = *job;
  one.acc = acc;
  d->loops->sums(&one);
  if (w_zero == NULL) return;
  one.acc = box;
  one.weights = d->ones;
  d->loops->sums(&one);
  d->loops->correct(acc, box, w_zero, job->n_pixels);
}

static void run_pixels(const struct runtime_step *step, const struct runtime_frame *frame,
                       const struct place *at, const struct runtime_finisher *finisher) {
  _Alignas(64) int32_t acc[RUNTIME_DEPTHWISE_PIXELS * BLOCK];
  unsigned char *to[RUNTIME_DEPTHWISE_PIXELS];
  const unsigned char *shortcut[RUNTIME_DEPTHWISE_PIXELS];
  const struct depthwise *d = step->own;
  const struct mq_program_step *s = step->step;
  const struct mq_program_window *w = &s->as.conv.window;
  const struct runtime_layout *x = runtime_input(frame->runtime, s, 0),
                              *y = runtime_output(frame->runtime, s);
  const int64_t channel = at->b * BLOCK, left = y->channels - channel < BLOCK ? y->channels - channel : BLOCK;
  const struct runtime_depthwise_job job = {
      .x = runtime_pixel(x, frame->data[s->inputs[0]], at->oh * w->stride[0], at->first * w->stride[1]) +
           d->x_first + channel,
      .taps = d->taps,
      .n_quads = d->n_quads,
      .step = w->stride[1] * x->pixel_bytes,
      .weights = d->weights + at->b * d->n_quads * 4 * BLOCK,
      .n_pixels = at->n};
  const struct runtime_tile tile = {.n_pixels = at->n,
                                    .n_blocks = left > RUNTIME_BLOCK ? 2 : 1,
                                    .n_last = (int)(left > RUNTIME_BLOCK ? left - RUNTIME_BLOCK : left),
                                    .acc_step = BLOCK,
                                    .channel = channel,
                                    .acc = acc,
                                    .y = to,
                                    .shortcut = s->n_inputs > 1 ? shortcut : NULL};
  for (int p = 0; p < at->n; p++) {
    to[p] = runtime_pixel(y, frame->data[s->output], at->oh, at->first + p) + channel * y->element_bytes;
    if (s->n_inputs > 1)
      shortcut[p] = runtime_pixel(runtime_input(frame->runtime, s, 1), frame->data[s->inputs[1]], at->oh,
                                  at->first + p) +
                    channel;
  }
  sum_pixels(acc, d, &job, d->w_zero != NULL ? d->w_zero + channel : NULL);
  finisher->finish(&d->finish, &tile);
}

static void run(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                int64_t last) {
  const struct depthwise *d = step->own;
  const struct runtime_finisher *finisher = runtime_finisher_at(runtime_simd(frame->runtime->level));
  const int64_t width = runtime_output(frame->runtime, step->step)->columns;
  const int64_t most = RUNTIME_DEPTHWISE_PIXELS;
  for (int64_t oh = first; oh < last; oh++)
    for (int64_t b = 0; b < d->n_blocks; b++)
      for (int64_t at = 0; at < width; at += most) {
        const struct place place = {oh, at, b, (int)(width - at < most ? width - at : most)};
        run_pixels(step, frame, &place, finisher);
      }
}

const struct runtime_op runtime_op_depthwise = {
    .name = "depthwise", .can = can, .reach = runtime_layer_reach, .prepare = prepare, .run = run};
