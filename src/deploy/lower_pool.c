/* Averages, and the largest of a window. */
#include <math.h>

#include "deploy/lower.h"
#include "target/roles.h"

static bool has_step(const struct lowering *l, const struct mq_node *node) {
  return mq_is_global_pool(node) ? l->arithmetic->make_mean != NULL : l->arithmetic->make_average != NULL;
}

static bool average_makes_codes(const struct lowering *l, const struct lower_chain *chain) {
  mq_quant_op op;
  const struct mq_node *node = chain->base;
  return lower_grid_of(l, node->inputs[0]) && !lower_is_island(l, node) &&
         l->target->points.pool != MQ_POOL_NONE && mq_quant_op_of(&op, node) && has_step(l, node);
}

/* The target hands the input's scale on: codes of it are the average's too. */
static bool average_keeps_grid(const struct lowering *l, const struct mq_node *node) {
  mq_quant_op op;
  mq_pool_rule rule = l->target->points.pool;
  bool is_kept =
      rule == MQ_POOL_INPUT_SCALE_GLOBAL || (rule == MQ_POOL_INPUT_SCALE && !mq_is_global_pool(node));
  return is_kept && mq_quant_op_of(&op, node) && has_step(l, node);
}

/* From the input's codes to those of the point behind it, or to its own again, or from floats to floats. */
static uint32_t begin(struct lowering *l, const struct lower_chain *chain, uint32_t *x,
                      const struct mq_point **point, lower_form form) {
  const struct mq_node *node = chain->base;
  bool has_clip = !isinf(chain->clip_lo) || !isinf(chain->clip_hi);
  *point = chain->point ? chain->point : has_clip ? NULL : lower_grid_of(l, node->outputs[0]);
  *x = lower_read(l, node->inputs[0], *point ? LOWER_CODES : LOWER_FLOATS, LOWER_IMAGE);
  const struct mq_value *result = *point ? chain->result : node->outputs[0];
  return lower_make(l, result, *point, form);
}

/* Floats: the activation function is a step of its own. */
static void end(struct lowering *l, const struct lower_chain *chain, const struct mq_point *point,
                struct mq_program_step *step, uint32_t y, lower_form form) {
  if (point) {
    lower_clamp(l, step, chain->clip_lo, chain->clip_hi);
  } else if (chain->result != chain->base->outputs[0]) {
    step = lower_step(l, MQ_STEP_UNARY, &y, 1, lower_make(l, chain->result, NULL, form));
    step->as.unary.kind = MQ_PROGRAM_CLIP;
    step->clip_lo = chain->clip_lo;
    step->clip_hi = chain->clip_hi;
  }
}

static void emit_mean(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_point *point;
  uint32_t x;
  lower_form form = chain->result->shape.rank > 2 ? LOWER_IMAGE : LOWER_PLAIN;
  uint32_t y = begin(l, chain, &x, &point, form);
  end(l, chain, point, lower_step(l, MQ_STEP_MEAN, &x, 1, y), y, form);
}

static void emit_average(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_point *point;
  struct mq_window window;
  uint32_t x;
  if (mq_is_global_pool(chain->base)) {
    emit_mean(l, chain);
    return;
  }
  l->status = mq_node_get_window(&window, chain->base, l->err);
  if (l->status != MQ_OK) {
    return;
  }
  uint32_t y = begin(l, chain, &x, &point, LOWER_IMAGE);
  struct mq_program_step *step = lower_step(l, MQ_STEP_AVERAGE, &x, 1, y);
  lower_set_window(l, &step->as.pool.window, &window);
  step->as.pool.counts_padding = window.count_include_pad;
  end(l, chain, point, step, y, LOWER_IMAGE);
}

/* Over H and W; or, in the user's order, over all dimensions but the last. */
static void emit_reduce_mean(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  const struct mq_shape *shape = &node->inputs[0]->shape;
  int64_t axes[MQ_MAX_RANK];
  int n = 0;
  l->status = mq_node_get_axes(axes, &n, node, shape->rank, l->err);
  bool is_plane = l->status == MQ_OK && n == shape->rank - 2 && n > 0 && axes[0] == 2;
  bool is_rows = l->status == MQ_OK && n == shape->rank - 2 && n > 0 && axes[0] == 1;
  for (int i = 1; i < n; i++) {
    is_plane = is_plane && axes[i] == axes[i - 1] + 1;
    is_rows = is_rows && axes[i] == axes[i - 1] + 1;
  }
  if (is_plane && shape->rank <= 4) {
    emit_mean(l, chain);
    return;
  }
  if (!is_rows) {
    lower_fail(l, "a mean over these axes: expected H and W, or all but the last");
    return;
  }
  uint32_t x = lower_read(l, node->inputs[0], LOWER_FLOATS, LOWER_PLAIN);
  uint32_t y = lower_make(l, node->outputs[0], NULL, LOWER_PLAIN);
  end(l, chain, NULL, lower_step(l, MQ_STEP_MEAN, &x, 1, y), y, LOWER_PLAIN);
}

static void emit_max(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  struct mq_window window = {.stride = {1, 1}, .dilation = {1, 1}, .groups = 1};
  if (node->n_outputs > 1 && node->outputs[1] && (node->outputs[1]->n_uses || node->outputs[1]->is_output)) {
    lower_fail(l, "its indices are read, which an integer program does not have");
    return;
  }
  lower_domain domain = lower_domain_of(l, node);
  uint32_t x = lower_read(l, node->inputs[0], domain, LOWER_IMAGE);
  if (node->op == MQ_OP_MaxPool && l->status == MQ_OK) {
    l->status = mq_node_get_window(&window, node, l->err);
  } else if (l->status == MQ_OK) {
    window.kernel[0] = l->tensors[x].dim[0];
    window.kernel[1] = l->tensors[x].dim[1];
  }
  uint32_t y = lower_make(l, node->outputs[0], lower_grid_of(l, node->outputs[0]), LOWER_IMAGE);
  struct mq_program_step *step = lower_step(l, MQ_STEP_MAX, &x, 1, y);
  lower_set_window(l, &step->as.pool.window, &window);
}

static bool always(const struct lowering *l, const struct mq_node *node) {
  (void)l;
  (void)node;
  return true;
}

const struct lower_op deploy_lower_AveragePool = {.takes_clip = true,
                                                  .makes_codes = average_makes_codes,
                                                  .keeps_grid = average_keeps_grid,
                                                  .emit = emit_average};
const struct lower_op deploy_lower_GlobalAveragePool = {.takes_clip = true,
                                                        .makes_codes = average_makes_codes,
                                                        .keeps_grid = average_keeps_grid,
                                                        .emit = emit_mean};
const struct lower_op deploy_lower_ReduceMean = {.takes_clip = true,
                                                 .makes_codes = average_makes_codes,
                                                 .keeps_grid = average_keeps_grid,
                                                 .emit = emit_reduce_mean};
const struct lower_op deploy_lower_MaxPool = {.keeps_grid = always, .emit = emit_max};
const struct lower_op deploy_lower_GlobalMaxPool = {.keeps_grid = always, .emit = emit_max};
