/* ONNX's node test vectors can be read: facts of a few, and all of them without a failure. */
#include <dirent.h>

#include "common.h"
#include "common/vectors.h"

static void init(struct vector_case *test, const char *name) {
  struct mq_err err = {0};
  char folder[600];
  snprintf(folder, sizeof folder, "%s/%s", VECTORS_DIRECTORY, name);
  assert_ok(vector_case_init(test, folder, &err));
}

static void tensors_have_their_dtype(void **state) {
  (void)state;
  struct vector_case test;
  init(&test, "test_reshape_negative_dim");
  assert_string_equal(test.op, "Reshape");
  assert_int_equal(test.n_inputs, 2);
  assert_int_equal(test.inputs[0].tensor.dtype, MQ_F32);
  assert_int_equal(test.inputs[1].tensor.dtype, MQ_I64);
  assert_string_equal(test.inputs[1].name, "shape");
  assert_int_equal(mq_shape_count(&test.inputs[0].tensor.shape),
                   mq_shape_count(&test.outputs[0].tensor.shape));
  vector_case_deinit(&test);
  init(&test, "test_cast_FLOAT_to_DOUBLE");
  assert_int_equal(test.outputs[0].tensor.dtype, MQ_F64);
  assert_string_equal(test.attributes, " to=11");
  vector_case_deinit(&test);
}

static void other_kinds_are_told(void **state) {
  (void)state;
  struct vector_case test;
  init(&test, "test_identity_sequence");
  assert_int_equal(test.inputs[0].kind, VECTOR_SEQUENCE);
  vector_case_deinit(&test);
  init(&test, "test_identity_opt");
  assert_int_equal(test.inputs[0].kind, VECTOR_OPTIONAL);
  vector_case_deinit(&test);
  init(&test, "test_cast_FLOAT_to_STRING");
  assert_int_equal(test.outputs[0].kind, VECTOR_STRINGS);
  vector_case_deinit(&test);
}

static void every_case_can_be_read(void **state) {
  (void)state;
  DIR *folder = opendir(VECTORS_DIRECTORY);
  int n = 0;
  for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
    struct vector_case test;
    if (entry->d_name[0] != '.') {
      init(&test, entry->d_name);
      vector_case_deinit(&test);
      n++;
    }
  }
  closedir(folder);
  assert_true(n > 500);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tensors_have_their_dtype),
      cmocka_unit_test(other_kinds_are_told),
      cmocka_unit_test(every_case_can_be_read),
  };
  DIR *folder = opendir(VECTORS_DIRECTORY);
  if (!folder) {
    printf("skipped: %s is not there (Debian: libonnx-testdata)\n", VECTORS_DIRECTORY);
    return MQ_TEST_SKIPPED;
  }
  closedir(folder);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
