/* Integers of 4 and 2 bits in, for those who ask for them; and what is said of operators on integers. */
#include <stdlib.h>
#include <unistd.h>

#include "common.h"
#include "load/onnx.h"

static mq_onnx_packed as_told(void *context, const struct mq_value *value) {
  return strcmp(value->name, "codes") == 0 ? *(mq_onnx_packed *)context : MQ_ONNX_UNPACKED;
}

/* y = codes dequantized + x, written with the codes packed. */
static void write_model(char path[64], mq_onnx_packed type, mq_dtype dtype, const int8_t *codes, int64_t n) {
  struct mq_err err = {0};
  struct mq_graph *graph;
  struct mq_value *inputs[3], *x, *y;
  struct mq_node *node;
  const struct mq_shape shape = {.rank = 2, .dim = {1, n}}, scalar = {.rank = 0};
  float one = 1;
  int8_t none = 0;
  const struct mq_tensor tensors[] = {mq_tensor_view((void *)(uintptr_t)codes, dtype, &shape, NULL),
                                      mq_tensor_view(&one, MQ_F32, &scalar, NULL),
                                      mq_tensor_view(&none, dtype, &scalar, NULL)};
  static const char *const names[] = {"codes", "scale", "zero"};
  assert_ok(mq_graph_create(&graph, "packed.onnx", &err));
  graph->opset = 25;
  for (int i = 0; i < 3; i++)
    assert_ok(mq_graph_add_constant(&inputs[i], graph, names[i], &tensors[i], &err));
  assert_ok(mq_graph_add_value(&x, graph, "x", MQ_F32, &shape, &err));
  assert_ok(mq_graph_add_input(graph, x, &err));
  assert_ok(mq_graph_add_value(&y, graph, "w", MQ_F32, &shape, &err));
  assert_ok(mq_graph_add_node(&node, graph, MQ_OP_DequantizeLinear, "d", inputs, 2, &y, 1, &err));
  struct mq_value *sum[] = {x, y}, *z;
  assert_ok(mq_graph_add_value(&z, graph, "y", MQ_F32, &shape, &err));
  assert_ok(mq_graph_add_node(&node, graph, MQ_OP_Add, "add", sum, 2, &z, 1, &err));
  assert_ok(mq_graph_add_output(graph, z, &err));
  snprintf(path, 64, "/tmp/mqbench_packed_%d.onnx", (int)getpid());
  assert_ok(mq_onnx_write_packed(path, graph, as_told, &type, &err));
  mq_graph_destroy(graph);
}

static void packed_constants_are_read_where_asked_for(void **state) {
  (void)state;
  static const int8_t wide[] = {-8, 7, 0, -1, 3}, narrow[] = {-2, 1, 0, -1, 1},
                      unsigned4[] = {15, 0, 8, 7, 1};
  const struct {
    mq_onnx_packed type;
    mq_dtype dtype;
    const int8_t *codes;
    int bits;
    const char *name;
  } cases[] = {{MQ_ONNX_INT4, MQ_I8, wide, 4, "INT4"},
               {MQ_ONNX_UINT4, MQ_U8, unsigned4, 4, "UINT4"},
               {MQ_ONNX_INT2, MQ_I8, narrow, 2, "INT2"}};
  const struct mq_onnx_options options = {.takes_packed = true};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct mq_err err = {0};
    struct mq_graph *graph = NULL, *copy = NULL;
    char path[64];
    write_model(path, cases[i].type, cases[i].dtype, cases[i].codes, 5);
    assert_int_equal(mq_onnx_read(&graph, path, NULL, &err), MQ_BAD_INPUT);
    assert_non_null(strstr(err.message, cases[i].name));
    assert_ok(mq_onnx_read(&graph, path, &options, &err));
    assert_ok(mq_graph_clone(&copy, graph, &err));
    const struct mq_value *codes = mq_graph_find_value(copy, "codes");
    assert_int_equal(codes->packed_bits, cases[i].bits);
    assert_int_equal(codes->constant->dtype, cases[i].dtype);
    assert_memory_equal(codes->constant->data, cases[i].codes, 5);
    mq_graph_destroy(copy);
    mq_graph_destroy(graph);
    unlink(path);
  }
}

/* One byte too few of them, found by their place in the file. */
static void packed_bytes_must_be_all_there(void **state) {
  (void)state;
  static const int8_t codes[] = {1, 2, 3, 4, 5};
  const struct mq_onnx_options options = {.takes_packed = true};
  struct mq_err err = {0};
  struct mq_graph *graph = NULL;
  char path[64];
  uint8_t bytes[4096];
  write_model(path, MQ_ONNX_INT4, MQ_I8, codes, 5);
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  size_t n = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  unlink(path);
  int n_changed = 0;
  static const uint8_t dims[] = {0x08, 1, 0x08, 5}; /* become 1, 7: a byte more is needed */
  for (size_t i = 0; i + sizeof dims <= n && n_changed == 0; i++) {
    if (memcmp(bytes + i, dims, sizeof dims) == 0) {
      bytes[i + 3] = 7;
      n_changed++;
    }
  }
  assert_int_equal(n_changed, 1);
  assert_int_equal(mq_onnx_parse(&graph, bytes, n, "packed.onnx", NULL, &options, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "'codes' has 3 bytes of data, expected 4"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(packed_constants_are_read_where_asked_for),
      cmocka_unit_test(packed_bytes_must_be_all_there),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
