#include "bench/help_grid.h"

#include "help_graphs.h"
#include "mqbench/load.h"

int help_grid_setup(void **state) {
  struct help_grid *grid = calloc(1, sizeof *grid);
  strcpy(grid->directory, "/tmp/mqbench-grid-XXXXXX");
  assert_non_null(mkdtemp(grid->directory));
  mq_arena_init(&grid->arena, 0);
  *state = grid;
  return 0;
}

int help_grid_teardown(void **state) {
  struct help_grid *grid = *state;
  remove_test_directory(grid->directory);
  mq_arena_deinit(&grid->arena);
  free(grid);
  return 0;
}

void help_grid_model(const struct help_grid *grid, const char *name, uint64_t seed) {
  struct net net;
  char path[128];
  net_begin(&net, name);
  net.draws = 1000 * seed;
  struct mq_value *x = net_input(&net, "input", net_shape(3, 8, 8));
  x = net_unary(&net, MQ_OP_Relu, "relu0", net_conv_bn(&net, x, "conv0", "bn0", 4, 3, 1, 1));
  struct mq_value *y = net_conv_bn(&net, x, "conv1", "bn1", 4, 3, 1, 1);
  x = net_unary(&net, MQ_OP_Relu, "relu1", net_binary(&net, MQ_OP_Add, "add", y, x));
  net_classify(&net, x);
  snprintf(path, sizeof path, "%s/%s", grid->directory, name);
  net_check(&net, mq_onnx_write(path, net.graph, &net.err));
  mq_graph_destroy(net.graph);
}

mq_status help_grid_run(struct mq_bench_result *result, const struct help_grid *grid, const char *text,
                        int shard, struct mq_err *err) {
  char file[128], out[128];
  struct mq_pool *pool = NULL;
  snprintf(file, sizeof file, "%s/plan.yaml", grid->directory);
  snprintf(out, sizeof out, "%s/out", grid->directory);
  struct mq_plan *plan = help_plan(text, file);
  struct mq_bench_options options = {
      .directory = out, .shard = shard, .n_shards = shard ? 2 : 0, .renew_seconds = grid->renew_seconds};
  mq_status status = mq_kernel_start(plan->isa, err);
  if (status == MQ_OK) {
    status = mq_pool_create(&pool, 2, mq_kernel_start_worker, err);
  }
  if (status == MQ_OK) {
    options.pool = pool;
    status = mq_bench_run(result, plan, &options, err);
  }
  mq_pool_destroy(pool);
  mq_plan_destroy(plan);
  return status;
}

struct mq_run *help_grid_runs(size_t *n, struct help_grid *grid, const char *name) {
  char path[160];
  struct mq_store *store = NULL;
  struct mq_run *runs = NULL;
  struct mq_err err = {0};
  snprintf(path, sizeof path, "%s/out/%s", grid->directory, name);
  assert_ok(mq_store_open(&store, path, true, &err));
  assert_ok(mq_store_runs(&runs, n, store, &grid->arena, &err));
  mq_store_close(store);
  return runs;
}
