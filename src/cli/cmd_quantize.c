/* mqbench quantize: a plan of one cell, with a bundle. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "bench/training.h"
#include "bench/variant.h"
#include "cli/commands.h"
#include "cli/data.h"
#include "cli/overrides.h"
#include "cli/session.h"
#include "cli/training.h"
#include "mqbench/bench.h"

struct quantize_run {
  struct cli_common common;
  const char *target, *data, *eval_data, *output, *method, *w_observer, *a_observer;
  int64_t w_bits, a_bits, calib;
  double max_drop, method_option;
  bool calibrates_bn;
  struct cli_training training;
  const char *variant, *plugin;
  struct cli_texts bits, keep_float;
  struct cli_overrides overrides;
  struct mq_pool *pool;
  struct cli_data inputs;
  struct mq_arena arena;
  struct mq_trial_result result;
};

static mq_status check_method(struct quantize_run *run, struct mq_err *err) {
  static const char *const later[] = {"adaround", "brecq", "qdrop", NULL};
  const char *given = cli_training_given(&run->training);
  const struct mq_quantizer_ops *quantizer = mq_quantizer_find(run->method);
  if (quantizer) {
    run->method = quantizer->name;
    return run->calibrates_bn
               ? mq_fail(err, MQ_BAD_USAGE, "--bn-calibration: training learns what it estimates")
               : MQ_OK;
  }
  if (!strcmp(run->method, "ptq")) {
    return given ? mq_fail(err, MQ_BAD_USAGE, "%s: --method ptq trains nothing", given) : MQ_OK;
  }
  for (const char *const *word = later; *word; word++) {
    if (!strcmp(*word, run->method)) {
      return mq_fail(err, MQ_BAD_USAGE, "--method %s: not in this version", run->method);
    }
  }
  return mq_fail(err, MQ_BAD_USAGE, "--method %s: unknown; see mqbench list methods", run->method);
}

static mq_status check_variant(struct quantize_run *run, struct mq_err *err) {
  struct mq_err why = {0};
  mq_status status = mq_training_check_option(run->method, run->method_option, &why);
  if (status == MQ_OK && run->variant) {
    status = mq_variant_parse(&run->variant, run->variant, &run->arena, &why);
  }
  if (status == MQ_OK) {
    status = mq_variant_check(run->variant, run->method, &why);
  }
  return status == MQ_OK ? MQ_OK : mq_fail(err, status, "--%s", why.message);
}

static mq_status make_cell(struct mq_cell *cell, const struct quantize_run *run, mq_isa isa,
                           struct mq_err *err) {
  const char *model = run->common.arguments.text[0];
  *cell = (struct mq_cell){.plan = "quantize",
                           .model_path = model,
                           .model_name = mq_path_base(model),
                           .calib_data = run->inputs.train_text,
                           .eval_data = run->inputs.eval_text,
                           .target = run->target,
                           .method = run->method,
                           .variant = run->variant,
                           .w_observer = run->w_observer,
                           .a_observer = run->a_observer,
                           .w_parameter = NAN,
                           .a_parameter = NAN,
                           .method_option = run->method_option,
                           .w_bits = (int)run->w_bits,
                           .a_bits = (int)run->a_bits,
                           .calibrates_bn = run->calibrates_bn,
                           .calib_images = run->calib,
                           .calib_batch = 32,
                           .is_calib_first = run->inputs.train.is_calib_first,
                           .slice_images = 8,
                           .seed = (uint64_t)run->common.seed,
                           .isa = isa,
                           .overrides = run->overrides.item,
                           .n_overrides = run->overrides.n,
                           .is_strict = run->common.is_strict};
  mq_status status = cli_apply_training(cell, &run->training, err);
  if (status == MQ_OK) {
    mq_training_fill_observers(cell);
    status = mq_training_check(cell, err);
  }
  return status;
}

static void print_accuracy(const struct mq_run *r) {
  if (!isfinite(r->top1)) {
    printf("%lld images without labels: accuracy is unknown\n", (long long)r->images);
    return;
  }
  printf("float      %.2f%% (%lld of %lld)\n", 100 * r->float_top1, (long long)r->float_correct,
         (long long)r->images);
  printf("quantized  %.2f%% (%lld of %lld), %+.2f points\n", 100 * r->top1, (long long)r->correct,
         (long long)r->images, 100 * (r->top1 - r->float_top1));
}

static mq_status report(const struct quantize_run *run, struct mq_err *err) {
  const struct mq_run *r = &run->result.run;
  bool has_bundle = !cli_has_no_result(r);
  cli_data_warn(&run->inputs);
  if (run->common.is_json) {
    json_t *object = json_object();
    json_object_set_new(object, "target", json_string(r->target));
    json_object_set_new(object, "method", json_string(r->method));
    json_object_set_new(object, "float_top1", cli_json_real(r->float_top1));
    json_object_set_new(object, "top1", cli_json_real(r->top1));
    json_object_set_new(object, "correct", r->correct < 0 ? json_null() : json_integer(r->correct));
    json_object_set_new(object, "images", json_integer(r->images));
    json_object_set_new(object, "seconds", cli_json_real(r->seconds));
    json_object_set_new(object, "calib_seconds", cli_json_real(r->calib_seconds));
    json_object_set_new(object, "bundle", has_bundle ? json_string(run->output) : json_null());
    json_object_set_new(object, "w_bits", json_integer(r->w_bits));
    json_object_set_new(object, "a_bits", json_integer(r->a_bits));
    json_object_set_new(object, "points", json_integer((json_int_t)run->result.n_points));
    json_object_set_new(object, "result_sha256", json_string(r->result_sha256));
    if (r->history) {
      json_object_set_new(object, "status", json_string(r->status));
      json_object_set_new(object, "train_seconds", cli_json_real(r->train_seconds));
      json_object_set_new(object, "best_top1", cli_json_real(r->best_top1));
    }
    return cli_print_json(object, err);
  }
  printf("%s, %s, W%dA%d, weights by %s, activations by %s\n", r->target, r->method, r->w_bits, r->a_bits,
         r->w_observer, r->a_observer);
  if (!has_bundle) {
    return MQ_OK; /* cli_check_converged tells */
  }
  print_accuracy(r);
  printf("calibrated in %.2f s, %.2f s in all\nbundle     %s\n", r->calib_seconds, r->seconds, run->output);
  return MQ_OK;
}

static mq_status check_drop(const struct quantize_run *run, struct mq_err *err) {
  const struct mq_run *r = &run->result.run;
  double drop = 100 * (r->float_top1 - r->top1);
  if (isnan(run->max_drop) || !(drop > run->max_drop)) {
    return MQ_OK;
  }
  return mq_fail(err, MQ_NO, "accuracy fell by %.2f points, --max-drop allows %.2f", drop, run->max_drop);
}

static mq_status run_quantize(struct quantize_run *run, struct mq_err *err) {
  if (!run->target || !run->data) {
    return mq_fail(err, MQ_BAD_USAGE, "%s is missing; see mqbench quantize --help",
                   run->target ? "--data" : "--target");
  }
  mq_status status = run->plugin ? mq_quantizer_load(run->plugin, err) : MQ_OK;
  if (status == MQ_OK) {
    status = check_method(run, err);
  }
  if (status == MQ_OK) {
    status = check_variant(run, err);
  }
  if (status == MQ_OK) {
    status = cli_check_a_bits(run->a_bits, err);
  }
  if (status == MQ_OK) {
    status = cli_parse_overrides(&run->overrides, &run->bits, &run->keep_float, err);
  }
  if (status == MQ_OK) {
    status = cli_session_start_ranks(&run->pool, &run->common, err);
  }
  if (status == MQ_OK) {
    status = cli_data_open(&run->inputs, run->data, run->eval_data, err);
  }
  mq_isa isa = MQ_ISA_NATIVE;
  struct mq_cell cell;
  const char *checkpoints = NULL;
  if (status == MQ_OK) {
    status = mq_isa_parse(&isa, run->common.isa, err);
  }
  if (status == MQ_OK) {
    status = make_cell(&cell, run, isa, err);
  }
  if (status == MQ_OK) {
    checkpoints = mq_arena_printf(&run->arena, "%s.checkpoints", run->output);
    const struct mq_trial_options options = {.pool = run->pool,
                                             .ranks = cli_session_ranks(),
                                             .bundle = cli_is_first_rank() ? run->output : NULL,
                                             .checkpoints = checkpoints};
    status = mq_trial_run(&run->result, &cell, &options, &run->arena, err);
  }
  if (status == MQ_OK && run->result.failure != MQ_OK) {
    status = mq_fail(err, run->result.failure, "%s", run->result.run.message);
  }
  if (status == MQ_OK && cli_is_first_rank()) {
    mq_trial_remove_checkpoint(checkpoints, &run->result.run);
    status = report(run, err);
  }
  if (status == MQ_OK) {
    status = cli_check_converged(&run->result.run, err);
  }
  return status == MQ_OK ? check_drop(run, err) : status;
}

mq_status cmd_quantize(int argc, char **argv, struct mq_err *err) {
  struct quantize_run *run = mq_alloc(1, sizeof *run);
  if (!run) {
    return mq_fail_memory(err, "quantize");
  }
  run->output = "mqbench-bundle";
  run->method = "ptq";
  run->calib = 256;
  run->max_drop = run->method_option = NAN;
  struct cli_option options[32] = {
      {"--target", 0, CLI_TEXT, &run->target, "T", "hardware to quantize for: a name or a YAML file", 0, 0},
      {"--data", 0, CLI_TEXT, &run->data, "D", "images to calibrate on: KIND:PATH[,key=value...]", 0, 0},
      {"--eval-data", 0, CLI_TEXT, &run->eval_data, "D", "images to measure on (default: D's test split)", 0,
       0},
      {"--output", 'o', CLI_TEXT, &run->output, "DIR", "the bundle (default mqbench-bundle)", 0, 0},
      {"--method", 0, CLI_TEXT, &run->method, "M", "algorithm (default ptq)", 0, 0},
      {"--w-bits", 0, CLI_INT, &run->w_bits, "B", "bits of weights (default: the target's)", 2, 8},
      {"--a-bits", 0, CLI_INT, &run->a_bits, "B",
       "bits of activations: 2 to 8, or 16 (default: the target's)", 2, 16},
      {"--w-observer", 0, CLI_TEXT, &run->w_observer, "O",
       "calibration of weights (default: the method's, ptq: minmax)", 0, 0},
      {"--a-observer", 0, CLI_TEXT, &run->a_observer, "O",
       "calibration of activations (default: the method's, ptq: minmax)", 0, 0},
      {"--calib", 0, CLI_INT, &run->calib, "N", "images to calibrate on (default 256)", 1, 100000000},
      {"--bn-calibration", 0, CLI_FLAG, &run->calibrates_bn, NULL, "re-estimate BN statistics afterwards", 0,
       0},
      {"--bits", 0, CLI_TEXTS, &run->bits, "NAME=B",
       "bits of one layer or tensor: weights 2 to 8, activations also 16", 0, 0},
      {"--keep-float", 0, CLI_TEXTS, &run->keep_float, "NAME", "a layer that stays float", 0, 0},
      {"--max-drop", 0, CLI_REAL, &run->max_drop, "POINTS", "exit with 1 when accuracy falls by more", 0, 0},
      {"--option", 0, CLI_REAL, &run->method_option, "X", "the method's own number (mqbench list methods)", 0,
       0},
      {"--variant", 0, CLI_TEXT, &run->variant, "V",
       "published: as the paper's released code does it; or parts of it: quantizer, observer, bn_fold, "
       "bn_variance",
       0, 0},
      {"--plugin", 0, CLI_TEXT, &run->plugin, "FILE", "a shared object with a method of your own", 0, 0},
  };
  size_t n_options = 0;
  while (options[n_options].name)
    n_options++;
  n_options += cli_training_options(options + n_options, &run->training, false);
  bool is_help;
  mq_status status = cli_parse(&run->common, &is_help, cli_find_command("quantize"), options, n_options, 1, 1,
                               argc, argv, err);
  if (status == MQ_OK && !is_help) {
    status = run_quantize(run, err);
  }
  mq_arena_deinit(&run->arena);
  cli_data_close(&run->inputs);
  mq_pool_destroy(run->pool);
  mq_free(run);
  return status;
}
