/* Layers that stay float against the definition written the other way round: every input value is added to
 * the outputs it reaches. */
#include "help_program.h"

#define HEIGHT 6
#define WIDTH 5
#define CHANNELS 4

/* The output behind input `i` and tap `t` of an axis, or -1. */
static int64_t output_at(const struct mq_program_conv_float *conv, int axis, int64_t i, int64_t t,
                         int64_t n) {
  const struct mq_program_window *w = &conv->window;
  int64_t o = i + w->pad_begin[axis] - t * w->dilation[axis];
  if (conv->is_transposed)
    o = i * w->stride[axis] + t * w->dilation[axis] - w->pad_begin[axis];
  else if (o % w->stride[axis] != 0)
    return -1;
  else
    o /= w->stride[axis];
  return o >= 0 && o < n ? o : -1;
}

/* [H'][W'][O] sums of exact products in long double, without bias and clip. */
static long double *scatter(const struct mq_program_step *step, const struct mq_program_tensor *x,
                            const struct mq_program_tensor *y, const float *data) {
  const struct mq_program_conv_float *conv = &step->as.conv_float;
  const int32_t *kernel = conv->window.kernel;
  const int64_t inputs = x->dim[2] / conv->groups, outputs = y->dim[2] / conv->groups;
  long double *sums = calloc((size_t)mq_program_elements(y), sizeof *sums);
  for (int64_t at = 0; at < mq_program_elements(x); at++) {
    const int64_t c = at % x->dim[2], col = at / x->dim[2] % x->dim[1], row = at / x->dim[2] / x->dim[1];
    for (int64_t kh = 0; kh < kernel[0]; kh++)
      for (int64_t kw = 0; kw < kernel[1]; kw++) {
        const int64_t oh = output_at(conv, 0, row, kh, y->dim[0]),
                      ow = output_at(conv, 1, col, kw, y->dim[1]);
        for (int64_t o = c / inputs * outputs; oh >= 0 && ow >= 0 && o < (c / inputs + 1) * outputs; o++)
          sums[(oh * y->dim[1] + ow) * y->dim[2] + o] +=
              (long double)data[at] *
              conv->weights[((o * kernel[0] + kh) * kernel[1] + kw) * inputs + c % inputs];
      }
  }
  return sums;
}

static int64_t size_of(const struct mq_program_conv_float *conv, int axis, int64_t in) {
  const struct mq_program_window *w = &conv->window;
  const int64_t extent = (w->kernel[axis] - 1) * (int64_t)w->dilation[axis] + 1;
  const int64_t pads = (int64_t)w->pad_begin[axis] + w->pad_end[axis];
  if (conv->is_transposed) return (in - 1) * w->stride[axis] + extent - pads;
  return in + pads < extent ? 0 : (in + pads - extent) / w->stride[axis] + 1;
}

static void random_conv(struct help *help, uint64_t seed) {
  static const int32_t in[] = {HEIGHT, WIDTH};
  struct mq_program_conv_float conv;
  int32_t dims[4] = {0};
  help_begin(help, seed);
  help->program.arithmetic = MQ_ARITHMETIC_TRT;
  do {
    conv = (struct mq_program_conv_float){.groups = 1 << help_random(help, 3),
                                          .is_transposed = help_random(help, 2) == 1};
    for (int axis = 0; axis < 2; axis++) {
      conv.window.kernel[axis] = 1 + (int32_t)help_random(help, 3);
      conv.window.stride[axis] = 1 + (int32_t)help_random(help, 3);
      conv.window.dilation[axis] = 1 + (int32_t)help_random(help, 2);
      conv.window.pad_begin[axis] = (int32_t)help_random(help, 3);
      conv.window.pad_end[axis] = (int32_t)help_random(help, 3) - (conv.is_transposed ? 1 : 0);
      dims[axis] = (int32_t)size_of(&conv, axis, in[axis]);
    }
  } while (dims[0] < 1 || dims[1] < 1);
  dims[2] = 4 * (1 + (int32_t)help_random(help, 2));
  const uint32_t x = help_floats(help, DIMS(HEIGHT, WIDTH, CHANNELS)), y = help_floats(help, dims);
  help_input(help, x);
  struct mq_program_step *step = help_step(help, MQ_STEP_CONV_FLOAT, 0, y, INPUTS((int)x));
  step->as.conv_float = conv;
  if (help_random(help, 2)) step->clip_lo = -0.5f;
  help_layer_float(help, step);
  help_output(help, y);
}

/* Double keeps 29 bits more than the result: only where the sum lies beside the middle of two floats may they
 * differ, by one of them. */
static void assert_rounded(float found, long double sum, const struct mq_program_step *step, int64_t o) {
  const float near = (float)(sum + step->as.conv_float.bias[o]);
  const float expected = fminf(fmaxf(near, step->clip_lo), step->clip_hi);
  if (found != expected && fabsf(found - expected) > fabsf(expected) * 1.2e-7f)
    fail_msg("%.9g, expected %.9g", (double)found, (double)expected);
}

static void convolutions(void **state) {
  (void)state;
  int64_t n_exact = 0, n = 0;
  for (int i = 0; i < test_effort(200); i++) {
    struct help help;
    struct help_values values;
    random_conv(&help, (uint64_t)i);
    if (mq_program_finish(&help.program, &help.err) != MQ_PROGRAM_OK) fail_msg("%s", help.err.message);
    help_run(&values, &help, &help.program, 1);
    const struct mq_program_step *step = &help.steps[0];
    const struct mq_program_tensor *x = &help.tensors[step->inputs[0]], *y = &help.tensors[step->output];
    long double *sums = scatter(step, x, y, values.tensors[step->inputs[0]]);
    const float *found = values.tensors[step->output];
    for (int64_t at = 0; at < mq_program_elements(y); at++, n++) {
      const float near = (float)(sums[at] + step->as.conv_float.bias[at % y->dim[2]]);
      n_exact += found[at] == fmaxf(near, step->clip_lo);
      assert_rounded(found[at], sums[at], step, at % y->dim[2]);
    }
    free(sums);
    help_end(&help);
  }
  assert_true(n_exact > n - n / 10000 - 1);
}

/* The order of the sum is part of the definition: 1e30 + 1 - 1e30 in the order of the weights. */
static void linear_adds_in_order(void **state) {
  (void)state;
  static const float data[2][3] = {{1e30f, 1, -1e30f}, {1e30f, -1e30f, 1}}, ones[3] = {1, 1, 1},
                     bias[1] = {0.5f};
  struct help help;
  help_begin(&help, 1);
  help.program.arithmetic = MQ_ARITHMETIC_TRT;
  const uint32_t x = help_floats(&help, DIMS(2, 3)), y = help_floats(&help, DIMS(2, 1));
  help_input(&help, x);
  struct mq_program_step *step = help_step(&help, MQ_STEP_LINEAR_FLOAT, 0, y, INPUTS((int)x));
  step->as.conv_float = (struct mq_program_conv_float){
      .window = help_window(1, 1, 0), .groups = 1, .w_name = "", .weights = ones, .bias = bias};
  help_output(&help, y);
  if (mq_program_finish(&help.program, &help.err) != MQ_PROGRAM_OK) fail_msg("%s", help.err.message);
  float found[2];
  const struct mq_program_run run = {.inputs = (const void *[]){data},
                                     .outputs = (void *[]){found},
                                     .n_images = 1,
                                     .arena = help_alloc(&help, help.program.arena_bytes),
                                     .arena_bytes = help.program.arena_bytes};
  assert_int_equal(mq_program_run_reference(&help.program, &run, &help.err), MQ_PROGRAM_OK);
  assert_true(found[0] == 0.5f && found[1] == 1.5f);
  help_end(&help);
}

static void refuses(void **state) {
  (void)state;
  struct help help;
  help_begin(&help, 3);
  help.program.arithmetic = MQ_ARITHMETIC_TRT;
  const uint32_t x = help_codes(&help, MQ_PROGRAM_S8, DIMS(3), 1, 0), y = help_floats(&help, DIMS(2));
  help_input(&help, x);
  struct mq_program_step *step = help_step(&help, MQ_STEP_LINEAR_FLOAT, 0, y, INPUTS((int)x));
  step->as.conv_float = (struct mq_program_conv_float){.window = help_window(1, 1, 0), .groups = 1};
  help_layer_float(&help, step);
  help_output(&help, y);
  assert_int_equal(mq_program_finish(&help.program, &help.err), MQ_PROGRAM_INVALID);
  assert_non_null(strstr(help.err.message, "expected floats in and out"));
  help.tensors[x] = help.tensors[y];
  help.tensors[x].dim[0] = 3;
  step->as.conv_float.groups = 0;
  assert_int_equal(mq_program_finish(&help.program, &help.err), MQ_PROGRAM_INVALID);
  step->as.conv_float.groups = 1;
  step->arithmetic = MQ_ARITHMETIC_TRT;
  assert_int_equal(mq_program_finish(&help.program, &help.err), MQ_PROGRAM_INVALID);
  step->arithmetic = 0;
  assert_int_equal(mq_program_finish(&help.program, &help.err), MQ_PROGRAM_OK);
  help_end(&help);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(convolutions),
      cmocka_unit_test(linear_adds_in_order),
      cmocka_unit_test(refuses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
