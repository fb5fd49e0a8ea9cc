/* Reading ONNX's node test vectors. */
#include "common/vectors.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "load/tensor_proto.h"
#include "load/unpack.h"

#define MAX_BYTES ((size_t)64 << 20)

static mq_status unpack_file(struct mq_onnx_message *message, const char *path,
                             const ProtobufCMessageDescriptor *descriptor, struct mq_err *err) {
  char *bytes = NULL;
  size_t n = 0;
  mq_status status = mq_file_read(&bytes, &n, path, MAX_BYTES, err);
  if (status == MQ_OK) {
    status = mq_onnx_unpack(message, (const uint8_t *)bytes, n, descriptor, path, err);
  }
  mq_free(bytes);
  return status;
}

static mq_status read_tensor(struct vector_value *value, const char *path, struct mq_err *err) {
  struct mq_onnx_message message = {0};
  struct mq_onnx_external none = {.name = path};
  struct mq_tensor borrowed = {0};
  mq_status status = unpack_file(&message, path, &onnx__tensor_proto__descriptor, err);
  const Onnx__TensorProto *proto = (const Onnx__TensorProto *)message.message;
  if (status == MQ_OK && mq_dtype_from_onnx(proto->data_type) == 0) {
    bool is_text = proto->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__STRING;
    value->kind = is_text ? VECTOR_STRINGS : VECTOR_COMPLEX;
  } else if (status == MQ_OK) {
    status = mq_onnx_tensor_get(&borrowed, proto, false, path, &none, err);
    if (status == MQ_OK) {
      status = mq_tensor_init(&value->tensor, borrowed.dtype, &borrowed.shape, err);
    }
    if (status == MQ_OK) {
      mq_tensor_copy(&value->tensor, &borrowed);
    }
  }
  mq_tensor_deinit(&borrowed);
  mq_onnx_message_deinit(&message);
  return status;
}

static bool is_initializer(const Onnx__GraphProto *graph, const char *name) {
  for (size_t i = 0; i < graph->n_initializer; i++) {
    if (strcmp(graph->initializer[i]->name, name) == 0) {
      return true;
    }
  }
  return false;
}

static mq_status read_values(struct vector_value *values, int *n, const Onnx__GraphProto *graph,
                             Onnx__ValueInfoProto **infos, size_t n_infos, const char *folder,
                             const char *what, struct mq_err *err) {
  mq_status status = MQ_OK;
  *n = 0;
  for (size_t i = 0; i < n_infos && *n < VECTORS_MAX && status == MQ_OK; i++) {
    const char *name = infos[i]->name ? infos[i]->name : "";
    if (is_initializer(graph, name)) {
      continue;
    }
    struct vector_value *value = &values[*n];
    char path[600];
    snprintf(path, sizeof path, "%.450s/test_data_set_0/%s_%d.pb", folder, what, *n);
    snprintf(value->name, sizeof value->name, "%s", name);
    (*n)++;
    switch (infos[i]->type ? infos[i]->type->value_case : ONNX__TYPE_PROTO__VALUE__NOT_SET) {
      case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE:
        value->kind = VECTOR_SEQUENCE;
        break;
      case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE:
        value->kind = VECTOR_OPTIONAL;
        break;
      default:
        value->kind = *name ? VECTOR_TENSOR : VECTOR_ABSENT;
        status = *name ? read_tensor(value, path, err) : MQ_OK;
    }
  }
  return status;
}

static void describe(struct vector_case *test, const Onnx__NodeProto *node) {
  size_t n = 0, room = sizeof test->attributes;
  snprintf(test->op, sizeof test->op, "%s", node->op_type ? node->op_type : "");
  for (size_t i = 0; i < node->n_attribute && n < room; i++) {
    const Onnx__AttributeProto *a = node->attribute[i];
    if (a->has_i) {
      n += (size_t)snprintf(test->attributes + n, room - n, " %s=%lld", a->name, (long long)a->i);
    } else if (a->has_f) {
      n += (size_t)snprintf(test->attributes + n, room - n, " %s=%g", a->name, (double)a->f);
    } else {
      n += (size_t)snprintf(test->attributes + n, room - n, " %s", a->name);
    }
  }
}

mq_status vector_case_init(struct vector_case *test, const char *folder, struct mq_err *err) {
  memset(test, 0, sizeof *test);
  struct mq_onnx_message message = {0};
  snprintf(test->model, sizeof test->model, "%.450s/model.onnx", folder);
  mq_status status = unpack_file(&message, test->model, &onnx__model_proto__descriptor, err);
  const Onnx__ModelProto *model = (const Onnx__ModelProto *)message.message;
  if (status == MQ_OK && (!model->graph || model->graph->n_node == 0)) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: no nodes", test->model);
  }
  if (status == MQ_OK) {
    const Onnx__GraphProto *graph = model->graph;
    for (size_t i = 0; i < model->n_opset_import; i++) {
      const char *domain = model->opset_import[i]->domain;
      test->opset = domain && *domain ? test->opset : (int)model->opset_import[i]->version;
    }
    test->n_nodes = (int)graph->n_node;
    describe(test, graph->node[0]);
    status =
        read_values(test->inputs, &test->n_inputs, graph, graph->input, graph->n_input, folder, "input", err);
    if (status == MQ_OK) {
      status = read_values(test->outputs, &test->n_outputs, graph, graph->output, graph->n_output, folder,
                           "output", err);
    }
  }
  mq_onnx_message_deinit(&message);
  return status;
}

void vector_case_deinit(struct vector_case *test) {
  for (int i = 0; i < VECTORS_MAX; i++) {
    mq_tensor_deinit(&test->inputs[i].tensor);
    mq_tensor_deinit(&test->outputs[i].tensor);
  }
}
