#include "cli/overrides.h"

#include <stdlib.h>
#include <string.h>

#define BITS_ALLOWED "weights 2 to 8; activations 2 to 8 or 16"

static bool is_bit_count(long bits) {
  return (bits >= 2 && bits <= 8) || bits == 16;
}

static mq_status parse_bits(struct mq_layer_override *override, char name[256], const char *text,
                            struct mq_err *err) {
  const char *equals = strrchr(text, '=');
  size_t n = equals ? (size_t)(equals - text) : 0;
  char *end = NULL;
  if (n == 0 || n >= 256) {
    return mq_fail(err, MQ_BAD_USAGE, "--bits %s: expected NAME=B (" BITS_ALLOWED ")", text);
  }
  long bits = strtol(equals + 1, &end, 10);
  if (end == equals + 1 || *end || !is_bit_count(bits)) {
    return mq_fail(err, MQ_BAD_USAGE, "--bits %s: found '%s' bits, expected " BITS_ALLOWED, text, equals + 1);
  }
  memcpy(name, text, n);
  name[n] = 0;
  *override =
      (struct mq_layer_override){.layer = name, .w_bits = bits > 8 ? 0 : (int)bits, .a_bits = (int)bits};
  return MQ_OK;
}

mq_status cli_check_a_bits(int64_t a_bits, struct mq_err *err) {
  if (a_bits == 0 || is_bit_count((long)a_bits)) {
    return MQ_OK;
  }
  return mq_fail(err, MQ_BAD_USAGE, "--a-bits %lld: expected 2 to 8, or 16", (long long)a_bits);
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
