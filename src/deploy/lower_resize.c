/* Resize: axis by axis, the last first. By nearest it is a gather; interpolated, on floats, the sum of
 * gathers times their weights, each operation rounded as the simulation does it. */
#include "deploy/lower.h"
#include "target/roles.h"

/* One axis of a resize. */
struct resampling {
  const struct mq_resize *resize;
  int axis; /* the user's */
  int64_t n_in, n_taps;
  int64_t *index; /* n_out x n_taps */
  float *weight;
};

static void find_taps(struct lowering *l, struct resampling *s) {
  int64_t n_out = s->resize->size[s->axis];
  s->n_taps = mq_resize_n_taps(s->resize, s->axis);
  s->index = lower_scratch(l, (size_t)(n_out * s->n_taps), sizeof *s->index);
  s->weight = lower_scratch(l, (size_t)(n_out * s->n_taps), sizeof *s->weight);
  for (int64_t o = 0; o < n_out && l->status == MQ_OK; o++) {
    mq_resize_taps(s->index + o * s->n_taps, s->weight + o * s->n_taps, s->resize, s->axis, o, s->n_in);
  }
}

/* Tap t of every output: x[index]. */
static uint32_t emit_tap(struct lowering *l, const struct resampling *s, uint32_t x, int axis, int64_t t) {
  int32_t n = lower_int(l, s->resize->size[s->axis]);
  int32_t *index = lower_alloc(l, (size_t)n, sizeof *index);
  for (int32_t o = 0; index && o < n; o++) {
    index[o] = (int32_t)s->index[o * s->n_taps + t];
  }
  return lower_emit_gather(l, x, axis, index, n);
}

static uint32_t emit_binary(struct lowering *l, mq_program_binary kind, uint32_t a, uint32_t b) {
  if (l->status != MQ_OK) {
    return LOWER_NONE;
  }
  const struct mq_program_tensor like = l->tensors[a];
  const uint32_t inputs[] = {a, b};
  uint32_t y = lower_make_like(l, a, like.rank, like.dim);
  lower_step(l, MQ_STEP_BINARY, inputs, 2, y)->as.binary.kind = kind;
  return y;
}

/* x[index] weight. */
static uint32_t emit_product(struct lowering *l, const struct resampling *s, uint32_t x, int axis,
                             int64_t t) {
  uint32_t tap = emit_tap(l, s, x, axis, t);
  if (l->status != MQ_OK) {
    return LOWER_NONE;
  }
  int32_t n = l->tensors[tap].dim[axis];
  float *weights = lower_alloc(l, (size_t)n, sizeof *weights);
  for (int32_t o = 0; weights && o < n; o++) {
    weights[o] = s->weight[o * s->n_taps + t];
  }
  uint32_t factors = lower_floats_along(l, l->tensors[tap].rank, axis, weights, n);
  return emit_binary(l, MQ_PROGRAM_MUL, tap, factors);
}

static uint32_t emit_axis(struct lowering *l, struct resampling *s, uint32_t x, int axis) {
  find_taps(l, s);
  if (s->resize->mode == MQ_RESIZE_NEAREST) {
    return l->status == MQ_OK ? emit_tap(l, s, x, axis, 0) : LOWER_NONE;
  }
  uint32_t sum = emit_product(l, s, x, axis, 0);
  for (int64_t t = 1; t < s->n_taps && l->status == MQ_OK; t++) {
    sum = emit_binary(l, MQ_PROGRAM_ADD, sum, emit_product(l, s, x, axis, t));
  }
  return sum;
}

static void emit_resize(struct lowering *l, const struct lower_chain *chain) {
  const struct mq_node *node = chain->base;
  const struct mq_value *x = node->inputs[0];
  struct mq_resize r;
  l->status = mq_node_get_resize(&r, node, l->err);
  if (l->status != MQ_OK) {
    return;
  }
  if (r.coordinates == MQ_COORDINATES_TF_CROP_AND_RESIZE) {
    lower_fail(l, "it crops (tf_crop_and_resize), expected a resize of the whole");
  }
  lower_form form = lower_form_of(l, x);
  uint32_t at = lower_read(l, x, lower_domain_of(l, node), form);
  for (int i = r.rank - 1; i > 0 && l->status == MQ_OK; i--) {
    struct resampling s = {.resize = &r, .axis = i, .n_in = x->shape.dim[i]};
    if (r.size[i] != s.n_in || r.scale[i] != 1) {
      at = emit_axis(l, &s, at, lower_axis(x, form, i));
    }
  }
  lower_emit_end(l, node, at, form);
}

static bool moves(const struct lowering *l, const struct mq_node *node) {
  (void)l;
  return mq_moves_values(node);
}

const struct lower_op deploy_lower_Resize = {.keeps_grid = moves, .emit = emit_resize};
