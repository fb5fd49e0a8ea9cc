/* Training by several ranks: the same bits as alone, whatever their number. Runs itself under mpirun; skipped
 * where there is none. */
#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_graphs.h"
#include "mqbench/engine.h"

#define SLICE 2
#define STEPS 10
#define CLASSES 2100 /* a layer so large that its gradient takes several messages */

struct source {
  bool fails;
};

/* Image i of a step is a function of its slice and the step. */
static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs, int64_t *labels,
                      struct mq_err *err) {
  (void)worker;
  const struct source *source = context;
  int64_t n = mq_shape_count(&inputs[0].shape);
  struct mq_rng rng;
  mq_rng_init(&rng, 5, MQ_RNG_TEST, slice, 1);
  for (int64_t i = 0; i < n; i++)
    ((float *)inputs[0].data)[i] = 2 * mq_rng_float(&rng) - 1;
  for (int64_t i = 0; i < SLICE; i++)
    labels[i] = (int64_t)mq_rng_below(&rng, 10);
  return source->fails ? mq_fail(err, MQ_BAD_INPUT, "no such image") : MQ_OK;
}

/* ---- A net with everything that is reduced: BN statistics, gradients, a quantizer's own statistics ------
 */
#define N_POINTS 3
static float learned[N_POINTS][2] = {{-1, 1}, {0.02f, 0}, {0.05f, 0}};

static struct mq_value *quantize(struct net *net, struct mq_value *x, const char *name, int64_t point) {
  struct mq_value *y = net_unary(net, MQ_OP_FakeQuantize, name, x);
  net_check(net, mq_node_set_int(net->graph, y->producer, "point", point, &net->err));
  return y;
}

static void build(struct net *net, struct mq_point points[N_POINTS], int64_t n_classes) {
  static const char *const methods[N_POINTS] = {"minmax", "lsq", "lsq"};
  const struct mq_scheme scheme = {.bits = 4, .is_signed = true, .is_symmetric = true};
  net_begin(net, "ranks");
  struct mq_value *x = quantize(net, net_input(net, "input", net_shape(3, 8, 8)), "quantize_input", 0);
  x = net_conv(net, x, "conv", 4, 3, 1, 1);
  struct mq_value *w = quantize(net, x->producer->inputs[1], "quantize_weight", 1);
  net_check(net, mq_graph_set_input(net->graph, x->producer, 1, w, &net->err));
  x = quantize(net, net_unary(net, MQ_OP_Relu, "relu", net_bn(net, x, "bn")), "quantize_relu", 2);
  net_output(net, net_gemm(net, net_flatten(net, x, "flatten"), "fc", n_classes));
  net_check(net, mq_graph_infer(net->graph, true, &net->err));
  for (int i = 0; i < N_POINTS; i++) {
    points[i] = (struct mq_point){.tensor = methods[i],
                                  .kind = i == 1 ? MQ_POINT_WEIGHT : MQ_POINT_ACTIVATION,
                                  .scheme = scheme,
                                  .n_channels = 1,
                                  .channel_axis = -1,
                                  .share = -1,
                                  .quantizer = mq_quantizer_find(methods[i]),
                                  .parameters = learned[i]};
    points[i].quantizer_config = (struct mq_quantizer_config){.scheme = scheme,
                                                              .is_weight = i == 1,
                                                              .n_channels = 1,
                                                              .n_rows = i == 1 ? 4 : 0,
                                                              .n_elements = 108,
                                                              .option = NAN};
  }
}

/* ---- A rank ------------------------------------------------------------------------------------------ */
static uint64_t hash_of(const struct mq_trainer *trainer) {
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < mq_trainer_state_count(trainer); i++) {
    struct mq_trainer_state state = mq_trainer_state_at(trainer, i);
    const unsigned char *bytes = (const unsigned char *)state.values;
    for (size_t k = 0; k < state.count * sizeof(float); k++)
      hash = (hash ^ bytes[k]) * 1099511628211u;
  }
  return hash;
}

struct work {
  const char *name;
  int64_t batch, bn_groups, n_classes;
};
static const struct work works[] = {
    {"16 slices, a large layer", 32, 1, CLASSES}, /* one subtree a rank with 2 ranks, several with 3 */
    {"12 slices, 3 groups", 24, 3, 10},           /* 2 ranks cut a group */
    {"5 slices", 10, 1, 10},
    {"2 slices", 4, 1, 10}, /* 3 ranks: one has nothing to do */
};

static mq_status train(const struct work *work, struct mq_collective *collective, struct mq_pool *pool,
                       const char *mode, struct mq_err *err) {
  struct mq_point points[N_POINTS];
  struct net net;
  struct mq_trainer *trainer = NULL;
  int rank = mq_collective_rank(collective);
  struct source source = {.fails = false};
  struct mq_trainer_result result = {.loss = 0};
  build(&net, points, work->n_classes);
  if (!strcmp(mode, "other") && rank == 1) learned[2][0] = 0.06f;
  const struct mq_trainer_job job = {.context = &source, .fill = fill};
  const struct mq_trainer_options options = {.batch = work->batch,
                                             .slice_images = SLICE,
                                             .bn_groups = work->bn_groups,
                                             .points = points,
                                             .n_points = N_POINTS,
                                             .momentum = 0.9,
                                             .weight_decay = 1e-4,
                                             .bias_decay = NAN,
                                             .bn_decay = NAN,
                                             .quantizer_decay = NAN,
                                             .scale_decay = NAN,
                                             .collective = collective};
  mq_status status = mq_trainer_create(&trainer, net.graph, &options, pool, err);
  for (int step = 0; step < STEPS && status == MQ_OK; step++) {
    source.fails = !strcmp(mode, "fails") && rank == 1 && step == 3;
    status = mq_trainer_step(&result, trainer, &job, 0.05, err);
  }
  if (status == MQ_OK && rank == 0)
    printf("%s: %016llx loss %a correct %lld of %lld\n", work->name, (unsigned long long)hash_of(trainer),
           result.loss, (long long)result.correct, (long long)result.images);
  mq_trainer_destroy(trainer);
  mq_graph_destroy(net.graph);
  return status;
}

static int be_rank(const char *mode) {
  struct mq_err err = {0};
  struct mq_collective *collective = NULL;
  struct mq_pool *pool = NULL;
  mq_status status = mq_kernel_start(MQ_ISA_NATIVE, &err);
  if (status == MQ_OK) status = mq_collective_open(&collective, &err);
  if (status == MQ_OK) status = mq_pool_create(&pool, 2, mq_kernel_start_worker, &err);
  if (status == MQ_OK && !strcmp(mode, "leaves") && mq_collective_rank(collective) == 1)
    mq_collective_close(collective, MQ_FAILED); /* does not return, and rank 0 waits for it */
  for (size_t i = 0; i < sizeof works / sizeof *works && status == MQ_OK; i++)
    status = train(&works[i], collective, pool, mode, &err);
  if (status != MQ_OK) printf("rank %d: %s\n", mq_collective_rank(collective), err.message);
  fflush(stdout);
  mq_pool_destroy(pool);
  mq_collective_close(collective, MQ_OK); /* what fails here does so on all ranks */
  return 0;
}

/* ---- The tests --------------------------------------------------------------------------------------- */
#define TEXT 2000
static char self[1024];

/* n_ranks 0: without mpirun. Leaks are OpenMPI's. Returns the exit status. */
static int run(char text[TEXT], int n_ranks, const char *mode) {
  char command[2000], launcher[300] = "";
  if (n_ranks)
    snprintf(launcher, sizeof launcher,
             "ASAN_OPTIONS=detect_leaks=0 timeout 60 mpirun -n %d --oversubscribe --bind-to none", n_ranks);
  snprintf(command, sizeof command, "%s '%s' rank %s 2>/dev/null", launcher, self, mode);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  size_t n = fread(text, 1, TEXT - 1, pipe);
  text[n] = 0;
  return pclose(pipe);
}

static void ranks_give_the_same_bits(void **state) {
  (void)state;
  char alone[TEXT], together[TEXT];
  run(alone, 0, "same");
  assert_non_null(strstr(alone, "2 slices: "));
  for (int n_ranks = 2; n_ranks <= 3; n_ranks++) {
    run(together, n_ranks, "same");
    assert_string_equal(together, alone);
  }
}

static void a_failure_ends_all(void **state) {
  (void)state;
  char text[TEXT];
  run(text, 2, "fails");
  assert_non_null(strstr(text, "rank 0: rank 1 failed"));
  assert_non_null(strstr(text, "rank 1: no such image"));
}

static void all_start_from_the_same(void **state) {
  (void)state;
  char text[TEXT];
  run(text, 2, "other");
  assert_non_null(strstr(text, "rank 0: rank 1 starts from other variables than rank 0"));
}

static void a_rank_that_leaves_ends_all(void **state) {
  (void)state;
  char text[TEXT];
  int status = run(text, 2, "leaves");
  assert_true(WIFEXITED(status));
  assert_int_not_equal(WEXITSTATUS(status), 0);
  assert_int_not_equal(WEXITSTATUS(status), 124); /* of timeout */
  assert_string_equal(text, "");
}

/* OpenMPI's own threads are not known to the thread sanitizer. */
static bool has_mpirun(void) {
#if defined(__SANITIZE_THREAD__)
  return false;
#else
  return mq_collective_has_mpi() && system("mpirun -n 2 --oversubscribe true >/dev/null 2>&1") == 0;
#endif
}

int main(int argc, char **argv) {
  if (argc == 3) return be_rank(argv[2]);
  /* OpenMPI refuses root unless both are set; containers have no one else. */
  setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  bool can_run = has_mpirun();
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (!can_run || n < 0) {
    printf("skipped: no mpirun, or built without MPI\n");
    return MQ_TEST_SKIPPED;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ranks_give_the_same_bits), cmocka_unit_test(a_failure_ends_all),
      cmocka_unit_test(a_rank_that_leaves_ends_all), cmocka_unit_test(all_start_from_the_same)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
