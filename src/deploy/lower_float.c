/* Sums of codes, points, and what is computed in floats. */
#include <math.h>
#include <string.h>

#include "deploy/lower.h"

/* ---- Points -------------------------------------------------------------------------------------------- */

/* From codes of one point to codes of another: all 256 of them. */
static void emit_table(struct lowering *l, const struct mq_value *x, const struct mq_value *y,
                       const struct mq_point *point) {
  lower_form form = lower_form_of(l, x);
  uint32_t from = lower_read(l, x, LOWER_CODES, form), to = lower_make(l, y, point, form);
  if (l->status != MQ_OK) {
    return;
  }
  const struct mq_program_tensor a = l->tensors[from], b = l->tensors[to];
  const struct mq_program_output output = {.scale = b.scale,
                                           .zero_point = b.zero_point,
                                           .lo = b.code_min,
                                           .hi = b.code_max,
                                           .clip_lo = -INFINITY,
                                           .clip_hi = INFINITY};
  const size_t bytes = mq_program_type_bytes(b.type);
  unsigned char *entries = lower_alloc(l, 256, bytes);
  for (int i = 0; entries && i < 256; i++) {
    int32_t code = i + (a.type == MQ_PROGRAM_S8 ? INT8_MIN : 0);
    int32_t entry = l->arithmetic->quantize((float)(code - a.zero_point) * a.scale, &output);
    memcpy(entries + (size_t)i * bytes, &entry, bytes); /* little endian, as the program */
  }
  lower_step(l, MQ_STEP_TABLE, &from, 1, to)->as.table.entries = entries;
}

static bool is_narrow(const struct mq_point *point) {
  return point && point->scheme.bits <= 8;
}

void lower_emit_quantize(struct lowering *l, const struct mq_value *x, const struct mq_value *y,
                         const struct mq_point *point) {
  const struct mq_point *grid = lower_grid_of(l, x);
  lower_form form = lower_form_of(l, x);
  if (grid && lower_same_codes(grid, point)) {
    lower_alias(l, y, x);
    return;
  }
  if (is_narrow(grid)) {
    emit_table(l, x, y, point);
    return;
  }
  uint32_t from = lower_read(l, x, LOWER_FLOATS, form);
  uint32_t to = lower_make(l, y, point, form);
  lower_clamp(l, lower_step(l, MQ_STEP_QUANTIZE, &from, 1, to), -INFINITY, INFINITY);
}

static void emit_fake_quantize(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  const struct mq_point *point = lower_point_of(l, node);
  if (!point) {
    lower_fail(l, "it has no point");
  } else if (point->kind == MQ_POINT_ACTIVATION) {
    lower_emit_quantize(l, node->inputs[0], node->outputs[0], point);
  }
}

/* ---- Two operands -------------------------------------------------------------------------------------- */

static bool adds_codes(const struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  int rank = node->outputs[0]->shape.rank;
  return l->arithmetic->add && lower_grid_of(l, node->inputs[0]) && lower_grid_of(l, node->inputs[1]) &&
         node->inputs[0]->shape.rank == rank && node->inputs[1]->shape.rank == rank &&
         !lower_is_island(l, node);
}

/* Where an operand comes from says how the output lies: the one of the output's shape, if there is one. */
static lower_form form_of_result(const struct lowering *l, const struct mq_node *node) {
  const struct mq_value *best = NULL;
  for (int i = 0; i < node->n_inputs; i++) {
    const struct mq_value *x = node->inputs[i];
    if (x && !x->constant && (!best || mq_shape_equal(&x->shape, &node->outputs[0]->shape))) {
      best = x;
    }
  }
  return best && best->shape.rank == node->outputs[0]->shape.rank ? lower_form_of(l, best) : LOWER_PLAIN;
}

static uint32_t operand(struct lowering *l, const struct mq_node *node, int i, lower_domain domain,
                        lower_form form) {
  const struct mq_value *x = node->inputs[i], *y = node->outputs[0];
  if (x->constant) {
    return lower_constant(l, x, y, form);
  }
  if (x->shape.rank != y->shape.rank) {
    lower_fail(l, "operands of ranks %d and %d, expected the output's rank", x->shape.rank, y->shape.rank);
  }
  return lower_read(l, x, domain, form);
}

static void emit_binary(struct lowering *l, const struct lower_chain *chain, mq_program_binary kind) {
  const struct mq_node *node = chain->base;
  lower_form form = form_of_result(l, node);
  uint32_t inputs[2];
  for (int i = 0; i < 2; i++) {
    inputs[i] = operand(l, node, i, LOWER_FLOATS, form);
  }
  uint32_t y = lower_make(l, chain->result, NULL, form);
  struct mq_program_step *step = lower_step(l, MQ_STEP_BINARY, inputs, 2, y);
  step->as.binary.kind = kind;
  step->clip_lo = chain->clip_lo;
  step->clip_hi = chain->clip_hi;
}

static void emit_add(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  if (!chain->point) {
    emit_binary(l, chain, MQ_PROGRAM_ADD);
    return;
  }
  lower_form form = form_of_result(l, node);
  uint32_t inputs[2];
  for (int i = 0; i < 2; i++) {
    inputs[i] = operand(l, node, i, LOWER_CODES, form);
  }
  uint32_t y = lower_make(l, chain->result, chain->point, form);
  lower_clamp(l, lower_step(l, MQ_STEP_ADD, inputs, 2, y), chain->clip_lo, chain->clip_hi);
}

static void emit_sub(struct lowering *l, const struct lower_chain *chain) {
  emit_binary(l, chain, MQ_PROGRAM_SUB);
}

static void emit_mul(struct lowering *l, const struct lower_chain *chain) {
  emit_binary(l, chain, MQ_PROGRAM_MUL);
}

static void emit_div(struct lowering *l, const struct lower_chain *chain) {
  emit_binary(l, chain, MQ_PROGRAM_DIV);
}

static void emit_prelu(struct lowering *l, const struct lower_chain *chain) {
  emit_binary(l, chain, MQ_PROGRAM_PRELU);
}

/* ---- One operand --------------------------------------------------------------------------------------- */

static struct mq_program_step *emit_unary(struct lowering *l, const struct lower_chain *chain,
                                          mq_program_unary kind) {
  const struct mq_value *x = chain->base->inputs[0];
  lower_form form = lower_form_of(l, x);
  uint32_t from = lower_read(l, x, LOWER_FLOATS, form);
  struct mq_program_step *step =
      lower_step(l, MQ_STEP_UNARY, &from, 1, lower_make(l, chain->base->outputs[0], NULL, form));
  step->as.unary.kind = kind;
  return step;
}

static float get_number(struct lowering *l, const struct mq_node *node, const char *name, float fallback) {
  float value = fallback;
  if (l->status == MQ_OK) {
    l->status = mq_node_get_float(&value, node, name, fallback, l->err);
  }
  return value;
}

static void emit_sigmoid(struct lowering *l, const struct lower_chain *chain) {
  emit_unary(l, chain, MQ_PROGRAM_SIGMOID);
}

static void emit_hard_sigmoid(struct lowering *l, const struct lower_chain *chain) {
  float alpha = get_number(l, chain->base, "alpha", 0.2f), beta = get_number(l, chain->base, "beta", 0.5f);
  struct mq_program_step *step = emit_unary(l, chain, MQ_PROGRAM_HARD_SIGMOID);
  step->as.unary.alpha = alpha;
  step->as.unary.beta = beta;
}

static void emit_hard_swish(struct lowering *l, const struct lower_chain *chain) {
  emit_unary(l, chain, MQ_PROGRAM_HARD_SWISH);
}

static void emit_leaky_relu(struct lowering *l, const struct lower_chain *chain) {
  float alpha = get_number(l, chain->base, "alpha", 0.01f);
  emit_unary(l, chain, MQ_PROGRAM_LEAKY_RELU)->as.unary.alpha = alpha;
}

/* max(q, z): a Relu on its own keeps the grid. */
static void emit_relu_of_codes(struct lowering *l, const struct mq_value *x, const struct mq_value *y,
                               const struct mq_point *point) {
  lower_form form = lower_form_of(l, x);
  uint32_t from = lower_read(l, x, LOWER_CODES, form), to = lower_make(l, y, point, form);
  unsigned char *entries = lower_alloc(l, 256, 1);
  if (!entries) {
    return;
  }
  const struct mq_program_tensor *t = &l->tensors[to];
  for (int i = 0; i < 256; i++) {
    int32_t code = i + (t->type == MQ_PROGRAM_S8 ? INT8_MIN : 0);
    code = code > t->zero_point ? code : t->zero_point;
    code = code < t->code_max ? code : t->code_max;
    entries[i] = (unsigned char)code;
  }
  lower_step(l, MQ_STEP_TABLE, &from, 1, to)->as.table.entries = entries;
}

static void emit_clip(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  const struct mq_value *x = node->inputs[0], *y = node->outputs[0];
  const struct mq_point *point = lower_grid_of(l, y);
  float lo = -INFINITY, hi = INFINITY;
  l->status = mq_node_get_clip(&lo, &hi, node, l->err);
  if (l->status != MQ_OK) {
    return;
  }
  if (point && (lo == -INFINITY || is_narrow(point))) { /* on the grid: lo is 0 or nothing, hi nothing */
    if (lo == -INFINITY) {
      lower_alias(l, y, x);
    } else {
      emit_relu_of_codes(l, x, y, point);
    }
    return;
  }
  struct mq_program_step *step = emit_unary(l, chain, MQ_PROGRAM_CLIP);
  step->clip_lo = lo;
  step->clip_hi = hi;
  if (point) { /* 16 bits are too many for a table; floats of codes find their way back */
    lower_form form = lower_form_of(l, y);
    uint32_t floats = step->output;
    lower_clamp(l, lower_step(l, MQ_STEP_QUANTIZE, &floats, 1, lower_make(l, y, point, form)), -INFINITY,
                INFINITY);
  }
}

static bool keeps_zero_and_above(const struct lowering *l, const struct mq_node *node) {
  float lo = 0, hi = 0;
  (void)l;
  return mq_node_get_clip(&lo, &hi, node, NULL) == MQ_OK && (lo == 0 || lo == -INFINITY) && hi == INFINITY;
}

static void emit_softmax(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  const struct mq_value *x = node->inputs[0], *y = node->outputs[0];
  int first = 0, last = 0, rank = x->shape.rank;
  l->status = mq_node_get_softmax(&first, &last, node, l->err);
  if (l->status != MQ_OK) {
    return;
  }
  bool is_last = first == rank - 1 && last == rank - 1;
  bool is_channels = first == 1 && last == 1 && rank == 4;
  bool is_all = first == 1 && last == rank - 1;
  if (!is_last && !is_channels && !is_all) {
    lower_fail(l, "it normalises over dimensions %d to %d, expected the last, or the channels", first, last);
    return;
  }
  lower_form form = is_channels && !is_last ? LOWER_IMAGE : LOWER_PLAIN;
  uint32_t from = lower_read(l, x, LOWER_FLOATS, form), to = lower_make(l, y, NULL, form);
  if (is_last || form == LOWER_IMAGE || l->status != MQ_OK) {
    lower_step(l, MQ_STEP_SOFTMAX, &from, 1, to);
    return;
  }
  const int32_t row[] = {(int32_t)mq_program_elements(&l->tensors[from])};
  uint32_t flat = lower_make_like(l, from, 1, row), soft = lower_make_like(l, from, 1, row);
  lower_step(l, MQ_STEP_RESHAPE, &from, 1, flat);
  lower_step(l, MQ_STEP_SOFTMAX, &flat, 1, soft);
  lower_step(l, MQ_STEP_RESHAPE, &soft, 1, to);
}

const struct lower_op deploy_lower_FakeQuantize = {.emit = emit_fake_quantize};
const struct lower_op deploy_lower_Add = {.takes_clip = true, .makes_codes = adds_codes, .emit = emit_add};
const struct lower_op deploy_lower_Sub = {.takes_clip = true, .emit = emit_sub};
const struct lower_op deploy_lower_Mul = {.takes_clip = true, .emit = emit_mul};
const struct lower_op deploy_lower_Div = {.takes_clip = true, .emit = emit_div};
const struct lower_op deploy_lower_PRelu = {.takes_clip = true, .emit = emit_prelu};
const struct lower_op deploy_lower_Sigmoid = {.emit = emit_sigmoid};
const struct lower_op deploy_lower_HardSigmoid = {.emit = emit_hard_sigmoid};
const struct lower_op deploy_lower_HardSwish = {.emit = emit_hard_swish};
const struct lower_op deploy_lower_LeakyRelu = {.emit = emit_leaky_relu};
const struct lower_op deploy_lower_Relu = {.keeps_grid = keeps_zero_and_above, .emit = emit_clip};
const struct lower_op deploy_lower_Clip = {.keeps_grid = keeps_zero_and_above, .emit = emit_clip};
const struct lower_op deploy_lower_Softmax = {.emit = emit_softmax};
