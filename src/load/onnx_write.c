/* Graph to ModelProto to file. The bytes depend on the graph only. */
#include "load/onnx_write.h"

#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "load/onnx.h"
#include "load/tensor_proto.h"

/* The IR version that came with an opset (ONNX's table of releases), at least 4: from then on initializers
 * need not be listed as inputs. */
static int64_t ir_version(int opset) {
  return opset <= 9    ? 4
         : opset == 10 ? 5
         : opset == 11 ? 6
         : opset <= 14 ? 7
         : opset <= 18 ? 8
         : opset <= 20 ? 9
         : opset <= 22 ? 10
         : opset == 23 ? 11
         : opset == 24 ? 12
                       : 13;
}

/* Arrays of pointers grow by doubling; the old ones stay in the arena. */
static bool grow(struct mq_arena *arena, void ***items, size_t n, size_t *capacity) {
  if (n < *capacity) {
    return true;
  }
  size_t larger = *capacity ? *capacity * 2 : 64;
  void **array = mq_arena_alloc(arena, larger, sizeof *array);
  if (!array) {
    return false;
  }
  if (n > 0) {
    memcpy(array, *items, n * sizeof *array);
  }
  *items = array;
  *capacity = larger;
  return true;
}

mq_status mq_onnx_append_node(struct mq_onnx_writer *writer, Onnx__NodeProto *node, struct mq_err *err) {
  void **items = (void **)writer->proto->node;
  if (!grow(&writer->arena, &items, writer->proto->n_node, &writer->capacity_nodes)) {
    return mq_fail_memory(err, "nodes of an ONNX model");
  }
  writer->proto->node = (Onnx__NodeProto **)items;
  writer->proto->node[writer->proto->n_node++] = node;
  return MQ_OK;
}

mq_status mq_onnx_new_tensor(Onnx__TensorProto **proto, struct mq_onnx_writer *writer, const char *name,
                             const struct mq_tensor *tensor, struct mq_err *err) {
  Onnx__TensorProto *t = mq_arena_alloc(&writer->arena, 1, sizeof *t);
  int64_t *dims = mq_arena_alloc(&writer->arena, MQ_MAX_RANK, sizeof *dims);
  if (!t || !dims) {
    return mq_fail_memory(err, "tensor of an ONNX model");
  }
  onnx__tensor_proto__init(t);
  t->n_dims = (size_t)tensor->shape.rank;
  t->dims = memcpy(dims, tensor->shape.dim, t->n_dims * sizeof *dims);
  t->has_data_type = 1;
  t->data_type = mq_onnx_type_of(tensor->dtype);
  t->name = (char *)(uintptr_t)name;
  t->has_raw_data = 1;
  t->raw_data = (ProtobufCBinaryData){
      .len = (size_t)mq_shape_count(&tensor->shape) * mq_dtype_get(tensor->dtype)->bytes,
      .data = tensor->data,
  };
  *proto = t;
  return MQ_OK;
}

mq_status mq_onnx_append_tensor(struct mq_onnx_writer *writer, const char *name,
                                const struct mq_tensor *tensor, struct mq_err *err) {
  Onnx__TensorProto *proto;
  mq_status status = mq_onnx_new_tensor(&proto, writer, name, tensor, err);
  if (status != MQ_OK) {
    return status;
  }
  void **items = (void **)writer->proto->initializer;
  if (!grow(&writer->arena, &items, writer->proto->n_initializer, &writer->capacity_initializers)) {
    return mq_fail_memory(err, "initializers of an ONNX model");
  }
  writer->proto->initializer = (Onnx__TensorProto **)items;
  writer->proto->initializer[writer->proto->n_initializer++] = proto;
  return MQ_OK;
}

/* Elements of fewer than 8 bits, the first in the lowest bits of a byte. */
static mq_status append_packed(struct mq_onnx_writer *writer, const struct mq_value *value,
                               mq_onnx_packed type, struct mq_err *err) {
  const unsigned bits = type == MQ_ONNX_INT4 || type == MQ_ONNX_UINT4 ? 4 : 2, per_byte = 8 / bits;
  const size_t n = (size_t)mq_shape_count(&value->constant->shape), n_bytes = (n + per_byte - 1) / per_byte;
  const uint8_t *from = value->constant->data;
  uint8_t *bytes = mq_arena_alloc(&writer->arena, n_bytes + 1, 1);
  if (!bytes) {
    return mq_fail_memory(err, "constant of an ONNX model");
  }
  for (size_t i = 0; i < n; i++) {
    unsigned code = from[i] & ((1u << bits) - 1);
    bytes[i / per_byte] = (uint8_t)(bytes[i / per_byte] | code << (i % per_byte * bits));
  }
  mq_status status = mq_onnx_append_tensor(writer, value->name, value->constant, err);
  if (status == MQ_OK) {
    Onnx__TensorProto *proto = writer->proto->initializer[writer->proto->n_initializer - 1];
    proto->data_type = (int32_t)type;
    proto->raw_data = (ProtobufCBinaryData){.len = n_bytes, .data = bytes};
  }
  return status;
}

static mq_status write_constant(struct mq_onnx_writer *writer, const struct mq_value *value,
                                struct mq_err *err) {
  bool is_byte = value->constant->dtype == MQ_I8 || value->constant->dtype == MQ_U8;
  mq_onnx_packed type =
      is_byte && writer->packed ? writer->packed(writer->packed_context, value) : MQ_ONNX_UNPACKED;
  return mq_onnx_has_batch(value)   ? mq_onnx_write_batch_constant(writer, value, err)
         : type != MQ_ONNX_UNPACKED ? append_packed(writer, value, type, err)
                                    : mq_onnx_append_tensor(writer, value->name, value->constant, err);
}

static mq_status write_constants(struct mq_onnx_writer *writer, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < writer->graph->n_values && status == MQ_OK; i++) {
    const struct mq_value *value = writer->graph->values[i];
    if (!value->constant || (value->n_uses == 0 && !value->is_output)) {
      continue;
    }
    status = write_constant(writer, value, err);
  }
  return status;
}

static bool set_dims(Onnx__TensorShapeProto *shape, struct mq_arena *arena, const struct mq_shape *from) {
  shape->n_dim = (size_t)from->rank;
  shape->dim = mq_arena_alloc(arena, shape->n_dim + 1, sizeof *shape->dim);
  for (int i = 0; shape->dim && i < from->rank; i++) {
    Onnx__TensorShapeProto__Dimension *dim = mq_arena_alloc(arena, 1, sizeof *dim);
    if (!dim) {
      return false;
    }
    onnx__tensor_shape_proto__dimension__init(dim);
    if (from->dim[i] == MQ_DIM_BATCH) {
      dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
      dim->dim_param = (char *)(uintptr_t) "N";
    } else {
      dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
      dim->dim_value = from->dim[i];
    }
    shape->dim[i] = dim;
  }
  return shape->dim != NULL;
}

static Onnx__ValueInfoProto *make_info(struct mq_arena *arena, const struct mq_value *value) {
  Onnx__ValueInfoProto *info = mq_arena_alloc(arena, 1, sizeof *info);
  Onnx__TypeProto *type = mq_arena_alloc(arena, 1, sizeof *type);
  Onnx__TypeProto__Tensor *tensor = mq_arena_alloc(arena, 1, sizeof *tensor);
  Onnx__TensorShapeProto *shape = mq_arena_alloc(arena, 1, sizeof *shape);
  if (!info || !type || !tensor || !shape) {
    return NULL;
  }
  onnx__value_info_proto__init(info);
  onnx__type_proto__init(type);
  onnx__type_proto__tensor__init(tensor);
  onnx__tensor_shape_proto__init(shape);
  info->name = (char *)(uintptr_t)value->name;
  info->type = type;
  type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  type->tensor_type = tensor;
  tensor->has_elem_type = 1;
  tensor->elem_type = mq_onnx_type_of(value->dtype);
  tensor->shape = shape;
  return set_dims(shape, arena, &value->shape) ? info : NULL;
}

static mq_status write_infos(Onnx__ValueInfoProto ***infos, size_t *n, struct mq_onnx_writer *writer,
                             struct mq_value *const *values, size_t n_values, struct mq_err *err) {
  *n = n_values;
  *infos = mq_arena_alloc(&writer->arena, n_values + 1, sizeof **infos);
  for (size_t i = 0; *infos && i < n_values; i++) {
    (*infos)[i] = make_info(&writer->arena, values[i]);
    if (!(*infos)[i]) {
      return mq_fail_memory(err, "inputs and outputs of an ONNX model");
    }
  }
  return *infos ? MQ_OK : mq_fail_memory(err, "inputs and outputs of an ONNX model");
}

static mq_status build(struct mq_onnx_writer *writer, struct mq_err *err) {
  const struct mq_graph *graph = writer->graph;
  Onnx__GraphProto *proto = writer->proto;
  proto->name = (char *)(uintptr_t) "mqbench";
  mq_status status = write_infos(&proto->input, &proto->n_input, writer, graph->inputs, graph->n_inputs, err);
  if (status == MQ_OK) {
    status = write_infos(&proto->output, &proto->n_output, writer, graph->outputs, graph->n_outputs, err);
  }
  if (status == MQ_OK) {
    status = write_constants(writer, err);
  }
  for (size_t i = 0; i < graph->n_nodes && status == MQ_OK; i++) {
    if (graph->nodes[i]->op != MQ_OP_NONE) {
      status = mq_onnx_write_node(writer, graph->nodes[i], err);
    }
  }
  return status;
}

/* Our opset first, then those of the domains that the nodes came from. */
static size_t import_opsets(Onnx__OperatorSetIdProto *opset, Onnx__OperatorSetIdProto **opsets,
                            const struct mq_onnx_writer *writer) {
  for (size_t i = 0; i <= writer->n_domains; i++) {
    onnx__operator_set_id_proto__init(&opset[i]);
    opset[i].domain = (char *)(uintptr_t)(i ? writer->domains[i - 1] : "");
    opset[i].has_version = 1;
    opset[i].version = i ? 1 : writer->graph->opset;
    opsets[i] = &opset[i];
  }
  return writer->n_domains + 1;
}

static mq_status format(uint8_t **bytes, size_t *n, const struct mq_graph *graph, const char *name,
                        mq_onnx_packed_fn packed, void *context, struct mq_err *err) {
  *bytes = NULL;
  Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
  Onnx__GraphProto proto = ONNX__GRAPH_PROTO__INIT;
  Onnx__OperatorSetIdProto opset[1 + MQ_ONNX_MAX_DOMAINS], *opsets[1 + MQ_ONNX_MAX_DOMAINS];
  struct mq_onnx_writer writer = {
      .name = name, .graph = graph, .proto = &proto, .packed = packed, .packed_context = context};
  mq_arena_init(&writer.arena, 0);
  model.has_ir_version = 1;
  model.ir_version = ir_version(graph->opset);
  model.producer_name = (char *)(uintptr_t) "mqbench";
  model.producer_version = (char *)(uintptr_t)MQ_VERSION;
  model.opset_import = opsets;
  model.graph = &proto;
  mq_status status = build(&writer, err);
  model.n_opset_import = import_opsets(opset, opsets, &writer);
  *n = status == MQ_OK ? protobuf_c_message_get_packed_size(&model.base) : 0;
  if (status == MQ_OK && *n > INT32_MAX) {
    status = mq_fail(err, MQ_BAD_INPUT,
                     "%s: the model takes %zu bytes, expected at most 2147483647 (the limit of an ONNX file)",
                     name, *n);
  } else if (status == MQ_OK && !(*bytes = mq_alloc(*n, 1))) {
    status = mq_fail_memory(err, "ONNX model to write");
  }
  if (status == MQ_OK) {
    protobuf_c_message_pack(&model.base, *bytes);
  }
  mq_arena_deinit(&writer.arena);
  return status;
}

mq_status mq_onnx_format(uint8_t **bytes, size_t *n, const struct mq_graph *graph, const char *name,
                         struct mq_err *err) {
  return format(bytes, n, graph, name, NULL, NULL, err);
}

mq_status mq_onnx_write(const char *path, const struct mq_graph *graph, struct mq_err *err) {
  return mq_onnx_write_packed(path, graph, NULL, NULL, err);
}

mq_status mq_onnx_write_packed(const char *path, const struct mq_graph *graph, mq_onnx_packed_fn packed,
                               void *context, struct mq_err *err) {
  uint8_t *bytes;
  size_t n;
  mq_status status = format(&bytes, &n, graph, path, packed, context, err);
  if (status == MQ_OK) {
    status = mq_file_write(path, bytes, n, err);
  }
  mq_free(bytes);
  return status;
}
