/* A program without a C library: everything that src/program/ leaves open is here, or it does not link. */
#include "mqbench/program.h"

/* What a freestanding implementation may still call. */
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void start(void);

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
  volatile unsigned char *y = to; /* volatile: or the loop becomes a call of itself */
  const unsigned char *x = from;
  for (size_t i = 0; i < n; i++)
    y[i] = x[i];
  return to;
}

void *memmove(void *to, const void *from, size_t n) {
  volatile unsigned char *y = to;
  const unsigned char *x = from;
  for (size_t i = 0; i < n; i++)
    y[x < (const unsigned char *)to ? n - 1 - i : i] = x[x < (const unsigned char *)to ? n - 1 - i : i];
  return to;
}

void *memset(void *to, int value, size_t n) {
  volatile unsigned char *y = to;
  for (size_t i = 0; i < n; i++)
    y[i] = (unsigned char)value;
  return to;
}

int memcmp(const void *a, const void *b, size_t n) {
  const volatile unsigned char *x = a, *y = b;
  for (size_t i = 0; i < n; i++)
    if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
  return 0;
}

/* The network would lie in flash; the two memories would be static. */
static _Alignas(16) unsigned char file[64], memory[4096], arena[4096];

void start(void) {
  struct mq_program *program;
  struct mq_program_err err;
  float image[1] = {0}, logits[1];
  if (mq_program_load(&program, file, sizeof file, memory, sizeof memory, &err) == MQ_PROGRAM_OK) {
    const struct mq_program_run run = {.inputs = (const void *const[]){image},
                                       .outputs = (void *const[]){logits},
                                       .n_images = 1,
                                       .arena = arena,
                                       .arena_bytes = sizeof arena};
    if (mq_program_run_reference(program, &run, &err) != MQ_PROGRAM_OK) arena[0] = 1;
  }
  for (;;) {
  }
}
