/* The Q/DQ export, read back: its integers and scales are the bundle's, and no range is wider than its bits.
 */
#include <math.h>

#include "base/file.h"
#include "help_bundle.h"
#include "load/unpack.h"
#include "mqbench/load.h"

static struct mq_bundle bundle;
static struct mq_graph *exported;
static struct mq_err err;

static const char *path_of(const char *name, const char *file) {
  static char path[900];
  snprintf(path, sizeof path, "%s/%s/%s", scratch, name, file);
  return path;
}

static void open_export(const char *target, int w_bits, int a_bits) {
  char stem[900];
  make_bundle("b", target, w_bits, a_bits);
  assert_ok(read_bundle(&bundle, "b", &err));
  assert_ok(mq_file_make_directories(path_of("b", "export"), &err));
  snprintf(stem, sizeof stem, "%s", path_of("b", "export/x"));
  assert_ok(mq_export(mq_exporter_find("onnx_qdq"), stem, &bundle, &err));
  if (mq_onnx_read(&exported, path_of("b", "export/x.onnx"), NULL, &err) != MQ_OK) {
    fail_msg("%s W%dA%d: %s", target, w_bits, a_bits, err.message);
  }
}

static void close_export(void) {
  mq_graph_destroy(exported);
  mq_bundle_deinit(&bundle);
}

static const struct mq_value *value_of(const char *name) {
  const struct mq_value *value = mq_graph_find_value(exported, name);
  if (!value) {
    fail_msg("the export has no tensor '%s'", name);
  }
  return value;
}

static const struct mq_node *reader_of(const struct mq_value *value, mq_op op) {
  for (size_t i = 0; i < value->n_uses; i++) {
    if (value->uses[i].node->op == op && value->uses[i].input == 0) {
      return value->uses[i].node;
    }
  }
  return NULL;
}

static void assert_number(double x, double expected, const char *what, const char *tensor) {
  if (!(x == expected)) {
    fail_msg("%s of '%s': %.9g, expected %.9g", what, tensor, x, expected);
  }
}

/* Scale c and zero point c of a QuantizeLinear or DequantizeLinear. */
static void check_grid(const struct mq_node *node, const struct mq_point *point) {
  const struct mq_qparams *q = &point->qparams;
  const struct mq_tensor *scale = node->inputs[1]->constant, *zero = node->inputs[2]->constant;
  assert_non_null(scale);
  assert_non_null(zero);
  assert_int_equal(mq_shape_count(&scale->shape), q->n_channels);
  assert_int_equal(mq_shape_count(&zero->shape), q->n_channels);
  assert_int_equal(zero->dtype, q->is_signed ? MQ_I8 : MQ_U8);
  for (int64_t c = 0; c < q->n_channels; c++) {
    assert_number(mq_tensor_get_double(scale, c), (double)q->scale[c], "scale", point->tensor);
    assert_number((double)mq_tensor_get_int(zero, c), q->zero_point[c], "zero point", point->tensor);
  }
  if (q->channel_axis >= 0) {
    int64_t axis = -1;
    assert_ok(mq_node_get_int(&axis, node, "axis", -1, &err));
    assert_int_equal(axis, q->channel_axis);
  }
}

static int64_t channel_of(const struct mq_shape *shape, int axis, int64_t flat) {
  int64_t inner = 1;
  for (int i = axis + 1; axis >= 0 && i < shape->rank; i++) {
    inner *= shape->dim[i];
  }
  return axis < 0 ? 0 : flat / inner % shape->dim[axis];
}

/* The file's integers are what its own scales make of the weights of model.onnx, and stand for them. */
static void check_weight(const struct mq_point *point) {
  const struct mq_node *node = value_of(point->tensor)->producer;
  assert_non_null(node);
  assert_int_equal(node->op, MQ_OP_DequantizeLinear);
  check_grid(node, point);
  const struct mq_tensor *ints = node->inputs[0]->constant;
  const struct mq_tensor *weights = mq_graph_find_value(bundle.prepared.graph, point->tensor)->constant;
  assert_non_null(ints);
  assert_true(mq_shape_equal(&ints->shape, &weights->shape));
  for (int64_t i = 0; i < mq_shape_count(&ints->shape); i++) {
    int64_t c = channel_of(&ints->shape, point->qparams.channel_axis, i);
    float scale = (float)mq_tensor_get_double(node->inputs[1]->constant, c);
    double zero = (double)mq_tensor_get_int(node->inputs[2]->constant, c);
    float w = ((const float *)weights->data)[i];
    double q = (double)mq_tensor_get_int(ints, i);
    assert_number(q, (double)rintf(w / scale) + zero, "integer", point->tensor);
    assert_number((double)(scale * (float)(q - zero)), (double)w, "weight", point->tensor);
    assert_true(q >= point->qparams.quant_min && q <= point->qparams.quant_max);
  }
}

/* What reaches the integers of the dequantized tensor: the type's range, clipped before or behind. */
static void check_activation(const struct mq_point *point) {
  const struct mq_qparams *q = &point->qparams;
  const struct mq_value *x = mq_graph_find_value(exported, point->tensor);
  double lo = q->is_signed ? -128 : 0, hi = q->is_signed ? 127 : 255;
  if (x && x->is_output) { /* the user's name is the dequantized tensor's */
    char text[200];
    snprintf(text, sizeof text, "%s_float", point->tensor);
    x = value_of(text);
  }
  const struct mq_node *node = reader_of(value_of(x->name), MQ_OP_QuantizeLinear);
  if (!node) {
    float least, greatest;
    const struct mq_node *clip = reader_of(x, MQ_OP_Clip);
    assert_non_null(clip);
    assert_ok(mq_node_get_clip(&least, &greatest, clip, &err));
    lo = rint((double)least / (double)q->scale[0]) + q->zero_point[0];
    hi = rint((double)greatest / (double)q->scale[0]) + q->zero_point[0];
    node = reader_of(clip->outputs[0], MQ_OP_QuantizeLinear);
  }
  assert_non_null(node);
  check_grid(node, point);
  const struct mq_value *ints = node->outputs[0];
  const struct mq_node *clip = reader_of(ints, MQ_OP_Clip);
  if (clip) {
    float least, greatest;
    assert_ok(mq_node_get_clip(&least, &greatest, clip, &err));
    lo = (double)least;
    hi = (double)greatest;
    ints = clip->outputs[0];
  }
  const struct mq_node *back = reader_of(ints, MQ_OP_DequantizeLinear);
  assert_non_null(back);
  check_grid(back, point);
  bool is_positive = strstr(point->tensor, "relu") || strstr(point->tensor, "pool");
  if (!(is_positive && q->quant_min == -127)) { /* nothing there to clip */
    assert_number(lo, q->quant_min, "least integer", point->tensor);
  }
  assert_number(hi, q->quant_max, "greatest integer", point->tensor);
}

/* int32 biases on the product of the scales, or floats, as the target adds them. */
static void check_biases(void) {
  size_t n = 0;
  for (size_t i = 0; i < exported->n_nodes; i++) {
    const struct mq_node *node = exported->nodes[i];
    if (node->op != MQ_OP_Conv && node->op != MQ_OP_Gemm) {
      continue;
    }
    assert_int_equal(node->inputs[0]->producer->op, MQ_OP_DequantizeLinear);
    if (node->n_inputs < 3) {
      continue;
    }
    n++;
    const struct mq_node *bias = node->inputs[2]->producer, *x = node->inputs[0]->producer,
                         *w = node->inputs[1]->producer;
    if (bundle.bias == MQ_BIAS_FLOAT) {
      assert_non_null(node->inputs[2]->constant);
      continue;
    }
    assert_non_null(bias);
    assert_int_equal(bias->inputs[0]->constant->dtype, MQ_I32);
    const struct mq_tensor *scale = bias->inputs[1]->constant, *w_scale = w->inputs[1]->constant;
    const struct mq_value *original = mq_graph_find_value(bundle.prepared.graph, node->inputs[2]->name);
    assert_non_null(original);
    for (int64_t c = 0; c < mq_shape_count(&bias->inputs[0]->constant->shape); c++) {
      int64_t s = mq_shape_count(&scale->shape) > 1 ? c : 0;
      double product = mq_tensor_get_double(x->inputs[1]->constant, 0) * mq_tensor_get_double(w_scale, s);
      assert_number(mq_tensor_get_double(scale, s), (double)(float)product, "scale", node->inputs[2]->name);
      assert_number((double)mq_tensor_get_int(bias->inputs[0]->constant, c),
                    rint(mq_tensor_get_double(original->constant, c) / product), "integer",
                    node->inputs[2]->name);
    }
  }
  assert_true(n > 0);
}

static void check_target(const char *target, int w_bits, int a_bits) {
  open_export(target, w_bits, a_bits);
  assert_true(exported->opset >= 13);
  for (size_t i = 0; i < bundle.prepared.n_points; i++) {
    const struct mq_point *point = &bundle.prepared.points[i];
    if (point->kind == MQ_POINT_WEIGHT) {
      check_weight(point);
    } else {
      check_activation(point);
    }
  }
  if (strcmp(target, "academic") != 0) { /* its BN is kept: convolutions have no bias */
    check_biases();
  }
  assert_int_equal(exported->n_outputs, bundle.prepared.graph->n_outputs);
  close_export();
}

static void every_target_and_width(void **state) {
  (void)state;
  static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
  static const int bits[][2] = {{8, 8}, {4, 4}, {2, 3}, {5, 7}};
  for (size_t i = 0; i < 6; i++) {
    for (size_t k = 0; k < 4; k++) {
      check_target(targets[i], bits[k][0], bits[k][1]);
    }
  }
}

static void outputs_keep_their_names(void **state) {
  (void)state;
  open_export("snpe", 0, 0);
  struct mq_graph *model = NULL;
  assert_ok(mq_onnx_read(&model, path_of("b", "model.onnx"), NULL, &err));
  assert_string_equal(exported->outputs[0]->name, model->outputs[0]->name);
  assert_int_equal(exported->outputs[0]->producer->op, MQ_OP_DequantizeLinear);
  assert_string_equal(exported->inputs[0]->name, model->inputs[0]->name);
  mq_graph_destroy(model);
  close_export();
}

/* 16 bits are in the standard from opset 21 on. */
static void sixteen_bits_raise_the_opset(void **state) {
  (void)state;
  open_export("snpe", 8, 16);
  assert_int_equal(exported->opset, 21);
  const struct mq_value *input = exported->inputs[0];
  const struct mq_node *node = reader_of(input, MQ_OP_QuantizeLinear);
  assert_int_equal(node->outputs[0]->dtype, MQ_U16);
  close_export();
}

/* The file's tensor types: what the graph holds as int8 is packed. */
static Onnx__TensorProto *find_tensor(const struct mq_onnx_message *message, const char *name) {
  const Onnx__GraphProto *graph = ((const Onnx__ModelProto *)message->message)->graph;
  for (size_t i = 0; i < graph->n_initializer; i++) {
    if (!strcmp(graph->initializer[i]->name, name)) {
      return graph->initializer[i];
    }
  }
  fail_msg("the file has no initializer '%s'", name);
  return NULL;
}

static void check_packed(const char *target, int opset, int bits, int32_t type, const char *tensor) {
  struct mq_onnx_message message = {0};
  char *bytes = NULL, path[900];
  size_t n;
  make_bundle("b", target, bits, bits);
  assert_ok(read_bundle(&bundle, "b", &err));
  bundle.prepared.graph->opset = opset;
  snprintf(path, sizeof path, "%s", path_of("b", "packed"));
  assert_ok(mq_export(mq_exporter_find("onnx_qdq"), path, &bundle, &err));
  snprintf(path, sizeof path, "%s", path_of("b", "packed.onnx"));
  assert_ok(mq_file_read(&bytes, &n, path, 1 << 24, &err));
  assert_ok(mq_onnx_unpack(&message, (const uint8_t *)bytes, n, &onnx__model_proto__descriptor, path, &err));
  assert_int_equal(find_tensor(&message, tensor)->data_type, type);
  mq_onnx_message_deinit(&message);
  mq_free(bytes);
  mq_bundle_deinit(&bundle);
}

static void low_bits_have_types_of_their_own_from_opset_21(void **state) {
  (void)state;
  check_packed("snpe", 17, 4, ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, "conv0.weight_quantized");
  check_packed("snpe", 21, 4, MQ_ONNX_UINT4, "conv0.weight_quantized");
  check_packed("snpe", 21, 4, MQ_ONNX_UINT4, "input_zero_point");
  check_packed("tvm", 21, 4, MQ_ONNX_INT4, "conv0.weight_quantized");
  check_packed("tvm", 21, 4, MQ_ONNX_INT4, "input_zero_point");
  check_packed("tensorrt", 21, 4, MQ_ONNX_INT4, "conv0.weight_quantized");
  check_packed("tensorrt", 21, 4, ONNX__TENSOR_PROTO__DATA_TYPE__INT8,
               "input_zero_point"); /* narrow: clipped */
  check_packed("tvm", 21, 3, MQ_ONNX_INT4, "conv0.weight_quantized");
  check_packed("tvm", 21, 3, ONNX__TENSOR_PROTO__DATA_TYPE__INT8, "input_zero_point");
  check_packed("tvm", 24, 2, MQ_ONNX_INT4, "conv0.weight_quantized");
  check_packed("tvm", 25, 2, MQ_ONNX_INT2, "conv0.weight_quantized");
  check_packed("snpe", 25, 2, MQ_ONNX_UINT2, "input_zero_point");
}

/* ONNX's own checker, with shape inference; Debian's knows opsets up to its release. */
static void onnx_checker_accepts_them(void **state) {
  (void)state;
  static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
  if (system("/usr/bin/python3 -c 'import onnx.checker' 2>/dev/null") != 0) {
    print_message("skipped: python3-onnx is not installed\n");
    skip();
  }
  for (size_t i = 0; i < 12; i++) {
    char command[1200];
    open_export(targets[i / 2], i % 2 ? 4 : 8, i % 2 ? 5 : 8);
    close_export();
    snprintf(command, sizeof command,
             "/usr/bin/python3 -c 'import onnx, sys; onnx.checker.check_model(onnx.load(sys.argv[1]), "
             "full_check=True)' '%s'",
             path_of("b", "export/x.onnx"));
    assert_int_equal(system(command), 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_target_and_width),
      cmocka_unit_test(outputs_keep_their_names),
      cmocka_unit_test(sixteen_bits_raise_the_opset),
      cmocka_unit_test(low_bits_have_types_of_their_own_from_opset_21),
      cmocka_unit_test(onnx_checker_accepts_them),
  };
  return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
