/* A data set as a tar of PNG files, one folder per class. */
#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <string.h>

#include "data/dataset.h"

/* Class names serve as folders if their byte order is that of the labels and they are plain names; otherwise
 * zero-padded labels do. */
static bool can_use_names(const struct mq_dataset *dataset) {
  const char *previous = "";
  for (int64_t label = 0; label < dataset->info.n_classes; label++) {
    const char *name = mq_dataset_class_name(dataset, label);
    if (!name || strcmp(previous, name) >= 0 || strchr(name, '/') || name[0] == '.') {
      return false;
    }
    previous = name;
  }
  return true;
}

static void entry_name(char *text, size_t text_bytes, const struct mq_dataset *dataset, int64_t index,
                       bool uses_names) {
  const int64_t label = mq_dataset_label(dataset, index);
  char folder[256] = "";
  if (label >= 0 && uses_names) {
    snprintf(folder, sizeof folder, "%.200s/", mq_dataset_class_name(dataset, label));
  } else if (label >= 0) {
    snprintf(folder, sizeof folder, "%07lld/", (long long)label);
  }
  snprintf(text, text_bytes, "%s%08lld.png", folder, (long long)index);
}

/* Owner, mode and time are fixed: the same data set gives the same bytes. */
static mq_status write_entry(struct archive *archive, const char *name, const uint8_t *bytes, size_t n,
                             const char *path, struct mq_err *err) {
  struct archive_entry *entry = archive_entry_new();
  if (!entry) {
    return mq_fail_memory(err, path);
  }
  archive_entry_set_pathname(entry, name);
  archive_entry_set_size(entry, (la_int64_t)n);
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_perm(entry, 0644);
  archive_entry_set_mtime(entry, 0, 0);
  const bool is_written = archive_write_header(archive, entry) == ARCHIVE_OK &&
                          archive_write_data(archive, bytes, n) == (la_ssize_t)n;
  archive_entry_free(entry);
  return is_written ? MQ_OK
                    : mq_fail(err, MQ_FAILED, "%s: cannot write %s: %s", path, name,
                              archive_error_string(archive) ? archive_error_string(archive) : "disk full?");
}

static mq_status write_image(struct archive *archive, struct mq_dataset *dataset, int64_t index,
                             bool uses_names, struct mq_image *image, const char *path, struct mq_err *err) {
  char name[300];
  uint8_t *png = NULL;
  size_t n = 0;
  bool is_damaged = false;
  mq_status status = mq_dataset_read_bytes(image->pixels, &is_damaged, dataset, index, err);
  if (status == MQ_OK) {
    status = mq_image_encode_png(&png, &n, image, err);
  }
  if (status == MQ_OK) {
    entry_name(name, sizeof name, dataset, index, uses_names);
    status = write_entry(archive, name, png, n, path, err);
  }
  mq_free(png);
  return status == MQ_OK && mq_cancelled() ? mq_fail(err, MQ_CANCELLED, "cancelled") : status;
}

static mq_status write_all(struct archive *archive, struct mq_dataset *dataset, const char *path,
                           struct mq_err *err) {
  const int64_t n = dataset->info.n_images, *dim = dataset->info.image.dim;
  struct mq_image image;
  mq_status status = mq_image_init(&image, dim[1], dim[2], dim[0], path, err);
  const bool uses_names = can_use_names(dataset);
  struct mq_progress progress;
  mq_progress_init(&progress, "writing images", (uint64_t)n);
  for (int64_t i = 0; i < n && status == MQ_OK; i++) {
    status = write_image(archive, dataset, i, uses_names, &image, path, err);
    mq_progress_add(&progress, 1);
  }
  mq_progress_end(&progress);
  mq_image_deinit(&image);
  return status;
}

mq_status mq_dataset_write_tar(const char *path, struct mq_dataset *dataset, struct mq_err *err) {
  if (dataset->source.ops->floats) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: float images cannot be written as PNG, expected 8-bit ones",
                   dataset->source.what);
  }
  mq_status status = mq_dataset_check_size(dataset, err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_file_out out = {0};
  struct archive *archive = archive_write_new();
  status = archive ? mq_file_out_open(&out, path, err) : mq_fail_memory(err, path);
  if (status != MQ_OK) {
    goto done;
  }
  archive_write_set_format_pax_restricted(archive);
  if (archive_write_open_FILE(archive, out.stream) != ARCHIVE_OK) {
    status = mq_fail(err, MQ_FAILED, "%s: %s", path, archive_error_string(archive));
    goto done;
  }
  status = write_all(archive, dataset, path, err);
  if (status == MQ_OK && archive_write_close(archive) != ARCHIVE_OK) {
    status = mq_fail(err, MQ_FAILED, "%s: cannot write: %s", path, archive_error_string(archive));
  }
  if (status == MQ_OK) {
    status = mq_file_out_commit(&out, err);
  }
done:
  archive_write_free(archive);
  mq_file_out_abandon(&out);
  return status;
}
