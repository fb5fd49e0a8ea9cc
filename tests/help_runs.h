/* A made-up run, for tests that fill stores. */
#ifndef MQ_TESTS_HELP_RUNS_H
#define MQ_TESTS_HELP_RUNS_H

#include <math.h>

#include "common.h"
#include "mqbench/store.h"

/* Done, 66 of 100 images correct, without outcomes by image; every text field is given but `variant` and
 * `message`. Borrows `identity`. */
static inline struct mq_run made_up_run(const char *identity) {
  return (struct mq_run){
      .identity = identity,
      .float_identity = "float-1",
      .cell = "model_name=net\ntarget=snpe\nseed=3\n",
      .plan = "small",
      .model = "net",
      .target = "snpe",
      .method = "ptq",
      .w_observer = "minmax",
      .a_observer = "mse",
      .options = "graph 2",
      .model_sha256 = "aa",
      .data_sha256 = "bb",
      .eval_sha256 = "cc",
      .target_sha256 = "dd",
      .is_hardware = 1,
      .target_position = 4,
      .w_bits = 4,
      .a_bits = 8,
      .seed = 3,
      .status = "done",
      .float_top1 = 0.75,
      .top1 = 0.66,
      .top5 = (double)NAN,
      .loss = 1.25,
      .float_correct = 75,
      .correct = 66,
      .images = 100,
      .seconds = 1.5,
      .calib_seconds = 0.5,
      .eval_seconds = 1,
      .best_top1 = (double)NAN,
      .train_seconds = (double)NAN,
      .version = "0.1.0",
      .cpu = "some CPU",
      .isa = "avx2",
      .onednn = "2.6.3",
      .started = "2026-01-02T03:04:05Z",
  };
}

#endif
