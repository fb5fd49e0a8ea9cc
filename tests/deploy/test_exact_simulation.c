/* The exact simulation of small networks against their integer programs: not one code may differ, whatever
 * the target, the bits and the arithmetic. Each was written from docs/arithmetic.md without the other. */
#include "help_graphs.h"
#include "help_lower.h"

static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};

static void residual(struct net *net) {
  net_residual(net, false);
}

static void projection(struct net *net) {
  net_residual(net, true);
}

static const struct {
  const char *name;
  void (*build)(struct net *net);
} nets[] = {{"residual", residual},   {"projection", projection}, {"inverted", net_inverted},
            {"concats", net_concats}, {"norms", net_norms},       {"squeeze_excite", net_squeeze_excite}};

enum {
  N_TARGETS = sizeof targets / sizeof targets[0],
  N_NETS = sizeof nets / sizeof nets[0]
};

static struct mq_graph *build(size_t i) {
  struct net net;
  nets[i].build(&net);
  net_check(&net, mq_graph_infer(net.graph, true, &net.err));
  return net.graph;
}

/* Lowers, runs both, drops. */
static void expect_equal(struct lowered *lowered, const char *what) {
  struct mq_lowered made;
  struct compared result;
  struct mq_err err = {0};
  if (mq_lower(&made, &lowered->prepared, lowered->target, &err) != MQ_OK)
    { print_error("%s: %s\n", what, err.message); return; };
  compare_exact(&result, lowered, &made.program);
  if (result.n_points == 0 || result.n_missed > 0 || result.differing > 0 || result.worst_output > 0)
    print_error("%s: %zu points (%zu missed), %lld of %lld codes differ, by %d at most (%s); output %g\n", what,
             result.n_points, result.n_missed, (long long)result.differing, (long long)result.n, result.most,
             result.tensor, result.worst_output);
  mq_lowered_deinit(&made);
}

static void every_target_and_width(void **state) {
  (void)state;
  static const int bits[][2] = {{8, 8}, {4, 4}, {2, 2}, {8, 4}, {4, 8}};
  for (size_t n = 0; n < N_NETS; n++) {
    for (size_t t = 0; t < N_TARGETS; t++) {
      for (size_t b = 0; b < sizeof bits / sizeof bits[0]; b++) {
        struct lowered lowered;
        char what[128];
        snprintf(what, sizeof what, "%s, %s, %d/%d bits", nets[n].name, targets[t], bits[b][0], bits[b][1]);
        make_calibrated(&lowered, build(n), targets[t], bits[b][0], bits[b][1]);
        expect_equal(&lowered, what);
        drop_calibrated(&lowered);
      }
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_target_and_width),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
