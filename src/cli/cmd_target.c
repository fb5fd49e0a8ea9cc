/* mqbench target check: what a target file makes of the embedded networks. */
#include <string.h>

#include "cli/commands.h"
#include "cli/session.h"
#include "cli/target_report.h"

#define MAX_METHODS 32

struct target_run {
  struct cli_common common;
  const char *methods_text;
  double epochs;
  int64_t n_images;
  struct mq_arena arena;
  const char *methods[MAX_METHODS];
  size_t n_methods;
  struct mq_plan *plan;
  struct mq_pool *pool;
  struct mq_target_check check;
};

static mq_status check_method(const struct mq_plan *plan, const char *method, struct mq_err *err) {
  char list[400] = "";
  const char *last = "";
  for (size_t i = 0; i < plan->n_cells; i++) {
    const char *name = plan->cells[i].method;
    if (!strcmp(name, method)) {
      return MQ_OK;
    }
    size_t n = strlen(list);
    if (strcmp(name, last) != 0 && !strstr(list, name) && n + strlen(name) + 3 < sizeof list) {
      strcat(list, n ? ", " : "");
      strcat(list, name);
    }
    last = name;
  }
  return mq_fail(err, MQ_BAD_USAGE, "--methods %.60s: expected some of %s, separated by commas", method,
                 list);
}

/* "ptq,lsq" */
static mq_status split_methods(struct target_run *run, struct mq_err *err) {
  char *text = mq_arena_strdup(&run->arena, run->methods_text), *rest = NULL;
  if (!text) {
    return mq_fail_memory(err, "--methods");
  }
  for (char *word = strtok_r(text, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
    mq_status status = check_method(run->plan, word, err);
    if (status != MQ_OK || run->n_methods == MAX_METHODS) {
      return status;
    }
    run->methods[run->n_methods++] = word;
  }
  return run->n_methods ? MQ_OK : mq_fail(err, MQ_BAD_USAGE, "--methods: expected a name, for example ptq");
}

static mq_status answer(const struct target_run *run, struct mq_err *err) {
  const struct mq_target_check *check = &run->check;
  if (run->common.is_json) {
    mq_status status = cli_print_json(cli_target_json(check), err);
    if (status != MQ_OK) return status;
  } else {
    cli_target_print(check);
  }
  return check->n_problems == 0
             ? MQ_OK
             : mq_fail(err, MQ_NO, "target %s: %zu problem%s, the first: %s", check->target->name,
                       check->n_problems, check->n_problems > 1 ? "s" : "", check->problems[0]);
}

static mq_status run_check(struct target_run *run, struct mq_err *err) {
  const struct cli_texts *arguments = &run->common.arguments;
  mq_isa isa = MQ_ISA_NATIVE;
  if (strcmp(arguments->text[0], "check") != 0 || arguments->n != 2) {
    return mq_fail(err, MQ_BAD_USAGE, "target: expected check FILE.yaml");
  }
  mq_status status = mq_target_check_plan(&run->plan, err);
  if (status == MQ_OK) {
    status = split_methods(run, err);
  }
  if (status == MQ_OK) {
    status = cli_session_start(&run->pool, &run->common, err);
  }
  if (status == MQ_OK) {
    status = mq_isa_parse(&isa, run->common.isa, err);
  }
  const struct mq_target_check_options options = {.plan = run->plan,
                                                  .target = arguments->text[1],
                                                  .methods = run->methods,
                                                  .n_methods = run->n_methods,
                                                  .epochs = run->epochs,
                                                  .n_images = run->n_images,
                                                  .n_compared = 32,
                                                  .seed = (uint64_t)run->common.seed,
                                                  .is_strict = run->common.is_strict,
                                                  .isa = isa,
                                                  .pool = run->pool};
  if (status == MQ_OK) {
    status = mq_target_check_run(&run->check, &options, err);
  }
  return status == MQ_OK ? answer(run, err) : status;
}

mq_status cmd_target(int argc, char **argv, struct mq_err *err) {
  struct target_run run = {.methods_text = "ptq"};
  const struct cli_option options[] = {
      {"--methods", 0, CLI_TEXT, &run.methods_text, "M,...",
       "what to quantize with: ptq (default), and of those that train lsq, pact, dsq, dorefa", 0, 0},
      {"--epochs", 0, CLI_REAL, &run.epochs, "E", "of methods that train (default 0.2)", 0, 0},
      {"--images", 0, CLI_INT, &run.n_images, "N", "test images to measure on (default: all 2000)", 1,
       1000000},
  };
  bool is_help;
  mq_status status = cli_parse(&run.common, &is_help, cli_find_command("target"), options,
                               sizeof options / sizeof options[0], 2, 2, argc, argv, err);
  if (status == MQ_OK && !is_help) {
    status = run_check(&run, err);
  }
  mq_target_check_deinit(&run.check);
  mq_plan_destroy(run.plan);
  mq_pool_destroy(run.pool);
  mq_arena_deinit(&run.arena);
  return status;
}
