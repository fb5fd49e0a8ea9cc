/* mqbench verify: simulation, integer program and real engines side by side. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/bundle.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/verify_report.h"
#include "mqbench/deploy.h"
#include "mqbench/verify.h"

struct verify_run {
  struct cli_common common;
  const char *data, *target;
  struct cli_texts engines;
  int64_t n_images;
  struct mq_bundle bundle;
  bool is_qdq; /* a model, not a directory */
  struct mq_data_spec spec;
  struct mq_dataset *dataset;
  struct mq_pool *pool;
  struct mq_target *known; /* the bundle's target; NULL: not to be found here */
  struct mq_verification result;
  struct mq_engine_comparison *compared;
  size_t n_compared;
  struct mq_arena arena; /* names of engines */
  const char **names;
  size_t n_names;
};

static mq_status load_bundle(struct verify_run *run, const char *path, struct mq_err *err) {
  mq_status status = mq_bundle_read(&run->bundle, path, err);
  if (status != MQ_OK) {
    return status;
  }
  if (!run->spec.has_preprocess && run->bundle.has_preprocess) {
    run->spec.preprocess = run->bundle.preprocess;
    run->spec.has_preprocess = true;
  }
  return run->target ? cli_bundle_check_target(&run->bundle, path, run->target, err) : MQ_OK;
}

static const char *why_no_program(const struct verify_run *run) {
  const char *why = run->bundle.no_program;
  return why[0] ? why : "it was made before there were any; quantize the model again";
}

/* A bundle, or a Q/DQ model, which is one without files. */
static mq_status load(struct verify_run *run, const char *path, struct mq_err *err) {
  run->is_qdq = !mq_file_is_directory(path);
  mq_status status =
      run->is_qdq ? mq_bundle_read_qdq(&run->bundle, path, run->target, err) : load_bundle(run, path, err);
  if (status != MQ_OK) {
    return status;
  }
  if (!run->bundle.program && run->n_names == 0) {
    return mq_fail(err, MQ_BAD_INPUT, "%s has no integer program: %s", path, why_no_program(run));
  }
  const char *target = run->target ? run->target : run->bundle.target;
  if (mq_target_load(&run->known, target, NULL) != MQ_OK && run->n_names > 0) {
    mq_log_warn("target %s is not here, so no engine is its twin: name its file with --target", target);
  }
  return MQ_OK;
}

/* ---- Engines ------------------------------------------------------------------------------------------ */

static void add_name(struct verify_run *run, const char *name) {
  for (size_t i = 0; i < run->n_names; i++) {
    if (strcmp(run->names[i], name) == 0) {
      return;
    }
  }
  run->names[run->n_names++] = name;
}

/* `all` stands for every adapter there is. An engine that there is none of is told before the work begins. */
static mq_status find_engines(struct verify_run *run, struct mq_err *err) {
  const char *const *all = NULL;
  size_t n_all = 0;
  mq_status status = mq_adapter_list(&all, &n_all, &run->arena, err);
  if (status != MQ_OK) {
    return status;
  }
  run->names = mq_arena_alloc(&run->arena, run->engines.n + n_all + 1, sizeof *run->names);
  if (!run->names) {
    return mq_fail_memory(err, "names of engines");
  }
  for (size_t i = 0; i < run->engines.n && status == MQ_OK; i++) {
    const char *name = run->engines.text[i];
    char *path = NULL;
    if (strcmp(name, "all") == 0) {
      for (size_t k = 0; k < n_all; k++) {
        add_name(run, all[k]);
      }
      add_name(run, MQ_ENGINE_IN_PROCESS);
      continue;
    }
    status = strcmp(name, MQ_ENGINE_IN_PROCESS) == 0 ? MQ_OK : mq_adapter_find(&path, name, err);
    mq_free(path);
    add_name(run, name);
  }
  return status;
}

static mq_status compare_engines(struct verify_run *run, struct mq_err *err) {
  run->compared = mq_alloc(run->n_names + 1, sizeof *run->compared);
  mq_status status = run->compared ? MQ_OK : mq_fail_memory(err, "engines");
  for (size_t i = 0; i < run->n_names && status == MQ_OK; i++) {
    const struct mq_verify_engine_options options = {
        .name = run->names[i], .target = run->known, .loader_threads = mq_pool_workers(run->pool)};
    status = mq_verify_engine(&run->compared[i], &run->bundle, &run->result, run->dataset, &options,
                              run->pool, err);
    run->n_compared += status == MQ_OK;
  }
  return status;
}

/* ---- The command -------------------------------------------------------------------------------------- */

static mq_status compare(struct verify_run *run, struct mq_err *err) {
  const struct mq_bundle *bundle = &run->bundle;
  const struct mq_exact_rules rules = {.arithmetic = bundle->arithmetic,
                                       .pot_half_even = bundle->pot_half_even,
                                       .pool = bundle->pool,
                                       .islands = bundle->prepared.islands,
                                       .n_islands = bundle->prepared.n_islands};
  const bool has_rules = bundle->has_rules && bundle->arithmetic[0];
  const struct mq_verify_options options = {.n_images = run->n_images,
                                            .loader_threads = mq_pool_workers(run->pool),
                                            .label = "verify",
                                            .keeps_outputs = run->n_names > 0,
                                            .exact = has_rules ? &rules : NULL};
  if (!bundle->program) {
    mq_log_info("no integer program: %s", why_no_program(run));
    mq_status status =
        mq_verify_simulated(&run->result, &bundle->prepared, run->dataset, &options, run->pool, err);
    return status == MQ_OK ? compare_engines(run, err) : status;
  }
  if (!has_rules) {
    mq_log_warn("%s was made before bundles said what the exact simulation needs: it is left out",
                run->common.arguments.text[0]);
  }
  mq_status status = mq_verify(&run->result, &run->bundle.prepared, run->bundle.program, run->dataset,
                               &options, run->pool, err);
  return status == MQ_OK ? compare_engines(run, err) : status;
}

static mq_status run_verify(struct verify_run *run, struct mq_err *err) {
  const char *path = run->common.arguments.text[0];
  if (!run->data) {
    return mq_fail(err, MQ_BAD_USAGE, "--data is missing; see mqbench verify --help");
  }
  mq_status status = cli_session_start(&run->pool, &run->common, err);
  if (status == MQ_OK) {
    status = find_engines(run, err);
  }
  if (status == MQ_OK) {
    status = mq_data_spec_parse(&run->spec, run->data, err);
  }
  if (status == MQ_OK) {
    status = load(run, path, err);
  }
  if (status == MQ_OK) {
    status = mq_dataset_open(&run->dataset, &run->spec, err);
  }
  if (status == MQ_OK) {
    status = compare(run, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  const struct cli_verify_report report = {.target = run->bundle.target,
                                           .network = run->bundle.program ? run->bundle.program->name : path,
                                           .has_program = run->bundle.program,
                                           .result = &run->result,
                                           .engines = run->compared,
                                           .n_engines = run->n_compared};
  if (!run->result.is_finite) {
    mq_log_warn("inputs contain NaN or infinite values: the figures mean nothing");
  }
  status = run->common.is_json ? cli_verify_print_json(&report, err) : cli_verify_print_text(&report, err);
  return status == MQ_OK ? cli_verify_answer(&report, err) : status;
}

mq_status cmd_verify(int argc, char **argv, struct mq_err *err) {
  struct verify_run run = {.n_images = 0};
  mq_arena_init(&run.arena, 0);
  const struct cli_option options[] = {
      {"--data", 0, CLI_TEXT, &run.data, "D", "images to compare on: KIND:PATH[,key=value...]", 0, 0},
      {"--target", 0, CLI_TEXT, &run.target, "T",
       "of a bundle: the target it was made for; of a Q/DQ model: whose arithmetic", 0, 0},
      {"--engine", 0, CLI_TEXTS, &run.engines, "E",
       "a real engine (list engines), or all; may be given again", 0, 0},
      {"--images", 0, CLI_INT, &run.n_images, "N", "the first N images (default: all)", 1, INT64_MAX},
  };
  bool is_help;
  mq_status status = cli_parse(&run.common, &is_help, cli_find_command("verify"), options,
                               sizeof options / sizeof options[0], 1, 1, argc, argv, err);
  if (status == MQ_OK && !is_help) {
    status = run_verify(&run, err);
  }
  for (size_t i = 0; i < run.n_compared; i++) {
    mq_engine_comparison_deinit(&run.compared[i]);
  }
  mq_free(run.compared);
  mq_arena_deinit(&run.arena);
  mq_verification_deinit(&run.result);
  mq_target_destroy(run.known);
  mq_dataset_close(run.dataset);
  mq_data_spec_deinit(&run.spec);
  mq_bundle_deinit(&run.bundle);
  mq_pool_destroy(run.pool);
  return status;
}
