/* The export with operators on integers, read back as plain protobuf (its operators are not ours): integers
 * and scales are the bundle's, zero points lie in their types, ranges are kept, and names are the user's. */
#include <math.h>

#include "base/file.h"
#include "help_bundle.h"
#include "load/unpack.h"

static struct mq_bundle bundle;
static struct mq_onnx_message message;
static struct mq_err err;

static const char *path_of(const char *file) {
  static char path[900];
  snprintf(path, sizeof path, "%s/b/%s", scratch, file);
  return path;
}

static const Onnx__GraphProto *graph(void) {
  return ((const Onnx__ModelProto *)message.message)->graph;
}

static mq_status export_as(const char *target, int w_bits, int a_bits) {
  char stem[900];
  make_bundle("b", target, w_bits, a_bits);
  assert_ok(read_bundle(&bundle, "b", &err));
  snprintf(stem, sizeof stem, "%s", path_of("q"));
  return mq_export(mq_exporter_find("onnx_qoperator"), stem, &bundle, &err);
}

static void open_export(const char *target, int w_bits, int a_bits) {
  char *bytes = NULL, path[900];
  size_t n;
  if (export_as(target, w_bits, a_bits) != MQ_OK) fail_msg("%s: %s", target, err.message);
  snprintf(path, sizeof path, "%s", path_of("q.onnx"));
  assert_ok(mq_file_read(&bytes, &n, path, 1 << 24, &err));
  assert_ok(mq_onnx_unpack(&message, (const uint8_t *)bytes, n, &onnx__model_proto__descriptor, path, &err));
  mq_free(bytes);
}

static void close_export(void) {
  mq_onnx_message_deinit(&message);
  mq_bundle_deinit(&bundle);
}

/* ---- Reading the file ---- */

static const Onnx__TensorProto *tensor_of(const char *name) {
  for (size_t i = 0; i < graph()->n_initializer; i++) {
    if (!strcmp(graph()->initializer[i]->name, name)) return graph()->initializer[i];
  }
  fail_msg("the file has no initializer '%s'", name);
  return NULL;
}

static int64_t count_of(const Onnx__TensorProto *tensor) {
  int64_t n = 1;
  for (size_t i = 0; i < tensor->n_dims; i++)
    n *= tensor->dims[i];
  return n;
}

static double number_of(const Onnx__TensorProto *tensor, int64_t i) {
  float f;
  int32_t wide;
  const uint8_t *bytes = tensor->raw_data.data;
  assert_true(tensor->has_raw_data && i < count_of(tensor));
  switch (tensor->data_type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT8:
      return (int8_t)bytes[i];
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT8:
      return bytes[i];
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32:
      memcpy(&wide, bytes + 4 * i, sizeof wide);
      return wide;
    default:
      assert_int_equal(tensor->data_type, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
      memcpy(&f, bytes + 4 * i, sizeof f);
      return (double)f;
  }
}

static const Onnx__NodeProto *node_that_makes(const char *name) {
  for (size_t i = 0; i < graph()->n_node; i++) {
    for (size_t o = 0; o < graph()->node[i]->n_output; o++) {
      if (!strcmp(graph()->node[i]->output[o], name)) return graph()->node[i];
    }
  }
  return NULL;
}

static const Onnx__NodeProto *node_that_reads(const char *name, size_t *input) {
  for (size_t i = 0; i < graph()->n_node; i++) {
    for (*input = 0; *input < graph()->node[i]->n_input; ++*input) {
      if (!strcmp(graph()->node[i]->input[*input], name)) return graph()->node[i];
    }
  }
  return NULL;
}

static void assert_number(double found, double expected, const char *what, const char *tensor) {
  if (found != expected) fail_msg("%s of '%s': %.9g, expected %.9g", what, tensor, found, expected);
}

/* ---- Points ---- */

static void check_grid(const char *scale, const char *zero_point, const struct mq_point *point) {
  const struct mq_qparams *q = &point->qparams;
  const Onnx__TensorProto *s = tensor_of(scale), *z = tensor_of(zero_point);
  assert_int_equal(count_of(s), q->n_channels);
  assert_int_equal(count_of(z), q->n_channels);
  assert_int_equal(z->data_type,
                   q->is_signed ? ONNX__TENSOR_PROTO__DATA_TYPE__INT8 : ONNX__TENSOR_PROTO__DATA_TYPE__UINT8);
  for (int64_t c = 0; c < q->n_channels; c++) {
    assert_number(number_of(s, c), (double)q->scale[c], "scale", point->tensor);
    assert_number(number_of(z, c), q->zero_point[c], "zero point", point->tensor);
  }
}

/* Weights bear the user's name, and are what the file's scales make of those of model.onnx. */
static void check_weight(const struct mq_point *point) {
  const struct mq_tensor *weights = mq_graph_find_value(bundle.prepared.graph, point->tensor)->constant;
  const Onnx__TensorProto *ints = tensor_of(point->tensor);
  const struct mq_qparams *q = &point->qparams;
  size_t input;
  const Onnx__NodeProto *node = node_that_reads(point->tensor, &input);
  assert_non_null(node);
  assert_true(!strcmp(node->op_type, "QLinearConv") || !strcmp(node->op_type, "QGemm"));
  assert_int_equal(input, 3);
  check_grid(node->input[4], node->input[5], point);
  const Onnx__TensorProto *scale = tensor_of(node->input[4]), *zero = tensor_of(node->input[5]);
  int64_t n = mq_shape_count(&weights->shape), inner = 1;
  assert_int_equal(count_of(ints), n);
  for (int i = q->channel_axis + 1; q->channel_axis >= 0 && i < weights->shape.rank; i++)
    inner *= weights->shape.dim[i];
  for (int64_t i = 0; i < n; i++) {
    int64_t c = q->channel_axis < 0 ? 0 : i / inner % q->n_channels;
    float s = (float)number_of(scale, c);
    double again = (double)rintf(((const float *)weights->data)[i] / s) + number_of(zero, c);
    assert_number(number_of(ints, i), again, "integer", point->tensor);
    assert_true(again >= q->quant_min && again <= q->quant_max);
  }
}

/* The least and the greatest integer that a Clip lets pass; the type's where there is none. */
static void find_range(double *lo, double *hi, const char *tensor, bool is_signed) {
  const Onnx__NodeProto *node = node_that_makes(tensor);
  *lo = is_signed ? -128 : 0;
  *hi = is_signed ? 127 : 255;
  if (!strcmp(node->op_type, "Clip")) {
    *lo = number_of(tensor_of(node->input[1]), 0);
    *hi = number_of(tensor_of(node->input[2]), 0);
  }
}

static bool is_float(const char *tensor) {
  for (size_t i = 0; i < graph()->n_input; i++) {
    if (!strcmp(graph()->input[i]->name, tensor)) return true;
  }
  for (size_t i = 0; i < graph()->n_output; i++) {
    if (!strcmp(graph()->output[i]->name, tensor)) return true;
  }
  return false;
}

/* The integers have the user's name where no input or output of the network has it. */
static void check_activation(const struct mq_point *point) {
  const struct mq_qparams *q = &point->qparams;
  bool is_positive = strstr(point->tensor, "relu") != NULL;
  char name[300];
  double lo, hi;
  snprintf(name, sizeof name, "%s%s", point->tensor, is_float(point->tensor) ? "_quantized" : "");
  if (!node_that_makes(name)) fail_msg("%s: no node makes '%s'", bundle.target, name);
  find_range(&lo, &hi, name, q->is_signed);
  assert_number(lo, is_positive ? fmax(q->quant_min, q->zero_point[0]) : q->quant_min, "least integer", name);
  assert_number(hi, q->quant_max, "greatest integer", name);
}

static void check_biases(void) {
  size_t n = 0;
  for (size_t i = 0; i < graph()->n_node; i++) {
    const Onnx__NodeProto *node = graph()->node[i];
    bool is_conv = !strcmp(node->op_type, "QLinearConv"), is_gemm = !strcmp(node->op_type, "QGemm");
    if (!is_conv && !is_gemm) continue;
    const char *name = is_conv ? node->n_input > 8 ? node->input[8] : "" : node->input[6];
    if (!*name) continue;
    const Onnx__TensorProto *ints = tensor_of(name), *w = tensor_of(node->input[4]);
    const struct mq_value *bias = mq_graph_find_value(bundle.prepared.graph, name);
    assert_non_null(bias); /* the user's name */
    assert_int_equal(ints->data_type, ONNX__TENSOR_PROTO__DATA_TYPE__INT32);
    for (int64_t c = 0; c < count_of(ints); c++) {
      double scale = number_of(tensor_of(node->input[1]), 0) * number_of(w, count_of(w) > 1 ? c : 0);
      assert_number(number_of(ints, c), rint(mq_tensor_get_double(bias->constant, c) / scale), "integer",
                    name);
    }
    n++;
  }
  assert_true(n > 0);
}

static void check_target(const char *target, int w_bits, int a_bits) {
  open_export(target, w_bits, a_bits);
  for (size_t i = 0; i < bundle.prepared.n_points; i++) {
    const struct mq_point *point = &bundle.prepared.points[i];
    if (point->kind == MQ_POINT_WEIGHT) {
      check_weight(point);
    } else {
      check_activation(point);
    }
  }
  check_biases();
  close_export();
}

static void integers_scales_and_ranges(void **state) {
  (void)state;
  static const char *const targets[] = {"onnx_qoperator", "snpe", "tvm", "fbgemm_lib", "stpu"};
  static const int bits[][2] = {{8, 8}, {4, 4}, {2, 3}, {5, 7}};
  for (size_t i = 0; i < 5; i++) {
    for (size_t k = 0; k < 4; k++)
      check_target(targets[i], bits[k][0], bits[k][1]);
  }
}

/* A network whose every tensor is a point computes on integers from end to end. */
static void only_the_ends_are_floats(void **state) {
  (void)state;
  static const char *const allowed[] = {"QLinearConv", "QGemm",   "QLinearAdd", "QLinearGlobalAveragePool",
                                        "Clip",        "Flatten", "Reshape",    "MaxPool"};
  size_t n_in = 0, n_out = 0;
  open_export("onnx_qoperator", 8, 8);
  for (size_t i = 0; i < graph()->n_node; i++) {
    const char *op = graph()->node[i]->op_type;
    bool is_allowed = false;
    for (size_t k = 0; k < sizeof allowed / sizeof allowed[0]; k++)
      is_allowed |= !strcmp(op, allowed[k]);
    n_in += !strcmp(op, "QuantizeLinear");
    n_out += !strcmp(op, "DequantizeLinear");
    if (!is_allowed && strcmp(op, "QuantizeLinear") != 0 && strcmp(op, "DequantizeLinear") != 0)
      fail_msg("node '%s' is %s", graph()->node[i]->name, op);
  }
  assert_int_equal(n_in, 1);
  assert_int_equal(n_out, graph()->n_output);
  close_export();
}

/* Sums that stay float (graph 2) and layers without a point are computed between the pairs. */
static void the_rest_stays_between_pairs(void **state) {
  (void)state;
  size_t n_conv = 0, n_float = 0;
  open_export("tensorrt", 8, 8);
  for (size_t i = 0; i < graph()->n_node; i++) {
    n_conv += !strcmp(graph()->node[i]->op_type, "QLinearConv");
    n_float += !strcmp(graph()->node[i]->op_type, "Add");
  }
  assert_true(n_conv > 0);
  assert_true(n_float > 0);
  close_export();
}

static void what_it_cannot_express(void **state) {
  (void)state;
  assert_ok(export_as("fbgemm", 8, 8));
  for (size_t i = 0; i < bundle.prepared.n_points; i++) {
    struct mq_qparams *q = &bundle.prepared.points[i].qparams;
    for (int64_t c = 1; c < q->n_channels; c++)
      q->zero_point[c] = q->zero_point[0] + (c == 1);
  }
  assert_fails(MQ_BAD_INPUT, "expected the same for all channels",
               mq_export(mq_exporter_find("onnx_qoperator"), path_of("q"), &bundle, &err));
  mq_bundle_deinit(&bundle);
  assert_fails(MQ_BAD_INPUT, "expected at most 8 bits", export_as("snpe", 8, 16));
  mq_bundle_deinit(&bundle);
}

static void onnx_checker_accepts_them(void **state) {
  (void)state;
  static const char *const targets[] = {"onnx_qoperator", "tvm", "tensorrt", "fbgemm_lib"};
  if (system("/usr/bin/python3 -c 'import onnx.checker' 2>/dev/null") != 0) {
    print_message("skipped: python3-onnx is not installed\n");
    skip();
  }
  for (size_t i = 0; i < 8; i++) {
    char command[1200];
    open_export(targets[i / 2], i % 2 ? 4 : 8, i % 2 ? 5 : 8);
    close_export();
    snprintf(command, sizeof command,
             "/usr/bin/python3 -c 'import onnx, sys; onnx.checker.check_model(onnx.load(sys.argv[1]))' '%s'",
             path_of("q.onnx"));
    assert_int_equal(system(command), 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(integers_scales_and_ranges),   cmocka_unit_test(only_the_ends_are_floats),
      cmocka_unit_test(the_rest_stays_between_pairs), cmocka_unit_test(what_it_cannot_express),
      cmocka_unit_test(onnx_checker_accepts_them),
  };
  return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
