/* IDX headers. */
#include "data/idx.h"

#include "data/image.h"

#define TYPE_UNSIGNED_BYTE 8

mq_status mq_idx_parse(struct mq_idx *idx, const uint8_t *bytes, size_t n, const char *path,
                       struct mq_err *err) {
  *idx = (struct mq_idx){.size = {1, 1, 1}};
  if (n < 4 || bytes[0] || bytes[1] || bytes[2] != TYPE_UNSIGNED_BYTE || bytes[3] < 1 || bytes[3] > 3) {
    return mq_fail(
        err, MQ_BAD_INPUT,
        "%s: begins with %02x %02x %02x %02x, expected IDX of unsigned bytes (00 00 08 01 or 00 00 08 03)",
        path, n > 0 ? bytes[0] : 0, n > 1 ? bytes[1] : 0, n > 2 ? bytes[2] : 0, n > 3 ? bytes[3] : 0);
  }
  idx->rank = bytes[3];
  const size_t header = 4 + 4 * (size_t)idx->rank;
  if (n < header) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %zu bytes, expected a header of %zu", path, n, header);
  }
  size_t claimed = 1;
  bool is_absurd = false;
  for (int d = 0; d < idx->rank; d++) {
    const uint8_t *at = bytes + 4 + 4 * d;
    const uint32_t size = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    idx->size[d] = size;
    is_absurd |= size == 0 || size > INT32_MAX || (d > 0 && size > MQ_IMAGE_MAX_SIDE) ||
                 __builtin_mul_overflow(claimed, (size_t)size, &claimed);
  }
  if (is_absurd || claimed != n - header) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: header says %lld x %lld x %lld bytes, found %zu", path,
                   (long long)idx->size[0], (long long)idx->size[1], (long long)idx->size[2], n - header);
  }
  idx->data = bytes + header;
  return MQ_OK;
}
