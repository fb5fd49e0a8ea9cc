#include "cli/overrides.h"

#include <stdlib.h>
#include <string.h>

static mq_status parse_bits(struct mq_layer_override *override, char name[256], const char *text,
                            struct mq_err *err) {
  const char *equals = strrchr(text, '=');
  size_t n = equals ? (size_t)(equals - text) : 0;
  char *end = NULL;
  long bits = equals ? strtol(equals + 1, &end, 10) : 0;
  if (n == 0 || n >= 256 || end == equals + 1 || *end || ((bits < 2 || bits > 8) && bits != 16)) {
    return mq_fail(err, MQ_BAD_USAGE, "--bits %s: expected NAME=B with B from 2 to 8, or 16 for activations",
                   text);
  }
  memcpy(name, text, n);
  name[n] = 0;
  *override =
      (struct mq_layer_override){.layer = name, .w_bits = bits > 8 ? 0 : (int)bits, .a_bits = (int)bits};
  return MQ_OK;
}

mq_status cli_parse_overrides(struct cli_overrides *overrides, const struct cli_texts *bits,
                              const struct cli_texts *keep_float, struct mq_err *err) {
  overrides->n = 0;
  for (size_t i = 0; i < bits->n; i++) {
    mq_status status = parse_bits(&overrides->item[overrides->n++], overrides->name[i], bits->text[i], err);
    if (status != MQ_OK) {
      return status;
    }
  }
  for (size_t i = 0; i < keep_float->n; i++) {
    overrides->item[overrides->n++] =
        (struct mq_layer_override){.layer = keep_float->text[i], .keep_float = true};
  }
  return MQ_OK;
}
