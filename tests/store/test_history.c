/* What trainings recorded: it comes back bit by bit, and values that no training writes are refused. */
#include <math.h>

#include "store/help_store.h"

static const struct mq_run_curve curve[] = {
    {.step = 5, .epoch = 0.5, .rate = 0.1, .loss = 1.0 / 3, .train_top1 = 0.1 + 0.2, .test_top1 = NAN},
    {.step = 10, .epoch = 1, .rate = 1e-300, .loss = 0, .train_top1 = 1, .test_top1 = 0.125},
    {.step = 11, .epoch = 1.1, .rate = 0, .loss = NAN, .train_top1 = 0, .test_top1 = NAN},
};
static const struct mq_run_range ranges[] = {
    {.step = 5, .point = 0, .lo = -0.1, .hi = 1.0 / 7},
    {.step = 5, .point = 1, .lo = 0, .hi = 1e-30},
    {.step = 10, .point = 0, .lo = NAN, .hi = NAN},
    {.step = 10, .point = 1, .lo = -3e38, .hi = 3e38},
};
static const struct mq_run_history history = {.curve = curve, .n_curve = 3, .ranges = ranges, .n_ranges = 4};

static const float scale = 1;
static const int32_t zero = 0;

static mq_status put(struct mq_store *store, const char *identity, const struct mq_run_history *of,
                     int64_t *id, struct mq_err *err) {
  struct mq_run run = help_run(identity);
  struct mq_run_point points[2];
  for (size_t i = 0; i < 2; i++) {
    points[i] = (struct mq_run_point){.tensor = i ? "b" : "a",
                                      .kind = "weight",
                                      .bits = 4,
                                      .lo = -1,
                                      .hi = 1,
                                      .scale = &scale,
                                      .zero_point = &zero,
                                      .n_channels = 1};
  }
  run.result_sha256 = "abc";
  run.best_top1 = 0.7;
  run.train_seconds = 12.5;
  run.history = of;
  mq_status status = mq_store_put(store, &run, points, 2, err);
  *id = run.id;
  return status;
}

static bool is_same(double a, double b) {
  return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void test_round_trip(void **state) {
  struct help_store *help = *state;
  struct mq_store *store = help_open(help);
  struct mq_run_history read;
  struct mq_run *runs = NULL;
  struct mq_err err = {0};
  int64_t plain = 0, id = 0;
  size_t n = 0;
  assert_ok(put(store, "plain", NULL, &plain, &err));
  assert_ok(put(store, "trained", &history, &id, &err));
  assert_ok(mq_store_history(&read, store, plain, &help->arena, &err));
  assert_int_equal(read.n_curve + read.n_ranges, 0);
  assert_ok(mq_store_history(&read, store, id, &help->arena, &err));
  assert_int_equal(read.n_curve, 3);
  assert_int_equal(read.n_ranges, 4);
  for (size_t i = 0; i < 3; i++) {
    const struct mq_run_curve *a = &curve[i], *b = &read.curve[i];
    assert_int_equal(a->step, b->step);
    assert_true(is_same(a->epoch, b->epoch) && is_same(a->rate, b->rate) && is_same(a->loss, b->loss) &&
                is_same(a->train_top1, b->train_top1) && is_same(a->test_top1, b->test_top1));
  }
  for (size_t i = 0; i < 4; i++) {
    assert_int_equal(ranges[i].step, read.ranges[i].step);
    assert_int_equal(ranges[i].point, read.ranges[i].point);
    assert_true(is_same(ranges[i].lo, read.ranges[i].lo) && is_same(ranges[i].hi, read.ranges[i].hi));
  }
  assert_ok(mq_store_runs(&runs, &n, store, &help->arena, &err));
  assert_int_equal(n, 2);
  assert_string_equal(runs[1].result_sha256, "abc");
  assert_true(runs[1].best_top1 == 0.7 && runs[1].train_seconds == 12.5);
  mq_store_close(store);
}

/* Infinite values become none, as everywhere in the store. */
static void test_not_finite(void **state) {
  struct help_store *help = *state;
  struct mq_store *store = help_open(help);
  struct mq_run_history read;
  struct mq_err err = {0};
  int64_t id = 0;
  const struct mq_run_curve diverged = {.step = 1, .epoch = 1, .rate = 1, .loss = INFINITY, .test_top1 = NAN};
  const struct mq_run_range infinite = {.step = 1, .point = 1, .lo = -INFINITY, .hi = INFINITY};
  const struct mq_run_history of = {.curve = &diverged, .n_curve = 1, .ranges = &infinite, .n_ranges = 1};
  assert_ok(put(store, "id", &of, &id, &err));
  assert_ok(mq_store_history(&read, store, id, &help->arena, &err));
  assert_true(isnan(read.curve[0].loss) && isnan(read.ranges[0].lo) && isnan(read.ranges[0].hi));
  mq_store_close(store);
}

/* A run comes with its whole history or not at all; a failed one takes its history along when it goes. */
static void test_one_transaction(void **state) {
  struct help_store *help = *state;
  struct mq_store *store = help_open(help);
  struct mq_run *runs = NULL;
  struct mq_run_history read;
  struct mq_err err = {0};
  int64_t id = 0;
  size_t n = 0;
  const struct mq_run_curve twice[] = {{.step = 1, .test_top1 = NAN}, {.step = 1, .test_top1 = NAN}};
  const struct mq_run_history of = {.curve = twice, .n_curve = 2};
  assert_int_equal(put(store, "id", &of, &id, &err), MQ_FAILED);
  assert_ok(mq_store_runs(&runs, &n, store, &help->arena, &err));
  assert_int_equal(n, 0);
  assert_ok(put(store, "id", &history, &id, &err));
  mq_store_close(store);
  help_sql(help, "PRAGMA foreign_keys = ON; UPDATE runs SET status = 'failed'");
  store = help_open(help);
  int64_t now = 0;
  assert_ok(put(store, "id", NULL, &now, &err));
  assert_ok(mq_store_history(&read, store, now, &help->arena, &err));
  assert_int_equal(read.n_curve + read.n_ranges, 0);
  mq_store_close(store);
}

static void test_hostile(void **state) {
  struct help_store *help = *state;
  const char *const changes[][2] = {
      {"UPDATE curve SET step = -1 WHERE step = 5", "at step -1"},
      {"UPDATE curve SET epoch = -0.5 WHERE step = 5", "epoch -0.5"},
      {"UPDATE curve SET epoch = 9e999 WHERE step = 5", "epoch inf"},
      {"UPDATE curve SET rate = 9e999 WHERE step = 5", "rate inf"},
      {"UPDATE curve SET loss = 9e999 WHERE step = 5", "loss inf"},
      {"UPDATE curve SET train_top1 = 1.5 WHERE step = 5", "accuracy of 1.5"},
      {"UPDATE curve SET test_top1 = -1 WHERE step = 5", "accuracy of -1"},
      {"UPDATE ranges SET point = 2 WHERE step = 10 AND point = 1",
       "point 2 at step 10, expected one of its 2"},
      {"UPDATE ranges SET point = -1 WHERE step = 10 AND point = 1", "point -1"},
      {"UPDATE ranges SET point = 9223372036854775807 WHERE step = 10 AND point = 1", "point 92233"},
      {"UPDATE ranges SET step = -3 WHERE step = 5", "step -3"},
      {"UPDATE ranges SET hi = 9e999 WHERE step = 10 AND point = 1", "to inf"},
      {"DELETE FROM points WHERE position = 1", "one of its 1 points"},
  };
  for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
    struct mq_run_history read;
    struct mq_err err = {0};
    char identity[16];
    int64_t id = 0;
    snprintf(identity, sizeof identity, "run %zu", i);
    struct mq_store *store = help_open(help);
    assert_ok(put(store, identity, &history, &id, &err));
    mq_store_close(store);
    help_sql(help, changes[i][0]);
    store = help_open(help);
    assert_int_equal(mq_store_history(&read, store, id, &help->arena, &err), MQ_BAD_INPUT);
    if (!strstr(err.message, changes[i][1]) || !strstr(err.message, help->path)) {
      fail_msg("\"%s\" does not say \"%s\"", err.message, changes[i][1]);
    }
    mq_store_close(store);
    help_sql(help, "DELETE FROM ranges; DELETE FROM curve; DELETE FROM points; DELETE FROM runs");
  }
}

/* Very many records: read, unless the arena's limit says no. */
static void test_huge(void **state) {
  struct help_store *help = *state;
  struct mq_store *store = help_open(help);
  struct mq_run_history read;
  struct mq_err err = {0};
  int64_t id = 0;
  assert_ok(put(store, "id", &history, &id, &err));
  mq_store_close(store);
  help_sql(help,
           "INSERT INTO curve SELECT 1, value, 1, 1, 1, 1, 1 FROM "
           "(WITH RECURSIVE n(value) AS (SELECT 100 UNION ALL SELECT value + 1 FROM n LIMIT 200000) "
           "SELECT value FROM n)");
  store = help_open(help);
  assert_ok(mq_store_history(&read, store, id, &help->arena, &err));
  assert_int_equal(read.n_curve, 200003);
  assert_int_equal(read.curve[200002].step, 200099);
  struct mq_arena small;
  mq_arena_init(&small, 1 << 20);
  assert_int_not_equal(mq_store_history(&read, store, id, &small, &err), MQ_OK);
  mq_arena_deinit(&small);
  assert_ok(mq_store_history(&read, store, id, &help->arena, &err)); /* the store is as good as before */
  mq_store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_round_trip, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_not_finite, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_one_transaction, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_hostile, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_huge, help_store_setup, help_store_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
