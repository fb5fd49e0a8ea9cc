/* Runs the program as a person would and keeps what it prints. */
#ifndef MQ_TESTS_HELP_PROGRAM_H
#define MQ_TESTS_HELP_PROGRAM_H

#include <jansson.h>

#include "common.h"

struct outcome {
  int status;
  char out[1 << 18], err[1 << 16];
};

/* A scratch directory for the whole file; set as cmocka's group setup and teardown. */
extern char scratch[512];
int make_scratch(void **state);
int drop_scratch(void **state);

/* Arguments as a shell line; %s-style formatting. Standard input is empty. */
void run(struct outcome *outcome, const char *format, ...) MQ_PRINTF(2, 3);
/* The one JSON object on standard output; fails the test if there is none. */
json_t *parse_json(const struct outcome *outcome);
/* Writes n 16 x 16 x 3 uint8 images and labels of 5 classes to scratch/x.npy and scratch/y.npy. */
void write_images(int n);

#define MODELS MQ_TESTS_DIRECTORY "/load/models"

#endif
