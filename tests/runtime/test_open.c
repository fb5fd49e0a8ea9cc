/* A program in a file: opened and run, and refused in one line where it is none. */
#include "base/file.h"
#include "common.h"
#include "mqbench/runtime.h"
#include "program/help_program.h"

/* The program with every kind of step, in a file. */
static char *write_program(struct help *help, const char *folder, size_t *n) {
  struct mq_err err = {0};
  help_everything(help, MQ_ARITHMETIC_TFLITE);
  char *path = mq_path_join(folder, "program.mqi");
  const unsigned char *bytes = help_write(help, n);
  assert_ok(mq_file_write(path, bytes, *n, &err));
  return path;
}

static unsigned char *run_once(const struct mq_program *program, struct mq_runtime *runtime) {
  struct mq_err err = {0};
  struct mq_program_err why = {{0}};
  const void *inputs[8];
  void *outputs[8];
  size_t n = 0;
  assert_in_range(program->n_inputs, 1, 8);
  assert_in_range(program->n_outputs, 1, 8);
  for (uint32_t i = 0; i < program->n_inputs; i++)
    inputs[i] = mq_alloc(mq_program_tensor_bytes(&program->tensors[program->inputs[i]]), 1); /* zeros */
  for (uint32_t i = 0; i < program->n_outputs; i++)
    n += mq_program_tensor_bytes(&program->tensors[program->outputs[i]]);
  unsigned char *all = mq_alloc(n + 64 * program->n_outputs, 1), *to = all;
  for (uint32_t i = 0; i < program->n_outputs; i++) {
    outputs[i] = to;
    to += (mq_program_tensor_bytes(&program->tensors[program->outputs[i]]) + 63) / 64 * 64;
  }
  void *arena = mq_alloc(program->arena_bytes + 1, 1);
  const struct mq_program_run run = {.inputs = inputs,
                                     .outputs = outputs,
                                     .n_images = 1,
                                     .arena = arena,
                                     .arena_bytes = program->arena_bytes};
  if (runtime)
    assert_ok(mq_runtime_run(runtime, &run, &err));
  else
    assert_int_equal(mq_program_run_reference(program, &run, &why), MQ_PROGRAM_OK);
  for (uint32_t i = 0; i < program->n_inputs; i++)
    mq_free((void *)(uintptr_t)inputs[i]);
  mq_free(arena);
  return all;
}

static void runs_as_the_program(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct help help;
  struct mq_runtime *runtime = NULL;
  size_t n, used = mq_memory_used();
  char *folder = make_test_directory(), *path = write_program(&help, folder, &n);
  assert_ok(mq_runtime_open(&runtime, path, NULL, &err));
  const struct mq_program *program = mq_runtime_get_program(runtime);
  assert_int_equal(program->n_steps, help.program.n_steps);
  unsigned char *expected = run_once(&help.program, NULL), *got = run_once(program, runtime);
  for (uint32_t i = 0, at = 0; i < program->n_outputs; i++) {
    const size_t bytes = mq_program_tensor_bytes(&program->tensors[program->outputs[i]]);
    assert_memory_equal(got + at, expected + at, bytes);
    at += (uint32_t)((bytes + 63) / 64 * 64);
  }
  mq_free(expected);
  mq_free(got);
  mq_runtime_destroy(runtime);
  mq_free(path);
  help_end(&help);
  assert_int_equal(mq_memory_used(), used);
  remove_test_directory(folder);
}

static void refuses_what_is_none(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct help help;
  struct mq_runtime *runtime = NULL;
  size_t n, n_read;
  char *folder = make_test_directory(), *path = write_program(&help, folder, &n), *bytes = NULL;
  help_end(&help);
  const size_t used = mq_memory_used();
  assert_ok(mq_file_read(&bytes, &n_read, path, n, &err));
  assert_ok(mq_file_write(path, bytes, n / 2, &err));
  assert_fails(MQ_BAD_INPUT, "program.mqi: ", mq_runtime_open(&runtime, path, NULL, &err));
  assert_null(runtime);
  bytes[n - 1] ^= 1;
  assert_ok(mq_file_write(path, bytes, n, &err));
  assert_fails(MQ_BAD_INPUT, "program.mqi: ", mq_runtime_open(&runtime, path, NULL, &err));
  mq_free(bytes);
  assert_fails(MQ_BAD_INPUT, "no such file", mq_runtime_open(&runtime, "none.mqi", NULL, &err));
  assert_int_equal(mq_memory_used(), used);
  mq_free(path);
  remove_test_directory(folder);
}

/* What codes stand for. */
static void values(void **state) {
  (void)state;
  const struct mq_program_tensor s8 = {.type = MQ_PROGRAM_S8, .scale = 0.5f, .zero_point = -3},
                                 u8 = {.type = MQ_PROGRAM_U8, .scale = 0.25f, .zero_point = 128},
                                 s16 = {.type = MQ_PROGRAM_S16, .scale = 2, .zero_point = 1},
                                 s32 = {.type = MQ_PROGRAM_S32}, f32 = {.type = MQ_PROGRAM_F32};
  assert_true(mq_program_value(&s8, (const int8_t[]){7, -128}, 1) == -62.5f);
  assert_true(mq_program_value(&u8, (const uint8_t[]){0, 255}, 1) == 31.75f);
  assert_true(mq_program_value(&s16, (const int16_t[]){-32768}, 0) == -65538.0f);
  assert_true(mq_program_value(&s32, (const int32_t[]){5, 123456}, 1) == 123456.0f);
  assert_true(mq_program_value(&f32, (const float[]){1.5f}, 0) == 1.5f);
}

int main(void) {
  struct mq_err err = {0};
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(runs_as_the_program),
      cmocka_unit_test(refuses_what_is_none),
      cmocka_unit_test(values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
