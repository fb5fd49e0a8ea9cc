/* gzip in memory. */
#ifndef MQ_DATA_GUNZIP_H
#define MQ_DATA_GUNZIP_H

#include "mqbench/data.h"

bool mq_is_gzip(const uint8_t *bytes, size_t n);
/* Expands all members of a gzip file, freed with mq_free. Ends with MQ_BAD_INPUT when the file is corrupt,
 * truncated or expands to more than max_bytes. */
mq_status mq_gunzip(uint8_t **out, size_t *n_out, const uint8_t *bytes, size_t n, size_t max_bytes,
                    const char *path, struct mq_err *err) MQ_MUST_CHECK;

#endif
