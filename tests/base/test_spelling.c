/* Edit distances against counts made by hand. */
#include "base/spelling.h"

#include <stdint.h>
#include <string.h>

#include "common.h"

static void counts_edits(void **state) {
  (void)state;
  assert_int_equal(mq_edit_distance("", ""), 0);
  assert_int_equal(mq_edit_distance("granularity", "granularity"), 0);
  assert_int_equal(mq_edit_distance("", "bits"), 4);
  assert_int_equal(mq_edit_distance("bits", ""), 4);
  assert_int_equal(mq_edit_distance("bit", "bits"), 1);
  assert_int_equal(mq_edit_distance("bist", "bits"), 2);
  assert_int_equal(mq_edit_distance("kitten", "sitting"), 3);
  assert_int_equal(mq_edit_distance("sitting", "kitten"), 3);
  assert_int_equal(mq_edit_distance("conv1", "layer1.conv1"), 7);
}

static void leaves_long_names(void **state) {
  (void)state;
  char name[202];
  memset(name, 'a', sizeof name);
  name[200] = 0;
  assert_int_equal(mq_edit_distance(name, "a"), 199);
  name[200] = 'a';
  name[201] = 0;
  assert_true(mq_edit_distance(name, "a") == SIZE_MAX);
  assert_true(mq_edit_distance("a", name) == SIZE_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(counts_edits), cmocka_unit_test(leaves_long_names)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
