#include "verify/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLL_MS 50

extern char **environ;

struct process {
  const char *name;
  pid_t pid;
  int fds[2]; /* standard output, standard error; -1: at its end */
  char *text; /* of standard output */
  size_t n;
  char errors[PROCESS_ERRORS_KEPT + 1];
  size_t n_errors;
  bool is_too_long;
};

/* ---- Starting -------------------------------------------------------------------------------------- */

static int set_actions(posix_spawn_file_actions_t *actions, int out, int errors) {
  int failed = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
  failed = failed ? failed : posix_spawn_file_actions_adddup2(actions, out, 1);
  failed = failed ? failed : posix_spawn_file_actions_adddup2(actions, errors, 2);
  return failed ? failed : posix_spawn_file_actions_addclosefrom_np(actions, 3);
}

/* Signals as a fresh program has them, and a group that can be ended as a whole. */
static int set_attributes(posix_spawnattr_t *attributes) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int failed = posix_spawnattr_setflags(
      attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  failed = failed ? failed : posix_spawnattr_setpgroup(attributes, 0);
  failed = failed ? failed : posix_spawnattr_setsigmask(attributes, &none);
  return failed ? failed : posix_spawnattr_setsigdefault(attributes, &all);
}

static int spawn(pid_t *pid, char *const *argv, int out, int errors) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int failed = posix_spawn_file_actions_init(&actions);
  if (failed) {
    return failed;
  }
  failed = posix_spawnattr_init(&attributes);
  if (!failed) {
    failed = set_actions(&actions, out, errors);
    failed = failed ? failed : set_attributes(&attributes);
    failed = failed ? failed : posix_spawn(pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&actions);
  return failed;
}

static void close_fd(int *fd) {
  if (*fd >= 0) {
    close(*fd);
    *fd = -1;
  }
}

static mq_status start(struct process *p, char *const *argv, struct mq_err *err) {
  int out[2] = {-1, -1}, errors[2] = {-1, -1};
  int failed = pipe2(out, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0 ? errno : 0;
  if (!failed) {
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(errors[0], F_SETFL, O_NONBLOCK);
    failed = spawn(&p->pid, argv, out[1], errors[1]);
  }
  close_fd(&out[1]);
  close_fd(&errors[1]);
  if (failed) {
    close_fd(&out[0]);
    close_fd(&errors[0]);
    return mq_fail(err, failed == ENOMEM || failed == EMFILE || failed == EAGAIN ? MQ_FAILED : MQ_BAD_INPUT,
                   "%s: cannot start: %s", p->name, strerror(failed));
  }
  p->fds[0] = out[0];
  p->fds[1] = errors[0];
  return MQ_OK;
}

/* ---- Reading --------------------------------------------------------------------------------------- */

static void keep_output(struct process *p, const char *bytes, size_t n) {
  if (p->n + n > PROCESS_OUTPUT_MAX) {
    p->is_too_long = true;
    return;
  }
  memcpy(p->text + p->n, bytes, n);
  p->n += n;
}

/* The end is kept: that is where a traceback says what is wrong. */
static void keep_errors(struct process *p, const char *bytes, size_t n) {
  if (n > PROCESS_ERRORS_KEPT) {
    bytes += n - PROCESS_ERRORS_KEPT;
    n = PROCESS_ERRORS_KEPT;
  }
  size_t left = p->n_errors + n > PROCESS_ERRORS_KEPT ? PROCESS_ERRORS_KEPT - n : p->n_errors;
  memmove(p->errors, p->errors + p->n_errors - left, left);
  memcpy(p->errors + left, bytes, n);
  p->n_errors = left + n;
  p->errors[p->n_errors] = 0;
}

/* What there is; at the end of the stream its descriptor is closed. */
static void drain(struct process *p, int stream) {
  char bytes[4096];
  while (p->fds[stream] >= 0) {
    ssize_t n = read(p->fds[stream], bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return;
    }
    if (n <= 0) {
      close_fd(&p->fds[stream]);
    } else if (stream == 0) {
      keep_output(p, bytes, (size_t)n);
    } else {
      keep_errors(p, bytes, (size_t)n);
    }
    if (p->is_too_long) {
      return;
    }
  }
}

static void wait_for_output(const struct process *p) {
  struct pollfd polls[2] = {{.fd = p->fds[0], .events = POLLIN}, {.fd = p->fds[1], .events = POLLIN}};
  poll(polls, 2, POLL_MS); /* negative descriptors are passed over */
}

/* Without taking it away: the number stays ours until the group is gone. */
static bool has_ended(const struct process *p) {
  siginfo_t info = {.si_pid = 0};
  return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == p->pid;
}

/* ---- Ending ---------------------------------------------------------------------------------------- */

/* The last line that is not empty, or "". */
static const char *last_line(struct process *p) {
  size_t n = p->n_errors;
  while (n > 0 && (p->errors[n - 1] == '\n' || p->errors[n - 1] == ' ' || p->errors[n - 1] == '\r')) {
    n--;
  }
  p->errors[n] = 0;
  const char *newline = strrchr(p->errors, '\n');
  return newline ? newline + 1 : p->errors;
}

static mq_status judge(struct process *p, int how, struct mq_err *err) {
  const char *line = last_line(p);
  if (WIFEXITED(how) && WEXITSTATUS(how) == 0) {
    return MQ_OK;
  }
  if (WIFSIGNALED(how)) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: ended by signal %d (%s)%s%.400s", p->name, WTERMSIG(how),
                   strsignal(WTERMSIG(how)), *line ? ": " : "", line);
  }
  return mq_fail(err, MQ_BAD_INPUT, "%s: ended with status %d: %.400s", p->name, WEXITSTATUS(how),
                 *line ? line : "it said nothing on standard error");
}

static mq_status watch(struct process *p, double timeout_seconds, struct mq_err *err) {
  double end = mq_now() + timeout_seconds;
  while (!has_ended(p)) {
    wait_for_output(p);
    drain(p, 0);
    drain(p, 1);
    if (p->is_too_long) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: more than %zu bytes on standard output", p->name,
                     PROCESS_OUTPUT_MAX);
    }
    if (mq_cancelled()) {
      return mq_fail(err, MQ_CANCELLED, "interrupted");
    }
    if (timeout_seconds > 0 && mq_now() > end) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: took more than the %g seconds it is allowed", p->name,
                     timeout_seconds);
    }
  }
  drain(p, 0);
  drain(p, 1);
  return MQ_OK;
}

mq_status process_run(struct process_output *output, char *const *argv, double timeout_seconds,
                      struct mq_err *err) {
  *output = (struct process_output){.text = NULL};
  struct process p = {.name = argv[0], .fds = {-1, -1}, .text = mq_alloc(PROCESS_OUTPUT_MAX + 1, 1)};
  mq_status status = p.text ? start(&p, argv, err) : mq_fail_memory(err, argv[0]);
  if (status == MQ_OK) {
    int how = 0;
    status = watch(&p, timeout_seconds, err);
    kill(-p.pid, SIGKILL); /* whatever it started, and itself if it runs on */
    while (waitpid(p.pid, &how, 0) < 0 && errno == EINTR) {
    }
    status = status == MQ_OK ? judge(&p, how, err) : status;
  }
  close_fd(&p.fds[0]);
  close_fd(&p.fds[1]);
  if (status == MQ_OK) {
    *output = (struct process_output){.text = p.text, .n = p.n};
  } else {
    mq_free(p.text);
  }
  return status;
}
