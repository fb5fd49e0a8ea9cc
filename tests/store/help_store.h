/* Made-up runs and a directory that goes away, for the tests of the store. */
#ifndef TEST_STORE_HELP_STORE_H
#define TEST_STORE_HELP_STORE_H

#include <unistd.h>

#include "help_runs.h"

struct help_store {
  char directory[64], path[96];
  struct mq_arena arena;
};

int help_store_setup(void **state);
int help_store_teardown(void **state);
/* A finished run of 100 images whose image i is right where i % 3 is not 0. Borrows `identity`. */
struct mq_run help_run(const char *identity);
#define HELP_IMAGES 100
extern const uint8_t help_bits[(HELP_IMAGES + 7) / 8];
struct mq_store *help_open(const struct help_store *help);
/* Runs SQL on the file behind the store's back. */
void help_sql(const struct help_store *help, const char *sql);

#endif
