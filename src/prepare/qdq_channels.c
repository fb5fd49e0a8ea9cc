/* An activation with a scale for each channel, as NNCF gives the inputs of depthwise convolutions.
 *
 * A tensor of integers has one scale. Depthwise convolutions keep channels apart, so for any s > 0
 *
 *   q = rne(x / s_c) + z = rne((x s / s_c) / s) + z     and     s_c (q - z) w = s (q - z) (w s_c / s):
 *
 * the layer before is multiplied by s / s_c, the depthwise convolutions behind by s_c / s, and one scale is
 * left. All integers stay as they are, weights' too, because it is their scales that take the factors. The
 * tensor between is in units of its own. */
#include <float.h>
#include <math.h>

#include "prepare/qdq.h"
#include "target/roles.h"

struct spread {
  struct mq_node *point; /* the FakeQuantize */
  const struct qdq_grid *grid;
  uint32_t index;          /* of the grid */
  int64_t n;               /* channels */
  float scale;             /* the one that is left */
  struct mq_value *behind; /* what the depthwise convolutions read */
  double *factors;         /* s / s_c */
};

/* ---- Where it can be done ------------------------------------------------------------------------------ */

static bool is_plain_constant(const struct mq_value *value) {
  return value && value->constant && value->dtype == MQ_F32;
}

/* f(a x) = a f(x) for a > 0, channel by channel. */
static bool keeps_factors(const struct mq_node *node) {
  float lo, hi;
  switch (node->op) {
    case MQ_OP_Relu:
    case MQ_OP_LeakyRelu:
    case MQ_OP_MaxPool:
    case MQ_OP_AveragePool:
    case MQ_OP_Identity:
      return true;
    case MQ_OP_Clip:
      return !mq_node_get_clip(&lo, &hi, node, NULL) && (lo == 0 || isinf(lo)) && isinf(hi);
    default:
      return false;
  }
}

static bool is_depthwise(const struct mq_node *node, const struct mq_value *x, int64_t n) {
  int64_t group = 1;
  return node->op == MQ_OP_Conv && node->inputs[0] == x && is_plain_constant(node->inputs[1]) &&
         node->inputs[1]->shape.dim[0] % n == 0 && !mq_node_get_int(&group, node, "group", 1, NULL) &&
         group == n;
}

/* Behind everything that keeps the factors; depthwise convolutions alone may read it. */
static bool find_readers(struct spread *s) {
  struct mq_value *y = s->point->outputs[0];
  while (y->n_uses == 1 && !y->is_output && keeps_factors(y->uses[0].node))
    y = y->uses[0].node->outputs[0];
  s->behind = y;
  for (size_t i = 0; i < y->n_uses; i++) {
    if (!is_depthwise(y->uses[i].node, y, s->n)) return false;
  }
  return y->n_uses > 0 && !y->is_output;
}

/* Beyond it weights and biases of floats might become infinite. */
#define MOST_FACTOR 0x1p60

/* One zero point, and scales that are not too far apart. */
static bool find_factors(struct spread *s) {
  const struct mq_qparams *q = &s->grid->q;
  for (int64_t c = 0; c < s->n; c++) {
    if (q->zero_point[c] != q->zero_point[0]) return false;
    s->scale = fmaxf(s->scale, q->scale[c]);
  }
  for (int64_t c = 0; c < s->n; c++)
    s->factors[c] = (double)s->scale / (double)q->scale[c];
  for (int64_t c = 0; c < s->n; c++) {
    if (s->factors[c] > MOST_FACTOR) return false;
  }
  return true;
}

/* ---- Layers -------------------------------------------------------------------------------------------- */

/* The factor of output channel o: several may belong to one channel of the tensor. */
static double factor_of(const struct spread *s, bool is_behind, int64_t o, int64_t n_outputs) {
  double factor = s->factors[o * s->n / n_outputs];
  return is_behind ? 1 / factor : factor;
}

static bool fits(double x) {
  return x >= (double)FLT_MIN && x <= (double)FLT_MAX / 65536;
}

/* Would its weights' scales be normal numbers afterwards? */
static bool can_scale(const struct qdq *qdq, const struct spread *s, const struct mq_node *layer,
                      bool is_behind) {
  uint32_t index = qdq_state_of(qdq, layer->inputs[1])->grid;
  int64_t n = layer->inputs[1]->shape.dim[0];
  for (int64_t o = 0; index && o < n; o++) {
    const struct mq_qparams *q = &qdq_grid_at(qdq, index)->q;
    double scale = (double)q->scale[q->n_channels > 1 ? o : 0];
    if (!fits(scale * factor_of(s, is_behind, o, n))) return false;
  }
  return true;
}

/* The grid of a layer's weights, each output channel's scale times its factor. */
static mq_status scale_grid(uint32_t *scaled, struct qdq *qdq, const struct spread *s, uint32_t index,
                            int64_t n, bool is_behind) {
  mq_status status = qdq_spread_grid(scaled, qdq, index, n, 0);
  if (status) return status;
  struct mq_qparams *q = &qdq->grids[*scaled - 1].q;
  for (int64_t o = 0; o < n; o++)
    q->scale[o] = (float)((double)q->scale[o] * factor_of(s, is_behind, o, n));
  return MQ_OK;
}

/* Weights on a grid are made of their codes again, others are multiplied. */
static mq_status scale_weights(struct qdq *qdq, const struct spread *s, struct mq_node *layer,
                               bool is_behind) {
  struct mq_value *w = layer->inputs[1];
  const int64_t n = w->shape.dim[0], row = mq_shape_count(&w->shape) / n;
  struct qdq_state state = *qdq_state_of(qdq, w);
  struct mq_tensor codes = {0}, reals = {0};
  const uint32_t old = state.grid;
  mq_status status = mq_tensor_init(&reals, MQ_F32, &w->shape, qdq->err);
  if (!status) mq_tensor_copy(&reals, w->constant);
  if (!status && old) status = mq_tensor_init(&codes, MQ_I32, &w->shape, qdq->err);
  if (!status && old) status = scale_grid(&state.grid, qdq, s, old, n, is_behind);
  if (!status && old) mq_quantize(&codes, &reals, &qdq_grid_at(qdq, old)->q);
  float *to = reals.data;
  for (int64_t i = 0; i < n * row && !status; i++) {
    const int64_t o = i / row;
    const struct mq_qparams *q = old ? &qdq_grid_at(qdq, state.grid)->q : NULL;
    to[i] = (float)(q ? (double)q->scale[o] * ((double)((int32_t *)codes.data)[i] - q->zero_point[o])
                      : (double)to[i] * factor_of(s, is_behind, o, n));
  }
  if (!status) status = mq_rewrite_constant(qdq->graph, layer, 1, NULL, &reals, qdq->err);
  if (!status) *qdq_state_of(qdq, layer->inputs[1]) = state;
  mq_tensor_deinit(&codes);
  mq_tensor_deinit(&reals);
  return status;
}

static mq_status scale_bias(struct qdq *qdq, const struct spread *s, struct mq_node *layer) {
  if (layer->n_inputs < 3 || !layer->inputs[2]) return MQ_OK;
  struct mq_tensor scaled = {0};
  mq_status status = mq_tensor_init(&scaled, MQ_F32, &layer->inputs[2]->shape, qdq->err);
  float *to = scaled.data;
  for (int64_t c = 0; c < s->n && !status; c++)
    to[c] = (float)(mq_tensor_get_double(layer->inputs[2]->constant, c) * s->factors[c]);
  if (!status) status = mq_rewrite_constant(qdq->graph, layer, 2, NULL, &scaled, qdq->err);
  mq_tensor_deinit(&scaled);
  return status;
}

/* ---- In front ------------------------------------------------------------------------------------------ */

/* A clip that changes no code: its ends lie beyond the codes' in every channel. */
static bool is_idle_clip(const struct spread *s, const struct mq_node *node) {
  const struct mq_qparams *q = &s->grid->q;
  float lo, hi;
  if (node->op != MQ_OP_Clip || mq_node_get_clip(&lo, &hi, node, NULL)) return false;
  for (int64_t c = 0; c < s->n; c++) {
    const double least = q->quant_min - q->zero_point[c], most = q->quant_max - q->zero_point[c];
    if (rint((double)lo / (double)q->scale[c]) > least || rint((double)hi / (double)q->scale[c]) < most)
      return false;
  }
  return true;
}

static bool is_sole(const struct mq_value *value) {
  return value->n_uses == 1 && !value->is_output;
}

/* The layer in front, if there is nothing but what keeps the factors between. */
static struct mq_node *find_layer(const struct qdq *qdq, const struct spread *s) {
  const struct mq_value *x = s->point->inputs[0];
  while (is_sole(x) && x->producer && (keeps_factors(x->producer) || is_idle_clip(s, x->producer)))
    x = x->producer->inputs[0];
  struct mq_node *layer = x->producer;
  if (!layer || !is_sole(x) || layer->op != MQ_OP_Conv || !is_plain_constant(layer->inputs[1])) return NULL;
  const struct mq_value *bias = layer->n_inputs > 2 ? layer->inputs[2] : NULL;
  bool is_plain = !bias || (is_plain_constant(bias) && mq_shape_count(&bias->shape) == s->n);
  return is_plain && layer->inputs[1]->shape.dim[0] == s->n && can_scale(qdq, s, layer, false) ? layer : NULL;
}

/* Clips on the way would have to be multiplied too. */
static mq_status drop_clips(struct qdq *qdq, const struct spread *s) {
  struct mq_node *reader = s->point;
  mq_status status = MQ_OK;
  while (!status && reader->inputs[0]->producer) {
    struct mq_node *node = reader->inputs[0]->producer;
    if (keeps_factors(node)) {
      reader = node;
    } else if (is_idle_clip(s, node)) {
      struct mq_value *x = node->inputs[0];
      mq_graph_remove_node(qdq->graph, node);
      status = mq_graph_set_input(qdq->graph, reader, 0, x, qdq->err);
    } else {
      break;
    }
  }
  return status;
}

/* Behind anything else the factors are a multiplication of their own. */
static mq_status multiply(struct qdq *qdq, const struct spread *s) {
  struct mq_value *x = s->point->inputs[0], *inputs[2] = {x, NULL}, *y = NULL;
  struct mq_shape shape = {.rank = x->shape.rank};
  struct mq_tensor factors = {0};
  struct mq_node *node = NULL;
  for (int i = 0; i < shape.rank; i++)
    shape.dim[i] = i == 1 ? s->n : 1;
  const char *name = mq_arena_printf(&qdq->graph->arena, "%s_scaled", x->name);
  mq_status status =
      name ? mq_tensor_init(&factors, MQ_F32, &shape, qdq->err) : mq_fail_memory(qdq->err, "a name");
  for (int64_t c = 0; c < s->n && !status; c++)
    ((float *)factors.data)[c] = (float)s->factors[c];
  if (!status) status = mq_graph_add_constant(&inputs[1], qdq->graph, "factors", &factors, qdq->err);
  if (!status) status = mq_graph_add_value(&y, qdq->graph, name, MQ_F32, &x->shape, qdq->err);
  if (!status) status = mq_graph_add_node(&node, qdq->graph, MQ_OP_Mul, name, inputs, 2, &y, 1, qdq->err);
  if (!status) status = mq_graph_set_input(qdq->graph, s->point, 0, y, qdq->err);
  mq_tensor_deinit(&factors);
  return status;
}

/* ---- All of them --------------------------------------------------------------------------------------- */

static mq_status apply(struct qdq *qdq, const struct spread *s, struct mq_node *layer) {
  uint32_t index = 0;
  mq_status status = layer ? drop_clips(qdq, s) : multiply(qdq, s);
  if (!status && layer) status = scale_weights(qdq, s, layer, false);
  if (!status && layer) status = scale_bias(qdq, s, layer);
  for (size_t i = 0; i < s->behind->n_uses && !status; i++)
    status = scale_weights(qdq, s, s->behind->uses[i].node, true);
  if (!status) status = qdq_join_grid(&index, qdq, s->index, s->scale);
  return status ? status : mq_node_set_int(qdq->graph, s->point, "point", index, qdq->err);
}

static mq_status join(struct qdq *qdq, struct mq_node *node) {
  int64_t index = 0;
  mq_status status = mq_node_get_int(&index, node, "point", 0, qdq->err);
  if (status) return status;
  /* A copy: making grids moves the array, but not the numbers they point to. */
  struct qdq_grid grid = *qdq_grid_at(qdq, (uint32_t)index);
  struct spread s = {.point = node, .grid = &grid, .index = (uint32_t)index, .n = grid.q.n_channels};
  if (s.n < 2 || grid.q.channel_axis != 1) return MQ_OK;
  s.factors = mq_alloc((size_t)s.n, sizeof *s.factors);
  if (!s.factors) return mq_fail_memory(qdq->err, "scales of channels");
  bool can = find_readers(&s) && find_factors(&s);
  for (size_t i = 0; can && i < s.behind->n_uses; i++)
    can = can_scale(qdq, &s, s.behind->uses[i].node, true);
  if (can) status = apply(qdq, &s, find_layer(qdq, &s));
  mq_free(s.factors);
  return status;
}

mq_status qdq_join_channels(struct qdq *qdq) {
  mq_status status = MQ_OK;
  for (size_t i = 0, n = qdq->graph->n_nodes; i < n && !status; i++) {
    if (qdq->graph->nodes[i]->op == MQ_OP_FakeQuantize) status = join(qdq, qdq->graph->nodes[i]);
  }
  return status;
}
