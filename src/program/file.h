/* program.mqi: see docs/program.md. One walk over a program counts, writes and reads, so that the directions
 * cannot differ. */
#ifndef MQ_PROGRAM_FILE_H
#define MQ_PROGRAM_FILE_H

#include "program/ops.h"

#define PROGRAM_FILE_VERSION 1
#define PROGRAM_FILE_ALIGNMENT 16 /* of sections, and of each constant in the data */

/* Numbers are little endian. */
struct program_file_header {
  uint8_t magic[8];
  uint32_t version;
  uint32_t crc_words, crc_strings, crc_data; /* CRC-32C of each section */
  uint64_t words_bytes, strings_bytes, data_bytes;
  uint64_t file_bytes;
  uint32_t reserved; /* 0 */
  uint32_t crc;      /* of all before */
};
_Static_assert(sizeof(struct program_file_header) == 64, "the header is 64 bytes");
_Static_assert(sizeof(struct mq_program_channel) == 28, "a channel is seven words");
#if defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__)
_Static_assert(__BYTE_ORDER__ != __ORDER_BIG_ENDIAN__,
               "numbers of the file are used in place: little endian");
#endif

uint32_t program_crc(const void *bytes, size_t n);
/* Where the sections of a file with this header begin; its end is file_bytes. */
struct program_file_layout {
  uint64_t words, strings, data, end;
};
struct program_file_layout program_file_layout_of(const struct program_file_header *header);
/* Everything but the three sections' contents. */
mq_program_status program_file_check(struct program_file_header *header, const void *file, size_t file_bytes,
                                     struct mq_program_err *err);

/* One section on its way: bytes NULL while counting. */
struct program_section {
  unsigned char *bytes;
  uint64_t at, size;
};
typedef enum program_direction {
  PROGRAM_COUNTS,
  PROGRAM_WRITES,
  PROGRAM_READS
} program_direction;
struct program_codec {
  program_direction direction;
  struct program_section words, strings, data;
  bool is_short; /* reading: a section ended too early, or holds what cannot be there */
};

/* A value of the words; reads 0 from a codec that is_short. */
void program_field(struct program_codec *codec, int32_t *value);
void program_field_count(struct program_codec *codec, uint32_t *value);
void program_field_float(struct program_codec *codec, float *value);
void program_field_bool(struct program_codec *codec, bool *value);
void program_field_window(struct program_codec *codec, struct mq_program_window *window);
/* The next string; reading leaves it where it is. */
void program_field_text(struct program_codec *codec, const char **text);
/* `list` written, or what is read in its place: n numbers of the words. */
const uint32_t *program_field_list(struct program_codec *codec, const uint32_t *list, uint32_t n);
/* Likewise the next constant: `count` elements of `bytes` each. */
const void *program_field_constant(struct program_codec *codec, const void *constant, int64_t count,
                                   size_t bytes);

#endif
