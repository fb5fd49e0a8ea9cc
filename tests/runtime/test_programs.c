/* Equal bits with the reference executor: programs with every kind of step, made by hand and loaded from
 * their files, and small networks lowered for every target. */
#include "deploy/help_lower.h"
#include "help_graphs.h"
#include "help_runtime.h"
#include "program/help_program.h"

static void every_step(void **state) {
  (void)state;
  for (int kind = 1; kind < MQ_ARITHMETIC_DEQUANT_F32; kind++) {
    struct help help;
    help_everything(&help, (mq_arithmetic_kind)kind);
    runtime_compare_all(mq_program_arithmetic_get((mq_arithmetic_kind)kind)->name, &help.program, false);
    help_end(&help);
  }
}

static void loaded_from_a_file(void **state) {
  (void)state;
  struct help help;
  struct mq_program *program;
  size_t bytes;
  help_everything(&help, MQ_ARITHMETIC_TFLITE);
  const unsigned char *file = help_write(&help, &bytes);
  assert_int_equal(help_load(&program, &help, file, bytes), MQ_PROGRAM_OK);
  runtime_compare_all("loaded", program, true);
  help_end(&help);
}

static void residual(struct net *net) {
  net_residual(net, false);
}

static void projection(struct net *net) {
  net_residual(net, true);
}

static void lowered_networks(void **state) {
  (void)state;
  static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
  static void (*const builds[])(struct net *) = {residual,    projection, net_inverted,
                                                 net_concats, net_norms,  net_squeeze_excite};
  static const int bits[] = {8, 4, 2};
  for (size_t n = 0; n < sizeof builds / sizeof builds[0]; n++)
    for (size_t t = 0; t < sizeof targets / sizeof targets[0]; t++)
      for (size_t b = 0; b < sizeof bits / sizeof bits[0]; b++) {
        if (test_leaves_out((int64_t)((n * 6 + t) * 3 + b))) continue;
        struct net net;
        struct lowered lowered;
        struct mq_lowered made;
        struct mq_err err = {0};
        char text[128];
        builds[n](&net);
        net_check(&net, mq_graph_infer(net.graph, true, &net.err));
        snprintf(text, sizeof text, "%s, %s, %d bits", net.graph->name, targets[t], bits[b]);
        make_calibrated(&lowered, net.graph, targets[t], bits[b], bits[b]);
        assert_ok(mq_lower(&made, &lowered.prepared, lowered.target, &err));
        runtime_compare_all(text, &made.program, true);
        mq_lowered_deinit(&made);
        drop_calibrated(&lowered);
      }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_step),
      cmocka_unit_test(loaded_from_a_file),
      cmocka_unit_test(lowered_networks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
