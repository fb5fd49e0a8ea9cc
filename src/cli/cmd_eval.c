/* mqbench eval: accuracy of a model, a Q/DQ model or a bundle. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/bundle.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "mqbench/deploy.h"
#include "mqbench/load.h"
#include "mqbench/verify.h"

typedef enum eval_mode {
  EVAL_DEFAULT,
  EVAL_FLOAT,
  EVAL_SIMULATE,
  EVAL_EXACT,     /* the simulation in the target's own arithmetic */
  EVAL_REFERENCE, /* the integer program, by its plain executor */
  EVAL_INTEGER,   /* the same, by the fast one */
  EVAL_MODES
} eval_mode;
static const char *const mode_names[EVAL_MODES] = {
    [EVAL_DEFAULT] = "",    [EVAL_FLOAT] = "float",         [EVAL_SIMULATE] = "simulate",
    [EVAL_EXACT] = "exact", [EVAL_REFERENCE] = "reference", [EVAL_INTEGER] = "integer"};

struct eval_run {
  struct cli_common common;
  const char *data, *target, *mode_text;
  eval_mode mode;
  bool is_bundle, is_qdq; /* is_qdq: a bundle that was made of a Q/DQ model */
  struct mq_bundle bundle;
  struct mq_graph *graph; /* of a plain model, or float.onnx of a bundle */
  struct mq_data_spec spec;
  struct mq_dataset *dataset;
  struct mq_pool *pool;
  struct mq_evaluation result, reference; /* reference: float predictions, for agreement without labels */
  bool has_agreement;
};

static mq_status parse_mode(struct eval_run *run, struct mq_err *err) {
  const char *text = run->mode_text;
  for (int mode = EVAL_FLOAT; text && mode < EVAL_MODES; mode++) {
    if (!strcmp(text, mode_names[mode])) {
      run->mode = (eval_mode)mode;
      return MQ_OK;
    }
  }
  return text ? mq_fail(err, MQ_BAD_USAGE, "--mode %s: expected float, simulate, exact, reference or integer",
                        text)
              : MQ_OK;
}

static mq_status load_bundle(struct eval_run *run, const char *path, struct mq_err *err) {
  mq_status status = mq_bundle_read(&run->bundle, path, err);
  if (status != MQ_OK) {
    return status;
  }
  if (!run->spec.has_preprocess && run->bundle.has_preprocess) {
    run->spec.preprocess = run->bundle.preprocess;
    run->spec.has_preprocess = true;
  }
  if (run->mode == EVAL_DEFAULT) {
    run->mode = EVAL_SIMULATE;
  }
  status = run->target ? cli_bundle_check_target(&run->bundle, path, run->target, err) : MQ_OK;
  if (status != MQ_OK) {
    return status;
  }
  if (run->mode >= EVAL_REFERENCE && !run->bundle.program) {
    const char *why = run->bundle.no_program;
    return mq_fail(err, MQ_BAD_INPUT, "%s has no program.mqi: %s", path,
                   why[0] ? why : "it was made before there were any; quantize the model again");
  }
  if (run->mode == EVAL_EXACT && !(run->bundle.has_rules && run->bundle.arithmetic[0])) {
    return mq_fail(err, MQ_BAD_INPUT, "%s/quant.json: %s", path,
                   run->bundle.has_rules ? "the target has no arithmetic, expected one for mode exact"
                                         : "made before mode exact; quantize the model again");
  }
  char *float_path = mq_path_join(path, "float.onnx");
  status = float_path ? mq_onnx_read(&run->graph, float_path, NULL, err) : mq_fail_memory(err, path);
  mq_free(float_path);
  return status;
}

/* A float model has no scales, so there is nothing that a target or a simulation could mean. */
static mq_status check_plain_model(const struct eval_run *run, const char *path, struct mq_err *err) {
  if (run->mode != EVAL_DEFAULT && run->mode != EVAL_FLOAT) {
    return mq_fail(err, MQ_BAD_USAGE,
                   "--mode %s: %s has no quantization; first mqbench quantize %s --target %s --data D "
                   "-o DIR, then mqbench eval DIR",
                   mode_names[run->mode], path, path, run->target ? run->target : "T");
  }
  if (run->target) {
    return mq_fail(
        err, MQ_BAD_USAGE,
        "--target %s: %s is a float model, evaluated in mode float without a target; leave it out, "
        "or mqbench quantize %s --target %s --data D -o DIR, then mqbench eval DIR",
        run->target, path, path, run->target);
  }
  return MQ_OK;
}

/* A Q/DQ model is a bundle without files. */
static mq_status load_qdq(struct eval_run *run, const char *path, struct mq_err *err) {
  mq_status status = mq_bundle_read_qdq(&run->bundle, path, run->target, err);
  if (status != MQ_OK) {
    return status;
  }
  run->is_bundle = run->is_qdq = true;
  if (run->mode == EVAL_DEFAULT) {
    run->mode = EVAL_SIMULATE;
  }
  if (run->mode >= EVAL_REFERENCE && !run->bundle.program) {
    return mq_fail(err, MQ_BAD_INPUT, "%s", run->bundle.no_program);
  }
  if (run->mode == EVAL_EXACT && !run->bundle.arithmetic[0]) {
    return mq_fail(err, MQ_BAD_INPUT, "target %s has no arithmetic, expected one for mode exact",
                   run->bundle.target);
  }
  return mq_prepare_qdq_float(&run->graph, &run->bundle.prepared, err);
}

static mq_status load_model(struct eval_run *run, const char *path, struct mq_err *err) {
  const struct mq_onnx_options options = {.takes_packed = true};
  mq_status status = mq_onnx_read(&run->graph, path, &options, err);
  if (status != MQ_OK) {
    return status;
  }
  if (mq_is_qdq(run->graph)) {
    mq_graph_destroy(run->graph);
    run->graph = NULL;
    return load_qdq(run, path, err);
  }
  status = check_plain_model(run, path, err);
  run->mode = EVAL_FLOAT;
  return status;
}

static mq_status evaluate_bundle(struct eval_run *run, const struct mq_evaluate_options *options,
                                 struct mq_err *err) {
  const struct mq_prepared *prepared = &run->bundle.prepared;
  if (run->mode >= EVAL_REFERENCE) {
    const struct mq_program_evaluate_options of_program = {.loader_threads = options->loader_threads,
                                                           .label = options->label,
                                                           .is_fast = run->mode == EVAL_INTEGER};
    return mq_program_evaluate(&run->result, run->bundle.program, prepared->graph, run->dataset, &of_program,
                               run->pool, err);
  }
  const struct mq_exact_rules rules = {.arithmetic = run->bundle.arithmetic,
                                       .pot_half_even = run->bundle.pot_half_even,
                                       .pool = run->bundle.pool,
                                       .islands = prepared->islands,
                                       .n_islands = prepared->n_islands};
  struct mq_evaluate_options simulated = *options;
  simulated.exact = run->mode == EVAL_EXACT ? &rules : NULL;
  simulated.points = prepared->points;
  simulated.n_points = prepared->n_points;
  return mq_evaluate(&run->result, prepared->graph, run->dataset, &simulated, run->pool, err);
}

/* Without labels the float model's predictions are what a quantized one is compared with. */
static mq_status evaluate(struct eval_run *run, struct mq_err *err) {
  bool is_quantized = run->is_bundle && run->mode != EVAL_FLOAT;
  const struct mq_evaluate_options options = {.label = "evaluate",
                                              .loader_threads = mq_pool_workers(run->pool)};
  mq_status status = MQ_OK;
  if (is_quantized && !mq_dataset_get_info(run->dataset)->has_labels) {
    status = mq_evaluate(&run->reference, run->graph, run->dataset, &options, run->pool, err);
    run->has_agreement = true;
  }
  if (status == MQ_OK) {
    status = is_quantized ? evaluate_bundle(run, &options, err)
                          : mq_evaluate(&run->result, run->graph, run->dataset, &options, run->pool, err);
  }
  return status;
}

static double share(int64_t part, int64_t whole) {
  return whole > 0 ? (double)part / (double)whole : NAN;
}

/* What both forms of the answer say. Accuracies are fractions, NAN where they are unknown. */
struct figures {
  const char *mode;
  double top1, top5, agreement, speed, engine_speed;
  bool is_finite;
};

static struct figures measure(const struct eval_run *run) {
  const struct mq_evaluation *r = &run->result;
  struct figures f = {
      .mode = mode_names[run->mode],
      .top1 = share(r->correct, r->n_labelled),
      .top5 = share(r->correct5, r->n_labelled),
      .agreement = NAN,
      .speed = r->seconds > 0 ? (double)r->n_images / r->seconds : NAN,
      .engine_speed = r->engine_seconds > 0 ? (double)r->n_images / r->engine_seconds : NAN,
      .is_finite = r->is_finite && (!run->has_agreement || run->reference.is_finite),
  };
  if (run->has_agreement) {
    int64_t n_equal = 0;
    for (int64_t i = 0; i < r->n_images; i++) {
      n_equal += r->predicted[i] == run->reference.predicted[i];
    }
    f.agreement = share(n_equal, r->n_images);
  }
  return f;
}

static mq_status print_json(const struct eval_run *run, const struct figures *f, struct mq_err *err) {
  const struct mq_evaluation *r = &run->result;
  json_t *object = json_object();
  json_object_set_new(object, "mode", json_string(f->mode));
  json_object_set_new(object, "finite", json_boolean(f->is_finite));
  json_object_set_new(object, "top1", cli_json_real(f->top1));
  json_object_set_new(object, "top5", cli_json_real(f->top5));
  json_object_set_new(object, "correct", r->n_labelled > 0 ? json_integer(r->correct) : json_null());
  json_object_set_new(object, "images", json_integer(r->n_images));
  json_object_set_new(object, "loss", cli_json_real(r->loss));
  json_object_set_new(object, "images_per_second", cli_json_real(f->speed));
  json_object_set_new(object, "engine_images_per_second", cli_json_real(f->engine_speed));
  if (run->has_agreement) {
    json_object_set_new(object, "agreement_with_float", cli_json_real(f->agreement));
  }
  if (run->is_bundle) {
    json_object_set_new(object, "target", json_string(run->bundle.target));
  }
  return cli_print_json(object, err);
}

static mq_status report(const struct eval_run *run, struct mq_err *err) {
  const struct mq_evaluation *r = &run->result;
  const struct figures f = measure(run);
  if (!f.is_finite) {
    mq_log_warn("inputs, weights or outputs contain NaN or infinite values: the figures mean nothing");
  }
  if (run->common.is_json) {
    return print_json(run, &f, err);
  }
  if (run->is_qdq && run->mode >= EVAL_REFERENCE) {
    printf("target %s%s\n", run->bundle.target,
           run->target ? "" : " (its arithmetic, as no --target is given)");
  }
  if (r->n_labelled > 0) {
    printf("%s: top-1 %.2f%% (%lld of %lld), top-5 %.2f%%, loss %.4f\n", f.mode, 100 * f.top1,
           (long long)r->correct, (long long)r->n_labelled, 100 * f.top5, r->loss);
  } else {
    printf("%s: %lld images without labels\n", f.mode, (long long)r->n_images);
  }
  if (run->has_agreement) {
    printf("agrees with float on %.2f%%\n", 100 * f.agreement);
  }
  printf("%.0f images/s (%.0f without decoding)\n", f.speed, f.engine_speed);
  return MQ_OK;
}

static mq_status run_eval(struct eval_run *run, struct mq_err *err) {
  const char *path = run->common.arguments.text[0];
  if (!run->data) {
    return mq_fail(err, MQ_BAD_USAGE, "--data is missing; see mqbench eval --help");
  }
  mq_status status = parse_mode(run, err);
  if (status == MQ_OK) {
    status = cli_session_start(&run->pool, &run->common, err);
  }
  if (status == MQ_OK) {
    status = mq_data_spec_parse(&run->spec, run->data, err);
  }
  if (status == MQ_OK) {
    run->is_bundle = mq_file_is_directory(path);
    status = run->is_bundle ? load_bundle(run, path, err) : load_model(run, path, err);
  }
  if (status == MQ_OK) {
    status = mq_dataset_open(&run->dataset, &run->spec, err);
  }
  if (status == MQ_OK) {
    status = mq_check_model_data(run->graph, run->dataset, err);
  }
  if (status == MQ_OK) {
    mq_warn_of_labels(run->graph, run->dataset);
    status = evaluate(run, err);
  }
  return status == MQ_OK ? report(run, err) : status;
}

mq_status cmd_eval(int argc, char **argv, struct mq_err *err) {
  struct eval_run run = {0};
  const struct cli_option options[] = {
      {"--data", 0, CLI_TEXT, &run.data, "D", "images to measure on: KIND:PATH[,key=value...]", 0, 0},
      {"--target", 0, CLI_TEXT, &run.target, "T",
       "of a Q/DQ model: whose arithmetic; of a bundle: for which it must have been made", 0, 0},
      {"--mode", 0, CLI_TEXT, &run.mode_text, "MODE",
       "float, simulate, exact (the target's arithmetic on the graph), integer (the program) or reference "
       "(the "
       "program by its plain loops)",
       0, 0},
  };
  bool is_help;
  mq_status status = cli_parse(&run.common, &is_help, cli_find_command("eval"), options,
                               sizeof options / sizeof options[0], 1, 1, argc, argv, err);
  if (status == MQ_OK && !is_help) {
    status = run_eval(&run, err);
  }
  mq_evaluation_deinit(&run.result);
  mq_evaluation_deinit(&run.reference);
  mq_dataset_close(run.dataset);
  mq_data_spec_deinit(&run.spec);
  mq_bundle_deinit(&run.bundle);
  mq_graph_destroy(run.graph);
  mq_pool_destroy(run.pool);
  return status;
}
