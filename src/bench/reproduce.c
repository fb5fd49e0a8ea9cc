/* A stored run, run again: are all its numbers the same bits? */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cache.h"

/* ---- Finding the run -------------------------------------------------------------------------------- */

/* The id that `name` is, -1 if it is no number. */
static int64_t id_of(const char *name) {
  char *end = NULL;
  bool is_number = name[0] && strspn(name, "0123456789") == strlen(name) && strlen(name) < 19;
  long long id = is_number ? strtoll(name, &end, 10) : -1;
  return (int64_t)id;
}

mq_status mq_reproduce_find(struct mq_run *run, struct mq_store *store, const char *name,
                            struct mq_arena *arena, struct mq_err *err) {
  struct mq_run *runs = NULL;
  size_t n = 0, n_found = 0, found = 0;
  int64_t id = id_of(name);
  mq_status status = mq_store_runs(&runs, &n, store, arena, err);
  if (status != MQ_OK) {
    return status;
  }
  for (size_t i = 0; i < n && id >= 0 && n_found == 0; i++) {
    if (runs[i].id == id) {
      n_found = 1;
      found = i;
    }
  }
  for (size_t i = 0; i < n && name[0] && !(id >= 0 && n_found > 0 && runs[found].id == id); i++) {
    if (!strncmp(runs[i].identity, name, strlen(name))) {
      n_found++;
      found = i;
    }
  }
  if (n_found != 1) {
    return n_found
               ? mq_fail(err, MQ_BAD_INPUT,
                         "run %.80s: the identities of %zu runs begin so: give more digits", name, n_found)
               : mq_fail(err, MQ_BAD_INPUT,
                         "run %.80s: not in the store of %zu runs: give an id or the first digits of an "
                         "identity",
                         name, n);
  }
  *run = runs[found];
  return strcmp(run->status, "failed") != 0
             ? MQ_OK
             : mq_fail(err, MQ_BAD_INPUT, "run %lld failed and recorded nothing to compare: %s",
                       (long long)run->id, run->message ? run->message : "no reason is known");
}

/* ---- Can it be compared? ---------------------------------------------------------------------------- */

static bool is_same_text(const char *a, const char *b) {
  return a && b ? !strcmp(a, b) : a == b;
}

static mq_status say(struct mq_reproduction *result, struct mq_arena *arena, const char *what,
                     const char *stored, const char *now, struct mq_err *err) {
  result->why_not = mq_arena_printf(arena, "%s: the run has %.80s, now it is %.80s", what,
                                    stored && stored[0] ? stored : "none", now && now[0] ? now : "none");
  return result->why_not ? MQ_OK : mq_fail_memory(err, "run");
}

/* Float bits are promised for one instruction set, and for one version of the code and of oneDNN. */
static mq_status compare_machine(struct mq_reproduction *result, const struct mq_run *run,
                                 struct mq_arena *arena, struct mq_err *err) {
  const char *const facts[][3] = {{"version", run->version, MQ_VERSION},
                                  {"instruction set", run->isa, mq_isa_name(mq_kernel_isa())},
                                  {"oneDNN", run->onednn, mq_kernel_onednn_version()}};
  mq_status status = MQ_OK;
  for (size_t i = 0; i < sizeof facts / sizeof facts[0] && !result->why_not && status == MQ_OK; i++) {
    if (!is_same_text(facts[i][1], facts[i][2])) {
      status = say(result, arena, facts[i][0], facts[i][1], facts[i][2], err);
    }
  }
  return status;
}

static mq_status compare_inputs(struct mq_reproduction *result, const struct mq_run *run,
                                const struct mq_cell *cell, struct mq_trial_cache *cache,
                                struct mq_arena *arena, struct mq_err *err) {
  struct mq_cell_inputs now;
  char identity[65], float_identity[65];
  mq_status status = mq_cache_identify(identity, float_identity, &now, cache, cell, arena, err);
  if (status != MQ_OK) {
    return status;
  }
  const char *const facts[][3] = {{"content of the model", run->model_sha256, now.model},
                                  {"content of the calibration data", run->data_sha256, now.calib},
                                  {"content of the evaluation data", run->eval_sha256, now.eval},
                                  {"content of the target", run->target_sha256, now.target}};
  for (size_t i = 0; i < sizeof facts / sizeof facts[0] && !result->why_not && status == MQ_OK; i++) {
    if (!is_same_text(facts[i][1] ? facts[i][1] : "", facts[i][2])) {
      status = say(result, arena, facts[i][0], facts[i][1], facts[i][2], err);
    }
  }
  if (status == MQ_OK && !result->why_not && strcmp(run->identity, identity) != 0) {
    status = say(result, arena, "identity (revisions of the code, weights outside the model's file)",
                 run->identity, identity, err);
  }
  return status;
}

/* ---- Comparing -------------------------------------------------------------------------------------- */

struct comparison {
  struct mq_reproduction *result;
  struct mq_arena *arena;
};

static void add(struct comparison *c, const struct mq_difference *difference) {
  struct mq_reproduction *r = c->result;
  r->n_all++;
  if (r->n_differences < MQ_MAX_DIFFERENCES) {
    r->differences[r->n_differences] = *difference;
    /* Names of points live in buffers of the caller; without memory the place is left unsaid. */
    const char *what = mq_arena_strdup(c->arena, difference->what);
    r->differences[r->n_differences++].what = what ? what : "a number";
  }
}

/* SQLite keeps the bits of every number but the sign of zero; NAN stands for none. */
static void compare_real(struct comparison *c, const char *what, double stored, double now) {
  c->result->n_compared++;
  if (!(stored == now || (isnan(stored) && isnan(now)))) {
    add(c, &(struct mq_difference){
               .what = what, .kind = MQ_DIFFERENCE_REAL, .stored_real = stored, .now_real = now});
  }
}

static void compare_count(struct comparison *c, const char *what, int64_t stored, int64_t now) {
  c->result->n_compared++;
  if (stored != now) {
    add(c, &(struct mq_difference){
               .what = what, .kind = MQ_DIFFERENCE_COUNT, .stored_count = stored, .now_count = now});
  }
}

static void compare_text(struct comparison *c, const char *what, const char *stored, const char *now) {
  c->result->n_compared++;
  if (!is_same_text(stored, now)) {
    add(c, &(struct mq_difference){
               .what = what, .kind = MQ_DIFFERENCE_TEXT, .stored_text = stored, .now_text = now});
  }
}

static void compare_outcomes(struct comparison *c, const struct mq_run *stored, const struct mq_run *now) {
  int64_t n = stored->images == now->images ? now->images : 0;
  if (!stored->is_correct || !now->is_correct) {
    compare_text(c, "is_correct", stored->is_correct ? "given" : NULL, now->is_correct ? "given" : NULL);
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    int a = stored->is_correct[i / 8] >> i % 8 & 1, b = now->is_correct[i / 8] >> i % 8 & 1;
    char what[64];
    if (a != b) {
      snprintf(what, sizeof what, "is_correct[%lld]", (long long)i);
    }
    compare_count(c, a == b ? "is_correct" : what, a, b);
  }
}

static void compare_runs(struct comparison *c, const struct mq_run *stored, const struct mq_run *now) {
  compare_text(c, "result_sha256", stored->result_sha256, now->result_sha256);
  compare_text(c, "status", stored->status, now->status);
  compare_real(c, "float_top1", stored->float_top1, now->float_top1);
  compare_count(c, "float_correct", stored->float_correct, now->float_correct);
  compare_real(c, "top1", stored->top1, now->top1);
  compare_real(c, "top5", stored->top5, now->top5);
  compare_real(c, "loss", stored->loss, now->loss);
  compare_count(c, "correct", stored->correct, now->correct);
  compare_count(c, "images", stored->images, now->images);
  compare_real(c, "best_top1", stored->best_top1, now->best_top1);
  compare_count(c, "w_bits", stored->w_bits, now->w_bits);
  compare_count(c, "a_bits", stored->a_bits, now->a_bits);
  compare_count(c, "seed", stored->seed, now->seed);
  compare_outcomes(c, stored, now);
}

static void compare_point(struct comparison *c, const struct mq_run_point *stored,
                          const struct mq_run_point *now) {
  char place[256], what[320];
  snprintf(place, sizeof place, "point %.200s (%.20s)", now->tensor, now->kind);
  snprintf(what, sizeof what, "%s: bits", place);
  compare_count(c, what, stored->bits, now->bits);
  snprintf(what, sizeof what, "%s: lo", place);
  compare_real(c, what, stored->lo, now->lo);
  snprintf(what, sizeof what, "%s: hi", place);
  compare_real(c, what, stored->hi, now->hi);
  snprintf(what, sizeof what, "%s: channels", place);
  compare_count(c, what, stored->n_channels, now->n_channels);
  for (int64_t i = 0; i < now->n_channels && now->n_channels == stored->n_channels; i++) {
    c->result->n_compared += 2;
    if (memcmp(&stored->scale[i], &now->scale[i], sizeof now->scale[i]) != 0) {
      snprintf(what, sizeof what, "%s: scale[%lld]", place, (long long)i);
      add(c, &(struct mq_difference){.what = what,
                                     .kind = MQ_DIFFERENCE_REAL,
                                     .stored_real = (double)stored->scale[i],
                                     .now_real = (double)now->scale[i]});
    }
    if (stored->zero_point[i] != now->zero_point[i]) {
      snprintf(what, sizeof what, "%s: zero_point[%lld]", place, (long long)i);
      add(c, &(struct mq_difference){.what = what,
                                     .kind = MQ_DIFFERENCE_COUNT,
                                     .stored_count = stored->zero_point[i],
                                     .now_count = now->zero_point[i]});
    }
  }
}

static void compare_points(struct comparison *c, const struct mq_run_point *stored, size_t n_stored,
                           const struct mq_run_point *now, size_t n_now) {
  compare_count(c, "points", (int64_t)n_stored, (int64_t)n_now);
  for (size_t i = 0; i < n_now && n_now == n_stored; i++) {
    char what[64];
    snprintf(what, sizeof what, "point %zu: kind", i);
    compare_text(c, what, stored[i].kind, now[i].kind);
    compare_point(c, &stored[i], &now[i]);
  }
}

/* The store has no place for what is not finite. */
static double as_stored(double x) {
  return isfinite(x) ? x : (double)NAN;
}

static void compare_curves(struct comparison *c, const struct mq_run_history *stored,
                           const struct mq_run_history *now) {
  static const char *const names[] = {"epoch", "rate", "loss", "train_top1", "test_top1"};
  compare_count(c, "curve", (int64_t)stored->n_curve, (int64_t)now->n_curve);
  for (size_t i = 0; i < now->n_curve && now->n_curve == stored->n_curve; i++) {
    const struct mq_run_curve *p = &stored->curve[i], *q = &now->curve[i];
    const double before[] = {p->epoch, p->rate, p->loss, p->train_top1, p->test_top1};
    const double after[] = {q->epoch, q->rate, q->loss, q->train_top1, q->test_top1};
    char what[64];
    snprintf(what, sizeof what, "curve[%zu].step", i);
    compare_count(c, what, p->step, q->step);
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
      snprintf(what, sizeof what, "curve[%zu].%s", i, names[k]);
      compare_real(c, what, before[k], as_stored(after[k]));
    }
  }
}

static void compare_ranges(struct comparison *c, const struct mq_run_history *stored,
                           const struct mq_run_history *now) {
  compare_count(c, "ranges", (int64_t)stored->n_ranges, (int64_t)now->n_ranges);
  for (size_t i = 0; i < now->n_ranges && now->n_ranges == stored->n_ranges; i++) {
    const struct mq_run_range *p = &stored->ranges[i], *q = &now->ranges[i];
    char what[96];
    snprintf(what, sizeof what, "ranges[%zu].step", i);
    compare_count(c, what, p->step, q->step);
    snprintf(what, sizeof what, "ranges[%zu].point", i);
    compare_count(c, what, p->point, q->point);
    snprintf(what, sizeof what, "range of point %lld at step %lld: lo", (long long)q->point,
             (long long)q->step);
    compare_real(c, what, p->lo, as_stored(q->lo));
    snprintf(what, sizeof what, "range of point %lld at step %lld: hi", (long long)q->point,
             (long long)q->step);
    compare_real(c, what, p->hi, as_stored(q->hi));
  }
}

/* What the store holds of a run besides its row. */
struct stored {
  const struct mq_run *run;
  struct mq_run_point *points;
  size_t n_points;
  struct mq_run_history history;
};

static mq_status read_stored(struct stored *stored, struct mq_store *store, const struct mq_run *run,
                             struct mq_arena *arena, struct mq_err *err) {
  *stored = (struct stored){.run = run};
  mq_status status = mq_store_points(&stored->points, &stored->n_points, store, run->id, arena, err);
  return status == MQ_OK ? mq_store_history(&stored->history, store, run->id, arena, err) : status;
}

static mq_status compare(struct mq_reproduction *result, const struct stored *stored,
                         const struct mq_trial_result *trial, struct mq_arena *arena, struct mq_err *err) {
  static const struct mq_run_history none;
  const struct mq_run_history *now = trial->run.history ? trial->run.history : &none;
  struct comparison c = {.result = result, .arena = arena};
  result->differences = mq_arena_alloc(arena, MQ_MAX_DIFFERENCES, sizeof *result->differences);
  if (!result->differences) {
    return mq_fail_memory(err, "differences");
  }
  compare_runs(&c, stored->run, &trial->run);
  compare_points(&c, stored->points, stored->n_points, trial->points, trial->n_points);
  compare_curves(&c, &stored->history, now);
  compare_ranges(&c, &stored->history, now);
  return MQ_OK;
}

/* ---- The whole -------------------------------------------------------------------------------------- */

static mq_status run_again(struct mq_reproduction *result, const struct stored *stored,
                           const struct mq_cell *cell, const struct mq_trial_options *options,
                           struct mq_arena *arena, struct mq_err *err) {
  struct mq_trial_result trial;
  double start = mq_now();
  mq_status status = mq_trial_run(&trial, cell, options, arena, err);
  result->seconds = mq_now() - start;
  if (status == MQ_OK && trial.failure != MQ_OK) {
    status = mq_fail(err, trial.failure, "%s", trial.run.message);
  }
  return status == MQ_OK ? compare(result, stored, &trial, arena, err) : status;
}

mq_status mq_reproduce(struct mq_reproduction *result, struct mq_store *store, const struct mq_run *run,
                       struct mq_pool *pool, struct mq_arena *arena, struct mq_err *err) {
  struct mq_trial_options options = {.pool = pool};
  struct mq_cell cell;
  struct stored stored;
  struct mq_err why = {.status = MQ_OK};
  *result = (struct mq_reproduction){.seconds = (double)NAN};
  mq_status status = compare_machine(result, run, arena, err); /* other versions may write other cells */
  if (status != MQ_OK || result->why_not) {
    return status;
  }
  status = mq_cell_parse(&cell, run->cell, arena, &why);
  if (status != MQ_OK) {
    return mq_fail(err, status, "run %lld: %s", (long long)run->id, why.message);
  }
  status = read_stored(&stored, store, run, arena, err);
  if (status == MQ_OK) {
    status = mq_trial_cache_create(&options.cache, NULL, err);
  }
  if (status == MQ_OK) {
    status = compare_inputs(result, run, &cell, options.cache, arena, err);
  }
  if (status == MQ_OK && !result->why_not) {
    status = run_again(result, &stored, &cell, &options, arena, err);
  }
  mq_trial_cache_destroy(options.cache);
  return status;
}
