/* Stores of made-up runs for the tests of the report. */
#ifndef TEST_REPORT_HELP_REPORT_H
#define TEST_REPORT_HELP_REPORT_H

#include "help_runs.h"
#include "mqbench/report.h"

struct help_report {
  char directory[64];
  struct mq_arena arena;
};

int help_report_setup(void **state);
int help_report_teardown(void **state);

/* What distinguishes a made-up run; all else follows. */
struct help_cell {
  const char *model, *target, *method, *w_observer, *a_observer, *status, *message, *options;
  const char *eval, *data, *target_sha256, *cell; /* NULL: the same for all */
  bool is_no_hardware;                            /* "academic" never is */
  int position; /* of the target in the plan, from 1; 0: as in the paper's table, others unknown */
  int bits;
  int64_t seed;
  double top1; /* fraction of 1000 images */
};
struct mq_run help_report_run(struct help_report *help, const struct help_cell *cell);
/* Into DIR/name, which is created; returns the path, in the arena. */
const char *help_report_put(struct help_report *help, const char *name, const struct help_cell *cells,
                            size_t n);
/* A whole file of DIR/out. */
char *help_report_read(struct help_report *help, const char *name);
/* A small XML checker: tags nest, attributes are quoted, no bare < or &. */
void help_report_check_page(const char *text);
/* How often `what` occurs. */
size_t help_report_count(const char *text, const char *what);

#endif
