/* How long a network takes: here in floats, here as an integer program, and in real engines. One measurement
 * at a time, each in a process of its own, so that no thread or memory of one is in the way of the next. */
#ifndef MQ_VERIFY_LATENCY_H
#define MQ_VERIFY_LATENCY_H

#include "mqbench/verify.h"

#define LATENCY_TEXT 256

struct latency_options {
  int64_t threads; /* one core for each, the first ones that the process may use */
  double seconds;  /* to measure for, about; a quarter more for what comes first and is not counted */
  mq_isa isa;
  uint64_t seed; /* of the images */
};

/* Of one engine, precision and batch. */
struct latency_row {
  char engine[LATENCY_TEXT], version[LATENCY_TEXT];
  bool is_integer;
  int64_t batch, n_runs;
  double median_ms, p90_ms, images_per_second; /* of a batch; images: batch / mean time */
  char skipped[MQ_ERR_MESSAGE_BYTES];          /* why there is no time; "": there is */
};

/* What is measured: borrowed. */
struct latency_model {
  const struct mq_graph *graph;   /* in floats, for the engine of this project; NULL: not known in floats */
  const char *float_path;         /* the same as ONNX; NULL likewise */
  const struct mq_bundle *bundle; /* NULL: not quantized */
  const char *qdq;                /* the Q/DQ model that the bundle is; NULL: it is a directory */
  const struct mq_target *target; /* NULL: not known */
};

/* The process and those that it starts stay on the first `threads` cores. */
mq_status latency_keep_to_cores(int64_t threads, struct mq_err *err) MQ_MUST_CHECK;
/* Our own: the engine in floats (one image: all threads within it; float sums are then cut otherwise), the
 * fast executor in integers. No kernel may have been started in this process. */
mq_status latency_measure_own(struct latency_row *row, const struct latency_model *model,
                              const struct latency_options *options, struct mq_err *err) MQ_MUST_CHECK;
/* An engine behind its adapter: rows of all batches in one precision. What it cannot do is a row's `skipped`.
 * MQ_BAD_USAGE: no engine of that name. */
mq_status latency_measure_engine(struct latency_row *rows, size_t n_rows, const struct latency_model *model,
                                 const struct latency_options *options, struct mq_err *err) MQ_MUST_CHECK;
/* Fills in the figures of n >= 1 times in milliseconds, which are sorted. */
void latency_summarise(struct latency_row *row, double *milliseconds, size_t n);

#endif
