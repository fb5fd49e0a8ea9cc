/* Tensors and steps of a program under construction. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "deploy/lower.h"

void lower_fail(struct lowering *l, const char *format, ...) {
  char text[300];
  va_list arguments;
  if (l->status != MQ_OK) {
    return;
  }
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  const char *graph = l->prepared->graph->name;
  l->status = l->node ? mq_fail(l->err, MQ_BAD_INPUT, "%s: node '%.200s' (%s): %s", graph, l->node->name,
                                mq_op_get(l->node->op)->name, text)
                      : mq_fail(l->err, MQ_BAD_INPUT, "%s: %s", graph, text);
}

static void *take(struct lowering *l, struct mq_arena *arena, size_t count, size_t bytes) {
  void *block = l->status == MQ_OK ? mq_arena_alloc(arena, count > 0 ? count : 1, bytes) : NULL;
  if (l->status == MQ_OK && !block) {
    l->status = mq_fail_memory(l->err, "an integer program");
  }
  return block;
}

void *lower_alloc(struct lowering *l, size_t count, size_t bytes) {
  return take(l, l->arena, count, bytes);
}

void *lower_scratch(struct lowering *l, size_t count, size_t bytes) {
  return take(l, &l->scratch, count, bytes);
}

/* Doubles an array that has no room for one more. */
static bool make_room(struct lowering *l, void **items, uint32_t n, uint32_t *room, size_t bytes,
                      const char *what) {
  if (l->status == MQ_OK && n >= MQ_PROGRAM_MAX_ITEMS) {
    lower_fail(l, "the program has %u %s already, expected at most %d", n, what, MQ_PROGRAM_MAX_ITEMS);
  }
  if (l->status != MQ_OK || n < *room) {
    return l->status == MQ_OK;
  }
  uint32_t wanted = *room ? 2 * *room : 64;
  void *grown = mq_realloc(*items, wanted, bytes);
  if (!grown) {
    l->status = mq_fail_memory(l->err, "an integer program");
    return false;
  }
  *items = grown;
  *room = wanted;
  return true;
}

/* ---- Shapes -------------------------------------------------------------------------------------------- */

int32_t lower_int(struct lowering *l, int64_t value) {
  if (value < -MQ_PROGRAM_MAX_DIM || value > MQ_PROGRAM_MAX_DIM) {
    lower_fail(l, "found a size of %lld, expected at most %d in an integer program", (long long)value,
               MQ_PROGRAM_MAX_DIM);
    return 1;
  }
  return (int32_t)value;
}

int lower_axis(const struct mq_value *value, lower_form form, int axis) {
  static const int of_rank_4[] = {-1, 2, 0, 1}, of_rank_3[] = {-1, 2, 1};
  if (form == LOWER_PLAIN) {
    return axis - 1;
  }
  return value->shape.rank == 4 ? of_rank_4[axis] : value->shape.rank == 3 ? of_rank_3[axis] : 2;
}

static bool has_form(const struct mq_shape *shape, lower_form form) {
  return form == LOWER_IMAGE ? shape->rank >= 2 && shape->rank <= 4 : shape->rank <= MQ_PROGRAM_MAX_RANK + 1;
}

/* Of one image. */
static void set_shape(struct lowering *l, struct mq_program_tensor *tensor, const struct mq_value *value,
                      lower_form form) {
  const struct mq_shape *shape = &value->shape;
  char text[128];
  if (value->dtype != MQ_F32 || shape->rank < 1 || shape->dim[0] != MQ_DIM_BATCH || !has_form(shape, form)) {
    lower_fail(l, "tensor '%.100s' is %s of %s, expected float32 with the batch first", value->name,
               mq_dtype_get(value->dtype)->name, mq_shape_format(text, sizeof text, shape));
    return;
  }
  tensor->rank = form == LOWER_IMAGE ? 3 : shape->rank - 1;
  tensor->is_channels_last = form == LOWER_IMAGE && shape->rank > 2;
  for (int i = 0; i < 3 && form == LOWER_IMAGE; i++) {
    tensor->dim[i] = 1;
  }
  for (int i = 1; i < shape->rank; i++) {
    if (shape->dim[i] < 1) {
      lower_fail(l, "tensor '%.100s' of %s is empty, expected sizes from 1", value->name,
                 mq_shape_format(text, sizeof text, shape));
    }
    tensor->dim[lower_axis(value, form, i)] = lower_int(l, shape->dim[i]);
  }
}

/* ---- Tensors ------------------------------------------------------------------------------------------- */

static uint32_t add_tensor(struct lowering *l, const struct mq_program_tensor *tensor) {
  void *items = l->tensors;
  if (!make_room(l, &items, l->n_tensors, &l->room_tensors, sizeof *l->tensors, "tensors")) {
    return LOWER_NONE;
  }
  l->tensors = items;
  l->tensors[l->n_tensors] = *tensor;
  return l->n_tensors++;
}

static const char *copy_name(struct lowering *l, const char *name) {
  char *copy = lower_alloc(l, strlen(name) + 1, 1);
  return copy ? strcpy(copy, name) : "";
}

/* An unsigned 16-bit code is stored less 2^15. */
static void set_codes(struct mq_program_tensor *tensor, const struct mq_point *point) {
  const struct mq_qparams *q = &point->qparams;
  bool is_wide = point->scheme.bits > 8;
  int32_t offset = is_wide && !q->is_signed ? 1 << 15 : 0;
  tensor->type = is_wide ? MQ_PROGRAM_S16 : q->is_signed ? MQ_PROGRAM_S8 : MQ_PROGRAM_U8;
  tensor->scale = q->scale[0];
  tensor->zero_point = q->zero_point[0] - offset;
  tensor->code_min = q->quant_min - offset;
  tensor->code_max = q->quant_max - offset;
}

uint32_t lower_make(struct lowering *l, const struct mq_value *value, const struct mq_point *point,
                    lower_form form) {
  struct mq_program_tensor tensor = {.type = MQ_PROGRAM_F32};
  const struct mq_node *producer = value->producer;
  bool is_points_own = point && producer && lower_point_of(l, producer) == point;
  set_shape(l, &tensor, value, form);
  tensor.name = copy_name(l, is_points_own ? point->tensor : value->name);
  if (point && point->qparams.n_channels != 1) {
    lower_fail(l, "point '%.100s' has no scale on a grid of integers", point->tensor);
  } else if (point) {
    set_codes(&tensor, point);
  }
  uint32_t index = add_tensor(l, &tensor);
  l->values[value->index].tensor[point ? LOWER_CODES : LOWER_FLOATS][form] = index;
  return index;
}

uint32_t lower_make_like(struct lowering *l, uint32_t like, int32_t rank, const int32_t *dim) {
  if (l->status != MQ_OK) {
    return LOWER_NONE;
  }
  struct mq_program_tensor tensor = l->tensors[like];
  tensor.name = "";
  tensor.constant = NULL;
  tensor.is_channels_last = false;
  tensor.rank = rank;
  memset(tensor.dim, 0, sizeof tensor.dim);
  memcpy(tensor.dim, dim, (size_t)rank * sizeof *dim);
  return add_tensor(l, &tensor);
}

void lower_alias(struct lowering *l, const struct mq_value *to, const struct mq_value *from) {
  l->values[to->index] = l->values[from->index];
}

/* Position in the constant of element `at` of the tensor; the constant's own dimensions of 1 are broadcast.
 */
static int64_t constant_at(const struct mq_value *value, const struct mq_value *like, lower_form form,
                           const int32_t *dim, int32_t rank, int64_t at) {
  int64_t index[MQ_PROGRAM_MAX_RANK] = {0}, position = 0;
  for (int32_t i = rank; i-- > 0;) {
    index[i] = at % dim[i];
    at /= dim[i];
  }
  const struct mq_shape *shape = &value->shape;
  for (int k = 0; k < shape->rank; k++) {
    int axis = k + like->shape.rank - shape->rank;
    position =
        position * shape->dim[k] + (axis > 0 && shape->dim[k] > 1 ? index[lower_axis(like, form, axis)] : 0);
  }
  return position;
}

uint32_t lower_constant(struct lowering *l, const struct mq_value *value, const struct mq_value *like,
                        lower_form form) {
  const struct mq_shape *shape = &value->shape;
  struct mq_program_tensor tensor = {.type = MQ_PROGRAM_F32, .name = copy_name(l, value->name)};
  set_shape(l, &tensor, like, form);
  tensor.is_channels_last = false;
  bool is_right = value->dtype == MQ_F32 && shape->rank <= like->shape.rank &&
                  (shape->rank < like->shape.rank || shape->rank == 0 || shape->dim[0] == 1);
  for (int i = 1; i < like->shape.rank && is_right; i++) {
    int k = i - (like->shape.rank - shape->rank);
    int64_t dim = k < 0 ? 1 : shape->dim[k];
    is_right = dim == 1 || dim == like->shape.dim[i];
    tensor.dim[lower_axis(like, form, i)] = lower_int(l, dim);
  }
  if (!is_right) {
    lower_fail(l, "constant '%.100s' does not broadcast over the images of a batch", value->name);
    return LOWER_NONE;
  }
  int64_t n = mq_program_elements(&tensor);
  float *elements = lower_alloc(l, (size_t)n, sizeof *elements);
  for (int64_t i = 0; elements && i < n; i++) {
    int64_t at = constant_at(value, like, form, tensor.dim, tensor.rank, i);
    elements[i] = (float)mq_tensor_get_double(value->constant, at);
  }
  tensor.constant = elements;
  return add_tensor(l, &tensor);
}

uint32_t lower_floats_along(struct lowering *l, int32_t rank, int axis, const float *floats, int32_t n) {
  struct mq_program_tensor tensor = {
      .type = MQ_PROGRAM_F32, .name = copy_name(l, ""), .rank = rank, .constant = floats};
  for (int32_t i = 0; i < rank; i++) {
    tensor.dim[i] = i == axis ? n : 1;
  }
  return l->status == MQ_OK ? add_tensor(l, &tensor) : LOWER_NONE;
}

/* ---- Steps --------------------------------------------------------------------------------------------- */

struct mq_program_step *lower_step(struct lowering *l, mq_step_kind kind, const uint32_t *inputs,
                                   uint32_t n_inputs, uint32_t output) {
  void *items = l->steps;
  uint32_t *list = lower_alloc(l, n_inputs, sizeof *list);
  const struct mq_point *point =
      l->node ? lower_point_of(l, l->node) : NULL; /* its node is none of the user's */
  const char *name = copy_name(l, point ? point->tensor : l->node ? l->node->name : "");
  l->ignored = (struct mq_program_step){.kind = kind};
  if (!make_room(l, &items, l->n_steps, &l->room_steps, sizeof *l->steps, "steps")) {
    return &l->ignored;
  }
  memcpy(list, inputs, n_inputs * sizeof *list);
  l->steps = items;
  struct mq_program_step *step = &l->steps[l->n_steps++];
  *step = (struct mq_program_step){.kind = kind,
                                   .name = name,
                                   .n_inputs = n_inputs,
                                   .inputs = list,
                                   .output = output,
                                   .clip_lo = -INFINITY,
                                   .clip_hi = INFINITY};
  return step;
}

/* trt_model clips before it rounds; elsewhere the activation function is a tighter range of codes. */
void lower_clamp(struct lowering *l, struct mq_program_step *step, float clip_lo, float clip_hi) {
  if (l->status != MQ_OK) {
    return;
  }
  const struct mq_program_tensor *y = &l->tensors[step->output];
  step->arithmetic = l->kind;
  step->lo = y->code_min;
  step->hi = y->code_max;
  if (l->kind == MQ_ARITHMETIC_TRT && step->kind != MQ_STEP_QUANTIZE) {
    step->clip_lo = clip_lo;
    step->clip_hi = clip_hi;
  } else {
    mq_program_clamp(&step->lo, &step->hi, y, clip_lo, clip_hi);
  }
}

void lower_set_window(struct lowering *l, struct mq_program_window *to, const struct mq_window *from) {
  for (int i = 0; i < 2; i++) {
    to->kernel[i] = lower_int(l, from->kernel[i]);
    to->stride[i] = lower_int(l, from->stride[i]);
    to->dilation[i] = lower_int(l, from->dilation[i]);
    to->pad_begin[i] = lower_int(l, from->pad_begin[i]);
    to->pad_end[i] = lower_int(l, from->pad_end[i] - from->output_pad[i]);
  }
}

/* ---- Forms --------------------------------------------------------------------------------------------- */

static uint32_t reshape(struct lowering *l, uint32_t x, uint32_t y) {
  lower_step(l, MQ_STEP_RESHAPE, &x, 1, y);
  return y;
}

static uint32_t transpose(struct lowering *l, uint32_t x, uint32_t y, const int32_t *perm, size_t rank) {
  struct mq_program_step *step = lower_step(l, MQ_STEP_TRANSPOSE, &x, 1, y);
  memcpy(step->as.transpose.perm, perm, rank * sizeof *perm);
  return y;
}

/* [C][L] and [1][L][C], by way of [L][C]. */
static void convert_line(struct lowering *l, uint32_t x, uint32_t y, lower_form to) {
  static const int32_t swap[] = {1, 0};
  const int32_t *dim = to == LOWER_IMAGE ? l->tensors[y].dim : l->tensors[x].dim;
  const int32_t line[] = {dim[1], dim[2]};
  uint32_t between = lower_make_like(l, x, 2, line);
  if (to == LOWER_IMAGE) {
    transpose(l, x, between, swap, 2);
    reshape(l, between, y);
  } else {
    reshape(l, x, between);
    transpose(l, between, y, swap, 2);
  }
}

/* From the user's order to channels last, or back. One pixel or one channel: nothing moves. */
static uint32_t convert(struct lowering *l, const struct mq_value *value, uint32_t x, lower_form to) {
  static const int32_t perms[LOWER_FORMS][3] = {[LOWER_PLAIN] = {2, 0, 1}, [LOWER_IMAGE] = {1, 2, 0}};
  struct mq_program_tensor shape = {0};
  set_shape(l, &shape, value, to);
  uint32_t y = lower_make_like(l, x, shape.rank, shape.dim);
  if (l->status != MQ_OK) {
    return LOWER_NONE;
  }
  l->tensors[y].is_channels_last = shape.is_channels_last;
  int64_t channels = value->shape.rank > 1 ? value->shape.dim[1] : 1;
  if (channels == 1 || mq_program_elements(&shape) == channels) {
    return reshape(l, x, y);
  }
  if (value->shape.rank == 4) {
    return transpose(l, x, y, perms[to], 3);
  }
  convert_line(l, x, y, to);
  return y;
}

static uint32_t dequantize(struct lowering *l, uint32_t x) {
  if (l->status != MQ_OK) {
    return LOWER_NONE;
  }
  struct mq_program_tensor tensor = l->tensors[x];
  uint32_t y = lower_make_like(l, x, tensor.rank, tensor.dim);
  if (l->status == MQ_OK) {
    struct mq_program_tensor *made = &l->tensors[y];
    made->type = MQ_PROGRAM_F32;
    made->is_channels_last = tensor.is_channels_last;
    made->scale = 0;
    made->zero_point = made->code_min = made->code_max = 0;
  }
  lower_step(l, MQ_STEP_DEQUANTIZE, &x, 1, y);
  return y;
}

lower_form lower_form_of(const struct lowering *l, const struct mq_value *value) {
  const struct lower_value *v = &l->values[value->index];
  for (int d = LOWER_DOMAINS; d-- > 0;) {
    for (int f = 0; f < LOWER_FORMS; f++) {
      if (v->tensor[d][f] != LOWER_NONE) {
        return (lower_form)f;
      }
    }
  }
  return LOWER_PLAIN;
}

uint32_t lower_read(struct lowering *l, const struct mq_value *value, lower_domain domain, lower_form form) {
  uint32_t *own = l->values[value->index].tensor[domain], *made = &own[form];
  lower_form other = form == LOWER_PLAIN ? LOWER_IMAGE : LOWER_PLAIN;
  const uint32_t *codes = l->values[value->index].tensor[LOWER_CODES];
  if (l->status != MQ_OK || *made != LOWER_NONE) {
    return l->status == MQ_OK ? *made : LOWER_NONE;
  }
  if (own[other] != LOWER_NONE) {
    *made = convert(l, value, own[other], form);
  } else if (domain == LOWER_FLOATS && (codes[form] != LOWER_NONE || codes[other] != LOWER_NONE)) {
    *made = dequantize(l, lower_read(l, value, LOWER_CODES, form));
  } else {
    lower_fail(l, "its input '%.100s' is %s, expected %s", value->name,
               value->constant ? "a constant" : "float", domain == LOWER_CODES ? "quantized" : "computed");
  }
  return l->status == MQ_OK ? *made : LOWER_NONE;
}
