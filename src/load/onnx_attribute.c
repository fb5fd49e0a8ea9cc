/* Attributes of ONNX nodes. */
#include <string.h>

#include "load/onnx.h"
#include "load/tensor_proto.h"

/* What each operator may carry, all versions from opset 7 on. An attribute that is not listed changes the
 * operator's meaning in a way nothing behind the reader knows, so it is refused. */
static const char *const known_attributes[MQ_OP_COUNT] = {
    [MQ_OP_AveragePool] = "auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides",
    [MQ_OP_BatchNormalization] = "epsilon momentum spatial training_mode",
    [MQ_OP_Cast] = "round_mode saturate to",
    [MQ_OP_Clip] = "max min",
    [MQ_OP_Concat] = "axis",
    [MQ_OP_ConstantOfShape] = "value",
    [MQ_OP_Conv] = "auto_pad dilations group kernel_shape pads strides",
    [MQ_OP_ConvTranspose] = "auto_pad dilations group kernel_shape output_padding output_shape pads strides",
    [MQ_OP_DequantizeLinear] = "axis block_size output_dtype",
    [MQ_OP_Dropout] = "ratio seed",
    [MQ_OP_Flatten] = "axis",
    [MQ_OP_Gather] = "axis",
    [MQ_OP_Gemm] = "alpha beta transA transB",
    [MQ_OP_HardSigmoid] = "alpha beta",
    [MQ_OP_LeakyRelu] = "alpha",
    [MQ_OP_LogSoftmax] = "axis",
    [MQ_OP_MaxPool] = "auto_pad ceil_mode dilations kernel_shape pads storage_order strides",
    [MQ_OP_Mod] = "fmod",
    [MQ_OP_Pad] = "mode pads value",
    [MQ_OP_QuantizeLinear] = "axis block_size output_dtype precision saturate",
    [MQ_OP_ReduceMean] = "axes keepdims noop_with_empty_axes",
    [MQ_OP_ReduceProd] = "axes keepdims noop_with_empty_axes",
    [MQ_OP_Reshape] = "allowzero",
    [MQ_OP_Resize] =
        "antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside "
        "extrapolation_value keep_aspect_ratio_policy mode nearest_mode",
    [MQ_OP_Shape] = "end start",
    [MQ_OP_Slice] = "axes ends starts",
    [MQ_OP_Softmax] = "axis",
    [MQ_OP_Split] = "axis num_outputs split",
    [MQ_OP_Squeeze] = "axes",
    [MQ_OP_Transpose] = "perm",
    [MQ_OP_Unsqueeze] = "axes",
};

static const char *const kinds[] = {
    [1] = "a float",    [2] = "an int",           [3] = "a string",
    [4] = "a tensor",   [5] = "a subgraph",       [6] = "floats",
    [7] = "ints",       [8] = "strings",          [9] = "tensors",
    [10] = "subgraphs", [11] = "a sparse tensor", [12] = "sparse tensors",
    [13] = "a type",    [14] = "types",
};

static bool has_word(const char *words, const char *word) {
  size_t n = strlen(word);
  for (const char *at = words; at && n > 0 && (at = strstr(at, word)); at += n) {
    if ((at == words || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')) {
      return true;
    }
  }
  return false;
}

Onnx__AttributeProto__AttributeType mq_onnx_attribute_type(const Onnx__AttributeProto *attribute) {
  if (attribute->has_type && attribute->type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED) {
    return attribute->type;
  }
  if (attribute->g || attribute->n_graphs) {
    return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
  }
  return attribute->has_f      ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT
         : attribute->has_i    ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT
         : attribute->has_s    ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING
         : attribute->t        ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR
         : attribute->n_floats ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS
                               : ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
}

static mq_status set_string(struct mq_graph *graph, struct mq_node *node, const char *name,
                            const ProtobufCBinaryData *s, const char *label, struct mq_err *err) {
  char text[64]; /* auto_pad, mode, ...: words of the standard */
  if (s->len >= sizeof text || memchr(s->data ? s->data : (const uint8_t *)"", 0, s->len)) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: attribute '%.80s' is text of %zu bytes, expected a word", label,
                   name, s->len);
  }
  if (s->len > 0) {
    memcpy(text, s->data, s->len);
  }
  text[s->len] = '\0';
  return mq_node_set_string(graph, node, name, text, err);
}

static mq_status set_tensor(struct mq_onnx_reader *reader, struct mq_node *node, const char *name,
                            const Onnx__TensorProto *proto, const char *label, struct mq_err *err) {
  char what[700];
  snprintf(what, sizeof what, "%s: attribute '%.80s'", label, name);
  if (!proto) {
    return mq_fail(err, MQ_BAD_INPUT, "%s is empty, expected a tensor", what);
  }
  struct mq_tensor tensor = {0};
  mq_status status = mq_onnx_tensor_get(&tensor, proto, true, what, &reader->external, err);
  if (status == MQ_OK) {
    status = mq_node_set_tensor(reader->graph, node, name, &tensor, err);
  }
  mq_tensor_deinit(&tensor);
  return status;
}

/* Values that are float16, bfloat16 or double in the file are float32 in the graph; so are casts to them. */
static int64_t widen_cast(const struct mq_node *node, const char *name, int64_t i) {
  bool is_float = i == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 || i == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE ||
                  i == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16;
  return node->op == MQ_OP_Cast && strcmp(name, "to") == 0 && is_float ? ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT
                                                                       : i;
}

static mq_status read_attribute(struct mq_onnx_reader *reader, struct mq_node *node,
                                const Onnx__AttributeProto *a, const char *label, struct mq_err *err) {
  struct mq_graph *graph = reader->graph;
  const char *name = mq_onnx_text(a->name);
  int type = (int)mq_onnx_attribute_type(a);
  switch (type) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
      return mq_node_set_float(graph, node, name, a->f, err);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
      return mq_node_set_int(graph, node, name, widen_cast(node, name, a->i), err);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
      return set_string(graph, node, name, &a->s, label, err);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
      return set_tensor(reader, node, name, a->t, label, err);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
      return mq_node_set_floats(graph, node, name, a->floats, a->n_floats, err);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
      mq_onnx_avoid_batch(a->ints, a->n_ints);
      return mq_node_set_ints(graph, node, name, a->ints, a->n_ints, err);
    default:
      return mq_fail(err, MQ_BAD_INPUT,
                     "%s: attribute '%.80s' holds %s, expected numbers, a word or a tensor", label, name,
                     type > 0 && type <= 14 ? kinds[type] : "an unknown type");
  }
}

mq_status mq_onnx_read_attributes(struct mq_onnx_reader *reader, struct mq_node *node,
                                  const Onnx__NodeProto *proto, const char *label, struct mq_err *err) {
  const char *known = known_attributes[node->op];
  mq_status status = MQ_OK;
  for (size_t i = 0; i < proto->n_attribute && status == MQ_OK; i++) {
    const Onnx__AttributeProto *a = proto->attribute[i];
    const char *name = mq_onnx_text(a->name);
    if (!has_word(known, name)) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: unknown attribute '%.80s', expected %s%s", label, name,
                     known ? "one of: " : "none", known ? known : "");
    }
    if (mq_node_find_attr(node, name)) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: attribute '%.80s' is given twice", label, name);
    }
    if (a->ref_attr_name && *a->ref_attr_name) {
      return mq_fail(err, MQ_BAD_INPUT,
                     "%s: attribute '%.80s' refers to a function's '%.80s', expected a value", label, name,
                     a->ref_attr_name);
    }
    status = read_attribute(reader, node, a, label, err);
  }
  return status;
}
