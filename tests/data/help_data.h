/* Helpers of the data tests: golden files, temporary folders, opening by argument. */
#ifndef TESTS_DATA_HELP_DATA_H
#define TESTS_DATA_HELP_DATA_H

#include "data/image.h"

/* Aborts the test with the message where something that must work fails. */
struct mq_dataset *open_data(const char *argument);
void expect_open_fails(const char *argument, mq_status status, const char *part_of_message);
void read_golden(struct mq_tensor *tensor, const char *name); /* golden/<name> */
char *golden_path(const char *name);                          /* mq_free */
uint8_t *read_golden_bytes(size_t *n, const char *name);      /* mq_free */
/* A new folder under TMPDIR; remove_folder deletes it with what is in it. */
char *make_folder(void); /* mq_free */
void remove_folder(char *folder);
void write_file(const char *folder, const char *name, const void *bytes, size_t n);
/* ../shared beside the source directory or MQBENCH_SHARED, joined with name; NULL if it is not there. */
char *shared_path(const char *name); /* mq_free */
#endif
