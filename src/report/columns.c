#include "report/columns.h"

#include <stdlib.h>
#include <string.h>

#include "report/group.h"
#include "report/text.h"

/* ---- Settings --------------------------------------------------------------------------------------- */

struct setting {
  const char *name;
  int is_hardware, position; /* -1: no run knows */
  size_t group;
};

/* First what is no hardware: the hardware settings are compared with it. Then as in the plan. */
static int compare_settings(const void *a, const void *b) {
  const struct setting *x = a, *y = b;
  bool is_x = x->is_hardware != 0, is_y = y->is_hardware != 0;
  if (is_x != is_y) return is_x ? 1 : -1;
  if (x->position != y->position) { /* -1 comes last */
    return (unsigned)x->position > (unsigned)y->position ? 1 : -1;
  }
  return strcmp(x->name, y->name);
}

static bool is_in_column(const struct mq_run *run) {
  return run->target && !mq_report_is_float(run);
}

static void put_target_key(FILE *out, const void *context, size_t i) {
  const struct mq_run *run = &((const struct mq_report_rows *)context)->runs[i].run;
  mq_put_key(out, is_in_column(run) ? run->target : NULL);
}

/* One for each group of runs with a target; a run that failed before its target was read does not know what
 * that is. */
static size_t list_settings(struct setting *settings, const struct mq_groups *groups,
                            const struct mq_report_rows *rows) {
  size_t n = 0;
  for (size_t i = 0; i < rows->n_runs; i++) {
    const struct mq_run *run = &rows->runs[i].run;
    struct setting *setting = &settings[groups->of[i]];
    if (!is_in_column(run)) continue;
    if (!setting->name) {
      *setting = (struct setting){run->target, -1, -1, groups->of[i]};
      n++;
    }
    setting->is_hardware = setting->is_hardware < 0 ? run->is_hardware : setting->is_hardware;
    if ((unsigned)run->target_position < (unsigned)setting->position) {
      setting->position = run->target_position;
    }
  }
  size_t kept = 0;
  for (size_t g = 0; g < groups->n; g++) {
    if (settings[g].name) settings[kept++] = settings[g];
  }
  qsort(settings, n, sizeof *settings, compare_settings);
  return n;
}

mq_status mq_columns_collect(struct mq_table *table, size_t **column_of, struct mq_report_rows *rows,
                             struct mq_err *err) {
  struct mq_groups groups;
  mq_status status = mq_group(&groups, rows->n_runs, put_target_key, rows, &rows->arena, err);
  if (status != MQ_OK) {
    return status;
  }
  size_t most = groups.n + 1;
  struct setting *settings = mq_alloc(most, sizeof *settings);
  size_t *column = mq_alloc(most, sizeof *column); /* of a group */
  table->targets = mq_arena_alloc(&rows->arena, most, sizeof *table->targets);
  table->is_hardware = mq_arena_alloc(&rows->arena, most, sizeof *table->is_hardware);
  table->has_best = mq_arena_alloc(&rows->arena, most, sizeof *table->has_best);
  *column_of = mq_arena_alloc(&rows->arena, rows->n_runs + 1, sizeof **column_of);
  if (!settings || !column || !table->targets || !table->is_hardware || !table->has_best || !*column_of) {
    status = mq_fail_memory(err, "table");
    goto done;
  }
  table->n_targets = list_settings(settings, &groups, rows);
  for (size_t g = 0; g < groups.n; g++) {
    column[g] = MQ_NO_COLUMN;
  }
  for (size_t t = 0; t < table->n_targets; t++) {
    column[settings[t].group] = t;
    table->targets[t] = settings[t].name;
    table->is_hardware[t] = settings[t].is_hardware != 0;
    table->n_hardware += table->is_hardware[t];
  }
  table->has_gap = table->n_hardware > 0 && table->n_hardware < table->n_targets;
  for (size_t i = 0; i < rows->n_runs; i++) {
    (*column_of)[i] = column[groups.of[i]];
  }
done:
  mq_free(column);
  mq_free(settings);
  return status;
}

/* ---- What rows share -------------------------------------------------------------------------------- */

/* Options are parts with ", " between them. The length of the part at `text`. */
static size_t part_length(const char *text) {
  const char *end = strstr(text, ", ");
  return end ? (size_t)(end - text) : strlen(text);
}

static const char *next_part(const char *part) {
  part += part_length(part);
  return *part ? part + 2 : part;
}

static bool has_part(const char *options, const char *part, size_t n) {
  for (const char *p = options ? options : ""; *p; p = next_part(p)) {
    if (part_length(p) == n && !strncmp(p, part, n)) {
      return true;
    }
  }
  return false;
}

static bool all_have_part(const struct mq_table *table, const char *part, size_t n) {
  for (size_t i = 0; i < table->n_rows; i++) {
    if (!has_part(table->rows[i].key->options, part, n)) {
      return false;
    }
  }
  return true;
}

static void put_part(FILE *out, bool *is_first, const char *part, size_t n) {
  fputs(*is_first ? "" : ", ", out);
  fwrite(part, 1, n, out);
  *is_first = false;
}

/* The text that was written, in `arena`; NULL where that is nothing. */
static mq_status keep(const char **kept, struct mq_text *text, struct mq_arena *arena, struct mq_err *err) {
  mq_status status = mq_text_close(text, err);
  if (status == MQ_OK) {
    *kept = text->n ? mq_arena_strdup(arena, text->bytes) : NULL;
    status = text->n && !*kept ? mq_fail_memory(err, "table") : MQ_OK;
  }
  mq_text_deinit(text);
  return status;
}

/* "32 images, slices of 4": the parts of every row's options. */
static void put_shared_options(FILE *out, bool *is_first, const struct mq_table *table) {
  const char *options = table->n_rows ? table->rows[0].key->options : NULL;
  for (const char *p = options ? options : ""; *p; p = next_part(p)) {
    size_t n = part_length(p);
    if (all_have_part(table, p, n)) put_part(out, is_first, p, n);
  }
}

static mq_status keep_own_options(struct mq_table_row *row, const char *shared, struct mq_arena *arena,
                                  struct mq_err *err) {
  struct mq_text text;
  bool is_first = true;
  mq_status status = mq_text_open(&text, err);
  if (status != MQ_OK) {
    return status;
  }
  for (const char *p = row->key->options ? row->key->options : ""; *p; p = next_part(p)) {
    size_t n = part_length(p);
    if (!has_part(shared, p, n)) put_part(text.stream, &is_first, p, n);
  }
  return keep(&row->options, &text, arena, err);
}

/* Which of the texts that make a row differ somewhere from the first row's. */
static void find_differences(struct mq_table *table) {
  char first[512], other[512];
  for (size_t i = 1; i < table->n_rows; i++) {
    const struct mq_run *a = table->rows[0].key, *b = table->rows[i].key;
    table->has_methods |=
        strcmp(mq_table_method(first, sizeof first, a), mq_table_method(other, sizeof other, b)) != 0;
    table->has_observers |=
        strcmp(mq_table_observers(first, sizeof first, a), mq_table_observers(other, sizeof other, b)) != 0;
  }
}

mq_status mq_columns_share(struct mq_table *table, struct mq_arena *arena, struct mq_err *err) {
  struct mq_text options, all;
  const char *shared_options = NULL;
  char text[512];
  bool is_first = true;
  if (table->n_rows == 0) {
    return MQ_OK;
  }
  mq_status status = mq_text_open(&options, err);
  if (status == MQ_OK) {
    put_shared_options(options.stream, &is_first, table);
    status = keep(&shared_options, &options, arena, err);
  }
  for (size_t i = 0; i < table->n_rows && status == MQ_OK; i++) {
    status = keep_own_options(&table->rows[i], shared_options, arena, err);
    table->has_options |= table->rows[i].options != NULL;
  }
  if (status == MQ_OK) {
    status = mq_text_open(&all, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  find_differences(table);
  is_first = true;
  const struct mq_run *key = table->rows[0].key;
  if (!table->has_methods) {
    mq_table_method(text, sizeof text, key);
    put_part(all.stream, &is_first, text, strlen(text));
  }
  if (!table->has_observers && mq_table_observers(text, sizeof text, key)[0]) {
    put_part(all.stream, &is_first, "calibration w / a ", 18);
    fputs(text, all.stream);
  }
  if (shared_options) put_part(all.stream, &is_first, shared_options, strlen(shared_options));
  return keep(&table->shared, &all, arena, err);
}
