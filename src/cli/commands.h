#ifndef MQ_CLI_COMMANDS_H
#define MQ_CLI_COMMANDS_H

#include "cli/options.h"

mq_status cmd_bench(int argc, char **argv, struct mq_err *err);
mq_status cmd_report(int argc, char **argv, struct mq_err *err);
mq_status cmd_train(int argc, char **argv, struct mq_err *err);
mq_status cmd_quantize(int argc, char **argv, struct mq_err *err);
mq_status cmd_eval(int argc, char **argv, struct mq_err *err);
mq_status cmd_verify(int argc, char **argv, struct mq_err *err);
mq_status cmd_show(int argc, char **argv, struct mq_err *err);
mq_status cmd_reproduce(int argc, char **argv, struct mq_err *err);
mq_status cmd_diff(int argc, char **argv, struct mq_err *err);
mq_status cmd_export(int argc, char **argv, struct mq_err *err);
mq_status cmd_list(int argc, char **argv, struct mq_err *err);
mq_status cmd_data(int argc, char **argv, struct mq_err *err);
mq_status cmd_latency(int argc, char **argv, struct mq_err *err);
mq_status cmd_target(int argc, char **argv, struct mq_err *err);

#endif
