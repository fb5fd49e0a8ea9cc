#include "deploy/bundle_program.h"

#include "base/file.h"

#define MAX_PROGRAM_BYTES ((size_t)1 << 31)

/* ---- Writing ------------------------------------------------------------------------------------------- */

static mq_status make_file(void **bytes, size_t *n, const struct mq_program *program, const char *path,
                           struct mq_err *err) {
  struct mq_program_err why = {{0}};
  *bytes = NULL;
  if (mq_program_file_bytes(n, program, &why) != MQ_PROGRAM_OK) {
    return mq_fail(err, MQ_FAILED, "%s: %s", path, why.message);
  }
  *bytes = mq_alloc(*n, 1);
  if (!*bytes) {
    return mq_fail_memory(err, path);
  }
  if (mq_program_write(*bytes, *n, program, &why) != MQ_PROGRAM_OK) {
    mq_free(*bytes);
    *bytes = NULL;
    return mq_fail(err, MQ_FAILED, "%s: %s", path, why.message);
  }
  return MQ_OK;
}

static mq_status write_file(json_t *record, const char *path, const struct mq_program *program,
                            struct mq_err *err) {
  size_t n = 0;
  void *bytes = NULL;
  mq_status status = make_file(&bytes, &n, program, path, err);
  if (status == MQ_OK) {
    status = mq_file_write(path, bytes, n, err);
  }
  json_object_set_new(record, "bytes", json_integer((json_int_t)n));
  json_object_set_new(record, "arena_bytes", json_integer((json_int_t)program->arena_bytes));
  mq_free(bytes);
  return status;
}

mq_status deploy_program_write(json_t **record, const char *directory,
                               const struct mq_bundle_contents *contents, struct mq_err *err) {
  struct mq_lowered lowered = {0};
  struct mq_err why = {0};
  *record = json_object();
  char *path = mq_path_join(directory, DEPLOY_PROGRAM);
  mq_status status = *record && path ? MQ_OK : mq_fail_memory(err, DEPLOY_PROGRAM);
  if (status != MQ_OK) {
    mq_free(path);
    return status;
  }
  status = mq_lower(&lowered, contents->prepared, contents->target, &why);
  if (status == MQ_OK) {
    status = write_file(*record, path, &lowered.program, err);
  } else if (status == MQ_BAD_INPUT) {
    if (contents->target->arithmetic) {
      mq_log_warn("no integer program: %s", why.message);
    }
    json_object_set_new(*record, "skipped", json_string(why.message));
    status = MQ_OK;
  } else {
    status = mq_fail(err, status, "%s", why.message);
  }
  mq_lowered_deinit(&lowered);
  mq_free(path);
  return status;
}

/* ---- Reading ------------------------------------------------------------------------------------------- */

/* Takes over the bytes. */
static mq_status keep_program(struct mq_bundle *bundle, void *bytes, size_t n, const char *what,
                              struct mq_err *err) {
  struct mq_program_err why = {{0}};
  size_t memory_bytes = 0;
  bundle->program_file = bytes; /* aligned as all of mq_alloc's */
  if (mq_program_memory_bytes(&memory_bytes, bytes, n, &why) != MQ_PROGRAM_OK) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %s", what, why.message);
  }
  bundle->program_memory = mq_alloc(memory_bytes, 1);
  if (!bundle->program_memory) {
    return mq_fail_memory(err, what);
  }
  if (mq_program_load(&bundle->program, bytes, n, bundle->program_memory, memory_bytes, &why) !=
      MQ_PROGRAM_OK) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %s", what, why.message);
  }
  return MQ_OK;
}

mq_status deploy_program_read(struct mq_bundle *bundle, const char *directory, struct mq_err *err) {
  char *path = mq_path_join(directory, DEPLOY_PROGRAM), *bytes = NULL;
  size_t n = 0;
  mq_status status =
      path ? mq_file_read(&bytes, &n, path, MAX_PROGRAM_BYTES, err) : mq_fail_memory(err, DEPLOY_PROGRAM);
  if (status == MQ_OK) {
    status = keep_program(bundle, bytes, n, path, err);
  }
  mq_free(path);
  return status;
}

mq_status deploy_program_take(struct mq_bundle *bundle, const struct mq_program *program, const char *what,
                              struct mq_err *err) {
  void *bytes = NULL;
  size_t n = 0;
  mq_status status = make_file(&bytes, &n, program, what, err);
  return status == MQ_OK ? keep_program(bundle, bytes, n, what, err) : status;
}
