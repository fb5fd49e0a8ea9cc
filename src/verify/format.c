#include "verify/format.h"

#include <stdio.h>
#include <string.h>

/* The next word of a list separated by spaces; NULL: no more. */
static const char *next_word(char word[MQ_ADAPTER_TEXT], const char *at) {
  at += strspn(at, " ");
  const size_t n = strcspn(at, " ");
  snprintf(word, MQ_ADAPTER_TEXT, "%.*s", (int)n, at);
  return n > 0 ? at + n : NULL;
}

bool verify_reads_format(const char *formats, const char *name) {
  char word[MQ_ADAPTER_TEXT];
  for (const char *at = next_word(word, formats); at; at = next_word(word, at)) {
    if (strcmp(word, name) == 0) {
      return true;
    }
  }
  return false;
}

static bool is_artefact(const struct mq_target *target, const char *format) {
  for (size_t i = 0; target && i < target->n_artefacts; i++) {
    if (strcmp(target->artefacts[i], format) == 0) {
      return true;
    }
  }
  return false;
}

const struct mq_exporter *verify_choose_format(const char *formats, const struct mq_bundle *bundle,
                                               const struct mq_target *target, struct mq_err *why) {
  char name[MQ_ADAPTER_TEXT];
  for (int pass = 0; pass < 2; pass++) {
    for (const char *at = next_word(name, formats); at; at = next_word(name, at)) {
      const struct mq_exporter *exporter = mq_exporter_find(name);
      if (exporter && (pass > 0 || is_artefact(target, name)) &&
          mq_export_check(exporter, bundle, why) == MQ_OK) {
        return exporter;
      }
    }
  }
  return NULL;
}
