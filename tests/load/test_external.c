/* External data: only from the model's own folder, only within the file. */
#include <unistd.h>

#include "help_model.h"

static const char *directory;
static struct help_model model;
static Onnx__StringStringEntryProto entries[3], *entry_list[3];

static void write_file(const char *name, const void *bytes, size_t n) {
  char path[600];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, n, file), n);
  fclose(file);
}

static int setup(void **state) {
  (void)state;
  char command[600];
  directory = make_test_directory();
  snprintf(command, sizeof command, "mkdir '%s/model' '%s/model/sub' '%s/model2'", directory, directory,
           directory);
  assert_int_equal(system(command), 0);
  float weights[8] = {9, 9, 0, 1, 2, 3, 4, 5};
  write_file("model/w.bin", weights, sizeof weights);
  write_file("model/sub/w.bin", weights, sizeof weights);
  write_file("model2/w.bin", weights, sizeof weights);
  write_file("secret.bin", weights, sizeof weights);
  snprintf(command, sizeof command, "cd '%s/model' && ln -s ../secret.bin link.bin && ln -s w.bin inside.bin",
           directory);
  assert_int_equal(system(command), 0);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  remove_test_directory(directory);
  return 0;
}

/* The base model with w outside, read from a file in the folder. NULL: key left out. */
static mq_status read_model(struct mq_graph **graph, char *location, char *offset, char *length,
                            struct mq_err *err) {
  char *keys[] = {"location", "offset", "length"}, *values[] = {location, offset, length}, path[600];
  help_model_init(&model);
  model.w.has_raw_data = 0;
  model.w.has_data_location = 1;
  model.w.data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
  model.w.external_data = entry_list;
  for (int i = 0; i < 3; i++) {
    if (values[i]) {
      onnx__string_string_entry_proto__init(&entries[i]);
      entries[i].key = keys[i];
      entries[i].value = values[i];
      entry_list[model.w.n_external_data++] = &entries[i];
    }
  }
  size_t n;
  uint8_t *bytes = help_model_pack(&n, &model);
  write_file("model/m.onnx", bytes, n);
  free(bytes);
  snprintf(path, sizeof path, "%s/model/m.onnx", directory);
  return mq_onnx_read(graph, path, NULL, err);
}

static void refused(const char *part, char *location, char *offset, char *length) {
  struct mq_err err = {0};
  struct mq_graph *graph;
  assert_fails(MQ_BAD_INPUT, part, read_model(&graph, location, offset, length, &err));
  assert_non_null(strstr(err.message, "m.onnx"));
}

static void accepted(char *location, char *offset, char *length) {
  struct mq_err err = {0};
  struct mq_graph *graph;
  assert_ok(read_model(&graph, location, offset, length, &err));
  assert_true(mq_tensor_get_double(mq_graph_find_value(graph, "w")->constant, 5) == 5);
  mq_graph_destroy(graph);
}

static void files_of_the_folder_are_read(void **state) {
  (void)state;
  accepted("w.bin", "8", "24");
  accepted("w.bin", "8", NULL);
  accepted("sub/w.bin", "8", "24");
  accepted("./w.bin", "8", "24");
  accepted("inside.bin", "8", "24"); /* a link that stays inside */
}

static void nothing_outside_is_read(void **state) {
  (void)state;
  char absolute[600];
  snprintf(absolute, sizeof absolute, "%s/secret.bin", directory);
  refused("relative path", absolute, "8", "24");
  refused("relative path", "../secret.bin", "8", "24");
  refused("relative path", "sub/../../secret.bin", "8", "24");
  refused("relative path", "..", "8", "24");
  refused("relative path", "../model2/w.bin", "8", "24"); /* a folder whose name begins alike */
  refused("link out of", "link.bin", "8", "24");
  refused("no such file", "missing.bin", "8", "24");
  refused("without a location", NULL, "8", "24");
  refused("without a location", "", "8", "24");
  struct mq_err err = {0};
  struct mq_graph *graph;
  assert_fails(MQ_BAD_INPUT, "model/sub: is a directory", read_model(&graph, "sub", "8", "24", &err));
}

static void bytes_lie_within_the_file(void **state) {
  (void)state;
  refused("which has only 32", "w.bin", "12", "24");
  refused("which has only 32", "w.bin", "18446744073709551615", NULL);
  refused("expected 24", "w.bin", "8", "20");
  refused("expected a number", "w.bin", "-8", "24");
  refused("expected a number", "w.bin", "8", "0x18");
  refused("expected a number", "w.bin", "99999999999999999999999", "24");
}

static void memory_has_no_folder(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_graph *graph;
  assert_ok(read_model(&graph, "w.bin", "8", "24", &err));
  mq_graph_destroy(graph);
  assert_fails(MQ_BAD_INPUT, "cannot be used here", help_model_parse(&graph, &model, &err));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(files_of_the_folder_are_read),
      cmocka_unit_test(nothing_outside_is_read),
      cmocka_unit_test(bytes_lie_within_the_file),
      cmocka_unit_test(memory_has_no_folder),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
