#include "tune/exact.h"

#include <string.h>

mq_status tune_exact_init(struct tune_exact *exact, const struct mq_exact_rules *rules, struct mq_err *err) {
  const char *name = rules->arithmetic;
  *exact = (struct tune_exact){0};
  if (!name) {
    return mq_fail(err, MQ_BAD_INPUT, "the target has no arithmetic, expected one for the exact simulation");
  }
  if (rules->pot_half_even && !strcmp(name, "pot_shift")) {
    name = "pot_shift_even";
  }
  exact->engine = (struct mq_engine_exact){
      .arithmetic = mq_exact_arithmetic_find(name),
      .averages_keep_scale = rules->pool == MQ_POOL_INPUT_SCALE || rules->pool == MQ_POOL_INPUT_SCALE_GLOBAL,
      .means_keep_scale = rules->pool == MQ_POOL_INPUT_SCALE_GLOBAL,
      .has_float_averages = rules->pool == MQ_POOL_NONE,
  };
  if (!exact->engine.arithmetic) {
    return mq_fail(err, MQ_BAD_INPUT, "arithmetic %s is not known to the exact simulation", name);
  }
  exact->float_nodes = mq_alloc(rules->n_islands + 1, sizeof(const struct mq_node *));
  if (!exact->float_nodes) {
    return mq_fail_memory(err, "the exact simulation");
  }
  for (size_t i = 0; i < rules->n_islands; i++) {
    exact->float_nodes[i] = rules->islands[i].node;
  }
  exact->engine.float_nodes = exact->float_nodes;
  exact->engine.n_float_nodes = rules->n_islands;
  return MQ_OK;
}

void tune_exact_deinit(struct tune_exact *exact) {
  mq_free(exact->float_nodes);
  *exact = (struct tune_exact){0};
}
