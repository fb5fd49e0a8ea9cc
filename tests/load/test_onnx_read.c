/* Reading models in all the forms of tests/load/models. */
#include <math.h>

#include "help_model.h"

static struct mq_graph *load(const char *name) {
  struct mq_err err = {0};
  struct mq_graph *graph;
  assert_ok(mq_onnx_read(&graph, help_path(name, "onnx"), NULL, &err));
  return graph;
}

static const struct mq_tensor *constant_of(const struct mq_graph *graph, const char *name) {
  const struct mq_value *value = mq_graph_find_value(graph, name);
  assert_non_null(value);
  assert_non_null(value->constant);
  return value->constant;
}

static void every_model_loads_without_shape_computations(void **state) {
  (void)state;
  char **names;
  size_t n = help_names(&names);
  assert_true(n > 30);
  for (size_t i = 0; i < n; i++) {
    if (strncmp(names[i], "bad_", 4) == 0) {
      continue;
    }
    struct mq_graph *graph = load(names[i]);
    assert_int_equal(graph->n_inputs, 1);
    assert_int_equal(graph->n_outputs, 1);
    assert_true(graph->inputs[0]->shape.dim[0] == MQ_DIM_BATCH);
    assert_true(graph->outputs[0]->shape.dim[0] == MQ_DIM_BATCH);
    for (size_t j = 0; j < graph->n_nodes; j++) {
      assert_int_not_equal(mq_op_get(graph->nodes[j]->op)->kind, MQ_KIND_SHAPE);
    }
    for (size_t j = 0; j < graph->n_values; j++) {
      mq_dtype dtype = graph->values[j]->dtype;
      assert_true(dtype != MQ_F16 && dtype != MQ_BF16 && dtype != MQ_F64);
    }
    mq_graph_destroy(graph);
  }
  free(names);
}

static void weights_are_the_same_in_every_storage(void **state) {
  (void)state;
  struct mq_graph *inside = load("node_names"), *outside = load("external_data");
  struct mq_graph *halves = load("float16_graph"), *typed = load("typed_fields_ir3");
  struct mq_graph *casts = load("float16_weights_cast");
  static const char *const names[] = {"w1", "b1", "w2", "b2"};
  for (int i = 0; i < 4; i++) {
    const struct mq_tensor *exact = constant_of(inside, names[i]), *external = constant_of(outside, names[i]);
    assert_memory_equal(exact->data, external->data, (size_t)mq_shape_count(&exact->shape) * sizeof(float));
    for (int64_t j = 0; j < mq_shape_count(&exact->shape); j++) {
      double x = mq_tensor_get_double(exact, j);
      assert_true(fabs(mq_tensor_get_double(constant_of(halves, names[i]), j) - x) <= fabs(x) / 2048 + 1e-7);
      assert_true(fabs(mq_tensor_get_double(constant_of(casts, names[i]), j) - x) <= fabs(x) / 2048 + 1e-7);
      assert_true(fabs(mq_tensor_get_double(constant_of(typed, names[i]), j) - x) <= fabs(x) / 128);
    }
  }
  mq_graph_destroy(inside);
  mq_graph_destroy(outside);
  mq_graph_destroy(halves);
  mq_graph_destroy(typed);
  mq_graph_destroy(casts);
}

static void float_casts_become_identities(void **state) {
  (void)state;
  struct mq_graph *graph = load("float16_graph");
  assert_int_equal(graph->nodes[0]->op, MQ_OP_Identity);
  assert_int_equal(graph->nodes[0]->n_attrs, 0);
  mq_graph_destroy(graph);
}

static void initializers_listed_as_inputs_are_not_inputs(void **state) {
  (void)state;
  struct mq_graph *graph = load("typed_fields_ir3");
  assert_int_equal(graph->n_inputs, 1);
  assert_string_equal(graph->inputs[0]->name, "input");
  mq_graph_destroy(graph);
}

static void missing_names_are_made_and_repeated_ones_told_apart(void **state) {
  (void)state;
  static const char *const expected[] = {"same", "same_1", "GlobalAveragePool_2", "Flatten_3", "Flatten_3_1"};
  struct mq_graph *graph = load("node_names");
  assert_int_equal(graph->n_nodes, 5);
  assert_string_equal(graph->nodes[0]->name, expected[0]);
  assert_string_equal(graph->nodes[1]->name, expected[1]);
  assert_string_equal(graph->nodes[2]->name, expected[2]);
  for (int i = 3; i < 5; i++) { /* which of the two keeps the name is not promised */
    assert_memory_equal(graph->nodes[i]->name, "Flatten_3", 9);
  }
  assert_string_not_equal(graph->nodes[3]->name, graph->nodes[4]->name);
  mq_graph_destroy(graph);
}

static void constant_nodes_become_constants(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_graph *graph = load("constant_forms");
  assert_int_equal(constant_of(graph, "b1")->shape.dim[0], 4);
  assert_int_equal(constant_of(graph, "low")->shape.rank, 0);
  float lo, hi;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    if (strcmp(graph->nodes[i]->name, "clip_high") == 0) {
      assert_null(graph->nodes[i]->inputs[1]);
      assert_ok(mq_node_get_clip(&lo, &hi, graph->nodes[i], &err));
      assert_true(hi == 1.5f && isinf(lo));
    }
  }
  mq_graph_destroy(graph);
}

static void batch_stays_when_asked(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_onnx_options options = {.batch_is_fixed = true};
  struct mq_graph *graph;
  assert_ok(mq_onnx_read(&graph, help_path("fixed_batch4", "onnx"), &options, &err));
  assert_int_equal(graph->inputs[0]->shape.dim[0], 4);
  assert_int_equal(graph->outputs[0]->shape.dim[0], 4);
  mq_graph_destroy(graph);
}

static void inputs_can_be_frozen(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_tensor x = {0};
  struct mq_shape shape = {.rank = 4, .dim = {1, 3, 15, 16}};
  assert_ok(mq_tensor_init(&x, MQ_F32, &shape, &err));
  const char *name = "input";
  const struct mq_tensor *frozen = &x;
  struct mq_onnx_options options = {.frozen_names = &name, .frozen = &frozen, .n_frozen = 1};
  struct mq_graph *graph;
  assert_ok(mq_onnx_read(&graph, help_path("same_upper", "onnx"), &options, &err));
  assert_int_equal(graph->n_inputs, 0);
  assert_int_equal(graph->outputs[0]->shape.dim[0], 1);
  mq_graph_destroy(graph);
  mq_tensor_deinit(&x);
}

static void nodes_may_come_in_any_order(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct help_model model;
  struct mq_graph *graph;
  help_model_init(&model);
  model.nodes[0] = &model.relu;
  model.nodes[1] = &model.conv;
  assert_ok(help_model_parse(&graph, &model, &err));
  assert_int_equal(graph->nodes[0]->op, MQ_OP_Conv);
  mq_graph_destroy(graph);
}

static void numbers_stay_where_a_batch_is_open(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct help_model model;
  struct mq_graph *graph;
  help_model_init(&model);
  Onnx__ValueInfoProto second, *inputs[2] = {&model.x, &second};
  Onnx__TypeProto type;
  Onnx__TypeProto__Tensor tensor;
  Onnx__TensorShapeProto shape;
  onnx__value_info_proto__init(&second);
  onnx__type_proto__init(&type);
  onnx__type_proto__tensor__init(&tensor);
  onnx__tensor_shape_proto__init(&shape);
  second.name = "offset";
  second.type = &type;
  type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  type.tensor_type = &tensor;
  tensor.has_elem_type = 1;
  tensor.elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  tensor.shape = &shape;
  Onnx__TensorShapeProto__Dimension *dims[] = {&model.x_dims[2], &model.x_dims[3]}; /* 4 x 4 */
  shape.n_dim = 2;
  shape.dim = dims;
  model.graph.n_input = 2;
  model.graph.input = inputs;
  model.extra.op_type = "Add";
  model.extra.n_input = 2;
  model.extra_inputs[1] = "offset";
  model.graph.n_node = 3;
  model.y.name = "z";
  assert_ok(help_model_parse(&graph, &model, &err));
  assert_true(graph->inputs[0]->shape.dim[0] == MQ_DIM_BATCH);
  assert_int_equal(graph->inputs[1]->shape.dim[0], 4);
  mq_graph_destroy(graph);
}

static void lowest_integer_is_not_the_batch(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct help_model model;
  struct mq_graph *graph;
  help_model_init(&model);
  int64_t ends[] = {INT64_MIN}, dims[] = {1}, back[] = {-1}, axes[] = {3};
  Onnx__TensorProto parts[4], *list[6];
  int64_t *data[] = {back, ends, axes, back};
  char *names[] = {"starts", "ends", "axes", "steps"};
  for (int i = 0; i < 4; i++) {
    onnx__tensor_proto__init(&parts[i]);
    parts[i].name = names[i];
    parts[i].n_dims = 1;
    parts[i].dims = dims;
    parts[i].has_data_type = 1;
    parts[i].data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    parts[i].n_int64_data = 1;
    parts[i].int64_data = data[i];
    list[i] = &parts[i];
  }
  list[4] = &model.w;
  list[5] = &model.b;
  model.graph.n_initializer = 6;
  model.graph.initializer = list;
  char *inputs[] = {"y", "starts", "ends", "axes", "steps"};
  model.extra.op_type = "Slice";
  model.extra.n_input = 5;
  model.extra.input = inputs;
  model.graph.n_node = 3;
  model.y.name = "z";
  assert_ok(help_model_parse(&graph, &model, &err));
  assert_int_equal(graph->outputs[0]->shape.dim[3], 4);
  mq_graph_destroy(graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_model_loads_without_shape_computations),
      cmocka_unit_test(weights_are_the_same_in_every_storage),
      cmocka_unit_test(float_casts_become_identities),
      cmocka_unit_test(initializers_listed_as_inputs_are_not_inputs),
      cmocka_unit_test(missing_names_are_made_and_repeated_ones_told_apart),
      cmocka_unit_test(constant_nodes_become_constants),
      cmocka_unit_test(batch_stays_when_asked),
      cmocka_unit_test(inputs_can_be_frozen),
      cmocka_unit_test(nodes_may_come_in_any_order),
      cmocka_unit_test(numbers_stay_where_a_batch_is_open),
      cmocka_unit_test(lowest_integer_is_not_the_batch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
