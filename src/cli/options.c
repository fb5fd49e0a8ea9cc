#include "cli/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_OPTIONS 64

static bool wants_json;

bool cli_wants_json(void) {
  return wants_json;
}
void cli_note_json(const char *word) {
  wants_json = wants_json || !strcmp(word, "--json");
}

/* 75% of the machine's memory. */
static int64_t default_memory(void) {
  long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);
  return pages > 0 && bytes > 0 ? (int64_t)pages / 4 * 3 * bytes : 0;
}

static size_t common_options(struct cli_option *options, struct cli_common *common) {
  const struct cli_option table[] = {
      {"--threads", 0, CLI_INT, &common->threads, "N", "worker threads (default: all cores)", 1, 1024},
      {"--seed", 0, CLI_INT, &common->seed, "N", "seed of everything random (default 0)", 0, INT64_MAX},
      {"--json", 0, CLI_FLAG, &common->is_json, NULL, "one JSON object on stdout, the rest on stderr", 0, 0},
      {"--quiet", 'q', CLI_FLAG, &common->is_quiet, NULL, "no progress, no notes; warnings stay", 0, 0},
      {"--isa", 0, CLI_TEXT, &common->isa, "SET",
       "cap on the instruction set: avx2, avx512, avx512_vnni, avx512_bf16, amx, native (default)", 0, 0},
      {"--max-memory", 0, CLI_BYTES, &common->max_memory, "BYTES", "most memory to take (default 75% of RAM)",
       0, 0},
      {"--strict", 0, CLI_FLAG, &common->is_strict, NULL, "float islands are errors", 0, 0},
  };
  memcpy(options, table, sizeof table);
  return sizeof table / sizeof table[0];
}

static void print_options(const struct cli_option *options, size_t n) {
  for (size_t i = 0; i < n; i++) {
    char left[64];
    char letter[8] = "";
    if (options[i].letter) {
      snprintf(letter, sizeof letter, "-%c, ", options[i].letter);
    }
    snprintf(left, sizeof left, "%s%s%s%s", letter, options[i].name, options[i].value_name ? " " : "",
             options[i].value_name ? options[i].value_name : "");
    printf("  %-24s  %s%s\n", left, options[i].help,
           options[i].kind == CLI_TEXTS ? " (may be repeated)" : "");
  }
}

static void print_command_help(const struct cli_command *command, const struct cli_option *own, size_t n_own,
                               const struct cli_option *common, size_t n_common) {
  printf("usage: mqbench %s %s\n\n%s.\n", command->name, command->usage, command->summary);
  if (command->details) {
    printf("\n%s\n", command->details);
  }
  if (n_own) {
    printf("\noptions:\n");
    print_options(own, n_own);
  }
  printf("\ncommon options:\n");
  print_options(common, n_common);
}

static mq_status parse_int(int64_t *out, const struct cli_option *option, const char *text,
                           struct mq_err *err) {
  char *end = NULL;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (errno || end == text || *end || value < option->least || value > option->most) {
    return mq_fail(err, MQ_BAD_USAGE, "%s %s: expected a whole number from %lld to %lld", option->name, text,
                   (long long)option->least, (long long)option->most);
  }
  *out = value;
  return MQ_OK;
}

static mq_status parse_bytes(int64_t *out, const struct cli_option *option, const char *text,
                             struct mq_err *err) {
  static const char units[] = "KMGT";
  char *end = NULL;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  const char *unit = *end ? strchr(units, *end) : NULL;
  int shift = unit ? 10 * (int)(unit - units + 1) : 0;
  if (errno || end == text || (*end && (!unit || end[1])) || value < 1 || value > (INT64_MAX >> shift)) {
    return mq_fail(err, MQ_BAD_USAGE, "%s %s: expected a number of bytes, for example 8G", option->name,
                   text);
  }
  *out = value << shift;
  return MQ_OK;
}

static mq_status parse_real(double *out, const struct cli_option *option, const char *text,
                            struct mq_err *err) {
  char *end = NULL;
  double value = strtod(text, &end);
  if (end == text || *end || !isfinite(value)) {
    return mq_fail(err, MQ_BAD_USAGE, "%s %s: expected a number", option->name, text);
  }
  *out = value;
  return MQ_OK;
}

static mq_status set_value(const struct cli_option *option, const char *text, struct mq_err *err) {
  switch (option->kind) {
    case CLI_FLAG:
      *(bool *)option->target = true;
      return MQ_OK;
    case CLI_INT:
      return parse_int(option->target, option, text, err);
    case CLI_BYTES:
      return parse_bytes(option->target, option, text, err);
    case CLI_REAL:
      return parse_real(option->target, option, text, err);
    case CLI_TEXT:
      *(const char **)option->target = text;
      return MQ_OK;
    case CLI_TEXTS: {
      struct cli_texts *texts = option->target;
      if (texts->n == CLI_MAX_TEXTS) {
        return mq_fail(err, MQ_BAD_USAGE, "%s: given more than %d times", option->name, CLI_MAX_TEXTS);
      }
      texts->text[texts->n++] = text;
      return MQ_OK;
    }
  }
  return MQ_OK;
}

/* "--name", "--name=value" or "-o"; the value's text behind '=' goes to *value. */
static const struct cli_option *find_option(const struct cli_option *options, size_t n, const char *word,
                                            const char **value) {
  *value = NULL;
  for (size_t i = 0; i < n; i++) {
    size_t length = strlen(options[i].name);
    if (!strncmp(word, options[i].name, length) && (word[length] == 0 || word[length] == '=')) {
      *value = word[length] ? word + length + 1 : NULL;
      return &options[i];
    }
    if (options[i].letter && word[0] == '-' && word[1] == options[i].letter && !word[2]) {
      return &options[i];
    }
  }
  return NULL;
}

static mq_status add_argument(struct cli_common *common, const char *word, struct mq_err *err) {
  if (common->arguments.n == CLI_MAX_TEXTS) {
    return mq_fail(err, MQ_BAD_USAGE, "more than %d arguments", CLI_MAX_TEXTS);
  }
  common->arguments.text[common->arguments.n++] = word;
  return MQ_OK;
}

static mq_status parse_word(struct cli_common *common, const struct cli_command *command,
                            const struct cli_option *options, size_t n_options, int *i, int argc, char **argv,
                            struct mq_err *err) {
  const char *word = argv[*i], *value;
  if (word[0] != '-' || !word[1]) {
    return add_argument(common, word, err);
  }
  const struct cli_option *option = find_option(options, n_options, word, &value);
  if (!option) {
    return mq_fail(err, MQ_BAD_USAGE, "unknown option %s; see mqbench %s --help", word, command->name);
  }
  if (option->kind == CLI_FLAG && value) {
    return mq_fail(err, MQ_BAD_USAGE, "%s takes no value", option->name);
  }
  if (option->kind != CLI_FLAG && !value) {
    if (*i + 1 >= argc) {
      return mq_fail(err, MQ_BAD_USAGE, "%s needs a value: %s", option->name, option->value_name);
    }
    value = argv[++*i];
  }
  return set_value(option, value, err);
}

mq_status cli_parse(struct cli_common *common, bool *is_help, const struct cli_command *command,
                    const struct cli_option *own, size_t n_own, size_t least_arguments, size_t most_arguments,
                    int argc, char **argv, struct mq_err *err) {
  *common = (struct cli_common){.isa = "native", .max_memory = default_memory()};
  *is_help = false;
  struct cli_option options[MAX_OPTIONS];
  if (n_own) {
    memcpy(options, own, n_own * sizeof *own);
  }
  size_t n_options = n_own + common_options(options + n_own, common);
  for (int i = 0; i < argc; i++) {
    cli_note_json(argv[i]);
  }
  bool is_option_end = false;
  for (int i = 0; i < argc; i++) {
    mq_status status = MQ_OK;
    if (!is_option_end && (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))) {
      print_command_help(command, own, n_own, options + n_own, n_options - n_own);
      *is_help = true;
      return MQ_OK;
    }
    if (!is_option_end && !strcmp(argv[i], "--")) {
      is_option_end = true;
    } else if (is_option_end) {
      status = add_argument(common, argv[i], err);
    } else {
      status = parse_word(common, command, options, n_options, &i, argc, argv, err);
    }
    if (status != MQ_OK) {
      return status;
    }
  }
  size_t n = common->arguments.n;
  if (n < least_arguments || n > most_arguments) {
    return mq_fail(err, MQ_BAD_USAGE, "usage: mqbench %s %s", command->name, command->usage);
  }
  return MQ_OK;
}
