/* A program in real numbers: what an element would be if nothing but the points rounded. Evaluated element by
 * element, in double, from codes that are given; beside the value how far float32 may be from it. */
#ifndef MQ_VERIFY_REALITY_H
#define MQ_VERIFY_REALITY_H

#include "mqbench/program.h"

/* Half a unit in the last place of 1 in float32: what one rounding may change, relatively. */
#define REALITY_ROUNDING 0x1p-24

typedef enum reality_kind {
  REALITY_MADE = 0, /* from the inputs of the step that makes it */
  REALITY_LEAF,     /* given: codes of a point, floats of a layer that stays float */
  REALITY_INPUT,    /* floats that the network gets */
} reality_kind;

struct reality {
  const struct mq_program *program;
  const unsigned char *kinds; /* reality_kind by tensor */
  const void *const *made;    /* by tensor: what the program made of the image */
  /* By tensor: codes of the leaves, or the bits of their floats; NULL, or a tensor's NULL: what the program
   * made. */
  const int32_t *const *simulated;
  const double *const *biases; /* by step, for each channel; NULL, or a step's NULL: the program's own */
  /* Codes that the program rounds between points (averages that keep their input's scale) are taken as it
   * made them, not as reals. */
  bool follows_codes;
  /* How many elements may still be looked at, and how deep: a program from a file may be anything. */
  int64_t *budget;
  int depth;
};

struct real {
  double value;
  double slack; /* of float32 sums and products on the way; infinite where the budget was used up */
};

/* An element of a tensor. */
struct real reality_of(const struct reality *reality, uint32_t tensor, int64_t at);
/* The same from the inputs of the step that makes it, before it is rounded to codes. */
struct real reality_made(const struct reality *reality, uint32_t tensor, int64_t at);

/* The accumulator of a convolution or linear layer whose input's codes are known. */
struct reality_sum {
  int64_t whole;    /* sum (q - zx)(w - zw) */
  double real;      /* the same in steps of sx sw where the input is no codes */
  double magnitude; /* sum of absolute values */
  double slack;     /* of the inputs */
  int64_t terms;
  bool is_whole;
};
void reality_layer_sum(struct reality_sum *sum, const struct reality *reality,
                       const struct mq_program_step *step, int64_t at);
struct real reality_layer_float(const struct reality *reality, const struct mq_program_step *step,
                                int64_t at);
struct real reality_layer(const struct reality *reality, const struct mq_program_step *step, int64_t at);
/* Real value of the bias that the program itself adds. */
double reality_own_bias(const struct mq_program *program, const struct mq_program_step *step,
                        int64_t channel);

/* Pools and moves (reality_move.c). */
struct real reality_move(const struct reality *reality, const struct mq_program_step *step, int64_t at);

static inline int32_t reality_code(const void *codes, mq_program_type type, int64_t at) {
  if (type == MQ_PROGRAM_S8) {
    return ((const int8_t *)codes)[at];
  }
  return type == MQ_PROGRAM_U8 ? ((const uint8_t *)codes)[at] : ((const int16_t *)codes)[at];
}
static inline bool reality_is_codes(const struct mq_program_tensor *tensor) {
  return tensor->type == MQ_PROGRAM_S8 || tensor->type == MQ_PROGRAM_U8 || tensor->type == MQ_PROGRAM_S16;
}

#endif
