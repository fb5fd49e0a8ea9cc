/* Error messages are one printable line whatever a file's names hold. */
#include "common.h"

static const char *message_of(const char *name) {
  static struct mq_err err;
  assert_int_equal(mq_fail(&err, MQ_BAD_INPUT, "m.onnx: %s.", name), MQ_BAD_INPUT);
  return err.message;
}

static void names_in_utf8_stay(void **state) {
  (void)state;
  assert_string_equal(message_of("caf\xc3\xa9 \xe5\xb1\xa4 \xf0\x9f\x90\xb8"),
                      "m.onnx: caf\xc3\xa9 \xe5\xb1\xa4 \xf0\x9f\x90\xb8.");
}

static void what_is_not_printable_is_replaced(void **state) {
  (void)state;
  assert_string_equal(message_of("a\nb\x1b[2J\x7f"), "m.onnx: a?b?[2J?.");
  assert_string_equal(message_of("\xff\xfe"), "m.onnx: ??.");
  assert_string_equal(message_of("\xc2\x9b"), "m.onnx: ??.");           /* a control sequence in 8 bits */
  assert_string_equal(message_of("\xc0\xaf"), "m.onnx: ??.");           /* overlong */
  assert_string_equal(message_of("\xe0\x80\xaf"), "m.onnx: ???.");      /* overlong */
  assert_string_equal(message_of("\xed\xa0\x80"), "m.onnx: ???.");      /* a surrogate */
  assert_string_equal(message_of("\xf4\x90\x80\x80"), "m.onnx: ????."); /* beyond U+10FFFF */
  assert_string_equal(message_of("\xe5\xb1"), "m.onnx: ??.");           /* cut inside a character */
}

static void a_character_cut_at_the_end_is_replaced(void **state) {
  (void)state;
  char name[MQ_ERR_MESSAGE_BYTES + 2];
  struct mq_err err;
  memset(name, 'x', sizeof name);
  memcpy(name + MQ_ERR_MESSAGE_BYTES - 2, "\xc3\xa9", 3);
  mq_fail(&err, MQ_BAD_INPUT, "%s", name);
  assert_int_equal(strlen(err.message), MQ_ERR_MESSAGE_BYTES - 1);
  assert_int_equal(err.message[MQ_ERR_MESSAGE_BYTES - 2], '?');
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_in_utf8_stay),
      cmocka_unit_test(what_is_not_printable_is_replaced),
      cmocka_unit_test(a_character_cut_at_the_end_is_replaced),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
