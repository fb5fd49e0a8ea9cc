/* Pools of 8-bit codes. */
#include <string.h>

#include "runtime/ops.h"
#include "runtime/simd/points.h"

/* The taps of a window along one axis that lie inside: [first, first + n), the first at pixel `begin`. */
struct taps {
  int64_t begin, n, n_padded;
};

static struct taps find_taps(const struct mq_program_window *w, int axis, int64_t o, int64_t in) {
  const int64_t begin = o * w->stride[axis] - w->pad_begin[axis];
  const int64_t padded = in + w->pad_begin[axis] + w->pad_end[axis];
  int64_t first, ignored;
  struct taps taps;
  taps.n_padded =
      program_taps(&ignored, begin + w->pad_begin[axis], padded, w->kernel[axis], w->dilation[axis]);
  taps.n = program_taps(&first, begin, in, w->kernel[axis], w->dilation[axis]);
  taps.begin = begin + first * w->dilation[axis];
  return taps;
}

static bool has_bytes(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  return program_is_byte(program_input(runtime->program, step, 0)) &&
         program_is_byte(program_output(runtime->program, step));
}

/* ---- Max --------------------------------------------------------------------------------------------- */
static bool can_max(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  return step->kind == MQ_STEP_MAX && has_bytes(runtime, step);
}

/* Codes as they are stored have the order of the codes. Rows of the window first, over the whole row of the
 * input, which is shared by neighbouring windows. */
static void max_row(const struct runtime_step *step, const struct runtime_frame *frame,
                    const struct runtime_points *points, int64_t oh) {
  const struct mq_program_step *s = step->step;
  const struct mq_program_window *w = &s->as.pool.window;
  const struct runtime_layout *x = runtime_input(frame->runtime, s, 0),
                              *y = runtime_output(frame->runtime, s);
  const struct taps rows = find_taps(w, 0, oh, x->rows);
  unsigned char *row = frame->scratch;
  const int64_t bytes = x->columns * x->channels;
  memcpy(row, runtime_pixel(x, frame->data[s->inputs[0]], rows.begin, 0), (size_t)bytes);
  for (int64_t h = 1; h < rows.n; h++)
    points->max(row, runtime_pixel(x, frame->data[s->inputs[0]], rows.begin + h * w->dilation[0], 0), bytes);
  for (int64_t ow = 0; ow < y->columns; ow++) {
    const struct taps columns = find_taps(w, 1, ow, x->columns);
    unsigned char *to = runtime_pixel(y, frame->data[s->output], oh, ow);
    memcpy(to, row + columns.begin * x->channels, (size_t)x->channels);
    for (int64_t k = 1; k < columns.n; k++)
      points->max(to, row + (columns.begin + k * w->dilation[1]) * x->channels, x->channels);
  }
}

static void run_max(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                    int64_t last) {
  for (int64_t oh = first; oh < last; oh++)
    max_row(step, frame, runtime_points_at(runtime_simd(frame->runtime->level)), oh);
}

static mq_status prepare_max(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  const struct runtime_layout *x = runtime_input(runtime, step->step, 0);
  (void)err;
  runtime_want_scratch(runtime, (size_t)(x->columns * x->channels));
  step->n_units = runtime_output(runtime, step->step)->rows;
  return MQ_OK;
}

const struct runtime_op runtime_op_max = {
    .name = "max", .can = can_max, .prepare = prepare_max, .run = run_max};

/* ---- Averages: sums, then the arithmetic's own functions, of which a channel needs one ---------------- */
static bool can_average(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  const struct runtime_layout *x = runtime_input(runtime, step, 0);
  const int64_t most = INT32_MAX / UINT8_MAX; /* codes that fit a sum */
  return (step->kind == MQ_STEP_AVERAGE || step->kind == MQ_STEP_MEAN) && has_bytes(runtime, step) &&
         x->rows * x->columns <= most;
}

#define MEANS 64 /* channels of a unit, where all pixels are averaged */

static mq_status prepare_average(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  (void)err;
  const int64_t channels = runtime_input(runtime, step->step, 0)->channels;
  runtime_want_scratch(runtime, (size_t)channels * sizeof(int32_t));
  step->n_units = step->step->kind == MQ_STEP_AVERAGE ? runtime_output(runtime, step->step)->rows
                                                      : (channels + MEANS - 1) / MEANS;
  return MQ_OK;
}

typedef int32_t (*average_fn)(int64_t sum, const struct mq_program_mean *mean,
                              const struct mq_program_output *y);

/* Of n channels. sums: of codes as stored, n_inside of them; n_padded more are pads, which count as the zero
 * point. */
static void put_averages(unsigned char *to, const struct runtime_step *step,
                         const struct runtime_frame *frame, const int32_t *sums, int64_t n, int64_t n_inside,
                         int64_t n_padded, const struct mq_program_mean *mean, average_fn average) {
  const struct mq_program *program = frame->runtime->program;
  const struct mq_program_step *s = step->step;
  const struct runtime_layout *x = runtime_input(frame->runtime, s, 0),
                              *y = runtime_output(frame->runtime, s);
  const struct mq_program_output output = mq_program_get_output(program, s);
  const int64_t offset = n_padded * program_input(program, s, 0)->zero_point - n_inside * x->flip;
  for (int64_t c = 0; c < n; c++)
    to[c] = (unsigned char)(average(sums[c] + offset, mean, &output) + y->flip);
}

static void average_window(const struct runtime_step *step, const struct runtime_frame *frame, int64_t oh,
                           int64_t ow) {
  const struct mq_program *program = frame->runtime->program;
  const struct mq_program_step *s = step->step;
  const struct runtime_layout *x = runtime_input(frame->runtime, s, 0);
  const struct mq_program_window *w = &s->as.pool.window;
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(s->arithmetic);
  const struct taps rows = find_taps(w, 0, oh, x->rows), columns = find_taps(w, 1, ow, x->columns);
  const int64_t n_inside = rows.n * columns.n;
  const int64_t n = s->as.pool.counts_padding ? rows.n_padded * columns.n_padded : n_inside;
  int32_t *sums = (int32_t *)(void *)frame->scratch;
  struct mq_program_mean mean;
  memset(sums, 0, (size_t)x->channels * sizeof *sums);
  for (int64_t h = 0; h < rows.n; h++)
    runtime_points_at(runtime_simd(frame->runtime->level))
        ->sum_pixels(
            sums, runtime_pixel(x, frame->data[s->inputs[0]], rows.begin + h * w->dilation[0], columns.begin),
            columns.n, w->dilation[1] * x->pixel_bytes, x->channels);
  if (arithmetic->make_average(&mean, program_input(program, s, 0), program_output(program, s), (int32_t)n,
                               NULL) != MQ_PROGRAM_OK)
    return; /* cannot be: checked */
  put_averages(runtime_pixel(runtime_output(frame->runtime, s), frame->data[s->output], oh, ow), step, frame,
               sums, x->channels, n_inside, n - n_inside, &mean, arithmetic->average);
}

/* Channels [first, last). */
static void average_all(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                        int64_t last) {
  const struct mq_program *program = frame->runtime->program;
  const struct mq_program_step *s = step->step;
  const struct runtime_layout *x = runtime_input(frame->runtime, s, 0);
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(s->arithmetic);
  const int64_t n = x->rows * x->columns;
  int32_t *sums = (int32_t *)(void *)frame->scratch;
  struct mq_program_mean mean;
  memset(sums, 0, (size_t)(last - first) * sizeof *sums);
  for (int64_t row = 0; row < x->rows; row++)
    runtime_points_at(runtime_simd(frame->runtime->level))
        ->sum_pixels(sums, runtime_pixel(x, frame->data[s->inputs[0]], row, 0) + first, x->columns,
                     x->pixel_bytes, last - first);
  if (arithmetic->make_mean(&mean, program_input(program, s, 0), program_output(program, s), (int32_t)n,
                            NULL) != MQ_PROGRAM_OK)
    return; /* cannot be: checked */
  put_averages(frame->data[s->output] + first, step, frame, sums, last - first, n, 0, &mean,
               arithmetic->mean);
}

static void run_average(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                        int64_t last) {
  const struct runtime_layout *y = runtime_output(frame->runtime, step->step);
  if (step->step->kind == MQ_STEP_MEAN) {
    const int64_t channels = y->channels;
    average_all(step, frame, first * MEANS, last * MEANS < channels ? last * MEANS : channels);
    return;
  }
  for (int64_t oh = first; oh < last; oh++)
    for (int64_t ow = 0; ow < y->columns; ow++)
      average_window(step, frame, oh, ow);
}

const struct runtime_op runtime_op_average = {
    .name = "average", .can = can_average, .prepare = prepare_average, .run = run_average};
