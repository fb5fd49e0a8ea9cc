/* A small network, its plan and a directory, for tests that run grids. */
#ifndef TEST_BENCH_HELP_GRID_H
#define TEST_BENCH_HELP_GRID_H

#include "bench/help_plan.h"

struct help_grid {
  char directory[64];
  struct mq_arena arena;
  double renew_seconds; /* of leases; 0: the default */
};

int help_grid_setup(void **state);
int help_grid_teardown(void **state);
/* A residual block for 8 x 8 images and ten classes; other seeds give other weights. In DIR/name. */
void help_grid_model(const struct help_grid *grid, const char *name, uint64_t seed);
#define HELP_GRID_DATA                                                  \
  "data: {train: \"fractal:classes=10,images=64,size=8,split=train\", " \
  "eval: \"fractal:classes=10,images=64,size=8,split=test\"}\n"         \
  "calibration: {images: 32}\n"
/* Runs a plan of this text (in DIR) into DIR/out with a pool of its own; `shard` of 2, or 0. */
mq_status help_grid_run(struct mq_bench_result *result, const struct help_grid *grid, const char *text,
                        int shard, struct mq_err *err);
/* All runs of DIR/out/name. */
struct mq_run *help_grid_runs(size_t *n, struct help_grid *grid, const char *name);

#endif
