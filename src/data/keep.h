/* memory=MIB: decoded images kept in memory while a data set is open, so that the next epoch does not decode
 * them again. What does not fit is decoded each time; what is kept stays. */
#ifndef MQ_DATA_KEEP_H
#define MQ_DATA_KEEP_H

#include <stdatomic.h>

#include "data/image.h"

typedef enum mq_stage {
  MQ_STAGE_DECODED, /* as the file has it */
  MQ_STAGE_SHAPED,  /* after resize and crop */
} mq_stage;

struct mq_kept {
  struct mq_image image;
  mq_stage stage;
  struct mq_kept *next;
};

/* All functions are thread safe. */
struct mq_keep {
  struct mq_kept *_Atomic *lists; /* by image: its stages */
  _Atomic uint8_t *was_read;      /* by image: bits 1 << stage */
  _Atomic int64_t used_bytes;
  int64_t limit_bytes, n_images; /* limit 0: nothing is kept */
};

/* memory_mib -1: MQ_KEEP_DEFAULT_MIB. */
#define MQ_KEEP_DEFAULT_MIB 256
mq_status mq_keep_init(struct mq_keep *keep, int64_t n_images, int64_t memory_mib,
                       struct mq_err *err) MQ_MUST_CHECK;
void mq_keep_deinit(struct mq_keep *keep);
/* The kept image, borrowed; NULL: none. */
const struct mq_image *mq_keep_find(const struct mq_keep *keep, mq_stage stage, int64_t index);
/* Takes an image over where there is room; returns whether it did (then `image` borrows the pixels and stays
 * valid as long as the keep). What is read once only is not worth its memory: unless is_again is given, that
 * is known to be read more often, an image is taken when it is offered for the second time. */
bool mq_keep_offer(struct mq_keep *keep, mq_stage stage, int64_t index, const struct mq_image *image,
                   bool is_again);

#endif
