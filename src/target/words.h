/* The names a target file may use. */
#ifndef MQ_TARGET_WORDS_H
#define MQ_TARGET_WORDS_H

#include "mqbench/target.h"

/* What an arithmetic of the integer program asks of a target's schemes. */
struct mq_arithmetic_traits {
  const char *name;
  unsigned bias_forms; /* bit (1u << mq_bias_form): forms it can add */
  bool is_symmetric;   /* its equations have no zero points */
  bool is_pot;         /* requantizes by shifts: every scale a power of two */
};
/* NULL if there is none of that name. */
const struct mq_arithmetic_traits *mq_arithmetic_find(const char *name);
/* Names for getters that list choices; NULL-terminated. */
extern const char *const mq_arithmetic_names[];
extern const char *const mq_artefact_names[];
extern const char *const mq_bias_names[]; /* in the order of mq_bias_form */
/* Words for an op of the quantization rules ("Conv", "conv", ...), and what each means. */
extern const char *const mq_quant_op_words[];
mq_quant_op mq_quant_op_of_word(int index);

#endif
