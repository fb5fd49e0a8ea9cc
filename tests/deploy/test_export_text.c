/* Exports as text and as FakeQuantize nodes, and what formats refuse. */
#include <math.h>

#include "base/file.h"
#include "help_export.h"
#include "load/unpack.h"

static struct exported e;

static void assert_scale(double scale, const struct mq_point *point, int64_t c) {
  if ((float)scale != point->qparams.scale[c]) {
    fail_msg("'%s': scale %.9g in the file, expected %.9g", point->tensor, scale,
             (double)point->qparams.scale[c]);
  }
}

/* ---- ACL ---- */
/* Numbers behind each "key: " up to the end of a record. */
static size_t read_numbers(double *numbers, const char *record, const char *end, const char *key) {
  size_t n = 0;
  char label[32];
  snprintf(label, sizeof label, " %s: ", key);
  for (const char *at = record; (at = strstr(at, label)) && at < end; n++) {
    at += strlen(label);
    numbers[n] = strtod(at, NULL);
  }
  return n;
}

static void check_record(const char *text, const struct mq_node *layer) {
  char key[200];
  double scale[64], offset[64], data[2];
  float w_scale[64];
  int32_t zero[64] = {0};
  snprintf(key, sizeof key, "key: \"%s\"", layer->name);
  const char *record = strstr(text, key);
  assert_non_null(record);
  const char *end = strstr(record, "skip_fusion: true");
  assert_non_null(end);
  const struct mq_point *w = find_point(&e, layer->inputs[1]->name);
  assert_non_null(w);
  assert_int_equal(read_numbers(scale, record, end, "scale_w"), w->qparams.n_channels);
  assert_int_equal(read_numbers(offset, record, end, "offset_w"), w->qparams.n_channels);
  for (int64_t c = 0; c < w->qparams.n_channels; c++) {
    assert_scale(scale[c], w, c);
    w_scale[c] = (float)scale[c];
    assert_true(offset[c] == 0);
  }
  assert_same_integers(&e, w, w_scale, zero, -128, 127);
  const struct mq_value *x = layer->inputs[0]; /* or the tensor that a Clip or a Flatten is behind */
  while (!find_point(&e, x->name)) {
    x = x->producer->inputs[0];
  }
  const struct mq_point *point = find_point(&e, x->name);
  assert_int_equal(read_numbers(data, record, end, "scale_d"), 1);
  assert_int_equal(read_numbers(data + 1, record, end, "offset_d"), 1);
  assert_scale(data[0], point, 0);
  assert_true(data[1] == point->qparams.zero_point[0] - (point->qparams.is_signed ? 0 : 128));
  assert_true(data[1] >= -128 && data[1] <= 127);
  assert_clipped(&e, point, point->scheme.bits != 8);
}

static void acl_records(void **state) {
  (void)state;
  static const char *const targets[] = {"acl", "tvm"};
  for (size_t i = 0; i < 4; i++) {
    size_t n = 0;
    export_bundle(&e, "acl", targets[i / 2], i % 2 ? 4 : 8, i % 2 ? 5 : 8, NULL);
    char *text = read_exported(&e, ".txt");
    for (size_t k = 0; k < e.model->n_nodes; k++) {
      if (e.model->nodes[k]->op == MQ_OP_Conv || e.model->nodes[k]->op == MQ_OP_Gemm) {
        check_record(text, e.model->nodes[k]);
        n++;
      }
    }
    assert_true(n > 2);
    free(text);
    drop_export(&e);
  }
}

/* ---- PPL on CUDA, Tengine ---- */
static void ppl_cuda_lines(void **state) {
  (void)state;
  for (int bits = 8; bits >= 4; bits -= 4) {
    export_bundle(&e, "ppl_cuda", bits == 8 ? "snpe" : "fbgemm", bits, bits, NULL);
    char *text = read_exported(&e, ".txt");
    for (size_t i = 0; i < e.bundle.prepared.n_points; i++) {
      const struct mq_point *point = &e.bundle.prepared.points[i];
      const struct mq_qparams *q = &point->qparams;
      char label[200];
      if (point->kind == MQ_POINT_WEIGHT) {
        continue;
      }
      snprintf(label, sizeof label, "%s: ", point->tensor);
      const char *line = strstr(text, label);
      assert_non_null(line);
      double lo = fabs((double)q->scale[0] * (q->quant_min - q->zero_point[0])),
             hi = fabs((double)q->scale[0] * (q->quant_max - q->zero_point[0]));
      assert_true((float)strtod(line + strlen(label), NULL) == (float)fmax(lo, hi));
      assert_clipped(&e, point, bits != 8);
    }
    free(text);
    drop_export(&e);
  }
}

static void tengine_lines(void **state) {
  (void)state;
  export_bundle(&e, "tengine", "snpe", 8, 8, NULL);
  char *text = read_exported(&e, "_for_tengine.scale");
  size_t n_points = 0, n_repeated = 0;
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    char tensor[200];
    double scale;
    int zero;
    assert_int_equal(sscanf(line, "%199s %lf %d", tensor, &scale, &zero), 3);
    const struct mq_value *value = mq_graph_find_value(e.model, tensor);
    assert_non_null(value);
    bool is_repeated = !find_point(&e, tensor);
    if (is_repeated) { /* a conv before its Relu */
      assert_int_equal(value->producer->op, MQ_OP_Conv);
      assert_int_equal(value->uses[0].node->op, MQ_OP_Relu);
      value = value->uses[0].node->outputs[0];
    }
    const struct mq_point *point = find_point(&e, value->name);
    assert_non_null(point);
    assert_scale(scale, point, 0);
    assert_int_equal(zero, point->qparams.zero_point[0]);
    assert_in_range(zero, 0, 255);
    n_points += !is_repeated;
    n_repeated += is_repeated;
  }
  size_t n_activations = 0;
  for (size_t i = 0; i < e.bundle.prepared.n_points; i++) {
    n_activations += e.bundle.prepared.points[i].kind == MQ_POINT_ACTIVATION;
  }
  assert_int_equal(n_points, n_activations);
  assert_true(n_repeated > 0);
  free(text);
  drop_export(&e);
}

/* ---- OpenVINO ---- */
static const Onnx__TensorProto *find_tensor(const Onnx__GraphProto *graph, const char *name) {
  for (size_t i = 0; i < graph->n_initializer; i++) {
    if (!strcmp(graph->initializer[i]->name, name)) {
      return graph->initializer[i];
    }
  }
  return NULL;
}

static float float_at(const Onnx__TensorProto *tensor, int64_t i) {
  float x;
  assert_true((size_t)(i + 1) * sizeof x <= tensor->raw_data.len);
  memcpy(&x, tensor->raw_data.data + (size_t)i * sizeof x, sizeof x);
  return x;
}

/* OpenVINO's own formula, in double, gives the bundle's integers for its weights. */
static void check_weights(const Onnx__TensorProto *w, const Onnx__TensorProto *lo,
                          const Onnx__TensorProto *hi, int64_t levels, const struct mq_point *point) {
  const struct mq_qparams *q = &point->qparams;
  int64_t n_bounds = (int64_t)(lo->raw_data.len / sizeof(float)),
          n = (int64_t)(w->raw_data.len / sizeof(float));
  assert_int_equal(n_bounds, q->n_channels);
  if (q->channel_axis >= 0) {
    assert_int_equal(lo->n_dims, w->n_dims);
    assert_int_equal(lo->dims[q->channel_axis], q->n_channels);
  }
  int64_t inner = 1;
  for (size_t i = (size_t)(q->channel_axis + 1); q->channel_axis >= 0 && i < w->n_dims; i++) {
    inner *= w->dims[i];
  }
  int32_t least = q->is_signed ? -(1 << (point->scheme.bits - 1)) + point->scheme.is_narrow : 0;
  const float *before = mq_graph_find_value(e.bundle.prepared.graph, point->tensor)->constant->data;
  for (int64_t i = 0; i < n; i++) {
    int64_t c = q->channel_axis < 0 ? 0 : i / inner % q->n_channels;
    double il = (double)float_at(lo, c), ih = (double)float_at(hi, c), x = (double)float_at(w, i);
    double k = x <= il  ? 0
               : x > ih ? (double)(levels - 1)
                        : rint((x - il) / (ih - il) * (double)(levels - 1));
    double ours = (double)rintf(before[i] / q->scale[c]) + q->zero_point[c];
    if (k + least != ours) {
      fail_msg("%s[%lld]: integer %g, expected %g", point->tensor, (long long)i, k + least, ours);
    }
  }
}

static void check_fake_quantize(const Onnx__GraphProto *graph, const Onnx__NodeProto *node) {
  const Onnx__TensorProto *w = find_tensor(graph, node->input[0]);
  const Onnx__TensorProto *lo = find_tensor(graph, node->input[1]), *hi = find_tensor(graph, node->input[2]);
  assert_string_equal(node->domain, "org.openvinotoolkit");
  assert_int_equal(node->n_input, 5);
  assert_int_equal(node->n_attribute, 1);
  assert_string_equal(node->attribute[0]->name, "levels");
  assert_true(lo && hi);
  assert_string_equal(node->input[3], node->input[1]);
  assert_string_equal(node->input[4], node->input[2]);
  char name[200];
  snprintf(name, sizeof name, "%s", node->input[0]);
  char *suffix = strstr(name, "_float");
  if (suffix) {
    *suffix = 0; /* an output of the network */
    assert_string_equal(node->output[0], name);
  }
  const struct mq_point *point = find_point(&e, name);
  assert_non_null(point);
  const struct mq_qparams *q = &point->qparams;
  int64_t levels = node->attribute[0]->i;
  int32_t least = q->quant_min;
  bool is_relu = strstr(name, "relu") != NULL || strstr(name, "pool") != NULL;
  if (!w && is_relu && q->is_signed && point->scheme.is_narrow) {
    least--; /* never reached */
  }
  assert_int_equal(levels, q->quant_max - least + 1);
  if (w) {
    check_weights(w, lo, hi, levels, point);
  } else {
    assert_true(float_at(lo, 0) == q->scale[0] * (float)(least - q->zero_point[0]));
    assert_true(float_at(hi, 0) == q->scale[0] * (float)(q->quant_max - q->zero_point[0]));
  }
}

static void openvino_nodes(void **state) {
  (void)state;
  static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
  for (size_t i = 0; i < 12; i++) {
    struct mq_err err = {0};
    struct mq_onnx_message message = {0};
    char path[1000], *bytes = NULL;
    size_t n, n_nodes = 0;
    export_bundle(&e, "openvino", targets[i / 2], i % 2 ? 4 : 8, i % 2 ? 3 : 8, NULL);
    snprintf(path, sizeof path, "%s.onnx", e.stem);
    assert_ok(mq_file_read(&bytes, &n, path, 1 << 24, &err));
    assert_ok(
        mq_onnx_unpack(&message, (const uint8_t *)bytes, n, &onnx__model_proto__descriptor, path, &err));
    const Onnx__ModelProto *model = (const Onnx__ModelProto *)message.message;
    assert_int_equal(model->n_opset_import, 2);
    assert_string_equal(model->opset_import[1]->domain, "org.openvinotoolkit");
    for (size_t k = 0; k < model->graph->n_node; k++) {
      if (!strcmp(model->graph->node[k]->op_type, "FakeQuantize")) {
        check_fake_quantize(model->graph, model->graph->node[k]);
        n_nodes++;
      }
    }
    assert_int_equal(n_nodes, e.bundle.prepared.n_points);
    mq_onnx_message_deinit(&message);
    mq_free(bytes);
    drop_export(&e);
  }
}

/* ---- Refusals ---- */
static void what_a_format_cannot_express(void **state) {
  (void)state;
  static const struct {
    const char *format, *target, *says;
    int a_bits;
  } cases[] = {
      {"tensorrt", "snpe", "expected a zero point of 0", 8},
      {"tensorrt", "academic", "expected signed integers", 8},
      {"tensorrt", "tensorrt", "expected at most 8 bits", 16},
      {"acl", "snpe", "expected a zero point of 0", 8},
      {"acl", "tensorrt", "only convolutions have one per channel", 8},
      {"vitis", "tensorrt", "expected ", 8},
      {"vitis", "academic", "expected ", 8},
      {"stpu", "tvm", "expected from -127 (narrow)", 8},
      {"tengine", "tvm", "expected unsigned integers", 8},
      {"ppl_cuda", "acl", "expected at most 8 bits", 16},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct mq_bundle bundle;
    struct mq_err err = {0};
    make_bundle("b", cases[i].target, 8, cases[i].a_bits);
    assert_ok(read_bundle(&bundle, "b", &err));
    mq_status status = mq_export_check(mq_exporter_find(cases[i].format), &bundle, &err);
    if (status != MQ_BAD_INPUT || !strstr(err.message, cases[i].says) ||
        !strstr(err.message, cases[i].format)) {
      fail_msg("%s as %s: status %d, '%s'", cases[i].target, cases[i].format, status, err.message);
    }
    mq_bundle_deinit(&bundle);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(acl_records),
      cmocka_unit_test(ppl_cuda_lines),
      cmocka_unit_test(tengine_lines),
      cmocka_unit_test(openvino_nodes),
      cmocka_unit_test(what_a_format_cannot_express),
  };
  return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
