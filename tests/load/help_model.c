/* Models built in memory; graphs compared. */
#include "help_model.h"

#include <dirent.h>

static void set_node(Onnx__NodeProto *node, char *name, char *op, char **inputs, size_t n_inputs,
                     char **outputs) {
  onnx__node_proto__init(node);
  node->name = name;
  node->op_type = op;
  node->n_input = n_inputs;
  node->input = inputs;
  node->n_output = 1;
  node->output = outputs;
}

static void set_tensor(Onnx__TensorProto *tensor, char *name, int64_t *dims, size_t n_dims, float *data,
                       size_t n) {
  onnx__tensor_proto__init(tensor);
  tensor->name = name;
  tensor->n_dims = n_dims;
  tensor->dims = dims;
  tensor->has_data_type = 1;
  tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  tensor->has_raw_data = 1;
  tensor->raw_data = (ProtobufCBinaryData){.len = n * sizeof *data, .data = (uint8_t *)data};
}

static void set_info(Onnx__ValueInfoProto *info, char *name, Onnx__TypeProto *type,
                     Onnx__TypeProto__Tensor *tensor) {
  onnx__value_info_proto__init(info);
  onnx__type_proto__init(type);
  onnx__type_proto__tensor__init(tensor);
  info->name = name;
  info->type = type;
  type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  type->tensor_type = tensor;
  tensor->has_elem_type = 1;
  tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
}

static void set_x_shape(struct help_model *m) {
  static const int64_t dims[4] = {0, 3, 4, 4};
  onnx__tensor_shape_proto__init(&m->x_shape);
  for (int i = 0; i < 4; i++) {
    onnx__tensor_shape_proto__dimension__init(&m->x_dims[i]);
    m->x_dim_list[i] = &m->x_dims[i];
    m->x_dims[i].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    m->x_dims[i].dim_value = dims[i];
  }
  m->x_dims[0].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
  m->x_dims[0].dim_param = "batch";
  m->x_shape.n_dim = 4;
  m->x_shape.dim = m->x_dim_list;
  m->x_tensor.shape = &m->x_shape;
}

static void set_graph(struct help_model *m) {
  onnx__graph_proto__init(&m->graph);
  m->graph.name = "small";
  m->nodes[0] = &m->conv;
  m->nodes[1] = &m->relu;
  m->nodes[2] = &m->extra;
  m->graph.n_node = 2;
  m->graph.node = m->nodes;
  m->tensors[0] = &m->w;
  m->tensors[1] = &m->b;
  m->graph.n_initializer = 2;
  m->graph.initializer = m->tensors;
  m->inputs[0] = &m->x;
  m->graph.n_input = 1;
  m->graph.input = m->inputs;
  m->outputs[0] = &m->y;
  m->graph.n_output = 1;
  m->graph.output = m->outputs;
}

void help_model_init(struct help_model *m) {
  memset(m, 0, sizeof *m);
  m->conv_inputs[0] = "x";
  m->conv_inputs[1] = "w";
  m->conv_inputs[2] = "b";
  m->conv_outputs[0] = m->relu_inputs[0] = "c";
  m->relu_outputs[0] = m->extra_inputs[0] = "y";
  m->extra_outputs[0] = "z";
  set_node(&m->conv, "conv", "Conv", m->conv_inputs, 3, m->conv_outputs);
  set_node(&m->relu, "relu", "Relu", m->relu_inputs, 1, m->relu_outputs);
  set_node(&m->extra, "extra", "Relu", m->extra_inputs, 1, m->extra_outputs);
  m->w_dims[0] = m->b_dims[0] = 2;
  m->w_dims[1] = 3;
  m->w_dims[2] = m->w_dims[3] = 1;
  for (int i = 0; i < 6; i++) {
    m->w_data[i] = (float)i - 2.5f;
  }
  set_tensor(&m->w, "w", m->w_dims, 4, m->w_data, 6);
  set_tensor(&m->b, "b", m->b_dims, 1, m->b_data, 2);
  set_info(&m->x, "x", &m->x_type, &m->x_tensor);
  set_info(&m->y, "y", &m->y_type, &m->y_tensor);
  set_x_shape(m);
  set_graph(m);
  onnx__attribute_proto__init(&m->attribute);
  m->attributes[0] = &m->attribute;
  onnx__operator_set_id_proto__init(&m->opset);
  m->opset.has_version = 1;
  m->opset.version = 13;
  m->opsets[0] = &m->opset;
  onnx__model_proto__init(&m->model);
  m->model.has_ir_version = 1;
  m->model.ir_version = 8;
  m->model.n_opset_import = 1;
  m->model.opset_import = m->opsets;
  m->model.graph = &m->graph;
}

uint8_t *help_model_pack(size_t *n, const struct help_model *model) {
  *n = onnx__model_proto__get_packed_size(&model->model);
  uint8_t *bytes = malloc(*n);
  assert_non_null(bytes);
  onnx__model_proto__pack(&model->model, bytes);
  return bytes;
}

mq_status help_model_parse(struct mq_graph **graph, const struct help_model *model, struct mq_err *err) {
  size_t n;
  uint8_t *bytes = help_model_pack(&n, model);
  mq_status status = mq_onnx_parse(graph, bytes, n, "m.onnx", NULL, NULL, err);
  free(bytes);
  return status;
}

const char *help_path(const char *name, const char *extension) {
  static char paths[2][1024];
  static int turn;
  turn = !turn;
  snprintf(paths[turn], sizeof paths[turn], "%s/load/models/%s.%s", MQ_TESTS_DIRECTORY, name, extension);
  return paths[turn];
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

size_t help_names(char ***names) {
  DIR *folder = opendir(MQ_TESTS_DIRECTORY "/load/models");
  assert_non_null(folder);
  size_t n = 0;
  *names = calloc(256, sizeof **names + 64);
  assert_non_null(*names);
  char(*texts)[64] = (char(*)[64])(*names + 256);
  for (struct dirent *entry = readdir(folder); entry && n < 256; entry = readdir(folder)) {
    const char *end = strstr(entry->d_name, ".onnx");
    if (end && end[5] == '\0') {
      snprintf(texts[n], sizeof texts[n], "%.*s", (int)(end - entry->d_name), entry->d_name);
      (*names)[n] = texts[n];
      n++;
    }
  }
  closedir(folder);
  qsort(*names, n, sizeof **names, compare_names);
  return n;
}

void help_read_file(uint8_t **bytes, size_t *n, const char *path) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  fseek(file, 0, SEEK_END);
  *n = (size_t)ftell(file);
  rewind(file);
  *bytes = malloc(*n + 1);
  assert_non_null(*bytes);
  assert_int_equal(fread(*bytes, 1, *n, file), *n);
  fclose(file);
}

static void assert_tensors_equal(const struct mq_value *a, const struct mq_value *b) {
  const int64_t *x = a->constant->data, *y = b->constant->data;
  int64_t n = mq_shape_count(&a->shape);
  if (a->dtype != MQ_I64) {
    assert_memory_equal(x, y, (size_t)n * mq_dtype_get(a->dtype)->bytes);
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    bool is_batch = x[i] == MQ_DIM_BATCH && (y[i] == 0 || y[i] == -1);
    if (x[i] != y[i] && !is_batch) {
      fail_msg("constant '%s' differs", a->name);
    }
  }
}

static void assert_values_equal(const struct mq_value *a, const struct mq_value *b) {
  assert_true(!a == !b);
  if (!a) {
    return;
  }
  assert_string_equal(a->name, b->name);
  assert_int_equal(a->dtype, b->dtype);
  assert_true(mq_shape_equal(&a->shape, &b->shape));
  assert_int_equal(a->is_input, b->is_input);
  assert_int_equal(a->is_output, b->is_output);
  assert_true(!a->constant == !b->constant);
  if (a->constant) {
    assert_tensors_equal(a, b);
  }
}

static void assert_attributes_equal(const struct mq_node *a, const struct mq_node *b) {
  assert_int_equal(a->n_attrs, b->n_attrs);
  for (size_t i = 0; i < a->n_attrs; i++) {
    const struct mq_attr *x = &a->attrs[i], *y = &b->attrs[i];
    assert_string_equal(x->name, y->name);
    assert_int_equal(x->kind, y->kind);
    switch (x->kind) {
      case MQ_ATTR_INT:
        assert_int_equal(x->as.i, y->as.i);
        break;
      case MQ_ATTR_FLOAT:
        assert_memory_equal(&x->as.f, &y->as.f, sizeof x->as.f);
        break;
      case MQ_ATTR_STRING:
        assert_string_equal(x->as.s, y->as.s);
        break;
      case MQ_ATTR_INTS:
        assert_int_equal(x->n, y->n);
        assert_memory_equal(x->as.ints, y->as.ints, x->n * sizeof(int64_t));
        break;
      case MQ_ATTR_FLOATS:
        assert_int_equal(x->n, y->n);
        assert_memory_equal(x->as.floats, y->as.floats, x->n * sizeof(float));
        break;
      case MQ_ATTR_TENSOR:
        assert_true(mq_shape_equal(&x->as.tensor->shape, &y->as.tensor->shape));
        break;
    }
  }
}

void assert_graphs_equal(const struct mq_graph *a, const struct mq_graph *b) {
  assert_int_equal(a->opset, b->opset);
  assert_int_equal(a->n_nodes, b->n_nodes);
  assert_int_equal(a->n_values, b->n_values);
  assert_int_equal(a->n_inputs, b->n_inputs);
  assert_int_equal(a->n_outputs, b->n_outputs);
  for (size_t i = 0; i < a->n_inputs; i++) {
    assert_values_equal(a->inputs[i], b->inputs[i]);
  }
  for (size_t i = 0; i < a->n_outputs; i++) {
    assert_values_equal(a->outputs[i], b->outputs[i]);
  }
  for (size_t i = 0; i < a->n_nodes; i++) {
    const struct mq_node *x = a->nodes[i], *y = b->nodes[i];
    assert_int_equal(x->op, y->op);
    assert_string_equal(x->name, y->name);
    assert_int_equal(x->n_inputs, y->n_inputs);
    assert_int_equal(x->n_outputs, y->n_outputs);
    for (int j = 0; j < x->n_inputs; j++) {
      assert_values_equal(x->inputs[j], y->inputs[j]);
    }
    for (int j = 0; j < x->n_outputs; j++) {
      assert_values_equal(x->outputs[j], y->outputs[j]);
    }
    assert_attributes_equal(x, y);
  }
}
