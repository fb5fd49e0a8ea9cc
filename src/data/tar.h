/* The index of a tar archive: image files and where their bytes lie. */
#ifndef MQ_DATA_TAR_H
#define MQ_DATA_TAR_H

#include "mqbench/data.h"

struct mq_tar_entry {
  const char *name;     /* leading "./" and "/" removed; in the arena */
  const uint8_t *bytes; /* within the archive, or in the arena where it is compressed */
  size_t n;
};

struct mq_tar {
  struct mq_tar_entry *entries; /* owned (mq_free) */
  size_t n, capacity;
};

/* Appends the regular files of the archive that are JPEG or PNG by their first bytes or by their suffix.
 * `bytes` (a tar, or one compressed with gzip, bzip2, xz or zstd) must outlive the index when not compressed.
 * Names are only names: nothing is ever extracted. */
mq_status mq_tar_index(struct mq_tar *tar, const uint8_t *bytes, size_t n, const char *path,
                       struct mq_arena *arena, struct mq_err *err) MQ_MUST_CHECK;
void mq_tar_deinit(struct mq_tar *tar);

#endif
