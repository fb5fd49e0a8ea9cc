/* ModelProto to graph: versions, initializers, inputs, outputs, passes. */
#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "load/onnx.h"
#include "load/tensor_proto.h"

static mq_status read_opset(struct mq_onnx_reader *reader, const Onnx__ModelProto *model,
                            struct mq_err *err) {
  if (!model->has_ir_version || model->ir_version < MQ_ONNX_LEAST_IR) {
    return mq_fail(err, MQ_BAD_INPUT,
                   "%s: %s (IR version %" PRId64 "), expected an ONNX model of IR version %d or later",
                   reader->name, model->has_ir_version ? "too old" : "not an ONNX model", model->ir_version,
                   MQ_ONNX_LEAST_IR);
  }
  for (size_t i = 0; i < model->n_opset_import; i++) {
    const Onnx__OperatorSetIdProto *import = model->opset_import[i];
    const char *domain = mq_onnx_text(import->domain);
    if (*domain && strcmp(domain, "ai.onnx") != 0) {
      continue;
    }
    if (import->version < MQ_ONNX_LEAST_OPSET || import->version > INT32_MAX) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: opset %" PRId64 ", expected %d or later", reader->name,
                     import->version, MQ_ONNX_LEAST_OPSET);
    }
    reader->graph->opset = (int)import->version;
    return MQ_OK;
  }
  return mq_fail(err, MQ_BAD_INPUT, "%s: imports no opset of ai.onnx, expected one of %d or later",
                 reader->name, MQ_ONNX_LEAST_OPSET);
}

mq_status mq_onnx_add_tensor(struct mq_onnx_reader *reader, const char *name, Onnx__TensorProto *proto,
                             const char *what, struct mq_err *err) {
  struct mq_tensor tensor = {0};
  struct mq_value *value;
  int bits = reader->options->takes_packed ? mq_onnx_packed_bits(proto) : 0;
  mq_status status = bits ? mq_onnx_tensor_get_packed(&tensor, proto, what, &reader->external, err)
                          : mq_onnx_tensor_get(&tensor, proto, true, what, &reader->external, err);
  if (status == MQ_OK) {
    status = mq_graph_add_constant(&value, reader->graph, name, &tensor, err);
  }
  if (status == MQ_OK) {
    value->packed_bits = bits;
  }
  if (status == MQ_OK && tensor.dtype == MQ_I64) {
    mq_onnx_avoid_batch(value->constant->data, (size_t)mq_shape_count(&tensor.shape));
  }
  mq_tensor_deinit(&tensor);
  mq_onnx_message_drop_raw(&reader->message, proto);
  return status;
}

static mq_status read_initializers(struct mq_onnx_reader *reader, const Onnx__GraphProto *proto,
                                   struct mq_err *err) {
  if (proto->n_sparse_initializer > 0) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: has sparse initializers, expected dense ones", reader->name);
  }
  mq_status status = MQ_OK;
  for (size_t i = 0; i < proto->n_initializer && status == MQ_OK; i++) {
    const char *name = mq_onnx_text(proto->initializer[i]->name);
    if (*name == '\0' || mq_graph_find_value(reader->graph, name)) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: initializer %zu '%.100s', expected a name of its own",
                     reader->name, i, name);
    }
    char what[600];
    snprintf(what, sizeof what, "%.250s: initializer '%.100s'", reader->name, name);
    status = mq_onnx_add_tensor(reader, name, proto->initializer[i], what, err);
  }
  return status;
}

/* Inputs that a caller froze become constants in the caller's dtype. */
static mq_status add_frozen(struct mq_onnx_reader *reader, struct mq_err *err) {
  const struct mq_onnx_options *options = reader->options;
  mq_status status = MQ_OK;
  for (size_t i = 0; i < options->n_frozen && status == MQ_OK; i++) {
    struct mq_value *value;
    if (mq_graph_find_value(reader->graph, options->frozen_names[i])) {
      return mq_fail(err, MQ_BAD_USAGE, "%s: frozen input '%.100s' is a constant already", reader->name,
                     options->frozen_names[i]);
    }
    status = mq_graph_add_constant(&value, reader->graph, options->frozen_names[i], options->frozen[i], err);
  }
  return status;
}

/* An open first dimension counts the images of a batch; other open ones stay -1 for inference to judge. */
static mq_status read_input_shape(struct mq_shape *shape, const struct mq_onnx_reader *reader,
                                  const char *name, const Onnx__TypeProto__Tensor *type, struct mq_err *err) {
  if (!type->shape || type->shape->n_dim > MQ_MAX_RANK) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: input '%.100s' has %s, expected one of at most %d dimensions",
                   reader->name, name, type->shape ? "a shape of too many dimensions" : "no shape",
                   MQ_MAX_RANK);
  }
  *shape = (struct mq_shape){.rank = (int)type->shape->n_dim};
  for (int i = 0; i < shape->rank; i++) {
    const Onnx__TensorShapeProto__Dimension *dim = type->shape->dim[i];
    bool is_number = dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    shape->dim[i] = is_number && dim->dim_value > 0 ? dim->dim_value : i == 0 ? MQ_DIM_BATCH : -1;
    if (i > 0 && shape->dim[i] < 0) {
      const char *symbol = dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                               ? mq_onnx_text(dim->dim_param)
                               : "";
      return mq_fail(err, MQ_BAD_INPUT,
                     "%s: input '%.100s': dimension %d is open ('%.60s'), expected a number (only the first, "
                     "the batch, may be open)",
                     reader->name, name, i, symbol);
    }
    if (shape->dim[i] > MQ_MAX_ELEMENTS) {
      return mq_fail(err, MQ_BAD_INPUT,
                     "%s: input '%.100s': dimension %d is %" PRId64 ", expected at most %" PRId64,
                     reader->name, name, i, shape->dim[i], MQ_MAX_ELEMENTS);
    }
  }
  return MQ_OK;
}

static mq_status read_input(struct mq_onnx_reader *reader, const Onnx__ValueInfoProto *info,
                            struct mq_err *err) {
  const char *name = mq_onnx_text(info->name);
  const struct mq_value *known = mq_graph_find_value(reader->graph, name);
  if (*name == '\0' || (known && !known->constant)) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: input '%.100s', expected a name of its own", reader->name, name);
  }
  if (known) { /* an initializer (listed as input up to IR version 3) or frozen */
    return MQ_OK;
  }
  if (!info->type || info->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
    return mq_fail(err, MQ_BAD_INPUT,
                   "%s: input '%.100s' is not a tensor (sequence, map, optional or no type)", reader->name,
                   name);
  }
  const Onnx__TypeProto__Tensor *type = info->type->tensor_type;
  mq_dtype dtype = mq_dtype_from_onnx(type->elem_type);
  if (dtype == 0) {
    const char *type_name = mq_onnx_type_name(type->elem_type);
    return mq_fail(err, MQ_BAD_INPUT,
                   "%s: input '%.100s' has data type %d (%s), expected floats, integers or bools",
                   reader->name, name, type->elem_type, type_name ? type_name : "unknown");
  }
  struct mq_shape shape;
  mq_status status = read_input_shape(&shape, reader, name, type, err);
  struct mq_value *value = NULL;
  if (status == MQ_OK) {
    status = mq_graph_add_value(&value, reader->graph, name, mq_dtype_get(dtype)->is_float ? MQ_F32 : dtype,
                                &shape, err);
  }
  return status == MQ_OK ? mq_graph_add_input(reader->graph, value, err) : status;
}

static mq_status read_outputs(struct mq_onnx_reader *reader, const Onnx__GraphProto *proto,
                              struct mq_err *err) {
  if (proto->n_output == 0) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: the graph has no output", reader->name);
  }
  mq_status status = MQ_OK;
  for (size_t i = 0; i < proto->n_output && status == MQ_OK; i++) {
    const char *name = mq_onnx_text(proto->output[i]->name);
    struct mq_value *value = mq_graph_find_value(reader->graph, name);
    if (!value || value->is_output) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: graph output '%.100s' is %s", reader->name, name,
                     value ? "listed twice" : "provided by no node, input or initializer");
    }
    status = mq_graph_add_output(reader->graph, value, err);
  }
  return status;
}

static mq_status build(struct mq_onnx_reader *reader, struct mq_err *err) {
  const Onnx__ModelProto *model = (const Onnx__ModelProto *)reader->message.message;
  mq_status status = read_opset(reader, model, err);
  if (status != MQ_OK) {
    return status;
  }
  const Onnx__GraphProto *graph = model->graph;
  if (!graph || graph->n_node == 0) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: the model has no %s", reader->name, graph ? "nodes" : "graph");
  }
  status = read_initializers(reader, graph, err);
  if (status == MQ_OK) {
    status = add_frozen(reader, err);
  }
  for (size_t i = 0; i < graph->n_input && status == MQ_OK; i++) {
    status = read_input(reader, graph->input[i], err);
  }
  if (status == MQ_OK) {
    status = mq_onnx_read_nodes(reader, graph, err);
  }
  return status == MQ_OK ? read_outputs(reader, graph, err) : status;
}

/* Casts between the file's float types are nothing once all of them are float32. */
static void drop_float_casts(struct mq_graph *graph) {
  for (size_t i = 0; i < graph->n_nodes; i++) {
    struct mq_node *node = graph->nodes[i];
    if (node->op == MQ_OP_Cast && node->inputs[0]->dtype == MQ_F32 && node->outputs[0]->dtype == MQ_F32) {
      node->op = MQ_OP_Identity;
      mq_node_remove_attr(node, "to");
      mq_node_remove_attr(node, "saturate");
      mq_node_remove_attr(node, "round_mode");
    }
  }
}

static mq_status finish(struct mq_graph *graph, bool batch_is_free, struct mq_err *err) {
  mq_status status = mq_graph_infer(graph, batch_is_free, err);
  if (status == MQ_OK) {
    drop_float_casts(graph);
    mq_graph_prune(graph);
    status = mq_graph_verify(graph, err);
  }
  return status;
}

mq_status mq_onnx_parse(struct mq_graph **graph, const uint8_t *bytes, size_t n, const char *name,
                        const char *directory, const struct mq_onnx_options *options, struct mq_err *err) {
  static const struct mq_onnx_options defaults = {0};
  *graph = NULL;
  struct mq_onnx_reader reader = {
      .name = name,
      .external = {.name = name, .directory = directory},
      .options = options ? options : &defaults,
  };
  mq_status status = mq_onnx_unpack(&reader.message, bytes, n, &onnx__model_proto__descriptor, name, err);
  if (status == MQ_OK) {
    status = mq_graph_create(&reader.graph, name, err);
  }
  if (status == MQ_OK) {
    status = build(&reader, err);
  }
  mq_onnx_message_deinit(&reader.message);
  mq_onnx_external_deinit(&reader.external);
  if (status == MQ_OK) {
    status = finish(reader.graph, !reader.options->batch_is_fixed, err);
  }
  if (status == MQ_OK) {
    *graph = reader.graph;
  } else {
    mq_graph_destroy(reader.graph);
  }
  return status;
}

mq_status mq_onnx_read(struct mq_graph **graph, const char *path, const struct mq_onnx_options *options,
                       struct mq_err *err) {
  *graph = NULL;
  const uint8_t *bytes = NULL;
  size_t n = 0;
  mq_status status = mq_file_map(&bytes, &n, path, err);
  if (status != MQ_OK) {
    return status;
  }
  char *directory = mq_path_directory(path);
  if (directory) {
    status = mq_onnx_parse(graph, bytes, n, path, directory, options, err);
  } else {
    status = mq_fail_memory(err, "path of a model");
  }
  mq_free(directory);
  mq_file_unmap(bytes, n);
  return status;
}
