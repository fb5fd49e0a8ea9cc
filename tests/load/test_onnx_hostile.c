/* Hostile files: truncated, flipped, nested, oversized. Status 3, one line, bounded memory, nothing leaked.
 */
#include "help_model.h"

#define MEMORY_BYTES ((size_t)512 << 20)

/* MQ_OK where the damage does not show, otherwise MQ_BAD_INPUT with one line. */
static mq_status parse_and_drop(const uint8_t *bytes, size_t n) {
  struct mq_err err = {0};
  struct mq_graph *graph;
  size_t before = mq_memory_used();
  mq_status status = mq_onnx_parse(&graph, bytes, n, "m.onnx", NULL, NULL, &err);
  if (status == MQ_OK) {
    mq_graph_destroy(graph);
  } else if (status != MQ_BAD_INPUT || strchr(err.message, '\n') || err.message[0] == '\0') {
    fail_msg("status %d: %s", status, err.message);
  }
  assert_int_equal(mq_memory_used(), before);
  return status;
}

static void truncated_everywhere(void **state) {
  (void)state;
  static const char *const names[] = {"tiny_resnet_cifar", "tiny_mobilenet_v3", "typed_fields_ir3"};
  for (size_t i = 0; i < 3; i++) {
    uint8_t *bytes;
    size_t n;
    help_read_file(&bytes, &n, help_path(names[i], "onnx"));
    for (size_t length = 0; length < n; length += 97) {
      uint8_t *part = malloc(length ? length : 1); /* so that a sanitizer sees the end */
      assert_non_null(part);
      memcpy(part, bytes, length);
      assert_int_equal(parse_and_drop(part, length), MQ_BAD_INPUT);
      free(part);
    }
    free(bytes);
  }
}

static void flipped_bits(void **state) {
  (void)state;
  static const char *const names[] = {"tiny_resnet_cifar",       "channel_shuffle_dynamic",
                                      "constant_forms",          "qdq",
                                      "upsample_resize_opset11", "activations_opset14"};
  struct mq_rng rng;
  mq_rng_init(&rng, 1, MQ_RNG_TEST, 0, 0);
  mq_memory_set_limit(MEMORY_BYTES);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    uint8_t *bytes;
    size_t n;
    help_read_file(&bytes, &n, help_path(names[i], "onnx"));
    for (int flip = 0; flip < 200; flip++) {
      uint32_t bit = mq_rng_below(&rng, (uint32_t)n * 8);
      bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
      parse_and_drop(bytes, n);
      bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(bytes);
  }
  mq_memory_set_limit(0);
}

/* A message of `depth` levels, fields repeating from `fields` downwards, innermost empty. Written backwards.
 */
static size_t nest(uint8_t *end, int depth, const uint8_t *fields, int n_fields, const uint8_t *top,
                   int n_top) {
  uint8_t *at = end;
  for (int level = 0; level < depth + n_top; level++) {
    size_t n = (size_t)(end - at);
    uint8_t length[5], n_length = 0;
    do {
      length[n_length++] = (uint8_t)((n & 0x7f) | (n > 0x7f ? 0x80 : 0));
      n >>= 7;
    } while (n > 0);
    at -= n_length;
    memcpy(at, length, n_length);
    uint8_t field = level < depth ? fields[level % n_fields] : top[level - depth];
    *--at = (uint8_t)(field << 3 | 2);
  }
  return (size_t)(end - at);
}

static void nested_100000_deep(void **state) {
  (void)state;
  enum {
    DEPTH = 100000,
    ROOM = DEPTH * 6
  };
  uint8_t *bytes = malloc(ROOM);
  assert_non_null(bytes);
  /* Sequence types in an input's type; subgraphs in attributes of nodes. */
  const uint8_t types[] = {1, 4}, type_top[] = {2, 11, 7};
  const uint8_t graphs[] = {6, 5, 1}, graph_top[] = {7};
  size_t n = nest(bytes + ROOM, DEPTH, types, 2, type_top, 3);
  assert_true(n > DEPTH * 2);
  assert_int_equal(parse_and_drop(bytes + ROOM - n, n), MQ_BAD_INPUT);
  n = nest(bytes + ROOM, DEPTH - 1, graphs, 3, graph_top, 1);
  assert_int_equal(parse_and_drop(bytes + ROOM - n, n), MQ_BAD_INPUT);
  memset(bytes, 0x0b, ROOM); /* groups, which protobuf gave up */
  assert_int_equal(parse_and_drop(bytes, ROOM), MQ_BAD_INPUT);
  free(bytes);
}

/* Millions of empty messages, 2 bytes each in the file: refused before they take memory out of proportion. */
static void small_messages_in_great_number(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_graph *graph;
  enum {
    N = 999990
  };
  uint8_t *bytes = malloc(2 * N);
  assert_non_null(bytes);
  for (int i = 0; i < N; i++) {
    bytes[2 * i] = 0x42;
    bytes[2 * i + 1] = 0;
  }
  mq_memory_set_limit((size_t)256 << 20);
  mq_status status = mq_onnx_parse(&graph, bytes, 2 * N, "m.onnx", NULL, NULL, &err);
  mq_memory_set_limit(0);
  assert_int_equal(status, MQ_BAD_INPUT);
  free(bytes);
}

static void oversized_dimensions(void **state) {
  (void)state;
  static const int64_t sizes[] = {1000, 100000, 1 << 30, INT64_C(1) << 39, INT64_MAX / 3, INT64_MAX};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    struct help_model model;
    help_model_init(&model);
    for (int d = 2; d < 4; d++) {
      model.x_dims[d].dim_value = sizes[i];
    }
    size_t n;
    uint8_t *bytes = help_model_pack(&n, &model);
    mq_status status = parse_and_drop(bytes, n);
    assert_true(i < 2 || status == MQ_BAD_INPUT);
    free(bytes);
  }
}

/* ConstantOfShape, folded at load, must not be talked into allocating what the file does not hold. */
static void oversized_constants(void **state) {
  (void)state;
  static const int64_t sizes[] = {1 << 20, 1 << 28, INT64_C(1) << 38, INT64_MAX, -5};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    struct help_model model;
    help_model_init(&model);
    int64_t data[] = {sizes[i]}, dims[] = {1};
    Onnx__TensorProto shape, *list[] = {&model.w, &model.b, &shape};
    onnx__tensor_proto__init(&shape);
    shape.name = "shape";
    shape.n_dims = 1;
    shape.dims = dims;
    shape.has_data_type = 1;
    shape.data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    shape.n_int64_data = 1;
    shape.int64_data = data;
    model.graph.n_initializer = 3;
    model.graph.initializer = list;
    model.extra.op_type = "ConstantOfShape";
    model.extra_inputs[0] = "shape";
    model.graph.n_node = 3;
    model.y.name = "z";
    size_t n;
    uint8_t *bytes = help_model_pack(&n, &model);
    mq_memory_set_limit(MEMORY_BYTES);
    mq_status status = parse_and_drop(bytes, n);
    mq_memory_set_limit(0);
    assert_true(i == 0 || status == MQ_BAD_INPUT);
    free(bytes);
  }
}

/* Memory that runs out anywhere along the way is reported and leaks nothing. */
static void memory_runs_out_at_every_step(void **state) {
  (void)state;
  static const char *const names[] = {"tiny_resnet_cifar", "typed_fields_ir3"};
  for (size_t i = 0; i < 2; i++) {
    uint8_t *bytes;
    size_t n, before = mq_memory_used();
    help_read_file(&bytes, &n, help_path(names[i], "onnx"));
    mq_status status = MQ_FAILED;
    for (size_t limit = 1; status != MQ_OK; limit += 1 + limit / 24) {
      struct mq_err err = {0};
      struct mq_graph *graph;
      mq_memory_set_limit(limit);
      status = mq_onnx_parse(&graph, bytes, n, "m.onnx", NULL, NULL, &err);
      mq_memory_set_limit(0);
      if (status == MQ_OK) {
        mq_graph_destroy(graph);
      } else {
        assert_int_equal(status, MQ_FAILED);
        assert_non_null(strstr(err.message, "out of memory"));
      }
      assert_int_equal(mq_memory_used(), before);
    }
    free(bytes);
  }
}

static void cycles(void **state) {
  (void)state;
  uint8_t *bytes;
  size_t n;
  help_read_file(&bytes, &n, help_path("bad_cycle", "onnx"));
  assert_int_equal(parse_and_drop(bytes, n), MQ_BAD_INPUT);
  free(bytes);
}

static void not_even_protobuf(void **state) {
  (void)state;
  static const char text[] = "<!doctype html><html><body>404</body></html>";
  assert_int_equal(parse_and_drop((const uint8_t *)text, sizeof text - 1), MQ_BAD_INPUT);
  assert_int_equal(parse_and_drop((const uint8_t *)"", 0), MQ_BAD_INPUT);
  struct mq_err err = {0};
  struct mq_graph *graph;
  assert_fails(MQ_BAD_INPUT, "no such file", mq_onnx_read(&graph, help_path("missing", "onnx"), NULL, &err));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(truncated_everywhere),
      cmocka_unit_test(flipped_bits),
      cmocka_unit_test(nested_100000_deep),
      cmocka_unit_test(small_messages_in_great_number),
      cmocka_unit_test(oversized_dimensions),
      cmocka_unit_test(oversized_constants),
      cmocka_unit_test(memory_runs_out_at_every_step),
      cmocka_unit_test(cycles),
      cmocka_unit_test(not_even_protobuf),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
