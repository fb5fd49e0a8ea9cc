/* The keys of a data argument. */
#ifndef MQ_DATA_SPEC_KEYS_H
#define MQ_DATA_SPEC_KEYS_H

#include "mqbench/data.h"

/* One `key=value` of an argument, for its setter and its error message. */
struct mq_data_key_use {
  struct mq_data_spec *spec;
  const char *argument; /* the whole text */
  const char *key, *value;
  struct mq_err *err;
};

struct mq_data_key {
  const char *name;
  mq_status (*set)(const struct mq_data_key_use *use);
  unsigned kinds; /* bit 1 << mq_data_kind: the kinds that know the key */
  bool is_preprocess;
};

const struct mq_data_key *mq_data_key_find(const char *name); /* NULL: no such key */
/* "split, limit, ..." of the keys that a kind knows. */
void mq_data_key_list(char *text, size_t text_bytes, mq_data_kind kind);

#endif
