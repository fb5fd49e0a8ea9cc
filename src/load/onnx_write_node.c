/* Nodes and attributes of a written model. */
#include <string.h>

#include "load/onnx_write.h"

static char empty[] = "";

mq_status mq_onnx_new_node(Onnx__NodeProto **node, struct mq_onnx_writer *writer, const char *op_type,
                           const char *name, size_t n_inputs, size_t n_outputs, struct mq_err *err) {
  Onnx__NodeProto *n = mq_arena_alloc(&writer->arena, 1, sizeof *n);
  char **names = mq_arena_alloc(&writer->arena, n_inputs + n_outputs + 1, sizeof *names);
  if (!n || !names) {
    return mq_fail_memory(err, "node of an ONNX model");
  }
  onnx__node_proto__init(n);
  for (size_t i = 0; i < n_inputs + n_outputs; i++) {
    names[i] = empty;
  }
  n->op_type = (char *)(uintptr_t)op_type;
  n->name = (char *)(uintptr_t)name;
  n->n_input = n_inputs;
  n->input = names;
  n->n_output = n_outputs;
  n->output = names + n_inputs;
  *node = n;
  return MQ_OK;
}

static mq_status write_attribute(Onnx__AttributeProto *a, struct mq_onnx_writer *writer,
                                 const struct mq_attr *attr, struct mq_err *err) {
  onnx__attribute_proto__init(a);
  a->name = (char *)(uintptr_t)attr->name;
  a->has_type = 1;
  switch (attr->kind) {
    case MQ_ATTR_INT:
      a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
      a->has_i = 1;
      a->i = attr->as.i;
      return MQ_OK;
    case MQ_ATTR_FLOAT:
      a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
      a->has_f = 1;
      a->f = attr->as.f;
      return MQ_OK;
    case MQ_ATTR_STRING:
      a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
      a->has_s = 1;
      a->s = (ProtobufCBinaryData){.len = strlen(attr->as.s), .data = (uint8_t *)(uintptr_t)attr->as.s};
      return MQ_OK;
    case MQ_ATTR_INTS:
      a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
      a->n_ints = attr->n;
      a->ints = (int64_t *)(uintptr_t)attr->as.ints;
      return MQ_OK;
    case MQ_ATTR_FLOATS:
      a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS;
      a->n_floats = attr->n;
      a->floats = (float *)(uintptr_t)attr->as.floats;
      return MQ_OK;
    case MQ_ATTR_TENSOR:
      a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
      return mq_onnx_new_tensor(&a->t, writer, NULL, attr->as.tensor, err);
  }
  return MQ_OK;
}

static bool names_foreign(const struct mq_node *node, const struct mq_attr *attr) {
  return node->op == MQ_OP_Foreign &&
         (!strcmp(attr->name, MQ_ONNX_OP) || !strcmp(attr->name, MQ_ONNX_DOMAIN));
}

static mq_status write_attributes(Onnx__NodeProto *n, struct mq_onnx_writer *writer,
                                  const struct mq_node *node, struct mq_err *err) {
  n->n_attribute = 0;
  n->attribute = mq_arena_alloc(&writer->arena, node->n_attrs + 1, sizeof *n->attribute);
  Onnx__AttributeProto *attributes = mq_arena_alloc(&writer->arena, node->n_attrs + 1, sizeof *attributes);
  if (!n->attribute || !attributes) {
    return mq_fail_memory(err, "attributes of an ONNX model");
  }
  mq_status status = MQ_OK;
  for (size_t i = 0; i < node->n_attrs && status == MQ_OK; i++) {
    if (!names_foreign(node, &node->attrs[i])) {
      n->attribute[n->n_attribute++] = &attributes[i];
      status = write_attribute(&attributes[i], writer, &node->attrs[i], err);
    }
  }
  return status;
}

static mq_status note_domain(struct mq_onnx_writer *writer, const char *domain, const struct mq_node *node,
                             struct mq_err *err) {
  for (size_t i = 0; i < writer->n_domains; i++) {
    if (!strcmp(writer->domains[i], domain)) {
      return MQ_OK;
    }
  }
  if (writer->n_domains == MQ_ONNX_MAX_DOMAINS) {
    return mq_fail(err, MQ_BAD_USAGE, "%s: node '%.100s': more than %d domains", writer->name, node->name,
                   MQ_ONNX_MAX_DOMAINS);
  }
  writer->domains[writer->n_domains++] = domain;
  return MQ_OK;
}

/* The operator's name and domain; NULL: ONNX's own. */
static mq_status find_operator(const char **op_type, const char **domain, struct mq_onnx_writer *writer,
                               const struct mq_node *node, struct mq_err *err) {
  *op_type = mq_op_get(node->op)->name;
  *domain = NULL;
  if (node->op != MQ_OP_Foreign) {
    return MQ_OK;
  }
  mq_status status = mq_node_get_string(op_type, node, MQ_ONNX_OP, "", err);
  if (status == MQ_OK) {
    status = mq_node_get_string(domain, node, MQ_ONNX_DOMAIN, "", err);
  }
  return status == MQ_OK && **domain ? note_domain(writer, *domain, node, err) : status;
}

mq_status mq_onnx_write_node(struct mq_onnx_writer *writer, const struct mq_node *node, struct mq_err *err) {
  if (!mq_op_is_onnx(node->op) && node->op != MQ_OP_Foreign) {
    return mq_fail(err, MQ_BAD_USAGE,
                   "%s: node '%.100s' (%s) has no ONNX form; an exporter must replace it first", writer->name,
                   node->name, mq_op_get(node->op)->name);
  }
  Onnx__NodeProto *n;
  const char *op_type, *domain;
  mq_status status = find_operator(&op_type, &domain, writer, node, err);
  if (status == MQ_OK) {
    status = mq_onnx_new_node(&n, writer, op_type, node->name, (size_t)node->n_inputs,
                              (size_t)node->n_outputs, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  n->domain = domain ? (char *)(uintptr_t)domain : n->domain;
  for (int i = 0; i < node->n_inputs; i++) {
    n->input[i] = node->inputs[i] ? (char *)(uintptr_t)node->inputs[i]->name : empty;
  }
  for (int i = 0; i < node->n_outputs; i++) {
    n->output[i] = node->outputs[i] ? (char *)(uintptr_t)node->outputs[i]->name : empty;
  }
  status = write_attributes(n, writer, node, err);
  return status == MQ_OK ? mq_onnx_append_node(writer, n, err) : status;
}
