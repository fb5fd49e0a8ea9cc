/* From a program to the file's bytes. */
#include "program/walk.h"

/* Counts, or writes: the sections say where. */
static void transfer(struct program_codec *codec, const struct mq_program *program) {
  struct mq_program copy = *program;
  program_walk_begin(codec, &copy);
  program_walk_names(codec, &copy);
  for (uint32_t t = 0; t < program->n_tensors; t++) {
    struct mq_program_tensor tensor = program->tensors[t];
    bool is_constant = tensor.constant != NULL;
    program_walk_tensor(codec, &tensor, &is_constant);
    if (is_constant)
      program_field_constant(codec, tensor.constant, mq_program_elements(&tensor),
                             mq_program_type_bytes(tensor.type));
  }
  for (uint32_t s = 0; s < program->n_steps; s++) {
    struct mq_program_step step = program->steps[s];
    const struct program_op *op = program_op_get(step.kind);
    program_walk_step(codec, &step);
    if (op->constants != NULL) op->constants(codec, program, &step);
  }
}

static mq_program_status measure(struct program_file_header *header, const struct mq_program *program,
                                 struct mq_program_err *err) {
  struct program_codec codec = {.direction = PROGRAM_COUNTS};
  transfer(&codec, program);
  *header = (struct program_file_header){
      .words_bytes = codec.words.at, .strings_bytes = codec.strings.at, .data_bytes = codec.data.at};
  if (program_file_layout_of(header).end <= SIZE_MAX / 2) return MQ_PROGRAM_OK;
  return program_fail(err, MQ_PROGRAM_INVALID, "the file takes more bytes than fit an address");
}

mq_program_status mq_program_file_bytes(size_t *bytes, const struct mq_program *program,
                                        struct mq_program_err *err) {
  struct program_file_header header;
  *bytes = 0;
  const mq_program_status status = measure(&header, program, err);
  if (status == MQ_PROGRAM_OK) *bytes = (size_t)program_file_layout_of(&header).end;
  return status;
}

mq_program_status mq_program_write(void *file, size_t file_bytes, const struct mq_program *program,
                                   struct mq_program_err *err) {
  struct program_file_header header;
  unsigned char *bytes = file;
  const mq_program_status status = measure(&header, program, err);
  if (status != MQ_PROGRAM_OK) return status;
  const struct program_file_layout at = program_file_layout_of(&header);
  if (file_bytes != at.end)
    return program_fail(err, MQ_PROGRAM_NO_ROOM, "%lld bytes for a file, expected %lld",
                        (long long)file_bytes, (long long)at.end);
  struct program_codec codec = {
      .direction = PROGRAM_WRITES,
      .words = {.bytes = bytes + at.words, .size = header.words_bytes},
      .strings = {.bytes = bytes + at.strings, .size = header.strings_bytes},
      .data = {.bytes = bytes + at.data, .size = header.data_bytes},
  };
  transfer(&codec, program);
  for (uint64_t i = at.words + header.words_bytes; i < at.strings; i++)
    bytes[i] = 0;
  for (uint64_t i = at.strings + header.strings_bytes; i < at.data; i++)
    bytes[i] = 0;
  program_file_seal(file, &header);
  return MQ_PROGRAM_OK;
}
