/* Every small variant can be trained from its initial weights. Slow because oneDNN generates code for every
 * layer, which takes minutes under valgrind. */
#include <math.h>

#include "help_zoo.h"
#include "mqbench/kernel.h"

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs, int64_t *labels,
                      struct mq_err *err) {
  (void)context;
  (void)worker;
  (void)err;
  int64_t n = mq_shape_count(&inputs[0].shape);
  for (int64_t i = 0; i < n; i++)
    ((float *)inputs[0].data)[i] = (float)(4 * zoo_uniform("batch", (int64_t)slice * n + i) - 2);
  for (int64_t i = 0; i < inputs[0].shape.dim[0]; i++)
    labels[i] = i % 10;
  return MQ_OK;
}

/* Branches that begin as nothing (gamma 0) keep what is before them without a gradient in the first step. */
static void wake_branches(struct mq_graph *graph) {
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    float *gamma = node->op == MQ_OP_BatchNormalization ? node->inputs[1]->constant->data : NULL;
    for (int64_t c = 0; gamma && c < node->inputs[1]->shape.dim[0]; c++)
      gamma[c] = gamma[c] == 0 ? 1 : gamma[c];
  }
}

/* A step from the initial weights: the loss is about that of guessing, and every parameter has a gradient. */
static void training_can_begin(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_pool *pool = NULL;
  assert_ok(mq_kernel_start(MQ_ISA_NATIVE, &err));
  assert_ok(mq_pool_create(&pool, 1, mq_kernel_start_worker, &err));
  for (size_t i = 0; i < mq_zoo_count(); i++) {
    const char *name = mq_zoo_at(i)->name;
    if (mq_zoo_at(i)->image > 32) continue;
    struct mq_graph *graph = zoo_build(name, NULL);
    wake_branches(graph);
    struct mq_trainer *trainer = NULL;
    struct mq_trainer_options options = {.batch = 8, .slice_images = 4};
    struct mq_trainer_job job = {.fill = fill};
    struct mq_trainer_result result;
    assert_ok(mq_trainer_create(&trainer, graph, &options, pool, &err));
    assert_ok(mq_trainer_differentiate(&result, trainer, &job, &err));
    if (!(result.loss > 1 && result.loss < 10)) fail_msg("%s: loss %g", name, result.loss);
    for (size_t v = 0; v < mq_trainer_state_count(trainer); v++) {
      struct mq_trainer_state s = mq_trainer_state_at(trainer, v);
      const float *gradient = s.is_variable ? mq_trainer_gradient(trainer, v) : NULL;
      double sum = 0;
      for (size_t k = 0; gradient && k < s.count; k++)
        sum += fabs((double)gradient[k]);
      if (gradient && !(sum > 0 && isfinite(sum)))
        fail_msg("%s: gradients of %s sum to %g", name, s.name, sum);
    }
    mq_trainer_destroy(trainer);
    mq_graph_destroy(graph);
  }
  mq_pool_destroy(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(training_can_begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
