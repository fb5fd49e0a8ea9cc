/* Data arguments and list files from anywhere: an argument that is understood has a canonical text, which is
 * understood and is its own canonical text. */
#include <stdlib.h>
#include <string.h>

#include "data/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static char *format(struct mq_data_spec *spec) {
  char *text = NULL;
  if (mq_data_spec_format(&text, spec, NULL) != MQ_OK) {
    abort();
  }
  mq_data_spec_deinit(spec);
  return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  char *text = mq_alloc(n + 1, 1);
  memcpy(text, bytes, n);
  struct mq_data_spec spec;
  if (mq_data_spec_parse(&spec, text, NULL) == MQ_OK) {
    char *first = format(&spec);
    if (mq_data_spec_parse(&spec, first, NULL) != MQ_OK) {
      abort();
    }
    char *second = format(&spec);
    if (strcmp(first, second) != 0) {
      abort();
    }
    mq_free(first);
    mq_free(second);
  }
  struct mq_list_line *lines = NULL;
  size_t n_lines = 0;
  if (mq_list_parse(&lines, &n_lines, text, "fuzz.txt", NULL) == MQ_OK) {
    for (size_t i = 0; i < n_lines; i++) {
      if (lines[i].name < text || lines[i].name > text + n) {
        abort();
      }
    }
  }
  mq_free(lines);
  mq_free(text);
  return 0;
}
