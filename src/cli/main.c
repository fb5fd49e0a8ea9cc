/* The program: finds the command, runs it, turns its status into the exit status. */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/options.h"
#include "cli/session.h"

/* The first Ctrl-C ends the run cleanly, a second one at once; they may come in two threads at a time. */
static void on_signal(int number) {
  static atomic_flag is_second = ATOMIC_FLAG_INIT;
  if (atomic_flag_test_and_set(&is_second)) {
    _exit(128 + number);
  }
  mq_cancel();
}

static void print_failure(const struct mq_err *err, mq_status status) {
  if (cli_wants_json()) {
    json_t *object = json_pack("{s:s, s:i}", "error", err->message, "status", (int)status);
    if (object) {
      json_dumpf(object, stdout, JSON_COMPACT);
      putchar('\n');
      json_decref(object);
    }
  }
  fprintf(stderr, "mqbench: %s\n", err->message);
}

static bool is_planned(const char *name) {
  static const char *const planned[] = {"analyze", "export", NULL};
  for (const char *const *word = planned; *word; word++) {
    if (!strcmp(*word, name)) {
      return true;
    }
  }
  return false;
}

int main(int argc, char **argv) {
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  if (argc < 2) {
    cli_print_help();
    return MQ_BAD_USAGE;
  }
  const char *name = argv[1];
  if (!strcmp(name, "--version") || !strcmp(name, "version")) {
    printf("mqbench %s\n", MQ_VERSION);
    return 0;
  }
  if (!strcmp(name, "--help") || !strcmp(name, "-h") || (!strcmp(name, "help") && argc == 2)) {
    cli_print_help();
    return 0;
  }
  struct mq_err err = {0};
  char help_flag[] = "--help";
  char *help_arguments[] = {help_flag};
  bool is_help = !strcmp(name, "help");
  const struct cli_command *command = cli_find_command(is_help ? argv[2] : name);
  mq_status status;
  if (command) {
    status = is_help ? command->run(1, help_arguments, &err) : command->run(argc - 2, argv + 2, &err);
  } else {
    for (int i = 2; i < argc; i++) {
      cli_note_json(argv[i]);
    }
    status = is_planned(name)
                 ? mq_fail(&err, MQ_BAD_USAGE, "%s: not in this version", name)
                 : mq_fail(&err, MQ_BAD_USAGE, "unknown command '%.60s'; see mqbench --help", name);
  }
  if (status != MQ_OK && status != MQ_NO) {
    print_failure(&err, status);
  } else if (status == MQ_NO && err.message[0]) {
    fprintf(stderr, "mqbench: %s\n", err.message);
  }
  if (fflush(stdout) != 0 && status == MQ_OK) {
    fprintf(stderr, "mqbench: cannot write to standard output: %s\n", strerror(errno));
    status = MQ_FAILED;
  }
  cli_session_end(status);
  return (int)status;
}
