/* gzip in memory, through zlib. */
#include "data/gunzip.h"

#include <limits.h>
#include <zlib.h>

#define FIRST_BYTES ((size_t)1 << 20)

bool mq_is_gzip(const uint8_t *bytes, size_t n) {
  return n >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

struct output {
  uint8_t *bytes;
  size_t n, capacity, max_bytes;
};

static mq_status grow(struct output *out, const char *path, struct mq_err *err) {
  if (out->n < out->capacity) {
    return MQ_OK;
  }
  if (out->capacity > out->max_bytes) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: expands to more than the expected %zu bytes", path,
                   out->max_bytes);
  }
  /* One byte beyond the limit shows that it is passed. */
  size_t capacity = out->capacity ? 2 * out->capacity : FIRST_BYTES;
  capacity = capacity > out->max_bytes ? out->max_bytes + 1 : capacity;
  uint8_t *more = mq_realloc(out->bytes, capacity, 1);
  if (!more) {
    return mq_fail_memory(err, path);
  }
  out->bytes = more;
  out->capacity = capacity;
  return MQ_OK;
}

static mq_status expand(struct output *out, z_stream *stream, const uint8_t *bytes, size_t n,
                        const char *path, struct mq_err *err) {
  size_t left = n;
  stream->next_in = (uint8_t *)(uintptr_t)bytes;
  for (;;) {
    mq_status status = grow(out, path, err);
    if (status != MQ_OK) {
      return status;
    }
    const size_t room = out->capacity - out->n;
    const uInt give_in = left > UINT_MAX ? UINT_MAX : (uInt)left,
               give_out = room > UINT_MAX ? UINT_MAX : (uInt)room;
    stream->avail_in = give_in;
    stream->avail_out = give_out;
    stream->next_out = out->bytes + out->n;
    const int code = inflate(stream, Z_NO_FLUSH);
    left -= give_in - stream->avail_in;
    out->n += give_out - stream->avail_out;
    if (code == Z_STREAM_END) {
      if (!mq_is_gzip(stream->next_in, left)) {
        return MQ_OK; /* what follows a member and is not one is padding */
      }
      inflateReset(stream);
    } else if (code != Z_OK && (code != Z_BUF_ERROR || left == 0)) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: damaged gzip data after %zu bytes: %s", path, n - left,
                     stream->msg ? stream->msg : "the file ends early");
    }
  }
}

mq_status mq_gunzip(uint8_t **bytes_out, size_t *n_out, const uint8_t *bytes, size_t n, size_t max_bytes,
                    const char *path, struct mq_err *err) {
  *bytes_out = NULL;
  *n_out = 0;
  z_stream stream = {0};
  struct output out = {.max_bytes = max_bytes};
  if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) {
    return mq_fail_memory(err, path);
  }
  mq_status status = expand(&out, &stream, bytes, n, path, err);
  inflateEnd(&stream);
  if (status == MQ_OK && out.n > max_bytes) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: expands to more than the expected %zu bytes", path, max_bytes);
  }
  if (status != MQ_OK) {
    mq_free(out.bytes);
    return status;
  }
  *bytes_out = out.bytes;
  *n_out = out.n;
  return MQ_OK;
}
