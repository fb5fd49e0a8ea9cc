/* IDX files and gzip data from anywhere: what parses accounts for every byte. */
#include <stdlib.h>

#include "data/gunzip.h"
#include "data/idx.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  uint8_t *expanded = NULL;
  struct mq_idx idx;
  if (mq_is_gzip(bytes, n)) {
    if (mq_gunzip(&expanded, &n, bytes, n, (size_t)1 << 24, "fuzz.gz", NULL) != MQ_OK) {
      return 0;
    }
    bytes = expanded;
  }
  if (mq_idx_parse(&idx, bytes, n, "fuzz.idx", NULL) == MQ_OK) {
    unsigned sum = 0;
    const size_t count = (size_t)(idx.size[0] * idx.size[1] * idx.size[2]);
    for (size_t i = 0; i < count; i++) {
      sum += idx.data[i];
    }
    if (idx.data + count != bytes + n || sum > 255 * count) {
      abort();
    }
  }
  mq_free(expanded);
  return 0;
}
