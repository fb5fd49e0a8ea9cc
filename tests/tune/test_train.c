/* The training pipeline: what it learns, its schedule, averages, checkpoints, and that none of it depends on
 * the workers or on interruptions. */
#include <math.h>
#include <stdio.h>

#include "help_tune.h"

static struct mq_train_options usual_options(void) {
  return (struct mq_train_options){.epochs = 6,
                                   .batch = 16,
                                   .slice_images = 4,
                                   .rate = 0.05,
                                   .warmup_epochs = 1,
                                   .warmup_rate = 0.005,
                                   .momentum = 0.9,
                                   .is_nesterov = true,
                                   .weight_decay = 1e-4,
                                   .bias_decay = NAN,
                                   .bn_decay = 0,
                                   .quantizer_decay = NAN,
                                   .scale_decay = NAN,
                                   .seed = 3};
}

struct outcome {
  struct mq_train_result result;
  uint64_t bits;
};

static mq_status train_net(struct outcome *outcome, struct fixture *f,
                           const struct mq_train_options *options) {
  struct net net;
  net_residual(&net, true);
  net_check(&net, mq_graph_infer(net.graph, true, &net.err));
  mq_status status = mq_train(&outcome->result, net.graph, NULL, 0, f->data, options, f->pool, &f->err);
  outcome->bits = constants_bits(net.graph);
  mq_graph_destroy(net.graph);
  return status;
}

static void train_well(struct outcome *outcome, struct fixture *f, const struct mq_train_options *options) {
  mq_status status = train_net(outcome, f, options);
  if (status != MQ_OK) fail_msg("status %d: %s", status, f->err.message);
}

static void test_learns(void **state) {
  (void)state;
  struct fixture f;
  struct outcome o;
  fixture_init_classes(&f, 2);
  struct mq_train_options options = usual_options();
  options.epochs = 20;
  train_well(&o, &f, &options);
  const struct mq_curve_point *curve = o.result.curve;
  assert_int_equal(o.result.steps, 100);
  assert_int_equal(o.result.images, 1600);
  assert_true(o.result.n_curve >= 50);
  assert_int_equal(curve[o.result.n_curve - 1].step, 100);
  assert_true(curve[0].loss > 1.5);
  assert_true(o.result.loss < 0.4 * curve[0].loss);
  assert_true(curve[o.result.n_curve - 1].train_top1 > 0.8);
  assert_true(isnan(o.result.last_top1));
  mq_train_result_deinit(&o.result);
  fixture_deinit(&f);
}

static void test_workers(void **state) {
  (void)state;
  uint64_t bits[3] = {0};
  for (unsigned workers = 1; workers <= 3; workers++) {
    struct fixture f;
    struct outcome o;
    fixture_init_classes(&f, workers);
    struct mq_train_options options = usual_options();
    options.epochs = 2.4;
    options.loader_threads = workers - 1;
    train_well(&o, &f, &options);
    assert_int_equal(o.result.steps, 12);
    bits[workers - 1] = o.bits;
    mq_train_result_deinit(&o.result);
    fixture_deinit(&f);
  }
  assert_true(bits[0] == bits[1] && bits[1] == bits[2]);
}

/* Other seeds give other orders, other images in an epoch's dropped batch. */
static void test_seed(void **state) {
  (void)state;
  struct fixture f;
  struct outcome a, b;
  fixture_init_classes(&f, 2);
  struct mq_train_options options = usual_options();
  options.epochs = 1;
  train_well(&a, &f, &options);
  options.seed = 4;
  train_well(&b, &f, &options);
  assert_true(a.bits != b.bits);
  mq_train_result_deinit(&a.result);
  mq_train_result_deinit(&b.result);
  fixture_deinit(&f);
}

/* ---- Judgements --------------------------------------------------------------------------------- */
struct judge {
  int64_t calls, fails_at;
  double first_variable[64]; /* its first value at each call */
};

static mq_status judge(void *context, struct mq_trainer *trainer, double *top1, struct mq_err *err) {
  struct judge *j = context;
  if (j->calls + 1 == j->fails_at) return mq_fail(err, MQ_FAILED, "the test ends here");
  j->first_variable[j->calls % 64] = (double)mq_trainer_state_at(trainer, 0).values[0];
  *top1 = 0.5 + 0.01 * (double)(j->calls % 3);
  j->calls++;
  return MQ_OK;
}

static void test_judgements(void **state) {
  (void)state;
  struct fixture f;
  struct outcome o;
  struct judge j = {0};
  fixture_init_classes(&f, 2);
  struct mq_train_options options = usual_options();
  options.epochs = 5;
  options.evaluate = judge;
  options.context = &j;
  train_well(&o, &f, &options);
  assert_int_equal(j.calls, 5);
  size_t n_judged = 0;
  for (size_t i = 0; i < o.result.n_curve; i++)
    if (!isnan(o.result.curve[i].test_top1)) {
      assert_int_equal(o.result.curve[i].step, 5 * (int64_t)(n_judged + 1));
      n_judged++;
    }
  assert_int_equal(n_judged, 5);
  assert_true(o.result.best_top1 == 0.52 && o.result.last_top1 == 0.51);
  mq_train_result_deinit(&o.result);
  fixture_deinit(&f);
}

/* The judged average is the recursion over the variables that a run without it has. */
static void test_average(void **state) {
  (void)state;
  struct fixture f;
  struct outcome o;
  struct judge plain = {0}, averaged = {0};
  struct net net;
  fixture_init_classes(&f, 2);
  net_residual(&net, true);
  net_check(&net, mq_graph_infer(net.graph, true, &net.err));
  struct mq_train_options options = usual_options();
  options.epochs = 2;
  options.evaluate_epochs = 0.2; /* every step */
  options.evaluate = judge;
  options.context = &plain;
  train_well(&o, &f, &options);
  mq_train_result_deinit(&o.result);
  options.context = &averaged;
  options.ema = 0.75;
  struct mq_trainer *trainer;
  const struct mq_trainer_options form = {.batch = 16, .slice_images = 4};
  assert_int_equal(mq_trainer_create(&trainer, net.graph, &form, f.pool, &f.err), MQ_OK);
  double average = (double)mq_trainer_state_at(trainer, 0).values[0];
  mq_trainer_destroy(trainer);
  train_well(&o, &f, &options);
  assert_int_equal(plain.calls, 10);
  assert_int_equal(averaged.calls, 10);
  for (int i = 0; i < 10; i++) {
    average = 0.75 * average + 0.25 * plain.first_variable[i];
    assert_true(fabs(average - averaged.first_variable[i]) < 1e-6 * (1 + fabs(average)));
  }
  assert_true(fabs(average - plain.first_variable[9]) > 1e-5);
  mq_train_result_deinit(&o.result);
  mq_graph_destroy(net.graph);
  fixture_deinit(&f);
}

/* ---- Checkpoints -------------------------------------------------------------------------------- */
static void assert_same_curve(const struct mq_train_result *a, const struct mq_train_result *b) {
  assert_int_equal(a->n_curve, b->n_curve);
  for (size_t i = 0; i < a->n_curve; i++) {
    assert_int_equal(a->curve[i].step, b->curve[i].step);
    assert_memory_equal(&a->curve[i].loss, &b->curve[i].loss, sizeof(double));
    assert_memory_equal(&a->curve[i].train_top1, &b->curve[i].train_top1, sizeof(double));
    assert_memory_equal(&a->curve[i].rate, &b->curve[i].rate, sizeof(double));
    assert_true(isnan(a->curve[i].test_top1) == isnan(b->curve[i].test_top1));
  }
}

/* Interrupted in every epoch, once within one, and taken up again: the bits of a run that was not. */
static void check_resume(mq_optimiser optimiser, double ema, double checkpoint_seconds) {
  struct fixture f;
  struct outcome whole, part = {0};
  struct judge j = {0};
  char path[700];
  fixture_init_classes(&f, 2);
  snprintf(path, sizeof path, "%s/run.checkpoint", f.directory);
  struct mq_train_options options = usual_options();
  options.optimiser = optimiser;
  options.rate = optimiser == MQ_OPTIMISER_ADAM ? 1e-3 : options.rate;
  options.epochs = 3;
  options.ema = ema;
  options.evaluate_epochs = 0.4;
  options.evaluate = judge;
  options.context = &j;
  train_well(&whole, &f, &options);
  assert_int_equal(j.calls, 8);
  options.checkpoint = path;
  options.checkpoint_seconds = checkpoint_seconds;
  options.identity = "a run";
  options.resumes = true;
  static const int64_t ends[] = {3, 4, 2}; /* at steps 6, 12 and 14 of 15 */
  for (int i = 0; i < 3; i++) {
    j = (struct judge){.fails_at = ends[i]};
    assert_int_equal(train_net(&part, &f, &options), MQ_FAILED);
    assert_null(part.result.curve);
  }
  j = (struct judge){0};
  train_well(&part, &f, &options);
  assert_true(part.result.is_resumed);
  assert_true(part.result.images < whole.result.images);
  assert_true(part.bits == whole.bits);
  assert_same_curve(&part.result, &whole.result);
  mq_train_result_deinit(&part.result);
  mq_train_result_deinit(&whole.result);
  fixture_deinit(&f);
}

static void test_resume(void **state) {
  (void)state;
  check_resume(MQ_OPTIMISER_SGD, 0, 0);
  check_resume(MQ_OPTIMISER_SGD, 0.9, 1e-9);
  check_resume(MQ_OPTIMISER_ADAM, 0, 1e-9);
}

static char *read_bytes(size_t *n, const char *path) {
  FILE *in = fopen(path, "rb");
  assert_non_null(in);
  char *bytes = mq_alloc(1 << 22, 1);
  *n = fread(bytes, 1, 1 << 22, in);
  fclose(in);
  return bytes;
}

static void write_bytes(const char *path, const char *bytes, size_t n) {
  FILE *out = fopen(path, "wb");
  assert_non_null(out);
  assert_int_equal(fwrite(bytes, 1, n, out), n);
  assert_int_equal(fclose(out), 0);
}

static void test_bad_checkpoints(void **state) {
  (void)state;
  struct fixture f;
  struct outcome o;
  char path[700];
  size_t n;
  fixture_init_classes(&f, 1);
  snprintf(path, sizeof path, "%s/run.checkpoint", f.directory);
  struct mq_train_options options = usual_options();
  options.epochs = 1;
  options.checkpoint = path;
  options.identity = "one run";
  options.resumes = true;
  train_well(&o, &f, &options);
  mq_train_result_deinit(&o.result);
  char *bytes = read_bytes(&n, path);
  for (int i = 0; i < 24; i++) { /* cut short, and one bit turned */
    size_t at = n * (size_t)i / 24;
    write_bytes(path, bytes, at);
    assert_int_equal(train_net(&o, &f, &options), MQ_BAD_INPUT);
    assert_non_null(strstr(f.err.message, "run.checkpoint"));
    bytes[at] ^= 4;
    write_bytes(path, bytes, n);
    assert_int_equal(train_net(&o, &f, &options), MQ_BAD_INPUT);
    bytes[at] ^= 4;
  }
  write_bytes(path, bytes, n);
  options.identity = "another run";
  assert_int_equal(train_net(&o, &f, &options), MQ_BAD_INPUT);
  assert_non_null(strstr(f.err.message, "another run"));
  options.identity = "one run";
  options.optimiser = MQ_OPTIMISER_ADAM; /* other states */
  assert_int_equal(train_net(&o, &f, &options), MQ_BAD_INPUT);
  mq_free(bytes);
  fixture_deinit(&f);
}

/* ---- Runs that do not work ---------------------------------------------------------------------- */
static void test_diverges(void **state) {
  (void)state;
  struct fixture f;
  struct outcome o;
  struct judge j = {0};
  fixture_init_classes(&f, 2);
  struct mq_train_options options = usual_options();
  options.rate = options.warmup_rate = 1e30;
  options.evaluate = judge;
  options.context = &j;
  train_well(&o, &f, &options);
  assert_true(o.result.is_diverged);
  assert_true(o.result.steps < 30);
  assert_true(o.result.n_curve > 0 && !isfinite(o.result.curve[o.result.n_curve - 1].loss));
  mq_train_result_deinit(&o.result);
  fixture_deinit(&f);
}

static void test_refusals(void **state) {
  (void)state;
  struct fixture f;
  struct outcome o;
  fixture_init_classes(&f, 1);
  struct mq_train_options options = usual_options();
  options.batch = 96;
  assert_int_equal(train_net(&o, &f, &options), MQ_BAD_INPUT);
  assert_non_null(strstr(f.err.message, "80 images"));
  options.batch = 18;
  assert_int_equal(train_net(&o, &f, &options), MQ_BAD_USAGE);
  options = usual_options();
  options.epochs = NAN;
  assert_int_equal(train_net(&o, &f, &options), MQ_BAD_USAGE);
  options = usual_options();
  options.rate = 0;
  assert_int_equal(train_net(&o, &f, &options), MQ_BAD_USAGE);
  options = usual_options();
  options.ema = 1;
  assert_int_equal(train_net(&o, &f, &options), MQ_BAD_USAGE);
  fixture_deinit(&f);
  fixture_init_random(&f, 32, 3, 8, 1); /* no labels */
  options = usual_options();
  assert_int_equal(train_net(&o, &f, &options), MQ_BAD_INPUT);
  fixture_deinit(&f);
}

/* ---- Numbers ------------------------------------------------------------------------------------ */
static void test_rate(void **state) {
  (void)state;
  struct mq_train_options o = {.rate = 0.8, .warmup_epochs = 0.5, .warmup_rate = 0.2};
  assert_true(fabs(mq_train_rate(&o, 0, 100, 20) - (0.2)) < 1e-12);
  assert_true(fabs(mq_train_rate(&o, 5, 100, 20) - (0.5)) < 1e-12);
  assert_true(fabs(mq_train_rate(&o, 10, 100, 20) - (0.8)) < 1e-12);
  assert_true(fabs(mq_train_rate(&o, 55, 100, 20) - (0.4)) < 1e-12);
  assert_true(fabs(mq_train_rate(&o, 40, 100, 20) - (0.4 * (1 + 0.5))) < 1e-12); /* a third: cos 60 degrees */
  assert_true(fabs(mq_train_rate(&o, 100, 100, 20) - (0)) < 1e-12);
  o.warmup_epochs = 0;
  assert_true(fabs(mq_train_rate(&o, 0, 100, 20) - (0.8)) < 1e-12);
}

/* The largest counts that guessing reaches in one run of a thousand: exact fractions in Python. */
static void test_chance(void **state) {
  (void)state;
  assert_true(mq_train_is_chance(20, 100, 10));
  assert_false(mq_train_is_chance(21, 100, 10));
  assert_true(mq_train_is_chance(3, 200, 1000));
  assert_false(mq_train_is_chance(4, 200, 1000));
  assert_true(mq_train_is_chance(36, 50, 2));
  assert_false(mq_train_is_chance(37, 50, 2));
  assert_true(mq_train_is_chance(1000, 10000, 10));
  assert_false(mq_train_is_chance(1200, 10000, 10));
  assert_true(mq_train_is_chance(0, 0, 10));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_learns),   cmocka_unit_test(test_workers),
      cmocka_unit_test(test_seed),     cmocka_unit_test(test_judgements),
      cmocka_unit_test(test_average),  cmocka_unit_test(test_resume),
      cmocka_unit_test(test_diverges), cmocka_unit_test(test_bad_checkpoints),
      cmocka_unit_test(test_refusals), cmocka_unit_test(test_rate),
      cmocka_unit_test(test_chance),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
