/* Integer programs from anywhere: never crash, one line says what is wrong, and what loads can be run, on any
 * input, within the work it says. Checksums are made right first, or nothing would get past them. */
#include <stdlib.h>
#include <string.h>

#include "program/walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#define MAX_BYTES ((size_t)1 << 20)
#define MAX_WORK ((uint64_t)1 << 18)

static void *allocate(size_t bytes) {
  void *memory = aligned_alloc(16, (bytes / 16 + 1) * 16);
  if (memory == NULL) abort();
  return memory;
}

/* The sections' sizes are kept where they fit the file; the data takes what is left. */
static void seal(unsigned char *file, size_t n) {
  struct program_file_header header;
  if (n < sizeof header) return;
  memcpy(&header, file, sizeof header);
  header.words_bytes %= n - sizeof header + 1;
  header.words_bytes -= header.words_bytes % 4;
  header.strings_bytes %= n;
  header.data_bytes = 0;
  if (program_file_layout_of(&header).end > n) header.strings_bytes = 0;
  if (program_file_layout_of(&header).end > n) return;
  header.data_bytes = n - program_file_layout_of(&header).end;
  const struct program_file_layout at = program_file_layout_of(&header);
  memset(file + at.words + header.words_bytes, 0, at.strings - at.words - header.words_bytes);
  memset(file + at.strings + header.strings_bytes, 0, at.data - at.strings - header.strings_bytes);
  program_file_seal(file, &header);
}

/* Inputs within their codes; floats of any kind, NaN too. */
static void fill(void *data, const struct mq_program_tensor *tensor, const uint8_t *bytes, size_t n) {
  memset(data, 0, mq_program_tensor_bytes(tensor));
  for (int64_t i = 0; i < mq_program_elements(tensor); i++)
    if (program_is_code(tensor))
      program_put_code(data, tensor->type, i,
                       tensor->code_min + bytes[(size_t)i % n] % (tensor->code_max - tensor->code_min + 1));
    else
      memcpy((char *)data + 4 * i, bytes + (size_t)i % (n - 3), 4);
}

static void run(const struct mq_program *program, const uint8_t *bytes, size_t n) {
  void **buffers = allocate((program->n_inputs + program->n_outputs) * sizeof *buffers);
  void **outputs = buffers + program->n_inputs;
  for (uint32_t i = 0; i < program->n_inputs; i++) {
    const struct mq_program_tensor *t = &program->tensors[program->inputs[i]];
    buffers[i] = allocate(mq_program_tensor_bytes(t));
    fill(buffers[i], t, bytes, n);
  }
  for (uint32_t i = 0; i < program->n_outputs; i++)
    outputs[i] = allocate(mq_program_tensor_bytes(&program->tensors[program->outputs[i]]));
  const struct mq_program_run arguments = {.inputs = (const void *const *)buffers,
                                           .outputs = outputs,
                                           .n_images = 1,
                                           .arena = allocate(program->arena_bytes),
                                           .arena_bytes = program->arena_bytes};
  if (mq_program_run_reference(program, &arguments, NULL) != MQ_PROGRAM_OK) abort();
  for (uint32_t i = 0; i < program->n_inputs + program->n_outputs; i++)
    free(buffers[i]);
  free(arguments.arena);
  free(buffers);
}

/* What is written from what was read is what was read. */
static void check_written(const struct mq_program *program, const unsigned char *file, size_t n) {
  size_t again = 0;
  if (mq_program_file_bytes(&again, program, NULL) != MQ_PROGRAM_OK || again != n) abort();
  unsigned char *copy = allocate(n);
  if (mq_program_write(copy, n, program, NULL) != MQ_PROGRAM_OK || memcmp(copy, file, n) != 0) abort();
  free(copy);
}

static void load(const unsigned char *file, size_t n) {
  struct mq_program_err err = {""};
  struct mq_program *program = NULL;
  size_t memory_bytes = 0;
  void *memory = NULL;
  if (mq_program_memory_bytes(&memory_bytes, file, n, &err) == MQ_PROGRAM_OK) {
    memory = allocate(memory_bytes);
    if (mq_program_load(&program, file, n, memory, memory_bytes, &err) == MQ_PROGRAM_OK) {
      check_written(program, file, n);
      if (program->work < MAX_WORK && program->arena_bytes < MAX_BYTES) run(program, file, n);
    }
  }
  if (program == NULL && (err.message[0] == '\0' || strchr(err.message, '\n') != NULL)) abort();
  free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  if (n > MAX_BYTES) return 0;
  unsigned char *file = allocate(n);
  memcpy(file, bytes, n);
  load(file, n);
  seal(file, n);
  load(file, n);
  free(file);
  return 0;
}
