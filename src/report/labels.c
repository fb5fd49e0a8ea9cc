/* Runs that only their inputs' content tells apart get it named in their options: they are other experiments,
 * not other seeds of one. */
#include "report/labels.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "report/text.h"

#define SHORTEST_HASH 6

/* What runs are sorted by. Those that agree in the fields before a hash should agree in the hash: it becomes
 * a label where they do not. Runs of other targets are not compared in what comes behind the target. */
typedef enum field_id {
  FIELD_MODEL_NAME,
  FIELD_METHOD,
  FIELD_VARIANT,
  FIELD_W_OBSERVER,
  FIELD_A_OBSERVER,
  FIELD_OPTIONS,
  FIELD_BITS,
  FIELD_MODEL,
  FIELD_EVAL,
  FIELD_FLOAT, /* weights outside the model file, revision of the code */
  FIELD_CALIB,
  FIELD_TARGET_NAME,
  FIELD_TARGET,
  FIELD_SETTINGS, /* what the options leave unsaid */
  FIELD_SEED,
  FIELD_IDENTITY, /* one seed twice: revisions of the observers */
  FIELD_COUNT
} field_id;

/* NULL: no hash. */
static const char *const hash_names[FIELD_COUNT] = {
    [FIELD_MODEL] = "model",  [FIELD_EVAL] = "eval data", [FIELD_FLOAT] = "baseline",
    [FIELD_CALIB] = "data",   [FIELD_TARGET] = "target",  [FIELD_SETTINGS] = "settings",
    [FIELD_IDENTITY] = "run",
};

struct labelled {
  struct mq_run *run;
  const char *field[FIELD_COUNT]; /* "" where a run has none */
  size_t length[FIELD_COUNT];     /* digits of a hash that tell it from the others'; 0: all agree */
  char bits[32], seed[24], settings[65];
};

/* ---- Settings --------------------------------------------------------------------------------------- */

static bool starts_with(const char *text, const char *prefix) {
  return !strncmp(text, prefix, strlen(prefix));
}

/* The fields of a data argument that are not places. */
static void put_data_fields(FILE *out, const char *line, size_t n) {
  const char *end = line + n;
  for (const char *field = memchr(line, ',', n); field;) {
    const char *next = memchr(field + 1, ',', (size_t)(end - field - 1));
    size_t length = (size_t)((next ? next : end) - field);
    if (!starts_with(field, ",labels=") && !starts_with(field, ",cache=") && !starts_with(field, ",list=")) {
      fwrite(field, 1, length, out);
    }
    field = next;
  }
  fputc('\n', out);
}

/* A cell's text without its seed and without places, which may differ between machines. */
static void put_settings(FILE *out, const char *cell) {
  static const char *const skipped[] = {"seed=", "model=", "target="};
  for (const char *line = cell; *line;) {
    size_t n = strcspn(line, "\n");
    bool is_skipped = false;
    for (size_t i = 0; i < sizeof skipped / sizeof skipped[0]; i++) {
      is_skipped |= starts_with(line, skipped[i]);
    }
    if (starts_with(line, "calib_data=") || starts_with(line, "eval_data=")) {
      put_data_fields(out, line, n);
    } else if (!is_skipped) {
      fwrite(line, 1, n, out);
      fputc('\n', out);
    }
    line += n + (line[n] == '\n');
  }
}

static mq_status hash_settings(struct labelled *item, struct mq_err *err) {
  struct mq_text text;
  mq_status status = mq_text_open(&text, err);
  if (status == MQ_OK) {
    put_settings(text.stream, item->run->cell ? item->run->cell : "");
    status = mq_text_close(&text, err);
  }
  if (status == MQ_OK) {
    mq_sha256_bytes(item->settings, text.bytes, text.n);
  }
  mq_text_deinit(&text);
  return status;
}

/* ---- Labels ----------------------------------------------------------------------------------------- */

static mq_status fill_fields(struct labelled *item, struct mq_run *run, struct mq_err *err) {
  item->run = run;
  snprintf(item->bits, sizeof item->bits, "%d %d", run->w_bits, run->a_bits);
  snprintf(item->seed, sizeof item->seed, "%" PRId64, run->seed);
  const char *const fields[FIELD_COUNT] = {
      [FIELD_MODEL_NAME] = run->model,
      [FIELD_METHOD] = run->method,
      [FIELD_VARIANT] = run->variant,
      [FIELD_W_OBSERVER] = run->w_observer,
      [FIELD_A_OBSERVER] = run->a_observer,
      [FIELD_OPTIONS] = run->options,
      [FIELD_BITS] = item->bits,
      [FIELD_MODEL] = run->model_sha256,
      [FIELD_EVAL] = run->eval_sha256,
      [FIELD_FLOAT] = run->float_identity,
      [FIELD_CALIB] = run->data_sha256,
      [FIELD_TARGET_NAME] = run->target,
      [FIELD_TARGET] = run->target_sha256,
      [FIELD_SETTINGS] = item->settings,
      [FIELD_SEED] = item->seed,
      [FIELD_IDENTITY] = run->identity,
  };
  for (field_id f = 0; f < FIELD_COUNT; f++) {
    item->field[f] = fields[f] ? fields[f] : "";
  }
  return hash_settings(item, err);
}

/* The first field in which two runs differ, FIELD_COUNT if there is none. */
static field_id difference(const struct labelled *a, const struct labelled *b) {
  field_id f = 0;
  while (f < FIELD_COUNT && !strcmp(a->field[f], b->field[f])) {
    f++;
  }
  return f;
}

static int compare_items(const void *a, const void *b) {
  const struct labelled *x = *(struct labelled *const *)a, *y = *(struct labelled *const *)b;
  field_id f = difference(x, y);
  return f == FIELD_COUNT ? 0 : strcmp(x->field[f], y->field[f]);
}

static void lengthen(struct labelled *item, const struct labelled *other, field_id f) {
  const char *x = item->field[f], *y = other->field[f];
  size_t length = 0;
  if (!*x || !*y) {
    return;
  }
  while (x[length] && x[length] == y[length]) {
    length++;
  }
  length = length + 1 > SHORTEST_HASH ? length + 1 : SHORTEST_HASH;
  item->length[f] = length > item->length[f] ? length : item->length[f];
}

/* Of the runs that first differ from a run in a given field, the one nearest to it in sorted order agrees
 * with it longest. One sweep finds the nearest before each run. */
static void sweep(struct labelled *const *sorted, size_t n) {
  const struct labelled *nearest[FIELD_COUNT] = {NULL}; /* by the field in which it first differs */
  for (size_t i = 1; i < n; i++) {
    field_id first = difference(sorted[i - 1], sorted[i]);
    if (first < FIELD_COUNT) {
      nearest[first] = sorted[i - 1];
    }
    for (field_id f = first + 1; f < FIELD_COUNT; f++) {
      nearest[f] = NULL;
    }
    for (field_id f = 0; f < FIELD_COUNT; f++) {
      if (hash_names[f] && nearest[f]) lengthen(sorted[i], nearest[f], f);
    }
  }
}

static void reverse(struct labelled **sorted, size_t n) {
  for (size_t i = 0; i < n / 2; i++) {
    struct labelled *item = sorted[i];
    sorted[i] = sorted[n - 1 - i];
    sorted[n - 1 - i] = item;
  }
}

static mq_status name_differences(struct labelled *item, struct mq_arena *arena, struct mq_err *err) {
  struct mq_run *run = item->run;
  for (field_id f = 0; f < FIELD_COUNT; f++) {
    if (item->length[f] == 0) continue;
    run->options =
        mq_arena_printf(arena, "%s%s%s %.*s", run->options ? run->options : "", run->options ? ", " : "",
                        hash_names[f], (int)item->length[f], item->field[f]);
    if (!run->options) {
      return mq_fail_memory(err, "options of a run");
    }
  }
  return MQ_OK;
}

mq_status mq_report_label(struct mq_report_rows *rows, struct mq_err *err) {
  size_t n = 0, most = rows->n_runs ? rows->n_runs : 1;
  struct labelled *items = mq_alloc(most, sizeof *items), **sorted = mq_alloc(most, sizeof *sorted);
  mq_status status = items && sorted ? MQ_OK : mq_fail_memory(err, "labels of runs");
  for (size_t i = 0; i < rows->n_runs && status == MQ_OK; i++) {
    struct mq_run *run = &rows->runs[i].run;
    if (run->model_sha256) { /* a run that failed before its inputs were read has no numbers to keep apart */
      sorted[n] = &items[n];
      status = fill_fields(&items[n++], run, err);
    }
  }
  if (status == MQ_OK) {
    qsort(sorted, n, sizeof *sorted, compare_items);
    sweep(sorted, n);
    reverse(sorted, n);
    sweep(sorted, n);
  }
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    status = name_differences(&items[i], &rows->arena, err);
  }
  mq_free(sorted);
  mq_free(items);
  return status;
}
