/* Target files: the paper's six, and every way a file can be wrong. */
#include "common.h"
#include "target/read.h"

static const char good[] =
    "name: mine\n"
    "describes: a target\n"
    "weights: {bits: 8, signed: true, symmetric: true, granularity: channel, scale: float}\n"
    "activations: {bits: 8, signed: false, symmetric: false, granularity: tensor, scale: float}\n"
    "overrides: []\n"
    "points: graph3\n"
    "fold_bn: true\n"
    "arithmetic: tflite_ref\n"
    "bias: int32\n"
    "artefacts: [snpe, onnx_qdq]\n";

static mq_status parse(struct mq_target **target, const char *text, struct mq_err *err) {
  return mq_target_parse(target, text, strlen(text), "mine.yaml", err);
}

/* `good` with the line that begins with `key` replaced (removed by ""). */
static const char *with(const char *key, const char *line) {
  static char text[2048];
  const char *at = strstr(good, key);
  assert_non_null(at);
  snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, line, strchr(at, '\n') + 1);
  return text;
}

static void refuses(const char *text, const char *message) {
  struct mq_target *target = (struct mq_target *)1;
  struct mq_err err;
  assert_fails(MQ_BAD_INPUT, message, parse(&target, text, &err));
  assert_null(target);
}

static void good_file_is_read(void **state) {
  (void)state;
  struct mq_target *t = NULL;
  struct mq_err err;
  assert_ok(parse(&t, good, &err));
  assert_string_equal(t->name, "mine");
  assert_string_equal(t->describes, "a target");
  assert_string_equal(t->file, "mine.yaml");
  assert_int_equal(strlen(t->sha256), 64);
  assert_true(t->weights.is_per_channel && t->weights.is_signed && t->weights.is_symmetric);
  assert_int_equal(t->activations.bits, 8);
  assert_false(t->activations.is_signed || t->activations.is_symmetric || t->activations.is_per_channel);
  assert_int_equal(t->points.add, MQ_ADD_BOTH);
  assert_true(t->points.network_input && t->points.network_output);
  assert_string_equal(t->arithmetic, "tflite_ref");
  assert_int_equal(t->bias, MQ_BIAS_INT32);
  assert_int_equal(t->n_artefacts, 2);
  assert_string_equal(t->artefacts[1], "onnx_qdq");
  mq_target_destroy(t);
}

static void points_can_be_spelled_out(void **state) {
  (void)state;
  struct mq_target *t = NULL;
  struct mq_err err;
  assert_ok(parse(&t,
                  with("points:",
                       "points: {inputs: [Conv, Gemm], outputs: [Conv, Add], add: epilogue, concat: shared, "
                       "pool: none, network_input: true, network_output: false}\n"),
                  &err));
  assert_string_equal(t->points.name, "custom");
  assert_int_equal(t->points.input_ops, (1u << MQ_QUANT_CONV) | (1u << MQ_QUANT_LINEAR));
  assert_int_equal(t->points.output_ops, (1u << MQ_QUANT_CONV) | (1u << MQ_QUANT_ADD));
  assert_int_equal(t->points.add, MQ_ADD_EPILOGUE);
  assert_int_equal(t->points.concat, MQ_CONCAT_SHARED);
  assert_false(t->points.network_output);
  mq_target_destroy(t);
  assert_ok(
      parse(&t, with("points:", "points: {rule: graph3, pool: input_scale, network_output: no}\n"), &err));
  assert_string_equal(t->points.name, "graph3");
  assert_int_equal(t->points.pool, MQ_POOL_INPUT_SCALE);
  assert_int_equal(t->points.add, MQ_ADD_BOTH);
  assert_false(t->points.network_output);
  mq_target_destroy(t);
}

static void overrides_are_read(void **state) {
  (void)state;
  struct mq_target *t = NULL;
  struct mq_err err;
  assert_ok(parse(&t,
                  with("overrides:",
                       "overrides:\n"
                       "  - {role: activation, after: relu, signed: false, narrow: false}\n"
                       "  - {op: first, bits: 8}\n"
                       "  - {role: weight, op: linear, granularity: tensor, scale: pot}\n"
                       "  - {layer: '/conv[12]/', keep_float: true}\n"),
                  &err));
  assert_int_equal(t->n_overrides, 4);
  const struct mq_scheme_override *o = t->overrides;
  assert_true(o[0].is_after_relu && o[0].is_for_activations && !o[0].is_for_weights);
  assert_int_equal(o[0].is_signed, 0);
  assert_int_equal(o[0].bits, -1);
  assert_true(o[1].is_first_op && o[1].is_for_activations && o[1].is_for_weights);
  assert_int_equal(o[1].bits, 8);
  assert_int_equal(o[2].op, MQ_QUANT_LINEAR);
  assert_int_equal(o[2].is_per_channel, 0);
  assert_int_equal(o[2].scale_form, MQ_SCALE_POT);
  assert_string_equal(o[3].layer, "/conv[12]/");
  assert_int_equal(o[3].keep_float, 1);
  mq_target_destroy(t);
}

static void missing_fields(void **state) {
  (void)state;
  static const char *const keys[] = {"name",   "describes", "weights", "activations",
                                     "points", "fold_bn",   "bias"};
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    char key[32], message[64];
    snprintf(key, sizeof key, "%s:", keys[i]);
    snprintf(message, sizeof message, "key '%s' is missing", keys[i]);
    refuses(with(key, ""), message);
  }
  refuses(with("weights:", "weights: {bits: 8, signed: true, granularity: tensor}\n"),
          "'symmetric' is missing");
}

static void unknown_keys(void **state) {
  (void)state;
  refuses(with("fold_bn:", "fold_bn: true\nfoldbn: true\n"), "mine.yaml:8: unknown key 'foldbn'");
  refuses(with("weights:", "weights: {bits: 8, sign: true}\n"), "mine.yaml:3: unknown key 'sign'");
  refuses(with("points:", "points: {rule: graph3, pools: output}\n"), "mine.yaml:6: unknown key 'pools'");
  refuses(with("overrides:", "overrides: [{ops: first}]\n"), "mine.yaml:5: unknown key 'ops'");
}

static void wrong_values(void **state) {
  (void)state;
  refuses(with("weights:", "weights: [8]\n"), "mine.yaml:3");
  refuses(with("weights:", "weights: {bits: 9, signed: true, symmetric: true, granularity: tensor}\n"),
          "mine.yaml:3: weights.bits: found '9', expected a whole number from 2 to 8");
  refuses(with("weights:", "weights: {bits: 1, signed: true, symmetric: true, granularity: tensor}\n"),
          "weights.bits: found '1', expected a whole number from 2 to 8");
  refuses(
      with("activations:", "activations: {bits: 9, signed: true, symmetric: true, granularity: tensor}\n"),
      "mine.yaml:4: activations.bits: found '9', expected a whole number from 2 to 8, or 16");
  refuses(with("overrides:", "overrides: [{op: first}]\n"),
          "mine.yaml:5: override sets nothing, expected bits");
  refuses(with("overrides:", "overrides: [{layer: conv1, role: weight}]\n"),
          "override of layer conv1 sets nothing");
  refuses(with("weights:", "weights: {bits: 8, signed: adaptive, symmetric: true, granularity: tensor}\n"),
          "adaptive is for activations");
  refuses(with("weights:",
               "weights: {bits: 8, signed: false, narrow: true, symmetric: true, granularity: tensor}\n"),
          "expected signed: true");
  refuses(with("weights:",
               "weights: {bits: 8, signed: true, symmetric: false, granularity: tensor, scale: pot}\n"),
          "scale: pot with symmetric: false");
  refuses(
      with("activations:", "activations: {bits: 8, signed: true, symmetric: true, granularity: channel}\n"),
      "granularity: channel for activations");
  refuses(with("activations:",
               "activations: {bits: eight, signed: true, symmetric: true, granularity: tensor}\n"),
          "found 'eight'");
  refuses(with("points:", "points: graph4\n"),
          "mine.yaml:6: points: found 'graph4', expected one of: graph1");
  refuses(with("points:", "points: {inputs: Conv}\n"), "expected a list of ops");
  refuses(with("points:", "points: {inputs: [Softmax]}\n"), "found 'Softmax'");
  refuses(with("points:", "points: {inputs: [Add], add: both}\n"), "no op with weights");
  refuses(with("points:", "points: {inputs: [Conv, Add]}\n"), "Add is listed but add is none");
  refuses(with("fold_bn:", "fold_bn: 3\n"), "mine.yaml:7: fold_bn: found '3', expected true or false");
  refuses(with("arithmetic:", "arithmetic: magic\n"), "mine.yaml:8: arithmetic: found 'magic'");
  refuses(with("bias:", "bias: float32\n"), "mine.yaml:9: bias: found float32, expected int32");
  refuses(with("arithmetic:", "arithmetic: pot_shift\n"),
          "mine.yaml:8: arithmetic pot_shift has no zero points");
  refuses(with("arithmetic:", "arithmetic: tflite_ref\nhalf_even: true\n"), "mine.yaml:9: half_even");
  refuses(with("artefacts:", "artefacts: [gguf]\n"), "mine.yaml:10: artefacts[0]: found 'gguf'");
  refuses(with("overrides:", "overrides: [{layer: '/(/', bits: 4}]\n"), "mine.yaml:5: layer:");
  refuses(with("overrides:", "overrides: [{layer: '/a{9}{9}/', bits: 4}]\n"), "may not have {m,n}");
  refuses(with("overrides:", "overrides: [{layer: '/a+++++++++/', bits: 4}]\n"), "more than 8 +");
  refuses(with("overrides:", "overrides: [{op: third}]\n"), "expected first, last");
  refuses(with("overrides:", "overrides: [{after: relu, bits: 4}]\n"), "role: activation");
  refuses(with("overrides:", "overrides: 3\n"), "overrides: found '3', expected a list");
  refuses(with("name:", "name: a/b\n"), "mine.yaml:1: name: found 'a/b'");
  refuses("", "mine.yaml");
}

/* What looks like a value and says nothing. */
static void empty_values(void **state) {
  (void)state;
  static const char name[] = "expected 1 to 64 letters, digits, '_', '-' or '.', the first of them a letter";
  refuses(with("name:", "name: \"\"\n"), "mine.yaml:1: name: found '', expected 1 to 64 letters");
  refuses(with("name:", "name: ..\n"), name);
  refuses(with("name:", "name: -x\n"), name);
  refuses(with("name:", "name: a/b\n"), name);
  refuses(with("name:", "name: a2345678901234567890123456789012345678901234567890123456789012345\n"), name);
  static const char line[] = "mine.yaml:2: describes: found '";
  refuses(with("describes:", "describes: \"\"\n"), line);
  refuses(with("describes:", "describes: \"  \"\n"), line);
  refuses(with("describes:", "describes: \"two\\nlines\"\n"), "expected one line of text, 1 to 200 bytes");
  char text[400];
  snprintf(text, sizeof text, "describes: %0300d\n", 0);
  refuses(with("describes:", text), line);
  refuses(with("overrides:", "overrides: [{}]\n"), "mine.yaml:5: override sets nothing, expected bits");
  refuses(with("overrides:", "overrides: [~]\n"), "mine.yaml:5: overrides[0]: found '~', expected a map");
  refuses(with("overrides:", "overrides: [{layer: '', bits: 4}]\n"),
          "mine.yaml:5: overrides[0].layer: found '', expected the name of a node or tensor");
  refuses(with("overrides:", "overrides: [{layer: //, bits: 4}]\n"), "overrides[0].layer: found '//'");
  refuses(with("overrides:", "overrides: [{layer: '/(/', bits: 4}]\n"),
          "expected a name or a POSIX extended");
  refuses(with("weights:", "weights: {}\n"), "mine.yaml:3: key 'bits' is missing");
  refuses(with("points:", "points: {}\n"), "mine.yaml:6: no op with weights is quantized, expected Conv or");
  refuses(with("artefacts:", "artefacts: ['']\n"), "mine.yaml:10: artefacts[0]: found '', expected one of");
}

static void words_given_twice(void **state) {
  (void)state;
  refuses(with("points:", "points: {inputs: [Conv, Conv]}\n"),
          "mine.yaml:6: points.inputs[1]: found 'Conv', expected each word once");
  refuses(with("artefacts:", "artefacts: [snpe, onnx_qdq, snpe]\n"),
          "mine.yaml:10: artefacts[2]: found 'snpe', expected each word once");
  refuses(with("bias:", "bias: int32\nbias: int32\n"), "mine.yaml:10: key 'bias' is given twice");
}

/* Fields that are fine alone and cannot both be. */
static void contradictions(void **state) {
  (void)state;
  refuses(with("overrides:", "overrides: [{op: first, signed: false, narrow: true}]\n"),
          "mine.yaml:5: narrow: true with signed: false, expected");
  refuses(with("overrides:", "overrides: [{op: first, symmetric: false, scale: pot}]\n"),
          "mine.yaml:5: scale: pot with symmetric: false, expected");
  refuses(with("overrides:", "overrides: [{op: first, keep_float: true, bits: 4}]\n"),
          "mine.yaml:5: keep_float: true beside fields of a scheme, expected one or the other");
  refuses(
      "name: mine\n"
      "describes: a target\n"
      "weights: {bits: 8, signed: true, symmetric: true, granularity: tensor, scale: pot}\n"
      "activations: {bits: 8, signed: true, symmetric: true, granularity: tensor, scale: pot}\n"
      "overrides:\n"
      "  - {op: first, bits: 8}\n"
      "  - {op: last, scale: float}\n"
      "points: graph3\n"
      "fold_bn: true\n"
      "arithmetic: pot_shift\n"
      "bias: int32\n",
      "mine.yaml:7: scale: float beside arithmetic pot_shift, which shifts, expected pot");
  refuses(
      "name: mine\n"
      "describes: a target\n"
      "weights: {bits: 8, signed: true, symmetric: true, granularity: tensor}\n"
      "activations: {bits: 8, signed: true, symmetric: true, granularity: tensor}\n"
      "overrides: [{op: last, symmetric: false}]\n"
      "points: graph2\n"
      "fold_bn: true\n"
      "arithmetic: trt_model\n"
      "bias: float32\n",
      "mine.yaml:5: symmetric: false beside arithmetic trt_model, which has no zero points, expected true");
}

static void the_papers_six(void **state) {
  (void)state;
  static const struct {
    const char *name, *rule, *arithmetic;
    mq_bias_form bias;
    bool is_w_per_channel, is_w_symmetric, is_a_symmetric, is_pot, folds_bn, network_output;
  } rows[] = {
      /* the paper's Table 2 and targets.md */
      {"academic", "graph1", "dequant_f32", MQ_BIAS_INT32, false, true, true, false, false, false},
      {"acl", "graph1", "dequant_f32", MQ_BIAS_INT32, true, true, false, false, true, false},
      {"fbgemm", "graph3", "fbgemm", MQ_BIAS_FLOAT, true, false, false, false, true, true},
      {"snpe", "graph3", "tflite_ref", MQ_BIAS_INT32, false, false, false, false, true, true},
      {"tensorrt", "graph2", "trt_model", MQ_BIAS_FLOAT, true, true, true, false, true, false},
      {"tvm", "graph3", "pot_shift", MQ_BIAS_INT32, false, true, true, true, true, true},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct mq_target *t = NULL;
    struct mq_err err;
    assert_ok(mq_target_load(&t, rows[i].name, &err));
    assert_string_equal(t->name, rows[i].name);
    assert_string_equal(t->points.name, rows[i].rule);
    assert_string_equal(t->arithmetic, rows[i].arithmetic);
    assert_int_equal(t->bias, rows[i].bias);
    assert_int_equal(t->weights.is_per_channel, rows[i].is_w_per_channel);
    assert_int_equal(t->weights.is_symmetric, rows[i].is_w_symmetric);
    assert_int_equal(t->activations.is_symmetric, rows[i].is_a_symmetric);
    assert_int_equal(t->weights.scale_form == MQ_SCALE_POT, rows[i].is_pot);
    assert_int_equal(t->activations.scale_form == MQ_SCALE_POT, rows[i].is_pot);
    assert_int_equal(t->folds_bn, rows[i].folds_bn);
    assert_int_equal(t->points.network_output, rows[i].network_output);
    assert_int_equal(t->activations.is_sign_adaptive, i == 0);
    assert_int_equal(t->weights.is_narrow, i == 4);
    assert_int_equal(t->activations.is_narrow, i == 4);
    mq_target_destroy(t);
  }
}

static void further_backends(void **state) {
  (void)state;
  static const struct {
    const char *name, *arithmetic, *twin, *artefact; /* arithmetic "": none */
    int w_bits, a_bits;
    bool is_w_signed, is_w_symmetric, is_w_per_channel, is_narrow, is_a_signed, is_a_symmetric, is_pot;
    mq_add_rule add;
    bool network_output;
  } rows[] = {
      {"academic_nlp", "", "", "onnx_qdq", 8, 8, 1, 1, 0, 0, 1, 1, 0, MQ_ADD_NONE, 0},
      {"fbgemm_lib", "fbgemm", "fbgemm", "onnx_qdq", 8, 8, 1, 1, 1, 0, 0, 0, 0, MQ_ADD_BOTH, 1},
      {"nnie", "", "", "nnie", 8, 8, 1, 1, 0, 1, 1, 1, 0, MQ_ADD_EPILOGUE, 0},
      {"onnx_qdq", "ort", "", "onnx_qdq", 8, 8, 1, 1, 1, 1, 1, 1, 0, MQ_ADD_BOTH, 0},
      {"onnx_qoperator", "ort", "onnxruntime", "onnx_qoperator", 8, 8, 0, 0, 0, 0, 0, 0, 0, MQ_ADD_BOTH, 1},
      {"openvino", "", "", "openvino", 8, 8, 1, 1, 1, 0, 1, 1, 0, MQ_ADD_BOTH, 0},
      {"ppl_cuda", "", "", "ppl_cuda", 8, 8, 0, 0, 1, 0, 0, 0, 0, MQ_ADD_BOTH, 1},
      {"ppl_w8a16", "", "", "ppl_w8a16", 8, 16, 0, 0, 0, 0, 0, 0, 0, MQ_ADD_BOTH, 1},
      {"stpu", "", "", "stpu", 8, 8, 1, 1, 0, 1, 1, 1, 0, MQ_ADD_BOTH, 1},
      {"tengine_u8", "", "", "tengine", 8, 8, 0, 0, 0, 0, 0, 0, 0, MQ_ADD_BOTH, 1},
      {"tensorrt_nlp", "", "", "onnx_qdq", 8, 8, 1, 1, 1, 1, 1, 1, 0, MQ_ADD_BOTH, 0},
      {"vitis", "", "", "vitis", 8, 8, 1, 1, 0, 0, 1, 1, 1, MQ_ADD_BOTH, 1},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct mq_target *t = NULL;
    struct mq_err err;
    assert_ok(mq_target_load(&t, rows[i].name, &err));
    assert_string_equal(t->arithmetic ? t->arithmetic : "", rows[i].arithmetic);
    assert_string_equal(t->twin ? t->twin : "", rows[i].twin);
    assert_int_equal(t->n_artefacts, 1);
    assert_string_equal(t->artefacts[0], rows[i].artefact);
    assert_int_equal(t->weights.bits, rows[i].w_bits);
    assert_int_equal(t->activations.bits, rows[i].a_bits);
    assert_int_equal(t->weights.is_signed, rows[i].is_w_signed);
    assert_int_equal(t->weights.is_symmetric, rows[i].is_w_symmetric);
    assert_int_equal(t->weights.is_per_channel, rows[i].is_w_per_channel);
    assert_int_equal(t->weights.is_narrow, rows[i].is_narrow);
    assert_int_equal(t->activations.is_signed, rows[i].is_a_signed);
    assert_int_equal(t->activations.is_symmetric, rows[i].is_a_symmetric);
    assert_int_equal(t->weights.scale_form == MQ_SCALE_POT, rows[i].is_pot);
    assert_int_equal(t->points.add, rows[i].add);
    assert_int_equal(t->points.network_output, rows[i].network_output);
    mq_target_destroy(t);
  }
}

static void ops_beyond_the_graph_rules(void **state) {
  (void)state;
  struct mq_target *t = NULL;
  struct mq_err err;
  assert_ok(parse(&t, with("points:", "points: {inputs: [Gemm, Product], outputs: [HardSwish]}\n"), &err));
  assert_int_equal(t->points.input_ops, (1u << MQ_QUANT_LINEAR) | (1u << MQ_QUANT_PRODUCT));
  assert_int_equal(t->points.output_ops, 1u << MQ_QUANT_UNARY);
  mq_target_destroy(t);
  refuses(with("points:", "points: {inputs: [Conv, Sigmoid]}\n"), "mine.yaml:6: Sigmoid among inputs");
  assert_ok(parse(&t, with("overrides:", "overrides: [{role: weight, op: depthwise, max_bits: 7}]\n"), &err));
  assert_true(t->overrides[0].is_depthwise);
  assert_int_equal(t->overrides[0].max_bits, 7);
  assert_int_equal(t->overrides[0].bits, -1);
  mq_target_destroy(t);
  refuses(with("overrides:", "overrides: [{op: depthwise, max_bits: 9}]\n"),
          "max_bits: found '9', expected a whole number from 2 to 8");
}

static void targets_are_listed_in_order(void **state) {
  (void)state;
  struct mq_arena arena;
  struct mq_target_item *items = NULL;
  struct mq_err err;
  size_t n = 0;
  mq_arena_init(&arena, 0);
  assert_ok(mq_target_list(&items, &n, &arena, &err));
  assert_true(n >= 6);
  for (size_t i = 1; i < n; i++)
    assert_true(strcmp(items[i - 1].name, items[i].name) < 0);
  for (size_t i = 0; i < n; i++)
    assert_true(strlen(items[i].describes) > 0);
  mq_arena_deinit(&arena);
}

static void targets_are_looked_up(void **state) {
  (void)state;
  struct mq_target *t = NULL;
  struct mq_err err;
  assert_fails(MQ_BAD_USAGE, "unknown target 'sn_pe', expected one of: academic",
               mq_target_load(&t, "sn_pe", &err));
  assert_fails(MQ_BAD_INPUT, "no/such.yaml", mq_target_load(&t, "no/such.yaml", &err));
  assert_null(t);
  const char *directory = make_test_directory();
  char path[600];
  snprintf(path, sizeof path, "%s/other.yaml", directory);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(good, file);
  fclose(file);
  assert_ok(mq_target_load(&t, path, &err)); /* a file of one's own may be called as one likes */
  assert_string_equal(t->name, "mine");
  assert_string_equal(t->file, path);
  mq_target_destroy(t);
  remove_test_directory(directory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good_file_is_read),
      cmocka_unit_test(points_can_be_spelled_out),
      cmocka_unit_test(overrides_are_read),
      cmocka_unit_test(missing_fields),
      cmocka_unit_test(unknown_keys),
      cmocka_unit_test(wrong_values),
      cmocka_unit_test(empty_values),
      cmocka_unit_test(words_given_twice),
      cmocka_unit_test(contradictions),
      cmocka_unit_test(the_papers_six),
      cmocka_unit_test(further_backends),
      cmocka_unit_test(ops_beyond_the_graph_rules),
      cmocka_unit_test(targets_are_listed_in_order),
      cmocka_unit_test(targets_are_looked_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
