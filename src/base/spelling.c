#include "base/spelling.h"

#include <stdint.h>
#include <string.h>

#define NAME_BYTES 200

size_t mq_edit_distance(const char *a, const char *b) {
  size_t row[NAME_BYTES + 1], n_a = strlen(a), n_b = strlen(b);
  if (n_a > NAME_BYTES || n_b > NAME_BYTES) {
    return SIZE_MAX;
  }
  for (size_t j = 0; j <= n_b; j++) {
    row[j] = j;
  }
  for (size_t i = 1; i <= n_a; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= n_b; j++) {
      size_t best = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      best = row[j] + 1 < best ? row[j] + 1 : best;
      row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
    }
  }
  return row[n_b];
}
