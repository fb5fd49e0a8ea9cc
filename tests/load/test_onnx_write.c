/* Load, save, load gives the same graph; the bytes depend on the graph; ONNX's own checker agrees. */
#include <unistd.h>

#include "help_model.h"
#include "load/unpack.h"

static const char *directory;

static int make_directory(void **state) {
  (void)state;
  directory = make_test_directory();
  return 0;
}

static int remove_directory(void **state) {
  (void)state;
  remove_test_directory(directory);
  return 0;
}

static const char *out_path(const char *name) {
  static char path[1024];
  snprintf(path, sizeof path, "%s/%s.onnx", directory, name);
  return path;
}

static void load_save_load_is_the_same(void **state) {
  (void)state;
  struct mq_err err = {0};
  char **names;
  size_t n = help_names(&names);
  for (size_t i = 0; i < n; i++) {
    if (strncmp(names[i], "bad_", 4) == 0) {
      continue;
    }
    struct mq_graph *first, *second;
    assert_ok(mq_onnx_read(&first, help_path(names[i], "onnx"), NULL, &err));
    assert_ok(mq_onnx_write(out_path(names[i]), first, &err));
    assert_ok(mq_onnx_read(&second, out_path(names[i]), NULL, &err));
    assert_graphs_equal(first, second);
    mq_graph_destroy(first);
    mq_graph_destroy(second);
  }
  free(names);
}

static void the_bytes_depend_on_the_graph_only(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_graph *graph, *copy;
  uint8_t *bytes[2];
  size_t n[2];
  assert_ok(mq_onnx_read(&graph, help_path("tiny_resnet_cifar", "onnx"), NULL, &err));
  assert_ok(mq_graph_clone(&copy, graph, &err));
  assert_ok(mq_onnx_write(out_path("a"), graph, &err));
  assert_ok(mq_onnx_write(out_path("b"), copy, &err));
  help_read_file(&bytes[0], &n[0], out_path("a"));
  help_read_file(&bytes[1], &n[1], out_path("b"));
  assert_int_equal(n[0], n[1]);
  assert_memory_equal(bytes[0], bytes[1], n[0]);
  unlink(out_path("a"));
  unlink(out_path("b"));
  free(bytes[0]);
  free(bytes[1]);
  mq_graph_destroy(graph);
  mq_graph_destroy(copy);
}

/* Sizes of a Resize that contain the batch are computed in the written model, and fold again. */
static void a_batch_outside_of_reshape_is_computed(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_graph *graph;
  uint8_t *bytes;
  size_t n;
  assert_ok(mq_onnx_read(&graph, help_path("upsample_resize_opset13", "onnx"), NULL, &err));
  assert_ok(mq_onnx_format(&bytes, &n, graph, "m.onnx", &err));
  assert_non_null(memmem(bytes, n, "Gather", 6));
  mq_free(bytes);
  mq_graph_destroy(graph);
  assert_ok(mq_onnx_read(&graph, help_path("tiny_resnet_cifar", "onnx"), NULL, &err));
  assert_ok(mq_onnx_format(&bytes, &n, graph, "m.onnx", &err));
  assert_null(memmem(bytes, n, "Gather", 6)); /* here [0, -1] does */
  mq_free(bytes);
  mq_graph_destroy(graph);
}

static void fake_quantization_has_no_form(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_graph *graph;
  struct mq_value *value;
  struct mq_node *node;
  assert_ok(mq_onnx_read(&graph, help_path("same_lower", "onnx"), NULL, &err));
  assert_ok(mq_graph_add_value(&value, graph, "fake", MQ_F32, &graph->outputs[0]->shape, &err));
  assert_ok(
      mq_graph_add_node(&node, graph, MQ_OP_FakeQuantize, "fake", &graph->outputs[0], 1, &value, 1, &err));
  assert_fails(MQ_BAD_USAGE, "'fake' (FakeQuantize)", mq_onnx_write(out_path("fake"), graph, &err));
  assert_int_not_equal(access(out_path("fake"), F_OK), 0);
  mq_graph_destroy(graph);
}

static void models_over_2_gigabytes_are_refused(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_graph *graph;
  assert_ok(mq_onnx_read(&graph, help_path("same_lower", "onnx"), NULL, &err));
  struct mq_tensor *weights = mq_graph_find_value(graph, "w1")->constant;
  weights->shape = (struct mq_shape){.rank = 1, .dim = {INT64_C(1) << 29}}; /* only its size is looked at */
  assert_fails(MQ_BAD_INPUT, "expected at most 2147483647", mq_onnx_write(out_path("large"), graph, &err));
  mq_graph_destroy(graph);
}

static void a_folder_that_is_not_there(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_graph *graph;
  assert_ok(mq_onnx_read(&graph, help_path("same_lower", "onnx"), NULL, &err));
  mq_status status = mq_onnx_write("/nonexistent/folder/m.onnx", graph, &err);
  assert_int_not_equal(status, MQ_OK);
  assert_non_null(strstr(err.message, "/nonexistent/folder/m.onnx"));
  mq_graph_destroy(graph);
}

/* ---- Integers of 4 and 2 bits ---- */
static const int8_t codes[] = {-8, 7, 0, -1, 3};

static mq_onnx_packed as_told(void *context, const struct mq_value *value) {
  return strcmp(value->name, "codes") == 0 ? *(const mq_onnx_packed *)context : MQ_ONNX_UNPACKED;
}

/* x -> Add(DequantizeLinear(codes)): the file's tensor `codes`. */
static void write_codes(struct mq_onnx_message *message, mq_onnx_packed type) {
  struct mq_err err = {0};
  struct mq_graph *graph;
  struct mq_value *inputs[2], *outputs[2];
  struct mq_node *node;
  const struct mq_shape vector = {.rank = 1, .dim = {5}}, scalar = {.rank = 0};
  float scale = 0.5f;
  struct mq_tensor ints = mq_tensor_view((void *)(uintptr_t)codes, MQ_I8, &vector, NULL),
                   one = mq_tensor_view(&scale, MQ_F32, &scalar, NULL);
  uint8_t *bytes;
  size_t n;
  assert_ok(mq_graph_create(&graph, "packed", &err));
  assert_ok(mq_graph_add_constant(&inputs[0], graph, "codes", &ints, &err));
  assert_ok(mq_graph_add_constant(&inputs[1], graph, "scale", &one, &err));
  assert_ok(mq_graph_add_value(&outputs[0], graph, "w", MQ_F32, &vector, &err));
  assert_ok(mq_graph_add_node(&node, graph, MQ_OP_DequantizeLinear, "dq", inputs, 2, outputs, 1, &err));
  assert_ok(mq_graph_add_output(graph, outputs[0], &err));
  assert_ok(mq_onnx_write_packed(out_path("packed"), graph, as_told, &type, &err));
  help_read_file(&bytes, &n, out_path("packed"));
  assert_ok(mq_onnx_unpack(message, bytes, n, &onnx__model_proto__descriptor, "packed", &err));
  free(bytes);
  unlink(out_path("packed"));
  mq_graph_destroy(graph);
}

static void assert_packed(mq_onnx_packed type, const uint8_t *expected, size_t n) {
  struct mq_onnx_message message = {0};
  write_codes(&message, type);
  const Onnx__GraphProto *graph = ((const Onnx__ModelProto *)message.message)->graph;
  const Onnx__TensorProto *tensor = graph->initializer[0];
  assert_string_equal(tensor->name, "codes");
  assert_int_equal(tensor->data_type, type);
  assert_int_equal(tensor->n_dims, 1);
  assert_int_equal(tensor->dims[0], 5);
  assert_int_equal(tensor->raw_data.len, n);
  assert_memory_equal(tensor->raw_data.data, expected, n);
  assert_int_equal(graph->initializer[1]->data_type, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
  mq_onnx_message_deinit(&message);
}

static void small_integers_are_packed_low_bits_first(void **state) {
  (void)state;
  assert_packed(MQ_ONNX_INT4, (const uint8_t[]){0x78, 0xf0, 0x03}, 3);
  assert_packed(MQ_ONNX_UINT4, (const uint8_t[]){0x78, 0xf0, 0x03}, 3);
  assert_packed(MQ_ONNX_INT2, (const uint8_t[]){0xcc, 0x03}, 2); /* 00 11 00 11, 11 */
}

/* Runs after load_save_load_is_the_same, on what that left in the directory. */
static void onnx_checker_accepts_what_is_written(void **state) {
  (void)state;
  if (system("/usr/bin/python3 -c 'import onnx.checker' 2>/dev/null") != 0) {
    print_message("skipped: python3-onnx is not installed\n");
    skip();
  }
  char command[1600];
  snprintf(command, sizeof command,
           "cd '%s' && /usr/bin/python3 -c 'import glob, onnx, sys\n"
           "for f in sorted(glob.glob(\"*.onnx\")):\n"
           "    m = onnx.load(f)\n"
           "    if m.opset_import[0].version > onnx.defs.onnx_opset_version(): continue\n"
           "    onnx.checker.check_model(m, full_check=True)\n"
           "    assert m.producer_name == \"mqbench\", f\n'",
           directory);
  assert_int_equal(system(command), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(load_save_load_is_the_same),
      cmocka_unit_test(the_bytes_depend_on_the_graph_only),
      cmocka_unit_test(a_batch_outside_of_reshape_is_computed),
      cmocka_unit_test(fake_quantization_has_no_form),
      cmocka_unit_test(models_over_2_gigabytes_are_refused),
      cmocka_unit_test(a_folder_that_is_not_there),
      cmocka_unit_test(small_integers_are_packed_low_bits_first),
      cmocka_unit_test(onnx_checker_accepts_what_is_written),
  };
  return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
