/* Convolutions and linear layers that stay float: whoever keeps a layer out of quantization gets it as it is.
 */
#include "program/file.h"
#include "program/layer.h"

static struct program_layer layer_of(const struct mq_program *program, const struct mq_program_step *step) {
  const struct mq_program_conv_float *conv = &step->as.conv_float;
  return program_layer_make(program, step, &conv->window, conv->groups, conv->is_transposed);
}

/* ---- Checks and constants ---------------------------------------------------------------------------- */
static mq_program_status check_floats(const struct mq_program *program, const struct mq_program_step *step,
                                      struct mq_program_err *err) {
  if (program_is_float(program_input(program, step, 0)) && program_is_float(program_output(program, step)))
    return MQ_PROGRAM_OK;
  return program_fail_step(err, program, step, "expected floats in and out");
}

static mq_program_status check_conv(const struct mq_program *program, const struct mq_program_step *step,
                                    struct mq_program_err *err) {
  const mq_program_status status = check_floats(program, step, err);
  const struct program_layer layer = layer_of(program, step);
  return status == MQ_PROGRAM_OK ? program_layer_check_conv(&layer, program, step, err) : status;
}

static mq_program_status check_linear(const struct mq_program *program, const struct mq_program_step *step,
                                      struct mq_program_err *err) {
  const mq_program_status status = check_floats(program, step, err);
  const struct program_layer layer = layer_of(program, step);
  return status == MQ_PROGRAM_OK ? program_layer_check_linear(&layer, program, step, err) : status;
}

static mq_program_status check_data(const struct mq_program *program, const struct mq_program_step *step,
                                    struct mq_program_err *err) {
  if (step->as.conv_float.w_name != NULL) return MQ_PROGRAM_OK;
  return program_fail_step(err, program, step, "no w_name, expected one or \"\"");
}

static void layer_fields(struct program_codec *codec, struct mq_program_step *step) {
  struct mq_program_conv_float *conv = &step->as.conv_float;
  program_field_window(codec, &conv->window);
  program_field(codec, &conv->groups);
  program_field_bool(codec, &conv->is_transposed);
  program_field_text(codec, &conv->w_name);
}

static void layer_constants(struct program_codec *codec, const struct mq_program *program,
                            struct mq_program_step *step) {
  struct mq_program_conv_float *conv = &step->as.conv_float;
  const struct program_layer layer = layer_of(program, step);
  const int64_t outputs = program_last_dim(layer.y), n = program_layer_row(&layer) * outputs;
  conv->bias = program_field_constant(codec, conv->bias, outputs, sizeof(float));
  conv->weights = program_field_constant(codec, conv->weights, n, sizeof(float));
}

static uint64_t layer_work(const struct mq_program *program, const struct mq_program_step *step) {
  const struct program_layer layer = layer_of(program, step);
  return program_layer_work(&layer);
}

/* ---- Running ----------------------------------------------------------------------------------------- */
/* sum + x w, one after the other: a product of two floats is exact in double. */
static double add_products(double sum, const float *x, const float *w, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    sum += (double)x[i] * (double)w[i];
  return sum;
}

static float finish(const struct mq_program_step *step, double sum, int64_t o) {
  const float v = (float)(sum + (double)step->as.conv_float.bias[o]);
  return program_clip_float(v, step->clip_lo, step->clip_hi);
}

static double sum_window(const struct program_layer *layer, const float *x, const float *weights, int64_t oh,
                         int64_t ow, int64_t o) {
  const int64_t width = layer->x->dim[1], channels = layer->x->dim[2], inputs = channels / layer->groups;
  const int64_t group = o / (layer->y->dim[2] / layer->groups);
  const int32_t *kernel = layer->window->kernel;
  double sum = 0;
  for (int64_t kh = 0; kh < kernel[0]; kh++)
    for (int64_t kw = 0; kw < kernel[1]; kw++) {
      const int64_t ih = program_layer_input(layer, 0, oh, kh), iw = program_layer_input(layer, 1, ow, kw);
      if (ih < 0 || iw < 0) continue;
      sum = add_products(sum, x + (ih * width + iw) * channels + group * inputs,
                         weights + ((o * kernel[0] + kh) * kernel[1] + kw) * inputs, inputs);
    }
  return sum;
}

static void run_conv(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct program_layer layer = layer_of(frame->program, step);
  const float *x = program_read(frame, step->inputs[0]);
  float *y = program_write_to(frame, step);
  const int32_t *dim = layer.y->dim;
  for (int64_t oh = 0; oh < dim[0]; oh++)
    for (int64_t ow = 0; ow < dim[1]; ow++)
      for (int64_t o = 0; o < dim[2]; o++)
        *y++ = finish(step, sum_window(&layer, x, step->as.conv_float.weights, oh, ow, o), o);
}

static void run_linear(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct program_layer layer = layer_of(frame->program, step);
  const float *x = program_read(frame, step->inputs[0]), *weights = step->as.conv_float.weights;
  float *y = program_write_to(frame, step);
  const int64_t inputs = program_last_dim(layer.x), outputs = program_last_dim(layer.y);
  const int64_t rows = mq_program_elements(layer.x) / inputs;
  for (int64_t row = 0; row < rows; row++)
    for (int64_t o = 0; o < outputs; o++)
      y[row * outputs + o] = finish(step, add_products(0, x + row * inputs, weights + o * inputs, inputs), o);
}

const struct program_op program_op_conv_float = {
    .name = "conv_float",
    .min_inputs = 1,
    .max_inputs = 1,
    .clips = true,
    .check = check_conv,
    .check_data = check_data,
    .fields = layer_fields,
    .constants = layer_constants,
    .work = layer_work,
    .run = run_conv,
};

const struct program_op program_op_linear_float = {
    .name = "linear_float",
    .min_inputs = 1,
    .max_inputs = 1,
    .clips = true,
    .check = check_linear,
    .check_data = check_data,
    .fields = layer_fields,
    .constants = layer_constants,
    .work = layer_work,
    .run = run_linear,
};
