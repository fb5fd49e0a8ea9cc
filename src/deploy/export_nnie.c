/* HiSilicon's NNIE: a float model and the clips of each layer's inputs,
 *
 *   {"nnie": {"gfpq_param_dict": {"conv1": [4.0], "add1": [4.0, 8.0]}}}
 *
 * The format is logarithmic, 16 steps an octave below the clip: a clip is 2^(rne(16 log2 m)/16), m the
 * largest magnitude of the point's range. Weights end at theirs in the model. Layers whose values only move
 * into other shapes, activation functions and global averages have no entry; grouped convolutions cannot have
 * one. */
#include <math.h>

#include "deploy/export.h"
#include "target/roles.h"

#define STEPS 16 /* an octave */

static double clip_of(const struct mq_qparams *q) {
  double most = (double)q->scale[0] * (double)q->quant_max;
  return exp2(nearbyint(STEPS * log2(most)) / STEPS);
}

static mq_status check_nnie(const struct mq_bundle *bundle, struct mq_err *err) {
  for (size_t i = 0; i < bundle->prepared.n_points; i++) {
    const struct mq_point *point = &bundle->prepared.points[i];
    if (point->scheme.bits != 8) {
      return mq_fail(err, MQ_BAD_INPUT,
                     "format nnie cannot express point '%.200s': found %d bits, expected the format's 8",
                     point->tensor, point->scheme.bits);
    }
  }
  return MQ_OK;
}

static void clip_weights(const struct deploy_plain *plain) {
  for (size_t i = 0; i < plain->n_entries && plain->edit.status == MQ_OK; i++) {
    const struct deploy_entry *entry = &plain->entries[i];
    const struct mq_value *value = mq_graph_find_value(plain->edit.graph, entry->tensor);
    if (entry->point->kind != MQ_POINT_WEIGHT || !value || !value->constant) {
      continue;
    }
    const float most = (float)clip_of(&entry->point->qparams);
    float *w = value->constant->data;
    for (int64_t k = 0; k < mq_shape_count(&value->shape); k++) {
      w[k] = fminf(fmaxf(w[k], -most), most);
    }
  }
}

static bool has_entry(const struct mq_node *node) {
  int64_t groups = 1;
  switch (node->op) {
    case MQ_OP_Conv:
      return mq_node_get_int(&groups, node, "group", 1, NULL) == MQ_OK && groups == 1;
    case MQ_OP_Add:
    case MQ_OP_AveragePool:
    case MQ_OP_Concat:
    case MQ_OP_ConvTranspose:
    case MQ_OP_Gemm:
    case MQ_OP_MatMul:
    case MQ_OP_MaxPool:
    case MQ_OP_Resize:
      return true;
    default:
      return false;
  }
}

static json_t *clips_json(const struct mq_bundle *bundle) {
  const struct mq_graph *graph = bundle->prepared.graph;
  json_t *layers = json_object();
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    json_t *clips = json_array();
    for (int k = 0; k < node->n_inputs && has_entry(node); k++) {
      const struct mq_node *grid = node->inputs[k] ? deploy_grid_of(bundle, node->inputs[k]) : NULL;
      if (grid && !grid->inputs[0]->constant) {
        json_array_append_new(clips, json_real(clip_of(&deploy_point_of(bundle, grid)->qparams)));
      }
    }
    if (json_array_size(clips) > 0) {
      json_object_set(layers, node->name, clips);
    }
    json_decref(clips);
  }
  return json_pack("{s:{s:o}}", "nnie", "gfpq_param_dict", layers);
}

static mq_status write_nnie(const char *stem, const struct mq_bundle *bundle, struct mq_err *err) {
  struct deploy_plain plain;
  deploy_plain_begin(&plain, bundle, NULL, err);
  clip_weights(&plain);
  deploy_plain_write(&plain, stem);
  if (plain.edit.status == MQ_OK) {
    plain.edit.status = deploy_write_json(stem, ".json", clips_json(bundle), err);
  }
  return deploy_plain_end(&plain);
}

const struct mq_exporter mq_exporter_nnie = {
    .name = "nnie",
    .describes = "HiSilicon NNIE: clips of each layer's inputs in JSON, and the float model",
    .suffixes = {".json", ".onnx"},
    .weights = {.takes_signed = true},
    .activations = {.takes_signed = true},
    .check = check_nnie,
    .write = write_nnie,
};
