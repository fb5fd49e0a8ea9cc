/* The reference executor's steps against plain loops that find the same elements another way: padded copies,
 * scattering, and indices taken apart. */
#include "program/help_program.h"

/* ---- Elements by their indices ----------------------------------------------------------------------- */
static void take_apart(int64_t index[MQ_PROGRAM_MAX_RANK], const struct mq_program_tensor *t, int64_t at) {
  for (int32_t i = t->rank - 1; i >= 0; i--) {
    index[i] = at % t->dim[i];
    at /= t->dim[i];
  }
}

static int64_t put_together(const struct mq_program_tensor *t, const int64_t *index) {
  int64_t at = 0;
  for (int32_t i = 0; i < t->rank; i++)
    at = at * t->dim[i] + index[i];
  return at;
}

static double value_at(const struct mq_program_tensor *t, const void *data, int64_t at) {
  return t->type == MQ_PROGRAM_F32 ? (double)((const float *)data)[at] : help_code_at(t, data, at);
}

struct seen {
  const struct mq_program *program;
  const struct mq_program_step *step;
  const struct mq_program_tensor *x, *y;
  const void *from, *to;
};

static struct seen see(const struct help_values *values, uint32_t s) {
  const struct mq_program *program = values->program;
  const struct mq_program_step *step = &program->steps[s];
  return (struct seen){.program = program,
                       .step = step,
                       .x = &program->tensors[step->inputs[0]],
                       .y = &program->tensors[step->output],
                       .from = values->tensors[step->inputs[0]],
                       .to = values->tensors[step->output]};
}

static void expect(const struct seen *seen, int64_t at, double expected) {
  const double found = value_at(seen->y, seen->to, at);
  if (found != expected)
    fail_msg("step %s, element %lld: %.9g, expected %.9g", seen->step->name, (long long)at, found, expected);
}

/* ---- Layers ------------------------------------------------------------------------------------------ */
/* Accumulators as doubles: exact below 2^53. */
static double *accumulate(const struct seen *seen, bool is_scattered) {
  const struct mq_program_conv *conv = &seen->step->as.conv;
  const struct mq_program_window *w = &conv->window;
  const struct mq_program_tensor *x = seen->x, *y = seen->y;
  const int64_t n_in = x->dim[2] / conv->groups, n_out = y->dim[2] / conv->groups;
  double *acc = calloc((size_t)mq_program_elements(y), sizeof *acc);
  assert_non_null(acc);
  /* Every pair of an input pixel and a tap goes to the output pixel it belongs to. */
  for (int64_t ih = 0; ih < x->dim[0]; ih++)
    for (int64_t iw = 0; iw < x->dim[1]; iw++)
      for (int64_t kh = 0; kh < w->kernel[0]; kh++)
        for (int64_t kw = 0; kw < w->kernel[1]; kw++) {
          int64_t oh = ih * w->stride[0] + kh * w->dilation[0] - w->pad_begin[0];
          int64_t ow = iw * w->stride[1] + kw * w->dilation[1] - w->pad_begin[1];
          if (!is_scattered) {
            oh = ih + w->pad_begin[0] - kh * w->dilation[0];
            ow = iw + w->pad_begin[1] - kw * w->dilation[1];
            if (oh % w->stride[0] != 0 || ow % w->stride[1] != 0) continue;
            oh /= w->stride[0];
            ow /= w->stride[1];
          }
          if (oh < 0 || ow < 0 || oh >= y->dim[0] || ow >= y->dim[1]) continue;
          for (int64_t o = 0; o < y->dim[2]; o++)
            for (int64_t i = 0; i < n_in; i++) {
              const int64_t x_index[] = {ih, iw, o / n_out * n_in + i}, y_index[] = {oh, ow, o};
              const int64_t at = ((o * w->kernel[0] + kh) * w->kernel[1] + kw) * n_in + i;
              acc[put_together(y, y_index)] +=
                  (double)(help_code_at(x, seen->from, put_together(x, x_index)) - x->zero_point) *
                  (conv->weights[at] - conv->channels[o].w_zero_point);
            }
        }
  return acc;
}

static double finish(const struct seen *seen, const struct help_values *values, int64_t at, double acc) {
  const struct mq_program_step *step = seen->step;
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(step->arithmetic);
  const struct mq_program_channel *channel = &step->as.conv.channels[at % seen->y->dim[seen->y->rank - 1]];
  const struct mq_program_output output = {.scale = seen->y->scale,
                                           .zero_point = seen->y->zero_point,
                                           .lo = step->lo,
                                           .hi = step->hi,
                                           .clip_lo = step->clip_lo,
                                           .clip_hi = step->clip_hi};
  float shortcut = 0;
  if (seen->y->type == MQ_PROGRAM_F32) {
    const float v = arithmetic->dequantize((int64_t)acc, channel);
    return fmin(fmax((double)v, (double)step->clip_lo), (double)step->clip_hi);
  }
  if (step->n_inputs == 2) {
    const struct mq_program_tensor *r = &seen->program->tensors[step->inputs[1]];
    shortcut = (float)((double)(help_code_at(r, values->tensors[step->inputs[1]], at) - r->zero_point) *
                       (double)r->scale);
  }
  return arithmetic->requantize((int64_t)acc, channel, shortcut, &output);
}

static void check_conv(const struct help_values *values, uint32_t s) {
  const struct seen seen = see(values, s);
  double *acc = accumulate(&seen, seen.step->as.conv.is_transposed);
  for (int64_t i = 0; i < mq_program_elements(seen.y); i++)
    expect(&seen, i, finish(&seen, values, i, acc[i]));
  free(acc);
}

static int32_t size_of(const struct mq_program_conv *conv, int axis, int32_t in) {
  const struct mq_program_window *w = &conv->window;
  const int32_t extent = (w->kernel[axis] - 1) * w->dilation[axis] + 1;
  const int32_t pads = w->pad_begin[axis] + w->pad_end[axis];
  return conv->is_transposed ? (in - 1) * w->stride[axis] + extent - pads
                             : (in + pads - extent) / w->stride[axis] + 1;
}

static void random_window(struct help *help, struct mq_program_conv *conv) {
  for (int axis = 0; axis < 2; axis++) {
    conv->window.kernel[axis] = 1 + (int32_t)help_random(help, 3);
    conv->window.stride[axis] = 1 + (int32_t)help_random(help, 3);
    conv->window.dilation[axis] = 1 + (int32_t)help_random(help, 2);
    conv->window.pad_begin[axis] = (int32_t)help_random(help, 3);
    conv->window.pad_end[axis] = (int32_t)help_random(help, 3) - (conv->is_transposed ? 1 : 0);
  }
}

/* A random convolution of `kind`; sizes of the output from 1. */
static void random_conv(struct help *help, mq_arithmetic_kind kind, uint64_t seed) {
  help_begin(help, seed);
  const bool is_plain = kind >= MQ_ARITHMETIC_POT_SHIFT;
  const mq_program_type types[] = {MQ_PROGRAM_S8, MQ_PROGRAM_U8, MQ_PROGRAM_S16};
  const mq_program_type type = types[help_random(help, kind == MQ_ARITHMETIC_TFLITE ? 2 : 3)];
  const mq_program_type y_type = types[help_random(help, 2)];
  struct mq_program_conv conv = {.groups = 1 << help_random(help, 3),
                                 .is_transposed = help_random(help, 3) == 0};
  const int32_t in[] = {5 + (int32_t)help_random(help, 3), 6},
                outputs = 4 * (1 + (int32_t)help_random(help, 2));
  do
    random_window(help, &conv);
  while (size_of(&conv, 0, in[0]) < 1 || size_of(&conv, 1, in[1]) < 1);
  const int32_t zero = is_plain ? 0 : type == MQ_PROGRAM_U8 ? 100 : -20, y_zero = is_plain ? 0 : 7;
  const uint32_t x = help_codes(help, type, DIMS(in[0], in[1], 8), 0.0625f, zero);
  const int32_t *dims = DIMS(size_of(&conv, 0, in[0]), size_of(&conv, 1, in[1]), outputs);
  const bool is_float =
      kind == MQ_ARITHMETIC_DEQUANT_F32 || (kind == MQ_ARITHMETIC_TRT && help_random(help, 2));
  const uint32_t y = is_float ? help_floats(help, dims) : help_codes(help, y_type, dims, 1, y_zero);
  const bool has_shortcut = kind == MQ_ARITHMETIC_TRT && !is_float;
  const uint32_t r = help_codes(help, MQ_PROGRAM_S8, dims, 0.5f, 3);
  help_input(help, x);
  help_input(help, r);
  struct mq_program_step *step =
      help_step(help, MQ_STEP_CONV, kind, y, has_shortcut ? INPUTS((int)x, (int)r) : INPUTS((int)x));
  step->as.conv = conv;
  help_layer(help, step, 0.00390625f, !is_plain);
  if (is_float || has_shortcut) step->clip_lo = 0;
  if (!is_float && !has_shortcut) step->lo = y_zero;
  help_output(help, y);
}

static void test_conv(void **state) {
  (void)state;
  for (int kind = 1; kind < MQ_ARITHMETIC_END; kind++)
    for (int i = 0; i < test_effort(60); i++) {
      struct help help;
      struct help_values values;
      random_conv(&help, (mq_arithmetic_kind)kind, (uint64_t)(1000 * kind + i));
      if (mq_program_finish(&help.program, &help.err) != MQ_PROGRAM_OK) fail_msg("%s", help.err.message);
      help_run(&values, &help, &help.program, 1);
      check_conv(&values, 0);
      help_end(&help);
    }
}

static void test_linear(void **state) {
  (void)state;
  for (int kind = 1; kind < MQ_ARITHMETIC_TRT; kind++) {
    struct help help;
    struct help_values values;
    help_begin(&help, (uint64_t)kind);
    const bool is_plain = kind >= MQ_ARITHMETIC_POT_SHIFT;
    const uint32_t x = help_codes(&help, MQ_PROGRAM_S8, DIMS(3, 33), 0.0625f, is_plain ? 0 : -9);
    const uint32_t y = help_codes(&help, MQ_PROGRAM_U8, DIMS(3, 5), 1, is_plain ? 0 : 99);
    help_input(&help, x);
    struct mq_program_step *step =
        help_step(&help, MQ_STEP_LINEAR, (mq_arithmetic_kind)kind, y, INPUTS((int)x));
    step->as.conv =
        (struct mq_program_conv){.window = help_window(1, 1, 0), .groups = 1, .is_per_tensor = kind % 2 == 0};
    help_layer(&help, step, 0.00390625f, !is_plain);
    help_output(&help, y);
    if (mq_program_finish(&help.program, &help.err) != MQ_PROGRAM_OK) fail_msg("%s", help.err.message);
    help_run(&values, &help, &help.program, 1);
    const struct seen seen = see(&values, 0);
    for (int64_t i = 0; i < 15; i++) {
      const struct mq_program_conv *conv = &seen.step->as.conv;
      double acc = 0;
      for (int64_t j = 0; j < 33; j++)
        acc += (double)(help_code_at(seen.x, seen.from, i / 5 * 33 + j) - seen.x->zero_point) *
               (conv->weights[i % 5 * 33 + j] - conv->channels[i % 5].w_zero_point);
      expect(&seen, i, finish(&seen, &values, i, acc));
    }
    help_end(&help);
  }
}

/* ---- Pools ------------------------------------------------------------------------------------------- */
/* Whether input index `i` is a tap of output o, or a place of the padding. */
static bool is_tap(const struct mq_program_window *w, int axis, int64_t o, int64_t i) {
  const int64_t from = i + w->pad_begin[axis] - o * w->stride[axis];
  return from >= 0 && from % w->dilation[axis] == 0 && from / w->dilation[axis] < w->kernel[axis];
}

static void check_average(const struct seen *seen, const int64_t *index, int64_t at, double sum, int64_t n,
                          float float_sum) {
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(seen->step->arithmetic);
  const struct mq_program_output output = {.scale = seen->y->scale,
                                           .zero_point = seen->y->zero_point,
                                           .lo = seen->step->lo,
                                           .hi = seen->step->hi,
                                           .clip_lo = -INFINITY,
                                           .clip_hi = INFINITY};
  struct mq_program_mean mean;
  (void)index;
  if (seen->x->type == MQ_PROGRAM_F32) {
    expect(seen, at, (double)(float_sum / (float)n));
    return;
  }
  assert_int_equal(arithmetic->make_average(&mean, seen->x, seen->y, (int32_t)n, NULL), MQ_PROGRAM_OK);
  expect(seen, at, arithmetic->average((int64_t)sum, &mean, &output));
}

static void check_pool(const struct help_values *values) {
  const struct seen seen = see(values, 0);
  const struct mq_program_window *w = &seen.step->as.pool.window;
  const bool counts = seen.step->as.pool.counts_padding;
  for (int64_t at = 0; at < mq_program_elements(seen.y); at++) {
    int64_t o[MQ_PROGRAM_MAX_RANK], n = 0;
    double max = -INFINITY, sum = 0;
    float float_sum = 0;
    take_apart(o, seen.y, at);
    for (int64_t h = -w->pad_begin[0]; h < seen.x->dim[0] + w->pad_end[0]; h++)
      for (int64_t v = -w->pad_begin[1]; v < seen.x->dim[1] + w->pad_end[1]; v++) {
        const bool is_inside = h >= 0 && v >= 0 && h < seen.x->dim[0] && v < seen.x->dim[1];
        if (!is_tap(w, 0, o[0], h) || !is_tap(w, 1, o[1], v) || (!is_inside && !counts)) continue;
        const int64_t index[] = {h, v, o[2]};
        const double value =
            is_inside ? value_at(seen.x, seen.from, put_together(seen.x, index)) : seen.x->zero_point;
        max = value > max ? value : max;
        sum += value;
        float_sum += (float)value;
        n++;
      }
    if (seen.step->kind == MQ_STEP_MAX)
      expect(&seen, at, max);
    else
      check_average(&seen, o, at, sum, n, float_sum);
  }
}

/* One window too many, as ceil_mode makes, is allowed as long as it touches the image. */
static void test_pools(void **state) {
  (void)state;
  int n_run = 0;
  for (int i = 0; i < test_effort(400); i++) {
    struct help help;
    struct help_values values;
    help_begin(&help, (uint64_t)i);
    const bool is_float = help_random(&help, 3) == 0, is_max = help_random(&help, 2) == 0;
    const mq_arithmetic_kind kind = (mq_arithmetic_kind)(1 + help_random(&help, MQ_ARITHMETIC_TRT));
    const int32_t zero = kind >= MQ_ARITHMETIC_POT_SHIFT ? 0 : -3;
    struct mq_program_conv conv = {.groups = 1};
    random_window(&help, &conv);
    for (int axis = 0; axis < 2; axis++) { /* below the window's extent, most of the time */
      const int32_t extent =
          (conv.window.kernel[axis] - 1) * conv.window.dilation[axis] + (i % 8 == 0 ? 2 : 1);
      conv.window.pad_begin[axis] %= extent;
      conv.window.pad_end[axis] %= extent;
    }
    int32_t dims[] = {7, 5, 3, 0};
    const uint32_t x =
        is_float ? help_floats(&help, dims) : help_codes(&help, MQ_PROGRAM_S8, dims, 0.5f, zero);
    for (int axis = 0; axis < 2; axis++)
      dims[axis] = size_of(&conv, axis, dims[axis]) + (int32_t)help_random(&help, 2);
    if (dims[0] < 1 || dims[1] < 1) {
      help_end(&help);
      continue;
    }
    const uint32_t y =
        is_float ? help_floats(&help, dims) : help_codes(&help, MQ_PROGRAM_S8, dims, 0.5f, zero);
    help_input(&help, x);
    struct mq_program_step *step = help_step(&help, is_max ? MQ_STEP_MAX : MQ_STEP_AVERAGE,
                                             is_max || is_float ? 0 : kind, y, INPUTS((int)x));
    step->as.pool.window = conv.window;
    step->as.pool.counts_padding = !is_max && help_random(&help, 2);
    help_output(&help, y);
    if (mq_program_finish(&help.program, &help.err) == MQ_PROGRAM_OK) {
      help_run(&values, &help, &help.program, 1);
      check_pool(&values);
      n_run++;
    } else {
      assert_true(strstr(help.err.message, "holds nothing") || strstr(help.err.message, "pads"));
    }
    help_end(&help);
  }
  assert_true(n_run >= (test_is_light() ? 5 : 100));
}

static void test_mean(void **state) {
  (void)state;
  for (int kind = 0; kind < MQ_ARITHMETIC_DEQUANT_F32; kind++) {
    struct help help;
    struct help_values values;
    help_begin(&help, (uint64_t)kind);
    const int32_t zero = kind >= MQ_ARITHMETIC_POT_SHIFT ? 0 : 50;
    const uint32_t x = kind == 0 ? help_floats(&help, DIMS(7, 7, 6))
                                 : help_codes(&help, MQ_PROGRAM_U8, DIMS(7, 7, 6), 0.5f, zero);
    const uint32_t y =
        kind == 0 ? help_floats(&help, DIMS(1, 1, 6)) : help_codes(&help, MQ_PROGRAM_U8, DIMS(6), 0.5f, zero);
    help_input(&help, x);
    help_step(&help, MQ_STEP_MEAN, (mq_arithmetic_kind)kind, y, INPUTS((int)x));
    help_output(&help, y);
    if (mq_program_finish(&help.program, &help.err) != MQ_PROGRAM_OK) fail_msg("%s", help.err.message);
    help_run(&values, &help, &help.program, 1);
    const struct seen seen = see(&values, 0);
    const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get((mq_arithmetic_kind)kind);
    const struct mq_program_output output = {
        .scale = 0.5f, .zero_point = zero, .hi = 255, .clip_lo = -INFINITY, .clip_hi = INFINITY};
    for (int64_t c = 0; c < 6; c++) {
      struct mq_program_mean mean;
      double sum = 0;
      for (int64_t i = 0; i < 49; i++)
        sum += value_at(seen.x, seen.from, i * 6 + c);
      if (kind == 0) {
        expect(&seen, c, (double)(float)(sum / 49));
        continue;
      }
      assert_int_equal(arithmetic->make_mean(&mean, seen.x, seen.y, 49, NULL), MQ_PROGRAM_OK);
      expect(&seen, c, arithmetic->mean((int64_t)sum, &mean, &output));
    }
    help_end(&help);
  }
}

/* ---- Adds and other broadcasts ----------------------------------------------------------------------- */
static int64_t broadcast_at(const struct mq_program_tensor *x, const struct mq_program_tensor *y,
                            int64_t at) {
  int64_t index[MQ_PROGRAM_MAX_RANK];
  take_apart(index, y, at);
  for (int32_t i = 0; i < x->rank; i++)
    if (x->dim[i] == 1) index[i] = 0;
  return put_together(x, index);
}

static double binary(const struct seen *seen, double a, double b) {
  const float x = (float)a, y = (float)b;
  const float results[] = {0, x + y, x - y, x * y, x / y, x >= 0 ? x : x * y};
  return fmin(fmax((double)results[seen->step->as.binary.kind], -4), 5);
}

static double add_codes(const struct seen *seen, const struct mq_program_tensor *b, double code_a,
                        double code_b) {
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(seen->step->arithmetic);
  const struct mq_program_output output = {.scale = seen->y->scale,
                                           .zero_point = seen->y->zero_point,
                                           .lo = seen->step->lo,
                                           .hi = seen->step->hi,
                                           .clip_lo = -INFINITY,
                                           .clip_hi = INFINITY};
  struct mq_program_add add;
  assert_int_equal(arithmetic->make_add(&add, seen->x, b, seen->y, NULL), MQ_PROGRAM_OK);
  return arithmetic->add((int32_t)code_a, (int32_t)code_b, &add, &output);
}

static void check_broadcast(struct help *help, mq_arithmetic_kind kind, int32_t operation,
                            const int32_t *a_dims, const int32_t *b_dims) {
  struct help_values values;
  const bool is_float = operation > 0;
  help_begin(help, (uint64_t)operation + 7);
  const int32_t *dims = DIMS(4, 3, 5);
  const uint32_t a = is_float ? help_floats(help, a_dims) : help_codes(help, MQ_PROGRAM_S8, a_dims, 0.5f, 0);
  const uint32_t b = is_float ? help_floats(help, b_dims) : help_codes(help, MQ_PROGRAM_U8, b_dims, 0.25f, 0);
  const uint32_t y = is_float ? help_floats(help, dims) : help_codes(help, MQ_PROGRAM_S8, dims, 0.5f, 0);
  help_input(help, a);
  help->tensors[b].constant = help_fill(help, b);
  struct mq_program_step *step =
      help_step(help, is_float ? MQ_STEP_BINARY : MQ_STEP_ADD, kind, y, INPUTS((int)a, (int)b));
  if (is_float) {
    step->as.binary.kind = (mq_program_binary)operation;
    step->clip_lo = -4;
    step->clip_hi = 5;
  }
  help_output(help, y);
  if (mq_program_finish(&help->program, &help->err) != MQ_PROGRAM_OK) fail_msg("%s", help->err.message);
  help_run(&values, help, &help->program, 1);
  const struct seen seen = see(&values, 0);
  const struct mq_program_tensor *other = &help->tensors[b];
  for (int64_t i = 0; i < mq_program_elements(seen.y); i++) {
    const double va = value_at(seen.x, seen.from, broadcast_at(seen.x, seen.y, i));
    const double vb = value_at(other, values.tensors[b], broadcast_at(other, seen.y, i));
    expect(&seen, i, is_float ? binary(&seen, va, vb) : add_codes(&seen, other, va, vb));
  }
}

static void test_broadcast(void **state) {
  (void)state;
  struct help help;
  for (int kind = 1; kind < MQ_ARITHMETIC_DEQUANT_F32; kind++) {
    check_broadcast(&help, (mq_arithmetic_kind)kind, 0, DIMS(4, 3, 5), DIMS(4, 3, 5));
    help_end(&help);
    check_broadcast(&help, (mq_arithmetic_kind)kind, 0, DIMS(4, 1, 5), DIMS(1, 3, 5));
    help_end(&help);
  }
  for (int operation = 1; operation < MQ_PROGRAM_BINARY_END; operation++) {
    check_broadcast(&help, 0, operation, DIMS(4, 3, 5), DIMS(1, 1, 5));
    help_end(&help);
    check_broadcast(&help, 0, operation, DIMS(1, 3, 1), DIMS(4, 3, 5));
    help_end(&help);
  }
}

/* ---- Moves, tables and floats: the program of all kinds ---------------------------------------------- */
/* The element of x behind element `at` of y. */
static int64_t moved_from(const struct seen *seen, int64_t at) {
  const struct mq_program_step *step = seen->step;
  int64_t y[MQ_PROGRAM_MAX_RANK] = {0}, x[MQ_PROGRAM_MAX_RANK] = {0};
  take_apart(y, seen->y, at);
  for (int32_t i = 0; i < seen->x->rank; i++) {
    x[i] = y[i];
    if (step->kind == MQ_STEP_PAD) x[i] = y[i] - step->as.pad.begin[i];
    if (step->kind == MQ_STEP_SLICE) x[i] = step->as.slice.start[i] + y[i] * step->as.slice.step[i];
    if (step->kind == MQ_STEP_GATHER && i == step->as.gather.axis) x[i] = step->as.gather.index[y[i]];
    if (step->kind == MQ_STEP_CONCAT && i == step->as.concat.axis)
      x[i] = y[i] % seen->x->dim[i]; /* x twice */
    if (step->kind == MQ_STEP_PAD && (x[i] < 0 || x[i] >= seen->x->dim[i])) return -1;
  }
  if (step->kind == MQ_STEP_TRANSPOSE)
    for (int32_t i = 0; i < seen->x->rank; i++)
      x[step->as.transpose.perm[i]] = y[i];
  return step->kind == MQ_STEP_RESHAPE ? at : put_together(seen->x, x);
}

static double unary(const struct seen *seen, double x, int64_t at) {
  const struct mq_program_step *step = seen->step;
  const float v = (float)x;
  switch (step->kind) {
    case MQ_STEP_QUANTIZE: {
      const struct mq_program_output output = {
          .scale = seen->y->scale, .zero_point = seen->y->zero_point, .lo = step->lo, .hi = step->hi};
      return mq_program_arithmetic_get(step->arithmetic)->quantize(v, &output);
    }
    case MQ_STEP_DEQUANTIZE:
      return (double)(float)((x - seen->x->zero_point) * (double)seen->x->scale);
    case MQ_STEP_TABLE:
      return ((const uint8_t *)step->as.table.entries)[(int)x + (seen->x->type == MQ_PROGRAM_S8 ? 128 : 0)];
    case MQ_STEP_AFFINE: {
      const float scaled = v * step->as.affine.gain[at % 8];
      return fmin((double)(scaled + step->as.affine.shift[at % 8]), (double)step->clip_hi);
    }
    default:
      if (step->as.unary.kind == MQ_PROGRAM_CLIP) return fmax(x, (double)step->clip_lo);
      return (double)(v * (float)fmin(fmax((double)(v / 6 + 0.5f), 0), 1));
  }
}

static void check_step(const struct help_values *values, uint32_t s) {
  const struct seen seen = see(values, s);
  const mq_step_kind kind = seen.step->kind;
  const bool is_move = kind >= MQ_STEP_CONCAT && kind <= MQ_STEP_RESHAPE;
  const bool is_unary = kind == MQ_STEP_QUANTIZE || kind == MQ_STEP_DEQUANTIZE || kind == MQ_STEP_TABLE ||
                        kind == MQ_STEP_AFFINE || kind == MQ_STEP_UNARY;
  for (int64_t i = 0; (is_move || is_unary) && i < mq_program_elements(seen.y); i++) {
    const int64_t from = is_move ? moved_from(&seen, i) : i;
    const double x = from >= 0 ? value_at(seen.x, seen.from, from) : seen.step->as.pad.code;
    expect(&seen, i, is_move ? x : unary(&seen, x, i));
  }
  if (kind == MQ_STEP_CONV) check_conv(values, s);
}

static void test_everything(void **state) {
  (void)state;
  for (int kind = 1; kind < MQ_ARITHMETIC_DEQUANT_F32; kind++) {
    struct help help;
    struct help_values values;
    help_everything(&help, (mq_arithmetic_kind)kind);
    help_run(&values, &help, &help.program, 1);
    for (uint32_t s = 0; s < help.program.n_steps; s++)
      check_step(&values, s);
    help_end(&help);
  }
}

/* An image's results do not depend on its neighbours, and outputs are the tensors seen. */
static void test_images(void **state) {
  (void)state;
  struct help help;
  struct help_values all, one;
  help_everything(&help, MQ_ARITHMETIC_XNNPACK);
  const uint64_t seed = help.seed;
  help_run(&all, &help, &help.program, 3);
  help.seed = seed;
  help_run(&one, &help, &help.program, 1);
  for (uint32_t i = 0; i < help.program.n_outputs; i++) {
    const uint32_t t = help.program.outputs[i];
    const size_t bytes = mq_program_tensor_bytes(&help.tensors[t]);
    assert_memory_equal(all.outputs[i], one.outputs[i], bytes);
    for (int64_t image = 0; image < 3; image++)
      assert_memory_equal((const char *)all.outputs[i] + (size_t)image * bytes,
                          all.tensors[image * help.program.n_tensors + t], bytes);
  }
  help_end(&help);
}

/* Tensors that live at the same time do not overlap; those that do not, share memory. */
static void test_arena(void **state) {
  (void)state;
  struct help help;
  size_t sum = 0;
  help_everything(&help, MQ_ARITHMETIC_XNNPACK);
  for (uint32_t i = 0; i < help.program.n_tensors; i++) {
    const struct mq_program_tensor *a = &help.tensors[i];
    if (a->constant != NULL) continue;
    sum += mq_program_tensor_bytes(a);
    assert_int_equal(a->offset % 16, 0);
    assert_true(a->offset + mq_program_tensor_bytes(a) <= help.program.arena_bytes);
    for (uint32_t j = 0; j < i; j++) {
      const struct mq_program_tensor *b = &help.tensors[j];
      const bool meets =
          a->first_step <= b->last_step && b->first_step <= a->last_step && b->constant == NULL;
      if (meets)
        assert_true(a->offset + mq_program_tensor_bytes(a) <= b->offset ||
                    b->offset + mq_program_tensor_bytes(b) <= a->offset);
    }
  }
  assert_true(help.program.arena_bytes < sum * 2 / 3);
  help_end(&help);
}

static void test_input_codes(void **state) {
  (void)state;
  struct help help;
  help_begin(&help, 1);
  const uint32_t x = help_input(&help, help_codes(&help, MQ_PROGRAM_S8, DIMS(4), 1, 0));
  const uint32_t y = help_codes(&help, MQ_PROGRAM_S8, DIMS(2, 2), 1, 0);
  help.tensors[x].code_min = -8;
  help.tensors[x].code_max = 7;
  help_step(&help, MQ_STEP_RESHAPE, 0, y, INPUTS((int)x));
  help_output(&help, y);
  assert_int_equal(mq_program_finish(&help.program, NULL), MQ_PROGRAM_OK);
  const int8_t codes[] = {-8, 7, 0, 8};
  int8_t result[4];
  const struct mq_program_run run = {.inputs = (const void *const[]){codes},
                                     .outputs = (void *const[]){result},
                                     .n_images = 1,
                                     .arena = help_alloc(&help, help.program.arena_bytes),
                                     .arena_bytes = help.program.arena_bytes};
  assert_int_equal(mq_program_run_reference(&help.program, &run, &help.err), MQ_PROGRAM_INVALID);
  assert_string_equal(help.err.message, "input 0, image 0: code 8, expected one in [-8, 7]");
  help_end(&help);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_conv),   cmocka_unit_test(test_linear),    cmocka_unit_test(test_pools),
      cmocka_unit_test(test_mean),   cmocka_unit_test(test_broadcast), cmocka_unit_test(test_everything),
      cmocka_unit_test(test_images), cmocka_unit_test(test_arena),     cmocka_unit_test(test_input_codes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
