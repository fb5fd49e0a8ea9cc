/* Programs that break one rule each: refused with a line that names step or tensor, what was found, and what
 * was expected. */
#include <limits.h>

#include "program/help_program.h"

/* The steps of help_everything, in their order. */
enum {
  QUANTIZE,
  CONV,
  EPILOGUE,
  ADD,
  CONCAT,
  PAD,
  SLICE,
  GATHER,
  TRANSPOSE,
  RESHAPE,
  MAX,
  AVERAGE,
  TABLE,
  TABLE2,
  MEAN,
  DEQUANTIZE,
  AFFINE,
  UNARY,
  BINARY,
  SOFTMAX,
  CLIP,
  QUANTIZE2,
  LINEAR,
  CONV_FLOAT,
  RESHAPE2,
  LINEAR_FLOAT,
  N_STEPS
};

static struct mq_program_tensor *output(struct help *help, int step) {
  return &help->tensors[help->steps[step].output];
}
static struct mq_program_tensor *input(struct help *help, int step, int i) {
  return &help->tensors[help->steps[step].inputs[i]];
}
static struct mq_program_channel *channel(struct help *help, int step) {
  struct mq_program_conv *conv = &help->steps[step].as.conv;
  struct mq_program_channel *copy = help_alloc(help, 8 * sizeof *copy);
  memcpy(copy, conv->channels, (step == LINEAR ? 5 : 8) * sizeof *copy);
  conv->channels = copy;
  return copy + 2;
}

#define BREAK(name, statement)          \
  static void name(struct help *help) { \
    statement;                          \
  }
/* The whole. */
BREAK(no_steps, help->program.n_steps = 0)
BREAK(many_tensors, help->program.n_tensors = 8193)
BREAK(no_outputs, help->program.n_outputs = 0)
BREAK(no_arithmetic, help->program.arithmetic = MQ_ARITHMETIC_END)
BREAK(no_target, help->program.target = NULL)
BREAK(constant_input, help->tensors[0].constant = help)
BREAK(other_output, help->outputs[0] = 99)
BREAK(twice_made, help->steps[TABLE2].output = help->steps[TABLE].output)
BREAK(early, help->steps[CONV].inputs = help->steps[ADD].inputs)
BREAK(unmade, help->program.n_steps--)
/* Tensors. */
BREAK(no_name, help->tensors[2].name = NULL)
BREAK(no_type, help->tensors[2].type = (mq_program_type)6)
BREAK(rank_7, help->tensors[2].rank = 7)
BREAK(dim_0, help->tensors[2].dim[1] = 0)
BREAK(huge, help->tensors[2].dim[0] = help->tensors[2].dim[1] = 1 << 15)
BREAK(scale_0, help->tensors[2].scale = 0)
BREAK(scale_nan, help->tensors[2].scale = NAN)
BREAK(codes_wide, help->tensors[2].code_max = 128)
BREAK(zero_outside, help->tensors[2].zero_point = -129)
BREAK(float_scale, help->tensors[0].scale = 1)
/* Every step. */
BREAK(no_kind, help->steps[ADD].kind = MQ_STEP_END)
BREAK(no_step_name, help->steps[ADD].name = NULL)
BREAK(one_input, help->steps[ADD].n_inputs = 1)
BREAK(input_99, help->lists[ADD][1] = 99)
BREAK(output_99, help->steps[ADD].output = 99)
BREAK(rounding, help->steps[ADD].arithmetic = (mq_arithmetic_kind)0)
BREAK(no_rounding, help->steps[PAD].arithmetic = MQ_ARITHMETIC_ORT)
BREAK(range, help->steps[ADD].hi = 128)
BREAK(range_turned, help->steps[ADD].lo = 127; help->steps[ADD].hi = 126)
BREAK(no_clip, help->steps[ADD].clip_lo = 0)
BREAK(clip_turned, help->steps[CLIP].clip_hi = 0)
BREAK(clip_nan, help->steps[CLIP].clip_lo = NAN)
/* Each kind. */
BREAK(quantize_codes, output(help, QUANTIZE)->type = MQ_PROGRAM_F32; output(help, QUANTIZE)->scale = 0;
      output(help, QUANTIZE)->code_min = output(help, QUANTIZE)->code_max = 0;
      help->steps[QUANTIZE].arithmetic = (mq_arithmetic_kind)0;
      help->steps[QUANTIZE].lo = help->steps[QUANTIZE].hi = 0)
BREAK(quantize_shape, output(help, QUANTIZE)->dim[0] = 7)
BREAK(conv_groups, help->steps[CONV].as.conv.groups = 3)
BREAK(conv_kernel, help->steps[CONV].as.conv.window.kernel[1] = 0)
BREAK(conv_pad, help->steps[CONV].as.conv.window.pad_end[0] = -1)
BREAK(conv_size, help->steps[CONV].as.conv.window.stride[0] = 1)
BREAK(conv_no_codes, help->steps[CONV].arithmetic = MQ_ARITHMETIC_DEQUANT_F32)
BREAK(conv_shortcut, help->steps[EPILOGUE].arithmetic = MQ_ARITHMETIC_ORT;
      help->steps[EPILOGUE].clip_lo = -INFINITY)
BREAK(conv_factor, channel(help, CONV)->multiplier++)
BREAK(conv_offset, channel(help, CONV)->offset = 1)
BREAK(conv_bias, channel(help, CONV)->bias = INT32_MAX)
BREAK(conv_w_scale, channel(help, CONV)->w_scale = -1)
BREAK(conv_w_zero, channel(help, CONV)->w_zero_point = 128)
BREAK(epilogue_offset, channel(help, EPILOGUE)->offset = INFINITY)
BREAK(linear_window, help->steps[LINEAR].as.conv.window = help_window(1, 2, 0))
BREAK(linear_shape, output(help, LINEAR)->dim[1] = 1; output(help, LINEAR)->rank = 2)
BREAK(add_scales, output(help, ADD)->scale = 1e-12f)
BREAK(add_shapes, input(help, ADD, 1)->dim[0] = 2)
BREAK(float_groups, help->steps[CONV_FLOAT].as.conv_float.groups = 3)
BREAK(float_window, help->steps[LINEAR_FLOAT].as.conv_float.window.stride[1] = 2)
BREAK(float_name, help->steps[LINEAR_FLOAT].as.conv_float.w_name = NULL)
BREAK(concat_axis, help->steps[CONCAT].as.concat.axis = 3)
BREAK(concat_sum, output(help, CONCAT)->dim[2] = 17)
BREAK(concat_scale, output(help, CONCAT)->scale = 0.5f)
BREAK(pad_begin, help->steps[PAD].as.pad.begin[0] = 3)
BREAK(pad_code, help->steps[PAD].as.pad.code = 128)
BREAK(pad_value, help->steps[PAD].as.pad.value = 1)
BREAK(slice_start, help->steps[SLICE].as.slice.start[1] = 1)
BREAK(slice_step, help->steps[SLICE].as.slice.step[0] = 0)
BREAK(slice_rest, help->steps[SLICE].as.slice.step[5] = 2)
BREAK(gather_axis, help->steps[GATHER].as.gather.axis = -1)
BREAK(gather_index, input(help, GATHER, 0)->dim[1] = output(help, SLICE)->dim[1] = 3)
BREAK(transpose_perm, help->steps[TRANSPOSE].as.transpose.perm[1] = 2)
BREAK(transpose_rest, help->steps[TRANSPOSE].as.transpose.perm[4] = 4)
BREAK(reshape_count, output(help, RESHAPE)->dim[0] = 95)
BREAK(max_window, help->steps[MAX].as.pool.window.pad_begin[0] = 3)
BREAK(max_empty, output(help, MAX)->dim[0] = 3)
BREAK(max_padding, help->steps[MAX].as.pool.counts_padding = true)
BREAK(average_scale, output(help, AVERAGE)->scale = 0.5f)
BREAK(table_entry, output(help, TABLE)->code_max = 6; output(help, TABLE)->zero_point = 0)
BREAK(mean_shape, output(help, MEAN)->dim[0] = 7)
BREAK(unary_kind, help->steps[UNARY].as.unary.kind = MQ_PROGRAM_UNARY_END)
BREAK(unary_clip, help->steps[UNARY].clip_lo = 0)
BREAK(binary_kind, help->steps[BINARY].as.binary.kind = (mq_program_binary)0)
BREAK(binary_type, help->steps[BINARY].inputs = help->steps[DEQUANTIZE].inputs;
      help->lists[DEQUANTIZE][1] = help->lists[DEQUANTIZE][0])
BREAK(constant_code, help->tensors[2].constant = help_fill(help, 2); help->tensors[2].code_min = -1)

static const struct {
  void (*break_rule)(struct help *help);
  const char *message;
} cases[] = {
    {no_steps, "0 steps, expected 1 to 8192"},
    {many_tensors, "8193 tensors"},
    {no_outputs, "0 outputs, expected 1"},
    {no_arithmetic, "arithmetic 9, expected 1 to 8"},
    {no_target, "target or producer is missing"},
    {constant_input, "input 0 is tensor 0, expected"},
    {other_output, "output 0 is tensor 99"},
    {twice_made, "step 13 (table 's13'): makes tensor 13 't13', which there is already"},
    {early, "step 1 (conv 's1'):"},
    {unmade, "is never made"},
    {no_name, "tensor 2: no name"},
    {no_type, "tensor 2 't2': type 6, expected 1 to 5"},
    {rank_7, "rank 7, expected 0 to 6"},
    {dim_0, "dimension 0, expected 1 to 2^24"},
    {huge, "elements 1073741824, expected at most 2^28"},
    {scale_0, "scale 0, expected a finite one above 0"},
    {scale_nan, "scale nan"},
    {codes_wide, "codes [-128, 128], expected them within [-128, 127]"},
    {zero_outside, "zero point -129, expected one within its codes"},
    {float_scale, "expected zeros"},
    {no_kind, "kind 22, expected 1 to 21"},
    {no_step_name, "step 3 (add ''): no name"},
    {one_input, "step 3 (add 's3'): 1 inputs, expected 2 to 2"},
    {input_99, "input tensor 99, expected less than"},
    {output_99, "output tensor 99, expected less than"},
    {rounding, "arithmetic 0, expected one there is"},
    {no_rounding, "arithmetic 4, expected 0: it rounds nothing"},
    {range, "clamped to [-128, 128], expected a range within [-128, 127]"},
    {range_turned, "clamped to [127, 126]"},
    {no_clip, "clipped to [0, inf], expected infinities"},
    {clip_turned, "clipped to [2.5000e-1, 0], expected a range"},
    {clip_nan, "clipped to [nan, inf]"},
    {quantize_codes, "expected floats in and codes out"},
    {quantize_shape, "differ in shape"},
    {conv_groups, "3 groups of 4 and 8 channels"},
    {conv_kernel, "window: kernel 0"},
    {conv_pad, "a pad of -1, expected 0 or more"},
    {conv_size, "output size 3, expected 6"},
    {conv_no_codes, "dequant_f32 makes no codes of a sum"},
    {conv_shortcut, "a shortcut: expected"},
    {conv_factor, "output channel 2: not what tflite_ref makes of its scales"},
    {conv_offset, "output channel 2: not what tflite_ref makes of its scales"},
    {conv_bias, "output channel 2: the accumulator may overflow, it reaches"},
    {conv_w_scale, "output channel 2: weight scale -1.0000, zero point 0"},
    {conv_w_zero, "zero point 128, expected"},
    {epilogue_offset, "output channel 2: not what trt_model makes"},
    {linear_window, "expected one of 1 x 1 without pads"},
    {linear_shape, "differ in the last dimension at most"},
    {add_scales, "step 3 (add 's3'): operands' scales"},
    {add_shapes, "step 2 (conv 's2')"},
    {float_groups, "3 groups of 4 and 6 channels"},
    {float_window, "a window, expected one of 1 x 1 without pads"},
    {float_name, "no w_name"},
    {concat_axis, "but for the axis (3) of its 3"},
    {concat_sum, "inputs are 16 long together, expected 17"},
    {concat_scale, "input 0: expected the output's type, scale"},
    {pad_begin, "3 elements before axis 0, expected 0 to 2"},
    {pad_code, "pads hold code 128"},
    {pad_value, "and value 1.0000"},
    {slice_start, "axis 1: from 1 to 4 by 1, expected indices below 4"},
    {slice_step, "axis 0: from 4 to 4 by 0"},
    {slice_rest, "axis 5: from 0 to 0 by 2"},
    {gather_axis, "the axis (-1)"},
    {gather_index, "index 1 is 3, expected 0 to 2"},
    {transpose_perm, "dimension 1 is the input's 2: expected a permutation"},
    {transpose_rest, "dimension 4 is the input's 4"},
    {reshape_count, "96 elements become 95"},
    {max_window, "pads 3 and 1 of a window of 3"},
    {max_empty, "window 2 holds nothing of the input's 3"},
    {max_padding, "padding not counted"},
    {average_scale, "expected the same in tflite_ref"},
    {table_entry, "entry 0 is 7, expected a code in [0, 6]"},
    {mean_shape, "one output for each of 8 channels"},
    {unary_kind, "function 6, expected 1 to 5"},
    {unary_clip, "a clip, expected one with function 1 only"},
    {binary_kind, "operation 0, expected 1 to 5"},
    {binary_type, "step 18 (binary 's18')"},
    {constant_code, "tensor 2 't2': constant code"},
};

static void test_rules(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct help help;
    help_everything(&help, MQ_ARITHMETIC_TFLITE);
    assert_int_equal(help.program.n_steps, N_STEPS);
    cases[i].break_rule(&help);
    help.err.message[0] = '\0';
    const mq_program_status status = mq_program_finish(&help.program, &help.err);
    if (status != MQ_PROGRAM_INVALID || strstr(help.err.message, cases[i].message) == NULL)
      fail_msg("case %zu: status %d, '%s', expected '%s'", i, (int)status, help.err.message,
               cases[i].message);
    assert_int_equal(mq_program_finish(&help.program, NULL), MQ_PROGRAM_INVALID);
    help_end(&help);
  }
}

/* A name from a file cannot break the line. */
static void test_message_is_a_line(void **state) {
  (void)state;
  struct help help;
  char name[600];
  help_everything(&help, MQ_ARITHMETIC_TFLITE);
  memset(name, 'x', sizeof name);
  memcpy(name, "a\nb\r\x1b", 5);
  name[sizeof name - 1] = '\0';
  help.steps[ADD].name = name;
  help.steps[ADD].n_inputs = 1;
  assert_int_equal(mq_program_finish(&help.program, &help.err), MQ_PROGRAM_INVALID);
  assert_memory_equal(help.err.message, "step 3 (add 'a?b??x", 19);
  assert_int_equal(strlen(help.err.message), sizeof help.err.message - 1);
  help_end(&help);
}

/* ---- Overflow ---------------------------------------------------------------------------------------- */
static void expect_bound(const struct mq_program_tensor *x, int8_t weight, int64_t n, int32_t w_zero_point,
                         int32_t bias, bool fits) {
  int8_t *weights = malloc((size_t)n);
  int64_t lo, hi;
  assert_non_null(weights);
  memset(weights, weight, (size_t)n);
  assert_int_equal(mq_program_bound(&lo, &hi, x, weights, n, w_zero_point, bias), fits);
  const int64_t w = weight - w_zero_point, a = w * (x->code_min - x->zero_point) * n,
                b = w * (x->code_max - x->zero_point) * n;
  const int64_t least = (a < b ? a : b) + bias, most = (a < b ? b : a) + bias, plain = 255 * n * abs(weight);
  const bool has_plain = !fits && least >= INT32_MIN && most <= INT32_MAX && plain > INT32_MAX;
  assert_int_equal(lo, has_plain ? -plain : least);
  assert_int_equal(hi, has_plain ? plain : most);
  assert_true(fits || x->type == MQ_PROGRAM_S16 || lo <= INT32_MIN || hi > INT32_MAX);
  free(weights);
}

static void test_bound(void **state) {
  (void)state;
  const struct mq_program_tensor u8 = {.type = MQ_PROGRAM_U8, .zero_point = 3, .code_max = 255};
  const struct mq_program_tensor s8 = {.type = MQ_PROGRAM_S8, .code_min = -128, .code_max = 127};
  const struct mq_program_tensor s16 = {.type = MQ_PROGRAM_S16, .code_min = -32768, .code_max = 32767};
  expect_bound(&u8, 127, 1000, 0, 5, true);
  expect_bound(&u8, 127, 66311, 0, 0, true);  /* 255 x 127 x 66311 < 2^31 */
  expect_bound(&u8, 127, 66312, 0, 0, false); /* the plain sum is not */
  expect_bound(&s8, 127, 66312, 0, 0, false);
  expect_bound(&u8, 127, 33000, -128, 0, true);
  expect_bound(&u8, 127, 34000, -128, 0, false); /* weights of 255 */
  expect_bound(&u8, 1, 9, 0, INT32_MAX - 9 * 252, true);
  expect_bound(&u8, 1, 9, 0, INT32_MAX - 9 * 252 + 1, false);
  expect_bound(&u8, 1, 9, 0, INT32_MIN, false);
  expect_bound(&s16, -128, 1 << 20, 0, 0, true); /* 64-bit sums */
  expect_bound(&u8, 0, 4608, 0, 1 << 30, true);  /* a dead channel */
}

/* tflite_ref shifts to the left before it multiplies: that may overflow where the sum does not. */
static void test_shift_overflow(void **state) {
  (void)state;
  struct help help;
  help_begin(&help, 1);
  const uint32_t x = help_input(&help, help_codes(&help, MQ_PROGRAM_U8, DIMS(8), 1, 0));
  const uint32_t y = help_codes(&help, MQ_PROGRAM_U8, DIMS(4), 1, 0);
  struct mq_program_step *step = help_step(&help, MQ_STEP_LINEAR, MQ_ARITHMETIC_TFLITE, y, INPUTS((int)x));
  step->as.conv =
      (struct mq_program_conv){.window = help_window(1, 1, 0), .groups = 1, .is_per_tensor = true};
  help_layer(&help, step, 1024, false);
  help_output(&help, y);
  assert_int_equal(mq_program_finish(&help.program, &help.err), MQ_PROGRAM_OK);
  help_layer(&help, step, 1 << 20, false);
  assert_int_equal(mq_program_finish(&help.program, &help.err), MQ_PROGRAM_INVALID);
  assert_non_null(strstr(help.err.message, "the accumulator may overflow"));
  assert_non_null(strstr(help.err.message, "shift 21)"));
  help_end(&help);
}

static void test_work(void **state) {
  (void)state;
  struct help help;
  help_begin(&help, 1);
  const uint32_t x = help_input(&help, help_codes(&help, MQ_PROGRAM_U8, DIMS(8, 8, 4), 1, 0));
  const uint32_t y = help_codes(&help, MQ_PROGRAM_U8, DIMS(8, 8, 6), 1, 0);
  struct mq_program_step *step = help_step(&help, MQ_STEP_CONV, MQ_ARITHMETIC_ORT, y, INPUTS((int)x));
  step->as.conv = (struct mq_program_conv){.window = help_window(3, 1, 1), .groups = 2};
  help_layer(&help, step, 0.01f, false);
  help_output(&help, y);
  assert_int_equal(mq_program_finish(&help.program, &help.err), MQ_PROGRAM_OK);
  assert_int_equal(help.program.work, 8 * 8 * 6 * 9 * 2);
  help_end(&help);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rules), cmocka_unit_test(test_message_is_a_line),
      cmocka_unit_test(test_bound), cmocka_unit_test(test_shift_overflow),
      cmocka_unit_test(test_work),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
