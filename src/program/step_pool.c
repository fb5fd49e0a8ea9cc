/* Pools over windows, and the mean over everything but the last dimension. */
#include "program/arith.h"
#include "program/file.h"

/* ---- Windows ----------------------------------------------------------------------------------------- */
/* A place of a window: [row, row + n_rows) taps from input row `top`, columns likewise, and how many taps
 * count (with padding, where that counts). */
struct place {
  int64_t top, n_rows, left, n_columns, n;
};

static int64_t first_pixel(int64_t *n, int64_t *n_padded, const struct mq_program_window *w, int axis,
                           int64_t o, int64_t in) {
  const int64_t begin = o * w->stride[axis] - w->pad_begin[axis];
  const int64_t padded = in + w->pad_begin[axis] + w->pad_end[axis];
  int64_t first, ignored;
  *n_padded = program_taps(&ignored, begin + w->pad_begin[axis], padded, w->kernel[axis], w->dilation[axis]);
  *n = program_taps(&first, begin, in, w->kernel[axis], w->dilation[axis]);
  return begin + first * w->dilation[axis];
}

static struct place find_place(const struct mq_program_step *step, const struct mq_program_tensor *x,
                               int64_t oh, int64_t ow) {
  const struct mq_program_window *w = &step->as.pool.window;
  struct place place;
  int64_t padded_rows, padded_columns;
  place.top = first_pixel(&place.n_rows, &padded_rows, w, 0, oh, x->dim[0]);
  place.left = first_pixel(&place.n_columns, &padded_columns, w, 1, ow, x->dim[1]);
  place.n = step->as.pool.counts_padding ? padded_rows * padded_columns : place.n_rows * place.n_columns;
  return place;
}

/* Element of tap (h, w) that is inside, channel c. */
static int64_t element_at(const struct mq_program_step *step, const struct mq_program_tensor *x,
                          const struct place *place, int64_t h, int64_t w, int64_t c) {
  const int32_t *dilation = step->as.pool.window.dilation;
  return ((place->top + h * dilation[0]) * x->dim[1] + place->left + w * dilation[1]) * x->dim[2] + c;
}

static mq_program_status check_places(const struct mq_program *program, const struct mq_program_step *step,
                                      int axis, struct mq_program_err *err) {
  const struct mq_program_window *w = &step->as.pool.window;
  const int64_t in = program_input(program, step, 0)->dim[axis], extent = program_extent(w, axis);
  if (w->pad_begin[axis] >= extent || w->pad_end[axis] < 0 || w->pad_end[axis] >= extent)
    return program_fail_step(err, program, step, "pads %lld and %lld of a window of %lld, expected less",
                             (long long)w->pad_begin[axis], (long long)w->pad_end[axis], (long long)extent);
  for (int64_t o = 0; o < program_output(program, step)->dim[axis]; o++) {
    int64_t n, n_padded;
    first_pixel(&n, &n_padded, w, axis, o, in);
    if (n == 0)
      return program_fail_step(err, program, step, "window %lld holds nothing of the input's %lld",
                               (long long)o, (long long)in);
  }
  return MQ_PROGRAM_OK;
}

static mq_program_status check_pool(const struct mq_program *program, const struct mq_program_step *step,
                                    struct mq_program_err *err) {
  const struct mq_program_tensor *x = program_input(program, step, 0), *y = program_output(program, step);
  const struct mq_program_window *w = &step->as.pool.window;
  mq_program_status status = program_check_window(program, step, w, err);
  if (status == MQ_PROGRAM_OK && (x->rank != 3 || y->rank != 3 || x->dim[2] != y->dim[2]))
    status = program_fail_step(err, program, step, "expected H, W, C in and out, C the same");
  if (status == MQ_PROGRAM_OK && (int64_t)w->kernel[0] * w->kernel[1] > MQ_PROGRAM_MAX_ELEMENTS)
    status = program_fail_step(err, program, step, "a window of %lld x %lld, expected at most 2^28 taps",
                               (long long)w->kernel[0], (long long)w->kernel[1]);
  for (int axis = 0; axis < 2 && status == MQ_PROGRAM_OK; axis++)
    status = check_places(program, step, axis, err);
  return status;
}

static void pool_fields(struct program_codec *codec, struct mq_program_step *step) {
  program_field_window(codec, &step->as.pool.window);
  program_field_bool(codec, &step->as.pool.counts_padding);
}

static uint64_t pool_work(const struct mq_program *program, const struct mq_program_step *step) {
  const struct mq_program_window *w = &step->as.pool.window;
  const uint64_t taps = program_times((uint64_t)w->kernel[0], (uint64_t)w->kernel[1]);
  return program_times((uint64_t)mq_program_elements(program_output(program, step)), taps);
}

/* ---- Averages of codes: what average and mean share -------------------------------------------------- */
typedef mq_program_status (*make_fn)(struct mq_program_mean *mean, const struct mq_program_tensor *x,
                                     const struct mq_program_tensor *y, int32_t n,
                                     struct mq_program_err *err);

/* least, most: elements that a window counts. What holds for both holds between them. */
static mq_program_status check_averaging(const struct mq_program *program, const struct mq_program_step *step,
                                         int64_t least, int64_t most, struct mq_program_err *err) {
  const struct mq_program_tensor *x = program_input(program, step, 0), *y = program_output(program, step);
  if (program_is_float(x) && program_is_float(y)) return MQ_PROGRAM_OK;
  if (!program_is_code(x) || !program_is_code(y))
    return program_fail_step(err, program, step, "expected codes in and out, or floats");
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(step->arithmetic);
  const make_fn make = step->kind == MQ_STEP_MEAN ? arithmetic->make_mean : arithmetic->make_average;
  struct mq_program_mean mean;
  if (make == NULL) return program_fail_step(err, program, step, "%s averages no codes", arithmetic->name);
  if (make(&mean, x, y, (int32_t)least, err) != MQ_PROGRAM_OK ||
      make(&mean, x, y, (int32_t)most, err) != MQ_PROGRAM_OK)
    return program_blame_step(err, program, step);
  return MQ_PROGRAM_OK;
}

/* ---- Average ----------------------------------------------------------------------------------------- */
static mq_program_status check_average(const struct mq_program *program, const struct mq_program_step *step,
                                       struct mq_program_err *err) {
  const struct mq_program_tensor *x = program_input(program, step, 0), *y = program_output(program, step);
  int64_t least = 1, most = 1;
  const mq_program_status status = check_pool(program, step, err);
  if (status != MQ_PROGRAM_OK) return status;
  for (int axis = 0; axis < 2; axis++) {
    int64_t least_n = INT32_MAX, most_n = 1;
    for (int64_t o = 0; o < y->dim[axis]; o++) {
      int64_t n, n_padded;
      first_pixel(&n, &n_padded, &step->as.pool.window, axis, o, x->dim[axis]);
      if (step->as.pool.counts_padding) n = n_padded;
      least_n = n < least_n ? n : least_n;
      most_n = n > most_n ? n : most_n;
    }
    least *= least_n;
    most *= most_n;
  }
  return check_averaging(program, step, least, most, err);
}

/* Padding counts as the zero point. */
static int64_t sum_codes(const struct mq_program_step *step, const struct mq_program_tensor *x,
                         const void *codes, const struct place *place, int64_t c) {
  int64_t sum = (place->n - place->n_rows * place->n_columns) * x->zero_point;
  for (int64_t h = 0; h < place->n_rows; h++)
    for (int64_t w = 0; w < place->n_columns; w++)
      sum += program_get_code(codes, x->type, element_at(step, x, place, h, w, c));
  return sum;
}

/* Summed pixel by pixel in float32, then divided. */
static float average_floats(const struct mq_program_step *step, const struct mq_program_tensor *x,
                            const float *values, const struct place *place, int64_t c) {
  float sum = 0;
  for (int64_t h = 0; h < place->n_rows; h++)
    for (int64_t w = 0; w < place->n_columns; w++)
      sum += values[element_at(step, x, place, h, w, c)];
  return sum / (float)place->n;
}

static void average_place(const struct program_frame *frame, const struct mq_program_step *step,
                          const struct place *place, int64_t at) {
  const struct mq_program_tensor *x = program_input(frame->program, step, 0);
  const struct mq_program_tensor *y = program_output(frame->program, step);
  const void *from = program_read(frame, step->inputs[0]);
  void *to = program_write_to(frame, step);
  if (program_is_float(x)) {
    for (int64_t c = 0; c < x->dim[2]; c++)
      ((float *)to)[at + c] = average_floats(step, x, from, place, c);
    return;
  }
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(step->arithmetic);
  const struct mq_program_output output = mq_program_get_output(frame->program, step);
  struct mq_program_mean mean;
  if (arithmetic->make_average(&mean, x, y, (int32_t)place->n, NULL) != MQ_PROGRAM_OK) return; /* cannot be */
  for (int64_t c = 0; c < x->dim[2]; c++)
    program_put_code(to, y->type, at + c,
                     arithmetic->average(sum_codes(step, x, from, place, c), &mean, &output));
}

static void run_average(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *x = program_input(frame->program, step, 0);
  const int32_t *dim = program_output(frame->program, step)->dim;
  for (int64_t oh = 0; oh < dim[0]; oh++)
    for (int64_t ow = 0; ow < dim[1]; ow++) {
      const struct place place = find_place(step, x, oh, ow);
      average_place(frame, step, &place, (oh * dim[1] + ow) * dim[2]);
    }
}

const struct program_op program_op_average = {
    .name = "average",
    .min_inputs = 1,
    .max_inputs = 1,
    .rounds = true,
    .check = check_average,
    .fields = pool_fields,
    .work = pool_work,
    .run = run_average,
};

/* ---- Mean -------------------------------------------------------------------------------------------- */
static mq_program_status check_mean(const struct mq_program *program, const struct mq_program_step *step,
                                    struct mq_program_err *err) {
  const struct mq_program_tensor *x = program_input(program, step, 0), *y = program_output(program, step);
  const int64_t channels = program_last_dim(x);
  if (x->rank < 1 || program_last_dim(y) != channels || mq_program_elements(y) != channels)
    return program_fail_step(err, program, step, "expected one output for each of %lld channels",
                             (long long)channels);
  const int64_t n = mq_program_elements(x) / channels;
  return check_averaging(program, step, n, n, err);
}

/* Summed in double, rounded once. */
static float mean_floats(const float *x, int64_t n, int64_t channels) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++)
    sum += (double)x[i * channels];
  return (float)(sum / (double)n);
}

static void run_mean(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *x = program_input(frame->program, step, 0);
  const struct mq_program_tensor *y = program_output(frame->program, step);
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(step->arithmetic);
  const struct mq_program_output output = mq_program_get_output(frame->program, step);
  const int64_t channels = program_last_dim(x), n = mq_program_elements(x) / channels;
  const void *from = program_read(frame, step->inputs[0]);
  void *to = program_write_to(frame, step);
  struct mq_program_mean mean;
  if (program_is_code(x) && arithmetic->make_mean(&mean, x, y, (int32_t)n, NULL) != MQ_PROGRAM_OK)
    return; /* cannot be: checked */
  for (int64_t c = 0; c < channels; c++) {
    if (program_is_float(x)) {
      ((float *)to)[c] = mean_floats((const float *)from + c, n, channels);
      continue;
    }
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++)
      sum += program_get_code(from, x->type, i * channels + c);
    program_put_code(to, y->type, c, arithmetic->mean(sum, &mean, &output));
  }
}

static uint64_t mean_work(const struct mq_program *program, const struct mq_program_step *step) {
  return (uint64_t)mq_program_elements(program_input(program, step, 0));
}

const struct program_op program_op_mean = {
    .name = "mean",
    .min_inputs = 1,
    .max_inputs = 1,
    .rounds = true,
    .check = check_mean,
    .work = mean_work,
    .run = run_mean,
};

/* ---- Max --------------------------------------------------------------------------------------------- */
static mq_program_status check_max(const struct mq_program *program, const struct mq_program_step *step,
                                   struct mq_program_err *err) {
  const struct mq_program_tensor *x = program_input(program, step, 0), *y = program_output(program, step);
  if (x->type == MQ_PROGRAM_S32 || !program_same_codes(x, y) || step->as.pool.counts_padding)
    return program_fail_step(err, program, step,
                             "expected codes or floats, the same in and out, padding not counted");
  return check_pool(program, step, err);
}

static int32_t max_code(const struct mq_program_step *step, const struct mq_program_tensor *x,
                        const void *codes, const struct place *place, int64_t c) {
  int32_t max = INT32_MIN;
  for (int64_t h = 0; h < place->n_rows; h++)
    for (int64_t w = 0; w < place->n_columns; w++) {
      const int32_t code = program_get_code(codes, x->type, element_at(step, x, place, h, w, c));
      max = code > max ? code : max;
    }
  return max;
}

/* A NaN anywhere is the answer. */
static float max_float(const struct mq_program_step *step, const struct mq_program_tensor *x,
                       const float *values, const struct place *place, int64_t c) {
  float max = values[element_at(step, x, place, 0, 0, c)];
  for (int64_t h = 0; h < place->n_rows; h++)
    for (int64_t w = 0; w < place->n_columns; w++) {
      const float value = values[element_at(step, x, place, h, w, c)];
      max = max >= value || max != max ? max : value;
    }
  return max;
}

static void run_max(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *x = program_input(frame->program, step, 0);
  const int32_t *dim = program_output(frame->program, step)->dim;
  const void *from = program_read(frame, step->inputs[0]);
  void *to = program_write_to(frame, step);
  int64_t at = 0;
  for (int64_t oh = 0; oh < dim[0]; oh++)
    for (int64_t ow = 0; ow < dim[1]; ow++) {
      const struct place place = find_place(step, x, oh, ow);
      for (int64_t c = 0; c < dim[2]; c++, at++)
        if (program_is_float(x))
          ((float *)to)[at] = max_float(step, x, from, &place, c);
        else
          program_put_code(to, x->type, at, max_code(step, x, from, &place, c));
    }
}

const struct program_op program_op_max = {
    .name = "max",
    .min_inputs = 1,
    .max_inputs = 1,
    .check = check_max,
    .fields = pool_fields,
    .work = pool_work,
    .run = run_max,
};
