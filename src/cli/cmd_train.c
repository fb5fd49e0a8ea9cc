/* mqbench train: a float network, from scratch or from a model's weights. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "bench/training.h"
#include "cli/commands.h"
#include "cli/data.h"
#include "cli/session.h"
#include "cli/training.h"
#include "mqbench/zoo.h"

struct train_run {
  struct cli_common common;
  const char *arch, *model, *data, *eval_data, *output;
  double width;
  struct cli_training training;
  struct cli_data inputs;
  struct mq_pool *pool;
  struct mq_arena arena;
  struct mq_trial_result result;
};

static mq_status check_usage(const struct train_run *run, struct mq_err *err) {
  if (!run->arch == !run->model) {
    return mq_fail(err, MQ_BAD_USAGE, "%s; see mqbench train --help",
                   run->arch ? "--arch and --model: expected one of them" : "--arch or --model is missing");
  }
  if (!run->data) {
    return mq_fail(err, MQ_BAD_USAGE, "--data is missing; see mqbench train --help");
  }
  if (run->arch && !mq_zoo_find(run->arch)) {
    return mq_fail(err, MQ_BAD_USAGE, "--arch %s: unknown; see mqbench list models", run->arch);
  }
  if (run->width < 0 || run->width > 16 || (run->model && run->width > 0)) {
    return mq_fail(err, MQ_BAD_USAGE, "--width %g: expected a factor above 0 and up to 16, with --arch",
                   run->width);
  }
  return MQ_OK;
}

static mq_status make_cell(struct mq_cell *cell, const struct train_run *run, struct mq_err *err) {
  *cell = (struct mq_cell){.plan = "train",
                           .model_path = run->model,
                           .model_name = run->arch ? run->arch : mq_path_base(run->model),
                           .arch = run->arch,
                           .arch_width = run->width,
                           .trains_float = true,
                           .calib_data = run->inputs.train_text,
                           .eval_data = run->inputs.eval_text,
                           .method = "float",
                           .w_parameter = NAN,
                           .a_parameter = NAN,
                           .method_option = NAN,
                           .slice_images = MQ_SLICE_IMAGES,
                           .seed = (uint64_t)run->common.seed};
  mq_status status = mq_isa_parse(&cell->isa, run->common.isa, err);
  if (status == MQ_OK) {
    status = cli_apply_training(cell, &run->training, err);
  }
  if (status == MQ_OK && cell->bn_fold != MQ_BN_FOLD_TARGET) {
    status = mq_fail(err, MQ_BAD_USAGE, "bn_fold: a float network keeps its batch normalisation");
  }
  return status == MQ_OK ? mq_training_check(cell, err) : status;
}

static mq_status report(const struct train_run *run, const struct mq_cell *cell, struct mq_err *err) {
  const struct mq_run *r = &run->result.run;
  const struct mq_run_history *history = r->history;
  double images = history && history->n_curve
                      ? (double)history->curve[history->n_curve - 1].step * (double)cell->train.batch
                      : 0;
  if (run->common.is_json) {
    json_t *object = json_object();
    json_object_set_new(object, "top1", cli_json_real(r->top1));
    json_object_set_new(object, "best_top1", cli_json_real(r->best_top1));
    json_object_set_new(object, "epochs", cli_json_real(cell->train.epochs));
    json_object_set_new(object, "seconds", cli_json_real(r->seconds));
    json_object_set_new(object, "train_seconds", cli_json_real(r->train_seconds));
    json_object_set_new(object, "images_per_second", cli_json_real(images / r->train_seconds));
    json_object_set_new(object, "correct", r->correct < 0 ? json_null() : json_integer(r->correct));
    json_object_set_new(object, "images", json_integer(r->images));
    json_object_set_new(object, "status", json_string(r->status));
    json_object_set_new(object, "result_sha256", json_string(r->result_sha256));
    json_object_set_new(object, "model", cli_has_no_result(r) ? json_null() : json_string(run->output));
    return cli_print_json(object, err);
  }
  if (cli_has_no_result(r)) {
    return MQ_OK; /* cli_check_converged tells */
  }
  printf("%s, %g epochs, seed %lld\n", cell->model_name, cell->train.epochs, (long long)r->seed);
  printf("accuracy   %.2f%% (%lld of %lld)\n", 100 * r->top1, (long long)r->correct, (long long)r->images);
  printf("trained in %.1f s (%.0f images/s), %.1f s in all\n", r->train_seconds, images / r->train_seconds,
         r->seconds);
  printf("model      %s\nbits       %s\n", run->output, r->result_sha256);
  return MQ_OK;
}

static mq_status run_train(struct train_run *run, struct mq_err *err) {
  struct mq_cell cell;
  mq_status status = check_usage(run, err);
  if (status == MQ_OK) {
    status = cli_session_start_ranks(&run->pool, &run->common, err);
  }
  if (status == MQ_OK) {
    status = cli_data_open(&run->inputs, run->data, run->eval_data, err);
  }
  if (status == MQ_OK) {
    status = make_cell(&cell, run, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  const char *checkpoints = mq_arena_printf(&run->arena, "%s.checkpoints", run->output);
  const struct mq_trial_options options = {.pool = run->pool,
                                           .ranks = cli_session_ranks(),
                                           .trained = cli_is_first_rank() ? run->output : NULL,
                                           .checkpoints = checkpoints};
  status = mq_trial_run(&run->result, &cell, &options, &run->arena, err);
  const struct mq_run *r = &run->result.run;
  if (status == MQ_OK && run->result.failure != MQ_OK) {
    status = mq_fail(err, run->result.failure, "%s", r->message);
  }
  if (status == MQ_OK) {
    if (cli_is_first_rank()) mq_trial_remove_checkpoint(checkpoints, r);
    cli_data_warn(&run->inputs);
    status = cli_is_first_rank() ? report(run, &cell, err) : MQ_OK;
  }
  return status == MQ_OK ? cli_check_converged(r, err) : status;
}

mq_status cmd_train(int argc, char **argv, struct mq_err *err) {
  struct train_run *run = mq_alloc(1, sizeof *run);
  if (!run) {
    return mq_fail_memory(err, "train");
  }
  run->output = "trained.onnx";
  struct cli_option options[6 + CLI_TRAINING_OPTIONS + 1] = {
      {"--arch", 0, CLI_TEXT, &run->arch, "A", "network of mqbench list models, with drawn weights", 0, 0},
      {"--width", 0, CLI_REAL, &run->width, "X", "factor on its channels (default: its own)", 0, 0},
      {"--model", 0, CLI_TEXT, &run->model, "M.onnx", "network with weights to start from", 0, 0},
      {"--data", 0, CLI_TEXT, &run->data, "D", "images to train on: KIND:PATH[,key=value...]", 0, 0},
      {"--eval-data", 0, CLI_TEXT, &run->eval_data, "D", "images to measure on (default: D's test split)", 0,
       0},
      {"--output", 'o', CLI_TEXT, &run->output, "OUT.onnx", "the trained network (default trained.onnx)", 0,
       0},
  };
  size_t n_options = 6 + cli_training_options(options + 6, &run->training, true);
  bool is_help;
  mq_status status =
      cli_parse(&run->common, &is_help, cli_find_command("train"), options, n_options, 0, 0, argc, argv, err);
  if (status == MQ_OK && !is_help) {
    status = run_train(run, err);
  }
  mq_arena_deinit(&run->arena);
  cli_data_close(&run->inputs);
  mq_pool_destroy(run->pool);
  mq_free(run);
  return status;
}
