/* TFLite files: read back and run by code of the test's own, they give the integer program's codes in every
 * tensor that bears a user's name; weights, biases, scales, paddings and activations are where the format has
 * them; what it cannot express is refused. */
#include <math.h>

#include "base/file.h"
#include "help_bundle.h"
#include "help_graphs.h"
#include "help_lower.h"
#include "help_tflite.h"

struct exported {
  struct lowered lowered;
  struct mq_lowered made;
  struct mq_bundle bundle; /* borrows what is prepared */
  struct flat_file file;
};
static struct exported e;
static char stem[600], path[620];

static mq_status export_to(const char *name, struct mq_err *err) {
  e.bundle = (struct mq_bundle){.prepared = e.lowered.prepared};
  snprintf(e.bundle.target, sizeof e.bundle.target, "%s", e.lowered.target->name);
  snprintf(stem, sizeof stem, "%s/%s", scratch, name);
  snprintf(path, sizeof path, "%s.tflite", stem);
  return mq_export(mq_exporter_find("tflite"), stem, &e.bundle, err);
}

static void begin(struct mq_graph *graph, const char *target, int w_bits, int a_bits) {
  struct mq_err err = {0};
  make_calibrated(&e.lowered, graph, target, w_bits, a_bits);
  assert_ok(mq_lower(&e.made, &e.lowered.prepared, e.lowered.target, &err));
  if (export_to("out", &err) != MQ_OK) fail_msg("%s: %s", graph->name, err.message);
  flat_open(&e.file, path);
}

static void end(void) {
  flat_close(&e.file);
  mq_lowered_deinit(&e.made);
  drop_calibrated(&e.lowered);
}

static const struct mq_point *find_point(const char *name) {
  for (size_t i = 0; i < e.lowered.prepared.n_points; i++)
    if (strcmp(e.lowered.prepared.points[i].tensor, name) == 0) return &e.lowered.prepared.points[i];
  fail_msg("no point %s", name);
  return NULL;
}

/* ---- Networks ------------------------------------------------------------------------------------------ */

static struct mq_graph *finish(struct net *net) {
  net_check(net, mq_graph_infer(net->graph, true, &net->err));
  return net->graph;
}

static struct mq_graph *residual(void) {
  struct net net;
  net_residual(&net, false);
  return finish(&net);
}

static struct mq_graph *projection(void) {
  struct net net;
  net_residual(&net, true);
  return finish(&net);
}

static struct mq_graph *inverted(void) {
  struct net net;
  net_inverted(&net);
  return finish(&net);
}

static struct mq_graph *concats(void) {
  struct net net;
  net_concats(&net);
  return finish(&net);
}

static void set_window(struct net *net, struct mq_value *y, int64_t kernel, int64_t stride, int64_t before,
                       int64_t behind) {
  int64_t kernels[] = {kernel, kernel}, strides[] = {stride, stride},
          pads[] = {before, before, behind, behind};
  if (y->producer->op != MQ_OP_Conv)
    net_check(net, mq_node_set_ints(net->graph, y->producer, "kernel_shape", kernels, 2, &net->err));
  net_check(net, mq_node_set_ints(net->graph, y->producer, "strides", strides, 2, &net->err));
  net_check(net, mq_node_set_ints(net->graph, y->producer, "pads", pads, 4, &net->err));
}

/* Every way of padding: convolutions and pools on 9 and 10 pixels, dilated, depthwise with a multiplier,
 * grouped. */
static struct mq_graph *windows(void) {
  struct net net;
  static const int64_t two[] = {2, 2}, same[] = {2, 2, 2, 2};
  net_begin(&net, "windows");
  struct mq_value *x = net_input(&net, "input", net_shape(4, 20, 20)), *y;
  x = net_clip(&net, net_conv(&net, x, "half", 4, 3, 2, 1), "half_clip", -1, 1);
  y = net_node(&net, MQ_OP_MaxPool, "max_half", &x, 1, net_shape(4, 5, 5));
  set_window(&net, y, 3, 2, 1, 1);
  struct mq_value *d = net_conv(&net, x, "dilated", 4, 3, 1, 1);
  net_check(&net, mq_node_set_ints(net.graph, d->producer, "dilations", two, 2, &net.err));
  net_check(&net, mq_node_set_ints(net.graph, d->producer, "pads", same, 4, &net.err));
  d = net_unary(&net, MQ_OP_Relu, "dilated_relu", d);
  d = net_node(&net, MQ_OP_AveragePool, "average_same", &d, 1, net_shape(4, 10, 10));
  set_window(&net, d, 3, 1, 1, 1);
  d = net_node(&net, MQ_OP_AveragePool, "average_counting", &d, 1, net_shape(4, 5, 5));
  set_window(&net, d, 3, 2, 1, 1);
  net_check(&net, mq_node_set_int(net.graph, d->producer, "count_include_pad", 1, &net.err));
  y = net_clip(&net, net_conv(&net, y, "wide", 8, 3, 1, 4), "wide_relu6", 0, 6);
  y = net_conv(&net, y, "grouped", 4, 3, 1, 2);
  x = net_binary(&net, MQ_OP_Add, "add", y, d);
  net_classify(&net, x);
  return finish(&net);
}

/* Channels last in, a pad, a slice by steps, backwards too, a transpose that stays, a flatten in the user's
 * order. */
static struct mq_graph *moves(void) {
  struct net net;
  static const int64_t turn[] = {0, 3, 1, 2}, pads[] = {0, 0, 1, 0, 0, 0, 0, 1}, one[] = {8, 1},
                       last[] = {-20, 9}, axes[] = {2, 3}, steps[] = {-1, 2}, swap[] = {0, 1, 3, 2};
  net_begin(&net, "moves");
  struct mq_value *x = net_input(&net, "input", (struct mq_shape){.rank = 4, .dim = {MQ_DIM_BATCH, 8, 8, 3}});
  x = net_node(&net, MQ_OP_Transpose, "turn", &x, 1, net_shape(3, 8, 8));
  net_check(&net, mq_node_set_ints(net.graph, x->producer, "perm", turn, 4, &net.err));
  x = net_unary(&net, MQ_OP_Relu, "relu", net_conv(&net, x, "conv", 4, 3, 1, 1));
  struct mq_value *padded[] = {x, net_ints(&net, "pads", pads, 8)};
  x = net_node(&net, MQ_OP_Pad, "pad", padded, 2, net_shape(4, 9, 9));
  struct mq_value *sliced[] = {x, net_ints(&net, "starts", one, 2), net_ints(&net, "ends", last, 2),
                               net_ints(&net, "axes", axes, 2), net_ints(&net, "steps", steps, 2)};
  x = net_node(&net, MQ_OP_Slice, "slice", sliced, 5, net_shape(4, 9, 4));
  x = net_node(&net, MQ_OP_Transpose, "swap", &x, 1, net_shape(4, 4, 9));
  net_check(&net, mq_node_set_ints(net.graph, x->producer, "perm", swap, 4, &net.err));
  x = net_window(&net, MQ_OP_MaxPool, x, "max", 2);
  x = net_unary(&net, MQ_OP_Relu, "relu1", net_gemm(&net, net_flatten(&net, x, "flatten"), "fc1", 9));
  net_output(&net, net_gemm(&net, x, "fc2", 10));
  return finish(&net);
}

static struct mq_value *up(struct net *net, struct mq_value *x, const char *name, int64_t c_out,
                           int64_t kernel, int64_t pad, int64_t more) {
  char text[64];
  const int64_t c_in = x->shape.dim[1], size = (x->shape.dim[2] - 1) * 2 + kernel - 2 * pad + more;
  snprintf(text, sizeof text, "%s.weight", name);
  struct mq_value *inputs[] = {
      x, net_constant(net, text, (struct mq_shape){.rank = 4, .dim = {c_in, c_out, kernel, kernel}}, -0.4f,
                      0.4f)};
  struct mq_value *y = net_node(net, MQ_OP_ConvTranspose, name, inputs, 2, net_shape(c_out, size, size));
  const int64_t two[] = {2, 2}, pads[] = {pad, pad, pad, pad}, at_end[] = {more, more};
  net_check(net, mq_node_set_ints(net->graph, y->producer, "strides", two, 2, &net->err));
  net_check(net, mq_node_set_ints(net->graph, y->producer, "pads", pads, 4, &net->err));
  net_check(net, mq_node_set_ints(net->graph, y->producer, "output_padding", at_end, 2, &net->err));
  return y;
}

/* Transposed convolutions that are VALID, SAME, and cut out of a larger one; functions that the format has no
 * operator for, or on floats alone. */
static struct mq_graph *decoder(void) {
  struct net net;
  net_begin(&net, "decoder");
  struct mq_value *x = net_conv(&net, net_input(&net, "input", net_shape(3, 5, 5)), "conv", 6, 3, 1, 1);
  x = net_unary(&net, MQ_OP_Relu, "valid_relu", up(&net, x, "valid", 5, 2, 0, 0));
  x = up(&net, net_conv(&net, x, "half", 4, 3, 2, 1), "cut", 5, 3, 1, 1);
  x = net_conv(&net, up(&net, x, "same", 4, 4, 1, 0), "quarter", 4, 3, 2, 1);
  x = net_unary(&net, MQ_OP_HardSigmoid, "sigmoid", x);
  struct mq_value *slopes[] = {
      net_conv(&net, x, "depthwise", 4, 3, 1, 4),
      net_constant(&net, "slopes", (struct mq_shape){.rank = 3, .dim = {4, 1, 1}}, 0.1f, 0.4f)};
  x = net_node(&net, MQ_OP_PRelu, "prelu", slopes, 2, slopes[0]->shape);
  net_output(&net, net_gemm(&net, net_flatten(&net, x, "flatten"), "fc", 10));
  return finish(&net);
}

/* ---- The program's codes ------------------------------------------------------------------------------- */

static float *channels_last(const struct flat_tensor *x, int64_t image) {
  const struct mq_shape *shape = &e.lowered.images.shape;
  const float *from = (const float *)e.lowered.images.data + image * e.lowered.images.stride[0];
  int64_t n = flat_count(x), channels = x->shape[3];
  float *to = malloc((size_t)n * sizeof *to);
  bool is_turned = shape->dim[1] == channels && shape->dim[3] == x->shape[2]; /* N C H W */
  for (int64_t i = 0; i < n; i++)
    to[i] =
        is_turned && channels != shape->dim[3] ? from[i % channels * (n / channels) + i / channels] : from[i];
  return to;
}

/* Returns whether the tensor is one of the program's with codes. */
static bool compare_tensor(const struct flat_tensor *t, int64_t image) {
  const char *name = strcmp(t->name, "input_quantized") == 0 ? "input" : t->name;
  const struct mq_program *program = &e.made.program;
  bool is_there = false;
  for (uint32_t i = 0; i < program->n_tensors; i++)
    is_there = is_there || (strcmp(program->tensors[i].name, name) == 0 && program->tensors[i].scale > 0);
  if (!is_there || t->type != FLAT_INT8 || t->data) return false;
  const struct mq_program_tensor *y = NULL;
  void *codes = run_for_tensor(program, &e.lowered.images, image, name, &y);
  assert_int_equal(mq_program_elements(y), flat_count(t));
  int32_t offset = y->type == MQ_PROGRAM_U8 ? 128 : 0;
  for (int64_t i = 0; i < flat_count(t); i++) {
    int32_t expected = (offset ? ((uint8_t *)codes)[i] : ((int8_t *)codes)[i]) - offset;
    if ((int32_t)t->value[i] != expected)
      fail_msg("%s, %s: element %d: %d in the file, %d in the program", program->name, name, (int)i,
               (int)t->value[i], expected);
  }
  free(codes);
  return true;
}

static void check_codes(size_t least) {
  for (int64_t image = 0; image < 2; image++) {
    float *input = channels_last(&e.file.tensor[e.file.inputs[0]], image);
    size_t n = 0;
    flat_run(&e.file, input);
    for (int i = 0; i < e.file.n_tensors; i++)
      n += compare_tensor(&e.file.tensor[i], image);
    assert_true(n >= least);
    free(input);
  }
}

static void the_file_computes_the_program(void **state) {
  (void)state;
  static const struct {
    struct mq_graph *(*build)(void);
    size_t least;
  } nets[] = {{residual, 7}, {projection, 8}, {inverted, 11}, {concats, 9},
              {windows, 11}, {moves, 8},      {decoder, 8}};
  static const int bits[][2] = {{0, 0}, {4, 8}, {8, 5}, {3, 3}};
  for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++)
    for (size_t k = 0; k < sizeof bits / sizeof bits[0]; k++) {
      begin(nets[i].build(), "tflite", bits[k][0], bits[k][1]);
      check_codes(nets[i].least);
      end();
    }
}

/* ---- Tables -------------------------------------------------------------------------------------------- */

/* [O][I][H][W] of the user against the file's order, quantized with the file's own scales. */
static void check_weights(const char *name, bool is_depthwise) {
  const struct flat_tensor *t = flat_find(&e.file, name);
  const struct mq_value *w = mq_graph_find_value(e.lowered.prepared.graph, name);
  assert_non_null(t);
  const int64_t *dim = w->shape.dim;
  int64_t taps = w->shape.rank == 4 ? dim[2] * dim[3] : 1;
  assert_int_equal(t->type, FLAT_INT8);
  assert_int_equal(t->zero_point, 0);
  assert_int_equal(t->quantized_dimension, is_depthwise ? 3 : 0);
  assert_int_equal(t->n_scales, w->shape.rank == 4 ? dim[0] : 1);
  assert_int_equal(t->shape[is_depthwise ? 3 : 0], dim[0]);
  for (int64_t o = 0; o < dim[0]; o++)
    for (int64_t i = 0; i < dim[1]; i++)
      for (int64_t k = 0; k < taps; k++) {
        int64_t at = is_depthwise ? k * dim[0] + o : (o * taps + k) * dim[1] + i;
        float x = ((const float *)w->constant->data)[(o * dim[1] + i) * taps + k];
        float s = t->scale[t->n_scales > 1 ? o : 0];
        assert_int_equal(((const int8_t *)t->data)[at], fmaxf(-127, fminf(127, rintf(x / s))));
      }
}

static void check_bias(const char *name, const char *weights, const char *input) {
  const struct flat_tensor *t = flat_find(&e.file, name), *w = flat_find(&e.file, weights),
                           *x = flat_find(&e.file, input);
  const struct mq_value *b = mq_graph_find_value(e.lowered.prepared.graph, name);
  assert_non_null(t);
  assert_int_equal(t->type, FLAT_INT32);
  assert_int_equal(t->n_scales, w->n_scales);
  for (int i = 0; i < t->shape[0]; i++) {
    int c = t->n_scales > 1 ? i : 0;
    int32_t q;
    memcpy(&q, t->data + 4 * i, 4);
    assert_true(t->scale[c] == x->scale[0] * w->scale[c]);
    double real = (double)((const float *)b->constant->data)[i];
    assert_true(q == nearbyint(real / ((double)x->scale[0] * (double)w->scale[c])));
  }
}

static void check_point(const char *name, const char *tensor) {
  const struct flat_tensor *t = flat_find(&e.file, tensor);
  const struct mq_qparams *q = &find_point(name)->qparams;
  assert_non_null(t);
  assert_int_equal(t->type, FLAT_INT8);
  assert_int_equal(t->n_scales, 1);
  assert_true(t->scale[0] == q->scale[0]);
  assert_int_equal(t->zero_point, q->zero_point[0]);
  assert_int_equal(t->shape[0], 1);
  assert_int_equal(t->first_of_signature, -1);
}

static void tensors_are_where_the_format_has_them(void **state) {
  (void)state;
  begin(inverted(), "tflite", 0, 0);
  const struct flat_tensor *x = flat_find(&e.file, "input");
  assert_int_equal(e.file.inputs[0], x - e.file.tensor);
  assert_int_equal(x->type, FLAT_FLOAT32);
  assert_int_equal(x->rank, 4);
  assert_int_equal(x->shape[3], 3);
  assert_int_equal(x->first_of_signature, -1);
  assert_string_equal(e.file.tensor[e.file.outputs[0]].name, "fc_out");
  check_point("input", "input_quantized");
  check_point("stem_relu6_out", "stem_relu6_out");
  check_point("add2_out", "add2_out");
  check_point("fc_out", "fc_out");
  check_weights("stem.weight", false);
  check_weights("dw2.weight", true);
  check_weights("fc.weight", false);
  check_bias("fc.bias", "fc.weight", "flatten_out");
  check_bias("dw2.bias", "dw2.weight", "ex2_relu6_out");
  for (int i = 0; i < e.file.n_tensors; i++)
    for (int k = 0; k < i; k++)
      assert_string_not_equal(e.file.tensor[i].name, e.file.tensor[k].name);
  end();
}

static void expect_maker(const char *tensor, int code, int options, int padding) {
  const struct flat_operator *op = flat_maker(&e.file, tensor);
  assert_int_equal(op->code, code);
  assert_int_equal(op->options_type, options);
  if (padding >= 0) assert_int_equal(flat_option(&e.file, op, 0, true, 0), padding);
}

static const char *input_of(const char *tensor) {
  return e.file.tensor[flat_maker(&e.file, tensor)->inputs[0]].name;
}

/* The schema's numbers: CONV_2D 3 and DEPTHWISE_CONV_2D 4 with options 1 and 2, pools 1 and 17 with 5, PAD
 * 34, PADV2 60; SAME 0, VALID 1. */
static void pads_are_the_formats_or_stand_in_front(void **state) {
  (void)state;
  begin(windows(), "tflite", 0, 0);
  expect_maker("half_clip_out", 3, 1, 1); /* 20 to 10 by 2, one pixel in front: SAME would put it behind */
  assert_string_equal(input_of("half_clip_out"), "input_quantized_padded");
  expect_maker("input_quantized_padded", 34, 22, -1);
  expect_maker("max_half_out", 17, 5, 1);
  expect_maker(input_of("max_half_out"), 60, 43, -1);
  expect_maker("dilated_relu_out", 3, 1, 0);
  expect_maker("average_same_out", 1, 5, 0);
  expect_maker("average_counting_out", 1, 5, 1);
  expect_maker(input_of("average_counting_out"), 34, 22, -1);
  expect_maker("wide_relu6_out", 4, 2, 0);
  assert_int_equal(flat_option(&e.file, flat_maker(&e.file, "wide_relu6_out"), 3, false, 0), 2);
  expect_maker("grouped_out", 3, 1, 0);
  const struct flat_operator *pad = flat_maker(&e.file, input_of("max_half_out"));
  assert_int_equal(*(const int8_t *)e.file.tensor[pad->inputs[2]].data, -128);
  end();
}

static int activation_of(const char *tensor) {
  const struct flat_operator *op = flat_maker(&e.file, tensor);
  return flat_option(&e.file, op, op->code == 4 ? 4 : op->code == 3 ? 3 : 0, true, 0);
}

static void set_point(const char *name, float scale, int32_t zero) {
  struct mq_qparams *q = &((struct mq_point *)(uintptr_t)find_point(name))->qparams;
  q->scale[0] = scale;
  q->zero_point[0] = zero;
}

static void activations(void **state) {
  (void)state;
  struct mq_err err = {0};
  begin(inverted(), "tflite", 0, 0);
  assert_int_equal(activation_of("stem_relu6_out"), 0); /* its scale begins at 0 and ends at 6, or before */
  flat_close(&e.file);
  set_point("stem_relu6_out", 0.05f, 0); /* 0 is code 0, 6 is code 120 */
  set_point("dw1_relu6_out", 0.02f, 0);  /* and beyond the codes */
  assert_ok(export_to("again", &err));
  flat_open(&e.file, path);
  assert_int_equal(activation_of("stem_relu6_out"), 3);
  assert_int_equal(activation_of("dw1_relu6_out"), 1);
  mq_lowered_deinit(&e.made);
  assert_ok(mq_lower(&e.made, &e.lowered.prepared, e.lowered.target, &err));
  check_codes(11);
  end();
}

/* Codes of 4 bits end at -8 and 7: MAXIMUM 55, MINIMUM 57. */
static void ranges_of_fewer_bits(void **state) {
  (void)state;
  begin(residual(), "tflite", 4, 4);
  expect_maker("bn2_out", 57, 39, -1);
  expect_maker(input_of("bn2_out"), 55, 39, -1);
  const struct flat_operator *most = flat_maker(&e.file, "bn2_out"),
                             *least = flat_maker(&e.file, input_of("bn2_out"));
  assert_int_equal(*(const int8_t *)e.file.tensor[most->inputs[1]].data, 7);
  assert_int_equal(*(const int8_t *)e.file.tensor[least->inputs[1]].data, -8);
  assert_int_equal(e.file.tensor[least->inputs[0]].zero_point, find_point("bn2_out")->qparams.zero_point[0]);
  end();
}

/* ---- What else may come -------------------------------------------------------------------------------- */

static void unsigned_activations(void **state) {
  (void)state;
  begin(residual(), "tflite", 0, 0);
  flat_close(&e.file);
  struct mq_err err = {0};
  for (size_t i = 0; i < e.lowered.prepared.n_points; i++) {
    struct mq_point *point = &e.lowered.prepared.points[i];
    if (point->kind != MQ_POINT_ACTIVATION) continue;
    point->qparams.is_signed = point->scheme.is_signed = false;
    point->qparams.zero_point[0] += 128;
    point->qparams.quant_min += 128;
    point->qparams.quant_max += 128;
  }
  mq_lowered_deinit(&e.made);
  assert_ok(mq_lower(&e.made, &e.lowered.prepared, e.lowered.target, &err));
  assert_ok(export_to("unsigned", &err));
  flat_open(&e.file, path);
  check_codes(7);
  end();
}

static void names_stay_unique(void **state) {
  (void)state;
  struct net net;
  net_residual(&net, false);
  net_check(&net, mq_graph_rename_value(net.graph, mq_graph_find_value(net.graph, "relu0_out"),
                                        "input_quantized", &net.err));
  begin(finish(&net), "tflite", 0, 0);
  assert_int_equal(flat_maker(&e.file, "input_quantized_1")->code, 114);
  assert_int_equal(flat_maker(&e.file, "input_quantized")->code, 3);
  for (int i = 0; i < e.file.n_tensors; i++)
    for (int k = 0; k < i; k++)
      assert_string_not_equal(e.file.tensor[i].name, e.file.tensor[k].name);
  end();
}

/* Sigmoid, products, hard-swish and a softmax in floats between codes. */
static void float_islands(void **state) {
  (void)state;
  struct net net;
  net_squeeze_excite(&net);
  begin(finish(&net), "tflite", 0, 0);
  bool has_softmax = false, has_product = false;
  for (int i = 0; i < e.file.n_operators; i++) {
    has_softmax = has_softmax || e.file.op[i].code == 25;
    has_product = has_product || e.file.op[i].code == 18;
  }
  assert_true(has_softmax && has_product);
  assert_int_equal(e.file.tensor[e.file.outputs[0]].type, FLAT_FLOAT32);
  end();
}

/* Layers kept float are the same operators on floats; their outputs' codes are the program's. */
static void layers_kept_float(void **state) {
  (void)state;
  static const char *const names[] = {"valid", "quarter", "depthwise", "fc"};
  struct mq_err err = {0};
  struct mq_layer_override kept[4];
  for (size_t i = 0; i < 4; i++)
    kept[i] = (struct mq_layer_override){.layer = names[i], .keep_float = true};
  const struct mq_prepare_options options = {.overrides = kept, .n_overrides = 4};
  make_calibrated_with(&e.lowered, decoder(), "tflite", &options);
  assert_ok(mq_lower(&e.made, &e.lowered.prepared, e.lowered.target, &err));
  if (export_to("kept", &err) != MQ_OK) fail_msg("%s", err.message);
  flat_open(&e.file, path);
  static const struct {
    const char *weights;
    int rank, first, last;
  } layers[] = {{"valid.weight", 4, 5, 6},
                {"quarter.weight", 4, 4, 4},
                {"depthwise.weight", 4, 1, 4},
                {"fc.weight", 2, 10, 400}};
  for (size_t i = 0; i < 4; i++) {
    const struct flat_tensor *w = flat_find(&e.file, layers[i].weights);
    assert_non_null(w);
    assert_int_equal(w->type, FLAT_FLOAT32);
    assert_int_equal(w->rank, layers[i].rank);
    assert_int_equal(w->shape[0], layers[i].first);
    assert_int_equal(w->shape[w->rank - 1], layers[i].last);
  }
  assert_non_null(flat_find(&e.file, "fc.bias"));
  assert_int_equal(e.file.tensor[e.file.outputs[0]].type, FLAT_FLOAT32);
  check_codes(4);
  const struct mq_program_tensor *y = NULL;
  float *logits = run_for_tensor(&e.made.program, &e.lowered.images, 1, "fc_out", &y);
  for (int i = 0; i < 10; i++)
    assert_true(e.file.tensor[e.file.outputs[0]].value[i] == (double)logits[i]);
  free(logits);
  end();
}

static void same_bytes_for_both_targets(void **state) {
  (void)state;
  char *bytes[2] = {NULL, NULL};
  size_t n[2];
  struct mq_err err = {0};
  for (int i = 0; i < 2; i++) {
    begin(concats(), i ? "xnnpack" : "tflite", 0, 0);
    assert_ok(mq_file_read(&bytes[i], &n[i], path, 1 << 24, &err));
    end();
  }
  assert_int_equal(n[0], n[1]);
  assert_memory_equal(bytes[0], bytes[1], n[0]);
  mq_free(bytes[0]);
  mq_free(bytes[1]);
}

/* ---- Refusals ------------------------------------------------------------------------------------------ */

static void refuses(struct mq_graph *graph, const char *target, int a_bits, const char *says) {
  struct mq_err err = {0};
  make_calibrated(&e.lowered, graph, target, 0, a_bits);
  mq_status status = export_to("refused", &err);
  if (status != MQ_BAD_INPUT || !strstr(err.message, says))
    fail_msg("%s for %s: status %d, '%s', expected '%s'", graph->name, target, status, err.message, says);
  assert_false(mq_file_exists(path));
  drop_calibrated(&e.lowered);
}

static struct mq_graph *norms(void) {
  struct net net;
  net_norms(&net);
  return finish(&net);
}

/* A window that reaches beyond what is counted. */
static struct mq_graph *odd_average(void) {
  struct net net;
  net_begin(&net, "odd_average");
  struct mq_value *x = net_conv(&net, net_input(&net, "input", net_shape(3, 8, 8)), "conv", 4, 3, 1, 1);
  struct mq_value *y = net_node(&net, MQ_OP_AveragePool, "average", &x, 1, net_shape(4, 5, 5));
  set_window(&net, y, 3, 2, 2, 2);
  net_classify(&net, y);
  return finish(&net);
}

static void what_the_format_cannot_express(void **state) {
  (void)state;
  refuses(norms(), "tflite", 0, "node 'grouped");
  refuses(norms(), "tflite", 0, "a transposed convolution in 2 groups");
  refuses(odd_average(), "tflite", 0, "node 'average");
  refuses(residual(), "snpe", 0, "expected a zero point of 0");
  refuses(residual(), "tflite", 16, "expected at most 8 bits");
  refuses(residual(), "tensorrt", 0, "format tflite");
  refuses(residual(), "acl", 0, "format tflite");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_file_computes_the_program),
      cmocka_unit_test(tensors_are_where_the_format_has_them),
      cmocka_unit_test(pads_are_the_formats_or_stand_in_front),
      cmocka_unit_test(activations),
      cmocka_unit_test(ranges_of_fewer_bits),
      cmocka_unit_test(unsigned_activations),
      cmocka_unit_test(names_stay_unique),
      cmocka_unit_test(float_islands),
      cmocka_unit_test(layers_kept_float),
      cmocka_unit_test(same_bytes_for_both_targets),
      cmocka_unit_test(what_the_format_cannot_express),
  };
  if (strstr(mq_exporter_find("tflite")->describes, "not in this build")) {
    printf("skipped: built without FlatBuffers\n");
    return 77;
  }
  return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
