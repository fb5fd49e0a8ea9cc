/* Exports that are a float model and JSON: the scales that a reader works out are the bundle's, the weights
 * on them the bundle's integers, and ranges narrower than the format's are clipped in the model. */
#include <math.h>

#include "base/file.h"
#include "help_export.h"

static struct exported e;

static double number(const json_t *object, const char *key) {
  const json_t *item = json_object_get(object, key);
  if (!json_is_number(item)) {
    fail_msg("no number '%s'", key);
  }
  return json_number_value(item);
}

static void assert_scale(float scale, const struct mq_point *point, int64_t c) {
  if (scale != point->qparams.scale[c]) {
    fail_msg("'%s': scale %.9g in the file, expected %.9g", point->tensor, (double)scale,
             (double)point->qparams.scale[c]);
  }
}

/* Calls `check` for every point and its entry in the object that holds such. */
static void for_each_point(const json_t *activations, const json_t *weights,
                           void (*check)(const struct mq_point *point, const json_t *entry)) {
  for (size_t i = 0; i < e.bundle.prepared.n_points; i++) {
    const struct mq_point *point = &e.bundle.prepared.points[i];
    const json_t *all = point->kind == MQ_POINT_WEIGHT ? weights : activations;
    if (all) {
      if (!json_object_get(all, point->tensor)) {
        fail_msg("the file has no entry for '%s'", point->tensor);
      }
      check(point, json_object_get(all, point->tensor));
    }
  }
}

/* ---- SNPE ---- */
static void check_encoding(const struct mq_point *point, const json_t *list) {
  float scale[64];
  int32_t zero[64], hi = 0;
  assert_int_equal(json_array_size(list), point->qparams.n_channels);
  for (int64_t c = 0; c < point->qparams.n_channels; c++) {
    const json_t *entry = json_array_get(list, (size_t)c);
    int bits = (int)number(entry, "bitwidth");
    double least = number(entry, "min"), greatest = number(entry, "max"), step;
    assert_int_equal(bits, point->scheme.bits);
    hi = (1 << bits) - 1;
    step = (greatest - least) / hi;
    scale[c] = (float)step;
    zero[c] = (int32_t)rint(-least / step);
    assert_scale(scale[c], point, c);
    assert_true(number(entry, "offset") == -zero[c]);
    assert_in_range(zero[c], 0, hi);
  }
  if (point->kind == MQ_POINT_WEIGHT) {
    assert_same_integers(&e, point, scale, zero, 0, hi);
  } else {
    assert_clipped(&e, point, false);
  }
}

static void snpe_encodings(void **state) {
  (void)state;
  static const char *const targets[] = {"snpe", "fbgemm", "tensorrt", "acl", "tvm", "academic"};
  static const int bits[][2] = {{8, 8}, {4, 4}, {3, 16}};
  for (size_t i = 0; i < 18; i++) {
    export_bundle(&e, "snpe", targets[i / 3], bits[i % 3][0], bits[i % 3][1], NULL);
    json_t *object = load_exported(&e, ".json");
    for_each_point(json_object_get(object, "activation_encodings"),
                   json_object_get(object, "param_encodings"), check_encoding);
    json_decref(object);
    drop_export(&e);
  }
}

static void learn_another_range(struct mq_prepared *prepared) {
  prepared->points[0].qparams.quant_min = -5; /* the network's input */
  prepared->points[0].qparams.quant_max = 6;
}

/* A learned grid that ends elsewhere than its bits do. */
static void ranges_within_the_bits_are_clipped(void **state) {
  (void)state;
  export_bundle(&e, "snpe", "tensorrt", 4, 4, learn_another_range);
  assert_int_equal(e.bundle.prepared.points[0].kind, MQ_POINT_ACTIVATION);
  json_t *object = load_exported(&e, ".json");
  char name[200];
  assert_clipped(&e, &e.bundle.prepared.points[0], true);
  snprintf(name, sizeof name, "%s_clipped", e.bundle.prepared.points[0].tensor);
  assert_non_null(json_object_get(json_object_get(object, "activation_encodings"), name));
  json_decref(object);
  drop_export(&e);
}

/* ---- TensorRT ---- */
static void check_blob(const struct mq_point *point, const json_t *entry) {
  assert_scale((float)(json_number_value(entry) / 127), point, 0);
  assert_clipped(&e, point, point->scheme.bits != 8);
}

static void tensorrt_ranges(void **state) {
  (void)state;
  for (int bits = 8; bits >= 4; bits -= 2) {
    export_bundle(&e, "tensorrt", "tensorrt", bits, bits, NULL);
    json_t *object = load_exported(&e, ".json");
    for_each_point(json_object_get(json_object_get(object, "tensorrt"), "blob_range"), NULL, check_blob);
    json_decref(object);
    for (size_t i = 0; i < e.bundle.prepared.n_points; i++) {
      const struct mq_point *point = &e.bundle.prepared.points[i];
      if (point->kind == MQ_POINT_WEIGHT) {
        assert_same_integers(&e, point, point->qparams.scale, point->qparams.zero_point, -127, 127);
      }
    }
    drop_export(&e);
  }
}

static void tensorrt_cache(void **state) {
  (void)state;
  export_bundle(&e, "tensorrt", "tensorrt", 4, 4, NULL);
  char *text = read_exported(&e, ".cache"), *line = strtok(text, "\n");
  size_t n = 0;
  assert_string_equal(line, "TRT-7000-EntropyCalibration2");
  while ((line = strtok(NULL, "\n"))) {
    char *colon = strrchr(line, ':');
    assert_non_null(colon);
    uint32_t bits = (uint32_t)strtoul(colon + 2, NULL, 16);
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    *colon = 0;
    assert_non_null(mq_graph_find_value(e.model, line));
    const struct mq_point *point = find_point(&e, line);
    if (point) {
      assert_int_equal(strlen(colon + 2), 8);
      assert_scale(scale, point, 0);
      n++;
    }
  }
  assert_true(n > 3);
  free(text);
  drop_export(&e);
}

/* ---- Vitis ---- */
static void check_vitis(const struct mq_point *point, const json_t *entry) {
  float scale = (float)number(entry, "scale");
  assert_scale(scale, point, 0);
  if (point->kind == MQ_POINT_WEIGHT) {
    assert_same_integers(&e, point, &scale, point->qparams.zero_point, -128, 127);
  } else {
    assert_clipped(&e, point, point->scheme.bits != 8);
  }
}

static void vitis_scales_and_biases(void **state) {
  (void)state;
  for (int bits = 8; bits >= 4; bits -= 4) {
    size_t n_biases = 0;
    export_bundle(&e, "vitis", "tvm", bits, bits, NULL);
    json_t *object = load_exported(&e, ".json");
    const json_t *scales = json_object_get(object, "vitis");
    for_each_point(scales, scales, check_vitis);
    for (size_t i = 0; i < e.model->n_nodes; i++) {
      const struct mq_node *node = e.model->nodes[i];
      const struct mq_value *bias = node->n_inputs > 2 && node->op != MQ_OP_Clip ? node->inputs[2] : NULL;
      if (!bias) {
        continue;
      }
      int exponent;
      double scale = number(json_object_get(scales, bias->name), "scale"), largest = 0;
      assert_true(frexp(scale, &exponent) == 0.5);
      const float *before = mq_graph_find_value(e.bundle.prepared.graph, bias->name)->constant->data;
      for (int64_t c = 0; c < mq_shape_count(&bias->shape); c++) {
        double q = mq_tensor_get_double(bias->constant, c) / scale;
        assert_true(q == rint(q) && fabs(q) <= 127);
        assert_true(fabs(q - (double)before[c] / scale) <= 0.5);
        largest = fmax(largest, fabs((double)before[c]));
      }
      assert_true(largest / (scale / 2) > 127); /* half of it would not do */
      n_biases++;
    }
    assert_true(n_biases > 0);
    json_decref(object);
    drop_export(&e);
  }
}

/* ---- PPL ---- */
static double at(const json_t *item, int64_t c) {
  return json_number_value(json_is_array(item) ? json_array_get(item, (size_t)c) : item);
}

static void check_ppl(const struct mq_point *point, const json_t *entry) {
  float scale[64];
  int32_t zero[64];
  const struct mq_qparams *q = &point->qparams;
  const json_t *steps = json_object_get(entry, "step");
  assert_int_equal(json_is_array(steps), q->channel_axis >= 0);
  assert_true(number(entry, "bit") == point->scheme.bits);
  assert_string_equal(json_string_value(json_object_get(entry, "type")), "biased");
  for (int64_t c = 0; c < q->n_channels; c++) {
    scale[c] = (float)at(steps, c);
    zero[c] = (int32_t)at(json_object_get(entry, "zero_point"), c);
    assert_scale(scale[c], point, c);
    assert_true(rint(at(json_object_get(entry, "min"), c) / at(steps, c)) + zero[c] == q->quant_min);
    assert_true(rint(at(json_object_get(entry, "max"), c) / at(steps, c)) + zero[c] == q->quant_max);
  }
  if (point->kind == MQ_POINT_WEIGHT) {
    assert_same_integers(&e, point, scale, zero, q->quant_min, q->quant_max);
  }
}

static void ppl_w8a16(void **state) {
  (void)state;
  static const struct {
    const char *target;
    int w_bits, a_bits;
  } cases[] = {{"snpe", 8, 16}, {"fbgemm", 8, 8}, {"fbgemm", 4, 5}, {"tensorrt", 8, 8}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    export_bundle(&e, "ppl_w8a16", cases[i].target, cases[i].w_bits, cases[i].a_bits, NULL);
    json_t *object = load_exported(&e, ".json");
    const json_t *all = json_object_get(object, "ppl");
    for_each_point(all, all, check_ppl);
    json_decref(object);
    drop_export(&e);
  }
}

/* ---- STPU ---- */
static const json_t *entries;

static void check_stpu(const struct mq_point *point, const json_t *entry) {
  assert_true(number(entry, "min") == -number(entry, "max"));
  assert_scale((float)(number(entry, "max") / 127), point, 0);
  assert_clipped(&e, point, point->scheme.bits != 8);
}

/* The exponent field of the float32 that holds the value, by its bits. */
static int exponent_field(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (int)(bits >> 23 & 255);
}

static void check_stpu_layer(const struct mq_node *node) {
  char name[200];
  float w_scale;
  const json_t *x = json_object_get(entries, node->inputs[0]->name),
               *y = json_object_get(entries, node->outputs[0]->name);
  snprintf(name, sizeof name, "%s_weights", node->name);
  double w_max = number(json_object_get(entries, name), "max");
  w_scale = (float)(w_max / 127);
  const struct mq_point *w = find_point(&e, node->inputs[1]->name);
  assert_non_null(w);
  assert_scale(w_scale, w, 0);
  assert_same_integers(&e, w, &w_scale, w->qparams.zero_point, -127, 127);
  if (x && node->n_inputs > 2) {
    snprintf(name, sizeof name, "%s_bias", node->name);
    const json_t *bias = json_object_get(entries, name);
    double alpha = number(x, "max") / 127 * w_max / 127;
    assert_true(fabs(number(bias, "alpha") / alpha - 1) < 1e-6 && number(bias, "zero_point") == 0);
  }
  if (x && y) {
    const struct mq_shape *s = &node->inputs[1]->shape;
    double n = node->op == MQ_OP_Conv ? (double)(s->dim[1] * s->dim[2] * s->dim[3]) : 0;
    double sum = fmax(sqrt(n) * number(x, "max") * w_max, number(y, "max"));
    int emin = node->op == MQ_OP_Conv ? exponent_field((float)sum) - 10 : 128;
    assert_true(number(y, "emin") == emin);
  }
}

/* No file of targets/ is narrow per tensor. */
static const char *narrow_target(void) {
  static char path[700];
  const char *const text =
      "name: narrow\ndescribes: d\n"
      "weights: {bits: 8, signed: true, narrow: true, symmetric: true, granularity: tensor}\n"
      "activations: {bits: 8, signed: true, narrow: true, symmetric: true, granularity: tensor}\n"
      "overrides: []\npoints: graph3\nfold_bn: true\narithmetic: none\nbias: int32\nartefacts: [stpu]\n";
  snprintf(path, sizeof path, "%s/narrow.yaml", scratch);
  struct mq_err err = {0};
  assert_ok(mq_file_write(path, text, strlen(text), &err));
  return path;
}

static void stpu_ranges(void **state) {
  (void)state;
  for (int bits = 8; bits >= 4; bits -= 4) {
    size_t n_layers = 0;
    export_bundle(&e, "stpu", narrow_target(), bits, bits, NULL);
    json_t *object = load_exported(&e, ".json");
    entries = object;
    for_each_point(object, NULL, check_stpu);
    for (size_t i = 0; i < e.model->n_nodes; i++) {
      const struct mq_node *node = e.model->nodes[i];
      if (node->op == MQ_OP_Conv || node->op == MQ_OP_Gemm) {
        check_stpu_layer(node);
        n_layers++;
      }
      if (node->op == MQ_OP_Relu && json_object_get(object, node->outputs[0]->name)) { /* fused */
        assert_true(number(json_object_get(object, node->inputs[0]->name), "max") ==
                    number(json_object_get(object, node->outputs[0]->name), "max"));
      }
    }
    assert_true(n_layers > 2);
    json_decref(object);
    drop_export(&e);
  }
}

/* ---- NNIE ---- */

/* The format's integer of x below the clip 2^(top/16): 16 log2|x| to the nearest, 128 of them, or nothing. */
static double log_code(double x, double top) {
  double code = rint(16 * log2(fabs(x))), least = top - 127;
  bool is_zero = x == 0 || code < least - 16;
  return is_zero ? 0 : copysign(fmin(fmax(code, least), top) - least + 1, x);
}

static const struct mq_node *layer_of(const struct mq_point *weights) {
  const struct mq_value *value = mq_graph_find_value(e.model, weights->tensor);
  assert_non_null(value);
  assert_int_equal(value->n_uses, 1);
  return value->uses[0].node;
}

/* One clip, a whole number of sixteenths of an octave, that of what the layer reads. */
static double check_clip(const json_t *layers, const struct mq_node *layer) {
  const json_t *clips = json_object_get(layers, layer->name);
  assert_int_equal(json_array_size(clips), 1);
  double top = 16 * log2(json_number_value(json_array_get(clips, 0)));
  assert_true(fabs(top - rint(top)) < 1e-6);
  const struct mq_point *x = find_point(&e, layer->inputs[0]->name);
  if (x) assert_true(fabs(top - 16 * log2(127 * (double)x->qparams.scale[0])) <= 0.5 + 1e-6);
  return x ? 1 : 0;
}

static void nnie_clips(void **state) {
  (void)state;
  double n_points = 0;
  export_bundle(&e, "nnie", "nnie", 8, 8, NULL);
  json_t *object = load_exported(&e, ".json");
  const json_t *layers = json_object_get(json_object_get(object, "nnie"), "gfpq_param_dict");
  for (size_t i = 0; i < e.bundle.prepared.n_points; i++) {
    const struct mq_point *point = &e.bundle.prepared.points[i];
    if (point->kind != MQ_POINT_WEIGHT) continue;
    n_points += check_clip(layers, layer_of(point));
    const struct mq_tensor *ours = mq_graph_find_value(e.bundle.prepared.graph, point->tensor)->constant;
    const struct mq_tensor *theirs = mq_graph_find_value(e.model, point->tensor)->constant;
    double top = rint(16 * log2(127 * (double)point->qparams.scale[0]));
    for (int64_t k = 0; k < mq_shape_count(&ours->shape); k++) {
      double w = mq_tensor_get_double(theirs, k);
      assert_true(fabs(w) <= exp2(top / 16) * (1 + 1e-6));
      assert_true(log_code(w, top) == log_code(mq_tensor_get_double(ours, k), top));
    }
  }
  assert_true(n_points > 0);
  json_decref(object);
  drop_export(&e);
}

/* What every target hands over by itself. */
static void targets_write_their_own_formats(void **state) {
  (void)state;
  struct mq_arena arena;
  struct mq_target_item *items = NULL;
  struct mq_err err = {0};
  size_t n = 0, n_written = 0;
  mq_arena_init(&arena, 0);
  assert_ok(mq_target_list(&items, &n, &arena, &err));
  for (size_t i = 0; i < n; i++) {
    struct mq_target *target = NULL;
    assert_ok(mq_target_load(&target, items[i].name, &err));
    for (size_t k = 0; k < target->n_artefacts; k++, n_written++) {
      if (!mq_exporter_find(target->artefacts[k])) fail_msg("no format %s", target->artefacts[k]);
      export_bundle(&e, target->artefacts[k], items[i].name, 0, 0, NULL);
      drop_export(&e);
    }
    mq_target_destroy(target);
  }
  assert_true(n >= 18 && n_written >= 18);
  mq_arena_deinit(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(snpe_encodings),
      cmocka_unit_test(ranges_within_the_bits_are_clipped),
      cmocka_unit_test(tensorrt_ranges),
      cmocka_unit_test(tensorrt_cache),
      cmocka_unit_test(ppl_w8a16),
      cmocka_unit_test(vitis_scales_and_biases),
      cmocka_unit_test(stpu_ranges),
      cmocka_unit_test(nnie_clips),
      cmocka_unit_test(targets_write_their_own_formats),
  };
  return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
