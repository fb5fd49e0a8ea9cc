/* The pretrained MobileNet v1 on 200 photographs: what ONNX Runtime answers behind Pillow. */
#include <math.h>

#include "help_tune.h"
#include "mqbench/load.h"

#define CORRECT 142

static void test_photographs(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_graph *graph;
  struct mq_data_spec spec;
  struct mq_dataset *data;
  struct mq_pool *pool;
  struct mq_tensor expected = {0}, logits;
  struct mq_evaluation e;
  struct mq_evaluate_options options = {0};
  char labels[1100], argument[2400];
  snprintf(labels, sizeof labels, "%s", shared_data("imagenet200/labels.txt"));
  snprintf(argument, sizeof argument,
           "folder:%.*s,list=%s,resize=182,crop=160,mean=0.5/0.5/0.5,std=0.5/0.5/0.5",
           (int)(strlen(labels) - strlen("/labels.txt")), labels, labels);
  assert_ok(mq_onnx_read(&graph, shared_data("models/mobilenet_v1_0.5_160.onnx"), NULL, &err));
  assert_ok(mq_npy_read(&expected, shared_data("models/mobilenet_v1_0.5_160_logits_first20.npy"), &err));
  assert_ok(mq_data_spec_parse(&spec, argument, &err));
  assert_ok(mq_dataset_open(&data, &spec, &err));
  assert_ok(mq_pool_create(&pool, 0, mq_kernel_start_worker, &err));
  assert_ok(mq_predict(&logits, graph, data, 20, &options, pool, &err));
  int64_t n = mq_shape_count(&expected.shape);
  for (int64_t i = 0; i < n; i++) {
    assert_true(fabs(mq_tensor_get_double(&logits, i) - mq_tensor_get_double(&expected, i)) < 1e-2);
  }
  assert_ok(mq_evaluate(&e, graph, data, &options, pool, &err));
  printf("float: %d correct, engine %.0f images/s\n", (int)e.correct, (double)e.n_images / e.engine_seconds);
  assert_in_range(e.correct, CORRECT - 1, CORRECT + 1);
  mq_evaluation_deinit(&e);
  mq_tensor_deinit(&expected);
  mq_tensor_deinit(&logits);
  mq_pool_destroy(pool);
  mq_dataset_close(data);
  mq_data_spec_deinit(&spec);
  mq_graph_destroy(graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_photographs)};
  if (!shared_data("models/mobilenet_v1_0.5_160.onnx") || mq_kernel_start(MQ_ISA_NATIVE, NULL) != MQ_OK) {
    printf("skipped: the shared data are not there\n");
    return MQ_TEST_SKIPPED;
  }
  mq_log_set_level(MQ_LOG_QUIET);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
