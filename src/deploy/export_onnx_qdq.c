/* ONNX with QuantizeLinear and DequantizeLinear:
 *
 *   x -> QuantizeLinear(s, z) -> x_quantized [-> Clip -> x_clipped] -> DequantizeLinear -> x_dequantized
 *   w_quantized (integers) -> DequantizeLinear(s[c], z[c]) -> w
 *   b_quantized (int32)    -> DequantizeLinear(s_x s_w[c]) -> b      where the target adds int32 biases
 *
 * Integers are stored in 8 bits, or in the standard's own 4 and 2 bits where the model's opset has them (21,
 * 25); a narrower range than the type's is kept by a Clip. Behind an operator that only moves values, and
 * before a layer or an add whose input lies on the grid of a point further up (behind a Concat, or an average
 * that keeps its scale), the pair stands once more: engines look for it right beside each node, and ONNX
 * Runtime 1.31 writes an invalid model where it has to move a pair of int8 itself (opset 21). */
#include <math.h>
#include <string.h>

#include "deploy/export.h"
#include "mqbench/load.h"
#include "target/roles.h"

/* Attribute of a FakeQuantize whose input lies on the grid already: there is nothing to clip. */
#define REPEATED "repeated"

struct packed_constant {
  const struct mq_value *value;
  mq_onnx_packed type;
};

struct qdq {
  struct deploy_edit edit;
  struct packed_constant *packed; /* constants of 2 and 4 bits, in the graph's arena */
  size_t n_packed, capacity_packed;
};

/* ---- Types of integers ----------------------------------------------------------------------------- */

struct storage {
  int bits;
  bool is_signed;
  int32_t lo, hi; /* all the type can hold */
  mq_dtype dtype; /* in the graph */
  mq_onnx_packed packed;
};

static struct storage storage_of(int bits, bool is_signed) {
  const int32_t half = (int32_t)1 << (bits - 1);
  return (struct storage){
      .bits = bits,
      .is_signed = is_signed,
      .lo = is_signed ? -half : 0,
      .hi = is_signed ? half - 1 : 2 * half - 1,
      .dtype = bits == 16  ? (is_signed ? MQ_I16 : MQ_U16)
               : is_signed ? MQ_I8
                           : MQ_U8,
      .packed = bits == 4   ? (is_signed ? MQ_ONNX_INT4 : MQ_ONNX_UINT4)
                : bits == 2 ? (is_signed ? MQ_ONNX_INT2 : MQ_ONNX_UINT2)
                            : MQ_ONNX_UNPACKED,
  };
}

/* The narrowest type of the opset that holds the range. Activations must fill a type of less than 8 bits, as
 * there is no Clip of those. */
static struct storage find_storage(const struct mq_qparams *q, bool is_constant, int opset) {
  static const struct { int bits, opset; } types[] = {{2, 25}, {4, 21}, {8, 13}};
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    const struct storage storage = storage_of(types[i].bits, q->is_signed);
    bool fits = q->quant_min >= storage.lo && q->quant_max <= storage.hi;
    bool fills = q->quant_min == storage.lo && q->quant_max == storage.hi;
    if (opset >= types[i].opset && (is_constant || storage.bits == 8 ? fits : fills)) {
      return storage;
    }
  }
  return storage_of(16, q->is_signed);
}

static mq_onnx_packed packed_type(void *context, const struct mq_value *value) {
  const struct qdq *qdq = context;
  for (size_t i = 0; i < qdq->n_packed; i++) {
    if (qdq->packed[i].value == value) {
      return qdq->packed[i].type;
    }
  }
  return MQ_ONNX_UNPACKED;
}

static struct mq_value *note_packed(struct qdq *qdq, struct mq_value *value, const struct storage *storage) {
  if (value && storage->packed != MQ_ONNX_UNPACKED && qdq->n_packed < qdq->capacity_packed) {
    qdq->packed[qdq->n_packed++] = (struct packed_constant){.value = value, .type = storage->packed};
  }
  return value;
}

/* ---- Nodes ----------------------------------------------------------------------------------------- */

struct grid {
  struct mq_value *scale, *zero_point;
};

static struct grid add_grid(struct qdq *qdq, const char *name, const struct mq_qparams *q,
                            const struct storage *storage) {
  struct deploy_edit *edit = &qdq->edit;
  bool is_scalar = q->channel_axis < 0;
  struct grid grid;
  grid.scale =
      deploy_edit_floats(edit, deploy_edit_name(edit, name, "_scale"), q->scale, q->n_channels, is_scalar);
  grid.zero_point = deploy_edit_ints(edit, deploy_edit_name(edit, name, "_zero_point"), storage->dtype,
                                     q->zero_point, q->n_channels, is_scalar);
  note_packed(qdq, grid.zero_point, storage);
  return grid;
}

static void set_axis(struct deploy_edit *edit, struct mq_node *node, int axis) {
  if (edit->status == MQ_OK && axis >= 0) {
    edit->status = mq_node_set_int(edit->graph, node, "axis", axis, edit->err);
  }
}

/* The integers of a type that the point does not use are clipped away. */
static struct mq_value *add_integer_clip(struct deploy_edit *edit, const char *name, struct mq_value *q,
                                         const struct mq_qparams *qparams, const struct storage *storage) {
  struct mq_value *inputs[] = {q,
                               deploy_edit_ints(edit, deploy_edit_name(edit, name, "_quant_min"),
                                                storage->dtype, &qparams->quant_min, 1, true),
                               deploy_edit_ints(edit, deploy_edit_name(edit, name, "_quant_max"),
                                                storage->dtype, &qparams->quant_max, 1, true)};
  struct mq_node *node = deploy_edit_node(edit, MQ_OP_Clip, deploy_edit_name(edit, name, "_clipped"), inputs,
                                          3, storage->dtype, NULL);
  return node ? node->outputs[0] : NULL;
}

/* An 8-bit range without its lowest integer is kept by a Clip of the floats, which tools without a Clip of
 * integers take too; where no value is below zero there is nothing to keep. */
static struct mq_value *add_float_clip(struct deploy_edit *edit, const char *name, struct mq_value *x,
                                       const struct mq_qparams *q) {
  return deploy_edit_clip(edit, deploy_edit_name(edit, name, "_narrowed"), x,
                          q->scale[0] * (float)(q->quant_min - q->zero_point[0]),
                          q->scale[0] * (float)(q->quant_max - q->zero_point[0]), NULL);
}

typedef enum clip_kind {
  CLIP_NONE,
  CLIP_FLOATS,
  CLIP_INTEGERS
} clip_kind;

static clip_kind find_clip(const struct mq_qparams *q, const struct storage *storage,
                           const struct mq_bundle *bundle, const char *tensor) {
  if (q->quant_min == storage->lo && q->quant_max == storage->hi) {
    return CLIP_NONE;
  }
  if (q->quant_min == storage->lo + 1 && q->quant_max == storage->hi) {
    return deploy_is_non_negative(bundle, tensor) ? CLIP_NONE : CLIP_FLOATS;
  }
  return CLIP_INTEGERS;
}

static void replace_activation(struct qdq *qdq, struct mq_node *fake, const struct mq_point *point) {
  struct deploy_edit *edit = &qdq->edit;
  const struct mq_qparams *q = &point->qparams;
  const struct storage storage = find_storage(q, false, edit->graph->opset);
  struct mq_value *x = fake->inputs[0], *y = fake->outputs[0];
  const char *name = x->name;
  clip_kind clip =
      mq_node_find_attr(fake, REPEATED) ? CLIP_NONE : find_clip(q, &storage, edit->bundle, point->tensor);
  mq_graph_remove_node(edit->graph, fake);
  deploy_edit_rename(edit, y, deploy_edit_name(edit, name, "_dequantized"));
  const struct grid grid = add_grid(qdq, name, q, &storage);
  struct mq_value *real = clip == CLIP_FLOATS ? add_float_clip(edit, name, x, q) : x;
  struct mq_value *inputs[] = {real, grid.scale, grid.zero_point};
  struct mq_node *node = deploy_edit_node(
      edit, MQ_OP_QuantizeLinear, deploy_edit_name(edit, name, "_quantized"), inputs, 3, storage.dtype, NULL);
  inputs[0] = node ? node->outputs[0] : NULL;
  if (clip == CLIP_INTEGERS) {
    inputs[0] = add_integer_clip(edit, name, inputs[0], q, &storage);
  }
  deploy_edit_node(edit, MQ_OP_DequantizeLinear, deploy_edit_name(edit, name, "_dequantized"), inputs, 3,
                   MQ_F32, y);
  deploy_edit_name_output(edit, x, y);
}

/* The dequantized constant takes the user's name unless someone reads the float one still. */
static void name_constant(struct deploy_edit *edit, struct mq_value *constant, struct mq_value *dequantized) {
  if (edit->status == MQ_OK && constant->n_uses == 0 && !constant->is_output) {
    mq_graph_swap_names(edit->graph, constant, dequantized);
  }
}

static void replace_weight(struct qdq *qdq, struct mq_node *fake, const struct mq_point *point) {
  struct deploy_edit *edit = &qdq->edit;
  const struct mq_qparams *q = &point->qparams;
  const struct storage storage = find_storage(q, true, edit->graph->opset);
  struct mq_value *w = fake->inputs[0], *y = fake->outputs[0];
  mq_graph_remove_node(edit->graph, fake);
  deploy_edit_rename(edit, y, deploy_edit_name(edit, w->name, "_dequantized"));
  struct mq_value *ints = deploy_edit_quantized(edit, deploy_edit_name(edit, w->name, "_quantized"),
                                                w->constant, q, storage.dtype);
  note_packed(qdq, ints, &storage);
  const struct grid grid = add_grid(qdq, w->name, q, &storage);
  struct mq_value *inputs[] = {ints, grid.scale, grid.zero_point};
  struct mq_node *node = deploy_edit_node(
      edit, MQ_OP_DequantizeLinear, deploy_edit_name(edit, w->name, "_dequantized"), inputs, 3, MQ_F32, y);
  set_axis(edit, node, q->channel_axis);
  name_constant(edit, w, y);
}

/* ---- Layers ---------------------------------------------------------------------------------------- */

/* A tensor that lies on the grid of a point further up: the pair once more, for all who read it. */
static void repeat_pair(struct qdq *qdq, struct mq_value *x) {
  struct deploy_edit *edit = &qdq->edit;
  const struct mq_node *grid = deploy_grid_of(edit->bundle, x);
  if (edit->status != MQ_OK || !grid || grid == x->producer) {
    return;
  }
  const struct mq_attr *point = mq_node_find_attr(grid, "point");
  struct mq_node *fake = deploy_edit_node(edit, MQ_OP_FakeQuantize, deploy_edit_name(edit, x->name, "_again"),
                                          &x, 1, MQ_F32, NULL);
  if (edit->status == MQ_OK) {
    edit->status = mq_node_set_int(edit->graph, fake, "point", point->as.i, edit->err);
  }
  if (edit->status == MQ_OK) {
    edit->status = mq_node_set_int(edit->graph, fake, REPEATED, 1, edit->err);
  }
  if (edit->status == MQ_OK) {
    edit->status = mq_graph_replace_uses(edit->graph, x, fake->outputs[0], fake, edit->err);
  }
}

/* An add of integers has both operands on a grid. */
static void repeat_for_add(struct qdq *qdq, const struct mq_node *node) {
  if (deploy_grid_of(qdq->edit.bundle, node->inputs[0]) &&
      deploy_grid_of(qdq->edit.bundle, node->inputs[1])) {
    repeat_pair(qdq, node->inputs[0]);
    repeat_pair(qdq, node->inputs[1]);
  }
}

static void repeat_for_mover(struct qdq *qdq, const struct mq_node *node) {
  for (int i = 0; i < node->n_outputs; i++) {
    struct mq_value *y = node->outputs[i];
    if (y && y->n_uses > 0 && !y->is_output) {
      repeat_pair(qdq, y);
    }
  }
}

struct bias {
  int32_t *ints;
  float *scale;
  int64_t n, n_scales;
};

/* q[c] = rne(b[c] / (s_x s_w[c])), the product in double; the scale in the file is it as float32. */
static void fill_bias(struct deploy_edit *edit, struct bias *bias, const struct mq_node *layer,
                      const struct mq_qparams *x, const struct mq_qparams *w) {
  const struct mq_tensor *constant = layer->inputs[2]->constant;
  for (int64_t c = 0; c < bias->n && edit->status == MQ_OK; c++) {
    int64_t s = bias->n_scales > 1 ? c : 0;
    double scale = (double)x->scale[0] * (double)w->scale[s];
    bias->scale[s] = x->scale[0] * w->scale[s];
    if (bias->scale[s] > 0 && isfinite(bias->scale[s])) {
      deploy_quantize_bias(edit, &bias->ints[c], ((const float *)constant->data)[c], scale, layer);
    } else {
      edit->status = mq_fail(edit->err, MQ_BAD_INPUT,
                             "layer '%.200s': s_x s_w = %.9g is no float32, expected a scale for the bias",
                             layer->name, scale);
    }
  }
}

static void replace_bias(struct qdq *qdq, struct mq_node *layer, const struct mq_qparams *x,
                         const struct mq_qparams *w) {
  struct deploy_edit *edit = &qdq->edit;
  struct mq_value *b = layer->inputs[2], *y = NULL;
  struct mq_arena *arena = &edit->graph->arena;
  struct bias bias = {.n = mq_shape_count(&b->constant->shape), .n_scales = w->n_channels};
  bias.ints = mq_arena_alloc(arena, (size_t)bias.n + 1, sizeof *bias.ints);
  bias.scale = mq_arena_alloc(arena, (size_t)bias.n_scales + 1, sizeof *bias.scale);
  if (!bias.ints || !bias.scale) {
    edit->status = mq_fail_memory(edit->err, "bias");
    return;
  }
  fill_bias(edit, &bias, layer, x, w);
  struct mq_value *inputs[] = {deploy_edit_constant(edit, deploy_edit_name(edit, b->name, "_quantized"),
                                                    MQ_I32, &b->constant->shape, bias.ints),
                               deploy_edit_floats(edit, deploy_edit_name(edit, b->name, "_scale"), bias.scale,
                                                  bias.n_scales, bias.n_scales == 1)};
  struct mq_node *node = deploy_edit_node(
      edit, MQ_OP_DequantizeLinear, deploy_edit_name(edit, b->name, "_dequantized"), inputs, 2, MQ_F32, NULL);
  set_axis(edit, node, bias.n_scales > 1 ? 0 : -1);
  y = node ? node->outputs[0] : NULL;
  deploy_edit_set_input(edit, layer, 2, y);
  name_constant(edit, b, y);
}

/* A layer's bias becomes int32 where both its scales are known and the target adds integers. */
static void treat_bias(struct qdq *qdq, struct mq_node *layer, const struct mq_point *weights) {
  const struct mq_bundle *bundle = qdq->edit.bundle;
  const struct mq_node *grid = deploy_grid_of(bundle, layer->inputs[0]);
  const struct mq_value *b = layer->n_inputs > 2 ? layer->inputs[2] : NULL;
  bool is_vector = b && b->constant && b->constant->dtype == MQ_F32 && b->constant->shape.rank == 1;
  int64_t n = weights->qparams.n_channels;
  if (grid && is_vector && bundle->bias != MQ_BIAS_FLOAT &&
      (n == 1 || n == mq_shape_count(&b->constant->shape))) {
    replace_bias(qdq, layer, &deploy_point_of(bundle, grid)->qparams, &weights->qparams);
  }
}

/* ---- The file -------------------------------------------------------------------------------------- */

static void treat_layers(struct qdq *qdq) {
  struct mq_graph *graph = qdq->edit.graph;
  for (size_t i = 0, n = graph->n_nodes; i < n && qdq->edit.status == MQ_OK; i++) {
    struct mq_node *node = graph->nodes[i];
    const struct mq_point *weights = deploy_layer_weights(qdq->edit.bundle, node);
    if (weights) {
      repeat_pair(qdq, node->inputs[0]);
      treat_bias(qdq, node, weights);
    } else if (node->op == MQ_OP_Add) {
      repeat_for_add(qdq, node);
    } else if (mq_moves_values(node)) {
      repeat_for_mover(qdq, node);
    }
  }
}

static void treat_points(struct qdq *qdq) {
  struct mq_graph *graph = qdq->edit.graph;
  for (size_t i = 0, n = graph->n_nodes; i < n && qdq->edit.status == MQ_OK; i++) {
    struct mq_node *node = graph->nodes[i];
    const struct mq_point *point = deploy_point_of(qdq->edit.bundle, node);
    if (point && node->inputs[0]->constant) {
      replace_weight(qdq, node, point);
    } else if (point) {
      replace_activation(qdq, node, point);
    }
  }
}

static bool has_16_bits(const struct mq_bundle *bundle) {
  for (size_t i = 0; i < bundle->prepared.n_points; i++) {
    if (find_storage(&bundle->prepared.points[i].qparams, false, 13).bits == 16) {
      return true;
    }
  }
  return false;
}

static mq_status write_qdq(const char *stem, const struct mq_bundle *bundle, struct mq_err *err) {
  struct qdq qdq = {.n_packed = 0};
  deploy_edit_begin(&qdq.edit, bundle, err);
  deploy_edit_raise_opset(&qdq.edit, has_16_bits(bundle) ? 21 : 13);
  if (qdq.edit.status == MQ_OK) {
    qdq.capacity_packed = 4 * qdq.edit.graph->n_nodes;
    qdq.packed = mq_arena_alloc(&qdq.edit.graph->arena, qdq.capacity_packed + 1, sizeof *qdq.packed);
    qdq.edit.status = qdq.packed ? MQ_OK : mq_fail_memory(err, "integers");
  }
  treat_layers(&qdq);
  treat_points(&qdq);
  deploy_edit_end(&qdq.edit);
  const char *path = deploy_edit_name(&qdq.edit, stem, ".onnx");
  if (qdq.edit.status == MQ_OK) {
    qdq.edit.status = mq_onnx_write_packed(path, qdq.edit.graph, packed_type, &qdq, err);
  }
  mq_graph_destroy(qdq.edit.graph);
  return qdq.edit.status;
}

#define ANY \
  { true, true, true, true, true, false }
const struct mq_exporter mq_exporter_onnx_qdq = {
    .name = "onnx_qdq",
    .describes = "ONNX with QuantizeLinear and DequantizeLinear",
    .suffixes = {".onnx"},
    .weights = ANY,
    .activations = ANY,
    .write = write_qdq,
};
