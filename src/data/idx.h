/* The IDX format of MNIST: big-endian magic 0 0 type rank, sizes, bytes. */
#ifndef MQ_DATA_IDX_H
#define MQ_DATA_IDX_H

#include "mqbench/data.h"

struct mq_idx {
  int rank;            /* 1 to 3 */
  int64_t size[3];     /* sizes of dimensions beyond the rank are 1 */
  const uint8_t *data; /* size[0] * size[1] * size[2] bytes, within the bytes parsed */
};
/* Unsigned bytes only; the sizes must account for every byte of the file. */
mq_status mq_idx_parse(struct mq_idx *idx, const uint8_t *bytes, size_t n, const char *path,
                       struct mq_err *err) MQ_MUST_CHECK;

#endif
