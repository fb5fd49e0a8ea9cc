#ifndef MQ_CLI_OVERRIDES_H
#define MQ_CLI_OVERRIDES_H

#include "cli/options.h"
#include "mqbench/prepare.h"

struct cli_overrides {
  struct mq_layer_override item[2 * CLI_MAX_TEXTS];
  char name[CLI_MAX_TEXTS][256]; /* of --bits, without =B */
  size_t n;
};

/* --bits NAME=B (weights and activations of the layer) and --keep-float NAME. Borrows the texts. */
mq_status cli_parse_overrides(struct cli_overrides *overrides, const struct cli_texts *bits,
                              const struct cli_texts *keep_float, struct mq_err *err) MQ_MUST_CHECK;
/* --a-bits: 2 to 8, or 16; 0 is not given. */
mq_status cli_check_a_bits(int64_t a_bits, struct mq_err *err) MQ_MUST_CHECK;

#endif
