#include "program/help_program.h"

void help_begin(struct help *help, uint64_t seed) {
  memset(help, 0, sizeof *help);
  help->seed = seed * 2 + 1;
  help->program = (struct mq_program){.name = "test",
                                      .target = "none",
                                      .producer = "tests",
                                      .arithmetic = MQ_ARITHMETIC_TFLITE,
                                      .tensors = help->tensors,
                                      .steps = help->steps,
                                      .inputs = help->inputs,
                                      .outputs = help->outputs};
}

void help_end(struct help *help) {
  for (int i = 0; i < help->n_memory; i++)
    free(help->memory[i]);
  help->n_memory = 0;
}

void *help_alloc(struct help *help, size_t bytes) {
  assert_true(help->n_memory < 4 * HELP_MAX);
  void *memory = aligned_alloc(64, (bytes + 64) / 64 * 64);
  assert_non_null(memory);
  memset(memory, 0xa5, bytes);
  help->memory[help->n_memory++] = memory;
  return memory;
}

uint32_t help_random(struct help *help, uint32_t below) {
  help->seed = help->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)(help->seed >> 33) % below;
}

float help_uniform(struct help *help, float from, float to) {
  return from + (to - from) * (float)help_random(help, 1 << 20) / (float)(1 << 20);
}

static uint32_t add_tensor(struct help *help, mq_program_type type, const int32_t *dims) {
  const uint32_t at = help->program.n_tensors++;
  char *name = help_alloc(help, 16);
  assert_true(at < HELP_MAX);
  snprintf(name, 16, "t%u", at);
  help->tensors[at] = (struct mq_program_tensor){.name = name, .type = type};
  for (int32_t *rank = &help->tensors[at].rank; dims[*rank] != 0; ++*rank)
    help->tensors[at].dim[*rank] = dims[*rank];
  return at;
}

uint32_t help_codes(struct help *help, mq_program_type type, const int32_t *dims, float scale,
                    int32_t zero_point) {
  const uint32_t at = add_tensor(help, type, dims);
  struct mq_program_tensor *t = &help->tensors[at];
  t->scale = scale;
  t->zero_point = zero_point;
  t->code_min = type == MQ_PROGRAM_S8 ? -128 : type == MQ_PROGRAM_U8 ? 0 : -32768;
  t->code_max = type == MQ_PROGRAM_S8 ? 127 : type == MQ_PROGRAM_U8 ? 255 : 32767;
  return at;
}

uint32_t help_floats(struct help *help, const int32_t *dims) {
  return add_tensor(help, MQ_PROGRAM_F32, dims);
}

uint32_t help_input(struct help *help, uint32_t tensor) {
  help->inputs[help->program.n_inputs++] = tensor;
  return tensor;
}

void help_output(struct help *help, uint32_t tensor) {
  help->outputs[help->program.n_outputs++] = tensor;
}

static void put(struct help *help, const struct mq_program_tensor *t, void *data, int64_t i) {
  const int32_t span = t->code_max - t->code_min + 1;
  int32_t code = 0;
  if (t->type != MQ_PROGRAM_F32 && t->type != MQ_PROGRAM_S32) {
    const uint32_t kind = help_random(help, 8); /* the ends now and then */
    code = kind == 0   ? t->code_min
           : kind == 1 ? t->code_max
                       : t->code_min + (int32_t)help_random(help, (uint32_t)span);
  }
  switch (t->type) {
    case MQ_PROGRAM_S8:
      ((int8_t *)data)[i] = (int8_t)code;
      break;
    case MQ_PROGRAM_U8:
      ((uint8_t *)data)[i] = (uint8_t)code;
      break;
    case MQ_PROGRAM_S16:
      ((int16_t *)data)[i] = (int16_t)code;
      break;
    case MQ_PROGRAM_S32:
      ((int32_t *)data)[i] = (int32_t)help_random(help, 1 << 30);
      break;
    case MQ_PROGRAM_F32:
      ((float *)data)[i] = help_uniform(help, -6, 6);
      break;
  }
}

void *help_fill(struct help *help, uint32_t tensor) {
  const struct mq_program_tensor *t = &help->program.tensors[tensor];
  void *data = help_alloc(help, mq_program_tensor_bytes(t));
  for (int64_t i = 0; i < mq_program_elements(t); i++)
    put(help, t, data, i);
  return data;
}

int32_t help_code_at(const struct mq_program_tensor *tensor, const void *data, int64_t at) {
  switch (tensor->type) {
    case MQ_PROGRAM_S8:
      return ((const int8_t *)data)[at];
    case MQ_PROGRAM_U8:
      return ((const uint8_t *)data)[at];
    case MQ_PROGRAM_S16:
      return ((const int16_t *)data)[at];
    default:
      fail_msg("no codes");
      return 0;
  }
}

struct mq_program_step *help_step(struct help *help, mq_step_kind kind, mq_arithmetic_kind arithmetic,
                                  uint32_t output, const int *inputs) {
  const uint32_t at = help->program.n_steps++;
  struct mq_program_step *step = &help->steps[at];
  char *name = help_alloc(help, 16);
  assert_true(at < HELP_MAX);
  snprintf(name, 16, "s%u", at);
  *step = (struct mq_program_step){.kind = kind,
                                   .arithmetic = arithmetic,
                                   .name = name,
                                   .inputs = help->lists[at],
                                   .output = output,
                                   .clip_lo = -INFINITY,
                                   .clip_hi = INFINITY};
  for (; inputs[step->n_inputs] >= 0; step->n_inputs++)
    help->lists[at][step->n_inputs] = (uint32_t)inputs[step->n_inputs];
  if (arithmetic != 0) {
    step->lo = help->tensors[output].code_min;
    step->hi = help->tensors[output].code_max;
  }
  return step;
}

struct mq_program_window help_window(int32_t kernel, int32_t stride, int32_t pad) {
  return (struct mq_program_window){.kernel = {kernel, kernel},
                                    .stride = {stride, stride},
                                    .dilation = {1, 1},
                                    .pad_begin = {pad, pad},
                                    .pad_end = {pad, pad}};
}

void help_layer(struct help *help, struct mq_program_step *step, float w_scale, bool has_zero_points) {
  struct mq_program_conv *conv = &step->as.conv;
  const struct mq_program_tensor *x = &help->tensors[step->inputs[0]], *y = &help->tensors[step->output];
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(step->arithmetic);
  const int64_t outputs = y->dim[y->rank - 1], inputs = x->dim[x->rank - 1] / conv->groups;
  const int64_t n = outputs * conv->window.kernel[0] * conv->window.kernel[1] * inputs;
  int8_t *weights = help_alloc(help, (size_t)n);
  struct mq_program_channel *channels = help_alloc(help, (size_t)outputs * sizeof *channels);
  for (int64_t i = 0; i < n; i++)
    weights[i] = (int8_t)((int)help_random(help, 256) - 128);
  for (int64_t o = 0; o < outputs; o++) {
    const bool is_pot = strncmp(arithmetic->name, "pot", 3) == 0;
    const struct mq_program_layer layer = {
        .x_scale = x->scale,
        .y_scale = y->type == MQ_PROGRAM_F32 ? 0 : y->scale,
        .w_scale = is_pot || conv->is_per_tensor ? w_scale : w_scale * help_uniform(help, 0.5f, 2),
        .w_zero_point = has_zero_points ? (int)help_random(help, 40) - 20 : 0,
        .bias = (double)help_uniform(help, -1, 1),
        .is_linear = step->kind == MQ_STEP_LINEAR,
        .is_per_tensor = conv->is_per_tensor};
    if (arithmetic->make_channel(&channels[o], &layer, &help->err) != MQ_PROGRAM_OK)
      fail_msg("%s", help->err.message);
  }
  conv->weights = weights;
  conv->channels = channels;
  conv->w_name = "weights";
}

static float *uniform_floats(struct help *help, int64_t n) {
  float *values = help_alloc(help, (size_t)n * sizeof *values);
  for (int64_t i = 0; i < n; i++)
    values[i] = help_uniform(help, -1, 1);
  return values;
}

void help_layer_float(struct help *help, struct mq_program_step *step) {
  struct mq_program_conv_float *conv = &step->as.conv_float;
  const struct mq_program_tensor *x = &help->tensors[step->inputs[0]], *y = &help->tensors[step->output];
  const int64_t outputs = y->dim[y->rank - 1], inputs = x->dim[x->rank - 1] / conv->groups;
  conv->weights = uniform_floats(help, outputs * conv->window.kernel[0] * conv->window.kernel[1] * inputs);
  conv->bias = uniform_floats(help, outputs);
  conv->w_name = "float weights";
}

/* ---- Everything -------------------------------------------------------------------------------------- */
/* Appends a step with one input that makes `output`. */
static struct mq_program_step *then(struct help *help, mq_step_kind kind, mq_arithmetic_kind arithmetic,
                                    uint32_t input, uint32_t output) {
  return help_step(help, kind, arithmetic, output, INPUTS((int)input));
}

static uint32_t add_layers(struct help *help, mq_arithmetic_kind kind, uint32_t image) {
  const uint32_t x = help_codes(help, MQ_PROGRAM_S8, DIMS(6, 5, 4), 0.0625f, 0);
  const uint32_t a = help_codes(help, MQ_PROGRAM_S8, DIMS(3, 3, 8), 0.125f, 0);
  const uint32_t b = help_codes(help, MQ_PROGRAM_S8, DIMS(3, 3, 8), 0.25f, 0);
  const uint32_t sum = help_codes(help, MQ_PROGRAM_S8, DIMS(3, 3, 8), 0.25f, 0);
  then(help, MQ_STEP_QUANTIZE, kind, image, x);
  struct mq_program_step *conv = then(help, MQ_STEP_CONV, kind, x, a);
  conv->as.conv = (struct mq_program_conv){.window = help_window(3, 2, 1), .groups = 2};
  help_layer(help, conv, 0.0078125f, false);
  conv->lo = 0;
  conv = help_step(help, MQ_STEP_CONV, MQ_ARITHMETIC_TRT, b, INPUTS((int)a, (int)a));
  conv->as.conv =
      (struct mq_program_conv){.window = help_window(1, 1, 0), .groups = 1, .is_per_tensor = true};
  conv->clip_lo = 0;
  help_layer(help, conv, 0.0078125f, false);
  help_step(help, MQ_STEP_ADD, kind, sum, INPUTS((int)a, (int)b));
  return sum;
}

static uint32_t add_moves(struct help *help, uint32_t x) {
  const int32_t *dims[] = {DIMS(3, 3, 16), DIMS(5, 4, 16), DIMS(2, 4, 8),
                           DIMS(2, 6, 8),  DIMS(8, 2, 6),  DIMS(96)};
  uint32_t made[6];
  for (int i = 0; i < 6; i++)
    made[i] = help_codes(help, MQ_PROGRAM_S8, dims[i], 0.25f, 0);
  static const int32_t rows[] = {0, 3, 2, 2, 1, 0};
  help_step(help, MQ_STEP_CONCAT, 0, made[0], INPUTS((int)x, (int)x))->as.concat.axis = 2;
  struct mq_program_step *step = then(help, MQ_STEP_PAD, 0, made[0], made[1]);
  step->as.pad.begin[0] = 1;
  step->as.pad.code = -3;
  step = then(help, MQ_STEP_SLICE, 0, made[1], made[2]);
  for (int i = 0; i < MQ_PROGRAM_MAX_RANK; i++)
    step->as.slice.step[i] = i == 0 ? -3 : i == 2 ? 2 : 1;
  step->as.slice.start[0] = 4;
  step = then(help, MQ_STEP_GATHER, 0, made[2], made[3]);
  step->as.gather.axis = 1;
  step->as.gather.index = rows;
  step = then(help, MQ_STEP_TRANSPOSE, 0, made[3], made[4]);
  step->as.transpose.perm[0] = 2;
  step->as.transpose.perm[2] = 1;
  then(help, MQ_STEP_RESHAPE, 0, made[4], made[5]);
  return made[5];
}

static uint32_t add_pools(struct help *help, mq_arithmetic_kind kind, uint32_t x) {
  const uint32_t max = help_codes(help, MQ_PROGRAM_S8, DIMS(2, 2, 8), 0.25f, 0);
  const uint32_t average = help_codes(help, MQ_PROGRAM_S8, DIMS(2, 2, 8), 0.25f, 0);
  const uint32_t table = help_codes(help, MQ_PROGRAM_U8, DIMS(2, 2, 8), 0.5f, 128);
  const uint32_t back = help_codes(help, MQ_PROGRAM_S8, DIMS(2, 2, 8), 0.25f, 0);
  const uint32_t mean = help_codes(help, MQ_PROGRAM_S8, DIMS(8), 0.25f, 0);
  struct mq_program_step *step = then(help, MQ_STEP_MAX, 0, x, max);
  step->as.pool.window = help_window(3, 2, 1);
  step = then(help, MQ_STEP_AVERAGE, kind, max, average);
  step->as.pool.window = help_window(3, 1, 1);
  then(help, MQ_STEP_TABLE, 0, average, table)->as.table.entries = memset(help_alloc(help, 256), 7, 256);
  then(help, MQ_STEP_TABLE, 0, table, back)->as.table.entries = memset(help_alloc(help, 256), 9, 256);
  then(help, MQ_STEP_MEAN, kind, back, mean);
  return mean;
}

static void add_floats(struct help *help, mq_arithmetic_kind kind, uint32_t x, int32_t n) {
  uint32_t made[7];
  for (int i = 0; i < 6; i++)
    made[i] = help_floats(help, DIMS(n));
  const uint32_t constant = help_floats(help, DIMS(1)),
                 y = help_codes(help, MQ_PROGRAM_S8, DIMS(n), 0.125f, 0);
  const uint32_t logits = help_floats(help, DIMS(5));
  help->tensors[constant].constant = help_fill(help, constant);
  then(help, MQ_STEP_DEQUANTIZE, 0, x, made[0]);
  struct mq_program_step *step = then(help, MQ_STEP_AFFINE, 0, made[0], made[1]);
  step->as.affine.gain = step->as.affine.shift = memset(help_alloc(help, (size_t)n * 4), 0x3f, (size_t)n * 4);
  step->clip_hi = 5;
  step = then(help, MQ_STEP_UNARY, 0, made[1], made[2]);
  step->as.unary.kind = MQ_PROGRAM_HARD_SWISH;
  help_step(help, MQ_STEP_BINARY, 0, made[3], INPUTS((int)made[2], (int)constant))->as.binary.kind =
      MQ_PROGRAM_MUL;
  then(help, MQ_STEP_SOFTMAX, 0, made[3], made[4]);
  step = then(help, MQ_STEP_UNARY, 0, made[4], made[5]);
  step->as.unary.kind = MQ_PROGRAM_CLIP;
  step->clip_lo = 0.25f;
  then(help, MQ_STEP_QUANTIZE, kind, made[5], y);
  step = then(help, MQ_STEP_LINEAR, MQ_ARITHMETIC_DEQUANT_F32, y, logits);
  step->as.conv = (struct mq_program_conv){.window = help_window(1, 1, 0), .groups = 1};
  step->lo = step->hi = 0;
  help_layer(help, step, 0.0078125f, true);
  help_output(help, logits);
}

static void add_float_layers(struct help *help, uint32_t image) {
  const uint32_t y = help_floats(help, DIMS(3, 2, 6)), flat = help_floats(help, DIMS(36));
  const uint32_t scores = help_floats(help, DIMS(4));
  struct mq_program_step *step = then(help, MQ_STEP_CONV_FLOAT, 0, image, y);
  step->as.conv_float = (struct mq_program_conv_float){.window = help_window(3, 2, 1), .groups = 2};
  step->as.conv_float.window.pad_end[1] = 0;
  step->clip_lo = 0;
  help_layer_float(help, step);
  then(help, MQ_STEP_RESHAPE, 0, y, flat);
  step = then(help, MQ_STEP_LINEAR_FLOAT, 0, flat, scores);
  step->as.conv_float = (struct mq_program_conv_float){.window = help_window(1, 1, 0), .groups = 1};
  help_layer_float(help, step);
  help_output(help, scores);
}

void help_everything(struct help *help, mq_arithmetic_kind kind) {
  help_begin(help, 5);
  help->program.arithmetic = kind;
  const uint32_t image = help_input(help, help_floats(help, DIMS(6, 5, 4)));
  help->tensors[image].is_channels_last = true;
  const uint32_t sum = add_layers(help, kind, image);
  const uint32_t moved = add_moves(help, sum), mean = add_pools(help, kind, sum);
  help_output(help, moved);
  add_floats(help, kind, mean, 8);
  add_float_layers(help, image);
  if (mq_program_finish(&help->program, &help->err) != MQ_PROGRAM_OK) fail_msg("%s", help->err.message);
}

/* ---- Files and runs ---------------------------------------------------------------------------------- */
unsigned char *help_write(struct help *help, size_t *bytes) {
  if (mq_program_file_bytes(bytes, &help->program, &help->err) != MQ_PROGRAM_OK)
    fail_msg("%s", help->err.message);
  unsigned char *file = help_alloc(help, *bytes);
  if (mq_program_write(file, *bytes, &help->program, &help->err) != MQ_PROGRAM_OK)
    fail_msg("%s", help->err.message);
  return file;
}

mq_program_status help_load(struct mq_program **program, struct help *help, const void *file, size_t bytes) {
  size_t memory_bytes = 0;
  *program = NULL;
  const mq_program_status status = mq_program_memory_bytes(&memory_bytes, file, bytes, &help->err);
  if (status != MQ_PROGRAM_OK) return status;
  return mq_program_load(program, file, bytes, help_alloc(help, memory_bytes), memory_bytes, &help->err);
}

struct keep {
  struct help *help;
  struct help_values *values;
};

static void keep_tensor(void *context, const struct mq_program *program, uint32_t tensor, int64_t image,
                        const void *data) {
  const struct keep *keep = context;
  const size_t bytes = mq_program_tensor_bytes(&program->tensors[tensor]);
  void *copy = help_alloc(keep->help, bytes);
  memcpy(copy, data, bytes);
  keep->values->tensors[image * program->n_tensors + tensor] = copy;
}

void help_run(struct help_values *values, struct help *help, const struct mq_program *program,
              int64_t n_images) {
  const void *inputs[HELP_MAX];
  const size_t n = (size_t)n_images * program->n_tensors;
  struct keep keep = {.help = help, .values = values};
  *values = (struct help_values){.program = program, .n_images = n_images};
  values->tensors = memset(help_alloc(help, n * sizeof(void *)), 0, n * sizeof(void *));
  for (uint32_t i = 0; i < program->n_inputs; i++) {
    const struct mq_program_tensor *t = &program->tensors[program->inputs[i]];
    const size_t bytes = mq_program_tensor_bytes(t);
    char *data = help_alloc(help, (size_t)n_images * bytes);
    for (int64_t j = 0; j < n_images * mq_program_elements(t); j++)
      put(help, t, data, j);
    inputs[i] = data;
  }
  for (uint32_t i = 0; i < program->n_outputs; i++)
    values->outputs[i] =
        help_alloc(help, (size_t)n_images * mq_program_tensor_bytes(&program->tensors[program->outputs[i]]));
  const struct mq_program_run run = {.inputs = inputs,
                                     .outputs = values->outputs,
                                     .n_images = n_images,
                                     .arena = help_alloc(help, program->arena_bytes),
                                     .arena_bytes = program->arena_bytes,
                                     .see = keep_tensor,
                                     .context = &keep};
  if (mq_program_run_reference(program, &run, &help->err) != MQ_PROGRAM_OK) fail_msg("%s", help->err.message);
  for (int64_t image = 0; image < n_images; image++)
    for (uint32_t t = 0; t < program->n_tensors; t++)
      if (program->tensors[t].constant != NULL)
        memcpy(&values->tensors[image * program->n_tensors + t], &program->tensors[t].constant,
               sizeof(void *));
}
