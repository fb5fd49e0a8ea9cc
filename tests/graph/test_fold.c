/* Shape computations as exporters write them, literal batches, folding of constants, bounds. */
#include <string.h>

#include "graph/help_graph.h"

static struct mq_value *cast(struct mq_graph *graph, struct mq_value *x, int64_t to) {
  struct mq_value *y = help_node(graph, MQ_OP_Cast, IN(x));
  help_set_int(y, "to", to);
  return y;
}

static struct mq_value *shape_at(struct mq_graph *graph, struct mq_value *x, int64_t axis) {
  return help_node(graph, MQ_OP_Gather, IN(help_node(graph, MQ_OP_Shape, IN(x)), help_int(graph, axis)));
}

static struct mq_value *listed(struct mq_graph *graph, struct mq_value *scalar) {
  return help_node(graph, MQ_OP_Unsqueeze, IN(scalar, help_ints(graph, INTS(0))));
}

static struct mq_value *concat(struct mq_graph *graph, struct mq_value **values, int n) {
  struct mq_value *y = help_node(graph, MQ_OP_Concat, values, n);
  help_set_int(y, "axis", 0);
  return y;
}

static const int64_t *reshape_target(const struct mq_value *y, size_t n_expected) {
  const int64_t *ints;
  size_t n;
  struct mq_err err;
  help_ok(mq_node_get_constant_ints(&ints, &n, y->producer, 1, &err), &err);
  assert_int_equal(n, n_expected);
  return ints;
}

/* x.view(x.size(0), -1) from PyTorch. */
static void test_flatten_by_view(void **state) {
  (void)state;
  static const int64_t batches[] = {-1, 1, 8};
  for (int i = 0; i < 3; i++) {
    struct mq_graph *graph = help_create(13);
    struct mq_value *x = help_input(graph, "x", DIMS(batches[i], 3, 4, 5));
    struct mq_value *target =
        concat(graph, IN(listed(graph, shape_at(graph, x, 0)), help_ints(graph, INTS(-1))));
    struct mq_value *y = help_node(graph, MQ_OP_Reshape, IN(x, target));
    help_expect(graph, y, DIMS(N, 60));
    help_expect_ints(target, INTS(N, -1));
    assert_int_equal(reshape_target(y, 2)[0], N);
    assert_int_equal(graph->n_nodes, 1);
    mq_graph_destroy(graph);
  }
}

/* y is x (batch, 6, 4, 4) reshaped to a literal target. */
static void expect_literal(int64_t batch, const int64_t *target, int n, struct mq_shape out) {
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(batch, 6, 4, 4));
  struct mq_value *y = help_node(graph, MQ_OP_Reshape, IN(x, help_ints(graph, target, n)));
  help_expect(graph, y, out);
  for (int i = 0; i < out.rank; i++) { /* nothing but the batch, 0 or -1 stands where the batch is */
    int64_t given = reshape_target(y, (size_t)n)[i];
    assert_true(out.dim[i] != N || given == N || given == 0 || given == -1);
  }
  mq_graph_destroy(graph);
}

static void test_literal_batch(void **state) {
  (void)state;
  static const int64_t batches[] = {-1, 1, 8};
  for (int i = 0; i < 3; i++) {
    int64_t batch = batches[i], literal = batch < 0 ? 1 : batch;
    expect_literal(batch, INTS(literal, -1), DIMS(N, 96));
    expect_literal(batch, INTS(-1, 96), DIMS(N, 96));
    expect_literal(batch, INTS(0, -1), DIMS(N, 96));
    expect_literal(batch, INTS(literal, 2, 3, 4, 4), DIMS(N, 2, 3, 4, 4));
    expect_literal(batch, INTS(literal, 0, -1), DIMS(N, 6, 16));
    expect_literal(batch, INTS(1, literal, 96), literal == 1 ? DIMS(N, 1, 96) : DIMS(1, N, 96));
    expect_literal(batch, INTS(-1, 1, 96), DIMS(N, 1, 96));
    expect_literal(batch, INTS(0, 0, 16, 1), DIMS(N, 6, 16, 1));
  }
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(8, 6, 4, 4));
  help_node(graph, MQ_OP_Reshape, IN(x, help_ints(graph, INTS(-1, 16))));
  help_expect_failure(graph, "Nx6x4x4 cannot be reshaped to -1x16 without mixing the batch (N)");
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 6));
  help_node(graph, MQ_OP_Reshape, IN(x, help_ints(graph, INTS(6, N))));
  help_expect_failure(graph, "cannot be reshaped to 6xN without mixing the batch");
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 6));
  help_node(graph, MQ_OP_Reshape, IN(x, help_ints(graph, INTS(-1, -1))));
  help_expect_failure(graph, "target dimension 1 is -1, a second one to be found out");
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 6));
  help_node(graph, MQ_OP_Reshape, IN(x, help_ints(graph, INTS(0, 5))));
  help_expect_failure(graph, "Nx6 cannot be reshaped to Nx5");
}

/* A batch that was moved away from the front keeps its place in the element order. */
static void test_moved_batch(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(1, 6, 4));
  struct mq_value *t = help_node(graph, MQ_OP_Transpose, IN(x));
  help_set_ints(t, "perm", INTS(2, 0, 1));
  struct mq_value *y = help_node(graph, MQ_OP_Reshape, IN(t, help_ints(graph, INTS(4, 1, 2, 3))));
  help_expect(graph, y, DIMS(4, N, 2, 3));
  mq_graph_destroy(graph);
}

/* tf2onnx: channels last input, then Transpose; shapes computed in int32. */
static void test_tensorflow_reshape(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 4, 5, 3));
  struct mq_value *t = help_node(graph, MQ_OP_Transpose, IN(x));
  help_set_ints(t, "perm", INTS(0, 3, 1, 2));
  struct mq_value *shape = cast(graph, help_node(graph, MQ_OP_Shape, IN(t)), 6);
  struct mq_value *first = help_node(
      graph, MQ_OP_Slice, IN(shape, help_ints(graph, INTS(0)), help_ints(graph, INTS(1)), NULL, NULL));
  struct mq_value *n = help_node(graph, MQ_OP_Squeeze, IN(first, help_ints(graph, INTS(0))));
  struct mq_value *one = cast(graph, help_ints(graph, INTS(1)), 6);
  struct mq_value *rest = cast(graph, help_ints(graph, INTS(60)), 6);
  struct mq_value *target = cast(graph, concat(graph, IN(listed(graph, n), one, rest)), 7);
  struct mq_value *y = help_node(graph, MQ_OP_Reshape, IN(t, target));
  help_expect(graph, y, DIMS(N, 1, 60));
  help_expect_ints(target, INTS(N, 1, 60));
  assert_int_equal(first->constant->dtype, MQ_I32);
  assert_int_equal(graph->n_nodes, 2);
  mq_graph_destroy(graph);
}

/* ShuffleNet's channel_shuffle: c // groups with Python's floor for integers. */
static void test_floor_divide(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 116, 28, 28));
  struct mq_value *c = shape_at(graph, x, 1), *two = help_int(graph, 2), *zero = help_int(graph, 0);
  struct mq_value *div = help_node(graph, MQ_OP_Div, IN(c, two));
  struct mq_value *is_negative =
      help_node(graph, MQ_OP_Xor,
                IN(help_node(graph, MQ_OP_Less, IN(c, zero)), help_node(graph, MQ_OP_Less, IN(two, zero))));
  struct mq_value *mod = help_node(graph, MQ_OP_Mod, IN(c, two));
  struct mq_value *has_rest = help_node(graph, MQ_OP_Not, IN(help_node(graph, MQ_OP_Equal, IN(mod, zero))));
  struct mq_value *mask = help_node(graph, MQ_OP_And, IN(is_negative, has_rest));
  struct mq_value *fixed = help_node(graph, MQ_OP_Sub, IN(div, help_int(graph, 1)));
  struct mq_value *half = help_node(graph, MQ_OP_Where, IN(mask, fixed, div));
  struct mq_value *target =
      concat(graph, IN(listed(graph, shape_at(graph, x, 0)), help_ints(graph, INTS(2)), listed(graph, half),
                       listed(graph, shape_at(graph, x, 2)), listed(graph, shape_at(graph, x, 3))));
  struct mq_value *y = help_node(graph, MQ_OP_Reshape, IN(x, target));
  struct mq_value *t = help_node(graph, MQ_OP_Transpose, IN(y));
  help_set_ints(t, "perm", INTS(0, 2, 1, 3, 4));
  struct mq_value *back =
      concat(graph, IN(listed(graph, shape_at(graph, x, 0)), help_ints(graph, INTS(-1)),
                       listed(graph, shape_at(graph, x, 2)), listed(graph, shape_at(graph, x, 3))));
  struct mq_value *z = help_node(graph, MQ_OP_Reshape, IN(t, back));
  help_expect(graph, z, DIMS(N, 116, 28, 28));
  help_expect_ints(target, INTS(N, 2, 58, 28, 28));
  assert_int_equal(graph->n_nodes, 3);
  mq_graph_destroy(graph);
}

/* F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)): PyTorch turns the list of pads around at run time. */
static void test_pytorch_pad(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 16, 32, 32));
  struct mq_value *pads = help_ints(graph, INTS(0, 0, 0, 0, 4, 4));
  struct mq_value *count =
      help_node(graph, MQ_OP_Gather, IN(help_node(graph, MQ_OP_Shape, IN(pads)), help_int(graph, 0)));
  struct mq_value *missing = help_node(graph, MQ_OP_Sub, IN(help_int(graph, 8), count));
  struct mq_value *zeros = help_node(graph, MQ_OP_ConstantOfShape, IN(listed(graph, missing)));
  struct mq_shape one = DIMS(1);
  int64_t zero = 0;
  struct mq_tensor element = mq_tensor_view(&zero, MQ_I64, &one, NULL);
  struct mq_err err;
  help_ok(mq_node_set_tensor(graph, zeros->producer, "value", &element, &err), &err);
  struct mq_value *pairs =
      help_node(graph, MQ_OP_Reshape, IN(concat(graph, IN(pads, zeros)), help_ints(graph, INTS(-1, 2))));
  struct mq_value *turned =
      help_node(graph, MQ_OP_Slice,
                IN(pairs, help_ints(graph, INTS(-1)), help_ints(graph, INTS(-INT64_MAX)),
                   help_ints(graph, INTS(0)), help_ints(graph, INTS(-1))));
  struct mq_value *t = help_node(graph, MQ_OP_Transpose, IN(turned));
  help_set_ints(t, "perm", INTS(1, 0));
  struct mq_value *list = cast(graph, help_node(graph, MQ_OP_Reshape, IN(t, help_ints(graph, INTS(-1)))), 7);
  struct mq_value *y = help_node(graph, MQ_OP_Pad, IN(x, list, help_weights(graph, SCALAR)));
  help_expect(graph, y, DIMS(N, 24, 32, 32));
  help_expect_ints(list, INTS(0, 4, 0, 0, 0, 4, 0, 0));
  assert_int_equal(graph->n_nodes, 1);
  mq_graph_destroy(graph);
}

/* F.interpolate(scale_factor=...): sizes computed in float, the first two dimensions kept. */
static void test_interpolate_sizes(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 16, 7, 9));
  struct mq_value *shape = help_node(graph, MQ_OP_Shape, IN(x)), *axes = help_ints(graph, INTS(0));
  struct mq_value *kept =
      help_node(graph, MQ_OP_Slice, IN(shape, help_ints(graph, INTS(0)), help_ints(graph, INTS(2)), axes));
  struct mq_value *h = cast(graph, shape_at(graph, x, 2), 1), *w = cast(graph, shape_at(graph, x, 3), 1);
  struct mq_value *factor = help_floats(graph, (float[]){1.5f}, SCALAR);
  h = cast(graph, help_node(graph, MQ_OP_Floor, IN(help_node(graph, MQ_OP_Mul, IN(h, factor)))), 7);
  w = cast(graph, help_node(graph, MQ_OP_Ceil, IN(help_node(graph, MQ_OP_Mul, IN(w, factor)))), 7);
  struct mq_value *sizes = concat(graph, IN(kept, listed(graph, h), listed(graph, w)));
  struct mq_value *y = help_node(graph, MQ_OP_Resize, IN(x, NULL, NULL, sizes));
  help_expect(graph, y, DIMS(N, 16, 10, 14));
  help_expect_ints(sizes, INTS(N, 16, 10, 14));
  mq_graph_destroy(graph);
}

/* tensor.expand(N, -1, 4, 4): PyTorch replaces the -1s with Where. */
static void test_expand(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 6, 1, 1));
  struct mq_value *wanted =
      concat(graph, IN(listed(graph, shape_at(graph, x, 0)), help_ints(graph, INTS(-1, 4, 4))));
  struct mq_value *ones = help_ints(graph, INTS(1, 1, 1, 1));
  struct mq_value *is_kept = help_node(
      graph, MQ_OP_Equal, IN(wanted, help_node(graph, MQ_OP_Mul, IN(ones, help_ints(graph, INTS(-1))))));
  struct mq_value *target = help_node(graph, MQ_OP_Where, IN(is_kept, ones, wanted));
  struct mq_value *y = help_node(graph, MQ_OP_Expand, IN(x, target));
  help_expect(graph, y, DIMS(N, 6, 4, 4));
  help_expect_ints(target, INTS(N, 1, 4, 4));
  mq_graph_destroy(graph);
  /* A literal batch, and a class token of one image expanded over the batch. */
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(8, 6, 1, 1));
  y = help_node(graph, MQ_OP_Expand, IN(x, help_ints(graph, INTS(8, 6, 2, 2))));
  help_expect(graph, y, DIMS(N, 6, 2, 2));
  assert_int_equal(reshape_target(y, 4)[0], N);
  mq_graph_destroy(graph);
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 6, 5));
  target = concat(graph, IN(listed(graph, shape_at(graph, x, 0)), help_ints(graph, INTS(1, 5))));
  y = concat(graph, IN(x, help_node(graph, MQ_OP_Expand, IN(help_weights(graph, DIMS(1, 1, 5)), target))));
  help_set_int(y, "axis", 1);
  help_expect(graph, y, DIMS(N, 7, 5));
  mq_graph_destroy(graph);
}

static void test_constant_of_batch_shape(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 6));
  struct mq_value *y = help_node(graph, MQ_OP_ConstantOfShape, IN(help_node(graph, MQ_OP_Shape, IN(x))));
  struct mq_value *z = concat(graph, IN(x, y));
  help_set_int(z, "axis", 1);
  help_expect(graph, z, DIMS(N, 12));
  assert_int_equal(y->producer->op, MQ_OP_Expand);
  mq_graph_destroy(graph);
}

/* A file of batch 3 in which the exporter folded zeros and scales for all three images. */
static void test_constants_of_literal_batch(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(3, 2, 4));
  struct mq_value *y = concat(graph, IN(help_weights(graph, DIMS(3, 5, 4)), x));
  help_set_int(y, "axis", 1);
  struct mq_value *scale = help_floats(graph, (float[]){1, 2, 1, 2, 1, 2}, DIMS(3, 2, 1));
  struct mq_value *z = help_node(graph, MQ_OP_Mul, IN(x, scale));
  help_expect(graph, y, DIMS(N, 7, 4));
  help_expect(graph, z, DIMS(N, 2, 4));
  assert_int_equal(z->producer->inputs[1]->shape.dim[0], 1);
  assert_int_equal(y->producer->inputs[0]->producer->op, MQ_OP_Expand);
  assert_int_equal(graph->n_nodes, 3);
  mq_graph_destroy(graph);
  graph = help_create(13); /* not the same for every image */
  x = help_input(graph, "x", DIMS(2, 2));
  help_node(graph, MQ_OP_Add, IN(x, help_floats(graph, (float[]){1, 2, 3, 4}, DIMS(2, 2))));
  help_expect_failure(graph, "shapes Nx2 and 2x2 do not broadcast");
}

static void test_batch_arithmetic(void **state) {
  (void)state;
  static const struct {
    mq_op op;
    int64_t other;
    int64_t result; /* -7: refused */
  } cases[] = {{MQ_OP_Add, 0, N},  {MQ_OP_Add, 1, -7}, {MQ_OP_Sub, 0, N},  {MQ_OP_Sub, 2, -7},
               {MQ_OP_Mul, 1, N},  {MQ_OP_Mul, 0, 0},  {MQ_OP_Mul, 2, -7}, {MQ_OP_Div, 1, N},
               {MQ_OP_Div, 2, -7}, {MQ_OP_Mod, 1, 0},  {MQ_OP_Max, 1, N},  {MQ_OP_Max, 2, -7},
               {MQ_OP_Min, 4, -7}, {MQ_OP_Div, 0, -7}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mq_graph *graph = help_create(13);
    struct mq_value *x = help_input(graph, "x", DIMS(-1, 6));
    struct mq_value *y =
        help_node(graph, cases[i].op, IN(shape_at(graph, x, 0), help_int(graph, cases[i].other)));
    if (cases[i].result == -7) {
      help_expect_failure(graph, "computes with the batch size, which is not fixed");
      continue;
    }
    help_expect(graph, y, SCALAR);
    help_expect_ints(y, INTS(cases[i].result));
    mq_graph_destroy(graph);
  }
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 6)), *n = shape_at(graph, x, 0);
  struct mq_value *as_float = cast(
      graph, help_node(graph, MQ_OP_Div, IN(cast(graph, n, 1), help_floats(graph, (float[]){1}, SCALAR))), 7);
  struct mq_value *same = help_node(graph, MQ_OP_Sub, IN(n, n));
  help_expect(graph, as_float, SCALAR);
  help_expect_ints(as_float, INTS(N));
  help_expect_ints(same, INTS(0));
  mq_graph_destroy(graph);
  graph = help_create(13);
  x = help_input(graph, "x", DIMS(-1, 6));
  help_node(graph, MQ_OP_Neg, IN(shape_at(graph, x, 0)));
  help_expect_failure(graph, "node 'n_2' (Neg): computes with the batch size");
}

/* ---- Values ------------------------------------------------------------------------------------------- */

static void expect_floats(const struct mq_value *value, const float *floats, int n) {
  assert_non_null(value->constant);
  assert_int_equal(mq_shape_count(&value->constant->shape), n);
  assert_memory_equal(value->constant->data, floats, (size_t)n * sizeof *floats);
}
#define FLOATS(...) ((float[]){__VA_ARGS__}), (int)(sizeof((float[]){__VA_ARGS__}) / sizeof(float))

static void test_moves(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  struct mq_value *a = help_floats(graph, (float[]){0, 1, 2, 3, 4, 5}, DIMS(2, 3));
  struct mq_value *t = help_node(graph, MQ_OP_Transpose, IN(a));
  struct mq_value *g = help_node(graph, MQ_OP_Gather, IN(a, help_ints(graph, INTS(-1, 0))));
  help_set_int(g, "axis", 1);
  struct mq_value *s = help_node(graph, MQ_OP_Slice,
                                 IN(a, help_ints(graph, INTS(2)), help_ints(graph, INTS(INT64_MIN)),
                                    help_ints(graph, INTS(1)), help_ints(graph, INTS(-2))));
  struct mq_value *c = help_node(graph, MQ_OP_Concat, IN(a, g));
  help_set_int(c, "axis", 1);
  struct mq_value *e = help_node(graph, MQ_OP_Expand, IN(s, help_ints(graph, INTS(2, 1, 1))));
  struct mq_value *f = help_node(graph, MQ_OP_Flatten, IN(help_node(graph, MQ_OP_Identity, IN(t))));
  struct mq_value *parts[2];
  struct mq_node *split;
  for (int i = 0; i < 2; i++) {
    help_ok(mq_graph_add_value(&parts[i], graph, "part", (mq_dtype)0, NULL, &err), &err);
  }
  help_ok(mq_graph_add_node(&split, graph, MQ_OP_Split, "",
                            (struct mq_value *[]){c, help_ints(graph, INTS(1, 4))}, 2, parts, 2, &err),
          &err);
  help_ok(mq_node_set_int(graph, split, "axis", 1, &err), &err);
  help_expect(graph, f, DIMS(3, 2));
  expect_floats(t, FLOATS(0, 3, 1, 4, 2, 5));
  expect_floats(g, FLOATS(2, 0, 5, 3));
  expect_floats(s, FLOATS(2, 0, 5, 3));
  expect_floats(c, FLOATS(0, 1, 2, 2, 0, 3, 4, 5, 5, 3));
  expect_floats(e, FLOATS(2, 0, 5, 3, 2, 0, 5, 3));
  expect_floats(parts[0], FLOATS(0, 3));
  expect_floats(parts[1], FLOATS(1, 2, 2, 0, 4, 5, 5, 3));
  assert_int_equal(graph->n_nodes, 0);
  mq_graph_destroy(graph);
}

static void test_constant_forms(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  struct mq_value *y[5];
  for (int i = 0; i < 5; i++) {
    y[i] = help_node(graph, MQ_OP_Constant, NULL, 0);
  }
  struct mq_shape shape = DIMS(2);
  struct mq_tensor tensor = mq_tensor_view((float[]){1, 2}, MQ_F32, &shape, NULL);
  help_ok(mq_node_set_tensor(graph, y[0]->producer, "value", &tensor, &err), &err);
  help_set_float(y[1], "value_float", 3);
  help_set_int(y[2], "value_int", 4);
  help_set_ints(y[3], "value_ints", INTS(5, 6, 7));
  help_ok(mq_node_set_floats(graph, y[4]->producer, "value_floats", (float[]){8}, 1, &err), &err);
  help_expect(graph, y[4], DIMS(1));
  expect_floats(y[0], FLOATS(1, 2));
  expect_floats(y[1], FLOATS(3));
  help_expect_ints(y[2], INTS(4));
  help_expect_ints(y[3], INTS(5, 6, 7));
  expect_floats(y[4], FLOATS(8));
  struct mq_value *bad = help_node(graph, MQ_OP_Constant, NULL, 0);
  help_set_string(bad, "value_string", "x");
  help_expect_failure(graph, "attribute 'value_string' holds text");
}

static void test_arithmetic(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *a = help_ints(graph, INTS(7, -7, INT64_MIN + 1)), *b = help_ints(graph, INTS(2, 2, -1));
  struct mq_value *div = help_node(graph, MQ_OP_Div, IN(a, b)), *mod = help_node(graph, MQ_OP_Mod, IN(a, b));
  struct mq_value *fmod = help_node(graph, MQ_OP_Mod, IN(a, b));
  help_set_int(fmod, "fmod", 1);
  struct mq_value *max = help_node(graph, MQ_OP_Max, IN(a, b, help_ints(graph, INTS(3, 3, 3))));
  struct mq_value *min = help_node(graph, MQ_OP_Min, IN(b));
  struct mq_value *neg = help_node(graph, MQ_OP_Neg, IN(b));
  struct mq_value *greater = cast(graph, help_node(graph, MQ_OP_Greater, IN(a, b)), 7);
  struct mq_value *either =
      cast(graph,
           help_node(graph, MQ_OP_Or,
                     IN(cast(graph, greater, 9), cast(graph, help_ints(graph, INTS(0, 0, 5)), 9))),
           7);
  struct mq_value *prod = help_node(graph, MQ_OP_ReduceProd, IN(help_ints(graph, INTS(2, 3, 4))));
  struct mq_value *range =
      help_node(graph, MQ_OP_Range, IN(help_int(graph, 5), help_int(graph, -2), help_int(graph, -3)));
  struct mq_value *f = help_node(
      graph, MQ_OP_Sub,
      IN(help_floats(graph, (float[]){0.1f, 5}, DIMS(2)), help_floats(graph, (float[]){0.3f}, DIMS(1))));
  struct mq_value *trunc = cast(graph, help_floats(graph, (float[]){-1.7f, 2.9f}, DIMS(2)), 7);
  help_expect(graph, f, DIMS(2));
  help_expect_ints(div, INTS(3, -3, INT64_MAX));
  help_expect_ints(mod, INTS(1, 1, 0));
  help_expect_ints(fmod, INTS(1, -1, 0));
  help_expect_ints(max, INTS(7, 3, 3));
  help_expect_ints(min, INTS(2, 2, -1));
  help_expect_ints(neg, INTS(-2, -2, 1));
  help_expect_ints(greater, INTS(1, 0, 0));
  help_expect_ints(either, INTS(1, 0, 1));
  help_expect_ints(prod, INTS(24));
  help_expect_ints(range, INTS(5, 2, -1));
  help_expect_ints(trunc, INTS(-1, 2));
  expect_floats(f, FLOATS(0.1f - 0.3f, 5 - 0.3f));
  mq_graph_destroy(graph);
  graph = help_create(13);
  help_node(graph, MQ_OP_Div, IN(help_int(graph, 5), help_int(graph, 0)));
  help_expect_failure(graph, "divides by zero");
  graph = help_create(13);
  help_node(graph, MQ_OP_Gather, IN(help_ints(graph, INTS(1, 2)), help_int(graph, 2)));
  help_expect_failure(graph, "index 2, expected -2 to 1");
  graph = help_create(13);
  help_node(graph, MQ_OP_Floor, IN(help_input(graph, "x", DIMS(-1, 3))));
  help_expect_failure(
      graph, "node 'n' (Floor): depends on the data; this operator works on constants and shapes only");
  graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3));
  help_node(graph, MQ_OP_Reshape, IN(x, cast(graph, x, 7)));
  help_expect_failure(graph, "input 1 ('y') depends on the data (made by Cast 'n'), expected a constant");
}

static void test_reduce_prod_axes(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *a = help_floats(graph, (float[]){1, 2, 3, 4, 5, 6}, DIMS(2, 3));
  struct mq_value *y = help_node(graph, MQ_OP_ReduceProd, IN(a));
  help_set_ints(y, "axes", INTS(0));
  struct mq_value *z = help_node(graph, MQ_OP_ReduceProd, IN(a));
  help_set_ints(z, "axes", INTS(-1));
  help_set_int(z, "keepdims", 0);
  help_expect(graph, z, DIMS(2));
  expect_floats(y, FLOATS(4, 10, 18));
  expect_floats(z, FLOATS(6, 120));
  mq_graph_destroy(graph);
}

static void test_shape_range(void **state) {
  (void)state;
  static const struct {
    int64_t start, end;
    int n;
  } cases[] = {{0, 4, 4}, {1, 3, 2}, {-1, 99, 1}, {-9, -1, 3}, {3, 1, 0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mq_graph *graph = help_create(15);
    struct mq_value *y = help_node(graph, MQ_OP_Shape, IN(help_input(graph, "x", DIMS(-1, 3, 4, 5))));
    help_set_int(y, "start", cases[i].start);
    help_set_int(y, "end", cases[i].end);
    help_expect(graph, y, DIMS(cases[i].n));
    mq_graph_destroy(graph);
  }
}

/* ---- Bounds ------------------------------------------------------------------------------------------- */

static void test_amplification_is_refused(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  help_node(graph, MQ_OP_ConstantOfShape, IN(help_ints(graph, INTS(1 << 20, 1 << 20))));
  help_expect_failure(graph, "which is too many");
  graph = help_create(13);
  help_node(graph, MQ_OP_ConstantOfShape, IN(help_ints(graph, INTS(INT64_MAX, INT64_MAX))));
  help_expect_failure(graph, "is not possible");
  graph = help_create(13);
  help_node(graph, MQ_OP_ConstantOfShape, IN(help_ints(graph, INTS(-5))));
  help_expect_failure(graph, "is not possible");
  graph = help_create(13);
  help_node(graph, MQ_OP_Expand,
            IN(help_weights(graph, DIMS(1, 1)), help_ints(graph, INTS(1 << 20, 1 << 20))));
  help_expect_failure(graph, "which is too many");
  /* Many steps that each double. */
  graph = help_create(13);
  struct mq_value *y = cast(graph, help_weights(graph, DIMS(1 << 16)), 2);
  for (int i = 0; i < 40; i++) {
    y = concat(graph, IN(y, y));
  }
  help_expect_failure(graph, "which is too many");
  graph = help_create(13);
  help_node(graph, MQ_OP_Range, IN(help_int(graph, 0), help_int(graph, INT64_MAX), help_int(graph, 1)));
  help_expect_failure(graph, "from 0 to 9.22337e+18 in steps of 1");
}

/* 20,000 shape computations in a row. */
static void test_long_fold(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3)), *n = shape_at(graph, x, 1);
  for (int i = 0; i < 20000; i++) {
    n = help_node(graph, MQ_OP_Add, IN(n, help_int(graph, 1)));
  }
  help_expect(graph, n, SCALAR);
  help_expect_ints(n, INTS(20003));
  assert_int_equal(graph->n_nodes, 0);
  mq_graph_destroy(graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_flatten_by_view),
      cmocka_unit_test(test_literal_batch),
      cmocka_unit_test(test_moved_batch),
      cmocka_unit_test(test_tensorflow_reshape),
      cmocka_unit_test(test_floor_divide),
      cmocka_unit_test(test_pytorch_pad),
      cmocka_unit_test(test_interpolate_sizes),
      cmocka_unit_test(test_expand),
      cmocka_unit_test(test_constant_of_batch_shape),
      cmocka_unit_test(test_constants_of_literal_batch),
      cmocka_unit_test(test_batch_arithmetic),
      cmocka_unit_test(test_moves),
      cmocka_unit_test(test_constant_forms),
      cmocka_unit_test(test_arithmetic),
      cmocka_unit_test(test_reduce_prod_axes),
      cmocka_unit_test(test_shape_range),
      cmocka_unit_test(test_amplification_is_refused),
      cmocka_unit_test(test_long_fold),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
