/* The file's header, and a program's walk through its three sections. */
#include "program/file.h"

#include "program/walk.h"

static const uint8_t magic[8] = {0x89, 'M', 'Q', 'I', '\r', '\n', 0x1a, '\n'};

/* ---- Header ------------------------------------------------------------------------------------------ */
static uint64_t align(uint64_t at) {
  return (at + PROGRAM_FILE_ALIGNMENT - 1) / PROGRAM_FILE_ALIGNMENT * PROGRAM_FILE_ALIGNMENT;
}

struct program_file_layout program_file_layout_of(const struct program_file_header *header) {
  struct program_file_layout layout = {.words = sizeof *header};
  layout.strings = align(layout.words + header->words_bytes);
  layout.data = align(layout.strings + header->strings_bytes);
  layout.end = layout.data + header->data_bytes;
  return layout;
}

static bool is_zero(const unsigned char *file, uint64_t from, uint64_t to) {
  bool is_all = true;
  for (uint64_t i = from; i < to; i++)
    is_all = is_all && file[i] == 0;
  return is_all;
}

static mq_program_status check_section(const unsigned char *file, uint64_t at, uint64_t bytes, uint64_t next,
                                       uint32_t crc, const char *name, struct mq_program_err *err) {
  if (program_crc(file + at, (size_t)bytes) != crc)
    return program_fail(err, MQ_PROGRAM_INVALID, "file: section '%s' is damaged: its checksum differs", name);
  if (is_zero(file, at + bytes, next)) return MQ_PROGRAM_OK;
  return program_fail(err, MQ_PROGRAM_INVALID, "file: bytes behind section '%s', expected zeros", name);
}

static mq_program_status check_header(const struct program_file_header *header, size_t file_bytes,
                                      struct mq_program_err *err) {
  for (int i = 0; i < 8; i++)
    if (header->magic[i] != magic[i])
      return program_fail(err, MQ_PROGRAM_INVALID, "file: no integer program (its first bytes are others)");
  if (header->version != PROGRAM_FILE_VERSION)
    return program_fail(err, MQ_PROGRAM_INVALID, "file: version %lld, expected %lld",
                        (long long)header->version, (long long)PROGRAM_FILE_VERSION);
  if (program_crc(header, sizeof *header - sizeof header->crc) != header->crc || header->reserved != 0)
    return program_fail(err, MQ_PROGRAM_INVALID, "file: the header is damaged: its checksum differs");
  if (header->file_bytes != file_bytes)
    return program_fail(err, MQ_PROGRAM_INVALID, "file: %lld bytes, expected %lld as its header says",
                        (long long)file_bytes, (long long)header->file_bytes);
  /* Each at most the whole, so that their sums cannot overflow. */
  const uint64_t limit = (uint64_t)1 << 48, n = header->file_bytes;
  if (n < limit && header->words_bytes <= n && header->strings_bytes <= n && header->data_bytes <= n &&
      header->words_bytes % 4 == 0 && program_file_layout_of(header).end == n)
    return MQ_PROGRAM_OK;
  return program_fail(err, MQ_PROGRAM_INVALID,
                      "file: sections of %lld, %lld and %lld bytes, expected them to fill %lld",
                      (long long)header->words_bytes, (long long)header->strings_bytes,
                      (long long)header->data_bytes, (long long)n);
}

mq_program_status program_file_check(struct program_file_header *header, const void *file, size_t file_bytes,
                                     struct mq_program_err *err) {
  if ((uintptr_t)file % PROGRAM_FILE_ALIGNMENT != 0)
    return program_fail(err, MQ_PROGRAM_INVALID, "file: not at an address divisible by %lld",
                        (long long)PROGRAM_FILE_ALIGNMENT);
  if (file_bytes < sizeof *header)
    return program_fail(err, MQ_PROGRAM_INVALID, "file: %lld bytes, expected %lld at least",
                        (long long)file_bytes, (long long)sizeof *header);
  program_copy(header, file, sizeof *header);
  mq_program_status status = check_header(header, file_bytes, err);
  if (status != MQ_PROGRAM_OK) return status;
  const struct program_file_layout at = program_file_layout_of(header);
  status = check_section(file, at.words, header->words_bytes, at.strings, header->crc_words, "words", err);
  if (status == MQ_PROGRAM_OK)
    status =
        check_section(file, at.strings, header->strings_bytes, at.data, header->crc_strings, "strings", err);
  if (status == MQ_PROGRAM_OK)
    status = check_section(file, at.data, header->data_bytes, at.end, header->crc_data, "data", err);
  return status;
}

void program_file_seal(void *file, struct program_file_header *header) {
  const struct program_file_layout at = program_file_layout_of(header);
  const unsigned char *bytes = file;
  program_copy(header->magic, magic, sizeof magic);
  header->version = PROGRAM_FILE_VERSION;
  header->crc_words = program_crc(bytes + at.words, (size_t)header->words_bytes);
  header->crc_strings = program_crc(bytes + at.strings, (size_t)header->strings_bytes);
  header->crc_data = program_crc(bytes + at.data, (size_t)header->data_bytes);
  header->file_bytes = at.end;
  header->reserved = 0;
  header->crc = program_crc(header, sizeof *header - sizeof header->crc);
  program_copy(file, header, sizeof *header);
}

/* ---- Fields ------------------------------------------------------------------------------------------ */
/* The next `n` bytes of a section: NULL while counting, and where reading finds fewer. */
static unsigned char *take(struct program_codec *codec, struct program_section *section, uint64_t n) {
  if (codec->direction != PROGRAM_COUNTS && (codec->is_short || n > section->size - section->at)) {
    codec->is_short = true;
    return NULL;
  }
  unsigned char *at = section->bytes != NULL ? section->bytes + section->at : NULL;
  section->at += n;
  return at;
}

void program_field(struct program_codec *codec, int32_t *value) {
  void *word = take(codec, &codec->words, sizeof *value);
  if (codec->direction == PROGRAM_WRITES && word != NULL) program_copy(word, value, sizeof *value);
  if (codec->direction != PROGRAM_READS) return;
  *value = 0;
  if (word != NULL) program_copy(value, word, sizeof *value);
}

void program_field_count(struct program_codec *codec, uint32_t *value) {
  int32_t word = (int32_t)*value;
  program_field(codec, &word);
  *value = (uint32_t)word;
}

void program_field_float(struct program_codec *codec, float *value) {
  int32_t word = (int32_t)program_float_bits(*value);
  program_field(codec, &word);
  *value = program_float_of((uint32_t)word);
}

void program_field_bool(struct program_codec *codec, bool *value) {
  int32_t word = codec->direction == PROGRAM_READS ? 0 : *value;
  program_field(codec, &word);
  if (word != 0 && word != 1) codec->is_short = true;
  *value = word == 1;
}

void program_field_window(struct program_codec *codec, struct mq_program_window *window) {
  for (int axis = 0; axis < 2; axis++) {
    program_field(codec, &window->kernel[axis]);
    program_field(codec, &window->stride[axis]);
    program_field(codec, &window->dilation[axis]);
    program_field(codec, &window->pad_begin[axis]);
    program_field(codec, &window->pad_end[axis]);
  }
}

const uint32_t *program_field_list(struct program_codec *codec, const uint32_t *list, uint32_t n) {
  const uint64_t bytes = (uint64_t)n * sizeof *list;
  void *words = take(codec, &codec->words, bytes);
  if (codec->direction == PROGRAM_READS) return words;
  if (codec->direction == PROGRAM_WRITES && words != NULL) program_copy(words, list, (size_t)bytes);
  return list;
}

/* Bytes of a string with its NUL; 0: there is no NUL in what is left. */
static uint64_t text_bytes(const struct program_codec *codec, const char *text) {
  const struct program_section *strings = &codec->strings;
  const uint64_t left = strings->size - strings->at;
  const char *at = codec->direction == PROGRAM_READS ? (const char *)strings->bytes + strings->at : text;
  uint64_t n = 0;
  while ((codec->direction != PROGRAM_READS || n < left) && at[n] != '\0')
    n++;
  return codec->direction == PROGRAM_READS && n == left ? 0 : n + 1;
}

void program_field_text(struct program_codec *codec, const char **text) {
  const uint64_t n = text_bytes(codec, *text);
  codec->is_short = codec->is_short || n == 0;
  void *at = take(codec, &codec->strings, n);
  if (codec->direction == PROGRAM_WRITES && at != NULL) program_copy(at, *text, (size_t)n);
  if (codec->direction == PROGRAM_READS) *text = at != NULL ? at : "";
}

const void *program_field_constant(struct program_codec *codec, const void *constant, int64_t count,
                                   size_t bytes) {
  const uint64_t n = (uint64_t)count * bytes;
  void *at = take(codec, &codec->data, n);
  const uint64_t rest = align(codec->data.at) - codec->data.at;
  unsigned char *padding = take(codec, &codec->data, rest);
  for (uint64_t i = 0; i < rest && padding != NULL; i++) {
    if (codec->direction == PROGRAM_READS && padding[i] != 0) codec->is_short = true;
    if (codec->direction == PROGRAM_WRITES) padding[i] = 0;
  }
  if (codec->direction == PROGRAM_READS) return codec->is_short ? NULL : at;
  if (codec->direction == PROGRAM_WRITES && at != NULL) program_copy(at, constant, (size_t)n);
  return constant;
}

/* ---- The walk ---------------------------------------------------------------------------------------- */
void program_walk_begin(struct program_codec *codec, struct mq_program *program) {
  int32_t arithmetic = (int32_t)program->arithmetic;
  program_field_count(codec, &program->n_tensors);
  program_field_count(codec, &program->n_steps);
  program_field_count(codec, &program->n_inputs);
  program_field_count(codec, &program->n_outputs);
  program_field(codec, &arithmetic);
  program->arithmetic = (mq_arithmetic_kind)arithmetic;
}

void program_walk_names(struct program_codec *codec, struct mq_program *program) {
  program->inputs = program_field_list(codec, program->inputs, program->n_inputs);
  program->outputs = program_field_list(codec, program->outputs, program->n_outputs);
  program_field_text(codec, &program->name);
  program_field_text(codec, &program->target);
  program_field_text(codec, &program->producer);
}

void program_walk_tensor(struct program_codec *codec, struct mq_program_tensor *tensor, bool *is_constant) {
  int32_t type = (int32_t)tensor->type;
  program_field(codec, &type);
  tensor->type = (mq_program_type)type;
  program_field_bool(codec, &tensor->is_channels_last);
  program_field_bool(codec, is_constant);
  program_field(codec, &tensor->rank);
  for (int32_t i = 0; i < MQ_PROGRAM_MAX_RANK && i < tensor->rank; i++)
    program_field(codec, &tensor->dim[i]);
  program_field_float(codec, &tensor->scale);
  program_field(codec, &tensor->zero_point);
  program_field(codec, &tensor->code_min);
  program_field(codec, &tensor->code_max);
  program_field_text(codec, &tensor->name);
}

void program_walk_step(struct program_codec *codec, struct mq_program_step *step) {
  int32_t kind = (int32_t)step->kind, arithmetic = (int32_t)step->arithmetic;
  program_field(codec, &kind);
  program_field(codec, &arithmetic);
  step->kind = (mq_step_kind)kind;
  step->arithmetic = (mq_arithmetic_kind)arithmetic;
  program_field_count(codec, &step->n_inputs);
  step->inputs = program_field_list(codec, step->inputs, step->n_inputs);
  program_field_count(codec, &step->output);
  program_field(codec, &step->lo);
  program_field(codec, &step->hi);
  program_field_float(codec, &step->clip_lo);
  program_field_float(codec, &step->clip_hi);
  program_field_text(codec, &step->name);
  const struct program_op *op = program_op_get(step->kind);
  if (op != NULL && op->fields != NULL) op->fields(codec, step);
}
