#include "deploy/bundle_export.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "deploy/read.h"

#define FOLDER "export"

/* "export/FORMAT" and a suffix. */
static void name_file(char name[128], const struct mq_exporter *exporter, size_t file) {
  snprintf(name, 128, FOLDER "/%s%s", exporter->name, exporter->suffixes[file]);
}

/* ---- Writing --------------------------------------------------------------------------------------- */

static mq_status hash_files(json_t **hashes, const char *directory, const struct mq_exporter *exporter,
                            struct mq_err *err) {
  mq_status status = MQ_OK;
  *hashes = json_object();
  for (size_t i = 0; i < MQ_EXPORT_FILES && exporter->suffixes[i] && status == MQ_OK; i++) {
    char name[128], hex[65];
    name_file(name, exporter, i);
    char *path = mq_path_join(directory, name);
    status = path ? mq_sha256_file(hex, path, err) : mq_fail_memory(err, name);
    if (status == MQ_OK) {
      json_object_set_new(*hashes, name, json_string(hex));
    }
    mq_free(path);
  }
  return status;
}

static mq_status write_format(json_t *record, const char *directory, const char *format,
                              const struct mq_bundle *bundle, struct mq_err *err) {
  const struct mq_exporter *exporter = mq_exporter_find(format);
  struct mq_err why = {0};
  json_t *hashes = NULL;
  if (!exporter) {
    json_object_set_new(record, format, json_pack("{s:s}", "skipped", "not in this version"));
    return MQ_OK;
  }
  if (mq_export_check(exporter, bundle, &why) != MQ_OK) {
    mq_log_warn("no %s export: %s", format, why.message);
    json_object_set_new(record, format, json_pack("{s:s}", "skipped", why.message));
    return MQ_OK;
  }
  char name[128];
  snprintf(name, sizeof name, FOLDER "/%s", format);
  char *stem = mq_path_join(directory, name);
  mq_status status = stem ? mq_export(exporter, stem, bundle, err) : mq_fail_memory(err, name);
  if (status == MQ_OK) {
    status = hash_files(&hashes, directory, exporter, err);
  }
  json_object_set_new(record, format, json_pack("{s:o}", "files", hashes ? hashes : json_object()));
  mq_free(stem);
  return status;
}

mq_status deploy_exports_write(json_t **record, const char *directory, const struct mq_target *target,
                               struct mq_err *err) {
  struct mq_bundle bundle = {.has_preprocess = false};
  char *folder = mq_path_join(directory, FOLDER);
  *record = json_object();
  mq_status status = folder && *record ? MQ_OK : mq_fail_memory(err, directory);
  if (status == MQ_OK && target->n_artefacts > 0) {
    status = mq_file_make_directories(folder, err);
    if (status == MQ_OK) {
      status = deploy_read_parts(&bundle, directory, err);
    }
    for (size_t i = 0; i < target->n_artefacts && status == MQ_OK; i++) {
      status = write_format(*record, directory, target->artefacts[i], &bundle, err);
    }
  }
  mq_bundle_deinit(&bundle);
  mq_free(folder);
  return status;
}

/* ---- Removing, moving ------------------------------------------------------------------------------ */

typedef mq_status (*file_fn)(const char *to, const char *from, const char *name, struct mq_err *err);

/* Calls `act` for each file that a format may have in the folder. */
static mq_status for_each_file(file_fn act, const char *to, const char *from, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < mq_exporter_count(); i++) {
    const struct mq_exporter *exporter = mq_exporter_at(i);
    for (size_t k = 0; k < MQ_EXPORT_FILES && exporter->suffixes[k] && status == MQ_OK; k++) {
      char name[128];
      name_file(name, exporter, k);
      status = act(to, from, name, err);
    }
  }
  return status;
}

static mq_status remove_file(const char *directory, const char *unused, const char *name,
                             struct mq_err *err) {
  (void)unused;
  char *path = mq_path_join(directory, name);
  mq_status status = path ? MQ_OK : mq_fail_memory(err, name);
  if (path && unlink(path) != 0 && errno != ENOENT && errno != ENOTDIR) {
    status = mq_fail(err, MQ_FAILED, "%s: cannot remove: %s", path, strerror(errno));
  }
  mq_free(path);
  return status;
}

static mq_status move_file(const char *to, const char *from, const char *name, struct mq_err *err) {
  char *new_path = mq_path_join(to, name), *old_path = mq_path_join(from, name);
  mq_status status = new_path && old_path ? MQ_OK : mq_fail_memory(err, name);
  if (status == MQ_OK && rename(old_path, new_path) != 0 && errno != ENOENT) {
    status = mq_fail(err, MQ_FAILED, "%s: cannot write: %s", new_path, strerror(errno));
  }
  mq_free(new_path);
  mq_free(old_path);
  return status;
}

mq_status deploy_exports_remove(const char *directory, struct mq_err *err) {
  char *folder = mq_path_join(directory, FOLDER);
  mq_status status = folder ? for_each_file(remove_file, directory, NULL, err) : mq_fail_memory(err, FOLDER);
  if (status == MQ_OK) {
    rmdir(folder); /* stays if anything is in it */
  }
  mq_free(folder);
  return status;
}

mq_status deploy_exports_move(const char *to, const char *from, struct mq_err *err) {
  char *source = mq_path_join(from, FOLDER), *folder = mq_path_join(to, FOLDER);
  mq_status status = source && folder ? deploy_exports_remove(to, err) : mq_fail_memory(err, FOLDER);
  if (status == MQ_OK && mq_file_is_directory(source)) {
    status = mq_file_make_directories(folder, err);
    if (status == MQ_OK) {
      status = for_each_file(move_file, to, from, err);
    }
  }
  mq_free(source);
  mq_free(folder);
  return status;
}
