/* Runs that only their inputs' content tells apart get it named in their options: they are other experiments,
 * not other seeds of one. */
#include "report/labels.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "report/text.h"

#define SHORTEST_HASH 6

/* In the order in which labels stand. Each kind counts where all kinds before it agree. */
typedef enum hash_kind {
  HASH_MODEL,
  HASH_EVAL,
  HASH_FLOAT, /* weights outside the model file, revision of the code */
  HASH_CALIB,
  HASH_TARGET,
  HASH_SETTINGS, /* what the options leave unsaid */
  HASH_IDENTITY, /* one seed twice: revisions of the observers */
  HASH_COUNT
} hash_kind;

static const char *const hash_names[HASH_COUNT] = {
    [HASH_MODEL] = "model",   [HASH_EVAL] = "eval data",    [HASH_FLOAT] = "baseline", [HASH_CALIB] = "data",
    [HASH_TARGET] = "target", [HASH_SETTINGS] = "settings", [HASH_IDENTITY] = "run",
};

struct labelled {
  const struct mq_run *run;
  char settings[65];
};

static const char *hash_of(const struct labelled *item, hash_kind kind) {
  const struct mq_run *run = item->run;
  const char *const hashes[HASH_COUNT] = {
      [HASH_MODEL] = run->model_sha256,   [HASH_EVAL] = run->eval_sha256,
      [HASH_FLOAT] = run->float_identity, [HASH_CALIB] = run->data_sha256,
      [HASH_TARGET] = run->target_sha256, [HASH_SETTINGS] = item->settings,
      [HASH_IDENTITY] = run->identity,
  };
  return hashes[kind];
}

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

/* Runs that failed before their inputs were read have no hashes, and no numbers to keep apart. */
static bool is_comparable(const struct mq_run *a, const struct mq_run *b) {
  return a->model_sha256 && b->model_sha256 && !strcmp(a->model, b->model) && mq_table_same_algorithm(a, b);
}

/* The first kind in which two runs differ that should not; HASH_COUNT if there is none. */
static hash_kind difference(const struct labelled *a, const struct labelled *b) {
  bool is_same_target = mq_report_same_text(a->run->target, b->run->target);
  bool is_same_seed = a->run->seed == b->run->seed;
  for (hash_kind kind = 0; kind < HASH_COUNT; kind++) {
    bool counts = (kind < HASH_TARGET || is_same_target) && (kind != HASH_IDENTITY || is_same_seed);
    const char *x = hash_of(a, kind), *y = hash_of(b, kind);
    if (counts && x && y && strcmp(x, y) != 0) {
      return kind;
    }
  }
  return HASH_COUNT;
}

/* How many digits of each hash of a run tell it from the others' (0: none does). */
static void measure_lengths(size_t lengths[HASH_COUNT], const struct labelled *items, size_t n, size_t i) {
  for (size_t j = 0; j < n; j++) {
    if (j == i || !is_comparable(items[i].run, items[j].run)) continue;
    hash_kind kind = difference(&items[i], &items[j]);
    if (kind == HASH_COUNT) continue;
    const char *x = hash_of(&items[i], kind), *y = hash_of(&items[j], kind);
    size_t length = 0;
    while (x[length] && x[length] == y[length]) {
      length++;
    }
    length = length + 1 > SHORTEST_HASH ? length + 1 : SHORTEST_HASH;
    lengths[kind] = length > lengths[kind] ? length : lengths[kind];
  }
}

static mq_status label(const char **options, const struct labelled *items, size_t n, size_t i,
                       struct mq_arena *arena, struct mq_err *err) {
  size_t lengths[HASH_COUNT] = {0};
  *options = items[i].run->options;
  measure_lengths(lengths, items, n, i);
  for (hash_kind kind = 0; kind < HASH_COUNT; kind++) {
    if (lengths[kind] == 0) continue;
    *options = mq_arena_printf(arena, "%s%s%s %.*s", *options ? *options : "", *options ? ", " : "",
                               hash_names[kind], (int)lengths[kind], hash_of(&items[i], kind));
    if (!*options) {
      return mq_fail_memory(err, "options of a run");
    }
  }
  return MQ_OK;
}

mq_status mq_report_label(struct mq_report_rows *rows, struct mq_err *err) {
  size_t n = rows->n_runs;
  struct labelled *items = mq_alloc(n ? n : 1, sizeof *items);
  const char **options = mq_alloc(n ? n : 1, sizeof *options);
  mq_status status = items && options ? MQ_OK : mq_fail_memory(err, "labels of runs");
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    items[i].run = &rows->runs[i].run;
    status = hash_settings(&items[i], err);
  }
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    status = label(&options[i], items, n, i, &rows->arena, err);
  }
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    rows->runs[i].run.options = options[i];
  }
  mq_free(options);
  mq_free(items);
  return status;
}
