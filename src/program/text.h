/* One-line error messages without stdio. */
#ifndef MQ_PROGRAM_TEXT_H
#define MQ_PROGRAM_TEXT_H

#include "mqbench/program.h"

#if defined(__GNUC__)
#define PROGRAM_FORMAT(text, first) __attribute__((format(printf, text, first)))
#else
#define PROGRAM_FORMAT(text, first)
#endif

/* Sets the message and returns `status`. The format knows %s (control characters become '?'), %lld and %g
 * (five digits). */
mq_program_status program_fail(struct mq_program_err *err, mq_program_status status, const char *format, ...)
    PROGRAM_FORMAT(3, 4);
/* MQ_PROGRAM_INVALID with "step 3 (conv 'conv1'): " before the message. */
mq_program_status program_fail_step(struct mq_program_err *err, const struct mq_program *program,
                                    const struct mq_program_step *step, const char *format, ...)
    PROGRAM_FORMAT(4, 5);
/* The same before a message that is there already. */
mq_program_status program_blame_step(struct mq_program_err *err, const struct mq_program *program,
                                     const struct mq_program_step *step);

#endif
