#include <stdatomic.h>

#include "common.h"

struct tally {
  atomic_int runs[1000];
  atomic_int total;
  unsigned n_workers;
};

static mq_status count_task(void *context, size_t task, unsigned worker, struct mq_err *err) {
  (void)err;
  struct tally *tally = context;
  assert_true(worker < tally->n_workers);
  atomic_fetch_add(&tally->runs[task], 1);
  atomic_fetch_add(&tally->total, 1);
  return MQ_OK;
}

static void every_task_runs_once_for_any_number_of_workers(void **state) {
  (void)state;
  struct mq_err err;
  for (unsigned n = 1; n <= 8; n++) {
    struct mq_pool *pool = NULL;
    assert_ok(mq_pool_create(&pool, n, NULL, &err));
    assert_int_equal(mq_pool_workers(pool), n);
    static struct tally tally;
    memset(&tally, 0, sizeof tally);
    tally.n_workers = n;
    for (int round = 1; round <= 20; round++) {
      assert_ok(mq_pool_run(pool, 1000, count_task, &tally, &err));
      assert_int_equal(tally.total, round * 1000);
    }
    for (int i = 0; i < 1000; i++) {
      assert_int_equal(tally.runs[i], 20);
    }
    assert_ok(mq_pool_run(pool, 0, count_task, &tally, &err));
    mq_pool_destroy(pool);
  }
}

static mq_status fail_from_100(void *context, size_t task, unsigned worker, struct mq_err *err) {
  (void)worker;
  atomic_fetch_add((atomic_int *)context, 1);
  return task >= 100 ? mq_fail(err, MQ_BAD_INPUT, "task %zu", task) : MQ_OK;
}

static void the_first_failure_is_reported_and_stops_the_rest(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_pool *pool = NULL;
  assert_ok(mq_pool_create(&pool, 4, NULL, &err));
  for (int round = 0; round < 50; round++) {
    atomic_int runs = 0;
    assert_fails(MQ_BAD_INPUT, "task 100", mq_pool_run(pool, 100000, fail_from_100, &runs, &err));
    assert_true(runs < 1000);
  }
  mq_pool_destroy(pool);
}

static atomic_int n_started;
static void note_start(unsigned worker) {
  (void)worker;
  atomic_fetch_add(&n_started, 1);
}

static mq_status do_nothing(void *context, size_t task, unsigned worker, struct mq_err *err) {
  (void)context;
  (void)task;
  (void)worker;
  (void)err;
  return MQ_OK;
}

static void every_worker_is_started(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_pool *pool = NULL;
  assert_ok(mq_pool_create(&pool, 3, note_start, &err));
  assert_ok(mq_pool_run(pool, 10, do_nothing, NULL, &err));
  assert_int_equal(n_started, 3);
  mq_pool_destroy(pool);
  mq_pool_destroy(NULL);
}

static void cancelling_ends_a_run(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_pool *pool = NULL;
  assert_ok(mq_pool_create(&pool, 2, NULL, &err));
  mq_cancel();
  assert_fails(MQ_CANCELLED, "cancelled", mq_pool_run(pool, 10, do_nothing, NULL, &err));
  mq_pool_destroy(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_task_runs_once_for_any_number_of_workers),
      cmocka_unit_test(the_first_failure_is_reported_and_stops_the_rest),
      cmocka_unit_test(every_worker_is_started),
      cmocka_unit_test(cancelling_ends_a_run), /* last: cancelling is for good */
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
