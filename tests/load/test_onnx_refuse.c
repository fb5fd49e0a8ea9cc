/* What is refused, and how it is said: one line that names file, node, found and expected. */
#include "help_model.h"

static struct help_model model;

static int reset(void **state) {
  (void)state;
  help_model_init(&model);
  return 0;
}

static void refused(const char *part) {
  struct mq_err err = {0};
  struct mq_graph *graph;
  assert_fails(MQ_BAD_INPUT, part, help_model_parse(&graph, &model, &err));
  assert_null(graph);
  assert_memory_equal(err.message, "m.onnx", 6);
  help_model_init(&model);
}

static void file_refused(const char *name, const char *part, const char *part2) {
  struct mq_err err = {0};
  struct mq_graph *graph;
  assert_fails(MQ_BAD_INPUT, part, mq_onnx_read(&graph, help_path(name, "onnx"), NULL, &err));
  assert_non_null(strstr(err.message, part2));
}

static void the_base_model_is_good(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_graph *graph;
  assert_ok(help_model_parse(&graph, &model, &err));
  mq_graph_destroy(graph);
}

static void unsupported_operators(void **state) {
  (void)state;
  file_refused("bad_operator", "'middle' (Einsum)", "supported: Add AveragePool");
  file_refused("bad_subgraph", "'middle' (If)", "subgraph");
  file_refused("bad_domain", "'middle' (FusedRelu)", "com.example");
  file_refused("bad_cycle", "cycle", "first");
  file_refused("bad_mixed_batch", "'middle' (Reshape)", "without mixing the batch");
  model.relu.op_type = "FakeQuantize";
  refused("(FakeQuantize): operator is not supported");
}

static void versions(void **state) {
  (void)state;
  model.model.has_ir_version = 0;
  refused("not an ONNX model");
  model.model.ir_version = 2;
  refused("IR version 2");
  model.model.n_opset_import = 0;
  refused("imports no opset");
  model.opset.domain = "ai.onnx.ml";
  refused("imports no opset");
  model.opset.version = 6;
  refused("opset 6, expected 7");
  model.model.graph = NULL;
  refused("no graph");
  model.graph.n_node = 0;
  refused("no nodes");
  model.graph.n_output = 0;
  refused("no output");
}

static void names(void **state) {
  (void)state;
  model.conv_inputs[1] = "weights";
  refused("'conv' reads 'weights'");
  model.y.name = "nowhere";
  refused("graph output 'nowhere'");
  model.b.name = "w";
  refused("initializer 1 'w'");
  model.conv_outputs[0] = "w";
  refused("'w'");
  model.relu_outputs[0] = "c";
  refused("'c'");
  model.x.name = "";
  refused("input ''");
}

static void arity(void **state) {
  (void)state;
  model.conv.n_input = 1;
  refused("'conv' (Conv): 1 inputs, expected 2 to 3");
  model.conv_inputs[1] = "";
  refused("input 1 is left out");
  model.relu_outputs[0] = "";
  refused("'relu' (Relu): 0 outputs");
}

static void attributes(void **state) {
  (void)state;
  model.relu.n_attribute = 1;
  model.relu.attribute = model.attributes;
  model.attribute.name = "slope";
  refused("unknown attribute 'slope', expected none");
  model.conv.n_attribute = 1;
  model.conv.attribute = model.attributes;
  model.attribute.name = "kernel";
  refused("unknown attribute 'kernel', expected one of: auto_pad");
  model.conv.n_attribute = 1;
  model.conv.attribute = model.attributes;
  model.attribute.name = "group";
  model.attribute.has_type = 1;
  model.attribute.type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS;
  refused("attribute 'group' holds strings");
  Onnx__AttributeProto *twice[] = {&model.attribute, &model.attribute};
  model.conv.n_attribute = 2;
  model.conv.attribute = twice;
  model.attribute.name = "group";
  model.attribute.has_i = 1;
  model.attribute.i = 1;
  refused("given twice");
}

static void tensors(void **state) {
  (void)state;
  model.w.data_type = 23;
  refused("initializer 'w' has data type 23 (FLOAT4E2M1)");
  model.w.data_type = ONNX__TENSOR_PROTO__DATA_TYPE__STRING;
  refused("(STRING)");
  model.w.data_type = 4711;
  refused("4711 (unknown)");
  model.w.raw_data.len = 20;
  refused("'w' has 20 bytes of data, expected 24");
  model.w.has_raw_data = 0;
  refused("'w' has 0 elements of data, expected 6");
  model.w_dims[0] = INT64_C(1) << 40;
  refused("'w'");
  model.w_dims[0] = INT64_MAX;
  refused("'w'");
  model.w_dims[0] = -2;
  refused("dimension -2");
  int64_t dims[9] = {0};
  model.w.n_dims = 9;
  model.w.dims = dims;
  refused("rank 9, expected at most 8");
}

static void inputs(void **state) {
  (void)state;
  model.x_dims[2].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
  model.x_dims[2].dim_param = "height";
  refused("input 'x': dimension 2 is open ('height')");
  model.x_tensor.shape = NULL;
  refused("input 'x' has no shape");
  model.x_tensor.elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__STRING;
  refused("data type 8 (STRING)");
  model.x_type.value_case = ONNX__TYPE_PROTO__VALUE__NOT_SET;
  refused("not a tensor");
  model.x_dims[2].dim_value = INT64_MAX;
  refused("dimension 2");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(the_base_model_is_good, reset),
      cmocka_unit_test_setup(unsupported_operators, reset),
      cmocka_unit_test_setup(versions, reset),
      cmocka_unit_test_setup(names, reset),
      cmocka_unit_test_setup(arity, reset),
      cmocka_unit_test_setup(attributes, reset),
      cmocka_unit_test_setup(tensors, reset),
      cmocka_unit_test_setup(inputs, reset),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
