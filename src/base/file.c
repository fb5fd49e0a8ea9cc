/* Bounded reads, memory maps, atomic writes. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the operating system refused: a file that is not there or not ours is bad input, the rest a failure.
 */
static mq_status fail_errno(struct mq_err *err, const char *path) {
  int code = errno;
  bool is_input = code == ENOENT || code == ENOTDIR || code == EACCES || code == EISDIR || code == ELOOP ||
                  code == ENAMETOOLONG;
  return mq_fail(err, is_input ? MQ_BAD_INPUT : MQ_FAILED, "%s: %s", path,
                 code == ENOENT ? "no such file" : strerror(code));
}

/* Wherever a file should go and cannot, the system is in the way, not the input. */
static mq_status fail_write(struct mq_err *err, const char *path, int code) {
  return mq_fail(err, MQ_FAILED, "%s: cannot write: %s", path, strerror(code));
}

static mq_status open_regular(int *fd, size_t *bytes, const char *path, struct mq_err *err) {
  *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (*fd < 0) {
    return fail_errno(err, path);
  }
  struct stat info;
  mq_status status = MQ_OK;
  if (fstat(*fd, &info) != 0) {
    status = fail_errno(err, path);
  } else if (!S_ISREG(info.st_mode)) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: %s, expected a regular file", path,
                     S_ISDIR(info.st_mode) ? "is a directory" : "is a device or pipe");
  } else {
    *bytes = (size_t)info.st_size;
  }
  if (status != MQ_OK) {
    close(*fd);
    *fd = -1;
  }
  return status;
}

static mq_status read_all(char *bytes, size_t n, int fd, const char *path, struct mq_err *err) {
  for (size_t done = 0; done < n;) {
    ssize_t got = read(fd, bytes + done, n - done);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return got < 0 ? fail_errno(err, path)
                     : mq_fail(err, MQ_BAD_INPUT, "%s: shrank to %zu bytes while it was read", path, done);
    }
    done += (size_t)got;
  }
  return MQ_OK;
}

mq_status mq_file_read(char **out, size_t *n, const char *path, size_t max_bytes, struct mq_err *err) {
  *out = NULL;
  *n = 0;
  int fd;
  size_t bytes = 0;
  mq_status status = open_regular(&fd, &bytes, path, err);
  if (status != MQ_OK) {
    return status;
  }
  char *text = NULL;
  if (bytes > max_bytes) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: %zu bytes, expected at most %zu", path, bytes, max_bytes);
    goto done;
  }
  text = mq_alloc(bytes + 1, 1);
  if (!text) {
    status = mq_fail_memory(err, path);
    goto done;
  }
  status = read_all(text, bytes, fd, path, err);
done:
  close(fd);
  if (status != MQ_OK) {
    mq_free(text);
    return status;
  }
  *out = text;
  *n = bytes;
  return MQ_OK;
}

mq_status mq_file_map(const uint8_t **bytes, size_t *n, const char *path, struct mq_err *err) {
  *bytes = NULL;
  *n = 0;
  int fd;
  size_t size = 0;
  mq_status status = open_regular(&fd, &size, path, err);
  if (status != MQ_OK) {
    return status;
  }
  if (size > 0) {
    void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
      status = fail_errno(err, path);
    } else {
      *bytes = map;
      *n = size;
    }
  }
  close(fd);
  return status;
}

void mq_file_unmap(const uint8_t *bytes, size_t n) {
  if (bytes) {
    munmap((void *)(uintptr_t)bytes, n);
  }
}

mq_status mq_file_out_open(struct mq_file_out *out, const char *path, struct mq_err *err) {
  *out = (struct mq_file_out){0};
  size_t bytes = strlen(path) + 32;
  out->path = mq_alloc(strlen(path) + 1, 1);
  out->temporary = mq_alloc(bytes, 1);
  if (!out->path || !out->temporary) {
    mq_file_out_abandon(out);
    return mq_fail_memory(err, path);
  }
  strcpy(out->path, path);
  snprintf(out->temporary, bytes, "%s.%ld.XXXXXX", path, (long)getpid());
  int fd = mkostemp(out->temporary, O_CLOEXEC);
  if (fd < 0) {
    mq_status status = fail_write(err, path, errno);
    out->temporary[0] = 0;
    mq_file_out_abandon(out);
    return status;
  }
  mode_t mask = umask(0);
  umask(mask);
  if (fchmod(fd, 0666 & ~mask) != 0 || !(out->stream = fdopen(fd, "w"))) {
    mq_status status = fail_write(err, path, errno);
    close(fd);
    mq_file_out_abandon(out);
    return status;
  }
  return MQ_OK;
}

mq_status mq_file_out_commit(struct mq_file_out *out, struct mq_err *err) {
  FILE *stream = out->stream;
  bool is_written = fflush(stream) == 0 && !ferror(stream) && fsync(fileno(stream)) == 0;
  int code = errno;
  out->stream = NULL;
  if (fclose(stream) != 0 && is_written) {
    is_written = false;
    code = errno;
  }
  if (is_written && rename(out->temporary, out->path) != 0) {
    is_written = false;
    code = errno;
  }
  mq_status status = MQ_OK;
  if (!is_written) {
    status = fail_write(err, out->path, code);
  } else {
    out->temporary[0] = 0;
  }
  mq_file_out_abandon(out);
  return status;
}

void mq_file_out_abandon(struct mq_file_out *out) {
  if (out->stream) {
    fclose(out->stream);
  }
  if (out->temporary && out->temporary[0]) {
    unlink(out->temporary);
  }
  mq_free(out->path);
  mq_free(out->temporary);
  *out = (struct mq_file_out){0};
}

mq_status mq_file_write(const char *path, const void *bytes, size_t n, struct mq_err *err) {
  struct mq_file_out out;
  mq_status status = mq_file_out_open(&out, path, err);
  if (status != MQ_OK) {
    return status;
  }
  if (n > 0) {
    fwrite(bytes, 1, n, out.stream); /* a failure stays in ferror and is reported by commit */
  }
  return mq_file_out_commit(&out, err);
}

mq_status mq_file_make_directories(const char *path, struct mq_err *err) {
  char partial[PATH_MAX];
  size_t n = strlen(path);
  if (n == 0 || n >= sizeof partial) {
    return mq_fail(err, MQ_BAD_USAGE, "directory name of %zu characters, expected 1 to %d", n, PATH_MAX - 1);
  }
  memcpy(partial, path, n + 1);
  for (size_t i = 1; i <= n; i++) {
    if (partial[i] != '/' && partial[i] != 0) {
      continue;
    }
    char kept = partial[i];
    partial[i] = 0;
    if (mkdir(partial, 0777) != 0 && errno != EEXIST) {
      return mq_fail(err, MQ_FAILED, "%s: cannot create directory: %s", partial, strerror(errno));
    }
    partial[i] = kept;
  }
  if (!mq_file_is_directory(path)) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: exists and is not a directory", path);
  }
  return MQ_OK;
}
