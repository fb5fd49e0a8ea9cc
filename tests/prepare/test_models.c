/* Small networks of every family the loader knows: prepared for every target, handed over, prepared again. */
#include <dirent.h>

#include "common.h"
#include "mqbench/load.h"
#include "mqbench/prepare.h"

static void check_twice(const struct mq_graph *model, const char *name) {
  struct mq_err err;
  struct mq_target *target = NULL;
  struct mq_prepared first, second;
  struct mq_graph *handed = NULL;
  assert_ok(mq_target_load(&target, name, &err));
  assert_ok(mq_prepare(&first, model, target, &(struct mq_prepare_options){0}, &err));
  assert_true(first.n_points > 0);
  assert_ok(mq_prepare_handover(&handed, &first, &err));
  assert_int_equal(handed->n_outputs, model->n_outputs);
  for (size_t i = 0; i < model->n_outputs; i++) {
    assert_string_equal(handed->outputs[i]->name, model->outputs[i]->name);
    assert_true(mq_shape_equal(&handed->outputs[i]->shape, &model->outputs[i]->shape));
  }
  assert_ok(mq_prepare(&second, handed, target, &(struct mq_prepare_options){0}, &err));
  assert_int_equal(second.n_points, first.n_points);
  for (size_t i = 0; i < first.n_points; i++) {
    assert_string_equal(second.points[i].tensor, first.points[i].tensor);
    assert_string_equal(second.points[i].reason, first.points[i].reason);
  }
  /* Shapes are what inference says of the rewritten graph. */
  assert_ok(mq_graph_infer(handed, false, &err));
  assert_true(mq_shape_equal(&handed->outputs[0]->shape, &model->outputs[0]->shape));
  mq_prepared_deinit(&second);
  mq_graph_destroy(handed);
  mq_prepared_deinit(&first);
  mq_target_destroy(target);
}

static void check_file(const char *path) {
  static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
  struct mq_graph *model = NULL;
  struct mq_err err;
  assert_ok(mq_onnx_read(&model, path, NULL, &err));
  for (int i = 0; i < 6; i++)
    check_twice(model, targets[i]);
  mq_graph_destroy(model);
}

static void every_family(void **state) {
  (void)state;
  DIR *folder = opendir(MQ_TESTS_DIRECTORY "/load/models");
  assert_non_null(folder);
  int n = 0;
  for (struct dirent *entry; (entry = readdir(folder));) {
    char path[1024];
    size_t length = strlen(entry->d_name);
    if (strncmp(entry->d_name, "tiny_", 5) || length < 5 || strcmp(entry->d_name + length - 5, ".onnx"))
      continue;
    snprintf(path, sizeof path, MQ_TESTS_DIRECTORY "/load/models/%s", entry->d_name);
    check_file(path);
    n++;
  }
  closedir(folder);
  assert_true(n >= 10);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_family)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
