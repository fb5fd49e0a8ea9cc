#include "program/text.h"

#include <float.h>
#include <stdarg.h>

struct line {
  char *text;
  size_t n, capacity; /* n < capacity */
};

static void put_char(struct line *line, char c) {
  const unsigned char byte = (unsigned char)c;
  if (line->n + 1 < line->capacity) line->text[line->n++] = byte < 0x20 || byte == 0x7f ? '?' : c;
}

static void put_text(struct line *line, const char *text) {
  for (; *text != '\0'; text++)
    put_char(line, *text);
}

static void put_whole(struct line *line, int64_t value) {
  char digits[20];
  int n = 0;
  uint64_t rest = value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value;
  if (value < 0) put_char(line, '-');
  do {
    digits[n++] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  while (n > 0)
    put_char(line, digits[--n]);
}

/* Five digits and a power of ten; for people, the last digit may be off. */
static void put_real(struct line *line, double value) {
  int exponent = 4;
  if (value < 0) put_char(line, '-');
  value = value < 0 ? -value : value;
  if (value != value || value > DBL_MAX || value == 0) {
    put_text(line, value != value ? "nan" : value == 0 ? "0" : "inf");
    return;
  }
  for (; value >= 99999.5; exponent++)
    value /= 10;
  for (; value < 9999.5; exponent--)
    value *= 10;
  const int64_t digits = (int64_t)(value + 0.5);
  /* Up to 5 digits before the point as they are, else one and a power of ten. */
  const int n_before = exponent >= 0 && exponent <= 4 ? exponent + 1 : 1;
  int64_t unit = 10000;
  for (int i = 0; i < 5; i++, unit /= 10) {
    if (i == n_before) put_char(line, '.');
    put_char(line, (char)('0' + digits / unit % 10));
  }
  if (exponent >= 0 && exponent <= 4) return;
  put_char(line, 'e');
  put_whole(line, exponent);
}

static void put_format(struct line *line, const char *format, va_list arguments) {
  for (; *format != '\0'; format++) {
    if (*format != '%') {
      put_char(line, *format);
    } else if (*++format == 's') {
      const char *text = va_arg(arguments, const char *);
      put_text(line, text != NULL ? text : "");
    } else if (*format == 'g') {
      put_real(line, va_arg(arguments, double));
    } else { /* lld */
      format += 2;
      put_whole(line, va_arg(arguments, long long));
    }
  }
}

static struct line begin(struct mq_program_err *err) {
  return (struct line){.text = err->message, .capacity = sizeof err->message};
}

static void put_step(struct line *line, const struct mq_program *program,
                     const struct mq_program_step *step) {
  put_text(line, "step ");
  put_whole(line, step - program->steps);
  put_text(line, " (");
  put_text(line, mq_step_kind_name(step->kind));
  put_text(line, " '");
  put_text(line, step->name != NULL ? step->name : "");
  put_text(line, "'): ");
}

mq_program_status program_fail(struct mq_program_err *err, mq_program_status status, const char *format,
                               ...) {
  if (err == NULL) return status;
  struct line line = begin(err);
  va_list arguments;
  va_start(arguments, format);
  put_format(&line, format, arguments);
  va_end(arguments);
  line.text[line.n] = '\0';
  return status;
}

mq_program_status program_fail_step(struct mq_program_err *err, const struct mq_program *program,
                                    const struct mq_program_step *step, const char *format, ...) {
  if (err == NULL) return MQ_PROGRAM_INVALID;
  struct line line = begin(err);
  va_list arguments;
  put_step(&line, program, step);
  va_start(arguments, format);
  put_format(&line, format, arguments);
  va_end(arguments);
  line.text[line.n] = '\0';
  return MQ_PROGRAM_INVALID;
}

mq_program_status program_blame_step(struct mq_program_err *err, const struct mq_program *program,
                                     const struct mq_program_step *step) {
  if (err == NULL) return MQ_PROGRAM_INVALID;
  const struct mq_program_err before = *err;
  return program_fail_step(err, program, step, "%s", before.message);
}
