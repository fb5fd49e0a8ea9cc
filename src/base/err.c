#include <stdio.h>
#include <string.h>

#include "mqbench/base.h"
#include "mqbench/status.h"

/* Names in messages come from files: nothing in them may reach a terminal as a control sequence. */
static void make_one_line(char *text) {
  for (unsigned char *c = (unsigned char *)text; *c; c++) {
    if (*c < 0x20 || *c == 0x7f) {
      *c = '?';
    }
  }
}

mq_status mq_fail(struct mq_err *err, mq_status status, const char *format, ...) {
  if (err) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(err->message, sizeof err->message, format, arguments);
    va_end(arguments);
    make_one_line(err->message);
    err->status = status;
  }
  return status;
}

mq_status mq_fail_memory(struct mq_err *err, const char *what) {
  return mq_fail(err, MQ_FAILED, "out of memory: %s", what);
}
