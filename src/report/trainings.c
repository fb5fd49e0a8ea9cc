#include "report/trainings.h"

#include <math.h>
#include <string.h>

bool mq_training_has(const struct mq_run *run) {
  return !isnan(run->train_seconds);
}

/* ---- Choosing --------------------------------------------------------------------------------------- */

static void add_line(struct mq_training_group *group, const struct mq_report_run *run, const char *options,
                     size_t algorithm) {
  if (group->n == MQ_TRAININGS_MAX_LINES) {
    group->n_left_out++;
  } else {
    group->lines[group->n++] =
        (struct mq_training_line){.run = run, .options = options, .algorithm = algorithm};
  }
}

/* Keeps a group that has lines, as long as there is room. */
static void keep_group(struct mq_trainings *trainings, const struct mq_training_group *group) {
  if (group->n == 0) {
    return;
  }
  if (trainings->n == MQ_TRAININGS_MAX_GROUPS) {
    trainings->n_left_out++;
  } else {
    trainings->groups[trainings->n++] = *group;
  }
}

static const struct mq_report_run *first_training(const struct mq_table_cell *cell) {
  for (size_t i = 0; i < cell->n_runs; i++) {
    if (mq_training_has(&cell->runs[i]->run)) {
      return cell->runs[i];
    }
  }
  return NULL;
}

static void collect_quantized(struct mq_trainings *trainings, const struct mq_table *table, size_t first,
                              size_t n) {
  for (size_t t = 0; t < table->n_targets; t++) {
    struct mq_training_group group = {.model = table->rows[first].key->model, .target = table->targets[t]};
    for (size_t i = first; i < first + n; i++) {
      const struct mq_table_row *row = &table->rows[i];
      const struct mq_report_run *run = first_training(&row->cells[t]);
      if (run) {
        add_line(&group, run, row->options, row->algorithm);
      }
    }
    keep_group(trainings, &group);
  }
}

/* Float networks have no setting: those of one model stand together, numbered on their own. */
static void collect_float(struct mq_trainings *trainings, const struct mq_report_rows *rows) {
  struct mq_training_group group = {.model = NULL};
  for (size_t i = 0; i < rows->n_runs; i++) {
    const struct mq_run *run = &rows->runs[i].run;
    if (!mq_report_is_float(run) || !mq_training_has(run)) continue;
    if (group.model && strcmp(group.model, run->model) != 0) {
      keep_group(trainings, &group);
      group = (struct mq_training_group){.model = NULL};
    }
    group.model = run->model;
    add_line(&group, &rows->runs[i], run->options, group.n);
  }
  keep_group(trainings, &group);
}

/* ---- Reading ---------------------------------------------------------------------------------------- */

static mq_status read_line(const struct mq_training_line *line, struct mq_store *store,
                           struct mq_report_rows *rows, struct mq_err *err) {
  struct mq_report_run *run = &rows->runs[line->run - rows->runs];
  struct mq_run_history *history = mq_arena_alloc(&rows->arena, 1, sizeof *history);
  if (!history) {
    return mq_fail_memory(err, "history");
  }
  run->run.history = history;
  return mq_store_history(history, store, run->run.id, &rows->arena, err);
}

static mq_status read_store(struct mq_trainings *trainings, struct mq_report_rows *rows, const char *path,
                            size_t db, struct mq_err *err) {
  struct mq_store *store = NULL;
  mq_status status = MQ_OK;
  for (size_t g = 0; g < trainings->n; g++) {
    for (size_t i = 0; i < trainings->groups[g].n && status == MQ_OK; i++) {
      const struct mq_training_line *line = &trainings->groups[g].lines[i];
      if (line->run->db != db) continue;
      if (!store) {
        status = mq_store_open(&store, path, true, err);
      }
      if (status == MQ_OK) {
        status = read_line(line, store, rows, err);
      }
    }
  }
  mq_store_close(store);
  return status;
}

mq_status mq_trainings_read(struct mq_trainings *trainings, const struct mq_table *table,
                            struct mq_report_rows *rows, const char *const *db_paths, size_t n_dbs,
                            struct mq_err *err) {
  *trainings = (struct mq_trainings){
      .groups = mq_arena_alloc(&rows->arena, MQ_TRAININGS_MAX_GROUPS, sizeof *trainings->groups)};
  if (!trainings->groups) {
    return mq_fail_memory(err, "history");
  }
  for (size_t first = 0, n; first < table->n_rows; first += n) {
    for (n = 1;
         first + n < table->n_rows && mq_table_same_group(&table->rows[first], &table->rows[first + n]);) {
      n++;
    }
    collect_quantized(trainings, table, first, n);
  }
  collect_float(trainings, rows);
  mq_status status = MQ_OK;
  for (size_t db = 0; db < n_dbs && status == MQ_OK; db++) {
    status = read_store(trainings, rows, db_paths[db], db, err);
  }
  return status;
}
