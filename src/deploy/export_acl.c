/* Huawei ACL: a float model and AMCT's record of scales in protobuf's text form, one for each layer whose
 * input is on a grid:
 *
 *   record { key: "conv1" value { scale_d: ... offset_d: ... scale_w: ... offset_w: 0 ... skip_fusion: true }
 * }
 *
 * Data are int8: an unsigned zero point z becomes z - 128. Weights are int8 with offset 0, per channel in
 * convolutions only. */
#include <ctype.h>
#include <stdio.h>

#include "deploy/export.h"

static bool fits(const struct mq_qparams *q) {
  return deploy_fills(q, 8, true);
}

static mq_status check_acl(const struct mq_bundle *bundle, struct mq_err *err) {
  const struct mq_graph *graph = bundle->prepared.graph;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    const struct mq_point *weights = deploy_layer_weights(bundle, node);
    bool is_linear = node->op == MQ_OP_Gemm || node->op == MQ_OP_MatMul;
    if (weights && is_linear && weights->qparams.n_channels > 1) {
      return mq_fail(
          err, MQ_BAD_INPUT,
          "format acl cannot express layer '%.200s': found %lld scales of weights, expected one, as "
          "only convolutions have one per channel",
          node->name, (long long)weights->qparams.n_channels);
    }
  }
  return MQ_OK;
}

static void print_quoted(FILE *file, const char *text) {
  fputc('"', file);
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') {
      fprintf(file, "\\%c", c);
    } else if (iscntrl(c)) {
      fprintf(file, "\\%03o", c);
    } else {
      fputc(c, file);
    }
  }
  fputc('"', file);
}

static void print_record(FILE *file, const struct mq_node *layer, const struct mq_qparams *x,
                         const struct mq_qparams *w) {
  fprintf(file, "record {\n  key: ");
  print_quoted(file, layer->name);
  fprintf(file, "\n  value {\n    scale_d: %.9g\n    offset_d: %d\n", (double)x->scale[0],
          x->zero_point[0] - (x->is_signed ? 0 : 128));
  for (int64_t c = 0; c < w->n_channels; c++) {
    fprintf(file, "    scale_w: %.9g\n", (double)w->scale[c]);
  }
  for (int64_t c = 0; c < w->n_channels; c++) {
    fprintf(file, "    offset_w: %d\n", w->zero_point[c]);
  }
  fprintf(file, "    skip_fusion: true\n  }\n}\n");
}

static mq_status print_records(void *file, const struct deploy_plain *plain, struct mq_err *err) {
  const struct mq_bundle *bundle = plain->edit.bundle;
  const struct mq_graph *graph = bundle->prepared.graph;
  (void)err;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    const struct mq_point *weights = deploy_layer_weights(bundle, node);
    const struct mq_node *grid = weights ? deploy_grid_of(bundle, node->inputs[0]) : NULL;
    if (grid) {
      print_record(file, node, &deploy_point_of(bundle, grid)->qparams, &weights->qparams);
    }
  }
  return MQ_OK;
}

static mq_status write_acl(const char *stem, const struct mq_bundle *bundle, struct mq_err *err) {
  struct deploy_plain plain;
  deploy_plain_begin(&plain, bundle, fits, err);
  deploy_plain_write(&plain, stem);
  deploy_plain_print(&plain, stem, ".txt", print_records);
  return deploy_plain_end(&plain);
}

const struct mq_exporter mq_exporter_acl = {
    .name = "acl",
    .describes = "Huawei ACL: AMCT's record of scales, and the float model",
    .suffixes = {".txt", ".onnx"},
    .weights = {.takes_signed = true, .takes_channels = true},
    .activations = {.takes_signed = true, .takes_unsigned = true, .takes_zero_point = true},
    .check = check_acl,
    .write = write_acl,
};
