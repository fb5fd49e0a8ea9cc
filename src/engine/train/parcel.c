/* What ranks send each other in a step: shares of values and gradients, several in one message. */
#include <string.h>

#include "base/file.h"
#include "engine/train/frames.h"

#define LEAST_BYTES ((size_t)4 << 20)
#define ITEMS 64

struct engine_parcel {
  struct engine_item items[ITEMS];
  size_t n_items;
  size_t room;     /* bytes of all ranks together */
  size_t used;     /* of that */
  size_t own_used; /* of this rank */
  char *own, *all;
  size_t *bytes;      /* by rank */
  char **next;        /* by rank: what is read next of its message */
  void **root_shares; /* of the item being finished */
};

/* Floats and doubles follow each other in a message: every share begins where a double may. */
static size_t share_bytes(const struct engine_item *item) {
  return (item->bytes + sizeof(double) - 1) / sizeof(double) * sizeof(double);
}

/* ---- Memory ------------------------------------------------------------------------------------- */
static size_t most_roots(const struct engine_frames *frames) {
  size_t most = 1;
  for (int wide = ENGINE_SLICE + 1; wide < ENGINE_SCOPE_COUNT; wide++) {
    for (size_t i = 0; i < frames->n[wide]; i++) {
      size_t n = frames->trees[ENGINE_SLICE][wide][i].n_roots;
      most = n > most ? n : most;
    }
  }
  return most;
}

/* A value goes as one piece, whatever its size. */
static size_t largest_value(const struct mq_engine *engine) {
  size_t largest = 0;
  for (size_t r = 0; r < engine->training->n_reductions; r++) {
    const struct mq_tensor *value = &engine->places[engine->training->reductions[r].to].tensor;
    size_t bytes = (size_t)mq_shape_count(&value->shape) * mq_dtype_get(value->dtype)->bytes;
    largest = bytes > largest ? bytes : largest;
  }
  return largest;
}

mq_status engine_parcel_create(struct engine_parcel **parcel_out, const struct engine_frames *frames,
                               struct mq_err *err) {
  size_t n_ranks = (size_t)mq_collective_size(frames->collective), roots = most_roots(frames);
  struct engine_parcel *parcel = mq_alloc(1, sizeof *parcel);
  *parcel_out = parcel;
  if (!parcel) {
    return mq_fail_memory(err, "messages between ranks");
  }
  size_t room = roots * (largest_value(frames->engine) + sizeof(double));
  *parcel = (struct engine_parcel){.room = room > LEAST_BYTES ? room : LEAST_BYTES};
  parcel->own = mq_alloc(parcel->room, 1);
  parcel->all = mq_alloc(parcel->room, 1);
  parcel->bytes = mq_alloc(n_ranks, sizeof *parcel->bytes);
  parcel->next = mq_alloc(n_ranks, sizeof *parcel->next);
  parcel->root_shares = mq_alloc(roots, sizeof *parcel->root_shares);
  if (!parcel->own || !parcel->all || !parcel->bytes || !parcel->next || !parcel->root_shares) {
    engine_parcel_destroy(parcel);
    *parcel_out = NULL;
    return mq_fail_memory(err, "messages between ranks");
  }
  return MQ_OK;
}

void engine_parcel_destroy(struct engine_parcel *parcel) {
  if (parcel) {
    mq_free(parcel->own);
    mq_free(parcel->all);
    mq_free(parcel->bytes);
    mq_free(parcel->next);
    mq_free(parcel->root_shares);
    mq_free(parcel);
  }
}

size_t engine_parcel_bytes(const struct engine_parcel *parcel) {
  return parcel ? 2 * parcel->room : 0;
}

/* ---- Sending ------------------------------------------------------------------------------------ */
mq_status engine_parcel_put(struct engine_frames *frames, const struct engine_item *item,
                            struct mq_err *err) {
  struct engine_parcel *p = frames->parcel;
  size_t all = share_bytes(item) * item->tree->n_roots;
  mq_status status = MQ_OK;
  if (p->n_items == ITEMS || p->used + all > p->room) {
    status = engine_parcel_send(frames, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct engine_range own = item->tree->of_rank[mq_collective_rank(frames->collective)];
  for (size_t i = own.first; i < own.first + own.count; i++) {
    memcpy(p->own + p->own_used, engine_item_share(frames, item, item->tree->roots[i]), item->bytes);
    p->own_used += share_bytes(item);
  }
  p->used += all;
  p->items[p->n_items++] = *item;
  return MQ_OK;
}

/* Messages hold the items in the order they were put in, each with its roots in theirs. */
static void finish_item(struct engine_frames *frames, const struct engine_item *item) {
  struct engine_parcel *p = frames->parcel;
  const struct engine_tree *tree = item->tree;
  for (int r = 0; r < mq_collective_size(frames->collective); r++) {
    for (size_t i = 0; i < tree->of_rank[r].count; i++) {
      p->root_shares[tree->of_rank[r].first + i] = p->next[r];
      p->next[r] += share_bytes(item);
    }
  }
  for (size_t i = 0; i < tree->n_rest; i++) {
    engine_item_join(frames, item, p->root_shares[tree->rest[i].into], p->root_shares[tree->rest[i].from]);
  }
  engine_item_finish(frames, item, p->root_shares[0]);
}

mq_status engine_parcel_send(struct engine_frames *frames, struct mq_err *err) {
  struct engine_parcel *p = frames->parcel;
  int n_ranks = mq_collective_size(frames->collective);
  if (p->n_items == 0) {
    return MQ_OK;
  }
  char *start = p->all;
  for (int r = 0; r < n_ranks; r++) {
    p->bytes[r] = 0;
    for (size_t i = 0; i < p->n_items; i++) {
      p->bytes[r] += share_bytes(&p->items[i]) * p->items[i].tree->of_rank[r].count;
    }
    p->next[r] = start;
    start += p->bytes[r];
  }
  mq_status status = mq_collective_gather(frames->collective, p->all, p->own, p->bytes, err);
  for (size_t i = 0; i < p->n_items && status == MQ_OK; i++) {
    finish_item(frames, &p->items[i]);
  }
  p->n_items = p->used = p->own_used = 0;
  return status;
}

/* ---- The same work ------------------------------------------------------------------------------ */
struct standing {
  char isa[16], variables[65];
};

static mq_status find_standing(struct standing *standing, const struct engine_frames *frames,
                               struct mq_err *err) {
  const struct engine_training *t = frames->engine->training;
  struct mq_sha256 *hash;
  memset(standing, 0, sizeof *standing);
  strncpy(standing->isa, mq_isa_name(mq_kernel_isa()), sizeof standing->isa - 1);
  mq_status status = mq_sha256_create(&hash, err);
  if (status != MQ_OK) {
    return status;
  }
  mq_sha256_update(hash, &t->batch, sizeof t->batch);
  for (size_t i = 0; i < t->n_variables; i++) {
    mq_sha256_update(hash, t->variables[i].data, t->variables[i].count * sizeof(float));
  }
  mq_sha256_finish(standing->variables, hash);
  return MQ_OK;
}

mq_status engine_check_ranks(const struct engine_frames *frames, struct mq_err *err) {
  int n_ranks = mq_collective_size(frames->collective);
  struct standing own, *all = mq_alloc((size_t)n_ranks, sizeof *all);
  mq_status status = all ? find_standing(&own, frames, err) : mq_fail_memory(err, "ranks");
  if (status == MQ_OK) {
    status = mq_collective_gather_equal(frames->collective, all, &own, sizeof own, err);
  }
  for (int r = 1; r < n_ranks && status == MQ_OK; r++) {
    if (strcmp(all[r].isa, all[0].isa) != 0) {
      status = mq_fail(err, MQ_BAD_USAGE, "rank %d runs on %s, rank 0 on %s: expected the same (--isa)", r,
                       all[r].isa, all[0].isa);
    } else if (strcmp(all[r].variables, all[0].variables) != 0) {
      status = mq_fail(err, MQ_BAD_USAGE, "rank %d starts from other variables than rank 0", r);
    }
  }
  mq_free(all);
  return status;
}
