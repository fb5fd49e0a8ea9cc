#include "kernel/posts.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Elements that pass through all posts before the next ones do: they stay in the first-level cache. */
#define CHUNK_ELEMENTS 4096

mq_status mq_posts_check(const struct mq_post *posts, int n_posts, const char *what, struct mq_err *err) {
  int n_adds = 0;
  assert(n_posts >= 0 && n_posts <= MQ_MAX_POSTS);
  for (int i = 0; i < n_posts; i++) {
    if (posts[i].kind == MQ_POST_ADD) n_adds++;
    if (posts[i].kind == MQ_POST_AFFINE) assert(posts[i].gain != NULL && posts[i].shift != NULL);
    if (posts[i].kind == MQ_POST_CLIP && !(posts[i].lo <= posts[i].hi))
      return mq_fail(err, MQ_BAD_INPUT, "%s: clip to [%g, %g], expected the lower bound first", what,
                     (double)posts[i].lo, (double)posts[i].hi);
  }
  assert(n_adds <= 1);
  return MQ_OK;
}

mq_status mq_posts_init(struct mq_posts *copy, const struct mq_post *posts, int n_posts, int64_t n_channels,
                        struct mq_err *err) {
  const size_t channels = (size_t)n_channels, bytes = channels * sizeof(float);
  *copy = (struct mq_posts){.n_posts = n_posts};
  copy->vectors = mq_alloc(2 * MQ_MAX_POSTS * channels, sizeof(float));
  if (copy->vectors == NULL) return mq_fail_memory(err, "post-operations");
  for (int i = 0; i < n_posts; i++) {
    float *gain = copy->vectors + 2 * (size_t)i * channels, *shift = gain + channels;
    copy->posts[i] = posts[i];
    if (posts[i].kind == MQ_POST_ADD) copy->has_add = true;
    if (posts[i].kind != MQ_POST_AFFINE) continue;
    copy->posts[i].gain = memcpy(gain, posts[i].gain, bytes);
    copy->posts[i].shift = memcpy(shift, posts[i].shift, bytes);
  }
  return MQ_OK;
}

void mq_posts_deinit(struct mq_posts *posts) {
  mq_free(posts->vectors);
  *posts = (struct mq_posts){0};
}

/* The bounds of a clip that follows post i at once, which the loop of post i does on the way. */
static int clip_bounds(float *lo, float *hi, const struct mq_posts *posts, int i) {
  const bool has_clip = i + 1 < posts->n_posts && posts->posts[i + 1].kind == MQ_POST_CLIP;
  *lo = has_clip ? posts->posts[i + 1].lo : -INFINITY;
  *hi = has_clip ? posts->posts[i + 1].hi : INFINITY;
  return has_clip ? 2 : 1;
}

static void apply_chunk(const struct mq_posts *posts, float *y, float *v, const float *residual,
                        int64_t n_rows, int64_t n_channels) {
  const int64_t n = n_rows * n_channels;
  for (int i = 0; i < posts->n_posts;) {
    const struct mq_post *post = &posts->posts[i];
    float lo = post->lo, hi = post->hi;
    i += post->kind == MQ_POST_CLIP ? 1 : clip_bounds(&lo, &hi, posts, i);
    /* Only the last step may write y, which may still hold the residual. */
    float *to = i == posts->n_posts ? y : v;
    if (post->kind == MQ_POST_ADD) mq_loop_add(to, v, residual, n, lo, hi);
    if (post->kind == MQ_POST_AFFINE)
      mq_loop_affine(to, v, n_rows, n_channels, post->gain, post->shift, lo, hi);
    if (post->kind == MQ_POST_CLIP) mq_loop_clip(to, v, n, lo, hi);
  }
}

void mq_posts_apply(const struct mq_posts *posts, float *y, float *v, const float *residual, int64_t n_rows,
                    int64_t n_channels) {
  const int64_t chunk = n_channels < CHUNK_ELEMENTS ? CHUNK_ELEMENTS / n_channels : 1;
  assert((residual != NULL) == posts->has_add && (posts->n_posts > 0 || y == v));
  assert(residual == NULL || v != residual);
  for (int64_t row = 0; row < n_rows; row += chunk) {
    const int64_t n = n_rows - row < chunk ? n_rows - row : chunk, at = row * n_channels;
    apply_chunk(posts, y + at, v + at, residual != NULL ? residual + at : NULL, n, n_channels);
  }
}
