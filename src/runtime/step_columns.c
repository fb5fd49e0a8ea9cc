/* Depthwise convolutions with the commonest windows, a row of outputs at a time (simd/columns.h). */
#include "runtime/layer.h"
#include "runtime/ops.h"
#include "runtime/quick.h"
#include "runtime/simd/columns.h"

#define BLOCK RUNTIME_COLUMNS_BLOCK
#define HALF (BLOCK / 2)

struct columns {
  struct runtime_finish finish;
  int64_t n_wide, x_first; /* blocks of 64 channels; bytes from pixel 0, 0 to the first tap */
  bool has_narrow;         /* a block of at most 32 follows them, run for two rows at a time */
  runtime_columns_fn wide, narrow;
  signed char *weights;
  int64_t block_bytes;
};

static runtime_columns_fn find(const struct mq_runtime *runtime, const struct mq_program_step *step,
                               runtime_form form, bool has_two_rows) {
  const struct mq_program_window *w = &step->as.conv.window;
  return runtime_columns_at(runtime_simd(runtime->level))
      ->find(form, w->kernel[0], w->stride[1], has_two_rows);
}

static bool has_zero_points(const struct mq_program_conv *conv) {
  bool has = false;
  for (int64_t c = 0; c < conv->groups; c++)
    has = has || conv->channels[c].w_zero_point != 0;
  return has;
}

static bool can(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  const struct mq_program_window *w = &step->as.conv.window;
  return runtime->level == RUNTIME_VNNI && runtime_op_depthwise.can(runtime, step) && step->n_inputs == 1 &&
         w->kernel[0] == w->kernel[1] && w->dilation[1] == 1 &&
         find(runtime, step, runtime_form_of(step, false), false) != NULL &&
         !has_zero_points(&step->as.conv) && runtime_is_quick(runtime, step);
}

/* ---- Preparing ---------------------------------------------------------------------------------------- */
/* The channel in place c of a block, -1 behind the last. A narrow block has its channels twice. */
static int64_t channel_at(const struct columns *d, int64_t block, int64_t c, int64_t n_channels) {
  const int64_t channel = block * BLOCK + (block < d->n_wide ? c : c % HALF);
  return channel < n_channels ? channel : -1;
}

static mq_status pack(struct columns *d, struct mq_runtime *runtime, const struct mq_program_conv *conv,
                      struct mq_err *err) {
  const int64_t kernel = conv->window.kernel[0], n_blocks = d->n_wide + d->has_narrow;
  d->block_bytes = runtime_columns_bytes(kernel);
  d->weights = mq_arena_alloc(&runtime->arena, (size_t)n_blocks, (size_t)d->block_bytes);
  if (d->weights == NULL) return mq_fail_memory(err, "packed weights");
  for (int64_t i = 0; i < n_blocks * BLOCK; i++) {
    const int64_t channel = channel_at(d, i / BLOCK, i % BLOCK, conv->groups);
    for (int64_t t = 0; t < kernel * kernel && channel >= 0; t++)
      d->weights[i / BLOCK * d->block_bytes +
                 runtime_columns_place(kernel, t / kernel, t % kernel, i % BLOCK)] =
          conv->weights[channel * kernel * kernel + t];
  }
  return MQ_OK;
}

static mq_status make_finish(struct columns *d, struct mq_runtime *runtime,
                             const struct mq_program_step *step, struct mq_err *err) {
  const struct mq_program_conv *conv = &step->as.conv;
  const int64_t taps = (int64_t)conv->window.kernel[0] * conv->window.kernel[1];
  const int64_t n = (d->n_wide + d->has_narrow) * BLOCK;
  int64_t *order = mq_alloc((size_t)n, sizeof *order), *sums = mq_alloc((size_t)n, sizeof *sums);
  mq_status status = MQ_OK;
  if (order == NULL || sums == NULL) {
    status = mq_fail_memory(err, "a layer's channels");
  } else {
    for (int64_t i = 0; i < n; i++)
      order[i / BLOCK * BLOCK + runtime_columns_channel(i % BLOCK)] =
          channel_at(d, i / BLOCK, i % BLOCK, conv->groups);
    for (int64_t i = 0; i < conv->groups * taps; i++)
      sums[i / taps] += conv->weights[i];
    status = runtime_finish_init(&d->finish, runtime, step, order, n, sums, err);
  }
  mq_free(order);
  mq_free(sums);
  return status;
}

static mq_status prepare(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  const struct mq_program_step *s = step->step;
  const struct mq_program_window *w = &s->as.conv.window;
  const struct runtime_layout *x = runtime_input(runtime, s, 0);
  const int64_t rest = x->channels % BLOCK;
  struct columns *d = mq_arena_alloc(&runtime->arena, 1, sizeof *d);
  if (d == NULL) return mq_fail_memory(err, "a layer");
  step->own = d;
  step->n_units = runtime_output(runtime, s)->rows;
  d->has_narrow = rest > 0 && rest <= HALF;
  d->n_wide = x->channels / BLOCK + (rest > HALF);
  d->x_first = -w->pad_begin[0] * x->row_bytes - w->pad_begin[1] * x->pixel_bytes;
  mq_status status = make_finish(d, runtime, s, err);
  if (status == MQ_OK) status = pack(d, runtime, &s->as.conv, err);
  d->wide = find(runtime, s, d->finish.form, false);
  d->narrow = find(runtime, s, d->finish.form, true);
  return status;
}

/* ---- Running ------------------------------------------------------------------------------------------ */
/* A block of output rows r[0] and r[1]. */
static void run_block(const struct runtime_step *step, const struct runtime_frame *frame, int64_t block,
                      const int64_t r[2], runtime_columns_fn row) {
  const struct columns *d = step->own;
  const struct mq_program_step *s = step->step;
  const struct mq_program_window *w = &s->as.conv.window;
  const struct runtime_layout *x = runtime_input(frame->runtime, s, 0),
                              *y = runtime_output(frame->runtime, s);
  const int64_t left = y->channels - block * BLOCK;
  struct runtime_columns_job job = {.tap_row = w->dilation[0] * x->row_bytes,
                                    .x_pixel = x->pixel_bytes,
                                    .y_pixel = y->pixel_bytes,
                                    .weights = d->weights + block * d->block_bytes,
                                    .channel = block * BLOCK,
                                    .n_pixels = y->columns,
                                    .n_channels = left < BLOCK ? (int)left : BLOCK};
  for (int i = 0; i < 2; i++) {
    job.x[i] = frame->data[s->inputs[0]] + d->x_first + r[i] * w->stride[0] * x->row_bytes + block * BLOCK;
    job.y[i] = frame->data[s->output] + r[i] * y->row_bytes + block * BLOCK;
  }
  row(&job, &d->finish);
}

/* Rows in pairs; the last one alone is its own partner. */
static void run(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                int64_t last) {
  const struct columns *d = step->own;
  for (int64_t oh = first; oh < last; oh += 2) {
    const int64_t next = oh + 1 < last ? oh + 1 : oh;
    for (int64_t b = 0; b < d->n_wide; b++)
      for (int64_t r = oh; r <= next; r++)
        run_block(step, frame, b, (const int64_t[]){r, r}, d->wide);
    if (d->has_narrow) run_block(step, frame, d->n_wide, (const int64_t[]){oh, next}, d->narrow);
  }
}

const struct runtime_op runtime_op_columns = {
    .name = "columns", .can = can, .reach = runtime_layer_reach, .prepare = prepare, .run = run};
