/* ONNX nodes: constants, then operators with their inputs and outputs. */
#include <string.h>

#include "load/onnx.h"

#define LABEL_BYTES 600

/* "model.onnx: node 'conv1' (Conv)"; nodes without a name are counted. */
static void make_label(char label[LABEL_BYTES], const struct mq_onnx_reader *reader,
                       const Onnx__NodeProto *proto, size_t index) {
  const char *op = mq_onnx_text(proto->op_type), *name = mq_onnx_text(proto->name);
  if (*name) {
    snprintf(label, LABEL_BYTES, "%.250s: node '%.100s' (%.60s)", reader->name, name, op);
  } else {
    snprintf(label, LABEL_BYTES, "%.250s: node %zu (%.60s)", reader->name, index, op);
  }
}

static bool is_constant(const Onnx__NodeProto *proto) {
  const char *domain = mq_onnx_text(proto->domain);
  return strcmp(mq_onnx_text(proto->op_type), "Constant") == 0 &&
         (*domain == '\0' || strcmp(domain, "ai.onnx") == 0);
}

static mq_status add_floats(struct mq_onnx_reader *reader, const char *name, const float *floats, size_t n,
                            int rank, struct mq_err *err) {
  struct mq_value *value;
  struct mq_shape shape = {.rank = rank, .dim = {(int64_t)n}};
  float none = 0;
  struct mq_tensor view = mq_tensor_view((void *)(uintptr_t)(n ? floats : &none), MQ_F32, &shape, NULL);
  return mq_graph_add_constant(&value, reader->graph, name, &view, err);
}

static mq_status add_ints(struct mq_onnx_reader *reader, const char *name, const int64_t *ints, size_t n,
                          int rank, struct mq_err *err) {
  struct mq_value *value;
  struct mq_shape shape = {.rank = rank, .dim = {(int64_t)n}};
  int64_t none = 0;
  struct mq_tensor view = mq_tensor_view((void *)(uintptr_t)(n ? ints : &none), MQ_I64, &shape, NULL);
  mq_status status = mq_graph_add_constant(&value, reader->graph, name, &view, err);
  if (status == MQ_OK) {
    mq_onnx_avoid_batch(value->constant->data, n);
  }
  return status;
}

static mq_status add_constant(struct mq_onnx_reader *reader, const char *name, const Onnx__AttributeProto *a,
                              const char *label, struct mq_err *err) {
  const char *form = mq_onnx_text(a->name);
  if (strcmp(form, "value") == 0 && a->t) {
    return mq_onnx_add_tensor(reader, name, a->t, label, err);
  }
  if (strcmp(form, "value_float") == 0) {
    return add_floats(reader, name, &a->f, 1, 0, err);
  }
  if (strcmp(form, "value_floats") == 0) {
    return add_floats(reader, name, a->floats, a->n_floats, 1, err);
  }
  if (strcmp(form, "value_int") == 0) {
    return add_ints(reader, name, &a->i, 1, 0, err);
  }
  if (strcmp(form, "value_ints") == 0) {
    return add_ints(reader, name, a->ints, a->n_ints, 1, err);
  }
  return mq_fail(err, MQ_BAD_INPUT,
                 "%s: attribute '%.80s', expected value, value_float, value_floats, value_int or value_ints",
                 label, form);
}

static mq_status read_constant(struct mq_onnx_reader *reader, const Onnx__NodeProto *proto, size_t index,
                               struct mq_err *err) {
  char label[LABEL_BYTES];
  make_label(label, reader, proto, index);
  if (proto->n_output != 1 || *proto->output[0] == '\0' || proto->n_input != 0 || proto->n_attribute != 1) {
    return mq_fail(
        err, MQ_BAD_INPUT,
        "%s: %zu inputs, %zu outputs, %zu attributes, expected no input, 1 named output, 1 attribute", label,
        proto->n_input, proto->n_output, proto->n_attribute);
  }
  if (mq_graph_find_value(reader->graph, proto->output[0])) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: output '%.100s' is a graph input or constant already", label,
                   proto->output[0]);
  }
  return add_constant(reader, proto->output[0], proto->attribute[0], label, err);
}

static mq_status fail_unsupported(const Onnx__NodeProto *proto, const char *label, struct mq_err *err) {
  for (size_t i = 0; i < proto->n_attribute; i++) {
    int type = (int)mq_onnx_attribute_type(proto->attribute[i]);
    if (type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH ||
        type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPHS) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: attribute '%.80s' holds a subgraph, which is not supported",
                     label, mq_onnx_text(proto->attribute[i]->name));
    }
  }
  char list[768];
  size_t n = 0;
  for (mq_op op = MQ_OP_NONE + 1; op < MQ_OP_COUNT && n < sizeof list; op++) {
    if (mq_op_is_onnx(op)) {
      n += (size_t)snprintf(list + n, sizeof list - n, " %s", mq_op_get(op)->name);
    }
  }
  return mq_fail(err, MQ_BAD_INPUT, "%s: operator is not supported; supported:%s", label, list);
}

/* ONNX Runtime's own form of a quantized model: each operator takes integers and gives integers. */
static bool is_of_integers(const char *op) {
  return strncmp(op, "QLinear", 7) == 0 || strcmp(op, "QGemm") == 0 || strcmp(op, "ConvInteger") == 0 ||
         strcmp(op, "MatMulInteger") == 0 || strcmp(op, "DynamicQuantizeLinear") == 0;
}

/* ONNX Runtime writes the pair in its own domain for types that the model's opset does not have yet. */
static bool is_known_domain(const char *domain, const char *op) {
  bool is_pair = strcmp(op, "QuantizeLinear") == 0 || strcmp(op, "DequantizeLinear") == 0;
  return *domain == '\0' || strcmp(domain, "ai.onnx") == 0 ||
         (strcmp(domain, "com.microsoft") == 0 && is_pair);
}

static mq_status find_op(mq_op *op, const Onnx__NodeProto *proto, const char *label, struct mq_err *err) {
  const char *domain = mq_onnx_text(proto->domain);
  if (is_of_integers(mq_onnx_text(proto->op_type))) {
    return mq_fail(
        err, MQ_BAD_INPUT,
        "%s: an operator on integers (QOperator or dynamic quantization), expected float operators "
        "between QuantizeLinear and DequantizeLinear (ONNX Runtime: QuantFormat.QDQ)",
        label);
  }
  if (!is_known_domain(domain, mq_onnx_text(proto->op_type))) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: operator of domain '%.80s', expected one of ONNX's own (ai.onnx)",
                   label, domain);
  }
  *op = mq_op_find(mq_onnx_text(proto->op_type));
  return *op == MQ_OP_NONE || !mq_op_is_onnx(*op) ? fail_unsupported(proto, label, err) : MQ_OK;
}

/* Names behind a node's inputs or outputs without the empty ones at the end. */
static int trimmed(char **names, size_t n) {
  while (n > 0 && *names[n - 1] == '\0') {
    n--;
  }
  return (int)n;
}

static mq_status check_arity(const Onnx__NodeProto *proto, mq_op op, int n_inputs, int n_outputs,
                             const char *label, struct mq_err *err) {
  const struct mq_op_traits *traits = mq_op_get(op);
  if (n_inputs < traits->min_inputs || (traits->max_inputs >= 0 && n_inputs > traits->max_inputs)) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %d inputs, expected %d to %d", label, n_inputs, traits->min_inputs,
                   traits->max_inputs < 0 ? INT32_MAX : traits->max_inputs);
  }
  if (n_outputs < 1 || (traits->n_outputs >= 0 && n_outputs > traits->n_outputs)) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %d outputs, expected 1 to %d", label, n_outputs,
                   traits->n_outputs < 0 ? INT32_MAX : traits->n_outputs);
  }
  for (int i = 0; i < traits->min_inputs; i++) {
    if (*proto->input[i] == '\0') {
      return mq_fail(err, MQ_BAD_INPUT, "%s: input %d is left out, expected the first %d to be there", label,
                     i, traits->min_inputs);
    }
  }
  return MQ_OK;
}

/* The values of these names, added as unknown where they are new (their node may come later in the file). */
static mq_status find_values(struct mq_value **values, struct mq_graph *graph, char **names, int n,
                             struct mq_err *err) {
  mq_status status = MQ_OK;
  for (int i = 0; i < n && status == MQ_OK; i++) {
    values[i] = *names[i] ? mq_graph_find_value(graph, names[i]) : NULL;
    if (!values[i] && *names[i]) {
      status = mq_graph_add_value(&values[i], graph, names[i], 0, NULL, err);
    }
  }
  return status;
}

/* Before opset 9 a BatchNormalization could keep statistics per activation; nobody exports that. */
static mq_status check_batch_norm(const struct mq_node *node, const char *label, struct mq_err *err) {
  int64_t spatial = 1;
  mq_status status = MQ_OK;
  if (node->op == MQ_OP_BatchNormalization) {
    status = mq_node_get_int(&spatial, node, "spatial", 1, err);
  }
  return status == MQ_OK && spatial != 1
             ? mq_fail(err, MQ_BAD_INPUT, "%s: spatial is %d, expected 1", label, (int)spatial)
             : status;
}

static mq_status read_node(struct mq_onnx_reader *reader, const Onnx__NodeProto *proto, size_t index,
                           struct mq_err *err) {
  char label[LABEL_BYTES], made_up[96];
  make_label(label, reader, proto, index);
  mq_op op = MQ_OP_NONE;
  mq_status status = find_op(&op, proto, label, err);
  if (status != MQ_OK) {
    return status;
  }
  int n_inputs = trimmed(proto->input, proto->n_input), n_outputs = trimmed(proto->output, proto->n_output);
  if ((status = check_arity(proto, op, n_inputs, n_outputs, label, err)) != MQ_OK) {
    return status;
  }
  struct mq_value **values = mq_alloc((size_t)(n_inputs + n_outputs), sizeof *values);
  if (!values) {
    return mq_fail_memory(err, "inputs of a node");
  }
  const char *name = mq_onnx_text(proto->name);
  if (*name == '\0') {
    snprintf(made_up, sizeof made_up, "%s_%zu", mq_op_get(op)->name, index);
    name = made_up;
  }
  struct mq_node *node = NULL;
  status = find_values(values, reader->graph, proto->input, n_inputs, err);
  if (status == MQ_OK) {
    status = find_values(values + n_inputs, reader->graph, proto->output, n_outputs, err);
  }
  if (status == MQ_OK) {
    status = mq_graph_add_node(&node, reader->graph, op, name, values, n_inputs, values + n_inputs, n_outputs,
                               err);
  }
  mq_free(values);
  if (status == MQ_OK) {
    status = mq_onnx_read_attributes(reader, node, proto, label, err);
  }
  return status == MQ_OK ? check_batch_norm(node, label, err) : status;
}

static bool is_sum(const Onnx__NodeProto *proto) {
  const char *domain = mq_onnx_text(proto->domain);
  return strcmp(mq_onnx_text(proto->op_type), "Sum") == 0 &&
         (*domain == '\0' || strcmp(domain, "ai.onnx") == 0);
}

static mq_status check_sum(const Onnx__NodeProto *proto, const char *label, struct mq_err *err) {
  bool has_all = proto->n_input > 0 && proto->n_output == 1 && *proto->output[0] && proto->n_attribute == 0;
  for (size_t i = 0; i < proto->n_input; i++) {
    has_all = has_all && *proto->input[i];
  }
  return has_all ? MQ_OK
                 : mq_fail(err, MQ_BAD_INPUT,
                           "%s: %zu inputs, %zu outputs, %zu attributes, expected 1 input or more, none left "
                           "out, 1 output and no attribute",
                           label, proto->n_input, proto->n_output, proto->n_attribute);
}

/* ((a + b) + c) + ... as Adds in the order of the inputs; the last one bears the name of the Sum. */
static mq_status add_up(struct mq_graph *graph, const char *name, struct mq_value *const *terms, int n,
                        struct mq_value *output, struct mq_err *err) {
  struct mq_value *pair[2] = {terms[0], NULL}, *sum = NULL;
  struct mq_node *node = NULL;
  mq_status status = MQ_OK;
  for (int i = 1; i < n && status == MQ_OK; i++) {
    bool is_last = i == n - 1;
    char partial[120];
    snprintf(partial, sizeof partial, "%.80s/%d", name, i);
    pair[1] = terms[i];
    sum = output;
    if (!is_last) {
      status = mq_graph_add_value(&sum, graph, partial, 0, NULL, err);
    }
    if (status == MQ_OK) {
      status = mq_graph_add_node(&node, graph, MQ_OP_Add, is_last ? name : partial, pair, 2, &sum, 1, err);
    }
    pair[0] = sum;
  }
  return n > 1 ? status : mq_graph_add_node(&node, graph, MQ_OP_Identity, name, pair, 1, &output, 1, err);
}

/* Caffe2 and others write a residual add as a Sum of two. */
static mq_status read_sum(struct mq_onnx_reader *reader, const Onnx__NodeProto *proto, size_t index,
                          struct mq_err *err) {
  char label[LABEL_BYTES], name[120];
  make_label(label, reader, proto, index);
  mq_status status = check_sum(proto, label, err);
  if (status != MQ_OK) {
    return status;
  }
  if (*mq_onnx_text(proto->name)) {
    snprintf(name, sizeof name, "%.100s", proto->name);
  } else {
    snprintf(name, sizeof name, "Sum_%zu", index);
  }
  struct mq_value **values = mq_alloc(proto->n_input + 1, sizeof *values);
  if (!values) {
    return mq_fail_memory(err, "inputs of a node");
  }
  status = find_values(values, reader->graph, proto->input, (int)proto->n_input, err);
  if (status == MQ_OK) {
    status = find_values(values + proto->n_input, reader->graph, proto->output, 1, err);
  }
  if (status == MQ_OK) {
    status = add_up(reader->graph, name, values, (int)proto->n_input, values[proto->n_input], err);
  }
  mq_free(values);
  return status;
}

static mq_status check_producers(const struct mq_onnx_reader *reader, struct mq_err *err) {
  for (size_t i = 0; i < reader->graph->n_values; i++) {
    const struct mq_value *value = reader->graph->values[i];
    if (value->n_uses > 0 && !value->producer && !value->constant && !value->is_input) {
      return mq_fail(err, MQ_BAD_INPUT,
                     "%s: node '%.100s' reads '%.100s', which no node, input or initializer provides",
                     reader->name, value->uses[0].node->name, value->name);
    }
  }
  return MQ_OK;
}

mq_status mq_onnx_read_nodes(struct mq_onnx_reader *reader, const Onnx__GraphProto *proto,
                             struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < proto->n_node && status == MQ_OK; i++) {
    if (is_constant(proto->node[i])) {
      status = read_constant(reader, proto->node[i], i, err);
    }
  }
  for (size_t i = 0; i < proto->n_node && status == MQ_OK; i++) {
    if (is_sum(proto->node[i])) {
      status = read_sum(reader, proto->node[i], i, err);
    } else if (!is_constant(proto->node[i])) {
      status = read_node(reader, proto->node[i], i, err);
    }
  }
  return status == MQ_OK ? check_producers(reader, err) : status;
}
