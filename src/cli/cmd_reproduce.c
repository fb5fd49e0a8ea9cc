/* mqbench reproduce: a stored run once more, compared bit by bit. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/session.h"
#include "mqbench/bench.h"

#define DIFFERENCES_SHOWN 20

struct reproduce_run {
  struct cli_common common;
  struct mq_arena arena;
  struct mq_store *store;
  struct mq_pool *pool;
  struct mq_run run;
  struct mq_reproduction result;
  const char *plugin;
};

/* The run's own instruction set, unless the command line asks for less. */
static mq_status cap_isa(struct reproduce_run *r, struct mq_err *err) {
  mq_isa asked, recorded;
  mq_status status = mq_isa_parse(&asked, r->common.isa, err);
  if (status == MQ_OK && r->run.isa && mq_isa_parse(&recorded, r->run.isa, NULL) == MQ_OK &&
      recorded < asked) {
    r->common.isa = r->run.isa;
  }
  return status;
}

static json_t *value_json(mq_difference_kind kind, double real, int64_t count, const char *text) {
  if (kind == MQ_DIFFERENCE_REAL) {
    return cli_json_real(real);
  }
  if (kind == MQ_DIFFERENCE_COUNT) {
    return count == -1 ? json_null() : json_integer((json_int_t)count);
  }
  return text ? json_string(text) : json_null();
}

static mq_status print_json(const struct reproduce_run *r, bool is_identical, struct mq_err *err) {
  const struct mq_reproduction *result = &r->result;
  json_t *list = json_array(), *object = json_object();
  for (size_t i = 0; i < result->n_differences; i++) {
    const struct mq_difference *d = &result->differences[i];
    json_array_append_new(
        list, json_pack("{s:s, s:o, s:o}", "what", d->what, "stored",
                        value_json(d->kind, d->stored_real, d->stored_count, d->stored_text), "now",
                        value_json(d->kind, d->now_real, d->now_count, d->now_text)));
  }
  json_object_set_new(object, "identical", json_boolean(is_identical));
  json_object_set_new(object, "comparable", json_boolean(!result->why_not));
  json_object_set_new(object, "reason", result->why_not ? json_string(result->why_not) : json_null());
  json_object_set_new(object, "differences", list);
  json_object_set_new(object, "different", json_integer((json_int_t)result->n_all));
  json_object_set_new(object, "compared", json_integer((json_int_t)result->n_compared));
  json_object_set_new(object, "run", json_integer((json_int_t)r->run.id));
  json_object_set_new(object, "identity", json_string(r->run.identity));
  json_object_set_new(object, "seconds", cli_json_real(result->seconds));
  return cli_print_json(object, err);
}

static void print_value(mq_difference_kind kind, double real, int64_t count, const char *text) {
  if (kind == MQ_DIFFERENCE_TEXT) {
    printf("%s", text ? text : "none");
  } else if (kind == MQ_DIFFERENCE_COUNT) {
    printf("%lld", (long long)count);
  } else {
    printf("%.17g", real);
  }
}

static void print_text(const struct reproduce_run *r) {
  const struct mq_reproduction *result = &r->result;
  printf("run %lld    %s %s %s, identity %.12s\n", (long long)r->run.id, r->run.model,
         r->run.target ? r->run.target : "float", r->run.target ? r->run.method : "", r->run.identity);
  if (result->why_not) {
    printf("not comparable: %s\n", result->why_not);
    return;
  }
  printf("compared %zu numbers in %.1f s: ", result->n_compared, result->seconds);
  if (result->n_all) {
    printf("%zu differ\n", result->n_all);
  } else {
    printf("all are the same bits\n");
  }
  for (size_t i = 0; i < result->n_differences && i < DIFFERENCES_SHOWN; i++) {
    const struct mq_difference *d = &result->differences[i];
    printf("  %s: stored ", d->what);
    print_value(d->kind, d->stored_real, d->stored_count, d->stored_text);
    fputs(", now ", stdout);
    print_value(d->kind, d->now_real, d->now_count, d->now_text);
    putchar('\n');
  }
  if (result->n_all > DIFFERENCES_SHOWN) {
    printf("  and %zu more; --json lists up to %d\n", result->n_all - DIFFERENCES_SHOWN, MQ_MAX_DIFFERENCES);
  }
}

static mq_status answer(const struct reproduce_run *r, struct mq_err *err) {
  const struct mq_reproduction *result = &r->result;
  bool is_identical = !result->why_not && result->n_all == 0;
  mq_status status = MQ_OK;
  if (r->common.is_json) {
    status = print_json(r, is_identical, err);
  } else {
    print_text(r);
  }
  if (status != MQ_OK || is_identical) {
    return status;
  }
  return result->why_not
             ? mq_fail(err, MQ_NO, "not comparable: %s", result->why_not)
             : mq_fail(err, MQ_NO, "%zu of %zu numbers differ", result->n_all, result->n_compared);
}

static mq_status run_reproduce(struct reproduce_run *r, struct mq_err *err) {
  const char *db = r->common.arguments.text[0], *name = r->common.arguments.text[1];
  struct mq_err why = {.status = MQ_OK};
  mq_status status = r->plugin ? mq_quantizer_load(r->plugin, err) : MQ_OK;
  if (status == MQ_OK) {
    status = mq_store_open(&r->store, db, true, err);
  }
  if (status == MQ_OK) {
    status = mq_reproduce_find(&r->run, r->store, name, &r->arena, &why);
    if (status != MQ_OK) {
      bool is_named = strstr(why.message, db) != NULL;
      return mq_fail(err, status, "%s%s%s", is_named ? "" : db, is_named ? "" : ": ", why.message);
    }
    status = cap_isa(r, err);
  }
  if (status == MQ_OK) {
    status = cli_session_start(&r->pool, &r->common, err);
  }
  if (status == MQ_OK) {
    status = mq_reproduce(&r->result, r->store, &r->run, r->pool, &r->arena, err);
  }
  return status == MQ_OK ? answer(r, err) : status;
}

mq_status cmd_reproduce(int argc, char **argv, struct mq_err *err) {
  struct reproduce_run r = {.store = NULL};
  bool is_help;
  const struct cli_option options[] = {{"--plugin", 0, CLI_TEXT, &r.plugin, "FILE",
                                        "the shared object that the run's method came from", 0, 0}};
  mq_arena_init(&r.arena, 0);
  mq_status status =
      cli_parse(&r.common, &is_help, cli_find_command("reproduce"), options, 1, 2, 2, argc, argv, err);
  if (status == MQ_OK && !is_help) {
    status = run_reproduce(&r, err);
  }
  mq_store_close(r.store);
  mq_pool_destroy(r.pool);
  mq_arena_deinit(&r.arena);
  return status;
}
