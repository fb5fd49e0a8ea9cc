/* Options of commands that train: the keys of a plan's `training`. */
#ifndef MQ_CLI_TRAINING_H
#define MQ_CLI_TRAINING_H

#include "cli/options.h"
#include "mqbench/bench.h"

enum {
  CLI_TRAINING_OPTIONS = 9
};
struct cli_training {
  const char *text[CLI_TRAINING_OPTIONS]; /* NULL: not given */
  struct cli_texts settings;              /* KEY=VALUE */
};

/* Writes options that fill `training`, CLI_TRAINING_OPTIONS + 1 at most, and answers how many. A float
 * network is trained with its batch normalisation as it is. */
size_t cli_training_options(struct cli_option *options, struct cli_training *training, bool is_float);
/* What was given, over the pipeline's defaults. */
mq_status cli_apply_training(struct mq_cell *cell, const struct cli_training *training,
                             struct mq_err *err) MQ_MUST_CHECK;
/* The first option that was given, for methods that take none; NULL: none. */
const char *cli_training_given(const struct cli_training *training);
/* Not converged, with nothing to write: the loss or a parameter was not finite. */
bool cli_has_no_result(const struct mq_run *run);
/* MQ_NO there; of a result that does not beat guessing, a warning. */
mq_status cli_check_converged(const struct mq_run *run, struct mq_err *err) MQ_MUST_CHECK;

#endif
