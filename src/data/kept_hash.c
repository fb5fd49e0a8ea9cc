/* A data set's hash, kept beside results or decoded images: reading a large data set takes minutes, looking
 * at its files' sizes and times does not. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "data/dataset.h"

/* A file written twice within one tick of its file system's clock looks the same, so what is newer than this
 * is read. */
#define SETTLED_NS ((int64_t)3000000000)

/* What tells one state of the files from another. */
struct stamp {
  struct mq_sha256 *hash;
  int64_t newest_ns;
};

static int64_t ns_of(struct timespec time) {
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static mq_status add_file(void *context, const char *path, struct mq_err *err) {
  struct stamp *stamp = context;
  struct stat info;
  if (stat(path, &info) != 0) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %s", path, strerror(errno));
  }
  /* The time of change too: a content can be replaced under its old time of modification. */
  const int64_t modified = ns_of(info.st_mtim), changed = ns_of(info.st_ctim);
  const int64_t numbers[] = {(int64_t)info.st_dev, (int64_t)info.st_ino, (int64_t)info.st_size, modified,
                             changed};
  mq_sha256_update(stamp->hash, path, strlen(path) + 1);
  mq_sha256_update(stamp->hash, numbers, sizeof numbers);
  stamp->newest_ns = modified > stamp->newest_ns ? modified : stamp->newest_ns;
  stamp->newest_ns = changed > stamp->newest_ns ? changed : stamp->newest_ns;
  return MQ_OK;
}

/* *is_settled false: the files are too young to be known by their times. */
static mq_status make_stamp(char hex[65], bool *is_settled, const struct mq_dataset *dataset,
                            struct mq_err *err) {
  static const char form[] = "mqbench data hash 1";
  const struct mq_source *source = &dataset->source;
  struct stamp stamp = {.newest_ns = 0};
  mq_status status = mq_sha256_create(&stamp.hash, err);
  if (status != MQ_OK) {
    return status;
  }
  mq_sha256_update(stamp.hash, form, sizeof form);
  mq_sha256_update(stamp.hash, &source->n_entries, sizeof source->n_entries);
  for (int64_t i = 0; i < source->n_entries; i++) {
    const struct mq_entry *entry = &source->entries[i];
    mq_sha256_update(stamp.hash, entry->name, strlen(entry->name) + 1);
    mq_sha256_update(stamp.hash, &entry->label, sizeof entry->label);
  }
  status = source->ops->files(source, add_file, &stamp, err);
  mq_sha256_finish(hex, stamp.hash);
  *is_settled = stamp.newest_ns < dataset->opened_ns - SETTLED_NS;
  return status;
}

/* False if nothing readable is kept there. */
static bool read_kept(char hex[65], const char *path) {
  char *text = NULL;
  size_t n = 0;
  if (mq_file_read(&text, &n, path, 65, NULL) != MQ_OK) {
    return false;
  }
  const bool is_hash = n == 65 && strspn(text, "0123456789abcdef") == 64 && text[64] == '\n';
  if (is_hash) {
    memcpy(hex, text, 64);
    hex[64] = '\0';
  }
  mq_free(text);
  return is_hash;
}

static void write_kept(const char *path, const char *directory, const char hex[65]) {
  char text[65];
  memcpy(text, hex, 64);
  text[64] = '\n';
  if (mq_file_make_directories(directory, NULL) == MQ_OK && mq_file_write(path, text, 65, NULL) != MQ_OK) {
    mq_log_info("%s: cannot be written, so the data are read again next time", path);
  }
}

mq_status mq_dataset_hash_kept(char hex[65], struct mq_dataset *dataset, const char *directory,
                               struct mq_err *err) {
  char name[sizeof "hash-" + 64] = "hash-", kept[65];
  bool is_settled = false;
  if (!dataset->source.ops->files || make_stamp(name + 5, &is_settled, dataset, NULL) != MQ_OK ||
      !is_settled) {
    return mq_dataset_hash(hex, dataset, err);
  }
  char *path = mq_path_join(directory, name);
  if (!path) {
    return mq_fail_memory(err, directory);
  }
  const bool is_kept = read_kept(kept, path);
  if (is_kept) {
    pthread_mutex_lock(&dataset->hash_lock);
    memcpy(dataset->hash, kept, sizeof kept);
    pthread_mutex_unlock(&dataset->hash_lock);
  }
  const mq_status status = mq_dataset_hash(hex, dataset, err);
  if (status == MQ_OK && !is_kept) {
    write_kept(path, directory, hex);
  }
  mq_free(path);
  return status;
}
