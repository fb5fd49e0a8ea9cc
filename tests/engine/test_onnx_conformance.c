/* ONNX's node tests for every supported operator (Debian: libonnx-testdata). Prints passed, failed, skipped.
 *
 * A vector may be skipped only when the engine refuses it with a message and it belongs to a class below;
 * wrong values are failures always. conformance_skips.txt lists the skips: one that is not in the list fails
 * the test. */
#include <dirent.h>
#include <math.h>

#include "common/vectors.h"
#include "help_run.h"
#include "mqbench/load.h"

#define RELATIVE 1e-3 /* ONNX's own test runner has these */
#define ABSOLUTE 1e-7
#define SKIPS MQ_TESTS_DIRECTORY "/engine/conformance_skips.txt"

static const char *directory; /* for files of this run */

struct tally {
  int passed, failed, skipped, unlisted;
};

/* ---- Classes of skips --------------------------------------------------------------------------- */
static bool has_attribute(const struct vector_case *test, const char *text) {
  return strstr(test->attributes, text) != NULL;
}

static bool has_foreign_kind(const struct vector_case *test) {
  bool is_foreign = false;
  for (int i = 0; i < test->n_inputs; i++) {
    is_foreign |= test->inputs[i].kind != VECTOR_TENSOR && test->inputs[i].kind != VECTOR_ABSENT;
  }
  for (int i = 0; i < test->n_outputs; i++) {
    is_foreign |= test->outputs[i].kind != VECTOR_TENSOR;
  }
  return is_foreign;
}

/* The vectors hold bfloat16 as uint16 tensors of the same bits. */
static bool is_bfloat16(const struct vector_case *test) {
  return strstr(test->model, "BFLOAT16") != NULL;
}

/* The class that allows a skip, or NULL. */
static const char *skip_class(const struct vector_case *test) {
  mq_dtype first = test->n_inputs > 0 ? test->inputs[0].tensor.dtype : MQ_F32;
  bool is_dropout = strcmp(test->op, "Dropout") == 0;
  if (has_foreign_kind(test)) {
    return "sequence or string";
  }
  if (is_bfloat16(test)) {
    return "data type";
  }
  if (has_attribute(test, "training_mode=1") || (is_dropout && test->n_inputs == 3)) {
    return "training mode";
  }
  if (is_dropout && strstr(test->model, "random")) {
    return "random output";
  }
  if (test->n_inputs > 0 && test->inputs[0].tensor.shape.rank > 4) {
    return "rank over 4";
  }
  return first != MQ_F32 ? "data type" : NULL;
}

/* ---- One vector --------------------------------------------------------------------------------- */
/* Operators whose further inputs may be computed; elsewhere those are weights or parameters and are frozen.
 */
static bool has_computed_inputs(const char *op) {
  static const char *const list[] = {"Add",
                                     "Sub",
                                     "Mul",
                                     "Div",
                                     "PRelu",
                                     "Concat",
                                     "Gemm",
                                     "MatMul",
                                     "Gather",
                                     "QuantizeLinear",
                                     "DequantizeLinear"};
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
    if (strcmp(op, list[i]) == 0) {
      return true;
    }
  }
  return false;
}

/* The reader takes opset 7 and later; a few operators have not changed since 1 or 6, so their vectors carry
 * those numbers. Such a model is read from a copy that says 7: the version is the file's last byte. */
static const char *modern_model(const struct vector_case *test, char *copy, size_t copy_bytes) {
  static char bytes[1 << 16];
  FILE *file = test->opset < 7 ? fopen(test->model, "rb") : NULL;
  size_t n = file ? fread(bytes, 1, sizeof bytes, file) : 0;
  if (file) {
    fclose(file);
  }
  if (n == 0 || n == sizeof bytes || bytes[n - 1] != test->opset) {
    return test->model;
  }
  bytes[n - 1] = 7;
  snprintf(copy, copy_bytes, "%s/model.onnx", directory);
  file = fopen(copy, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, n, file), n);
  assert_int_equal(fclose(file), 0);
  return copy;
}

static bool is_shape_operator(const struct vector_case *test) {
  mq_op op = mq_op_find(test->op);
  return op != MQ_OP_Shape && op != MQ_OP_ConstantOfShape && mq_op_get(op)->kind == MQ_KIND_SHAPE;
}

/* In a file's input a dimension of 0 is an open one. */
static bool has_empty_input(const struct vector_case *test) {
  for (int i = 0; i < test->n_inputs; i++) {
    if (test->inputs[i].kind == VECTOR_TENSOR && mq_shape_count(&test->inputs[i].tensor.shape) == 0) {
      return true;
    }
  }
  return false;
}

static mq_status load_case(struct mq_graph **graph, const struct vector_case *test, bool freezes,
                           struct mq_err *err) {
  const char *names[VECTORS_MAX];
  const struct mq_tensor *tensors[VECTORS_MAX];
  struct mq_onnx_options options = {.batch_is_fixed = true, .frozen_names = names, .frozen = tensors};
  bool is_all = is_shape_operator(test) || strcmp(test->op, "ConstantOfShape") == 0 || has_empty_input(test);
  char copy[600];
  for (int i = 0; i < test->n_inputs; i++) {
    if (test->inputs[i].kind == VECTOR_TENSOR && (is_all || (i > 0 && freezes))) {
      names[options.n_frozen] = test->inputs[i].name;
      tensors[options.n_frozen++] = &test->inputs[i].tensor;
    }
  }
  return mq_onnx_read(graph, modern_model(test, copy, sizeof copy), &options, err);
}

/* The vector's inputs in the order of the graph's. */
static void pick_inputs(struct mq_tensor inputs[VECTORS_MAX], const struct mq_graph *graph,
                        const struct vector_case *test) {
  for (size_t i = 0; i < graph->n_inputs; i++) {
    for (int k = 0; k < test->n_inputs; k++) {
      if (strcmp(graph->inputs[i]->name, test->inputs[k].name) == 0) {
        inputs[i] = test->inputs[k].tensor;
      }
    }
  }
}

/* MQ_NO: the values are wrong. */
static mq_status run_case(const struct vector_case *test, bool freezes, struct mq_err *err) {
  struct mq_graph *graph = NULL;
  struct mq_tensor inputs[VECTORS_MAX] = {{0}}, outputs[VECTORS_MAX] = {{0}};
  struct run_options options = {0};
  bool is_readable = !has_foreign_kind(test) && !is_bfloat16(test);
  mq_status status = is_readable ? MQ_OK : mq_fail(err, MQ_BAD_INPUT, "not a tensor of a known type");
  if (status == MQ_OK) {
    status = load_case(&graph, test, freezes, err);
  }
  if (status == MQ_OK) {
    pick_inputs(inputs, graph, test);
    status = run_graph(outputs, graph, inputs, &options, err);
  }
  for (int i = 0; status == MQ_OK && i < test->n_outputs; i++) {
    double error = largest_error(&outputs[i], &test->outputs[i].tensor, RELATIVE, ABSOLUTE);
    if (!(error <= 1)) {
      status = mq_fail(err, MQ_NO, "output %s: error %g times the tolerance", test->outputs[i].name, error);
    }
  }
  for (int i = 0; i < VECTORS_MAX; i++) {
    mq_tensor_deinit(&outputs[i]);
  }
  mq_graph_destroy(graph);
  return status;
}

static bool is_listed(const char *name) {
  FILE *file = fopen(SKIPS, "r");
  char line[256];
  bool is_found = false;
  while (file && !is_found && fgets(line, sizeof line, file)) {
    line[strcspn(line, " \n")] = 0;
    is_found = strcmp(line, name) == 0;
  }
  if (file) {
    fclose(file);
  }
  return is_found;
}

static void judge(struct tally *tally, const char *name, const struct vector_case *test) {
  struct mq_err err = {0};
  mq_status status = run_case(test, true, &err);
  if (status == MQ_OK && has_computed_inputs(test->op)) {
    status = run_case(test, false, &err);
  }
  const char *class = skip_class(test);
  if (status == MQ_OK) {
    tally->passed++;
  } else if (status == MQ_BAD_INPUT && class) {
    tally->skipped++;
    bool is_known = is_listed(name);
    tally->unlisted += !is_known;
    printf("skipped %s (%s)%s: %s\n", name, class, is_known ? "" : " NOT IN THE LIST", err.message);
  } else {
    tally->failed++;
    printf("FAILED %s: %s\n", name, err.message);
  }
}

static int is_folder(const struct dirent *entry) {
  return entry->d_name[0] != '.';
}

static void test_vectors(void **state) {
  (void)state;
  struct dirent **entries;
  struct tally tally = {0};
  int n = scandir(VECTORS_DIRECTORY, &entries, is_folder, alphasort);
  for (int i = 0; i < n; i++) {
    struct vector_case test;
    struct mq_err err = {0};
    char folder[512];
    snprintf(folder, sizeof folder, "%s/%s", VECTORS_DIRECTORY, entries[i]->d_name);
    mq_status status = vector_case_init(&test, folder, &err);
    if (status != MQ_OK && mq_op_find(test.op) != MQ_OP_NONE) {
      printf("FAILED %s: %s\n", entries[i]->d_name, err.message);
      tally.failed++;
    } else if (status == MQ_OK && test.n_nodes == 1 && mq_op_find(test.op) != MQ_OP_NONE &&
               strcmp(test.op, "FakeQuantize") != 0) {
      judge(&tally, entries[i]->d_name, &test);
    }
    vector_case_deinit(&test);
    free(entries[i]);
  }
  if (n >= 0) {
    free(entries);
  }
  printf("%d passed, %d failed, %d skipped\n", tally.passed, tally.failed, tally.skipped);
  assert_true(tally.passed > 100);
  assert_int_equal(tally.failed, 0);
  assert_int_equal(tally.unlisted, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};
  DIR *vectors = opendir(VECTORS_DIRECTORY);
  if (!vectors) {
    printf("skipped: %s is not there (libonnx-testdata)\n", VECTORS_DIRECTORY);
    return MQ_TEST_SKIPPED;
  }
  closedir(vectors);
  directory = make_test_directory();
  int failures = cmocka_run_group_tests(tests, NULL, NULL);
  remove_test_directory(directory);
  return failures;
}
