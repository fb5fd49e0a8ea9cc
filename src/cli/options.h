/* Command-line options: one table per command, common flags added. */
#ifndef MQ_CLI_OPTIONS_H
#define MQ_CLI_OPTIONS_H

#include "mqbench/base.h"

typedef enum cli_kind {
  CLI_FLAG,  /* bool */
  CLI_INT,   /* int64_t within least..most */
  CLI_REAL,  /* double */
  CLI_TEXT,  /* const char * */
  CLI_TEXTS, /* struct cli_texts: may be given again */
  CLI_BYTES, /* int64_t with an optional K, M, G */
} cli_kind;

#define CLI_MAX_TEXTS 256
struct cli_texts {
  const char *text[CLI_MAX_TEXTS];
  size_t n;
};

struct cli_option {
  const char *name; /* "--calib" */
  char letter;      /* 'o' for -o; 0: none */
  cli_kind kind;
  void *target;
  const char *value_name; /* "N" */
  const char *help;
  int64_t least, most; /* CLI_INT */
};

/* What every command takes, and what it was given besides options. */
struct cli_common {
  int64_t threads, seed, max_memory;
  bool is_json, is_quiet, is_strict;
  const char *isa;
  struct cli_texts arguments;
};

struct cli_command {
  const char *name, *usage, *summary;
  mq_status (*run)(int argc, char **argv, struct mq_err *err);
  const char *details; /* further paragraphs of the help text, or NULL */
};
extern const struct cli_command cli_commands[];
extern const size_t cli_n_commands;

/* Parses argv behind the command's name. Prints the command's help and sets *is_help when asked to. */
mq_status cli_parse(struct cli_common *common, bool *is_help, const struct cli_command *command,
                    const struct cli_option *options, size_t n_options, size_t least_arguments,
                    size_t most_arguments, int argc, char **argv, struct mq_err *err) MQ_MUST_CHECK;
const struct cli_command *cli_find_command(const char *name);
void cli_print_help(void);
/* --json was given: main prints failures as JSON too. */
bool cli_wants_json(void);
void cli_note_json(const char *word); /* for words that no command parses */

#endif
