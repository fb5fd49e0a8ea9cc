/* Tar archives through libarchive. A plain tar in memory is read without copies: libarchive hands out
 * pointers into the memory it was given, so an entry's bytes are remembered instead of read. */
#include "data/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>

#include "data/tree.h"

#define MAX_ENTRIES 20000000
#define MAX_IMAGE_BYTES ((size_t)256 << 20)
#define FIRST_BYTES ((size_t)64 << 10)

/* The archive being read, and room for an entry that cannot be pointed at. */
struct reader {
  struct archive *archive;
  const uint8_t *bytes;
  size_t n;
  const char *path;
  struct mq_arena *arena;
  uint8_t *copy;
  size_t capacity;
};

static mq_status fail_archive(const struct reader *reader, const char *name, struct mq_err *err) {
  const char *message = archive_error_string(reader->archive);
  return mq_fail(err, MQ_BAD_INPUT, "%s: %s%s%s", reader->path, name, *name ? ": " : "",
                 message ? message : "not a readable tar archive");
}

static mq_status grow_copy(struct reader *reader, size_t n, struct mq_err *err) {
  size_t capacity = reader->capacity ? reader->capacity : FIRST_BYTES;
  while (capacity < n) {
    capacity *= 2;
  }
  uint8_t *more = capacity == reader->capacity ? reader->copy : mq_realloc(reader->copy, capacity, 1);
  if (!more) {
    return mq_fail_memory(err, reader->path);
  }
  reader->copy = more;
  reader->capacity = capacity;
  return MQ_OK;
}

/* The entry's content: a pointer into the archive's own bytes if its first block is all of it. Otherwise
 * copied block by block (never trusting the size that the header claims), holes as zeros. */
static mq_status read_content(struct mq_tar_entry *entry, struct reader *reader, size_t size,
                              struct mq_err *err) {
  size_t done = 0;
  for (;;) {
    const void *block = NULL;
    size_t n = 0;
    la_int64_t offset = 0;
    const int code = archive_read_data_block(reader->archive, &block, &n, &offset);
    if (code == ARCHIVE_EOF) {
      break;
    }
    if (code != ARCHIVE_OK && code != ARCHIVE_WARN) {
      return fail_archive(reader, entry->name, err);
    }
    const uintptr_t at = (uintptr_t)block, begin = (uintptr_t)reader->bytes;
    if (offset == 0 && n == size && at >= begin && at - begin <= reader->n && n <= reader->n - (at - begin)) {
      entry->bytes = block;
      return MQ_OK;
    }
    if (offset < (la_int64_t)done || (size_t)offset > size || n > size - (size_t)offset) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: %s: blocks lie outside of its %zu bytes", reader->path,
                     entry->name, size);
    }
    mq_status status = grow_copy(reader, (size_t)offset + n, err);
    if (status != MQ_OK) {
      return status;
    }
    memset(reader->copy + done, 0, (size_t)offset - done);
    memcpy(reader->copy + offset, block, n);
    done = (size_t)offset + n;
  }
  if (done != size) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %s: %zu bytes, expected %zu: the archive is truncated",
                   reader->path, entry->name, done, size);
  }
  uint8_t *kept = mq_arena_alloc(reader->arena, size + 1, 1);
  if (!kept) {
    return mq_fail_memory(err, reader->path);
  }
  if (size) {
    memcpy(kept, reader->copy, size);
  }
  entry->bytes = kept;
  return MQ_OK;
}

static mq_status keep_entry(struct mq_tar *tar, const struct mq_tar_entry *entry, const struct reader *reader,
                            struct mq_err *err) {
  if (tar->n == tar->capacity) {
    const size_t capacity = tar->capacity ? 2 * tar->capacity : 256;
    struct mq_tar_entry *more =
        capacity > MAX_ENTRIES ? NULL : mq_realloc(tar->entries, capacity, sizeof *more);
    if (!more) {
      return mq_fail_memory(err, reader->path);
    }
    tar->entries = more;
    tar->capacity = capacity;
  }
  tar->entries[tar->n++] = *entry;
  return MQ_OK;
}

static const char *clean_name(struct reader *reader, struct archive_entry *header) {
  const char *name = archive_entry_pathname(header);
  name = name ? name : archive_entry_pathname_utf8(header);
  if (!name) {
    return "";
  }
  while (*name == '/' || strncmp(name, "./", 2) == 0) {
    name += *name == '/' ? 1 : 2;
  }
  return mq_arena_strdup(reader->arena, name);
}

static mq_status read_entry(struct mq_tar *tar, struct reader *reader, struct archive_entry *header,
                            struct mq_err *err) {
  if (archive_entry_filetype(header) != AE_IFREG || archive_entry_hardlink(header)) {
    return MQ_OK;
  }
  const la_int64_t size = archive_entry_size(header);
  struct mq_tar_entry entry = {.name = clean_name(reader, header), .n = (size_t)size};
  if (!entry.name) {
    return mq_fail_memory(err, reader->path);
  }
  const bool has_suffix = mq_path_has_image_suffix(entry.name);
  if (size < 0 || (size_t)size > MAX_IMAGE_BYTES) {
    return has_suffix ? mq_fail(err, MQ_BAD_INPUT, "%s: %s: %lld bytes, expected an image of at most %zu",
                                reader->path, entry.name, (long long)size, MAX_IMAGE_BYTES)
                      : MQ_OK;
  }
  mq_status status = read_content(&entry, reader, (size_t)size, err);
  if (status != MQ_OK) {
    return status;
  }
  const bool is_image =
      has_suffix || mq_image_is_jpeg(entry.bytes, entry.n) || mq_image_is_png(entry.bytes, entry.n);
  return is_image && *entry.name ? keep_entry(tar, &entry, reader, err) : MQ_OK;
}

mq_status mq_tar_index(struct mq_tar *tar, const uint8_t *bytes, size_t n, const char *path,
                       struct mq_arena *arena, struct mq_err *err) {
  if (n == 0) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: empty file, expected a tar archive", path);
  }
  struct reader reader = {.bytes = bytes, .n = n, .path = path, .arena = arena};
  mq_status status = MQ_OK;
  reader.archive = archive_read_new();
  if (!reader.archive) {
    return mq_fail_memory(err, path);
  }
  /* Only filters that are libraries: libarchive would start programs for others. */
  archive_read_support_filter_gzip(reader.archive);
  archive_read_support_filter_bzip2(reader.archive);
  archive_read_support_filter_xz(reader.archive);
  archive_read_support_filter_zstd(reader.archive);
  archive_read_support_format_tar(reader.archive);
  if (archive_read_open_memory(reader.archive, bytes, n) != ARCHIVE_OK) {
    status = fail_archive(&reader, "", err);
  }
  while (status == MQ_OK) {
    struct archive_entry *header = NULL;
    const int code = archive_read_next_header(reader.archive, &header);
    if (code == ARCHIVE_EOF) {
      break;
    }
    status = code == ARCHIVE_OK || code == ARCHIVE_WARN ? read_entry(tar, &reader, header, err)
                                                        : fail_archive(&reader, "", err);
    status = status == MQ_OK && mq_cancelled() ? mq_fail(err, MQ_CANCELLED, "cancelled") : status;
  }
  archive_read_free(reader.archive);
  mq_free(reader.copy);
  return status;
}

void mq_tar_deinit(struct mq_tar *tar) {
  mq_free(tar->entries);
  memset(tar, 0, sizeof *tar);
}
