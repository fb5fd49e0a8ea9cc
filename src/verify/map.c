#include "verify/map.h"

#include <math.h>
#include <string.h>

#include "verify/reality.h"

/* ---- Shapes -------------------------------------------------------------------------------------------- */

static bool has_shape_of(const struct mq_program_tensor *t, const struct mq_value *value) {
  const struct mq_shape *shape = &value->shape;
  if (value->dtype != MQ_F32 || shape->rank < 1 || shape->dim[0] != MQ_DIM_BATCH) {
    return false;
  }
  struct mq_shape image = mq_shape_at_batch(shape, 1);
  if (mq_program_elements(t) != mq_shape_count(&image)) {
    return false;
  }
  if (!t->is_channels_last) {
    return true;
  }
  bool is_same = shape->rank >= 2 && t->rank >= 1 && t->dim[t->rank - 1] == shape->dim[1];
  for (int i = 2; i < shape->rank && t->rank == shape->rank - 1; i++) {
    is_same = is_same && t->dim[i - 2] == shape->dim[i];
  }
  return is_same;
}

static mq_status fail_shape(const struct verify_map *map, uint32_t tensor, const struct mq_value *value,
                            struct mq_err *err) {
  char shape[128];
  const struct mq_program_tensor *t = &map->program->tensors[tensor];
  return mq_fail(err, MQ_BAD_INPUT,
                 "program %.100s: tensor '%.100s' has %lld elements an image%s, expected those of %s %s",
                 map->program->name, t->name, (long long)mq_program_elements(t),
                 t->is_channels_last ? ", channels last" : "", value->name,
                 mq_shape_format(shape, sizeof shape, &value->shape));
}

/* ---- Points -------------------------------------------------------------------------------------------- */

const struct mq_point *verify_point_of(const struct mq_prepared *prepared, const struct mq_node *node) {
  int64_t index = -1;
  if (node->op != MQ_OP_FakeQuantize || mq_node_get_int(&index, node, "point", -1, NULL) != MQ_OK ||
      index < 0 || (uint64_t)index >= prepared->n_points) {
    return NULL;
  }
  const struct mq_point *point = &prepared->points[index];
  return point->kind == MQ_POINT_ACTIVATION ? point : NULL;
}

/* The codes of that name; UINT32_MAX: what the program has lies on another point's codes. */
static uint32_t find_codes(const struct mq_program *program, const char *name) {
  for (uint32_t i = 0; i < program->n_tensors; i++) {
    const struct mq_program_tensor *t = &program->tensors[i];
    if (reality_is_codes(t) && !t->constant && strcmp(t->name, name) == 0) {
      return i;
    }
  }
  return UINT32_MAX;
}

static mq_status check_point(const struct verify_map *map, uint32_t tensor, const struct mq_point *point,
                             struct mq_err *err) {
  const struct mq_program_tensor *t = &map->program->tensors[tensor];
  const struct mq_qparams *q = &point->qparams;
  const int32_t offset = t->type == MQ_PROGRAM_S16 && q->n_channels == 1 && !q->is_signed ? 1 << 15 : 0;
  if (q->n_channels == 1 && !(q->scale[0] < t->scale) && !(q->scale[0] > t->scale) &&
      q->zero_point[0] == t->zero_point + offset && q->quant_min == t->code_min + offset &&
      q->quant_max == t->code_max + offset) {
    return MQ_OK;
  }
  return mq_fail(err, MQ_BAD_INPUT,
                 "program %.100s: tensor '%.100s' has scale %.9g, zero point %d, codes [%d, %d], expected "
                 "those of the point: %.9g, %d, [%d, %d]",
                 map->program->name, t->name, (double)t->scale, t->zero_point, t->code_min, t->code_max,
                 q->n_channels > 0 ? (double)q->scale[0] : NAN,
                 q->n_channels > 0 ? q->zero_point[0] - offset : 0, q->quant_min - offset,
                 q->quant_max - offset);
}

static mq_status add_link(struct verify_map *map, uint32_t tensor, const struct mq_value *value,
                          const struct mq_node *node, struct mq_err *err) {
  if (map->link_of[tensor] >= 0) {
    return MQ_OK;
  }
  if (!has_shape_of(&map->program->tensors[tensor], value)) {
    return fail_shape(map, tensor, value, err);
  }
  map->link_of[tensor] = (int64_t)map->n_links;
  map->links[map->n_links++] =
      (struct verify_link){.tensor = tensor, .value = value, .node = node, .offset = (size_t)map->n_elements};
  map->n_elements += mq_program_elements(&map->program->tensors[tensor]);
  map->kinds[tensor] = node ? REALITY_LEAF : map->kinds[tensor];
  return MQ_OK;
}

static mq_status add_points(struct verify_map *map, const struct mq_prepared *prepared, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < map->graph->n_nodes && status == MQ_OK; i++) {
    const struct mq_node *node = map->graph->nodes[i];
    const struct mq_point *point = verify_point_of(prepared, node);
    const uint32_t tensor = point ? find_codes(map->program, point->tensor) : UINT32_MAX;
    if (tensor != UINT32_MAX) {
      status = check_point(map, tensor, point, err);
      if (status == MQ_OK) {
        status = add_link(map, tensor, node->outputs[0], node, err);
      }
    }
  }
  return status;
}

/* Outputs that are codes are points, or moved from there. */
static mq_status add_outputs(struct verify_map *map, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (uint32_t i = 0; i < map->program->n_outputs && status == MQ_OK; i++) {
    const uint32_t tensor = map->program->outputs[i];
    const struct mq_value *value = map->graph->outputs[i];
    if (map->program->tensors[tensor].constant || map->program->tensors[tensor].type == MQ_PROGRAM_S32) {
      continue;
    }
    status = has_shape_of(&map->program->tensors[tensor], value) ? add_link(map, tensor, value, NULL, err)
                                                                 : fail_shape(map, tensor, value, err);
  }
  return status;
}

/* Layers that stay float are looked at too: what lies behind several of them could not be explained at once.
 */
static mq_status add_float_layers(struct verify_map *map, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (uint32_t i = 0; i < map->program->n_steps && status == MQ_OK; i++) {
    const struct mq_program_step *step = &map->program->steps[i];
    const struct mq_program_tensor *t = &map->program->tensors[step->output];
    bool is_layer = step->kind == MQ_STEP_CONV_FLOAT || step->kind == MQ_STEP_LINEAR_FLOAT;
    map->has_float_layers = map->has_float_layers || is_layer;
    const struct mq_value *value = is_layer ? mq_graph_find_value(map->graph, t->name) : NULL;
    if (value && has_shape_of(t, value)) {
      status = add_link(map, step->output, value, NULL, err);
      map->kinds[step->output] = REALITY_LEAF;
    }
  }
  return status;
}

/* ---- Biases -------------------------------------------------------------------------------------------- */

static const struct mq_node *find_node(const struct mq_graph *graph, const char *name) {
  for (size_t i = 0; i < graph->n_nodes; i++) {
    if (graph->nodes[i]->op != MQ_OP_NONE && strcmp(graph->nodes[i]->name, name) == 0) {
      return graph->nodes[i];
    }
  }
  return NULL;
}

/* A constant of one number, or of one for each channel. */
static const struct mq_tensor *bias_constant(const struct mq_value *value, int64_t channels) {
  const struct mq_tensor *constant = value && value->dtype == MQ_F32 ? value->constant : NULL;
  int64_t n = constant ? mq_shape_count(&constant->shape) : 0;
  return n == 1 || n == channels ? constant : NULL;
}

/* Added behind a MatMul by a node of its own. */
static const struct mq_value *added_behind(const struct mq_node *node) {
  const struct mq_value *y = node->outputs[0];
  const struct mq_node *add = y->n_uses == 1 && !y->is_output ? y->uses[0].node : NULL;
  return add && add->op == MQ_OP_Add ? add->inputs[add->inputs[0] == y ? 1 : 0] : NULL;
}

/* Whether the program's bias is the real one, rounded to a step at most. */
static bool is_rounded(const struct verify_map *map, const struct mq_program_step *step, const double *biases,
                       int64_t channels) {
  for (int64_t c = 0; c < channels; c++) {
    const double steps =
        (double)map->program->tensors[step->inputs[0]].scale * (double)step->as.conv.channels[c].w_scale;
    const double own = reality_own_bias(map->program, step, c);
    if (!(fabs(own - biases[c]) <= steps + 0x1p-20 * fabs(own))) {
      return false;
    }
  }
  return true;
}

static mq_status find_bias(struct verify_map *map, uint32_t index, struct mq_arena *arena,
                           struct mq_err *err) {
  const struct mq_program_step *step = &map->program->steps[index];
  const struct mq_program_tensor *y = &map->program->tensors[step->output];
  const int64_t channels = y->rank > 0 ? y->dim[y->rank - 1] : 1;
  const struct mq_node *node = find_node(map->graph, step->name);
  if (!node || node->n_outputs < 1 || !node->outputs[0]) {
    return MQ_OK;
  }
  const struct mq_tensor *parts[] = {
      bias_constant(node->n_inputs > 2 ? node->inputs[2] : NULL, channels),
      node->op == MQ_OP_MatMul ? bias_constant(added_behind(node), channels) : NULL};
  double *biases = mq_arena_alloc(arena, (size_t)channels, sizeof *biases);
  if (!biases) {
    return mq_fail_memory(err, "biases");
  }
  for (int k = 0; k < 2; k++) {
    for (int64_t c = 0; parts[k] && c < channels; c++) {
      biases[c] += mq_tensor_get_double(parts[k], mq_shape_count(&parts[k]->shape) == 1 ? 0 : c);
    }
  }
  map->biases[index] = is_rounded(map, step, biases, channels) ? biases : NULL;
  return MQ_OK;
}

static mq_status find_biases(struct verify_map *map, struct mq_arena *arena, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (uint32_t i = 0; i < map->program->n_steps && status == MQ_OK; i++) {
    const mq_step_kind kind = map->program->steps[i].kind;
    if (kind == MQ_STEP_CONV || kind == MQ_STEP_LINEAR) {
      status = find_bias(map, i, arena, err);
    }
  }
  return status;
}

/* ---- All of it ----------------------------------------------------------------------------------------- */

static mq_status check_ends(const struct verify_map *map, struct mq_err *err) {
  const struct mq_program *program = map->program;
  if (program->n_inputs != map->graph->n_inputs || program->n_outputs != map->graph->n_outputs) {
    return mq_fail(
        err, MQ_BAD_INPUT, "program %.100s has %u inputs and %u outputs, expected the network's %zu and %zu",
        program->name, program->n_inputs, program->n_outputs, map->graph->n_inputs, map->graph->n_outputs);
  }
  for (uint32_t i = 0; i < program->n_inputs; i++) {
    const struct mq_program_tensor *t = &program->tensors[program->inputs[i]];
    map->kinds[program->inputs[i]] = REALITY_INPUT;
    if (t->type != MQ_PROGRAM_F32 || !has_shape_of(t, map->graph->inputs[i])) {
      return fail_shape(map, program->inputs[i], map->graph->inputs[i], err);
    }
  }
  return MQ_OK;
}

static void place_tensors(struct verify_map *map, size_t *offsets) {
  for (uint32_t i = 0; i < map->program->n_tensors; i++) {
    const struct mq_program_tensor *t = &map->program->tensors[i];
    offsets[i] = map->made_bytes;
    map->made_bytes += t->constant ? 0 : (mq_program_tensor_bytes(t) + 15) / 16 * 16;
  }
  map->made_offset = offsets;
}

mq_status verify_map_make(struct verify_map *map, const struct mq_prepared *prepared,
                          const struct mq_program *program, struct mq_arena *arena, struct mq_err *err) {
  const size_t n = program->n_tensors + 1;
  *map = (struct verify_map){.program = program, .graph = prepared->graph};
  size_t *offsets = mq_arena_alloc(arena, n, sizeof *offsets);
  map->links = mq_arena_alloc(arena, n, sizeof *map->links);
  map->link_of = mq_arena_alloc(arena, n, sizeof *map->link_of);
  map->kinds = mq_arena_alloc(arena, n, 1);
  map->biases = mq_arena_alloc(arena, program->n_steps + 1, sizeof *map->biases);
  if (!offsets || !map->links || !map->link_of || !map->kinds || !map->biases) {
    return mq_fail_memory(err, "a program's tensors");
  }
  memset(map->link_of, 0xff, n * sizeof *map->link_of); /* -1 */
  place_tensors(map, offsets);
  mq_status status = check_ends(map, err);
  if (status == MQ_OK) {
    status = add_points(map, prepared, err);
  }
  if (status == MQ_OK) {
    status = add_float_layers(map, err);
  }
  if (status == MQ_OK) {
    status = add_outputs(map, err);
  }
  return status == MQ_OK ? find_biases(map, arena, err) : status;
}

/* ---- Order --------------------------------------------------------------------------------------------- */

struct verify_order verify_order_of(const struct mq_program_tensor *t, const struct mq_tensor *value) {
  struct verify_order order = {.n = value->shape.rank - 1};
  for (int i = 0; i < order.n; i++) {
    int axis = i + 1;
    if (t->is_channels_last) {
      axis = i + 1 < order.n ? i + 2 : 1;
    }
    order.dim[i] = value->shape.dim[axis];
    order.stride[i] = value->stride[axis];
  }
  return order;
}

/* The last dimension in a loop, the others counted on. */
static int64_t next_row(const struct verify_order *order, int64_t *index, int64_t at) {
  for (int i = order->n - 2; i >= 0; i--) {
    at += order->stride[i];
    if (++index[i] < order->dim[i]) {
      return at;
    }
    at -= index[i] * order->stride[i];
    index[i] = 0;
  }
  return -1;
}

void verify_gather(float *values, const struct verify_order *order, const float *from) {
  int64_t index[MQ_MAX_RANK] = {0};
  const int64_t n = order->n > 0 ? order->dim[order->n - 1] : 1;
  const int64_t stride = order->n > 0 ? order->stride[order->n - 1] : 0;
  for (int64_t at = 0; at >= 0; at = next_row(order, index, at)) {
    for (int64_t i = 0; i < n; i++) {
      *values++ = from[at + i * stride];
    }
  }
}

void verify_scatter(float *to, const struct verify_order *order, const float *values) {
  int64_t index[MQ_MAX_RANK] = {0};
  const int64_t n = order->n > 0 ? order->dim[order->n - 1] : 1;
  const int64_t stride = order->n > 0 ? order->stride[order->n - 1] : 0;
  for (int64_t at = 0; at >= 0; at = next_row(order, index, at)) {
    for (int64_t i = 0; i < n; i++) {
      to[at + i * stride] = *values++;
    }
  }
}

/* ---- Values -------------------------------------------------------------------------------------------- */

double verify_float_step(const float *values, int64_t n) {
  float most = 0;
  for (int64_t i = 0; i < n; i++) {
    most = fmaxf(most, fabsf(values[i]));
  }
  return most > 0 && isfinite(most) ? (double)most / 127 : 1;
}

float verify_value(const struct mq_program_tensor *t, const void *data, int64_t at) {
  if (t->type == MQ_PROGRAM_F32) {
    return ((const float *)data)[at];
  }
  return t->type == MQ_PROGRAM_S32 ? (float)((const int32_t *)data)[at]
                                   : (float)(reality_code(data, t->type, at) - t->zero_point) * t->scale;
}
