/* Where a target has no arithmetic, and so no program: what engines are held against is the plain simulation.
 */
#include "mqbench/verify.h"

mq_status mq_verify_simulated(struct mq_verification *v, const struct mq_prepared *prepared,
                              struct mq_dataset *data, const struct mq_verify_options *options,
                              struct mq_pool *pool, struct mq_err *err) {
  const struct mq_graph *graph = prepared->graph;
  const struct mq_evaluate_options simulated = {.points = prepared->points,
                                                .n_points = prepared->n_points,
                                                .loader_threads = options->loader_threads,
                                                .label = options->label};
  *v = (struct mq_verification){.is_finite = true};
  mq_arena_init(&v->arena, 0);
  mq_status status = graph->n_outputs == 1 ? MQ_OK
                                           : mq_fail(err, MQ_BAD_INPUT,
                                                     "%s has %zu outputs: without an integer program engines "
                                                     "are compared on one",
                                                     graph->name, graph->n_outputs);
  if (status == MQ_OK) {
    v->outputs = mq_arena_alloc(&v->arena, 1, sizeof *v->outputs);
    status = v->outputs ? MQ_OK : mq_fail_memory(err, "outputs");
  }
  if (status == MQ_OK) {
    status = mq_predict(&v->outputs[0], graph, data, options->n_images, &simulated, pool, err);
  }
  if (status != MQ_OK) {
    mq_verification_deinit(v);
    return status;
  }
  v->n_outputs = 1;
  v->n_images = v->outputs[0].shape.dim[0];
  return MQ_OK;
}
