/* ONNX with OpenVINO's FakeQuantize (domain org.openvinotoolkit) behind every point:
 *
 *   FakeQuantize(x, s (n - z), s (p - z), s (n - z), s (p - z)), levels = p - n + 1
 *
 * Bounds per channel have the rank of the weights. A range of fewer integers is one of fewer levels. The
 * operator rounds x / s - n instead of x / s, so where n is odd, ties go the other way. */
#include <string.h>

#include "deploy/export.h"
#include "mqbench/load.h"

#define DOMAIN "org.openvinotoolkit"

/* Weights lie on the grid already: they take the bounds of their bits, whatever part of those they use. A
 * tensor that is never negative takes the lowest integer in, which it does not use: the plug-in's integer
 * kernels lose accuracy on activations of 255 levels (2026.4), and ties go the right way. */
static void find_bounds(int32_t *n, int32_t *p, const struct mq_point *point,
                        const struct mq_bundle *bundle) {
  const struct mq_qparams *q = &point->qparams;
  struct mq_scheme scheme = {.bits = point->scheme.bits, .is_signed = q->is_signed};
  bool is_weight = point->kind == MQ_POINT_WEIGHT;
  int32_t lo, hi;
  *n = q->quant_min;
  *p = q->quant_max;
  scheme.is_narrow = is_weight && point->scheme.is_narrow && q->is_signed;
  mq_scheme_bounds(&lo, &hi, &scheme);
  bool takes_all =
      is_weight ? lo <= *n && *p <= hi
                : deploy_is_non_negative(bundle, point->tensor) && deploy_fills(q, point->scheme.bits, true);
  if (takes_all) {
    *n = lo;
    *p = hi;
  }
}

/* s (k - z) for each channel: a scalar, or shaped to be broadcast along the channel axis. */
static struct mq_value *add_bound(struct deploy_edit *edit, const char *name, const struct mq_value *x,
                                  const struct mq_qparams *q, int32_t k) {
  struct mq_shape shape = {.rank = q->channel_axis < 0 ? 0 : x->shape.rank};
  struct mq_tensor bound = {0};
  struct mq_value *value = NULL;
  for (int i = 0; i < shape.rank; i++) {
    shape.dim[i] = i == q->channel_axis ? q->n_channels : 1;
  }
  if (edit->status == MQ_OK) {
    edit->status = mq_tensor_init(&bound, MQ_F32, &shape, edit->err);
  }
  if (edit->status == MQ_OK) {
    for (int64_t c = 0; c < q->n_channels; c++) {
      ((float *)bound.data)[c] = q->scale[c] * (float)(k - q->zero_point[c]);
    }
    value = deploy_edit_constant(edit, name, MQ_F32, &shape, bound.data);
  }
  mq_tensor_deinit(&bound);
  return value;
}

static void set_attributes(struct deploy_edit *edit, struct mq_node *node, int64_t levels) {
  if (edit->status == MQ_OK) {
    edit->status = mq_node_set_string(edit->graph, node, MQ_ONNX_OP, "FakeQuantize", edit->err);
  }
  if (edit->status == MQ_OK) {
    edit->status = mq_node_set_string(edit->graph, node, MQ_ONNX_DOMAIN, DOMAIN, edit->err);
  }
  if (edit->status == MQ_OK) {
    edit->status = mq_node_set_int(edit->graph, node, "levels", levels, edit->err);
  }
}

static void replace(struct deploy_edit *edit, struct mq_node *fake, const struct mq_point *point) {
  struct mq_value *x = fake->inputs[0], *y = fake->outputs[0];
  int32_t n, p;
  find_bounds(&n, &p, point, edit->bundle);
  mq_graph_remove_node(edit->graph, fake);
  deploy_edit_rename(edit, y, deploy_edit_name(edit, x->name, "_fake_quantized"));
  struct mq_value *low = add_bound(edit, deploy_edit_name(edit, x->name, "_low"), x, &point->qparams, n),
                  *high = add_bound(edit, deploy_edit_name(edit, x->name, "_high"), x, &point->qparams, p),
                  *inputs[] = {x, low, high, low, high};
  struct mq_node *node = deploy_edit_node(
      edit, MQ_OP_Foreign, deploy_edit_name(edit, x->name, "_fake_quantize"), inputs, 5, MQ_F32, y);
  set_attributes(edit, node, (int64_t)p - n + 1);
  deploy_edit_name_output(edit, x, y);
}

static mq_status write_openvino(const char *stem, const struct mq_bundle *bundle, struct mq_err *err) {
  struct deploy_edit edit;
  deploy_edit_begin(&edit, bundle, err);
  struct mq_graph *graph = edit.graph;
  for (size_t i = 0, n = graph ? graph->n_nodes : 0; i < n && edit.status == MQ_OK; i++) {
    const struct mq_point *point = deploy_point_of(bundle, graph->nodes[i]);
    if (point) {
      replace(&edit, graph->nodes[i], point);
    }
  }
  deploy_edit_end(&edit);
  const char *path = deploy_edit_name(&edit, stem, ".onnx");
  if (edit.status == MQ_OK) {
    edit.status = mq_onnx_write(path, graph, err);
  }
  mq_graph_destroy(graph);
  return edit.status;
}

#define ANY \
  { true, true, true, true, true, false }
const struct mq_exporter mq_exporter_openvino = {
    .name = "openvino",
    .describes = "OpenVINO: ONNX with FakeQuantize of org.openvinotoolkit",
    .suffixes = {".onnx"},
    .weights = ANY,
    .activations = ANY,
    .write = write_openvino,
};
