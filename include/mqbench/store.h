/* The results store: one SQLite file (WAL) with every run, its metrics and its artefacts.
 *
 * A run's identity is the hash of its cell (bench.h); a run is visible only when it is complete. Artefacts
 * are files DIR/objects/<sha256>, renamed into place before the row that names them is committed. */
#ifndef MQBENCH_STORE_H
#define MQBENCH_STORE_H

#include "mqbench/base.h"

struct mq_store;

/* Creates DIR/results.db when missing; one of an older schema is brought up to date (for a reader: in
 * memory), one of a newer schema is MQ_BAD_INPUT with what to do. `path` is the .db file. */
mq_status mq_store_open(struct mq_store **store, const char *path, bool is_read_only,
                        struct mq_err *err) MQ_MUST_CHECK;
/* The last one to close a store, reader or writer, leaves nothing beside the .db file. */
void mq_store_close(struct mq_store *store);

/* One run as recorded. Strings are borrowed on write, owned by the arena on read; NULL = not applicable.
 * Numbers that do not apply are NAN or -1. What is read from a file was checked: the status is one of the
 * four, counts and lengths agree, text is UTF-8 without control characters but newlines. */
struct mq_run {
  int64_t id;
  const char *identity; /* sha256 hex of cell + inputs + revisions: unique among non-stale runs */
  const char *cell;     /* canonical text of the cell */
  const char
      *float_identity; /* identity of the float cell with this model and data; its own for a float run */
  const char *plan, *model, *target, *method, *variant, *w_observer, *a_observer;
  const char *options; /* for people: what differs from the defaults and has no field of its own */
  const char *model_sha256, *data_sha256, *eval_sha256, *target_sha256;
  int is_hardware;     /* of the target: 1, or 0 for a setting that nothing can be handed over for */
  int target_position; /* in the plan's list of targets, from 0: the order of a report's columns */
  int w_bits, a_bits;
  int64_t seed;
  const char *status;  /* done, failed, nc, stale */
  const char *message; /* why it failed */
  double float_top1, top1, top5, loss;
  int64_t float_correct, correct, images;
  const uint8_t *is_correct; /* bits, (images + 7) / 8 bytes; NULL if none */
  double seconds, calib_seconds, eval_seconds;
  const char *version, *cpu, *isa, *onednn, *started; /* started: ISO 8601 UTC */
  const char *result_sha256; /* of what was measured: its weights, scales and zero points, bit by bit */
  double best_top1;          /* of a training's judgements: a look at the test data */
  double train_seconds;      /* of its steps alone */
  const struct mq_run_history *history; /* of a training; written with the run, read by mq_store_history */
};
/* What a training recorded on its way. */
struct mq_run_curve {
  int64_t step;
  double epoch, rate, loss, train_top1, test_top1; /* test_top1 NAN: not measured here */
};
struct mq_run_range {
  int64_t step, point; /* point: its place among the run's points */
  double lo, hi;       /* clipping range, as in mq_run_point */
};
struct mq_run_history {
  const struct mq_run_curve *curve;
  size_t n_curve;
  const struct mq_run_range *ranges;
  size_t n_ranges;
};
/* Per run and point: what Appendix B of the paper draws. */
struct mq_run_point {
  const char *tensor, *kind; /* "weight", "activation" */
  int bits;
  double lo, hi; /* clipping range: (n - z) s, (p - z) s; per channel: least and largest */
  const float *scale;
  const int32_t *zero_point;
  int64_t n_channels;
};

/* Writes one finished run with its points in one transaction. A failed run of the same identity is replaced;
 * a done or nc one stays as it is (the same identity gives the same result). Sets run->id to the run that
 * counts. */
mq_status mq_store_put(struct mq_store *store, struct mq_run *run, const struct mq_run_point *points,
                       size_t n_points, struct mq_err *err) MQ_MUST_CHECK;
/* A done or nc run of this identity: *found and *run (memory in arena). */
mq_status mq_store_find(bool *found, struct mq_run *run, struct mq_store *store, const char *identity,
                        struct mq_arena *arena, struct mq_err *err) MQ_MUST_CHECK;
/* What a done run with this float identity recorded as its float baseline, so that it is measured once:
 * *found, and float_top1, float_correct, images and seconds of *run. */
mq_status mq_store_find_float(bool *found, struct mq_run *run, struct mq_store *store,
                              const char *float_identity, struct mq_err *err) MQ_MUST_CHECK;
/* All runs in order of id; points of one run. Memory in arena. */
mq_status mq_store_runs(struct mq_run **runs, size_t *n_runs, struct mq_store *store, struct mq_arena *arena,
                        struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_store_points(struct mq_run_point **points, size_t *n_points, struct mq_store *store,
                          int64_t run_id, struct mq_arena *arena, struct mq_err *err) MQ_MUST_CHECK;
/* What the training of a run recorded, in order of steps; empty for other runs. Memory in arena. */
mq_status mq_store_history(struct mq_run_history *history, struct mq_store *store, int64_t run_id,
                           struct mq_arena *arena, struct mq_err *err) MQ_MUST_CHECK;
/* Runs with the same cell text but another identity (older code, other content) become `stale`. */
mq_status mq_store_mark_stale(struct mq_store *store, const char *cell, const char *identity_now,
                              struct mq_err *err) MQ_MUST_CHECK;
/* A lease on a cell, so that two processes can share a directory: *taken false when another live process
 * holds it. What is taken over: leases of this machine's processes that died (pid, start time), and those of
 * another machine after MQ_STORE_LEASE_SECONDS without renewal. The holder renews by taking it again. */
#define MQ_STORE_LEASE_SECONDS 3600
mq_status mq_store_lease(bool *taken, struct mq_store *store, const char *identity,
                         struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_store_release(struct mq_store *store, const char *identity, struct mq_err *err) MQ_MUST_CHECK;
/* Keeps a file as objects/<sha256> beside the store and its row (run, name). */
mq_status mq_store_put_artefact(struct mq_store *store, int64_t run_id, const char *name, const char *path,
                                struct mq_err *err) MQ_MUST_CHECK;

#endif
