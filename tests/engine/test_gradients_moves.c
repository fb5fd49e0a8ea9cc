/* Gradients of operators that move values: views, parts, borders, resizing. */
#include "help_gradients.h"
#include "mqbench/kernel.h"

#define TOLERANCE 2e-6 /* of the largest gradient of a tensor */

/* ---- Views ----------------------------------------------------------------------------------- */
static void build_reshapes(struct gradient_case *made, struct net *net, const void *parameters) {
  (void)parameters;
  made->x = net_data(net, "x", DIMS(5, 3, 4));
  struct mq_value *y = net_op1(net, MQ_OP_Relu, "relu", made->x);
  y = net_op2(net, MQ_OP_Reshape, "rows", y, INT_LIST(net, "shape", 0, 15, 4));
  y = net_op2(net, MQ_OP_Unsqueeze, "unsqueeze", y, INT_LIST(net, "axes", 1));
  y = net_op2(net, MQ_OP_Mul, "mul", y, net_learned(net, "w", DIMS(15, 4), -1, 1));
  made->y = net_op2(net, MQ_OP_Squeeze, "squeeze", y, INT_LIST(net, "axes", 1));
}

/* ShuffleNet's way to mix the channels of groups. */
static void build_shuffle(struct gradient_case *made, struct net *net, const void *parameters) {
  (void)parameters;
  made->x = net_data(net, "x", DIMS(6, 3, 4));
  struct mq_value *y = net_op2(net, MQ_OP_Reshape, "groups", made->x, INT_LIST(net, "shape", 0, 2, 3, 3, 4));
  y = net_op1(net, MQ_OP_Transpose, "transpose", y);
  SET_INTS(net, y, "perm", 0, 2, 1, 3, 4);
  y = net_op2(net, MQ_OP_Reshape, "back", y, INT_LIST(net, "shape2", 0, 6, 3, 4));
  made->y = net_op2(net, MQ_OP_Mul, "mul", y, net_learned(net, "w", DIMS(6, 1, 1), -1, 1));
}

static void build_expand(struct gradient_case *made, struct net *net, const void *parameters) {
  mq_op reader = *(const mq_op *)parameters;
  made->x = net_data(net, "x", DIMS(5, 1, 4));
  struct mq_value *y = net_op2(net, MQ_OP_Expand, "expand", made->x, INT_LIST(net, "shape", 1, 1, 3, 1));
  struct mq_value *w = net_learned(net, "w", DIMS(5, 3, 4), -1, 1);
  y = reader == MQ_OP_Relu ? net_op1(net, reader, "read", y) : net_op2(net, reader, "read", y, w);
  made->y = net_op2(net, MQ_OP_Mul, "mul", y, w);
}

static void test_views(void **state) {
  (void)state;
  static const mq_op readers[] = {MQ_OP_Relu, MQ_OP_Mul, MQ_OP_Add};
  check_gradients("reshapes", build_reshapes, NULL, TOLERANCE);
  check_gradients("shuffle", build_shuffle, NULL, TOLERANCE);
  for (int i = 0; i < 3; i++)
    check_gradients("expand", build_expand, &readers[i], TOLERANCE);
}

/* ---- Parts ----------------------------------------------------------------------------------- */
struct slice_case {
  int64_t starts[2], ends[2], axes[2], steps[2];
};

static void build_slice(struct gradient_case *made, struct net *net, const void *parameters) {
  const struct slice_case *c = parameters;
  made->x = net_data(net, "x", DIMS(5, 4, 6));
  struct mq_value *inputs[] = {made->x, net_int_list(net, "starts", 2, c->starts),
                               net_int_list(net, "ends", 2, c->ends), net_int_list(net, "axes", 2, c->axes),
                               net_int_list(net, "steps", 2, c->steps)};
  struct mq_value *y = net_op(net, MQ_OP_Slice, "slice", inputs, 5);
  made->y = net_op1(net, MQ_OP_Sigmoid, "sigmoid", y);
}

/* Focus: four slices of one tensor, joined. */
static void build_focus(struct gradient_case *made, struct net *net, const void *parameters) {
  struct mq_value *parts[4];
  (void)parameters;
  made->x = net_data(net, "x", DIMS(3, 4, 6));
  for (int i = 0; i < 4; i++) {
    char name[4][16];
    static const char *const kinds[4] = {"start", "end", "axis", "step"};
    for (int k = 0; k < 4; k++)
      snprintf(name[k], sizeof name[k], "%s%d", kinds[k], i);
    struct mq_value *inputs[] = {made->x, INT_LIST(net, name[0], i / 2, i % 2), INT_LIST(net, name[1], 4, 6),
                                 INT_LIST(net, name[2], 2, 3), INT_LIST(net, name[3], 2, 2)};
    snprintf(name[0], sizeof name[0], "part%d", i);
    parts[i] = net_op(net, MQ_OP_Slice, name[0], inputs, 5);
  }
  made->y = net_op(net, MQ_OP_Concat, "concat", parts, 4);
  net_set_int(net, made->y, "axis", 1);
  made->y = net_op2(net, MQ_OP_Mul, "mul", made->y, net_learned(net, "w", DIMS(12, 2, 3), -1, 1));
}

/* The second part is read by nobody; the third one twice. */
static void build_split(struct gradient_case *made, struct net *net, const void *parameters) {
  static const char *const names[3] = {"first", "second", "third"};
  struct mq_value *outputs[3];
  struct mq_node *node;
  int64_t axis = *(const int64_t *)parameters;
  made->x = net_data(net, "x", DIMS(axis == 1 ? 6 : 3, axis == 2 ? 6 : 2, axis == 3 ? 6 : 4));
  for (int i = 0; i < 3; i++)
    outputs[i] = net_value(net, names[i], (struct mq_shape){.rank = -1});
  struct mq_value *inputs[] = {made->x, INT_LIST(net, "parts", 2, 1, 3)};
  net_check(net,
            mq_graph_add_node(&node, net->graph, MQ_OP_Split, "split", inputs, 2, outputs, 3, &net->err));
  net_check(net, mq_node_set_int(net->graph, node, "axis", axis, &net->err));
  struct mq_value *parts[] = {net_op1(net, MQ_OP_Relu, "relu", outputs[0]),
                              net_op2(net, MQ_OP_Mul, "square", outputs[2], outputs[2])};
  made->y = net_op(net, MQ_OP_Concat, "concat", parts, 2);
  net_set_int(net, made->y, "axis", axis);
}

struct gather_case {
  int axis, n;
  int64_t rank, indices[4];
};

static void build_gather(struct gradient_case *made, struct net *net, const void *parameters) {
  const struct gather_case *c = parameters;
  made->x = net_data(net, "x", DIMS(5, 3, 4));
  struct mq_shape shape = {.rank = (int)c->rank, .dim = {c->n}};
  if (c->rank == 2) shape = DIMS(2, c->n / 2);
  int64_t copy[4];
  memcpy(copy, c->indices, sizeof copy);
  struct mq_tensor tensor = mq_tensor_view(copy, MQ_I64, &shape, NULL);
  struct mq_value *indices;
  net_check(net, mq_graph_add_constant(&indices, net->graph, "indices", &tensor, &net->err));
  struct mq_value *y = net_op2(net, MQ_OP_Gather, "gather", made->x, indices);
  net_set_int(net, y, "axis", c->axis);
  made->y = net_op1(net, MQ_OP_Sigmoid, "sigmoid", y);
}

/* Rows of a table of parameters. */
static void build_table(struct gradient_case *made, struct net *net, const void *parameters) {
  (void)parameters;
  made->x = net_data(net, "x", DIMS(4, 5));
  struct mq_value *table = net_learned(net, "table", DIMS(7, 5), -1, 1);
  struct mq_value *rows = net_op2(net, MQ_OP_Gather, "gather", table, INT_LIST(net, "ids", 6, 0, -1, 3));
  made->y = net_op2(net, MQ_OP_Mul, "mul", made->x, rows);
}

static void test_parts(void **state) {
  (void)state;
  static const struct slice_case slices[] = {{{1, 0}, {4, 5}, {1, 3}, {1, 2}},
                                             {{-1, 3}, {-6, 0}, {3, 2}, {-2, -1}}};
  static const struct gather_case gathers[] = {
      {1, 4, 1, {4, 0, -1, 4}}, {3, 4, 2, {0, 2, 2, 3}}, {2, 1, 0, {1}}};
  static const int64_t axes[] = {1, 2, 3};
  for (int i = 0; i < 2; i++)
    check_gradients("slice", build_slice, &slices[i], TOLERANCE);
  check_gradients("focus", build_focus, NULL, TOLERANCE);
  for (int i = 0; i < 3; i++)
    check_gradients("split", build_split, &axes[i], TOLERANCE);
  for (int i = 0; i < 3; i++)
    check_gradients("gather", build_gather, &gathers[i], TOLERANCE);
  check_gradients("table", build_table, NULL, TOLERANCE);
}

/* ---- Concat: tensors of several kinds, one of them twice ------------------------------------- */
static void build_concat(struct gradient_case *made, struct net *net, const void *parameters) {
  (void)parameters;
  made->x = net_data(net, "x", DIMS(5, 3, 4));
  struct mq_value *parts[] = {net_op1(net, MQ_OP_Relu, "relu", made->x), made->x,
                              net_data(net, "other", DIMS(13, 3, 4)), made->x};
  made->y = net_op(net, MQ_OP_Concat, "concat", parts, 4);
  net_set_int(net, made->y, "axis", 1);
}

static void test_concat(void **state) {
  (void)state;
  check_gradients("concat", build_concat, NULL, TOLERANCE);
}

/* ---- Pad ------------------------------------------------------------------------------------- */
struct pad_case {
  const char *mode;
  int64_t pads[8];
};

static void build_pad(struct gradient_case *made, struct net *net, const void *parameters) {
  const struct pad_case *c = parameters;
  made->x = net_data(net, "x", DIMS(5, 4, 5));
  struct mq_value *y = net_op2(net, MQ_OP_Pad, "pad", made->x, net_int_list(net, "pads", 8, c->pads));
  net_set_string(net, y, "mode", c->mode);
  made->y = net_op1(net, MQ_OP_Sigmoid, "sigmoid", y);
}

static void test_pad(void **state) {
  (void)state;
  static const struct pad_case pads[] = {
      {"constant", {0, 0, 1, 2, 0, 0, 3, 0}}, {"constant", {0, 1, -1, 2, 0, 2, 1, -2}},
      {"reflect", {0, 0, 1, 2, 0, 0, 3, 4}},  {"reflect", {0, 2, 0, -1, 0, 1, 2, 3}},
      {"edge", {0, 0, 1, 2, 0, 0, 3, 1}},     {"edge", {0, 1, -2, 0, 0, 0, 2, 0}},
      {"wrap", {0, 0, 1, 2, 0, 0, 0, 3}},
  };
  for (size_t i = 0; i < sizeof pads / sizeof *pads; i++)
    check_gradients(pads[i].mode, build_pad, &pads[i], TOLERANCE);
}

/* ---- Resize ---------------------------------------------------------------------------------- */
struct resize_case {
  const char *mode, *coordinates, *nearest;
  int64_t height, width;
};

static void build_resize(struct gradient_case *made, struct net *net, const void *parameters) {
  const struct resize_case *c = parameters;
  made->x = net_data(net, "x", DIMS(5, 4, 5));
  struct mq_value *inputs[] = {made->x, NULL, NULL, INT_LIST(net, "sizes", 1, 5, c->height, c->width)};
  /* The batch, whatever it is. */
  ((int64_t *)inputs[3]->constant->data)[0] = MQ_DIM_BATCH;
  struct mq_value *y = net_op(net, MQ_OP_Resize, "resize", inputs, 4);
  net_set_string(net, y, "mode", c->mode);
  net_set_string(net, y, "coordinate_transformation_mode", c->coordinates);
  net_set_string(net, y, "nearest_mode", c->nearest);
  made->y = net_op1(net, MQ_OP_Sigmoid, "sigmoid", y);
}

static void test_resize(void **state) {
  (void)state;
  static const struct resize_case cases[] = {
      {"nearest", "asymmetric", "floor", 8, 10}, {"nearest", "half_pixel", "round_prefer_floor", 7, 3},
      {"linear", "half_pixel", "floor", 8, 10},  {"linear", "align_corners", "floor", 7, 9},
      {"linear", "asymmetric", "floor", 3, 4},   {"cubic", "half_pixel", "floor", 6, 9},
      {"cubic", "half_pixel", "floor", 4, 3},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_gradients(cases[i].mode, build_resize, &cases[i], TOLERANCE);
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_views), cmocka_unit_test(test_parts),  cmocka_unit_test(test_concat),
      cmocka_unit_test(test_pad),   cmocka_unit_test(test_resize),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
