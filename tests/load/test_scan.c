/* The scan before unpacking: nesting, counts, lengths. */
#include "help_model.h"
#include "load/scan.h"

static mq_status scan(const uint8_t *bytes, size_t n, struct mq_err *err) {
  return mq_onnx_scan(bytes, n, &onnx__model_proto__descriptor, "m.onnx", err);
}

static void accepts_empty_and_unknown_fields(void **state) {
  (void)state;
  struct mq_err err = {0};
  assert_ok(scan(NULL, 0, &err));
  /* Field 110, varint 1; field 111, 8 bytes; field 112, 4 bytes; field 113, 2 bytes. */
  const uint8_t bytes[] = {0xf0, 0x06, 0x01, 0xf9, 0x06, 1, 2, 3,    4,    5, 6,    7,
                           8,    0x85, 0x07, 1,    2,    3, 4, 0x8a, 0x07, 2, 0xff, 0xff};
  assert_ok(scan(bytes, sizeof bytes, &err));
}

static void rejects_bad_lengths(void **state) {
  (void)state;
  struct mq_err err = {0};
  const uint8_t number[] = {0x08, 0x80},
                endless[] = {0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01};
  const uint8_t text[] = {0x12, 0x05, 'a'}, message[] = {0x3a, 0x05, 0x0a};
  const uint8_t inner[] = {0x3a, 0x02, 0x12, 0x01, 'a'},
                huge[] = {0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
  const uint8_t fixed[] = {0x0d, 1, 2, 3};
  assert_fails(MQ_BAD_INPUT, "ends within a number", scan(number, sizeof number, &err));
  assert_fails(MQ_BAD_INPUT, "more than 10 bytes", scan(endless, sizeof endless, &err));
  assert_fails(MQ_BAD_INPUT, "field is longer", scan(text, sizeof text, &err));
  assert_fails(MQ_BAD_INPUT, "message is longer", scan(message, sizeof message, &err));
  assert_fails(MQ_BAD_INPUT, "field is longer", scan(inner, sizeof inner, &err)); /* ends in its parent */
  assert_fails(MQ_BAD_INPUT, "field is longer", scan(huge, sizeof huge, &err));
  assert_fails(MQ_BAD_INPUT, "field is longer", scan(fixed, sizeof fixed, &err));
}

static void rejects_groups_and_field_zero(void **state) {
  (void)state;
  struct mq_err err = {0};
  const uint8_t group[] = {0x0b, 0x0c}, seven[] = {0x0f}, zero[] = {0x00, 0x01};
  assert_fails(MQ_BAD_INPUT, "group", scan(group, sizeof group, &err));
  assert_fails(MQ_BAD_INPUT, "wire type", scan(seven, sizeof seven, &err));
  assert_fails(MQ_BAD_INPUT, "field number", scan(zero, sizeof zero, &err));
}

static void rejects_a_graph_given_twice(void **state) {
  (void)state;
  struct mq_err err = {0};
  const uint8_t twice[] = {0x3a, 0x00, 0x3a, 0x00};
  assert_fails(MQ_BAD_INPUT, "given twice", scan(twice, sizeof twice, &err));
}

static void counts_messages_and_fields(void **state) {
  (void)state;
  struct mq_err err = {0};
  size_t n = (size_t)2 * (MQ_ONNX_MAX_FIELDS + 1);
  uint8_t *bytes = malloc(n);
  assert_non_null(bytes);
  for (size_t i = 0; i < n; i += 2) {
    bytes[i] = 0x42; /* opset_import, empty */
    bytes[i + 1] = 0;
  }
  assert_ok(scan(bytes, (size_t)2 * MQ_ONNX_MAX_MESSAGES, &err));
  assert_fails(MQ_BAD_INPUT, "1000000 messages", scan(bytes, (size_t)2 * MQ_ONNX_MAX_MESSAGES + 2, &err));
  memset(bytes, 0x08, n); /* ir_version = 8, again and again */
  assert_fails(MQ_BAD_INPUT, "16000000 fields", scan(bytes, n, &err));
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(accepts_empty_and_unknown_fields), cmocka_unit_test(rejects_bad_lengths),
      cmocka_unit_test(rejects_groups_and_field_zero),    cmocka_unit_test(rejects_a_graph_given_twice),
      cmocka_unit_test(counts_messages_and_fields),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
