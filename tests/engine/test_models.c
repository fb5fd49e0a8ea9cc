/* Small networks in the forms exporters write, against ONNX Runtime's answers; and the same bits for any
 * number of workers, order of slices and position in the batch. */
#include <dirent.h>

#include "help_run.h"
#include "mqbench/load.h"

#define MODELS MQ_SOURCE_DIRECTORY "/tests/load/models/"
#define MODELS_MAX 200

static char names[MODELS_MAX][256];
static size_t n_names;

static int compare_names(const void *a, const void *b) {
  return strcmp(a, b);
}

/* Every model that has an answer beside it. */
static void find_models(void) {
  DIR *directory = opendir(MODELS);
  for (struct dirent *entry; directory && (entry = readdir(directory));) {
    char *end = strstr(entry->d_name, ".out.npy");
    if (end && n_names < MODELS_MAX) {
      snprintf(names[n_names++], sizeof names[0], "%.*s", (int)(end - entry->d_name), entry->d_name);
    }
  }
  if (directory) {
    closedir(directory);
  }
  qsort(names, n_names, sizeof names[0], compare_names);
}

struct model {
  struct mq_graph *graph;
  struct mq_tensor input, expected;
  struct mq_err err;
};

static void open_model(struct model *model, const char *name) {
  struct mq_err err = {0};
  char path[600], shape[128];
  *model = (struct model){0};
  snprintf(path, sizeof path, MODELS "%s.onnx", name);
  assert_ok(mq_onnx_read(&model->graph, path, NULL, &err));
  snprintf(path, sizeof path, MODELS "%s.out.npy", name);
  assert_ok(mq_npy_read(&model->expected, path, &err));
  struct mq_shape input = mq_shape_at_batch(&model->graph->inputs[0]->shape, model->expected.shape.dim[0]);
  snprintf(path, sizeof path, MODELS "input_%s.npy", mq_shape_format(shape, sizeof shape, &input));
  assert_ok(mq_npy_read(&model->input, path, &err));
}

static void close_model(struct model *model) {
  mq_graph_destroy(model->graph);
  mq_tensor_deinit(&model->input);
  mq_tensor_deinit(&model->expected);
}

static void run_model(struct mq_tensor *output, const struct model *model, const struct mq_tensor *input,
                      const struct run_options *options) {
  struct mq_err err = {0};
  assert_ok(run_graph(output, model->graph, input, options, &err));
}

static void test_answers(void **state) {
  (void)state;
  assert_true(n_names > 20);
  for (size_t i = 0; i < n_names; i++) {
    struct model model;
    open_model(&model, names[i]);
    for (int memory = MQ_MEMORY_FORWARD; memory <= MQ_MEMORY_KEEP_ALL; memory++) {
      struct mq_tensor output = {0};
      struct run_options options = {.memory = (mq_memory_plan)memory, .slice_images = 2};
      run_model(&output, &model, &model.input, &options);
      double error = largest_error(&output, &model.expected, 1e-4, 1e-5);
      if (!(error < 1)) {
        fail_msg("%s: error %g", names[i], error);
      }
      mq_tensor_deinit(&output);
    }
    close_model(&model);
  }
}

/* n images drawn from those of the model's input, every one a little different. */
static void make_batch(struct mq_tensor *batch, const struct model *model, int64_t n) {
  struct mq_err err = {0};
  struct mq_shape shape = model->input.shape;
  int64_t have = shape.dim[0], row = mq_shape_count(&shape) / have;
  shape.dim[0] = n;
  assert_ok(mq_tensor_init(batch, MQ_F32, &shape, &err));
  const float *from = model->input.data;
  float *to = batch->data;
  for (int64_t i = 0; i < n; i++) {
    for (int64_t k = 0; k < row; k++) {
      to[i * row + k] = from[(i % have) * row + (k + 7 * i) % row];
    }
  }
}

static void test_same_bits(void **state) {
  (void)state;
  static const struct run_options others[] = {
      {.workers = 2}, {.workers = 3}, {.workers = 8}, {.workers = 3, .is_backwards = true}};
  for (size_t i = 0; i < n_names; i++) {
    struct model model;
    struct mq_tensor batch = {0}, reference = {0};
    struct run_options one = {.workers = 1};
    open_model(&model, names[i]);
    if (!mq_shape_has_batch(&model.graph->inputs[0]->shape)) {
      close_model(&model);
      continue;
    }
    make_batch(&batch, &model, 37);
    run_model(&reference, &model, &batch, &one);
    for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
      struct mq_tensor output = {0};
      run_model(&output, &model, &batch, &others[k]);
      assert_true(same_bits(&reference, &output));
      mq_tensor_deinit(&output);
    }
    mq_tensor_deinit(&batch);
    mq_tensor_deinit(&reference);
    close_model(&model);
  }
}

/* The images in reverse order, in another batch size: each one's bits stay. */
static void test_position_in_batch(void **state) {
  (void)state;
  enum {
    n = 11
  };
  for (size_t i = 0; i < n_names; i++) {
    struct model model;
    struct mq_tensor batch = {0}, reversed = {0}, reference = {0}, output = {0};
    struct run_options options = {.workers = 2};
    struct mq_err err = {0};
    open_model(&model, names[i]);
    if (mq_shape_has_batch(&model.graph->inputs[0]->shape)) {
      make_batch(&batch, &model, n);
      assert_ok(mq_tensor_init(&reversed, MQ_F32, &batch.shape, &err));
      size_t bytes = (size_t)mq_shape_count(&batch.shape) / n * sizeof(float);
      for (size_t k = 0; k < n; k++) {
        memcpy((char *)reversed.data + k * bytes, (char *)batch.data + (n - 1 - k) * bytes, bytes);
      }
      run_model(&reference, &model, &batch, &options);
      run_model(&output, &model, &reversed, &options);
      bytes = (size_t)mq_shape_count(&output.shape) / n * sizeof(float);
      for (size_t k = 0; k < n; k++) {
        assert_memory_equal((char *)output.data + k * bytes, (char *)reference.data + (n - 1 - k) * bytes,
                            bytes);
      }
    }
    mq_tensor_deinit(&batch);
    mq_tensor_deinit(&reversed);
    mq_tensor_deinit(&reference);
    mq_tensor_deinit(&output);
    close_model(&model);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_answers),
      cmocka_unit_test(test_same_bits),
      cmocka_unit_test(test_position_in_batch),
  };
  find_models();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
