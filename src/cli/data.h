/* --data and --eval-data: what is calibrated or trained on, and what is measured on. */
#ifndef MQ_CLI_DATA_H
#define MQ_CLI_DATA_H

#include "mqbench/data.h"

struct cli_data {
  struct mq_data_spec train, eval;
  char *train_text, *eval_text; /* canonical data arguments */
  bool measures_training;       /* both are the same images */
};

/* eval_argument NULL: the data set's own test split, or its images themselves. */
mq_status cli_data_open(struct cli_data *data, const char *argument, const char *eval_argument,
                        struct mq_err *err) MQ_MUST_CHECK;
void cli_data_close(struct cli_data *data);
/* Says when the accuracy is not an honest one. */
void cli_data_warn(const struct cli_data *data);

#endif
