/* Tables of a TFLite file under construction, and the walk over a program's steps. */
#include "deploy/tflite_build.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Failures and memory ------------------------------------------------------------------------------- */

void tflite_fail(struct tflite_build *b, const char *format, ...) {
  char text[300];
  va_list arguments;
  if (b->status != MQ_OK) {
    return;
  }
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  b->status = b->step ? mq_fail(b->err, MQ_BAD_INPUT, "format tflite cannot express node '%.200s' (%s): %s",
                                b->step->name, mq_step_kind_name(b->step->kind), text)
                      : mq_fail(b->err, MQ_BAD_INPUT, "format tflite: %s", text);
}

static void fail_memory(struct tflite_build *b) {
  if (b->status == MQ_OK) {
    b->status = mq_fail_memory(b->err, "a TFLite file");
  }
}

void *tflite_alloc(struct tflite_build *b, size_t count, size_t bytes) {
  void *block = b->status == MQ_OK ? mq_arena_alloc(&b->arena, count > 0 ? count : 1, bytes) : NULL;
  if (!block) {
    fail_memory(b);
  }
  return block;
}

/* Doubles an array that has no room for one more. */
static bool make_room(struct tflite_build *b, void **items, uint32_t n, uint32_t *room, size_t bytes) {
  if (b->status != MQ_OK || n < *room) {
    return b->status == MQ_OK;
  }
  uint32_t wanted = *room ? 2 * *room : 64;
  void *grown = mq_realloc(*items, wanted, bytes);
  if (!grown) {
    fail_memory(b);
    return false;
  }
  *items = grown;
  *room = wanted;
  return true;
}

/* ---- Tensors ------------------------------------------------------------------------------------------- */

/* The user's names are kept for the tensors that bear them: false, until they are given. */
static void reserve(struct tflite_build *b, const char *name) {
  if (b->status == MQ_OK && json_object_set_new_nocheck(b->names, name, json_false()) != 0) {
    fail_memory(b);
  }
}

static bool is_free(const struct tflite_build *b, const char *name, bool is_users) {
  const json_t *given = json_object_get(b->names, name);
  return !given || (is_users && json_is_false(given));
}

const char *tflite_name(struct tflite_build *b, const char *name, const char *suffix) {
  bool is_users = !suffix[0];
  char *text = b->status == MQ_OK ? mq_arena_printf(&b->arena, "%s%s", name, suffix) : NULL;
  while (text && !is_free(b, text, is_users)) {
    is_users = false;
    text = mq_arena_printf(&b->arena, "%s%s_%zu", name, suffix, ++b->n_renamed);
  }
  if (!text || json_object_set_new_nocheck(b->names, text, json_true()) != 0) {
    fail_memory(b);
    return "";
  }
  return text;
}

static uint32_t add_tensor(struct tflite_build *b, const struct tflite_tensor *tensor) {
  void *items = b->tensors;
  if (!make_room(b, &items, b->n_tensors, &b->room_tensors, sizeof *b->tensors)) {
    return TFLITE_NO_TENSOR;
  }
  b->tensors = items;
  b->tensors[b->n_tensors] = *tensor;
  return b->n_tensors++;
}

int32_t tflite_code_offset(const struct mq_program_tensor *tensor) {
  return tensor->type == MQ_PROGRAM_U8 ? 128 : 0;
}

/* Constants with unsigned codes are rare enough to be copied. */
static const void *constant_of(struct tflite_build *b, const struct mq_program_tensor *t) {
  if (!t->constant || t->type != MQ_PROGRAM_U8) {
    return t->constant;
  }
  int64_t n = mq_program_elements(t);
  int8_t *codes = tflite_alloc(b, (size_t)n, 1);
  for (int64_t i = 0; codes && i < n; i++) {
    codes[i] = (int8_t)(((const uint8_t *)t->constant)[i] - 128);
  }
  return codes;
}

/* What made it, where the program has no name for it. */
static const char *suffix_of(const struct tflite_build *b, const struct mq_program_tensor *t) {
  const struct mq_program_step *step = b->step && &b->program->tensors[b->step->output] == t ? b->step : NULL;
  return !step                              ? "_constant"
         : step->kind == MQ_STEP_QUANTIZE   ? "_quantized"
         : step->kind == MQ_STEP_DEQUANTIZE ? "_dequantized"
         : step->kind == MQ_STEP_TRANSPOSE  ? "_transposed"
         : step->kind == MQ_STEP_RESHAPE    ? "_reshaped"
                                            : "_moved";
}

/* The user's name goes to the first tensor that bears it. */
static const char *name_of(struct tflite_build *b, const struct mq_program_tensor *t) {
  if (t->name[0] && is_free(b, t->name, true)) {
    return tflite_name(b, t->name, "");
  }
  const char *base = t->name;
  if (!base[0] && b->step && b->step->n_inputs > 0 && b->of[b->step->inputs[0]] != TFLITE_NO_TENSOR) {
    base = b->tensors[b->of[b->step->inputs[0]]].name;
  }
  return tflite_name(b, base, suffix_of(b, t));
}

static void set_codes(struct tflite_build *b, struct tflite_tensor *to, const struct mq_program_tensor *t) {
  if (t->type == MQ_PROGRAM_F32) {
    to->type = TFLITE_FLOAT32;
    return;
  }
  if (t->type != MQ_PROGRAM_S8 && t->type != MQ_PROGRAM_U8) {
    tflite_fail(b, "tensor '%.100s' has %s, expected 8 bits", t->name,
                t->type == MQ_PROGRAM_S16 ? "16 bits" : "32 bits and no scale");
    return;
  }
  to->type = TFLITE_INT8;
  to->scales = &t->scale;
  to->n_scales = 1;
  to->zero_point = t->zero_point - tflite_code_offset(t);
}

uint32_t tflite_tensor_of(struct tflite_build *b, uint32_t tensor) {
  if (b->status != MQ_OK || b->of[tensor] != TFLITE_NO_TENSOR) {
    return b->status == MQ_OK ? b->of[tensor] : TFLITE_NO_TENSOR;
  }
  const struct mq_program_tensor *t = &b->program->tensors[tensor];
  struct tflite_tensor to = {.rank = t->rank + 1, .shape = {1}, .has_batch = t->constant == NULL};
  memcpy(to.shape + 1, t->dim, (size_t)t->rank * sizeof *t->dim);
  set_codes(b, &to, t);
  to.name = name_of(b, t);
  to.data = constant_of(b, t);
  to.bytes = to.data ? mq_program_tensor_bytes(t) : 0;
  b->of[tensor] = add_tensor(b, &to);
  return b->of[tensor];
}

const struct tflite_tensor *tflite_tensor_at(const struct tflite_build *b, uint32_t tensor) {
  static const struct tflite_tensor none = {.name = "", .rank = 1};
  return b->status == MQ_OK ? &b->tensors[tensor] : &none;
}

uint32_t tflite_input(struct tflite_build *b, uint32_t i) {
  return tflite_tensor_of(b, b->step->inputs[i]);
}

uint32_t tflite_output(struct tflite_build *b) {
  return tflite_tensor_of(b, b->step->output);
}

uint32_t tflite_tensor_like(struct tflite_build *b, uint32_t like, const char *suffix) {
  struct tflite_tensor tensor = *tflite_tensor_at(b, like);
  tensor.name = tflite_name(b, tensor.name, suffix);
  tensor.data = NULL;
  tensor.bytes = 0;
  return add_tensor(b, &tensor);
}

/* ---- Constants ----------------------------------------------------------------------------------------- */

uint32_t tflite_constant(struct tflite_build *b, const struct tflite_tensor *tensor) {
  return add_tensor(b, tensor);
}

/* Named after the step's output. */
static uint32_t add_constant(struct tflite_build *b, struct tflite_tensor *tensor, const char *suffix,
                             const void *data, size_t bytes) {
  const char *name = tflite_tensor_at(b, tflite_output(b))->name;
  void *copy = tflite_alloc(b, bytes, 1);
  if (!copy) {
    return TFLITE_NO_TENSOR;
  }
  memcpy(copy, data, bytes);
  tensor->name = tflite_name(b, name, suffix);
  tensor->data = copy;
  tensor->bytes = bytes;
  return add_tensor(b, tensor);
}

uint32_t tflite_ints(struct tflite_build *b, const char *suffix, const int32_t *x, int rows, int columns) {
  struct tflite_tensor tensor = {.type = TFLITE_INT32, .rank = columns ? 2 : 1, .shape = {rows, columns}};
  return add_constant(b, &tensor, suffix, x, (size_t)rows * (size_t)(columns ? columns : 1) * sizeof *x);
}

uint32_t tflite_floats(struct tflite_build *b, const char *suffix, const float *x, int32_t n) {
  struct tflite_tensor tensor = {.type = TFLITE_FLOAT32, .rank = 1, .shape = {n}};
  return add_constant(b, &tensor, suffix, x, (size_t)n * sizeof *x);
}

uint32_t tflite_code_constant(struct tflite_build *b, const char *suffix, int32_t code, uint32_t like) {
  struct tflite_tensor tensor = *tflite_tensor_at(b, like);
  const int8_t byte = (int8_t)code;
  tensor.rank = 1;
  tensor.shape[0] = 1;
  tensor.has_batch = false;
  return add_constant(b, &tensor, suffix, &byte, 1);
}

/* ---- Operators ----------------------------------------------------------------------------------------- */

struct tflite_operator *tflite_add(struct tflite_build *b, tflite_code code, const uint32_t *inputs,
                                   uint32_t n_inputs, uint32_t output) {
  void *items = b->operators;
  b->ignored = (struct tflite_operator){.code = code};
  if (!make_room(b, &items, b->n_operators, &b->room_operators, sizeof *b->operators)) {
    return &b->ignored;
  }
  b->operators = items;
  struct tflite_operator *op = &b->operators[b->n_operators];
  *op = (struct tflite_operator){.code = code, .n_inputs = n_inputs, .output = output};
  if (n_inputs <= TFLITE_MAX_INPUTS) {
    memcpy(op->inputs, inputs, n_inputs * sizeof *inputs);
  } else {
    op->more_inputs = inputs;
  }
  b->n_operators++;
  return op;
}

/* ---- Ranges of codes ----------------------------------------------------------------------------------- */

/* As the interpreter works it out for int8: the type's range, cut by the activation's in codes. */
static void find_range(int32_t *lo, int32_t *hi, const struct mq_program_tensor *y,
                       tflite_activation activation) {
  struct mq_program_tensor all = *y;
  all.zero_point -= tflite_code_offset(y);
  all.code_min = INT8_MIN;
  all.code_max = INT8_MAX;
  float u = activation == TFLITE_NONE ? -INFINITY : activation == TFLITE_RELU_N1_TO_1 ? -1 : 0;
  float v = activation == TFLITE_RELU6 ? 6 : activation == TFLITE_RELU_N1_TO_1 ? 1 : INFINITY;
  mq_program_clamp(lo, hi, &all, u, v);
}

tflite_activation tflite_choose_activation(struct tflite_build *b, bool takes_one, uint32_t *output) {
  static const tflite_activation all[] = {TFLITE_NONE, TFLITE_RELU, TFLITE_RELU6, TFLITE_RELU_N1_TO_1};
  const struct mq_program_tensor *y = &b->program->tensors[b->step->output];
  const int32_t offset = tflite_code_offset(y);
  *output = tflite_output(b);
  for (size_t i = 0; i < (takes_one ? sizeof all / sizeof all[0] : 1); i++) {
    int32_t lo, hi;
    find_range(&lo, &hi, y, all[i]);
    if (lo == b->step->lo - offset && hi == b->step->hi - offset) {
      return all[i];
    }
  }
  *output = tflite_tensor_like(b, *output, "_unlimited");
  return TFLITE_NONE;
}

void tflite_limit(struct tflite_build *b, uint32_t x) {
  const uint32_t y = tflite_output(b);
  const int32_t offset = tflite_code_offset(&b->program->tensors[b->step->output]);
  const int32_t lo = b->step->lo - offset, hi = b->step->hi - offset;
  if (b->status != MQ_OK || x == y) {
    return;
  }
  if (lo > INT8_MIN) {
    const uint32_t inputs[] = {x, tflite_code_constant(b, "_least", lo, y)};
    x = hi < INT8_MAX ? tflite_tensor_like(b, y, "_limited_below") : y;
    tflite_add(b, TFLITE_MAXIMUM, inputs, 2, x);
  }
  if (hi < INT8_MAX) {
    const uint32_t inputs[] = {x, tflite_code_constant(b, "_most", hi, y)};
    tflite_add(b, TFLITE_MINIMUM, inputs, 2, y);
  }
}

/* ---- The walk ------------------------------------------------------------------------------------------ */

typedef void (*emit_fn)(struct tflite_build *build);
static const emit_fn emit[MQ_STEP_END] = {
    [MQ_STEP_QUANTIZE] = tflite_emit_float,
    [MQ_STEP_DEQUANTIZE] = tflite_emit_float,
    [MQ_STEP_CONV] = tflite_emit_layer,
    [MQ_STEP_LINEAR] = tflite_emit_layer,
    [MQ_STEP_ADD] = tflite_emit_layer,
    [MQ_STEP_AVERAGE] = tflite_emit_pool,
    [MQ_STEP_MEAN] = tflite_emit_mean,
    [MQ_STEP_TABLE] = tflite_emit_float,
    [MQ_STEP_MAX] = tflite_emit_pool,
    [MQ_STEP_CONCAT] = tflite_emit_move,
    [MQ_STEP_PAD] = tflite_emit_move,
    [MQ_STEP_SLICE] = tflite_emit_move,
    [MQ_STEP_GATHER] = tflite_emit_move,
    [MQ_STEP_TRANSPOSE] = tflite_emit_move,
    [MQ_STEP_RESHAPE] = tflite_emit_move,
    [MQ_STEP_AFFINE] = tflite_emit_float,
    [MQ_STEP_UNARY] = tflite_emit_float,
    [MQ_STEP_BINARY] = tflite_emit_float,
    [MQ_STEP_SOFTMAX] = tflite_emit_float,
    [MQ_STEP_CONV_FLOAT] = tflite_emit_float_layer,
    [MQ_STEP_LINEAR_FLOAT] = tflite_emit_float_layer,
};

void tflite_build_begin(struct tflite_build *b, const struct mq_program *program,
                        const struct mq_graph *graph, struct mq_err *err) {
  *b = (struct tflite_build){.program = program, .graph = graph, .err = err};
  mq_arena_init(&b->arena, 0);
  b->names = json_object();
  b->of = tflite_alloc(b, program->n_tensors, sizeof *b->of);
  if (!b->names) {
    fail_memory(b);
  }
  if (b->of) {
    memset(b->of, 0xff, program->n_tensors * sizeof *b->of); /* TFLITE_NO_TENSOR */
  }
  for (size_t i = 0; i < graph->n_values; i++) {
    reserve(b, graph->values[i]->name);
  }
}

void tflite_build_steps(struct tflite_build *b) {
  for (uint32_t i = 0; i < b->program->n_inputs; i++) {
    tflite_tensor_of(b, b->program->inputs[i]);
  }
  for (uint32_t i = 0; i < b->program->n_steps && b->status == MQ_OK; i++) {
    b->step = &b->program->steps[i];
    emit[b->step->kind](b);
  }
  b->step = NULL;
}

static const uint32_t *list(struct tflite_build *b, const uint32_t *tensors, uint32_t n) {
  uint32_t *of = tflite_alloc(b, n, sizeof *of);
  for (uint32_t i = 0; of && i < n; i++) {
    of[i] = tflite_tensor_of(b, tensors[i]);
  }
  return of;
}

void tflite_build_model(struct tflite_model *model, struct tflite_build *b) {
  const struct mq_program *program = b->program;
  const uint32_t *inputs = list(b, program->inputs, program->n_inputs);
  const uint32_t *outputs = list(b, program->outputs, program->n_outputs);
  *model = (struct tflite_model){.name = program->name,
                                 .describes = program->producer,
                                 .tensors = b->tensors,
                                 .operators = b->operators,
                                 .inputs = inputs,
                                 .outputs = outputs,
                                 .n_tensors = b->n_tensors,
                                 .n_operators = b->n_operators,
                                 .n_inputs = program->n_inputs,
                                 .n_outputs = program->n_outputs};
}

mq_status tflite_build_end(struct tflite_build *b) {
  mq_free(b->tensors);
  mq_free(b->operators);
  json_decref(b->names);
  mq_arena_deinit(&b->arena);
  return b->status;
}
