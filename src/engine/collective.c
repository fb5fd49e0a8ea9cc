/* Ranks: the processes of one mpirun, or this one alone. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "mqbench/engine.h"
#if defined(MQ_HAS_MPI)
#include <mpi.h>
#endif

struct mq_collective {
  int rank, n_ranks;
  int *statuses; /* by rank */
  size_t *bytes;
  int *counts, *starts; /* by rank: what MPI wants to be told */
};

/* ---- What MPI does ------------------------------------------------------------------------------ */
#if defined(MQ_HAS_MPI)
static mq_status check_mpi(int code, const char *what, struct mq_err *err) {
  char text[MPI_MAX_ERROR_STRING + 1] = "";
  int n = 0;
  if (code == MPI_SUCCESS) {
    return MQ_OK;
  }
  MPI_Error_string(code, text, &n);
  return mq_fail(err, MQ_FAILED, "MPI: %s: %s", what, text);
}

/* The pool's threads leave MPI to the thread that runs the steps. */
static mq_status mpi_open(int *rank, int *n_ranks, struct mq_err *err) {
  int has_threads;
  mq_status status = check_mpi(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &has_threads), "start", err);
  if (status == MQ_OK) {
    status = check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "error handler", err);
  }
  if (status == MQ_OK) {
    status = check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, rank), "rank", err);
  }
  return status == MQ_OK ? check_mpi(MPI_Comm_size(MPI_COMM_WORLD, n_ranks), "ranks", err) : status;
}

static mq_status mpi_gather(void *all, const void *own, const int *counts, const int *starts, int rank,
                            struct mq_err *err) {
  int code = MPI_Allgatherv(own, counts[rank], MPI_BYTE, all, counts, starts, MPI_BYTE, MPI_COMM_WORLD);
  return check_mpi(code, "gather", err);
}

static mq_status mpi_barrier(struct mq_err *err) {
  return check_mpi(MPI_Barrier(MPI_COMM_WORLD), "barrier", err);
}

/* Others may wait for a rank that failed, for ever: it takes them along. */
static void mpi_close(bool is_failed, int code) {
  if (is_failed) {
    MPI_Abort(MPI_COMM_WORLD, code);
  }
  MPI_Finalize();
}

bool mq_collective_has_mpi(void) {
  return true;
}
#else
static mq_status mpi_open(int *rank, int *n_ranks, struct mq_err *err) {
  (void)rank;
  (void)n_ranks;
  return mq_fail(err, MQ_BAD_USAGE, "started as several ranks, but mqbench was built without MPI");
}

static mq_status mpi_gather(void *all, const void *own, const int *counts, const int *starts, int rank,
                            struct mq_err *err) {
  (void)starts;
  (void)err;
  memcpy(all, own, (size_t)counts[rank]);
  return MQ_OK;
}

static mq_status mpi_barrier(struct mq_err *err) {
  (void)err;
  return MQ_OK;
}

static void mpi_close(bool is_failed, int code) {
  (void)is_failed;
  (void)code;
}

bool mq_collective_has_mpi(void) {
  return false;
}
#endif

/* ---- Ranks -------------------------------------------------------------------------------------- */
/* mpirun tells its processes so. Without it MPI is not even initialised: a program alone pays nothing. */
static bool has_others(void) {
  const char *size = getenv("OMPI_COMM_WORLD_SIZE");
  return size && strtol(size, NULL, 10) > 1;
}

mq_status mq_collective_open(struct mq_collective **collective_out, struct mq_err *err) {
  *collective_out = NULL;
  struct mq_collective *c = mq_alloc(1, sizeof *c);
  if (!c) {
    return mq_fail_memory(err, "ranks");
  }
  *c = (struct mq_collective){.n_ranks = 1};
  mq_status status = has_others() ? mpi_open(&c->rank, &c->n_ranks, err) : MQ_OK;
  if (status == MQ_OK) {
    c->bytes = mq_alloc((size_t)c->n_ranks, sizeof *c->bytes);
    c->statuses = mq_alloc((size_t)c->n_ranks, sizeof *c->statuses);
    c->counts = mq_alloc((size_t)c->n_ranks, sizeof *c->counts);
    c->starts = mq_alloc((size_t)c->n_ranks, sizeof *c->starts);
    status = c->statuses && c->bytes && c->counts && c->starts ? MQ_OK : mq_fail_memory(err, "ranks");
  }
  if (status != MQ_OK) {
    mq_collective_close(c, status);
    return status;
  }
  *collective_out = c;
  return MQ_OK;
}

void mq_collective_close(struct mq_collective *collective, mq_status status) {
  if (!collective) {
    return;
  }
  if (collective->n_ranks > 1) {
    mpi_close(status != MQ_OK && status != MQ_NO, (int)status);
  }
  mq_free(collective->statuses);
  mq_free(collective->bytes);
  mq_free(collective->counts);
  mq_free(collective->starts);
  mq_free(collective);
}

int mq_collective_rank(const struct mq_collective *collective) {
  return collective ? collective->rank : 0;
}

int mq_collective_size(const struct mq_collective *collective) {
  return collective ? collective->n_ranks : 1;
}

/* ---- What they tell each other ------------------------------------------------------------------ */
mq_status mq_collective_gather(struct mq_collective *collective, void *all, const void *own,
                               const size_t *bytes, struct mq_err *err) {
  if (mq_collective_size(collective) == 1) {
    memcpy(all, own, bytes[0]);
    return MQ_OK;
  }
  int total = 0;
  for (int r = 0; r < collective->n_ranks; r++) {
    if (bytes[r] > (size_t)(INT_MAX - total)) {
      return mq_fail(err, MQ_FAILED, "ranks: a message of over 2 GB");
    }
    collective->counts[r] = (int)bytes[r];
    collective->starts[r] = total;
    total += (int)bytes[r];
  }
  return mpi_gather(all, own, collective->counts, collective->starts, collective->rank, err);
}

mq_status mq_collective_gather_equal(struct mq_collective *collective, void *all, const void *own,
                                     size_t bytes, struct mq_err *err) {
  if (mq_collective_size(collective) == 1) {
    memcpy(all, own, bytes);
    return MQ_OK;
  }
  for (int r = 0; r < collective->n_ranks; r++) {
    collective->bytes[r] = bytes;
  }
  return mq_collective_gather(collective, all, own, collective->bytes, err);
}

mq_status mq_collective_barrier(struct mq_collective *collective, struct mq_err *err) {
  return mq_collective_size(collective) == 1 ? MQ_OK : mpi_barrier(err);
}

mq_status mq_collective_agree(struct mq_collective *collective, mq_status status, struct mq_err *err) {
  int own = (int)status;
  if (mq_collective_size(collective) == 1) {
    return status;
  }
  const int *all = collective->statuses;
  mq_status gathered = mq_collective_gather_equal(collective, collective->statuses, &own, sizeof own,
                                                  status == MQ_OK ? err : NULL);
  if (status != MQ_OK || gathered != MQ_OK) {
    return status != MQ_OK ? status : gathered;
  }
  for (int r = 0; r < collective->n_ranks; r++) {
    if (all[r] == MQ_CANCELLED) {
      return mq_fail(err, MQ_CANCELLED, "rank %d was cancelled", r);
    }
    if (all[r] != MQ_OK) {
      return mq_fail(err, MQ_FAILED, "rank %d failed", r);
    }
  }
  return MQ_OK;
}
