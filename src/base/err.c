#include <stdio.h>
#include <string.h>

#include "mqbench/base.h"
#include "mqbench/status.h"

/* Bytes of the UTF-8 character at `c`; 0 if there is none (cut off, overlong, a surrogate, beyond U+10FFFF)
 * or if it is one of the control characters U+0080 to U+009F. */
static size_t utf8_length(const unsigned char *c) {
  size_t n = c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : c[0] < 0xf5 ? 4 : 0;
  for (size_t i = 1; i < n; i++) {
    if ((c[i] & 0xc0) != 0x80) {
      return 0;
    }
  }
  bool is_control = c[0] == 0xc2 && c[1] < 0xa0;
  bool is_overlong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90);
  bool is_outside = (c[0] == 0xed && c[1] >= 0xa0) || (c[0] == 0xf4 && c[1] >= 0x90);
  return is_control || is_overlong || is_outside ? 0 : n;
}

/* Names in messages come from files: nothing in them may reach a terminal as a control sequence, nor a JSON
 * answer as broken UTF-8 (a name may also have been cut inside a character). */
static void make_one_line(char *text) {
  for (unsigned char *c = (unsigned char *)text; *c;) {
    size_t n = *c < 0x80 ? *c >= 0x20 && *c != 0x7f : utf8_length(c);
    if (n == 0) {
      *c = '?';
    }
    c += n ? n : 1;
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
