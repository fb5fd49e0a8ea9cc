/* program.mqi: there and back, and every way to be wrong. */
#include "program/help_program.h"

/* CRC-32C bit by bit. */
static uint32_t crc(const void *bytes, size_t n) {
  uint32_t value = UINT32_MAX;
  for (size_t i = 0; i < n; i++) {
    value ^= ((const unsigned char *)bytes)[i];
    for (int bit = 0; bit < 8; bit++)
      value = value >> 1 ^ (value & 1 ? 0x82f63b78 : 0);
  }
  return ~value;
}

/* As docs/program.md has it. */
struct header {
  uint8_t magic[8];
  uint32_t version, crc[3];
  uint64_t bytes[3], file_bytes;
  uint32_t reserved, header_crc;
};

static uint64_t section_at(const struct header *header, int section) {
  uint64_t at = 64;
  for (int i = 0; i < section; i++)
    at = (at + header->bytes[i] + 15) / 16 * 16;
  return at;
}

/* Makes every checksum right again, where the sizes allow it. */
static void seal(unsigned char *file) {
  struct header header;
  memcpy(&header, file, sizeof header);
  for (int i = 0; i < 3; i++)
    header.crc[i] = crc(file + section_at(&header, i), (size_t)header.bytes[i]);
  header.header_crc = crc(&header, 60);
  memcpy(file, &header, sizeof header);
}

static void test_round_trip(void **state) {
  (void)state;
  for (int kind = 1; kind < MQ_ARITHMETIC_DEQUANT_F32; kind++) {
    struct help help;
    struct mq_program *loaded;
    size_t bytes, again_bytes;
    help_everything(&help, (mq_arithmetic_kind)kind);
    unsigned char *file = help_write(&help, &bytes);
    if (help_load(&loaded, &help, file, bytes) != MQ_PROGRAM_OK) fail_msg("%s", help.err.message);
    assert_int_equal(loaded->n_steps, help.program.n_steps);
    assert_int_equal(loaded->arena_bytes, help.program.arena_bytes);
    assert_int_equal(loaded->work, help.program.work);
    assert_string_equal(loaded->tensors[3].name, "t3");
    assert_string_equal(loaded->steps[1].as.conv.w_name, "weights");
    /* The same bytes again, and the same results. */
    assert_int_equal(mq_program_file_bytes(&again_bytes, loaded, NULL), MQ_PROGRAM_OK);
    assert_int_equal(again_bytes, bytes);
    unsigned char *again = help_alloc(&help, bytes);
    assert_int_equal(mq_program_write(again, bytes, loaded, NULL), MQ_PROGRAM_OK);
    assert_memory_equal(again, file, bytes);
    struct help_values before, after;
    const uint64_t seed = help.seed;
    help_run(&before, &help, &help.program, 1);
    help.seed = seed;
    help_run(&after, &help, loaded, 1);
    for (uint32_t t = 0; t < loaded->n_tensors; t++)
      assert_memory_equal(before.tensors[t], after.tensors[t], mq_program_tensor_bytes(&loaded->tensors[t]));
    help_end(&help);
  }
}

/* Nothing but constants and names lies in the file: weights are not copied. */
static void test_zero_copy(void **state) {
  (void)state;
  struct help help;
  struct mq_program *loaded;
  size_t bytes;
  help_everything(&help, MQ_ARITHMETIC_ORT);
  const unsigned char *file = help_write(&help, &bytes);
  assert_int_equal(help_load(&loaded, &help, file, bytes), MQ_PROGRAM_OK);
  const struct mq_program_conv *conv = &loaded->steps[1].as.conv;
  assert_true((const unsigned char *)conv->weights > file &&
              (const unsigned char *)conv->weights < file + bytes);
  assert_int_equal((uintptr_t)conv->weights % 16, 0);
  assert_int_equal((uintptr_t)conv->channels % 16, 0);
  help_end(&help);
}

static void refuse(struct help *help, const unsigned char *file, size_t bytes, const char *part) {
  struct mq_program *loaded;
  const int n_memory = help->n_memory;
  help->err.message[0] = '\0';
  assert_int_equal(help_load(&loaded, help, file, bytes), MQ_PROGRAM_INVALID);
  assert_null(loaded);
  assert_null(strchr(help->err.message, '\n'));
  assert_true(help->err.message[0] != '\0');
  if (strstr(help->err.message, part) == NULL)
    fail_msg("message '%s' does not contain '%s'", help->err.message, part);
  while (help->n_memory > n_memory)
    free(help->memory[--help->n_memory]);
}

/* Every length, from an allocation that ends there. */
static void test_truncated(void **state) {
  (void)state;
  struct help help;
  size_t bytes;
  help_everything(&help, MQ_ARITHMETIC_TFLITE);
  const unsigned char *file = help_write(&help, &bytes);
  for (size_t n = 0; n < bytes; n += test_is_light() ? 37 : 1) {
    unsigned char *part = malloc(n + 1);
    assert_non_null(part);
    memcpy(part, file, n);
    refuse(&help, part, n, "file: ");
    free(part);
  }
  help_end(&help);
}

static void test_bit_flips(void **state) {
  (void)state;
  struct help help;
  size_t bytes;
  help_everything(&help, MQ_ARITHMETIC_TFLITE);
  unsigned char *file = help_write(&help, &bytes);
  for (size_t bit = 0; bit < 8 * bytes; bit += test_is_light() ? 101 : 3) {
    file[bit / 8] ^= (unsigned char)(1 << bit % 8);
    refuse(&help, file, bytes, "file: ");
    file[bit / 8] ^= (unsigned char)(1 << bit % 8);
  }
  help_end(&help);
}

/* Each word of the file with hostile values and right checksums: refused with a message, or a program that
 * runs. */
static void test_hostile_words(void **state) {
  (void)state;
  static const uint32_t values[] = {0,          1,          2,          3,          0x7f,       0xff,
                                    0x100,      0x2000,     0x2001,     0x1000000,  0x10000000, 0x7fffffff,
                                    0x80000000, 0xffffffff, 0xfffffffe, 0x7f800000, 0x7fc00000, 0x00000001};
  struct help help;
  struct header header;
  size_t bytes;
  int n_refused = 0, n_accepted = 0;
  help_everything(&help, MQ_ARITHMETIC_TFLITE);
  unsigned char *file = help_write(&help, &bytes);
  memcpy(&header, file, sizeof header);
  for (size_t at = 8; at < bytes; at += 4) {
    if (at >= section_at(&header, 1) && at < section_at(&header, 2)) continue; /* names */
    if (test_leaves_out((int64_t)at / 4)) continue;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
      struct mq_program *loaded;
      unsigned char kept[64], old[4];
      const int n_memory = help.n_memory;
      memcpy(kept, file, sizeof kept);
      memcpy(old, file + at, 4);
      memcpy(file + at, &values[i], 4);
      if (at >= 64)
        seal(file);
      else {
        const uint32_t value = crc(file, 60);
        memcpy(file + 60, &value, 4);
      }
      help.err.message[0] = '\0';
      if (help_load(&loaded, &help, file, bytes) == MQ_PROGRAM_OK) {
        struct help_values values_seen;
        if (loaded->work < 1 << 20) help_run(&values_seen, &help, loaded, 1);
        n_accepted++;
      } else {
        assert_true(help.err.message[0] != '\0' && strchr(help.err.message, '\n') == NULL);
        n_refused++;
      }
      while (help.n_memory > n_memory)
        free(help.memory[--help.n_memory]);
      memcpy(file + at, old, 4);
      memcpy(file, kept, sizeof kept);
    }
  }
  assert_true(n_refused > n_accepted / 2 && n_accepted > 0);
  help_end(&help);
}

/* What each word of the header says when it is wrong. */
static void test_header(void **state) {
  (void)state;
  static const struct {
    size_t at;
    uint32_t value;
    const char *message;
  } cases[] = {
      {0, 0, "no integer program"},
      {8, 2, "version 2, expected 1"},
      {24, 17, "sections of 17,"},
      {28, 1, "sections of"},
      {36, 0x7fffffff, "sections of"},
      {40, 1, "sections of"},
      {48, 64, "expected 64 as its header says"},
      {56, 1, "header is damaged"},
  };
  struct help help;
  size_t bytes;
  help_everything(&help, MQ_ARITHMETIC_TFLITE);
  unsigned char *file = help_write(&help, &bytes);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    unsigned char kept[64];
    memcpy(kept, file, sizeof kept);
    memcpy(file + cases[i].at, &cases[i].value, 4);
    const uint32_t value = crc(file, 60);
    memcpy(file + 60, &value, 4);
    refuse(&help, file, bytes, cases[i].message);
    memcpy(file, kept, sizeof kept);
  }
  refuse(&help, file + 1, bytes - 1, "address");
  help_end(&help);
}

static void test_rooms(void **state) {
  (void)state;
  struct help help;
  struct mq_program *loaded;
  size_t bytes, memory_bytes;
  help_everything(&help, MQ_ARITHMETIC_TFLITE);
  unsigned char *file = help_write(&help, &bytes);
  assert_int_equal(mq_program_write(file, bytes - 1, &help.program, &help.err), MQ_PROGRAM_NO_ROOM);
  assert_int_equal(mq_program_memory_bytes(&memory_bytes, file, bytes, &help.err), MQ_PROGRAM_OK);
  unsigned char *memory = help_alloc(&help, memory_bytes);
  assert_int_equal(mq_program_load(&loaded, file, bytes, memory, memory_bytes - 1, &help.err),
                   MQ_PROGRAM_NO_ROOM);
  assert_null(loaded);
  assert_int_equal(mq_program_load(&loaded, file, bytes, memory, memory_bytes, NULL), MQ_PROGRAM_OK);
  const struct mq_program_run run = {.n_images = 1, .arena = memory, .arena_bytes = loaded->arena_bytes - 1};
  assert_int_equal(mq_program_run_reference(loaded, &run, &help.err), MQ_PROGRAM_NO_ROOM);
  help_end(&help);
}

/* Files of this version that are kept (seeds of the fuzzer too): today's writer makes the same bytes. After a
 * change of the format, with its version raised, MQ_WRITE_KEPT=1 writes them anew. */
static void test_kept(void **state) {
  (void)state;
  static const mq_arithmetic_kind kinds[] = {MQ_ARITHMETIC_TFLITE, MQ_ARITHMETIC_FBGEMM,
                                             MQ_ARITHMETIC_POT_SHIFT_EVEN};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    struct help help;
    char path[1024];
    size_t bytes;
    help_everything(&help, kinds[i]);
    const unsigned char *file = help_write(&help, &bytes);
    snprintf(path, sizeof path, "%s/fuzz/corpus/program_file/%s", MQ_TESTS_DIRECTORY,
             mq_program_arithmetic_get(kinds[i])->name);
    FILE *kept = fopen(path, getenv("MQ_WRITE_KEPT") != NULL ? "w+b" : "rb");
    unsigned char *content = help_alloc(&help, bytes + 1);
    assert_non_null(kept);
    if (getenv("MQ_WRITE_KEPT") != NULL) {
      assert_int_equal(fwrite(file, 1, bytes, kept), bytes);
      rewind(kept);
    }
    assert_int_equal(fread(content, 1, bytes + 1, kept), bytes);
    assert_memory_equal(content, file, bytes);
    fclose(kept);
    help_end(&help);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_zero_copy),
      cmocka_unit_test(test_truncated),     cmocka_unit_test(test_bit_flips),
      cmocka_unit_test(test_hostile_words), cmocka_unit_test(test_header),
      cmocka_unit_test(test_rooms),         cmocka_unit_test(test_kept),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
