/* A program in a file made ready to run: for programs that link this library alone. */
#include <string.h>

#include "base/file.h"
#include "runtime/internal.h"

#define MAX_FILE_BYTES ((size_t)1 << 31)

/* The file's bytes and what the loader makes of them, in one block that the program lies in. */
static mq_status load(struct mq_program **program, void **memory, const char *path, struct mq_err *err) {
  struct mq_program_err why = {{0}};
  char *file = NULL;
  size_t n = 0, bytes = 0;
  mq_status status = mq_file_read(&file, &n, path, MAX_FILE_BYTES, err);
  *memory = file; /* aligned as all of mq_alloc's */
  if (status != MQ_OK) return status;
  if (mq_program_memory_bytes(&bytes, file, n, &why) != MQ_PROGRAM_OK)
    return mq_fail(err, MQ_BAD_INPUT, "%s: %s", path, why.message);
  const size_t begin = runtime_round(n);
  unsigned char *both = mq_alloc(begin + bytes, 1);
  if (both == NULL) return mq_fail_memory(err, path);
  memcpy(both, file, n);
  mq_free(file);
  *memory = both;
  if (mq_program_load(program, both, n, both + begin, bytes, &why) != MQ_PROGRAM_OK)
    return mq_fail(err, MQ_BAD_INPUT, "%s: %s", path, why.message);
  return MQ_OK;
}

mq_status mq_runtime_open(struct mq_runtime **runtime, const char *path,
                          const struct mq_runtime_options *options, struct mq_err *err) {
  struct mq_program *program = NULL;
  void *memory = NULL;
  *runtime = NULL;
  mq_status status = load(&program, &memory, path, err);
  if (status == MQ_OK) status = mq_runtime_create(runtime, program, options, err);
  if (status == MQ_OK)
    (*runtime)->file = memory;
  else
    mq_free(memory);
  return status;
}

const struct mq_program *mq_runtime_get_program(const struct mq_runtime *runtime) {
  return runtime->program;
}
