/* How a cell trains: the keys of a plan's `training` section, which are axes of the grid too, and options of
 * the command line. */
#ifndef MQ_BENCH_TRAINING_H
#define MQ_BENCH_TRAINING_H

#include "base/yaml.h"
#include "mqbench/bench.h"

typedef enum mq_training_kind {
  MQ_TRAINING_REAL,  /* double */
  MQ_TRAINING_WHOLE, /* int64_t */
  MQ_TRAINING_FLAG,  /* bool */
  MQ_TRAINING_WORD,  /* an enumeration, as int */
} mq_training_kind;

struct mq_training_key {
  const char *name;
  mq_training_kind kind;
  size_t offset;            /* of the field in struct mq_cell */
  double least, most;       /* REAL and WHOLE */
  const char *const *words; /* WORD: NULL-terminated */
};

#define MQ_TRAINING_KEYS 23
size_t mq_training_key_count(void);
const struct mq_training_key *mq_training_key_at(size_t i);
size_t mq_training_key_find(const char *name); /* mq_training_key_count() if there is none */
/* A value as a number: words and flags by their index. */
mq_status mq_training_read(double *value, const struct mq_training_key *key, const struct mq_yaml_node *node,
                           struct mq_err *err) MQ_MUST_CHECK;
/* Keys that say something about cells that train nothing too: they have fields of their own in texts. */
bool mq_training_is_of_all(const struct mq_training_key *key);
/* The same from an option's text; MQ_BAD_USAGE. */
mq_status mq_training_parse(double *value, const struct mq_training_key *key, const char *text,
                            struct mq_err *err) MQ_MUST_CHECK;
double mq_training_get(const struct mq_cell *cell, const struct mq_training_key *key);
void mq_training_set(struct mq_cell *cell, const struct mq_training_key *key, double value);
/* "lr", "0.01"; "precision", "bf16": what people and canonical texts read. */
void mq_training_format(char text[40], const struct mq_training_key *key, double value);

/* What the pipeline does unless a plan says otherwise. */
void mq_training_defaults(struct mq_cell *cell);
/* Does the cell train: does its method have a quantizer, or is it a float training? */
bool mq_cell_trains(const struct mq_cell *cell);
/* The observers of the cell's method, for halves that the run left open (NULL). */
void mq_training_fill_observers(struct mq_cell *cell);
/* Whether the method takes this number as its own (NAN: its default); MQ_BAD_USAGE. */
mq_status mq_training_check_option(const char *method, double option, struct mq_err *err) MQ_MUST_CHECK;
/* Settings that do not fit together: "batch 100, expected a multiple of 8 (slice_images x bn_groups)". */
mq_status mq_training_check(const struct mq_cell *cell, struct mq_err *err) MQ_MUST_CHECK;

#endif
