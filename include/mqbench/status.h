/* Status codes and the error message that travels with them.
 *
 * Every function that can fail returns mq_status and takes `struct mq_err *err` as its last parameter.
 * The message is set once, where the failure happens, as one line that names the file, node or key, what
 * was found and what was expected; callers pass status and message on unchanged.
 * The numeric values are the exit statuses of the command line. */
#ifndef MQBENCH_STATUS_H
#define MQBENCH_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mq_status {
  MQ_OK = 0,
  MQ_NO = 1,          /* the work was done and its answer is "no" (a difference found, a bar missed) */
  MQ_BAD_USAGE = 2,   /* an option or argument of the caller is wrong */
  MQ_BAD_INPUT = 3,   /* a file, model, data set or plan is wrong */
  MQ_FAILED = 4,      /* out of memory, disk full, a library failed */
  MQ_CANCELLED = 130, /* Ctrl-C */
} mq_status;

#define MQ_ERR_MESSAGE_BYTES 1024

struct mq_err {
  mq_status status;
  char message[MQ_ERR_MESSAGE_BYTES]; /* one line, no trailing newline, always terminated */
};

#define MQ_MUST_CHECK __attribute__((warn_unused_result))
#define MQ_PRINTF(format_index, first_argument) __attribute__((format(printf, format_index, first_argument)))

/* Records `status` and the formatted message and returns `status`, so that
 * `return mq_fail(err, MQ_BAD_INPUT, "...")` is the whole failure path. Control characters and bytes
 * that are not UTF-8 (names from files are hostile) are replaced by '?'. `err` may be NULL. */
mq_status mq_fail(struct mq_err *err, mq_status status, const char *format, ...) MQ_PRINTF(3, 4);

/* The same for exhausted memory: MQ_FAILED with "out of memory: <what>". */
mq_status mq_fail_memory(struct mq_err *err, const char *what);

#ifdef __cplusplus
}
#endif
#endif
