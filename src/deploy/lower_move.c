/* Operators that only move values: codes stay codes, floats stay floats. */
#include <math.h>
#include <string.h>

#include "deploy/lower.h"
#include "target/roles.h"

/* The tensor of x in that form, and a new one of y on the same codes. */
static uint32_t begin(struct lowering *l, const struct mq_node *node, lower_form form, uint32_t *x) {
  *x = lower_read(l, node->inputs[0], lower_domain_of(l, node), form);
  return lower_make(l, node->outputs[0], lower_grid_of(l, node->outputs[0]), form);
}

static bool moves(const struct lowering *l, const struct mq_node *node) {
  (void)l;
  return mq_moves_values(node);
}

void lower_emit_alias(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_value *x = chain->base->inputs[0], *y = chain->base->outputs[0];
  if (x->constant || x->dtype != MQ_F32 || y->dtype != MQ_F32) {
    lower_fail(l, "from %s to %s, expected float32", mq_dtype_get(x->dtype)->name,
               mq_dtype_get(y->dtype)->name);
    return;
  }
  lower_alias(l, y, x);
}

/* ---- Shapes -------------------------------------------------------------------------------------------- */

static void emit_reshape(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  uint32_t x;
  if (mq_shape_equal(&node->inputs[0]->shape, &node->outputs[0]->shape)) {
    lower_emit_alias(l, chain);
    return;
  }
  uint32_t y = begin(l, node, LOWER_PLAIN, &x);
  lower_step(l, MQ_STEP_RESHAPE, &x, 1, y);
}

/* The tensor's axis i is the input's perm[i]; both in a form of their own. */
static bool find_perm(int32_t perm[MQ_PROGRAM_MAX_RANK], const struct mq_node *node, const int *user,
                      lower_form from, lower_form to) {
  bool is_identity = true;
  for (int i = 1; i < node->outputs[0]->shape.rank; i++) {
    int at = lower_axis(node->outputs[0], to, i);
    perm[at] = lower_axis(node->inputs[0], from, user[i]);
    is_identity = is_identity && perm[at] == at;
  }
  return is_identity;
}

/* N C H W to N H W C and back moves nothing where images lie channels last. */
static void emit_transpose(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  const struct mq_value *x = node->inputs[0], *y = node->outputs[0];
  int user[MQ_MAX_RANK];
  int32_t perm[MQ_PROGRAM_MAX_RANK] = {0};
  l->status = mq_node_get_perm(user, node, l->err);
  if (l->status != MQ_OK) {
    return;
  }
  if (user[0] != 0 || x->shape.rank > MQ_PROGRAM_MAX_RANK + 1) {
    lower_fail(l, "it moves the batch, or has more than %d dimensions", MQ_PROGRAM_MAX_RANK);
    return;
  }
  lower_domain domain = lower_domain_of(l, node);
  lower_form from = x->shape.rank == 4 ? lower_form_of(l, x) : LOWER_PLAIN;
  uint32_t tensor = lower_read(l, x, domain, from);
  for (int to = 0; to < LOWER_FORMS; to++) {
    bool fits = to == LOWER_PLAIN || y->shape.rank == 4;
    if (fits && find_perm(perm, node, user, from, (lower_form)to)) {
      l->values[y->index].tensor[domain][to] = tensor;
      return;
    }
  }
  lower_form to = y->shape.rank == 4 ? LOWER_IMAGE : LOWER_PLAIN;
  memset(perm, 0, sizeof perm);
  find_perm(perm, node, user, from, to);
  struct mq_program_step *step =
      lower_step(l, MQ_STEP_TRANSPOSE, &tensor, 1, lower_make(l, y, lower_grid_of(l, y), to));
  memcpy(step->as.transpose.perm, perm, sizeof perm);
}

/* ---- Parts --------------------------------------------------------------------------------------------- */

static void emit_part(struct lowering *l, uint32_t x, uint32_t y, const int32_t *start, const int32_t *step) {
  struct mq_program_step *slice = lower_step(l, MQ_STEP_SLICE, &x, 1, y);
  memcpy(slice->as.slice.start, start, MQ_PROGRAM_MAX_RANK * sizeof *start);
  memcpy(slice->as.slice.step, step, MQ_PROGRAM_MAX_RANK * sizeof *step);
}

static void emit_slice(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  struct mq_slicing slicing;
  int32_t start[MQ_PROGRAM_MAX_RANK] = {0}, step[MQ_PROGRAM_MAX_RANK] = {1, 1, 1, 1, 1, 1};
  uint32_t x;
  l->status = mq_node_get_slicing(&slicing, node, l->err);
  if (l->status != MQ_OK) {
    return;
  }
  if (slicing.start[0] != 0 || slicing.step[0] != 1 || slicing.count[0] != MQ_DIM_BATCH) {
    lower_fail(l, "it takes a part of the batch");
    return;
  }
  lower_form form = lower_form_of(l, node->inputs[0]);
  uint32_t y = begin(l, node, form, &x);
  for (int i = 1; i < slicing.rank && l->status == MQ_OK; i++) {
    int axis = lower_axis(node->inputs[0], form, i);
    start[axis] = lower_int(l, slicing.start[i]);
    step[axis] = lower_int(l, slicing.step[i]);
  }
  emit_part(l, x, y, start, step);
}

static void emit_split(struct lowering *l, const struct lower_chain *chain) {
  static const int32_t ones[MQ_PROGRAM_MAX_RANK] = {1, 1, 1, 1, 1, 1};
  const struct mq_node *node = chain->base;
  const int64_t *parts = NULL;
  int axis = 0;
  int64_t at = 0;
  l->status = mq_node_get_split(&axis, &parts, node, l->err);
  if (l->status == MQ_OK && axis == 0) {
    lower_fail(l, "it splits the batch");
  }
  lower_form form = lower_form_of(l, node->inputs[0]);
  uint32_t x = lower_read(l, node->inputs[0], lower_domain_of(l, node), form);
  for (int i = 0; i < node->n_outputs && l->status == MQ_OK; i++) {
    int32_t start[MQ_PROGRAM_MAX_RANK] = {0};
    start[lower_axis(node->inputs[0], form, axis)] = lower_int(l, at);
    at += parts[i];
    if (node->outputs[i]) {
      uint32_t y = lower_make(l, node->outputs[i], lower_grid_of(l, node->outputs[0]), form);
      emit_part(l, x, y, start, ones);
    }
  }
}

static bool concat_keeps_grid(const struct lowering *l, const struct mq_node *node) {
  const struct mq_point *first = lower_grid_of(l, node->inputs[0]);
  bool keeps = first != NULL;
  for (int i = 1; i < node->n_inputs && keeps; i++) {
    const struct mq_point *other = lower_grid_of(l, node->inputs[i]);
    keeps = other && lower_same_codes(first, other);
  }
  return keeps;
}

static void emit_concat(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  const struct mq_value *y = node->outputs[0];
  lower_form form = node->inputs[0]->constant ? LOWER_PLAIN : lower_form_of(l, node->inputs[0]);
  int axis = 0;
  uint32_t *inputs = lower_alloc(l, (size_t)node->n_inputs, sizeof *inputs);
  if (l->status == MQ_OK) {
    l->status = mq_node_get_axis(&axis, node, 0, y->shape.rank, l->err);
  }
  if (l->status == MQ_OK && axis == 0) {
    lower_fail(l, "it joins batches");
  }
  for (int i = 0; i < node->n_inputs && l->status == MQ_OK; i++) {
    inputs[i] = lower_read(l, node->inputs[i], lower_domain_of(l, node), form);
  }
  if (l->status != MQ_OK) {
    return;
  }
  uint32_t made = lower_make(l, y, lower_grid_of(l, y), form);
  struct mq_program_step *step = lower_step(l, MQ_STEP_CONCAT, inputs, (uint32_t)node->n_inputs, made);
  step->as.concat.axis = lower_axis(y, form, axis);
}

/* ---- Indices along an axis ----------------------------------------------------------------------------- */

uint32_t lower_emit_gather(struct lowering *l, uint32_t x, int axis, const int32_t *index, int32_t n) {
  if (l->status != MQ_OK) {
    return LOWER_NONE;
  }
  int32_t dim[MQ_PROGRAM_MAX_RANK], rank = l->tensors[x].rank;
  memcpy(dim, l->tensors[x].dim, sizeof dim);
  dim[axis] = n;
  uint32_t y = lower_make_like(l, x, rank, dim);
  struct mq_program_step *step = lower_step(l, MQ_STEP_GATHER, &x, 1, y);
  step->as.gather.axis = axis;
  step->as.gather.index = index;
  return y;
}

/* What `begin` made is what the last step made: the value's name goes to that. */
void lower_emit_end(struct lowering *l, const struct mq_node *node, uint32_t last, lower_form form) {
  if (l->status != MQ_OK) {
    return;
  }
  const struct mq_value *y = node->outputs[0];
  uint32_t named = lower_make(l, y, lower_grid_of(l, y), form);
  lower_step(l, MQ_STEP_RESHAPE, &last, 1, named);
}

static void emit_gather(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  const struct mq_value *x = node->inputs[0], *indices = node->inputs[1];
  int axis = 0;
  l->status = mq_node_get_axis(&axis, node, 0, x->shape.rank, l->err);
  if (l->status == MQ_OK && (axis == 0 || x->constant || !indices->constant || indices->shape.rank > 1)) {
    lower_fail(l, "expected constant indices of one dimension, not along the batch");
  }
  if (l->status != MQ_OK) {
    return;
  }
  int64_t n = mq_shape_count(&indices->constant->shape), dim = x->shape.dim[axis];
  int32_t *index = lower_alloc(l, (size_t)n, sizeof *index);
  for (int64_t i = 0; index && i < n; i++) {
    int64_t at = mq_tensor_get_int(indices->constant, i);
    index[i] = lower_int(l, at < 0 ? at + dim : at);
  }
  uint32_t from = lower_read(l, x, lower_domain_of(l, node), LOWER_PLAIN);
  lower_emit_end(l, node, lower_emit_gather(l, from, axis - 1, index, lower_int(l, n)), LOWER_PLAIN);
}

/* One index along each new axis, again and again. */
static void emit_expand(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  const struct mq_value *x = node->inputs[0], *y = node->outputs[0];
  if (mq_shape_equal(&x->shape, &y->shape)) {
    lower_emit_alias(l, chain);
    return;
  }
  if (x->constant || x->shape.rank != y->shape.rank) {
    lower_fail(l, "expected an input with the output's %d dimensions", y->shape.rank);
    return;
  }
  lower_form form = lower_form_of(l, x);
  uint32_t at = lower_read(l, x, lower_domain_of(l, node), form);
  for (int i = 1; i < y->shape.rank && l->status == MQ_OK; i++) {
    int64_t n = y->shape.dim[i];
    if (x->shape.dim[i] != n) {
      const int32_t *zeros = lower_alloc(l, (size_t)n, sizeof *zeros);
      at = lower_emit_gather(l, at, lower_axis(y, form, i), zeros, lower_int(l, n));
    }
  }
  lower_emit_end(l, node, at, form);
}

/* ---- Pads ---------------------------------------------------------------------------------------------- */

/* Negative pads cut off. */
static uint32_t cut(struct lowering *l, const struct mq_value *value, uint32_t x, lower_form form,
                    const struct mq_padding *p) {
  int32_t start[MQ_PROGRAM_MAX_RANK] = {0}, step[MQ_PROGRAM_MAX_RANK] = {1, 1, 1, 1, 1, 1};
  int32_t dim[MQ_PROGRAM_MAX_RANK], rank;
  bool cuts = false;
  if (l->status != MQ_OK) {
    return LOWER_NONE;
  }
  rank = l->tensors[x].rank;
  memcpy(dim, l->tensors[x].dim, sizeof dim);
  for (int i = 1; i < p->rank; i++) {
    int64_t begin_cut = p->begin[i] < 0 ? -p->begin[i] : 0, end_cut = p->end[i] < 0 ? -p->end[i] : 0;
    int axis = lower_axis(value, form, i);
    start[axis] = lower_int(l, begin_cut);
    dim[axis] -= lower_int(l, begin_cut + end_cut);
    cuts = cuts || begin_cut || end_cut;
  }
  if (!cuts || l->status != MQ_OK) {
    return x;
  }
  uint32_t y = lower_make_like(l, x, rank, dim);
  emit_part(l, x, y, start, step);
  return y;
}

/* Reflected, repeated or wrapped: along one axis after the other. */
static int32_t source_of(int64_t o, int64_t n, mq_pad_mode mode) {
  if (mode == MQ_PAD_EDGE) {
    return (int32_t)(o < 0 ? 0 : o >= n ? n - 1 : o);
  }
  int64_t period = mode == MQ_PAD_WRAP ? n : n > 1 ? 2 * (n - 1) : 1;
  o = ((o % period) + period) % period;
  return (int32_t)(o < n ? o : period - o);
}

static uint32_t pad_by_index(struct lowering *l, const struct mq_value *value, uint32_t x, lower_form form,
                             const struct mq_padding *p) {
  for (int i = 1; i < p->rank && l->status == MQ_OK; i++) {
    int axis = lower_axis(value, form, i);
    int64_t n = l->tensors[x].dim[axis], before = p->begin[i] > 0 ? p->begin[i] : 0;
    int64_t all = n + before + (p->end[i] > 0 ? p->end[i] : 0);
    int32_t *index = all > n ? lower_alloc(l, (size_t)all, sizeof *index) : NULL;
    for (int64_t o = 0; index && o < all; o++) {
      index[o] = source_of(o - before, n, p->mode);
    }
    x = index ? lower_emit_gather(l, x, axis, index, lower_int(l, all)) : x;
  }
  return x;
}

static void emit_pad(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  const struct mq_value *value = node->inputs[0];
  struct mq_padding p;
  l->status = mq_node_get_padding(&p, node, l->err);
  if (l->status == MQ_OK && (p.begin[0] || p.end[0])) {
    lower_fail(l, "it pads the batch");
  }
  lower_form form = lower_form_of(l, value);
  uint32_t x = cut(l, value, lower_read(l, value, lower_domain_of(l, node), form), form, &p);
  if (l->status == MQ_OK && p.mode != MQ_PAD_CONSTANT) {
    lower_emit_end(l, node, pad_by_index(l, value, x, form, &p), form);
    return;
  }
  uint32_t y = lower_make(l, node->outputs[0], lower_grid_of(l, node->outputs[0]), form);
  struct mq_program_step *step = lower_step(l, MQ_STEP_PAD, &x, 1, y);
  for (int i = 1; i < p.rank && l->status == MQ_OK; i++) {
    step->as.pad.begin[lower_axis(value, form, i)] = lower_int(l, p.begin[i] > 0 ? p.begin[i] : 0);
  }
  if (l->status == MQ_OK && lower_domain_of(l, node) == LOWER_CODES) {
    step->as.pad.code = l->tensors[y].zero_point;
  } else {
    step->as.pad.value = (float)p.value;
  }
}

const struct lower_op deploy_lower_Cast = {.emit = lower_emit_alias};
const struct lower_op deploy_lower_Concat = {.keeps_grid = concat_keeps_grid, .emit = emit_concat};
const struct lower_op deploy_lower_Dropout = {.keeps_grid = moves, .emit = lower_emit_alias};
const struct lower_op deploy_lower_Expand = {.keeps_grid = moves, .emit = emit_expand};
const struct lower_op deploy_lower_Flatten = {.keeps_grid = moves, .emit = emit_reshape};
const struct lower_op deploy_lower_Gather = {.keeps_grid = moves, .emit = emit_gather};
const struct lower_op deploy_lower_Identity = {.keeps_grid = moves, .emit = lower_emit_alias};
const struct lower_op deploy_lower_Pad = {.keeps_grid = moves, .emit = emit_pad};
const struct lower_op deploy_lower_Reshape = {.keeps_grid = moves, .emit = emit_reshape};
const struct lower_op deploy_lower_Slice = {.keeps_grid = moves, .emit = emit_slice};
const struct lower_op deploy_lower_Split = {.keeps_grid = moves, .emit = emit_split};
const struct lower_op deploy_lower_Squeeze = {.keeps_grid = moves, .emit = emit_reshape};
const struct lower_op deploy_lower_Transpose = {.keeps_grid = moves, .emit = emit_transpose};
const struct lower_op deploy_lower_Unsqueeze = {.keeps_grid = moves, .emit = emit_reshape};
