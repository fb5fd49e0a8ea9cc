/* Numbers equal things equally: what rows, charts and lists are made of, in n log n. */
#ifndef MQ_REPORT_GROUP_H
#define MQ_REPORT_GROUP_H

#include <stdio.h>

#include "mqbench/store.h"

struct mq_groups {
  size_t *of;    /* group of each item; groups are numbered in order of first appearance */
  size_t *first; /* first item of each group */
  size_t n;
};

/* Writes what makes item i equal to another, with the two functions below. */
typedef void (*mq_group_key_fn)(FILE *out, const void *context, size_t i);
void mq_put_key(FILE *out, const char *text); /* NULL differs from every text */
void mq_put_key_number(FILE *out, int64_t number);

mq_status mq_group(struct mq_groups *groups, size_t n_items, mq_group_key_fn put_key, const void *context,
                   struct mq_arena *arena, struct mq_err *err) MQ_MUST_CHECK;

#endif
