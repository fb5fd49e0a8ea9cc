/* Every arithmetic against numbers that golden.py made of exact fractions. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "mqbench/program.h"

#define MAX_WORDS 40

/* A line on its way: words are taken from the left. */
struct line {
  char text[1024], *words[MAX_WORDS];
  int n, at, number;
  const struct mq_program_arithmetic *arithmetic;
};

static const char *take(struct line *line) {
  assert_true(line->at < line->n);
  return line->words[line->at++];
}

static int64_t take_whole(struct line *line) {
  return strtoll(take(line), NULL, 10);
}

static float take_float(struct line *line) {
  const uint32_t bits = (uint32_t)strtoul(take(line), NULL, 16);
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static double take_double(struct line *line) {
  const uint64_t bits = strtoull(take(line), NULL, 16);
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static struct mq_program_tensor take_point(struct line *line) {
  struct mq_program_tensor t = {.name = ""};
  t.type = strcmp(take(line), "s8") == 0 ? MQ_PROGRAM_S8 : MQ_PROGRAM_U8;
  t.scale = take_float(line);
  t.zero_point = (int32_t)take_whole(line);
  t.code_min = (int32_t)take_whole(line);
  t.code_max = (int32_t)take_whole(line);
  return t;
}

static struct mq_program_output output_of(const struct mq_program_tensor *y) {
  return (struct mq_program_output){.scale = y->scale, .zero_point = y->zero_point};
}

static void take_range(struct mq_program_output *y, struct line *line, bool has_clip) {
  y->lo = (int32_t)take_whole(line);
  y->hi = (int32_t)take_whole(line);
  y->clip_lo = has_clip ? take_float(line) : 0;
  y->clip_hi = has_clip ? take_float(line) : 0;
}

static struct mq_program_layer take_layer(struct line *line) {
  struct mq_program_layer layer = {.x_scale = take_float(line)};
  layer.w_scale = take_float(line);
  layer.y_scale = take_float(line);
  layer.bias = take_double(line);
  layer.is_linear = take_whole(line) != 0;
  layer.is_per_tensor = take_whole(line) != 0;
  return layer;
}

/* The result of a line, or that there is none. */
static void expect(struct line *line, mq_program_status status, int64_t found) {
  const char *word = take(line);
  const bool is_invalid = strcmp(word, "invalid") == 0;
  if (is_invalid != (status != MQ_PROGRAM_OK) || (!is_invalid && strtoll(word, NULL, 10) != found))
    fail_msg("line %d (%s %s): %lld, status %d; expected %s", line->number, line->words[0], line->words[1],
             (long long)found, (int)status, word);
}

static void expect_float(struct line *line, float found) {
  const float expected = take_float(line);
  if (memcmp(&expected, &found, sizeof found) != 0)
    fail_msg("line %d (%s %s): %a, expected %a", line->number, line->words[0], line->words[1], (double)found,
             (double)expected);
}

static void check_channel(struct line *line) {
  const struct mq_program_layer layer = take_layer(line);
  struct mq_program_channel channel;
  const mq_program_status status = line->arithmetic->make_channel(&channel, &layer, NULL);
  expect(line, status, channel.bias);
  if (status != MQ_PROGRAM_OK) return;
  expect(line, status, channel.multiplier);
  expect(line, status, channel.shift);
  expect_float(line, channel.factor);
  expect_float(line, channel.offset);
}

static void check_requantize(struct line *line) {
  const struct mq_program_layer layer = take_layer(line);
  const int64_t acc = take_whole(line);
  const struct mq_program_tensor point = take_point(line);
  struct mq_program_output y = output_of(&point);
  struct mq_program_channel channel;
  take_range(&y, line, true);
  const float shortcut = take_float(line);
  assert_int_equal(line->arithmetic->make_channel(&channel, &layer, NULL), MQ_PROGRAM_OK);
  if (line->arithmetic->fits != NULL)
    assert_true(line->arithmetic->fits(&channel, acc + channel.bias, acc + channel.bias));
  const bool is_own = layer.is_linear && line->arithmetic->requantize_linear != NULL;
  expect(line, MQ_PROGRAM_OK,
         (is_own ? line->arithmetic->requantize_linear : line->arithmetic->requantize)(acc, &channel,
                                                                                       shortcut, &y));
}

static void check_dequantize(struct line *line) {
  const struct mq_program_layer layer = take_layer(line);
  const int64_t acc = take_whole(line);
  struct mq_program_channel channel;
  assert_int_equal(line->arithmetic->make_channel(&channel, &layer, NULL), MQ_PROGRAM_OK);
  expect_float(line, line->arithmetic->dequantize(acc, &channel));
}

static void check_quantize(struct line *line) {
  const float x = take_float(line);
  const struct mq_program_tensor point = take_point(line);
  struct mq_program_output y = output_of(&point);
  take_range(&y, line, false);
  expect(line, MQ_PROGRAM_OK, line->arithmetic->quantize(x, &y));
}

static void check_add(struct line *line) {
  const struct mq_program_tensor a = take_point(line), b = take_point(line), point = take_point(line);
  struct mq_program_output y = output_of(&point);
  struct mq_program_add add;
  take_range(&y, line, true);
  const int32_t code_a = (int32_t)take_whole(line), code_b = (int32_t)take_whole(line);
  const mq_program_status status = line->arithmetic->make_add(&add, &a, &b, &point, NULL);
  expect(line, status, status == MQ_PROGRAM_OK ? line->arithmetic->add(code_a, code_b, &add, &y) : 0);
}

static void check_pool(struct line *line) {
  const bool is_mean = strcmp(line->words[0], "mean") == 0;
  const struct mq_program_tensor x = take_point(line), point = take_point(line);
  const int32_t n = (int32_t)take_whole(line);
  const int64_t sum = take_whole(line);
  struct mq_program_output y = output_of(&point);
  struct mq_program_mean mean;
  take_range(&y, line, true);
  const mq_program_status status =
      (is_mean ? line->arithmetic->make_mean : line->arithmetic->make_average)(&mean, &x, &point, n, NULL);
  int32_t q = 0;
  if (status == MQ_PROGRAM_OK)
    q = (is_mean ? line->arithmetic->mean : line->arithmetic->average)(sum, &mean, &y);
  expect(line, status, q);
}

static void check_clamp(struct line *line) {
  const struct mq_program_tensor y = take_point(line);
  const float u = take_float(line), v = take_float(line);
  int32_t lo, hi;
  mq_program_clamp(&lo, &hi, &y, u, v);
  expect(line, MQ_PROGRAM_OK, lo);
  expect(line, MQ_PROGRAM_OK, hi);
}

static void check_line(struct line *line) {
  static const struct {
    const char *name;
    void (*check)(struct line *line);
  } checks[] = {{"channel", check_channel},
                {"requantize", check_requantize},
                {"dequantize", check_dequantize},
                {"quantize", check_quantize},
                {"add", check_add},
                {"average", check_pool},
                {"mean", check_pool},
                {"clamp", check_clamp}};
  const char *operation = take(line), *arithmetic = take(line);
  line->arithmetic = mq_program_arithmetic_get(mq_program_arithmetic_find(arithmetic));
  assert_true(line->arithmetic != NULL || strcmp(arithmetic, "-") == 0);
  for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
    if (strcmp(checks[i].name, operation) == 0) {
      checks[i].check(line);
      assert_int_equal(line->at, line->n);
      return;
    }
  fail_msg("line %d: operation %s", line->number, operation);
}

static void test_golden(void **state) {
  (void)state;
  FILE *file = fopen(MQ_TESTS_DIRECTORY "/golden/program_arithmetic.txt", "r");
  struct line line = {.number = 0};
  assert_non_null(file);
  while (fgets(line.text, sizeof line.text, file) != NULL) {
    char *rest = NULL;
    line.n = line.at = 0;
    line.number++;
    for (char *word = strtok_r(line.text, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest)) {
      assert_true(line.n < MAX_WORDS);
      line.words[line.n++] = word;
    }
    check_line(&line);
  }
  assert_true(line.number > 4000);
  fclose(file);
}

/* ---- What the golden numbers do not reach ------------------------------------------------------------ */
static void test_table(void **state) {
  (void)state;
  assert_null(mq_program_arithmetic_get((mq_arithmetic_kind)0));
  assert_null(mq_program_arithmetic_get(MQ_ARITHMETIC_END));
  assert_int_equal(mq_program_arithmetic_find("trt"), 0);
  for (int kind = 1; kind < MQ_ARITHMETIC_END; kind++) {
    const struct mq_program_arithmetic *a = mq_program_arithmetic_get((mq_arithmetic_kind)kind);
    assert_int_equal(mq_program_arithmetic_find(a->name), kind);
    assert_true(a->make_channel != NULL && a->quantize != NULL &&
                (a->requantize != NULL || a->dequantize != NULL));
    assert_int_equal(a->make_add == NULL, a->add == NULL);
    assert_int_equal(a->make_mean == NULL, a->mean == NULL);
    assert_int_equal(a->make_average == NULL, a->average == NULL);
  }
}

/* NaN and infinities are codes too. */
static void test_quantize_special(void **state) {
  (void)state;
  const struct mq_program_output y = {.scale = 0.5f, .zero_point = 3, .lo = -7, .hi = 100};
  for (int kind = 1; kind < MQ_ARITHMETIC_END; kind++) {
    const struct mq_program_arithmetic *a = mq_program_arithmetic_get((mq_arithmetic_kind)kind);
    if (kind == MQ_ARITHMETIC_POT_SHIFT || kind == MQ_ARITHMETIC_POT_SHIFT_EVEN) continue; /* zero point 0 */
    assert_int_equal(a->quantize(NAN, &y), -7);
    assert_int_equal(a->quantize(INFINITY, &y), 100);
    assert_int_equal(a->quantize(-INFINITY, &y), -7);
    assert_int_equal(a->quantize(3.4e38f, &y), 100);
    assert_int_equal(a->quantize(0, &y), 3);
  }
}

/* Scales without an answer: the message says which number. */
static void test_refused(void **state) {
  (void)state;
  static const struct {
    mq_arithmetic_kind kind;
    struct mq_program_layer layer;
    const char *message;
  } cases[] = {
      {MQ_ARITHMETIC_TFLITE, {1, 1, 1e-30f, 0, 0, false, false}, "multiplier 1.0000e30, expected"},
      {MQ_ARITHMETIC_TFLITE, {1e-20f, 1e-20f, 1, 0, 5, false, false}, "bias 5.0000 is 5.0000e40 steps"},
      {MQ_ARITHMETIC_XNNPACK, {16, 16, 1, 0, 0, false, false}, "ratio sx sw/sy 256.00"},
      {MQ_ARITHMETIC_FBGEMM, {1e-30f, 1e-30f, 1, 0, 0, false, false}, "expected finite ones"},
      {MQ_ARITHMETIC_ORT, {1e-30f, 1e-30f, 1, 0, 0, false, false}, "expected a finite one above 0"},
      {MQ_ARITHMETIC_POT_SHIFT, {3, 1, 1, 0, 0, false, false}, "no power of two"},
      {MQ_ARITHMETIC_POT_SHIFT, {1, 1, 1, 1, 0, false, false}, "zero point is not 0"},
      {MQ_ARITHMETIC_POT_SHIFT_EVEN, {1, 1, 0x1p41f, 0, 0, false, false}, "2^41, expected at most 2^40"},
      {MQ_ARITHMETIC_TRT, {1, 1, 1, 0, NAN, false, false}, "bias nan"},
      {MQ_ARITHMETIC_DEQUANT_F32, {1, INFINITY, 0, 0, 0, false, false}, "sx sw inf"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mq_program_channel channel;
    struct mq_program_err err = {""};
    const struct mq_program_arithmetic *a = mq_program_arithmetic_get(cases[i].kind);
    assert_int_equal(a->make_channel(&channel, &cases[i].layer, &err), MQ_PROGRAM_INVALID);
    if (strstr(err.message, cases[i].message) == NULL)
      fail_msg("case %zu: '%s', expected '%s'", i, err.message, cases[i].message);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_golden),
      cmocka_unit_test(test_table),
      cmocka_unit_test(test_quantize_special),
      cmocka_unit_test(test_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
