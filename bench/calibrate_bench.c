/* What calibration costs in the end: each observer's calibration against the plain float forward over the
 * same images, decoding in both. A forward runs before each calibration, rounds alternate between all
 * observers; medians of the ratios, wall and processor time.
 * Usage: calibrate_bench MODEL.onnx DATA TARGET.yaml [images [rounds [part of a name]]] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mqbench/kernel.h"
#include "mqbench/load.h"
#include "mqbench/tune.h"

enum {
  MOST_OBSERVERS = 32,
  MOST_ROUNDS = 64
};

struct setup {
  struct mq_graph *graph;
  struct mq_dataset *data;
  struct mq_target *target;
  struct mq_prepared prepared;
  struct mq_pool *pool;
  int64_t *indices;
  int64_t n_images;
};

struct times {
  double wall, cpu; /* seconds */
};

/* calibration / forward, of each round */
struct ratios {
  double wall[MOST_ROUNDS], cpu[MOST_ROUNDS];
};

static double clock_of(clockid_t id) {
  struct timespec time;
  clock_gettime(id, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static mq_status open_setup(struct setup *setup, char **argv, int64_t n_images, struct mq_err *err) {
  struct mq_data_spec spec = {0};
  struct mq_prepare_options prepare = {0};
  mq_status status = mq_kernel_start(MQ_ISA_NATIVE, err);
  if (status == MQ_OK) status = mq_onnx_read(&setup->graph, argv[1], NULL, err);
  if (status == MQ_OK) status = mq_data_spec_parse(&spec, argv[2], err);
  if (status == MQ_OK) {
    spec.limit = n_images;
    status = mq_dataset_open(&setup->data, &spec, err);
  }
  if (status == MQ_OK) status = mq_target_load(&setup->target, argv[3], err);
  if (status == MQ_OK) status = mq_prepare(&setup->prepared, setup->graph, setup->target, &prepare, err);
  if (status == MQ_OK) status = mq_pool_create(&setup->pool, 0, mq_kernel_start_worker, err);
  if (status == MQ_OK) {
    setup->n_images = mq_dataset_get_info(setup->data)->n_images;
    status = mq_dataset_sample(&setup->indices, setup->data, setup->n_images, true, 0, err);
  }
  mq_data_spec_deinit(&spec);
  return status;
}

static void close_setup(struct setup *setup) {
  mq_free(setup->indices);
  mq_pool_destroy(setup->pool);
  mq_prepared_deinit(&setup->prepared);
  mq_target_destroy(setup->target);
  mq_dataset_close(setup->data);
  mq_graph_destroy(setup->graph);
}

/* observer NULL: the float forward */
static mq_status run(struct setup *setup, const char *observer, struct mq_err *err) {
  if (!observer) {
    struct mq_evaluation e;
    struct mq_evaluate_options options = {0};
    mq_status status = mq_evaluate(&e, setup->graph, setup->data, &options, setup->pool, err);
    if (status == MQ_OK) mq_evaluation_deinit(&e);
    return status;
  }
  struct mq_calibrate_result result;
  struct mq_calibrate_options options = {.a_observer = observer,
                                         .w_parameter = (double)NAN,
                                         .a_parameter = (double)NAN,
                                         .indices = setup->indices,
                                         .n_indices = setup->n_images,
                                         .bias = setup->target->bias};
  return mq_calibrate(&result, &setup->prepared, setup->data, &options, setup->pool, err);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Sorts them. */
static double median(double *x, int n) {
  qsort(x, (size_t)n, sizeof *x, compare);
  return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static int choose(const char **names, const char *part) {
  int n = 0;
  for (size_t o = 0; o < mq_observer_count() && n < MOST_OBSERVERS; o++) {
    const struct mq_observer_ops *ops = mq_observer_at(o);
    if (ops->is_for_activations && strstr(ops->name, part)) names[n++] = ops->name;
  }
  return n;
}

static mq_status take_times(struct times *times, struct setup *setup, const char *observer,
                            struct mq_err *err) {
  double wall = clock_of(CLOCK_MONOTONIC), cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
  mq_status status = run(setup, observer, err);
  times->wall = clock_of(CLOCK_MONOTONIC) - wall;
  times->cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  return status;
}

static mq_status run_round(struct ratios *ratios, struct setup *setup, const char **names, int n, int round,
                           struct mq_err *err) {
  struct times forward = {0}, calibration = {0};
  mq_status status = MQ_OK;
  for (int i = 0; i < n && status == MQ_OK; i++) {
    status = take_times(&forward, setup, NULL, err);
    if (status == MQ_OK) status = take_times(&calibration, setup, names[i], err);
    ratios[i].wall[round] = calibration.wall / forward.wall;
    ratios[i].cpu[round] = calibration.cpu / forward.cpu;
  }
  return status;
}

static void print_ratios(struct ratios *ratios, const char **names, int n, int rounds) {
  for (int i = 0; i < n; i++) {
    double wall = median(ratios[i].wall, rounds), cpu = median(ratios[i].cpu, rounds);
    printf("%-18s wall %.3f (%.3f to %.3f), processor %.3f (%.3f to %.3f)\n", names[i], wall,
           ratios[i].wall[0], ratios[i].wall[rounds - 1], cpu, ratios[i].cpu[0], ratios[i].cpu[rounds - 1]);
  }
}

int main(int argc, char **argv) {
  static struct ratios ratios[MOST_OBSERVERS];
  struct mq_err err = {0};
  struct setup setup = {0};
  const char *names[MOST_OBSERVERS];
  if (argc < 4) {
    fprintf(stderr,
            "usage: calibrate_bench MODEL.onnx DATA TARGET.yaml [images [rounds [part of a name]]]\n");
    return 2;
  }
  int rounds = argc > 5 ? atoi(argv[5]) : 5, n = choose(names, argc > 6 ? argv[6] : "");
  rounds = rounds < 1 ? 1 : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds;
  mq_log_set_level(MQ_LOG_QUIET);
  mq_status status = open_setup(&setup, argv, argc > 4 ? atoi(argv[4]) : 2048, &err);
  if (status == MQ_OK) status = run_round(ratios, &setup, names, 1, 0, &err); /* warms up */
  for (int round = 0; round < rounds && status == MQ_OK; round++)
    status = run_round(ratios, &setup, names, n, round, &err);
  if (status == MQ_OK)
    print_ratios(ratios, names, n, rounds);
  else
    fprintf(stderr, "%s\n", err.message);
  close_setup(&setup);
  return status;
}
