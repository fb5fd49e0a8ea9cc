/* Why an element of the plain simulation differs from the program's. */
#ifndef MQ_VERIFY_EXPLAIN_H
#define MQ_VERIFY_EXPLAIN_H

#include "mqbench/verify.h"
#include "verify/reality.h"

/* One image: what the program made of it, and what the simulation did. */
struct explain_image {
  const struct mq_program *program;
  const unsigned char *kinds;      /* as in struct reality */
  const void *const *made;         /* the program's tensors */
  const int32_t *const *simulated; /* the simulation's leaves, as in struct reality */
  bool is_local;                   /* its steps were given the program's codes: nothing is inherited */
  const double *const *biases;     /* the layers' real biases */
};

/* The way from the simulation's code to the program's is walked in links: the real value of the simulation's
 * inputs, that of the program's, the latter with averages rounded where the program rounds them, with the
 * program's bias, with its multiplier, its own rounding. The first link on which the code is another than the
 * simulation's is the cause. A difference is unexplained if the simulation is not where float32 may be from
 * its real value, or the program is not where its arithmetic may be. */
mq_cause explain_code(const struct explain_image *image, uint32_t tensor, int64_t at, int32_t simulated);
/* The same for a tensor of floats. */
mq_cause explain_float(const struct explain_image *image, uint32_t tensor, int64_t at, float simulated);

/* What an arithmetic computes just before it rounds to a code, in steps of the output from its zero point,
 * and how far its intermediate roundings may take it. */
struct explain_scaled {
  double value, slack;
  bool is_integer; /* whole numbers all the way: no float32 rounding in it */
};
/* A real value in steps of a scale. Floats that are known exactly (pixels) are divided in float32, as
 * everybody does it: what the division puts on a tie is a tie. */
double explain_steps(struct real real, float scale);
struct explain_scaled explain_layer(const struct reality *reality, const struct mq_program_step *step,
                                    int64_t at);
/* From the real value of what is added, averaged or quantized. */
struct explain_scaled explain_others(const struct mq_program *program, const struct mq_program_step *step,
                                     struct real real);

#endif
