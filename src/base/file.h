/* Files: bounded reads, atomic writes, hashes, and where the project's own data lies. */
#ifndef MQ_BASE_FILE_H
#define MQ_BASE_FILE_H

#include "mqbench/base.h"

/* The whole file, NUL-terminated behind *n bytes, freed with mq_free. Regular files only; more than max_bytes
 * is MQ_BAD_INPUT. A missing file is MQ_BAD_INPUT: "<path>: no such file". */
mq_status mq_file_read(char **bytes, size_t *n, const char *path, size_t max_bytes,
                       struct mq_err *err) MQ_MUST_CHECK;
/* Read-only memory map of a regular file (empty file: *bytes NULL, *n 0); unmapped with mq_file_unmap. */
mq_status mq_file_map(const uint8_t **bytes, size_t *n, const char *path, struct mq_err *err) MQ_MUST_CHECK;
void mq_file_unmap(const uint8_t *bytes, size_t n);
/* Writes to a temporary name in the same directory, syncs, renames. Nothing is left behind on failure. */
mq_status mq_file_write(const char *path, const void *bytes, size_t n, struct mq_err *err) MQ_MUST_CHECK;
/* The same for streams: open a temporary, write with stdio, then commit (sync, rename) or abandon (unlink).
 */
struct mq_file_out {
  void *stream; /* FILE * */
  char *path, *temporary;
};
mq_status mq_file_out_open(struct mq_file_out *out, const char *path, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_file_out_commit(struct mq_file_out *out, struct mq_err *err) MQ_MUST_CHECK;
void mq_file_out_abandon(struct mq_file_out *out); /* harmless after commit */
mq_status mq_file_make_directories(const char *path, struct mq_err *err) MQ_MUST_CHECK; /* mkdir -p */
bool mq_file_exists(const char *path);
bool mq_file_is_directory(const char *path);

/* "a/b" + "c" = "a/b/c"; an absolute second part stands alone. mq_free the result; NULL on exhausted memory.
 */
char *mq_path_join(const char *directory, const char *name);
char *mq_path_directory(const char *path);  /* "." without a slash; mq_free */
const char *mq_path_base(const char *path); /* after the last slash; borrowed */
/* Where targets/, plans/ and models/ lie: beside the sources when run from a build tree, otherwise
 * <prefix>/share/mqbench. Resolved from the executable's own place, once; "" if neither exists. */
const char *mq_share_directory(void);

struct mq_sha256;
mq_status mq_sha256_create(struct mq_sha256 **hash, struct mq_err *err) MQ_MUST_CHECK;
void mq_sha256_update(struct mq_sha256 *hash, const void *bytes, size_t n);
void mq_sha256_finish(char hex[65], struct mq_sha256 *hash); /* destroys `hash` */
void mq_sha256_bytes(char hex[65], const void *bytes, size_t n);
mq_status mq_sha256_file(char hex[65], const char *path, struct mq_err *err) MQ_MUST_CHECK;

#endif
