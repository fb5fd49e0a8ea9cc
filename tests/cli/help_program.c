#include "help_program.h"

#include <sys/wait.h>

#include "mqbench/tensor.h"

char scratch[512];

int make_scratch(void **state) {
  (void)state;
  strcpy(scratch, make_test_directory());
  return 0;
}

int drop_scratch(void **state) {
  (void)state;
  remove_test_directory(scratch);
  return 0;
}

static void read_file(char *text, size_t bytes, const char *name) {
  char path[600];
  snprintf(path, sizeof path, "%s/%s", scratch, name);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  size_t n = fread(text, 1, bytes - 1, file);
  text[n] = 0;
  fclose(file);
}

void run(struct outcome *outcome, const char *format, ...) {
  char arguments[4096], command[8192];
  va_list list;
  va_start(list, format);
  vsnprintf(arguments, sizeof arguments, format, list);
  va_end(list);
  snprintf(command, sizeof command, "cd '%s' && '%s' %s >out.txt 2>err.txt </dev/null", scratch, MQ_PROGRAM,
           arguments);
  int status = system(command);
  assert_true(WIFEXITED(status));
  outcome->status = WEXITSTATUS(status);
  read_file(outcome->out, sizeof outcome->out, "out.txt");
  read_file(outcome->err, sizeof outcome->err, "err.txt");
}

json_t *parse_json(const struct outcome *outcome) {
  json_error_t error;
  json_t *object = json_loads(outcome->out, 0, &error);
  if (!json_is_object(object)) {
    fail_msg("standard output is no JSON object: %s: %.300s", error.text, outcome->out);
  }
  return object;
}

void write_images(int n) {
  struct mq_err err = {0};
  struct mq_shape image_shape = {.rank = 4, .dim = {n, 16, 16, 3}}, label_shape = {.rank = 1, .dim = {n}};
  struct mq_tensor images = {0}, labels = {0};
  assert_ok(mq_tensor_init(&images, MQ_U8, &image_shape, &err));
  assert_ok(mq_tensor_init(&labels, MQ_I64, &label_shape, &err));
  struct mq_rng rng;
  mq_rng_init(&rng, 5, MQ_RNG_TEST, 0, 0);
  for (int64_t i = 0; i < mq_shape_count(&image_shape); i++) {
    ((uint8_t *)images.data)[i] = (uint8_t)mq_rng_below(&rng, 256);
  }
  for (int i = 0; i < n; i++) {
    ((int64_t *)labels.data)[i] = i % 5;
  }
  char path[600];
  snprintf(path, sizeof path, "%s/x.npy", scratch);
  assert_ok(mq_npy_write(path, &images, &err));
  snprintf(path, sizeof path, "%s/y.npy", scratch);
  assert_ok(mq_npy_write(path, &labels, &err));
  mq_tensor_deinit(&images);
  mq_tensor_deinit(&labels);
}
