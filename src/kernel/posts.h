/* What follows a convolution or matrix product, as loops: for kernels that do not fuse it. */
#ifndef MQ_KERNEL_POSTS_H
#define MQ_KERNEL_POSTS_H

#include "mqbench/kernel.h"

/* At most one ADD, clips with lo <= hi; the affine vectors are copied. */
struct mq_posts {
  struct mq_post posts[MQ_MAX_POSTS];
  int n_posts;
  bool has_add;
  float *vectors;
};

mq_status mq_posts_check(const struct mq_post *posts, int n_posts, const char *what,
                         struct mq_err *err) MQ_MUST_CHECK;
/* The posts are checked already. */
mq_status mq_posts_init(struct mq_posts *copy, const struct mq_post *posts, int n_posts, int64_t n_channels,
                        struct mq_err *err) MQ_MUST_CHECK;
void mq_posts_deinit(struct mq_posts *posts);
/* y = posts(v) over rows of channels; v is overwritten. y may be v or the residual, v not the residual. */
void mq_posts_apply(const struct mq_posts *posts, float *y, float *v, const float *residual, int64_t n_rows,
                    int64_t n_channels);

#endif
