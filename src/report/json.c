/* The tables and every run as one JSON object. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "report/formats.h"

static json_t *real_or_null(double x) {
  return isfinite(x) ? json_real(x) : json_null();
}

static json_t *count_or_null(int64_t n) {
  return n == -1 ? json_null() : json_integer(n);
}

static json_t *text_or_null(const char *text) {
  return text ? json_string(text) : json_null();
}

struct text_field {
  const char *name, *text;
};

static void set_texts(json_t *object, const struct text_field *fields, size_t n) {
  for (size_t i = 0; i < n; i++) {
    json_object_set_new(object, fields[i].name, text_or_null(fields[i].text));
  }
}

static void set_key(json_t *object, const struct mq_run *run) {
  const struct text_field fields[] = {
      {"model", run->model},           {"method", run->method},         {"variant", run->variant},
      {"w_observer", run->w_observer}, {"a_observer", run->a_observer}, {"options", run->options},
  };
  set_texts(object, fields, sizeof fields / sizeof fields[0]);
  json_object_set_new(object, "w_bits", count_or_null(run->w_bits));
  json_object_set_new(object, "a_bits", count_or_null(run->a_bits));
}

static json_t *cell_object(const struct mq_table_cell *cell) {
  const char *status = !isnan(cell->mean) || cell->n_done ? "done" : cell->n_nc ? "nc" : "failed";
  return json_pack("{s:s, s:o, s:o, s:o, s:I, s:I, s:I, s:o}", "status", status, "mean",
                   real_or_null(cell->mean), "std", real_or_null(cell->std), "value",
                   real_or_null(cell->value), "done", (json_int_t)cell->n_done, "nc", (json_int_t)cell->n_nc,
                   "failed", (json_int_t)cell->n_failed, "best", real_or_null(cell->best));
}

static json_t *row_object(const struct mq_table *table, const struct mq_table_row *row) {
  json_t *object = json_object(), *settings = json_object();
  set_key(object, row->key);
  for (size_t t = 0; t < table->n_targets; t++) {
    if (row->cells[t].n_runs) {
      json_object_set_new(settings, table->targets[t], cell_object(&row->cells[t]));
    }
  }
  json_object_set_new(object, "float", real_or_null(row->float_top1));
  json_object_set_new(object, "settings", settings);
  json_object_set_new(object, "hw_mean", real_or_null(row->hw_mean));
  json_object_set_new(object, "hw_std", real_or_null(row->hw_std));
  json_object_set_new(object, "hw_settings", json_integer((json_int_t)row->n_hardware));
  json_object_set_new(object, "gap", real_or_null(row->gap));
  return object;
}

static json_t *mean_object(const struct mq_table *table, const struct mq_table_mean *mean) {
  json_t *object = json_object(), *settings = json_object();
  set_key(object, mean->key);
  json_object_del(object, "model");
  for (size_t t = 0; t < table->n_targets; t++) {
    json_object_set_new(settings, table->targets[t], real_or_null(mean->values[t]));
  }
  json_object_set_new(object, "models", json_integer((json_int_t)mean->n_models));
  json_object_set_new(object, "settings", settings);
  return object;
}

static json_t *run_object(const struct mq_run *run) {
  const struct text_field fields[] = {
      {"target", run->target},
      {"status", run->status},
      {"message", run->message},
      {"plan", run->plan},
      {"started", run->started},
      {"version", run->version},
      {"cpu", run->cpu},
      {"isa", run->isa},
      {"onednn", run->onednn},
      {"model_sha256", run->model_sha256},
      {"data_sha256", run->data_sha256},
      {"eval_sha256", run->eval_sha256},
      {"target_sha256", run->target_sha256},
      {"identity", run->identity},
      {"result_sha256", run->result_sha256},
      {"cell", run->cell},
  };
  json_t *object = json_object();
  set_key(object, run);
  set_texts(object, fields, sizeof fields / sizeof fields[0]);
  json_object_set_new(object, "seed", json_integer(run->seed));
  json_object_set_new(object, "images", count_or_null(run->images));
  json_object_set_new(object, "correct", count_or_null(run->correct));
  json_object_set_new(object, "float_correct", count_or_null(run->float_correct));
  json_object_set_new(object, "float_top1", real_or_null(run->float_top1));
  json_object_set_new(object, "top1", real_or_null(run->top1));
  json_object_set_new(object, "top5", real_or_null(run->top5));
  json_object_set_new(object, "loss", real_or_null(run->loss));
  json_object_set_new(object, "seconds", real_or_null(run->seconds));
  json_object_set_new(object, "calib_seconds", real_or_null(run->calib_seconds));
  json_object_set_new(object, "eval_seconds", real_or_null(run->eval_seconds));
  json_object_set_new(object, "best_top1", real_or_null(run->best_top1));
  json_object_set_new(object, "train_seconds", real_or_null(run->train_seconds));
  return object;
}

mq_status mq_report_write_json(FILE *out, const struct mq_report *report, struct mq_err *err) {
  const struct mq_table *table = &report->table;
  json_t *root = json_object(), *targets = json_array(), *rows = json_array(), *means = json_array(),
         *runs = json_array();
  for (size_t t = 0; t < table->n_targets; t++) {
    json_array_append_new(targets, json_string(table->targets[t]));
  }
  for (size_t i = 0; i < table->n_rows; i++) {
    json_array_append_new(rows, row_object(table, &table->rows[i]));
  }
  for (size_t i = 0; i < table->n_means; i++) {
    json_array_append_new(means, mean_object(table, &table->means[i]));
  }
  for (size_t i = 0; i < report->rows.n_runs; i++) {
    json_array_append_new(runs, run_object(&report->rows.runs[i].run));
  }
  json_object_set_new(root, "targets", targets);
  json_object_set_new(root, "rows", rows);
  json_object_set_new(root, "means", means);
  json_object_set_new(root, "runs", runs);
  json_object_set_new(root, "stale", json_integer((json_int_t)report->rows.n_stale));
  int failed = root ? json_dumpf(root, out, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : -1;
  json_decref(root);
  fputc('\n', out);
  return failed ? mq_fail(err, MQ_FAILED, "cannot write the report as JSON") : MQ_OK;
}
