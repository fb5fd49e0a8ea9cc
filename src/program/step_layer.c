/* Convolutions and linear layers. */
#include "program/arith.h"
#include "program/file.h"
#include "program/layer.h"

/* ---- Checks ------------------------------------------------------------------------------------------ */
/* Types of input, shortcut and output. */
static mq_program_status check_operands(const struct mq_program *program, const struct mq_program_step *step,
                                        struct mq_program_err *err) {
  const struct mq_program_tensor *x = program_input(program, step, 0), *y = program_output(program, step);
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(step->arithmetic);
  if (!program_is_code(x) || !(program_is_code(y) || program_is_float(y)))
    return program_fail_step(err, program, step, "expected codes in, codes or floats out");
  if (program_is_code(y) ? arithmetic->requantize == NULL : arithmetic->dequantize == NULL)
    return program_fail_step(err, program, step, "%s makes no %s", arithmetic->name,
                             program_is_code(y) ? "codes of a sum" : "floats of a sum");
  if (step->n_inputs == 1) return MQ_PROGRAM_OK;
  const struct mq_program_tensor *shortcut = program_input(program, step, 1);
  if (step->arithmetic == MQ_ARITHMETIC_TRT && program_is_code(y) && program_is_code(shortcut) &&
      program_same_shape(shortcut, y))
    return MQ_PROGRAM_OK;
  return program_fail_step(err, program, step,
                           "a shortcut: expected codes of the output's shape, codes out, and trt_model");
}

static struct program_layer layer_of(const struct mq_program *program, const struct mq_program_step *step) {
  const struct mq_program_conv *conv = &step->as.conv;
  return program_layer_make(program, step, &conv->window, conv->groups, conv->is_transposed);
}

static int64_t row_count(const struct mq_program *program, const struct mq_program_step *step) {
  const struct program_layer layer = layer_of(program, step);
  return program_layer_row(&layer);
}

static mq_program_status check_conv(const struct mq_program *program, const struct mq_program_step *step,
                                    struct mq_program_err *err) {
  const mq_program_status status = check_operands(program, step, err);
  const struct program_layer layer = layer_of(program, step);
  return status == MQ_PROGRAM_OK ? program_layer_check_conv(&layer, program, step, err) : status;
}

static mq_program_status check_linear(const struct mq_program *program, const struct mq_program_step *step,
                                      struct mq_program_err *err) {
  const mq_program_status status = check_operands(program, step, err);
  const struct program_layer layer = layer_of(program, step);
  return status == MQ_PROGRAM_OK ? program_layer_check_linear(&layer, program, step, err) : status;
}

/* ---- Constants --------------------------------------------------------------------------------------- */
static void layer_constants(struct program_codec *codec, const struct mq_program *program,
                            struct mq_program_step *step) {
  struct mq_program_conv *conv = &step->as.conv;
  const int64_t outputs = program_last_dim(program_output(program, step));
  conv->channels = program_field_constant(codec, conv->channels, outputs, sizeof *conv->channels);
  conv->weights = program_field_constant(codec, conv->weights, row_count(program, step) * outputs, 1);
}

static bool is_same_channel(const struct mq_program_channel *a, const struct mq_program_channel *b) {
  return a->multiplier == b->multiplier && a->shift == b->shift &&
         program_float_bits(a->factor) == program_float_bits(b->factor);
}

/* A channel's fields are those that its arithmetic makes of the scales; the bias is the lowering's own. */
static mq_program_status check_channel(const struct mq_program *program, const struct mq_program_step *step,
                                       int64_t o, struct mq_program_err *err) {
  const struct mq_program_tensor *x = program_input(program, step, 0), *y = program_output(program, step);
  const struct mq_program_conv *conv = &step->as.conv;
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(step->arithmetic);
  const struct mq_program_channel *channel = &conv->channels[o];
  const struct mq_program_layer layer = {.x_scale = x->scale,
                                         .w_scale = channel->w_scale,
                                         .y_scale = program_is_code(y) ? y->scale : 0,
                                         .w_zero_point = channel->w_zero_point,
                                         .is_linear = step->kind == MQ_STEP_LINEAR,
                                         .is_per_tensor = conv->is_per_tensor};
  struct mq_program_channel expected;
  if (!(channel->w_scale > 0 && program_is_finite(channel->w_scale)) || channel->w_zero_point < INT8_MIN ||
      channel->w_zero_point > INT8_MAX)
    return program_fail_step(err, program, step,
                             "output channel %lld: weight scale %g, zero point %lld, expected a finite scale "
                             "above 0 and a code",
                             (long long)o, (double)channel->w_scale, (long long)channel->w_zero_point);
  if (arithmetic->make_channel(&expected, &layer, err) != MQ_PROGRAM_OK)
    return program_blame_step(err, program, step);
  const bool has_right_bias = arithmetic->has_float_bias
                                  ? channel->bias == 0 && program_is_finite(channel->offset)
                                  : program_float_bits(channel->offset) == 0;
  if (has_right_bias && is_same_channel(channel, &expected)) return MQ_PROGRAM_OK;
  return program_fail_step(err, program, step, "output channel %lld: not what %s makes of its scales",
                           (long long)o, arithmetic->name);
}

static mq_program_status check_layer_data(const struct mq_program *program,
                                          const struct mq_program_step *step, struct mq_program_err *err) {
  const struct mq_program_conv *conv = &step->as.conv;
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(step->arithmetic);
  const int64_t outputs = program_last_dim(program_output(program, step)), n = row_count(program, step);
  if (conv->w_name == NULL) return program_fail_step(err, program, step, "no w_name, expected one or \"\"");
  for (int64_t o = 0; o < outputs; o++) {
    const struct mq_program_channel *channel = &conv->channels[o];
    int64_t lo, hi;
    const mq_program_status status = check_channel(program, step, o, err);
    if (status != MQ_PROGRAM_OK) return status;
    if (!mq_program_bound(&lo, &hi, program_input(program, step, 0), conv->weights + o * n, n,
                          channel->w_zero_point, channel->bias) ||
        (arithmetic->fits != NULL && !arithmetic->fits(channel, lo, hi)))
      return program_fail_step(
          err, program, step,
          "output channel %lld: the accumulator may overflow, it reaches [%lld, %lld] (bias "
          "%lld, shift %lld)",
          (long long)o, (long long)lo, (long long)hi, (long long)channel->bias, (long long)channel->shift);
  }
  return MQ_PROGRAM_OK;
}

static void layer_fields(struct program_codec *codec, struct mq_program_step *step) {
  struct mq_program_conv *conv = &step->as.conv;
  program_field_window(codec, &conv->window);
  program_field(codec, &conv->groups);
  program_field_bool(codec, &conv->is_transposed);
  program_field_bool(codec, &conv->is_per_tensor);
  program_field_text(codec, &conv->w_name);
}

static uint64_t layer_work(const struct mq_program *program, const struct mq_program_step *step) {
  const struct program_layer layer = layer_of(program, step);
  return program_layer_work(&layer);
}

/* ---- Running ----------------------------------------------------------------------------------------- */
/* sum (q - z)(w - zw) of n codes beside each other; 8-bit ones fit 32 bits, see mq_program_bound. */
static int64_t dot(const struct mq_program_tensor *x, const void *codes, int64_t at, const int8_t *weights,
                   int32_t w_zero_point, int64_t n) {
  int32_t sum = 0;
  int64_t long_sum = 0;
  if (x->type == MQ_PROGRAM_S8) {
    const int8_t *q = (const int8_t *)codes + at;
    for (int64_t i = 0; i < n; i++)
      sum += (q[i] - x->zero_point) * (weights[i] - w_zero_point);
  } else if (x->type == MQ_PROGRAM_U8) {
    const uint8_t *q = (const uint8_t *)codes + at;
    for (int64_t i = 0; i < n; i++)
      sum += (q[i] - x->zero_point) * (weights[i] - w_zero_point);
  } else {
    const int16_t *q = (const int16_t *)codes + at;
    for (int64_t i = 0; i < n; i++)
      long_sum += (int64_t)(q[i] - x->zero_point) * (weights[i] - w_zero_point);
  }
  return long_sum + sum;
}

/* The accumulator of output pixel (oh, ow), channel o, without its bias. */
static int64_t accumulate(const struct program_layer *layer, const void *codes,
                          const struct mq_program_conv *conv, int64_t oh, int64_t ow, int64_t o) {
  const struct mq_program_tensor *x = layer->x;
  const int64_t inputs = x->dim[2] / conv->groups, group = o / (layer->y->dim[2] / conv->groups);
  const int32_t *kernel = conv->window.kernel;
  int64_t acc = 0;
  for (int64_t kh = 0; kh < kernel[0]; kh++)
    for (int64_t kw = 0; kw < kernel[1]; kw++) {
      const int64_t ih = program_layer_input(layer, 0, oh, kh), iw = program_layer_input(layer, 1, ow, kw);
      if (ih < 0 || iw < 0) continue;
      const int64_t at = (ih * x->dim[1] + iw) * x->dim[2] + group * inputs;
      const int8_t *weights = conv->weights + ((o * kernel[0] + kh) * kernel[1] + kw) * inputs;
      acc += dot(x, codes, at, weights, conv->channels[o].w_zero_point, inputs);
    }
  return acc;
}

/* Where an accumulator goes. */
struct sink {
  const struct mq_program_step *step;
  const struct mq_program_arithmetic *arithmetic;
  int32_t (*requantize)(int64_t acc, const struct mq_program_channel *channel, float shortcut,
                        const struct mq_program_output *y);
  const struct mq_program_tensor *y, *shortcut; /* shortcut may be NULL */
  struct mq_program_output output;
  const void *shortcut_codes;
  void *data;
};

static struct sink begin(const struct program_frame *frame, const struct mq_program_step *step) {
  struct sink sink = {.step = step,
                      .arithmetic = mq_program_arithmetic_get(step->arithmetic),
                      .y = program_output(frame->program, step),
                      .output = mq_program_get_output(frame->program, step),
                      .data = program_write_to(frame, step)};
  const bool is_own = step->kind == MQ_STEP_LINEAR && sink.arithmetic->requantize_linear != NULL;
  sink.requantize = is_own ? sink.arithmetic->requantize_linear : sink.arithmetic->requantize;
  if (step->n_inputs > 1) {
    sink.shortcut = program_input(frame->program, step, 1);
    sink.shortcut_codes = program_read(frame, step->inputs[1]);
  }
  return sink;
}

static void put(const struct sink *sink, int64_t at, int64_t acc, const struct mq_program_channel *channel) {
  const struct mq_program_tensor *r = sink->shortcut;
  float shortcut = 0;
  if (program_is_float(sink->y)) {
    const float v = sink->arithmetic->dequantize(acc, channel);
    ((float *)sink->data)[at] = program_clip_float(v, sink->output.clip_lo, sink->output.clip_hi);
    return;
  }
  if (r != NULL)
    shortcut = (float)(program_get_code(sink->shortcut_codes, r->type, at) - r->zero_point) * r->scale;
  program_put_code(sink->data, sink->y->type, at, sink->requantize(acc, channel, shortcut, &sink->output));
}

static void run_conv(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_conv *conv = &step->as.conv;
  const struct program_layer layer = layer_of(frame->program, step);
  const struct sink sink = begin(frame, step);
  const void *codes = program_read(frame, step->inputs[0]);
  const int32_t *dim = sink.y->dim;
  int64_t at = 0;
  for (int64_t oh = 0; oh < dim[0]; oh++)
    for (int64_t ow = 0; ow < dim[1]; ow++)
      for (int64_t o = 0; o < dim[2]; o++, at++)
        put(&sink, at, accumulate(&layer, codes, conv, oh, ow, o), &conv->channels[o]);
}

static void run_linear(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *x = program_input(frame->program, step, 0);
  const struct mq_program_conv *conv = &step->as.conv;
  const struct sink sink = begin(frame, step);
  const void *codes = program_read(frame, step->inputs[0]);
  const int64_t inputs = program_last_dim(x), outputs = program_last_dim(sink.y);
  const int64_t rows = mq_program_elements(x) / inputs;
  for (int64_t row = 0; row < rows; row++)
    for (int64_t o = 0; o < outputs; o++) {
      const struct mq_program_channel *channel = &conv->channels[o];
      const int8_t *weights = conv->weights + o * inputs;
      put(&sink, row * outputs + o, dot(x, codes, row * inputs, weights, channel->w_zero_point, inputs),
          channel);
    }
}

const struct program_op program_op_conv = {
    .name = "conv",
    .min_inputs = 1,
    .max_inputs = 2,
    .rounds = true,
    .check = check_conv,
    .check_data = check_layer_data,
    .fields = layer_fields,
    .constants = layer_constants,
    .work = layer_work,
    .run = run_conv,
};

const struct program_op program_op_linear = {
    .name = "linear",
    .min_inputs = 1,
    .max_inputs = 2,
    .rounds = true,
    .check = check_linear,
    .check_data = check_layer_data,
    .fields = layer_fields,
    .constants = layer_constants,
    .work = layer_work,
    .run = run_linear,
};
