/* Tengine: a float model and a line for each activation: tensor, scale, zero point of its uint8 integers.
 * What a layer gives to the activation function behind it has the entry of that one's output. */
#include <stdio.h>

#include "deploy/export.h"
#include "target/roles.h"

static bool fits(const struct mq_qparams *q) {
  return deploy_fills(q, 8, false);
}

static mq_status print_line(FILE *file, const char *tensor, const struct mq_qparams *q, struct mq_err *err) {
  mq_status status = deploy_check_name("tengine", tensor, false, err);
  if (status == MQ_OK) {
    fprintf(file, "%s %.9g %d\n", tensor, (double)q->scale[0], q->zero_point[0]);
  }
  return status;
}

/* What a conv or linear gives to the Relu or Clip that made the tensor; NULL: nothing does. */
static const struct mq_value *before_activation(const struct mq_graph *graph, const char *tensor) {
  const struct mq_value *value = mq_graph_find_value(graph, tensor);
  const struct mq_node *node = value ? value->producer : NULL;
  mq_quant_op op;
  if (!node || (node->op != MQ_OP_Relu && node->op != MQ_OP_Clip) || !node->inputs[0]->producer) {
    return NULL;
  }
  bool is_layer = mq_is_layer(&op, node->inputs[0]->producer);
  return is_layer && node->inputs[0]->n_uses == 1 ? node->inputs[0] : NULL;
}

static mq_status print_scales(void *file, const struct deploy_plain *plain, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < plain->n_entries && status == MQ_OK; i++) {
    const struct deploy_entry *entry = &plain->entries[i];
    if (entry->point->kind != MQ_POINT_ACTIVATION) {
      continue;
    }
    const struct mq_value *before = before_activation(plain->edit.graph, entry->tensor);
    if (before) {
      status = print_line(file, before->name, &entry->point->qparams, err);
    }
    if (status == MQ_OK) {
      status = print_line(file, entry->tensor, &entry->point->qparams, err);
    }
  }
  return status;
}

static mq_status write_tengine(const char *stem, const struct mq_bundle *bundle, struct mq_err *err) {
  struct deploy_plain plain;
  deploy_plain_begin(&plain, bundle, fits, err);
  deploy_plain_write(&plain, stem);
  deploy_plain_print(&plain, stem, "_for_tengine.scale", print_scales);
  return deploy_plain_end(&plain);
}

const struct mq_exporter mq_exporter_tengine = {
    .name = "tengine",
    .describes = "Tengine: scale and zero point of each activation, and the float model",
    .suffixes = {"_for_tengine.scale", ".onnx"},
    .weights = {.takes_signed = true,
                .takes_unsigned = true,
                .takes_zero_point = true,
                .takes_channels = true},
    .activations = {.takes_unsigned = true, .takes_zero_point = true},
    .write = write_tengine,
};
