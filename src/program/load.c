/* From the file's bytes to a program. Nothing is believed: sizes follow from shapes that were checked, and
 * mq_program_finish sees the whole. */
#include "program/walk.h"

#define ALIGNMENT 16

static size_t align(size_t bytes) {
  return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Sections of a checked file. The codec only reads; it shares its type with the writer. */
static struct program_codec open_file(const struct program_file_header *header, const void *file) {
  const struct program_file_layout at = program_file_layout_of(header);
  union {
    const void *borrowed;
    unsigned char *bytes;
  } const address = {.borrowed = file};
  unsigned char *bytes = address.bytes;
  return (struct program_codec){
      .direction = PROGRAM_READS,
      .words = {.bytes = bytes + at.words, .size = header->words_bytes},
      .strings = {.bytes = bytes + at.strings, .size = header->strings_bytes},
      .data = {.bytes = bytes + at.data, .size = header->data_bytes},
  };
}

static mq_program_status fail_short(struct mq_program_err *err, const char *what, uint32_t i) {
  return program_fail(err, MQ_PROGRAM_INVALID,
                      "file: %s %lld: a section ends too early, or a field holds what it cannot", what,
                      (long long)i);
}

/* Counts, bounded. */
static mq_program_status begin(struct mq_program *program, struct program_codec *codec,
                               struct mq_program_err *err) {
  program_walk_begin(codec, program);
  if (codec->is_short) return fail_short(err, "counts, word", 0);
  if (program->n_tensors <= MQ_PROGRAM_MAX_ITEMS && program->n_steps <= MQ_PROGRAM_MAX_ITEMS)
    return MQ_PROGRAM_OK;
  return program_fail(err, MQ_PROGRAM_INVALID, "file: %lld tensors and %lld steps, expected at most %lld",
                      (long long)program->n_tensors, (long long)program->n_steps,
                      (long long)MQ_PROGRAM_MAX_ITEMS);
}

static size_t memory_bytes(const struct mq_program *program) {
  return align(sizeof *program) + align(program->n_tensors * sizeof *program->tensors) +
         align(program->n_steps * sizeof *program->steps);
}

mq_program_status mq_program_memory_bytes(size_t *bytes, const void *file, size_t file_bytes,
                                          struct mq_program_err *err) {
  struct program_file_header header;
  struct mq_program program = {0};
  *bytes = 0;
  mq_program_status status = program_file_check(&header, file, file_bytes, err);
  if (status != MQ_PROGRAM_OK) return status;
  struct program_codec codec = open_file(&header, file);
  status = begin(&program, &codec, err);
  if (status == MQ_PROGRAM_OK) *bytes = memory_bytes(&program);
  return status;
}

static mq_program_status read_tensors(struct mq_program *program, struct program_codec *codec,
                                      struct mq_program_err *err) {
  mq_program_status status = MQ_PROGRAM_OK;
  for (uint32_t t = 0; t < program->n_tensors && status == MQ_PROGRAM_OK; t++) {
    struct mq_program_tensor *tensor = &program->tensors[t];
    bool is_constant = false;
    *tensor = (struct mq_program_tensor){.name = ""};
    program_walk_tensor(codec, tensor, &is_constant);
    if (codec->is_short) return fail_short(err, "tensor", t);
    status = program_check_tensor(program, t, err);
    if (status != MQ_PROGRAM_OK || !is_constant) continue;
    tensor->constant =
        program_field_constant(codec, NULL, mq_program_elements(tensor), mq_program_type_bytes(tensor->type));
    if (codec->is_short) return fail_short(err, "constant of tensor", t);
  }
  return status;
}

static mq_program_status read_steps(struct mq_program *program, struct program_codec *codec,
                                    struct mq_program_err *err) {
  mq_program_status status = MQ_PROGRAM_OK;
  for (uint32_t s = 0; s < program->n_steps && status == MQ_PROGRAM_OK; s++) {
    struct mq_program_step *step = &program->steps[s];
    *step = (struct mq_program_step){.name = ""};
    program_walk_step(codec, step);
    if (codec->is_short) return fail_short(err, "step", s);
    status = program_check_step(program, step, err);
    const struct program_op *op = program_op_get(step->kind);
    if (status == MQ_PROGRAM_OK && op->constants != NULL) op->constants(codec, program, step);
    if (codec->is_short) return fail_short(err, "constants of step", s);
  }
  return status;
}

static mq_program_status read_all(struct mq_program *program, struct program_codec *codec,
                                  struct mq_program_err *err) {
  program_walk_names(codec, program);
  if (codec->is_short) return fail_short(err, "names, word", 0);
  mq_program_status status = read_tensors(program, codec, err);
  if (status == MQ_PROGRAM_OK) status = read_steps(program, codec, err);
  if (status != MQ_PROGRAM_OK) return status;
  if (codec->words.at != codec->words.size || codec->strings.at != codec->strings.size ||
      codec->data.at != codec->data.size)
    return program_fail(err, MQ_PROGRAM_INVALID, "file: sections hold more than the program");
  return mq_program_finish(program, err);
}

mq_program_status mq_program_load(struct mq_program **program, const void *file, size_t file_bytes,
                                  void *memory, size_t memory_bytes_given, struct mq_program_err *err) {
  struct program_file_header header;
  *program = NULL;
  mq_program_status status = program_file_check(&header, file, file_bytes, err);
  if (status != MQ_PROGRAM_OK) return status;
  struct program_codec codec = open_file(&header, file);
  struct mq_program counts = {0}, *made = memory;
  status = begin(&counts, &codec, err);
  if (status != MQ_PROGRAM_OK) return status;
  if (memory_bytes_given < memory_bytes(&counts) || (uintptr_t)memory % ALIGNMENT != 0)
    return program_fail(
        err, MQ_PROGRAM_NO_ROOM, "%lld bytes of memory, expected %lld at an address divisible by %lld",
        (long long)memory_bytes_given, (long long)memory_bytes(&counts), (long long)ALIGNMENT);
  unsigned char *rest = (unsigned char *)memory + align(sizeof *made);
  *made = counts;
  made->tensors = (struct mq_program_tensor *)(void *)rest;
  made->steps = (struct mq_program_step *)(void *)(rest + align(counts.n_tensors * sizeof *made->tensors));
  status = read_all(made, &codec, err);
  if (status == MQ_PROGRAM_OK) *program = made;
  return status;
}
