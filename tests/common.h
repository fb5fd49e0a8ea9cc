/* What every test file needs: cmocka and its prerequisites, and checks on status and message. */
#ifndef MQ_TESTS_COMMON_H
#define MQ_TESTS_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* After the standard headers. */
#include <cmocka.h>

#include "mqbench/base.h"

#define MQ_TEST_SKIPPED 77

/* Fails the test with the message when `status` is not MQ_OK. */
#define assert_ok(call)                                      \
  do {                                                       \
    mq_status assert_status = (call);                        \
    if (assert_status != MQ_OK) {                            \
      fail_msg("status %d: %s", assert_status, err.message); \
    }                                                        \
  } while (0)

/* `call` fails with `expected` and a one-line message that contains `part`. */
#define assert_fails(expected, part, call)                                               \
  do {                                                                                   \
    mq_status assert_status = (call);                                                    \
    assert_int_equal(assert_status, (expected));                                         \
    assert_null(strchr(err.message, '\n'));                                              \
    if (!strstr(err.message, (part))) {                                                  \
      fail_msg("message '%s' does not contain '%s'", err.message, (const char *)(part)); \
    }                                                                                    \
  } while (0)

/* MQ_TEST_EFFORT=light: under valgrind and sanitizers, where all takes 5 to 50 times as long, every test
 * runs, but takes only some of its many alike cases. */
static inline bool test_is_light(void) {
  const char *effort = getenv("MQ_TEST_EFFORT");
  return effort && strcmp(effort, "light") == 0;
}

/* How many of n random cases, repetitions or steps to take: n or, light, a tenth; at least 1. */
static inline int64_t test_effort(int64_t n) {
  int64_t taken = test_is_light() ? n / 10 : n;
  return taken > 1 ? taken : 1;
}

/* Whether the i-th of many cases is not taken: light takes every 11th, a number that shares no factor with
 * the usual counts of variants, so that each of them comes up. */
static inline bool test_leaves_out(int64_t i) {
  return test_is_light() && i % 11 != 0;
}

/* A fresh directory under TMPDIR or /tmp, removed by the caller with rm -rf semantics below. */
static inline char *make_test_directory(void) {
  const char *base = getenv("TMPDIR");
  static char path[512];
  snprintf(path, sizeof path, "%s/mqbench-test.XXXXXX", base ? base : "/tmp");
  char *made = mkdtemp(path);
  assert_non_null(made);
  return made;
}

static inline void remove_test_directory(const char *path) {
  char command[600];
  snprintf(command, sizeof command, "rm -rf '%s'", path);
  assert_int_equal(system(command), 0);
}

/* PATH inside the shared data folder (MQBENCH_SHARED, or ../shared beside the sources), or NULL if it is
 * absent. */
static inline const char *shared_data(const char *path) {
  static char full[1024];
  const char *shared = getenv("MQBENCH_SHARED");
  snprintf(full, sizeof full, "%s/data/%s", shared ? shared : MQ_SOURCE_DIRECTORY "/../shared", path);
  FILE *file = fopen(full, "r");
  if (!file) {
    return NULL;
  }
  fclose(file);
  return full;
}

#endif
