#include "tune/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

static const char magic[8] = "MQCKPT02";
enum {
  HASH_BYTES = 64, /* hexadecimal */
  N_HEADER = 9,    /* numbers */
  MAX_NAME = 1 << 16
};

/* ---- Writing ------------------------------------------------------------------------------------ */
/* Everything goes through the hash. */
struct writer {
  FILE *out;
  struct mq_sha256 *hash;
  bool failed;
};

static void put(struct writer *w, const void *bytes, size_t n) {
  if (n == 0) { /* an average that is not kept has no address */
    return;
  }
  w->failed = w->failed || fwrite(bytes, 1, n, w->out) != n;
  mq_sha256_update(w->hash, bytes, n);
}

static void put_number(struct writer *w, uint64_t x) {
  uint8_t bytes[8];
  for (int i = 0; i < 8; i++)
    bytes[i] = (uint8_t)(x >> (8 * i));
  put(w, bytes, sizeof bytes);
}

static void put_real(struct writer *w, double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  put_number(w, bits);
}

static void put_text(struct writer *w, const char *text) {
  put_number(w, strlen(text));
  put(w, text, strlen(text));
}

static void put_curve(struct writer *w, const struct tune_progress *progress) {
  for (size_t i = 0; i < progress->n_curve; i++) {
    const struct mq_curve_point *p = &progress->curve[i];
    put_number(w, (uint64_t)p->step);
    const double numbers[] = {p->epoch, p->rate, p->loss, p->train_top1, p->test_top1};
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
      put_real(w, numbers[k]);
  }
}

static void put_all(struct writer *w, const char *identity, const struct mq_trainer *trainer,
                    const struct tune_progress *progress) {
  size_t n = mq_trainer_state_count(trainer);
  put(w, magic, sizeof magic);
  const uint64_t header[N_HEADER - 1] = {(uint64_t)progress->step,
                                         (uint64_t)mq_trainer_steps(trainer),
                                         n,
                                         progress->n_average,
                                         progress->n_curve,
                                         progress->n_notes,
                                         (uint64_t)progress->interval.correct,
                                         (uint64_t)progress->interval.images};
  for (int i = 0; i < N_HEADER - 1; i++)
    put_number(w, header[i]);
  put_real(w, progress->interval.loss);
  put_text(w, identity);
  for (size_t i = 0; i < n; i++) {
    struct mq_trainer_state state = mq_trainer_state_at(trainer, i);
    put_text(w, state.name);
    put_number(w, state.count);
    put(w, state.values, state.count * sizeof(float));
  }
  put(w, progress->average, progress->n_average * sizeof(float));
  put_curve(w, progress);
  put(w, progress->notes, progress->n_notes);
}

mq_status tune_checkpoint_write(const char *path, const char *identity, const struct mq_trainer *trainer,
                                const struct tune_progress *progress, struct mq_err *err) {
  struct mq_file_out file;
  struct writer w = {.failed = false};
  char hex[HASH_BYTES + 1];
  mq_status status = mq_file_out_open(&file, path, err);
  if (status != MQ_OK) {
    return status;
  }
  status = mq_sha256_create(&w.hash, err);
  if (status == MQ_OK) {
    w.out = file.stream;
    put_all(&w, identity, trainer, progress);
    mq_sha256_finish(hex, w.hash);
    w.failed = w.failed || fwrite(hex, 1, HASH_BYTES, w.out) != HASH_BYTES;
    status = w.failed ? mq_fail(err, MQ_FAILED, "%s: cannot write the checkpoint (disk full?)", path) : MQ_OK;
  }
  if (status == MQ_OK) {
    status = mq_file_out_commit(&file, err);
  }
  mq_file_out_abandon(&file);
  return status;
}

/* ---- Reading ------------------------------------------------------------------------------------ */
struct reader {
  const char *path;
  const uint8_t *at, *end;
  bool is_short;
};

static const uint8_t *get(struct reader *r, uint64_t n) {
  if (r->is_short || n > (uint64_t)(r->end - r->at)) {
    r->is_short = true;
    return NULL;
  }
  const uint8_t *bytes = r->at;
  r->at += n;
  return bytes;
}

static uint64_t get_number(struct reader *r) {
  const uint8_t *bytes = get(r, 8);
  uint64_t x = 0;
  for (int i = 0; bytes && i < 8; i++)
    x |= (uint64_t)bytes[i] << (8 * i);
  return x;
}

static double get_real(struct reader *r) {
  uint64_t bits = get_number(r);
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static bool is_text(struct reader *r, const char *expected) {
  uint64_t n = get_number(r);
  const uint8_t *bytes = n <= MAX_NAME ? get(r, n) : NULL;
  return bytes && n == strlen(expected) && memcmp(bytes, expected, n) == 0;
}

static mq_status fail(const struct reader *r, const char *what, struct mq_err *err) {
  return mq_fail(err, MQ_BAD_INPUT, "%s: %s; remove the file to start the run again", r->path, what);
}

static mq_status check_file(struct reader *r, struct mq_err *err) {
  char hex[HASH_BYTES + 1];
  size_t n = (size_t)(r->end - r->at);
  if (n < sizeof magic + HASH_BYTES || memcmp(r->at, magic, sizeof magic) != 0) {
    return fail(r, "not a checkpoint of this version", err);
  }
  r->end -= HASH_BYTES;
  mq_sha256_bytes(hex, r->at, n - HASH_BYTES);
  if (memcmp(hex, r->end, HASH_BYTES) != 0) {
    return fail(r, "a damaged checkpoint (its hash does not match)", err);
  }
  r->at += sizeof magic;
  return MQ_OK;
}

/* Two passes over the entries: the first only looks. */
static mq_status read_entries(struct reader *r, const struct mq_trainer *trainer, bool takes,
                              struct mq_err *err) {
  for (size_t i = 0; i < mq_trainer_state_count(trainer); i++) {
    struct mq_trainer_state state = mq_trainer_state_at(trainer, i);
    bool is_same = is_text(r, state.name) && get_number(r) == state.count;
    const uint8_t *bytes = is_same ? get(r, (uint64_t)state.count * sizeof(float)) : NULL;
    if (!bytes) {
      return fail(r, "a checkpoint of another network or method", err);
    }
    if (takes) memcpy(state.values, bytes, state.count * sizeof(float));
  }
  return MQ_OK;
}

static void read_curve(struct reader *r, struct tune_progress *progress, size_t n) {
  for (size_t i = 0; i < n; i++) {
    struct mq_curve_point *p = &progress->curve[i];
    p->step = (int64_t)get_number(r);
    double *const numbers[] = {&p->epoch, &p->rate, &p->loss, &p->train_top1, &p->test_top1};
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
      *numbers[k] = get_real(r);
  }
  progress->n_curve = n;
}

static mq_status read_all(struct reader *r, const char *identity, struct mq_trainer *trainer,
                          struct tune_progress *progress, struct mq_err *err) {
  uint64_t header[N_HEADER - 1];
  for (int i = 0; i < N_HEADER - 1; i++)
    header[i] = get_number(r);
  double loss = get_real(r);
  if (!is_text(r, identity)) {
    return fail(r, "a checkpoint of another run (other options, data or model)", err);
  }
  const size_t point_bytes = 6 * 8;
  struct reader first = *r;
  mq_status status = header[2] == mq_trainer_state_count(trainer)
                         ? read_entries(&first, trainer, false, err)
                         : fail(r, "a checkpoint of another network or method", err);
  if (status != MQ_OK) {
    return status;
  }
  uint64_t left = (uint64_t)(first.end - first.at);
  if (header[0] > INT64_MAX || header[1] > INT64_MAX || header[3] != progress->n_average ||
      header[4] > progress->capacity || header[5] > left ||
      left - header[5] != header[3] * sizeof(float) + header[4] * point_bytes) {
    return fail(r, "a checkpoint of another run (its length is wrong)", err);
  }
  progress->n_notes = (size_t)header[5];
  progress->notes = mq_alloc(progress->n_notes + 1, 1);
  if (!progress->notes) {
    return mq_fail_memory(err, r->path);
  }
  status = read_entries(r, trainer, true, err);
  if (status == MQ_OK && progress->n_average > 0) {
    memcpy(progress->average, get(r, header[3] * sizeof(float)), header[3] * sizeof(float));
  }
  read_curve(r, progress, (size_t)header[4]);
  if (progress->n_notes > 0) memcpy(progress->notes, get(r, progress->n_notes), progress->n_notes);
  progress->step = (int64_t)header[0];
  progress->interval = (struct tune_interval){loss, (int64_t)header[6], (int64_t)header[7]};
  mq_trainer_set_steps(trainer, (int64_t)header[1]);
  return status;
}

mq_status tune_checkpoint_read(const char *path, const char *identity, struct mq_trainer *trainer,
                               struct tune_progress *progress, struct mq_err *err) {
  const uint8_t *bytes = NULL;
  size_t n = 0;
  mq_status status = mq_file_map(&bytes, &n, path, err);
  if (status != MQ_OK) {
    return status;
  }
  struct reader r = {.path = path, .at = bytes, .end = bytes + n};
  status = check_file(&r, err);
  if (status == MQ_OK) {
    status = read_all(&r, identity, trainer, progress, err);
  }
  mq_file_unmap(bytes, n);
  return status;
}
