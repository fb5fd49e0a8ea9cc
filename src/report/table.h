/* The main table in the paper's form: one row for each model, method, bits and calibration, one column for
 * each setting, and the measures over settings. Accuracies are fractions here; printing makes percent. */
#ifndef MQ_REPORT_TABLE_H
#define MQ_REPORT_TABLE_H

#include "report/rows.h"

/* All seeds of one row in one setting. */
struct mq_table_cell {
  const struct mq_report_run **runs; /* in order of seed */
  size_t n_runs, n_done, n_nc, n_failed;
  double mean;  /* over converged seeds; NAN if there is none */
  double std;   /* over converged seeds, n - 1; NAN below two */
  double best;  /* mean of the best of the judgements while training; NAN: nothing was trained */
  double value; /* what measures over settings take: not converged counts 0; NAN where nothing finished */
};

struct mq_table_row {
  const struct mq_run *key; /* any run of the row: model, method, bits, ... */
  const char *options;      /* those that not all rows share; NULL: none */
  size_t algorithm; /* number of its method, calibration and options among those of all rows, bits left
                       aside; rows of a float model have none and the number after the last */
  double float_top1;
  struct mq_table_cell *cells; /* one for each target */
  double hw_mean, hw_std;      /* over the hardware settings that finished */
  size_t n_hardware;           /* how many those are */
  double gap;                  /* the first setting without hardware minus hw_mean; NAN unless has_gap */
};

/* One algorithm and bit-width over several models. */
struct mq_table_mean {
  const struct mq_run *key;
  const char *options; /* as in a row */
  size_t n_models;
  double *values; /* one for each target: mean over the models that finished there */
};

struct mq_table {
  const char **targets; /* those without hardware, then hardware, both as in the plan, others by name */
  bool *is_hardware, *has_best; /* has_best: methods that train are in the column */
  bool has_gap;                 /* between targets[0], which is no hardware, and the hardware settings */
  size_t n_targets, n_hardware;
  struct mq_table_row *rows; /* by model, bits, method and calibration; groups to compare stand together */
  size_t n_rows, n_algorithms;
  struct mq_table_mean *means; /* of what two or more models share */
  size_t n_means;
  bool has_methods, has_observers, has_options; /* columns: not all rows agree */
  const char *shared;                           /* what they agree in, for a caption; NULL: nothing */
};

/* Everything lives in rows->arena. */
mq_status mq_table_build(struct mq_table *table, struct mq_report_rows *rows,
                         struct mq_err *err) MQ_MUST_CHECK;
bool mq_table_same_bits(const struct mq_run *a, const struct mq_run *b);
bool mq_table_same_model(const struct mq_run *a, const struct mq_run *b);
/* Rows that are compared with each other: the same model and bits. */
bool mq_table_same_group(const struct mq_table_row *a, const struct mq_table_row *b);

/* Texts of a row's key, in caller storage: "W4A8", "ptq (published)", "minmax / mse". Returned. */
char *mq_table_bits(char text[32], const struct mq_run *run);
char *mq_table_method(char *text, size_t bytes, const struct mq_run *run);
char *mq_table_observers(char *text, size_t bytes, const struct mq_run *run);

#endif
